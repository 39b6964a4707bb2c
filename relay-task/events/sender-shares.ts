/** What the senders of one credential share, so that one of them leaves room for the others. */
import type { Budget } from '../common/budget.ts';
import { createShares, type Shares } from '../common/shares.ts';

/** One sender takes at most so many times what is free. */
const TIMES = 4;

/** Room for `each` events of one sender, if there is no other, and a quarter more for all together. */
export function createSenderPlaces(each: number): Shares {
  const together = Math.max(each, (each - 1) * (1 + 1 / TIMES));
  return createShares((taken) => together - taken, TIMES);
}

export interface SenderMemory {
  /** False: there is no room for this sender; nothing was reserved. */
  reserve(sender: string, bytes: number): boolean;
  release(sender: string, bytes: number): void;
}

export function createSenderMemory(budget: Budget): SenderMemory {
  const shares = createShares(() => budget.freeBytes, TIMES);
  return {
    reserve(sender, bytes) {
      if (!shares.fits([sender], bytes) || !budget.reserve(bytes)) return false;
      shares.take([sender], bytes);
      return true;
    },
    release(sender, bytes) {
      budget.release(bytes);
      shares.giveBack([sender], bytes);
    },
  };
}
