/** Long work for many requests: done once for all that ask for the same meanwhile, in slices, and a few at once. */
import { createFairLine } from '../common/fair-line.ts';
import type { Lanes } from '../common/fair-queue.ts';
import { inSlices } from '../common/slices.ts';

export interface SharedWork {
  /**
   * Runs the work when its turn comes, one after the other in the same lanes, or joins that of an earlier call with the same owner and
   * name: unless it has begun, and `stateOf` returns something else than it did then. Rejects with what the work throws.
   */
  run<T>(asked: Asked, work: () => Generator<void, T>): Promise<T>;
}

export interface Asked {
  readonly owner: object;
  readonly name: string;
  readonly lanes: Lanes;
  /** The state of what the work reads. */
  stateOf(): string;
}

interface Job {
  readonly result: Promise<unknown>;
  /** Undefined: it has not begun. */
  begunAt: string | undefined;
}

const AT_ONCE = 4;

/** `maxInside`: so many are in progress at once; 4 by default. */
export function createSharedWork(maxInside = AT_ONCE): SharedWork {
  const line = createFairLine({ maxInside });
  const owners = new WeakMap<object, Map<string, Job>>();
  return {
    run<T>({ owner, name, lanes, stateOf }: Asked, work: () => Generator<void, T>): Promise<T> {
      const jobs = owners.get(owner) ?? new Map<string, Job>();
      owners.set(owner, jobs);
      const known = jobs.get(name);
      if (known && (known.begunAt === undefined || known.begunAt === stateOf())) return known.result as Promise<T>;
      const steps = function* (): Generator<void, T> {
        job.begunAt = stateOf();
        return yield* work();
      };
      const result = line.run(lanes, () => inSlices(steps()));
      const job: Job = { result, begunAt: undefined };
      jobs.set(name, job);
      const done = () => {
        if (jobs.get(name) === job) jobs.delete(name);
      };
      result.then(done, done);
      return result;
    },
  };
}
