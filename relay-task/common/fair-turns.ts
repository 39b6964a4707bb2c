/**
 * Spreads bursts of work over turns of the event loop, fairly: each turn works for a slice of time, and lanes take turns. So a
 * flood of requests delays its own lane, and neither the others nor what else the event loop has to do.
 */
import { createFairQueue, type Lanes } from './fair-queue.ts';
import { createShares, MOST_FOR_ONE } from './shares.ts';
import { SLICE_MS } from './slices.ts';

export interface FairTurns {
  /**
   * Undefined: work now, since this turn has time left and nothing waits. Otherwise resolves when it is its turn, with true, or
   * at once with false: too many of its lanes wait. The work must follow without waiting for anything else.
   */
  enter(lanes: Lanes): Promise<boolean> | undefined;
  /** The same for work that is limited elsewhere: it is never turned away. */
  await(lanes: Lanes): Promise<unknown> | undefined;
  /**
   * Call for each new connection. Node.js accepts one in each turn of the event loop, so while they arrive some turns are
   * kept short: otherwise those in the queue of the kernel would wait for a slice of work each.
   */
  connected(): void;
  readonly waiting: number;
}

interface FairTurnsOptions {
  /** Those that `enter`. */
  readonly maxWaiting: number;
  /** `performance.now` by default. */
  readonly now?: () => number;
}

/** At most this many turns with new connections pass between two slices of work. */
const SHORT_TURNS = 8;

export function createFairTurns({ maxWaiting, now = () => performance.now() }: FairTurnsOptions): FairTurns {
  const queue = createFairQueue<() => void>();
  // A whole fleet may come back at once.
  const places = createShares((taken) => maxWaiting - taken, MOST_FOR_ONE);
  let began = 0;
  let scheduled = false;
  let connections = false;
  let shortTurns = 0;

  /** Whether this turn of the event loop has time left. */
  const hasTime = () => {
    schedule();
    return now() - began < SLICE_MS && !(connections && shortTurns < SHORT_TURNS);
  };
  const schedule = () => {
    if (scheduled) return;
    scheduled = true;
    began = now();
    setImmediate(turn);
  };
  const turn = (): void => {
    scheduled = false;
    const isShort = connections && shortTurns < SHORT_TURNS;
    shortTurns = isShort ? shortTurns + 1 : 0;
    connections = false;
    if (queue.size === 0) return;
    schedule();
    if (!isShort) work();
  };
  const work = (): void => {
    if (!hasTime()) return;
    queue.shift()?.();
    // After all the work that follows in microtasks: node:process runs ticks once these are over.
    if (queue.size > 0) queueMicrotask(() => process.nextTick(work));
  };
  const wait = (lanes: Lanes, begin: () => void): void => {
    schedule();
    queue.push(lanes, begin);
  };

  return {
    get waiting() {
      return queue.size;
    },
    enter(lanes) {
      if (queue.size === 0 && hasTime()) return undefined;
      if (!places.fits(lanes)) return Promise.resolve(false);
      places.take(lanes);
      return new Promise((resolve) => {
        wait(lanes, () => {
          places.giveBack(lanes);
          resolve(true);
        });
      });
    },
    await(lanes) {
      if (queue.size === 0 && hasTime()) return undefined;
      return new Promise((resolve) => {
        wait(lanes, () => resolve(undefined));
      });
    },
    connected() {
      connections = true;
      schedule();
    },
  };
}
