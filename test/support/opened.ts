/** What a test opens is closed behind it, in reverse order and whatever fails. To be called once at the top of a test file. */
export function closeAfterEach() {
  const closers: (() => Promise<void> | void)[] = [];

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
    /** Runs behind the test. */
    behind: (close: () => Promise<void> | void) => void closers.push(close),
    opened<T extends { close(): Promise<void> | void }>(thing: T): T {
      closers.push(() => thing.close());
      return thing;
    },
  };
}
