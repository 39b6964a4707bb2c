/**
 * Spreads bursts of work over turns of the event loop, fairly: each turn works for a slice of time, and lanes take turns. So a
 * flood of requests delays its own lane, and neither the others nor what else the event loop has to do.
 */
import { createFairQueue, type Lanes } from './fair-queue.ts';
import { createShares } from './shares.ts';
import { SLICE_MS } from './slices.ts';

export interface FairTurns {
  /**
   * Undefined: work now, since this turn has time left and nothing waits. Otherwise resolves when it is its turn, with true, or
   * at once with false: too many of its lanes wait. The work must follow without waiting for anything else.
   */
  enter(lanes: Lanes): Promise<boolean> | undefined;
  readonly waiting: number;
}

export interface FairTurnsOptions {
  readonly maxWaiting: number;
  /** `performance.now` by default. */
  readonly now?: () => number;
}

export function createFairTurns({ maxWaiting, now = () => performance.now() }: FairTurnsOptions): FairTurns {
  const queue = createFairQueue<() => void>();
  const places = createShares(maxWaiting);
  let began = 0;
  let scheduled = false;

  /** The time since the first work of this turn of the event loop. */
  const hasTime = () => {
    if (!scheduled) {
      scheduled = true;
      began = now();
      setImmediate(turn);
    }
    return now() - began < SLICE_MS;
  };
  const turn = (): void => {
    scheduled = false;
    if (queue.size > 0) work();
  };
  const work = (): void => {
    if (!hasTime()) return;
    queue.shift()?.();
    // After all the work that follows in microtasks: node:process runs ticks once these are over.
    if (queue.size > 0) queueMicrotask(() => process.nextTick(work));
  };

  return {
    get waiting() {
      return queue.size;
    },
    enter(lanes) {
      if (queue.size === 0 && hasTime()) return undefined;
      if (!places.fits(lanes)) return Promise.resolve(false);
      places.take(lanes);
      hasTime();
      return new Promise((resolve) => {
        queue.push(lanes, () => {
          places.giveBack(lanes);
          resolve(true);
        });
      });
    },
  };
}
