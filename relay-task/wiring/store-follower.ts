/** A relay that LaunchDarkly cannot reach serves what other relays write to the stores. */
import { createPause } from '../common/pause.ts';
import type { Store, StoredSet, StoreStatus } from '../ports.ts';

export interface StoreFollower {
  /** Memory may be cut off now. Looks at the stores from then on, as long as it is. */
  check(): void;
  /** The store whose newer data memory has, and when it came, Unix ms; undefined while memory is not cut off, or had all. */
  followed(): { readonly database: StoreStatus['database']; readonly time: number } | undefined;
  close(): Promise<void>;
}

export interface StoreFollowerOptions {
  /** Those that are open at present. */
  stores(): readonly Store[];
  /** Whether LaunchDarkly's data cannot be had, and the stores may have it. */
  isCutOff(): boolean;
  /** Takes what is newer in the set. Returns how many items were. Must not throw. */
  adopt(set: StoredSet, store: Store): number;
  /** Between two looks, ± 20 %; 3 s. A connection that only breaks is back by then. */
  readonly pollMs?: number | undefined;
  /** For jitter; `Math.random`. */
  random?(): number;
}

const POLL_MS = 3_000;
/**
 * How long, in polls, a set is read again after its stamp has changed: a replica in another region gets the rows of one
 * publication in any order.
 */
const SETTLING = 3;
/** Every so many polls a set is read although its stamp is the same, or none: other programs do not change it. */
const ANYWAY = 5;

/** What the last looks at a store have shown. */
interface Seen {
  stamp: string | undefined;
  /** So many looks ago the stamp was another one. */
  unchanged: number;
}

export function startStoreFollower(options: StoreFollowerOptions): StoreFollower {
  const { stores, isCutOff, adopt, pollMs = POLL_MS, random = Math.random } = options;
  const pause = createPause();
  let closed = false;
  let running: Promise<void> | undefined;
  let last: ReturnType<StoreFollower['followed']>;

  const isNeeded = () => !closed && isCutOff();

  async function look(store: Store, seen: Seen): Promise<void> {
    const stamp = await store.stamp();
    seen.unchanged = stamp === seen.stamp ? seen.unchanged + 1 : 0;
    seen.stamp = stamp;
    if (seen.unchanged > SETTLING && seen.unchanged % ANYWAY !== 0) return;
    const set = await store.read();
    // The upstream may have delivered, or the stores may be others, meanwhile.
    if (!set || !isNeeded() || !stores().includes(store)) return;
    if (adopt(set, store) > 0) last = { database: store.status().database, time: Date.now() };
  }

  async function run(): Promise<void> {
    const seen = new Map<Store, Seen>();
    last = undefined;
    for (;;) {
      await pause.wait(pollMs * (0.8 + 0.4 * random()));
      if (!isNeeded()) return;
      for (const store of stores()) {
        const ofStore = seen.get(store) ?? { stamp: undefined, unchanged: 0 };
        seen.set(store, ofStore);
        // The store has logged the reason.
        await look(store, ofStore).catch(() => {});
      }
    }
  }

  return {
    check() {
      if (running || !isNeeded() || stores().length === 0) return;
      running = run().finally(() => {
        running = undefined;
      });
    },
    followed: () => (isCutOff() ? last : undefined),
    async close() {
      closed = true;
      pause.wake();
      await running;
    },
  };
}
