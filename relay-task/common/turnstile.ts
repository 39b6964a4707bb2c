/** Limits how many jobs run at the same time; those that come later wait their turn, first come, first served. */
export interface Turnstile {
  /**
   * Resolves with the function that leaves again, or with undefined when `signal` was aborted first. Rejects when
   * `maxWaiting` already wait.
   */
  enter(signal?: AbortSignal): Promise<(() => void) | undefined>;
  /** Runs a job when its turn comes. Rejects as `enter` and the job do. */
  run<T>(job: () => Promise<T>): Promise<T>;
}

export function createTurnstile({
  maxInside,
  maxWaiting = Infinity,
}: {
  readonly maxInside: number;
  readonly maxWaiting?: number;
}): Turnstile {
  const waiting = new Set<() => void>();
  let inside = 0;

  function leave(): void {
    const [next] = waiting;
    // The place goes straight to the next in line, so that a newcomer cannot take it.
    if (next) next();
    else inside -= 1;
  }

  function enter(signal?: AbortSignal): Promise<(() => void) | undefined> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return resolve(undefined);
      if (inside < maxInside) {
        inside += 1;
        return resolve(leave);
      }
      if (waiting.size >= maxWaiting) {
        return reject(new Error(`${inside} requests are in progress and ${maxWaiting} are waiting`));
      }
      const settle = (result: (() => void) | undefined) => {
        waiting.delete(admit);
        signal?.removeEventListener('abort', giveUp);
        resolve(result);
      };
      const admit = () => settle(leave);
      const giveUp = () => settle(undefined);
      waiting.add(admit);
      signal?.addEventListener('abort', giveUp);
    });
  }

  return {
    enter,
    async run(job) {
      const leaveAgain = await enter();
      try {
        return await job();
      } finally {
        leaveAgain?.();
      }
    },
  };
}
