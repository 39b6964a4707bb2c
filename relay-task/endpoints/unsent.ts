/** Answers that clients have not taken yet: what they take in memory is limited, and shared by credentials and addresses. */
import type { Budget } from '../common/budget.ts';
import type { Lanes } from '../common/fair-queue.ts';
import { createHoldings } from './holdings.ts';
import type { Reply } from './reply.ts';

export interface Unsent {
  /** Counts the answer until the function that is returned is called; undefined: there is no room for it. */
  hold(reply: Reply, lanes: Lanes): (() => void) | undefined;
}

/** Smaller answers count as part of their connection. */
const LARGE_BYTES = 8 * 1024;

export function createUnsent(budget: Budget): Unsent {
  const memory = createHoldings(budget);
  return {
    hold({ body = '', isShared = false }, lanes) {
      const bytes = Buffer.byteLength(body);
      // What many clients get is in memory anyway.
      if (isShared || bytes <= LARGE_BYTES) return () => {};
      const holding = memory.open(lanes);
      return holding.take(bytes) ? holding.release : undefined;
    },
  };
}
