/**
 * Exponential backoff with "equal" jitter: a delay doubles with each failure in a row, and up to half of it is taken off
 * at random. Full jitter (anything from 0) would let some clients retry at once against a server in trouble; no jitter
 * would let all of them return together. LaunchDarkly's SDKs do the same.
 */
export interface BackoffTimes {
  /** The first delay, before jitter. */
  readonly firstMs: number;
  /** No delay is longer. */
  readonly maxMs: number;
}

/** Returns a random number from 0 to below 1. */
type Random = () => number;

/** The delay after `failures` failures in a row (1: the first), in ms. */
export function backoffMs(failures: number, { firstMs, maxMs }: BackoffTimes, random: Random = Math.random): number {
  return jitter(Math.min(maxMs, firstMs * 2 ** Math.max(0, failures - 1)), random);
}

/** At least half of `ms`, or all but this part of it; at most all of it. */
export function jitter(ms: number, random: Random = Math.random, part = 1 / 2): number {
  return ms * (1 - random() * part);
}

/** For intervals: `ms`, or up to this part of it more or less. The mean is `ms`. */
export function spread(ms: number, part: number, random: Random = Math.random): number {
  return ms + ms * part * (2 * random() - 1);
}

/** Counts the failures of one thing. */
export function createBackoff(times: BackoffTimes, random?: Random) {
  let failures = 0;
  return {
    /** Counts a failure and returns the delay before the next attempt, in ms. */
    next(): number {
      failures += 1;
      return backoffMs(failures, times, random);
    },
    reset(): void {
      failures = 0;
    },
  };
}
