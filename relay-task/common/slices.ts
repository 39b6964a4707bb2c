/** Long computations that let the event loop do other work in between. */

/**
 * The longest that work in slices may block one turn of the event loop, in ms: less than an SDK's request takes by itself, which may
 * have to wait for one or two of them.
 */
export const SLICE_MS = 0.5;

/** One for the process, as the event loop is. What waits for a turn, the first first. */
const waiting: (() => void)[] = [];
/** Of this turn of the event loop. */
let isOpen = false;
let endsAt = 0;

/**
 * When this turn of the event loop has had its slice, by `performance.now`. All work in slices shares it: hundreds of environments that
 * change at the same time would otherwise have one each.
 */
export function sliceEnd(): number {
  const latest = performance.now() + SLICE_MS;
  if (!isOpen) setImmediate(turn);
  // A clock that a test had put forward may have been put back.
  if (!isOpen || endsAt > latest) endsAt = latest;
  isOpen = true;
  return endsAt;
}

function turn(): void {
  isOpen = false;
  if (waiting.length === 0) return;
  sliceEnd();
  work();
}

/** At least one in each turn, however long the rest of it takes. */
function work(): void {
  waiting.shift()?.();
  // After all the work that follows in microtasks: node:process runs ticks once these are over.
  if (waiting.length > 0) queueMicrotask(() => process.nextTick(goOn));
}

function goOn(): void {
  if (performance.now() < endsAt) work();
}

/** Runs a slice of work in one of the next turns of the event loop, in the order of the calls. It should end at `sliceEnd`. */
export function inNextTurn(slice: () => void): void {
  waiting.push(slice);
  sliceEnd();
}

/** The same for work that continues after `await`. */
export const nextTurn = (): Promise<void> => new Promise(inNextTurn);

/** To be awaited often in long work: waits if this turn has had its slice. */
export const whenDue = (): Promise<void> | undefined => (performance.now() < sliceEnd() ? undefined : nextTurn());

export interface SlicesOptions {
  /** Between two slices, if the work has turns of its own: each has a slice. What it rejects with ends the work. */
  readonly pause?: () => Promise<unknown>;
}

/** Runs a generator to its end. Between two of its yields, other work may run; it should yield at least every half a millisecond. */
export async function inSlices<T>(work: Generator<unknown, T>, { pause }: SlicesOptions = {}): Promise<T> {
  const due = pause ? undefined : whenDue();
  if (due) await due;
  for (;;) {
    const until = pause ? performance.now() + SLICE_MS : sliceEnd();
    do {
      const { done, value } = work.next();
      if (done) return value;
    } while (performance.now() < until);
    await (pause ?? nextTurn)();
  }
}

/** The same in one turn. */
export function resultOf<T>(work: Generator<unknown, T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}
