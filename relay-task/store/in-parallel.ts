/** At most this many writes of one environment are under way at once. */
export const inFlight = 16;

/**
 * Works through a list, `limit` at a time, each after the work on what it needs: other elements of the list, without
 * cycles. After the first failure it starts nothing new, and rejects with it once the rest has ended.
 */
export async function inParallel<T>(
  limit: number,
  list: readonly T[],
  work: (one: T) => Promise<unknown>,
  needsOf: (one: T) => readonly T[] = () => [],
): Promise<void> {
  const missing = new Map<T, number>();
  const users = new Map<T, T[]>();
  for (const one of list) {
    const needs = needsOf(one);
    missing.set(one, needs.length);
    for (const need of needs) {
      const its = users.get(need);
      if (its) its.push(one);
      else users.set(need, [one]);
    }
  }
  const ready = list.filter((one) => missing.get(one) === 0);
  const failures: unknown[] = [];
  let next = 0;
  let running = 0;

  await new Promise<void>((resolve) => {
    const end = (one: T) => {
      for (const user of users.get(one) ?? []) {
        const left = (missing.get(user) ?? 0) - 1;
        missing.set(user, left);
        if (left === 0) ready.push(user);
      }
      running -= 1;
      startMore();
    };
    const startMore = () => {
      while (running < limit && next < ready.length && failures.length === 0) {
        const one = ready[next++] as T;
        running += 1;
        work(one)
          .catch((error: unknown) => failures.push(error))
          .then(() => end(one));
      }
      if (running === 0) resolve();
    };
    startMore();
  });
  if (failures.length > 0) throw failures[0];
}
