/** Long computations that let the event loop do other work in between. */

/**
 * The longest that work in slices may block one turn of the event loop, in ms: less than an SDK's request takes by itself, which may
 * have to wait for one or two of them.
 */
export const SLICE_MS = 0.5;

/** Resolves in the next turn of the event loop. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export interface SlicesOptions {
  /** Between two slices; `nextTurn`. What it rejects with ends the work. */
  readonly pause?: () => Promise<unknown>;
  /** `performance.now`. */
  readonly now?: () => number;
}

/** Runs a generator to its end. Between two of its yields, other work may run; it should yield about every millisecond. */
export async function inSlices<T>(
  work: Generator<unknown, T>,
  { pause = nextTurn, now = () => performance.now() }: SlicesOptions = {},
): Promise<T> {
  for (;;) {
    const until = now() + SLICE_MS;
    do {
      const { done, value } = work.next();
      if (done) return value;
    } while (now() < until);
    await pause();
  }
}

/** The same in one turn. */
export function resultOf<T>(work: Generator<unknown, T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}
