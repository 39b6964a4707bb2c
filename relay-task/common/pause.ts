/** Waits that can be cut short. */

/** The longest that a timer can wait: 24 days. A longer one would end at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms`, or at once when `signal` is aborted. Never rejects; the caller looks at its signal. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, Math.max(0, ms));
    signal?.addEventListener('abort', end);
  });
}

/** What the work resolves with, or undefined after `ms`; the work goes on. Rejects if the work does before that. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const done = new AbortController();
  try {
    return await Promise.race([work, sleep(ms, done.signal).then(() => undefined)]);
  } finally {
    done.abort();
  }
}

/** A loop's pause: one sleeper that others can wake. */
export function createPause() {
  let woken = false;
  let end: (() => void) | undefined;
  return {
    /** Resolves after `ms` (Infinity: only when woken). */
    wait(ms: number): Promise<void> {
      return new Promise((resolve) => {
        let timer: NodeJS.Timeout | undefined;
        end = () => {
          clearTimeout(timer);
          end = undefined;
          woken = false;
          resolve();
        };
        if (woken) end();
        else if (ms !== Infinity) timer = setTimeout(end, Math.max(0, ms));
      });
    },
    /** Ends the wait. Without one, the next wait ends at once, so that a call just before it is not lost. */
    wake(): void {
      woken = true;
      end?.();
    },
  };
}
