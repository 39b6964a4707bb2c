export interface SsmIntervals {
  /** The time between complete readings, ± 20 % at random, so that relays do not read all at once. */
  readonly intervalMs: number;
  /** The longest interval under throttling. */
  readonly slowestMs: number;
  /** The delay after a failed reading; doubles up to `intervalMs`. */
  readonly retryMs: number;
  /** The delay after a reading that may have seen half of a change. */
  readonly confirmMs: number;
}

export interface Reading {
  readonly complete: boolean;
  /** SSM throttled a request, even if a retry succeeded. */
  readonly throttled: boolean;
  /** It may have seen half of a change. */
  readonly unconfirmed: boolean;
}

/** How long to wait before the next reading, in ms. Throttling doubles the interval until a reading is not throttled. */
export function createPacing(intervals: SsmIntervals, random: () => number = Math.random) {
  const { intervalMs, slowestMs, retryMs, confirmMs } = intervals;
  // A relay without keys serves nobody, so it retries sooner; throttling slows it down all the same.
  let currentMs = retryMs;
  let failures = 0;
  return {
    next({ complete, throttled, unconfirmed }: Reading): number {
      failures = complete ? 0 : failures + 1;
      if (complete) currentMs = Math.max(currentMs, intervalMs);
      if (throttled) {
        currentMs = Math.min(slowestMs, currentMs * 2);
        return spread(currentMs);
      }
      if (!complete) return spread(Math.min(intervalMs, retryMs * 2 ** (failures - 1)));
      currentMs = intervalMs;
      return unconfirmed ? Math.min(confirmMs, intervalMs) : spread(intervalMs);
    },
  };

  function spread(ms: number): number {
    return ms * (0.8 + 0.4 * random());
  }
}
