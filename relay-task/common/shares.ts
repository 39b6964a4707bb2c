/**
 * Places, or bytes, that lanes share: a lane takes one only while it holds no more than are free, or than so many times of them, so a
 * flood on one lane always leaves some to the others. (Choudhury and Hahne, "Dynamic queue length thresholds", 1998)
 */
export interface Shares {
  /** Places that are taken. */
  readonly taken: number;
  /** Whether something that belongs to all these lanes may take a place, or so many of them. */
  fits(lanes: readonly string[], amount?: number): boolean;
  take(lanes: readonly string[], amount?: number): void;
  giveBack(lanes: readonly string[], amount?: number): void;
}

/** `free`: of so many that are taken. `times`: 1 leaves half of the places beside one flood, 4 a fifth. */
export function createShares(free: (taken: number) => number, times = 1): Shares {
  const held = new Map<string, number>();
  let taken = 0;
  return {
    get taken() {
      return taken;
    },
    fits(lanes, amount = 1) {
      const left = free(taken);
      return left >= amount && lanes.every((lane) => (held.get(lane) ?? 0) + amount - 1 <= times * left);
    },
    take(lanes, amount = 1) {
      taken += amount;
      for (const lane of lanes) held.set(lane, (held.get(lane) ?? 0) + amount);
    },
    giveBack(lanes, amount = 1) {
      taken -= amount;
      for (const lane of lanes) {
        const left = (held.get(lane) ?? 0) - amount;
        if (left > 0) held.set(lane, left);
        else held.delete(lane);
      }
    },
  };
}
