/** Awaited often during long work: lets the event loop turn when the work has had its slice of time. */
export type Yield = () => Promise<void> | undefined;

/** Long enough to make progress, short enough not to delay requests. */
const sliceMs = 5;

export function createYield(): Yield {
  let until = performance.now() + sliceMs;
  return async () => {
    if (performance.now() < until) return;
    await new Promise((resolve) => setImmediate(resolve));
    until = performance.now() + sliceMs;
  };
}
