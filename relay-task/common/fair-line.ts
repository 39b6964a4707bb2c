/** Limits how many jobs run at the same time. Lanes take turns, and of the same lanes one job runs at a time. */
import { createFairQueue, type Lanes } from './fair-queue.ts';
import { createShares, MOST_FOR_ONE } from './shares.ts';

export interface FairLine {
  /** Whether there is room for a job of that size: always if there is no other one, and otherwise in the lanes' shares of `maxSize`. */
  fits(lanes: Lanes, size: number): boolean;
  /**
   * Calls `begin` when its turn comes, at once if there is a place, with the function that leaves again. `begin` must not throw. Returns
   * the function that gives up waiting, which does nothing once `begin` was called. `stepAside` gives the place to another job, but of the
   * same lanes none begins before this one has left.
   */
  enter(lanes: Lanes, begin: (leave: () => void, stepAside: () => void) => void, size?: number): () => void;
  /** Runs a job when its turn comes, even if it does not fit. Rejects as the job does. */
  run<T>(lanes: Lanes, job: () => Promise<T>, size?: number): Promise<T>;
}

interface FairLineOptions {
  readonly maxInside: number;
  /** Of all jobs that run or wait, together; without limit by default. */
  readonly maxSize?: number;
}

interface Job {
  begin(leave: () => void, stepAside: () => void): void;
  readonly size: number;
}

/** The jobs of the same lanes. */
interface Group {
  readonly name: string;
  readonly lanes: Lanes;
  readonly waiting: Set<Job>;
  /** Whether one of them runs. */
  busy: boolean;
}

export function createFairLine({ maxInside, maxSize = Infinity }: FairLineOptions): FairLine {
  const places = createShares((taken) => maxSize - taken, MOST_FOR_ONE);
  const groups = new Map<string, Group>();
  /** Those of which a job may begin. */
  const queue = createFairQueue<Group>();
  let inside = 0;
  let proceeding = false;

  /** Jobs that leave at once must not begin the next one on top of the stack. */
  const proceed = (): void => {
    if (proceeding) return;
    proceeding = true;
    try {
      while (inside < maxInside) {
        const group = queue.shift();
        if (!group) return;
        const [job] = group.waiting;
        if (job) begin(group, job);
      }
    } finally {
      proceeding = false;
    }
  };
  const begin = (group: Group, job: Job): void => {
    let hasPlace = true;
    let hasLeft = false;
    group.waiting.delete(job);
    group.busy = true;
    inside++;
    const stepAside = () => {
      if (!hasPlace) return;
      hasPlace = false;
      inside--;
      proceed();
    };
    const leave = () => {
      if (hasLeft) return;
      hasLeft = true;
      group.busy = false;
      places.giveBack(group.lanes, job.size);
      if (group.waiting.size > 0) queue.push(group.lanes, group);
      else groups.delete(group.name);
      if (hasPlace) stepAside();
      else proceed();
    };
    job.begin(leave, stepAside);
  };
  const giveUp = (group: Group, job: Job): void => {
    if (!group.waiting.delete(job)) return;
    places.giveBack(group.lanes, job.size);
    if (group.busy || group.waiting.size > 0) return;
    queue.remove(group.lanes, group);
    groups.delete(group.name);
  };
  const groupOf = (lanes: Lanes): Group => {
    const name = lanes.join('\n');
    const group = groups.get(name) ?? { name, lanes, waiting: new Set(), busy: false };
    groups.set(name, group);
    return group;
  };

  const enter: FairLine['enter'] = (lanes, start, size = 1) => {
    const group = groupOf(lanes);
    const job: Job = { begin: start, size };
    places.take(lanes, size);
    group.waiting.add(job);
    if (!group.busy && group.waiting.size === 1) queue.push(lanes, group);
    proceed();
    return () => giveUp(group, job);
  };

  return {
    fits: (lanes, size) => places.taken === 0 || places.fits(lanes, size),
    enter,
    async run(lanes, job, size) {
      const leave = await new Promise<() => void>((resolve) => enter(lanes, resolve, size));
      try {
        return await job();
      } finally {
        leave();
      }
    },
  };
}
