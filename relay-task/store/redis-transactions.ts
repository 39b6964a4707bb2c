/** Transactions with WATCH and MULTI, for servers that refuse scripts. */
import { sleep } from '../common/pause.ts';

const MOST_TRIES = 20;

/**
 * Repeats a transaction until nobody else has written meanwhile; `attempt` then returns something. Rejects with what `attempt` rejects
 * with, and after 20 attempts with the message that `describe` makes of their number.
 */
export async function untilUndisturbed<T>(
  attempt: () => Promise<T | undefined>,
  describe: (tries: number) => string,
): Promise<T> {
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    const done = await attempt();
    if (done !== undefined) return done;
    // From 0, unlike a backoff: the server is well, and two writers that are in each other's way should part.
    await sleep(Math.random() * 5 * tries);
  }
  throw new Error(describe(MOST_TRIES));
}
