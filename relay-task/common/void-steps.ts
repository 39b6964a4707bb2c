/** The same work, but it ends early with undefined once it is void. */
export function* unlessVoid<T>(steps: Generator<void, T>, isVoid: () => boolean): Generator<void, T | undefined> {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    yield;
    if (isVoid()) return undefined;
  }
}
