import { createTurnstile } from '../../../relay-task/common/turnstile.ts';

/** Jobs that end on command, and the names of those that started, in order. */
function createJobs(turnstile: ReturnType<typeof createTurnstile>) {
  const begun: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const start = (name: string) =>
    turnstile.run(() => {
      begun.push(name);
      return new Promise<string>((resolve, reject) => {
        ends.set(name, (error) => (error ? reject(error) : resolve(name)));
      });
    });
  return { begun, ends, start };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('jobs start in order, up to the limit, and a full queue rejects further ones', async () => {
  const { begun, ends, start } = createJobs(createTurnstile({ maxInside: 2, maxWaiting: 2 }));
  const jobs = ['a', 'b', 'c', 'd'].map(start);
  await settled();
  await expect(start('e')).rejects.toThrow('2 requests are in progress and 2 are waiting');
  expect(begun).toEqual(['a', 'b']);
  ends.get('b')?.();
  await settled();
  expect(begun).toEqual(['a', 'b', 'c']);
  const late = start('f');
  await settled();
  expect(begun).toEqual(['a', 'b', 'c']);
  for (const name of ['a', 'c', 'd', 'f']) {
    ends.get(name)?.();
    await settled();
  }
  expect(await Promise.all([...jobs, late])).toEqual(['a', 'b', 'c', 'd', 'f']);
});

test('a job that fails frees its place', async () => {
  const { begun, ends, start } = createJobs(createTurnstile({ maxInside: 1, maxWaiting: 1 }));
  const first = start('a');
  const second = start('b');
  await settled();
  ends.get('a')?.(new Error('no'));
  await expect(first).rejects.toThrow('no');
  await settled();
  expect(begun).toEqual(['a', 'b']);
  ends.get('b')?.();
  expect(await second).toBe('b');
});

test('an aborted waiter leaves the queue and the next one takes its turn', async () => {
  const turnstile = createTurnstile({ maxInside: 1 });
  const leave = await turnstile.enter();
  const controller = new AbortController();
  const second = turnstile.enter(controller.signal);
  const third = turnstile.enter();
  controller.abort();
  expect(await second).toBeUndefined();
  leave?.();
  expect(await third).toBeInstanceOf(Function);
});

test('a signal that is already aborted does not take a place', async () => {
  const turnstile = createTurnstile({ maxInside: 1 });
  expect(await turnstile.enter(AbortSignal.abort())).toBeUndefined();
  expect(await turnstile.enter()).toBeInstanceOf(Function);
});
