/**
 * Calls to AWS with a deadline and retries. Clients that are used with it have `maxAttempts: 1`, so that retries are
 * counted, paced and cut off in one place.
 */
import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type BackoffTimes, backoffMs } from './backoff.ts';
import { createBudget } from './budget.ts';
import { errorText } from './error-text.ts';
import { collect } from './http-request.ts';
import type { JsonLimits } from './json-shape.ts';
import { sleep } from './pause.ts';

export interface AwsCallOptions {
  /** For messages: `DynamoDB`, `SSM`. */
  readonly service: string;
  /** A request without an answer fails after this time. */
  readonly timeoutMs: number;
  /** How often a request is sent again after a throttle, a 5xx, or (with `retryUnanswered`) no answer. */
  readonly retries: number;
  readonly backoff: BackoffTimes;
  /** Whether a request that got no answer is sent again, too. */
  readonly retryUnanswered?: boolean;
  /** Aborting it rejects the call at once, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Before each attempt; may wait, and may throw to give the call up. */
  before?(): Promise<void> | void;
  /** An attempt failed with this error, whether or not another follows. */
  onError?(error: unknown): void;
  /** Another attempt follows. */
  onRetry?(): void;
}

/** Rejects with the SDK's error, or with an Error that says that there was no answer in time. */
export async function callAws<T>(send: (abortSignal: AbortSignal) => Promise<T>, options: AwsCallOptions): Promise<T> {
  const { signal, retries, retryUnanswered = false } = options;
  for (let failures = 1; ; failures += 1) {
    await options.before?.();
    try {
      return await callAwsOnce(send, options);
    } catch (error) {
      options.onError?.(error);
      const passing = isTransient(error) || (retryUnanswered && awsStatusOf(error) === 0);
      if (signal?.aborted || failures > retries || !passing) throw error;
      options.onRetry?.();
      await sleep(backoffMs(failures, options.backoff), signal);
      signal?.throwIfAborted();
    }
  }
}

/** Settles in time whatever the SDK does: its promise can stay pending when it is aborted in the middle of an answer. */
export function callAwsOnce<T>(
  send: (abortSignal: AbortSignal) => Promise<T>,
  { service, timeoutMs, signal }: Pick<AwsCallOptions, 'service' | 'timeoutMs' | 'signal'>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const controller = new AbortController();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
    };
    const giveUp = (reason: unknown) => {
      end();
      reject(reason);
      controller.abort();
    };
    const cancel = () => giveUp(signal?.reason);
    const timer = setTimeout(() => giveUp(new Error(`no answer from ${service} within ${timeoutMs} ms`)), timeoutMs);
    if (signal?.aborted) return cancel();
    if (signal) {
      // Every request in progress adds a listener; above ten, Node would warn of a leak.
      setMaxListeners(0, signal);
      signal.addEventListener('abort', cancel);
    }
    send(controller.signal).then(resolve, reject).finally(end);
  });
}

/** AWS has at most some ten thousand items in an answer, and 32 levels in an item. */
const json: JsonLimits = { maxParts: 1_000_000, maxDepth: 100 };

interface AwsAnswerLimits {
  /** For messages: `DynamoDB`, `SSM`. */
  readonly service: string;
  /** Of one answer. */
  readonly maxBytes: number;
  /** Of all answers that are being read. */
  readonly maxBytesOfAll: number;
}

/** A client's `streamCollector`: the SDK's own takes whatever arrives. A longer answer rejects, and its connection is closed. */
export function limitAnswers({ service, maxBytes, maxBytesOfAll }: AwsAnswerLimits) {
  const memory = createBudget(maxBytesOfAll);
  return async (response: IncomingMessage): Promise<Uint8Array> => {
    try {
      return await collect(response, { maxBytes, memory, json });
    } catch (error) {
      response.destroy();
      // With metadata the SDK adds nothing to the message.
      throw Object.assign(new Error(`${service} ${(error as Error).message}`), { $metadata: {} });
    }
  };
}

const throttleNames = /Throttl|ThroughputExceeded|LimitExceeded|TooManyRequests/;
const transientNames = /InternalServerError|ServiceUnavailable|ReplicatedWriteConflict/;

/** AWS said that it is asked too often. */
export function isThrottle(error: unknown): boolean {
  return throttleNames.test(awsNameOf(error)) || awsStatusOf(error) === 429;
}

/** AWS answered, and may answer differently when it is asked again. */
export function isTransient(error: unknown): boolean {
  return isThrottle(error) || transientNames.test(awsNameOf(error)) || awsStatusOf(error) >= 500;
}

/** The HTTP status of AWS's answer; 0: there was none. */
export function awsStatusOf(error: unknown): number {
  return (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode ?? 0;
}

/** The error's name, such as `ConditionalCheckFailedException`; '' if it is not an error. */
export function awsNameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

/** One sentence about an error, which begins with the name that AWS gave it. */
export function awsErrorText(error: unknown): string {
  const name = awsNameOf(error);
  const text = errorText(error);
  return ['', 'Error', 'AggregateError'].includes(name) || text.startsWith(name) ? text : `${name}: ${text}`;
}
