/** Room for so much work at a time; who comes later waits, first come first served. */
export interface Slots {
  /** What gives the slot back; undefined when the wait was cut short. */
  take(signal: AbortSignal): Promise<(() => void) | undefined>;
}

export function createSlots(count: number): Slots {
  const waiting = new Set<() => void>();
  let free = count;
  function giveBack() {
    const [next] = waiting;
    if (next) next();
    else free += 1;
  }
  return {
    take(signal) {
      if (signal.aborted) return Promise.resolve(undefined);
      if (free > 0) {
        free -= 1;
        return Promise.resolve(giveBack);
      }
      return new Promise((resolve) => {
        const leave = () => {
          waiting.delete(enter);
          signal.removeEventListener('abort', cut);
        };
        const enter = () => {
          leave();
          resolve(giveBack);
        };
        const cut = () => {
          leave();
          resolve(undefined);
        };
        waiting.add(enter);
        signal.addEventListener('abort', cut);
      });
    },
  };
}
