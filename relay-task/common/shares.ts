/**
 * Places that lanes share: a lane takes one only while it holds no more than are free, or than so many times of them, so a flood
 * on one lane always leaves places to the others. (Choudhury and Hahne, "Dynamic queue length thresholds", 1998)
 */
export interface Shares {
  /** Places that are taken. */
  readonly taken: number;
  /** Whether something that belongs to all these lanes may take a place. */
  fits(lanes: readonly string[]): boolean;
  take(lanes: readonly string[]): void;
  giveBack(lanes: readonly string[]): void;
}

/** `times`: 1 leaves half of the places beside one flood, 4 a fifth. */
export function createShares(places: number, times = 1): Shares {
  const held = new Map<string, number>();
  let taken = 0;
  return {
    get taken() {
      return taken;
    },
    fits(lanes) {
      const free = places - taken;
      return free > 0 && lanes.every((lane) => (held.get(lane) ?? 0) <= times * free);
    },
    take(lanes) {
      taken++;
      for (const lane of lanes) held.set(lane, (held.get(lane) ?? 0) + 1);
    },
    giveBack(lanes) {
      taken--;
      for (const lane of lanes) {
        const left = (held.get(lane) ?? 0) - 1;
        if (left > 0) held.set(lane, left);
        else held.delete(lane);
      }
    },
  };
}
