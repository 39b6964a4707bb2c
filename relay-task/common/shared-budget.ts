import type { Budget } from './budget.ts';
import type { Lanes } from './fair-queue.ts';
import { createShares } from './shares.ts';

/** A budget that lanes share: a lane that holds much of it is refused sooner than the others. */
export interface SharedBudget {
  heldBy(lane: string): number;
  /** False: there is no room in the budget, or for these lanes; nothing was reserved. */
  reserve(lanes: Lanes, bytes: number): boolean;
  /** Counts bytes that are held already, even beyond the limit. */
  hold(lanes: Lanes, bytes: number): void;
  /** Never more than was reserved and held. */
  release(lanes: Lanes, bytes: number): void;
}

/** `times`: what each lane may hold, as a multiple of what is free; in the lanes' order. */
export function createSharedBudget(budget: Budget, times: readonly [number, number]): SharedBudget {
  const shares = createShares(() => budget.freeBytes, times);
  return {
    heldBy: shares.heldBy,
    reserve(lanes, bytes) {
      if (!shares.fits(lanes, bytes) || !budget.reserve(bytes)) return false;
      shares.take(lanes, bytes);
      return true;
    },
    hold(lanes, bytes) {
      budget.hold(bytes);
      shares.take(lanes, bytes);
    },
    release(lanes, bytes) {
      budget.release(bytes);
      shares.giveBack(lanes, bytes);
    },
  };
}
