import { SLICE_MS } from '../common/slices.ts';

/** Spreads bursts of work, such as first answers after a storm of connects, over turns of the event loop. */
export interface Turns {
  /** Runs now if this turn has time left and nothing waits, otherwise in a later turn, in order. */
  run(work: () => void): void;
}

export function createTurns(): Turns {
  let queue: (() => void)[] = [];
  let first = 0;
  let spentMs = 0;
  let scheduled = false;

  const work = (job: () => void) => {
    const began = performance.now();
    job();
    spentMs += performance.now() - began;
  };
  const schedule = () => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(turn);
  };
  const turn = () => {
    scheduled = false;
    spentMs = 0;
    for (let job = queue[first]; job && spentMs < SLICE_MS; job = queue[first]) {
      first++;
      work(job);
    }
    if (first === queue.length) {
      queue = [];
      first = 0;
    }
    // Even with an empty queue, so that the next turn starts with its full time.
    if (spentMs > 0) schedule();
  };

  return {
    run(job) {
      if (first === queue.length && spentMs < SLICE_MS) work(job);
      else queue.push(job);
      schedule();
    },
  };
}
