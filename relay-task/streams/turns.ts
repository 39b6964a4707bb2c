/** How long one turn of the event loop may be kept from everyone else, in ms. */
export const SLICE_MS = 4;

/** Work that comes in any number at once, such as first answers after a storm of connects, done a slice in each turn. */
export interface Turns {
  /** Does it now if this turn has time left and nobody waits, else in a later turn, in order. */
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
    while (first < queue.length && spentMs < SLICE_MS) work(queue[first++]!);
    if (first === queue.length) {
      queue = [];
      first = 0;
    }
    // Also with an empty queue: the next turn's time is its own.
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
