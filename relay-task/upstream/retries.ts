/** How requests to LaunchDarkly are retried, as its SDKs do it. */
import { type BackoffTimes, createBackoff } from '../common/backoff.ts';

export const FIRST_RETRY_MS = 1_000;

export interface RetryOptions {
  /** After a failure; from 1 s to 30 s. */
  readonly backoff?: BackoffTimes | undefined;
  /** After a response that needs someone to act, such as 401; from 5 min to 1 h. */
  readonly refusedBackoff?: BackoffTimes | undefined;
  /** For jitter; `Math.random`. */
  random?(): number;
}

export function createRetries({
  backoff = { firstMs: FIRST_RETRY_MS, maxMs: 30_000 },
  refusedBackoff = { firstMs: 300_000, maxMs: 3_600_000 },
  random,
}: RetryOptions) {
  const usual = createBackoff(backoff, random);
  const slow = createBackoff(refusedBackoff, random);
  return {
    /** Counts a failure and returns the pause before the next attempt, in whole ms. */
    pauseMs: ({ refused }: { readonly refused?: boolean }) => Math.round((refused ? slow : usual).next()),
    /** LaunchDarkly accepts the key, or it is another one. */
    admitted: slow.reset,
    succeeded(): void {
      usual.reset();
      slow.reset();
    },
  };
}
