/** Long computations that let the event loop do other work in between. */

/** The longest that work in slices may block one turn of the event loop, in ms. */
export const SLICE_MS = 4;

/** Resolves in the next turn of the event loop. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Runs a generator to its end. Between two of its yields, other work may run; it should yield about every millisecond. */
export async function inSlices<T>(
  work: Generator<unknown, T>,
  now: () => number = () => performance.now(),
): Promise<T> {
  for (;;) {
    const until = now() + SLICE_MS;
    do {
      const { done, value } = work.next();
      if (done) return value;
    } while (now() < until);
    await nextTurn();
  }
}
