/** What exporters have in common that read the registry of metrics again and again. */

export interface Increases {
  /** By how much a total has grown since the reading before. May be asked more than once in a reading. */
  of(id: string, total: number): number;
  /** Ends a reading: what was seen in it is what the next one is compared with. */
  next(): void;
}

export function createIncreases(): Increases {
  let before = new Map<string, number>();
  let now = new Map<string, number>();
  return {
    of(id, total) {
      now.set(id, total);
      const known = before.get(id) ?? 0;
      // A total that fell was reset.
      return total < known ? total : total - known;
    },
    next() {
      before = now;
      now = new Map();
    },
  };
}

/** What an observation in this bucket counts as: the bucket's bound. The last one has none, and counts as twice the one before. */
export function bucketValue(bounds: readonly number[], index: number): number {
  const bound = bounds[index] ?? Number.POSITIVE_INFINITY;
  return Number.isFinite(bound) ? bound : 2 * (bounds[index - 1] ?? 1);
}
