/** Waits until records are written, none of them long. `late`: writing takes longer than `lateMs`. */
export function createWaits(lateMs: number, late: () => void) {
  let waiting: { readonly number: number; readonly since: number; readonly end: () => void }[] = [];
  let timer: NodeJS.Timeout | undefined;
  let isLate = false;

  function watch(): void {
    clearTimeout(timer);
    timer = undefined;
    const [first] = waiting;
    // From when the first of them came: others may be written while it waits.
    if (first) timer = setTimeout(giveUp, Math.max(0, first.since + lateMs - performance.now()));
  }

  function giveUp(): void {
    isLate = true;
    late();
    for (const { end } of waiting) end();
    waiting = [];
    timer = undefined;
  }

  return {
    /** The last wait was too long, so there are none until everything is written. */
    get isLate() {
      return isLate;
    },
    /** Resolves when the record with this number has passed. `passed`: the last one that has. */
    until(number: number, passed: number): Promise<void> {
      if (isLate || number <= passed) return Promise.resolve();
      return new Promise((end) => {
        waiting.push({ number, since: performance.now(), end });
        if (!timer) watch();
      });
    },
    /** Records up to this one are written, or could not be. `isAll`: there are no others. True: it is in time again. */
    passed(number: number, isAll: boolean): boolean {
      // In the order of their numbers.
      const first = waiting.findIndex((one) => one.number > number);
      for (const { end } of waiting.splice(0, first < 0 ? waiting.length : first)) end();
      watch();
      const isOver = isLate && isAll;
      if (isOver) isLate = false;
      return isOver;
    },
  };
}
