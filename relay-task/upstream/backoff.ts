export interface BackoffTimes {
  /** The first delay, before jitter. */
  readonly firstMs: number;
  /** No delay is longer. */
  readonly maxMs: number;
}

/** Delays that double with each failure in a row and lose up to half at random, so that many relays do not return at once. */
export function createBackoff({ firstMs, maxMs }: BackoffTimes, random: () => number = Math.random) {
  let nextMs = firstMs;
  return {
    /** The delay before the next attempt, in ms. */
    next(): number {
      const baseMs = Math.min(nextMs, maxMs);
      nextMs = Math.min(baseMs * 2, maxMs);
      return baseMs * (1 - random() / 2);
    },
    reset(): void {
      nextMs = firstMs;
    },
  };
}
