/**
 * Places, or bytes, that lanes share: a lane takes one only while it holds no more than are free, or than a multiple of those, so that
 * a flood on one lane always leaves some to the others. (Choudhury and Hahne, "Dynamic queue length thresholds", 1998)
 */
interface Shares {
  /** Places that are taken. */
  readonly taken: number;
  heldBy(lane: string): number;
  /** Whether something that belongs to all these lanes may take a place, or several. */
  fits(lanes: readonly string[], amount?: number): boolean;
  take(lanes: readonly string[], amount?: number): void;
  giveBack(lanes: readonly string[], amount?: number): void;
}

/**
 * `free`: of so many that are taken. `times`: 1 leaves half of the places beside one flood, 4 a fifth; for each of the lanes in their
 * order, if they differ.
 */
export function createShares(free: (taken: number) => number, times: number | readonly number[] = 1): Shares {
  const timesOf = (index: number) => (typeof times === 'number' ? times : (times[index] ?? 1));
  const held = new Map<string, number>();
  let taken = 0;
  const heldBy = (lane: string) => held.get(lane) ?? 0;
  return {
    get taken() {
      return taken;
    },
    heldBy,
    fits(lanes, amount = 1) {
      const left = free(taken);
      return left >= amount && lanes.every((lane, index) => heldBy(lane) + amount - 1 <= timesOf(index) * left);
    },
    take(lanes, amount = 1) {
      taken += amount;
      for (const lane of lanes) held.set(lane, heldBy(lane) + amount);
    },
    giveBack(lanes, amount = 1) {
      taken -= amount;
      for (const lane of lanes) {
        const left = heldBy(lane) - amount;
        if (left > 0) held.set(lane, left);
        else held.delete(lane);
      }
    },
  };
}

/**
 * For lanes of an environment and an address: there may be no other environment, and a whole fleet behind one address, which still leaves
 * some to the rest of its environment.
 */
export const MOST_FOR_ONE = [4, 3] as const;
