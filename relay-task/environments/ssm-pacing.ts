export interface SsmIntervals {
  /** Between complete readings, ± 20 % at random, so that many relays do not ask at once. */
  readonly intervalMs: number;
  /** The longest that throttling makes of it. */
  readonly slowestMs: number;
  /** After a reading that failed; doubles up to `intervalMs`. */
  readonly retryMs: number;
  /** After a reading that saw half of a change. */
  readonly confirmMs: number;
}

export interface Reading {
  readonly complete: boolean;
  /** SSM said that it is asked too often, whether or not asking again helped. */
  readonly throttled: boolean;
  /** It may have seen half of a change. */
  readonly unconfirmed: boolean;
}

/** How long to wait before the next reading, in ms. Throttling doubles the interval until a reading goes without. */
export function createPacing(intervals: SsmIntervals, random: () => number = Math.random) {
  const { intervalMs, slowestMs, retryMs, confirmMs } = intervals;
  // A relay that has no key yet serves nobody: it asks sooner, and slows down all the same.
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
