/** Work in slices, observed without the machine's speed. */

export interface SlicedTurns {
  /** Turns of the event loop so far. */
  readonly turns: number;
  stop(): void;
}

/**
 * Counts turns of the event loop. Until it is stopped, each look at `performance.now` takes 1 ms, so that a slice ends after
 * the same number of steps on every machine.
 */
export function countSlicedTurns(): SlicedTurns {
  let turns = 0;
  let counting = true;
  let clock = performance.now();
  const now = jest.spyOn(performance, 'now').mockImplementation(() => {
    clock += 1;
    return clock;
  });
  const next = () => {
    turns += 1;
    if (counting) setImmediate(next);
  };
  setImmediate(next);
  return {
    get turns() {
      return turns;
    },
    stop() {
      counting = false;
      now.mockRestore();
    },
  };
}
