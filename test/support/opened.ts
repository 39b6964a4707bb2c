/** Closes what a test opened after it, in reverse order and even if one fails. Call it once at the top of a test file. */
export function closeAfterEach() {
  const closers: (() => unknown)[] = [];

  afterEach(async () => {
    const failures: unknown[] = [];
    for (const close of closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  });

  return {
    /** Runs after the test. */
    behind: (close: () => unknown) => void closers.push(close),
    opened<T extends { close(): unknown }>(thing: T): T {
      closers.push(() => thing.close());
      return thing;
    },
  };
}
