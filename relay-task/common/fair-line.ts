/** Limits how many jobs run at the same time. Lanes take turns, and of the same lanes one job runs at a time. */
import { createFairQueue, type Lanes } from './fair-queue.ts';
import { createTurnstile, type Turnstile } from './turnstile.ts';

export interface FairLine {
  /** Runs a job when its turn comes. Rejects as the job does. */
  run<T>(lanes: Lanes, job: () => Promise<T>): Promise<T>;
}

export function createFairLine({ maxInside }: { readonly maxInside: number }): FairLine {
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
    async run(lanes, job) {
      const name = lanes.join('\n');
      const entry = own.get(name) ?? { turnstile: createTurnstile({ maxInside: 1 }), jobs: 0 };
      own.set(name, entry);
      entry.jobs++;
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
        entry.jobs--;
        if (entry.jobs === 0) own.delete(name);
      }
    },
  };
}
