/** Limits how many jobs run at the same time. Lanes take turns, and of the same lanes one job runs at a time. */
import { createFairQueue, type Lanes } from './fair-queue.ts';
import { createShares, MOST_FOR_ONE } from './shares.ts';
import { createTurnstile, type Turnstile } from './turnstile.ts';

export interface FairLine {
  /** Whether there is room for a job of that size: always if there is no other one, and otherwise in the lanes' shares of `maxSize`. */
  fits(lanes: Lanes, size: number): boolean;
  /** Runs a job when its turn comes, even if it does not fit. Rejects as the job does. */
  run<T>(lanes: Lanes, job: () => Promise<T>, size?: number): Promise<T>;
}

export interface FairLineOptions {
  readonly maxInside: number;
  /** Of all jobs that run or wait, together; without limit by default. */
  readonly maxSize?: number;
}

export function createFairLine({ maxInside, maxSize = Infinity }: FairLineOptions): FairLine {
  const places = createShares((taken) => maxSize - taken, MOST_FOR_ONE);
  const queue = createFairQueue<() => void>();
  /** Of the lanes that have jobs. */
  const own = new Map<string, { readonly turnstile: Turnstile; jobs: number }>();
  let inside = 0;

  const enter = async (lanes: Lanes): Promise<void> => {
    if (inside === maxInside) await new Promise<void>((resolve) => queue.push(lanes, resolve));
    else inside++;
  };
  const leave = (): void => {
    // The place goes straight to the next in line, so that a newcomer cannot take it.
    const next = queue.shift();
    if (next) next();
    else inside--;
  };

  return {
    fits: (lanes, size) => places.taken === 0 || places.fits(lanes, size),
    async run(lanes, job, size = 1) {
      const name = lanes.join('\n');
      const entry = own.get(name) ?? { turnstile: createTurnstile({ maxInside: 1 }), jobs: 0 };
      own.set(name, entry);
      entry.jobs++;
      places.take(lanes, size);
      try {
        return await entry.turnstile.run(async () => {
          await enter(lanes);
          try {
            return await job();
          } finally {
            leave();
          }
        });
      } finally {
        places.giveBack(lanes, size);
        entry.jobs--;
        if (entry.jobs === 0) own.delete(name);
      }
    },
  };
}
