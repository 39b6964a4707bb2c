/** The same work, which ends early with undefined if it is void after one of its steps. */
export function* unlessVoid<T>(steps: Generator<void, T>, isVoid: () => boolean): Generator<void, T | undefined> {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    yield;
    if (isVoid()) return undefined;
  }
}
