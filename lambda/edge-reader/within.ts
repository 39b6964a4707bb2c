/** The relay's pause can be cut short, and has more code than a bundle that is loaded in every cold start should carry. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Settles with the work, or after `ms`. The work must never reject. */
export function within<T>(work: Promise<T>, ms: number): Promise<T | undefined> | undefined {
  if (ms <= 0) return undefined;
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    work.then((result) => {
      clearTimeout(timer);
      resolve(result);
    });
  });
}
