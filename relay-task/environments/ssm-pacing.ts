import { createBackoff, spread } from '../common/backoff.ts';

export interface SsmIntervals {
  /** The time between complete readings, ± 20 % at random, so that relays do not read all at once. */
  readonly intervalMs: number;
  /** The longest interval under throttling. */
  readonly slowestMs: number;
  /** The first delay after a failed reading; the backoff goes up to `intervalMs`. */
  readonly retryMs: number;
  /** The delay after a reading that may have seen half of a change. */
  readonly confirmMs: number;
}

interface Reading {
  readonly complete: boolean;
  /** SSM throttled a request, even if a retry succeeded. */
  readonly throttled: boolean;
  /** It may have seen half of a change. */
  readonly unconfirmed: boolean;
}

const SPREAD = 0.2;

/**
 * How long to wait before the next reading, in ms. Throttling doubles the interval until a complete reading is not throttled.
 * A failed reading is soon continued where it stopped: its requests have a pace of their own.
 */
export function createPacing(intervals: SsmIntervals, random: () => number = Math.random) {
  const { intervalMs, slowestMs, retryMs, confirmMs } = intervals;
  const backoff = createBackoff({ firstMs: retryMs, maxMs: intervalMs }, random);
  let currentMs = intervalMs;
  return {
    next({ complete, throttled, unconfirmed }: Reading): number {
      if (!complete) return backoff.next();
      backoff.reset();
      if (throttled) {
        currentMs = Math.min(slowestMs, currentMs * 2);
        return spread(currentMs, SPREAD, random);
      }
      currentMs = intervalMs;
      return unconfirmed ? Math.min(confirmMs, intervalMs) : spread(intervalMs, SPREAD, random);
    },
  };
}

const BURST = 10;
/** The longest time between two requests. */
const WIDEST_MS = 2_000;

/**
 * The time between requests, in ms, for relays that share an account's limit and do not know of one another. Additive increase,
 * multiplicative decrease of the rate, as in TCP: relays that are throttled alike arrive at the same share of what SSM allows.
 */
export function createRequestPace(
  spacingMs: number,
  now: () => number = () => performance.now(),
  random: () => number = Math.random,
) {
  let currentMs = spacingMs;
  let free = now() - BURST * spacingMs;
  return {
    /** How long the next request has to wait: not at all for a burst, then `spacingMs`, or more after throttling. */
    next(): number {
      const at = now();
      // Bursts are allowed only while nothing is throttled.
      const burst = currentMs > spacingMs ? 0 : BURST * spacingMs;
      free = Math.max(free, at - burst) + spread(currentMs, 0.5, random);
      if (currentMs > spacingMs) currentMs = Math.max(spacingMs, 1 / (1 / currentMs + 1 / (spacingMs * STEPS)));
      return Math.max(0, free - at);
    },
    /** SSM throttled a request. */
    throttled(): void {
      currentMs = Math.min(Math.max(WIDEST_MS, spacingMs), currentMs * 2);
    },
  };
}

/** How many requests in a row without throttling bring the rate back from nothing to the full one. */
const STEPS = 100;
