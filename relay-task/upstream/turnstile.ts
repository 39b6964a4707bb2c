/** Lets so many jobs run at the same time and so many wait, in their order; the next one is turned away (rejects). */
export function createTurnstile({ maxInside, maxWaiting }: { maxInside: number; maxWaiting: number }) {
  const waiting: (() => void)[] = [];
  let inside = 0;

  return async <T>(job: () => Promise<T>): Promise<T> => {
    if (inside >= maxInside) {
      if (waiting.length >= maxWaiting) throw new Error(`${inside} questions are under way and ${maxWaiting} wait`);
      // Whoever leaves hands over its place.
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else {
      inside += 1;
    }
    try {
      return await job();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else inside -= 1;
    }
  };
}
