/** At most this many writes of one environment are under way at once. */
export const inFlight = 16;

/** Works through a list, `limit` at a time. After the first failure it starts nothing new, and rejects with it once the rest has ended. */
export async function inParallel<T>(
  limit: number,
  list: readonly T[],
  work: (one: T) => Promise<unknown>,
): Promise<void> {
  const queue = list.values();
  const failures: unknown[] = [];
  const worker = async () => {
    for (const one of queue) {
      if (failures.length > 0) return;
      await work(one).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, list.length) }, worker));
  if (failures.length > 0) throw failures[0];
}
