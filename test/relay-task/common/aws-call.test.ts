import {
  type AwsCallOptions,
  awsErrorText,
  callAws,
  isThrottle,
  isTransient,
} from '../../../relay-task/common/aws-call.ts';

const options: AwsCallOptions = {
  service: 'DynamoDB',
  timeoutMs: 60_000,
  retries: 2,
  backoff: { firstMs: 1, maxMs: 1 },
};

/** An error as AWS's SDK throws it. */
function awsError(name: string, httpStatusCode?: number): Error {
  return Object.assign(new Error(name), { name, $metadata: { httpStatusCode } });
}

/** Fails with these errors in turn, then answers. */
function failing(...errors: readonly Error[]) {
  let calls = 0;
  return {
    calls: () => calls,
    send: async () => {
      const error = errors[calls];
      calls += 1;
      if (error) throw error;
      return 'answer';
    },
  };
}

test.each([
  ['a throttle', awsError('ThrottlingException', 400)],
  ['a table above its throughput', awsError('ProvisionedThroughputExceededException', 400)],
  ['a 429', awsError('Whatever', 429)],
  ['a 500', awsError('InternalServerError', 500)],
  ['a 503 of another name', awsError('Unknown', 503)],
])('%s is retried', async (_, error) => {
  const { send, calls } = failing(error, error);
  let retries = 0;
  const onRetry = () => {
    retries += 1;
  };
  expect(await callAws(send, { ...options, onRetry })).toBe('answer');
  expect([calls(), retries]).toEqual([3, 2]);
});

test('the last error is thrown once the retries are used up', async () => {
  const { send, calls } = failing(...Array.from({ length: 9 }, (_, at) => awsError(`Throttling${at}`, 400)));
  await expect(callAws(send, options)).rejects.toThrow('Throttling2');
  expect(calls()).toBe(3);
});

test('an error that is not transient is not retried', async () => {
  const { send, calls } = failing(awsError('ValidationException', 400));
  await expect(callAws(send, options)).rejects.toThrow('ValidationException');
  expect(calls()).toBe(1);
});

test.each([
  [false, 1],
  [true, 3],
])('with retryUnanswered %s an unanswered request is sent %i times', async (retryUnanswered, sent) => {
  const reset = new Error('socket hang up');
  const { send, calls } = failing(reset, reset, reset);
  await expect(callAws(send, { ...options, retryUnanswered })).rejects.toThrow('socket hang up');
  expect(calls()).toBe(sent);
});

test('a request that the SDK leaves open is aborted at its deadline', async () => {
  let aborted = false;
  const send = (signal: AbortSignal) => {
    signal.addEventListener('abort', () => {
      aborted = true;
    });
    return new Promise<never>(() => {});
  };
  await expect(callAws(send, { ...options, timeoutMs: 1 })).rejects.toThrow('no answer from DynamoDB within 1 ms');
  expect(aborted).toBe(true);
});

test('aborting ends a call at once with the reason, during an attempt or between two', async () => {
  const during = new AbortController();
  const open = callAws(() => new Promise<never>(() => {}), { ...options, signal: during.signal });
  during.abort(new Error('the store closes'));
  await expect(open).rejects.toThrow('the store closes');

  const between = new AbortController();
  const { send, calls } = failing(awsError('Throttling', 400));
  const onRetry = () => queueMicrotask(() => between.abort(new Error('the store closes')));
  const backoff = { firstMs: 1_000_000, maxMs: 1_000_000 };
  await expect(callAws(send, { ...options, backoff, onRetry, signal: between.signal })).rejects.toThrow(
    'the store closes',
  );
  expect(calls()).toBe(1);
});

test('a hook before an attempt can abandon the call', async () => {
  const { send, calls } = failing(awsError('Throttling', 400), awsError('Throttling', 400));
  let attempts = 0;
  const before = () => {
    attempts += 1;
    if (attempts === 2) throw new Error('the lease is gone');
  };
  await expect(callAws(send, { ...options, before })).rejects.toThrow('the lease is gone');
  expect(calls()).toBe(1);
});

test('throttling and transient errors are recognised', () => {
  expect(isThrottle(awsError('RequestLimitExceeded'))).toBe(true);
  expect(isThrottle(awsError('TooManyRequestsException'))).toBe(true);
  expect(isThrottle(awsError('InternalServerError', 500))).toBe(false);
  expect(isTransient(awsError('ReplicatedWriteConflictException', 400))).toBe(true);
  expect(isTransient(awsError('ResourceNotFoundException', 400))).toBe(false);
  expect(isTransient(undefined)).toBe(false);
});

test.each([
  [
    'a name and a message',
    Object.assign(awsError('AccessDeniedException', 400), { message: 'not authorized' }),
    'AccessDeniedException: not authorized',
  ],
  ['a message that begins with the name', awsError('ThrottlingException', 400), 'ThrottlingException'],
  ['a name only', Object.assign(new Error(), { name: 'TimeoutError' }), 'TimeoutError'],
  ['an ordinary error', new Error('no answer from SSM within 5 ms'), 'no answer from SSM within 5 ms'],
  [
    'several addresses',
    new AggregateError([new Error('connect ECONNREFUSED ::1:8000')]),
    'connect ECONNREFUSED ::1:8000',
  ],
])('%s becomes one sentence', (_, error, text) => {
  expect(awsErrorText(error)).toBe(text);
});
