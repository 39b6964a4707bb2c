/** A sender that has begun something must finish it, at 1 KB/s or more. */

interface LeastPaceOptions {
  /** What is unfinished, for the message, and how long it may stay below the pace; undefined: nothing is. */
  unfinished(): { readonly what: string; readonly withinMs: number } | undefined;
  /** Grows while what is unfinished arrives, and never falls. */
  arrivedBytes(): number;
  /** The relay is not reading at present. */
  isBusy(): boolean;
  onTooSlow(problem: string): void;
}

const BYTES_PER_MS = 1;

export function createLeastPace({ unfinished, arrivedBytes, isBusy, onTooSlow }: LeastPaceOptions) {
  let timer: NodeJS.Timeout | undefined;
  let watched: string | undefined;

  function watch(what: string, withinMs: number): void {
    const before = arrivedBytes();
    watched = what;
    timer = setTimeout(() => {
      timer = undefined;
      const came = arrivedBytes() - before;
      if (isBusy() || came >= withinMs * BYTES_PER_MS) return check();
      onTooSlow(`only ${Math.max(0, came)} bytes received within ${withinMs} ms, within ${what}`);
    }, withinMs);
  }

  function stop(): void {
    clearTimeout(timer);
    timer = undefined;
  }

  /** Call this whenever something may have begun or ended. */
  function check(): void {
    const present = unfinished();
    // What follows has its own time limit.
    if (present?.what !== watched) stop();
    if (present && !timer) watch(present.what, present.withinMs);
  }

  return { check, stop };
}
