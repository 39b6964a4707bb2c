/** A relay that LaunchDarkly cannot reach serves what other relays write to the stores. */
import { spread } from '../common/backoff.ts';
import { createPause } from '../common/pause.ts';
import type { Turnstile } from '../common/turnstile.ts';
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
  /** Limits how many sets are read at the same time, over all environments: a set can be large, and all are cut off at once. */
  readonly reading: Pick<Turnstile, 'run'>;
  /** Awaited before `adopt`, which then takes little time. */
  prepare?(set: StoredSet): Promise<void>;
  /** Takes what is newer in the set. Returns how many items were. Must not throw. */
  adopt(set: StoredSet, store: Store): number;
  /** Between two looks, ± 20 %; 3 s. A connection that only breaks is back by then. */
  readonly pollMs?: number | undefined;
}

const POLL_MS = 3_000;
/**
 * How many looks in a row read the set again after its stamp has changed: a replica in another region gets the rows of one
 * publication in any order. One that was not seen to change is read twice.
 */
const SETTLING = 3;
/** A set without a stamp was written by another program, and nothing shows when it changes: it is read once in so many looks. */
const WITHOUT_STAMP = 3;

/** What the last looks at a store have shown. */
interface Seen {
  stamp: string | undefined;
  /** How many further looks read the set although its stamp is the same. */
  left: number;
  looks: number;
}

export function startStoreFollower(options: StoreFollowerOptions): StoreFollower {
  const { stores, isCutOff, adopt, reading, pollMs = POLL_MS } = options;
  const pause = createPause();
  const seen = new WeakMap<Store, Seen>();
  let closed = false;
  let running: Promise<void> | undefined;
  let last: ReturnType<StoreFollower['followed']>;

  const isNeeded = () => !closed && isCutOff();

  async function look(store: Store): Promise<void> {
    const known = seen.get(store) ?? { stamp: undefined, left: 2, looks: 0 };
    seen.set(store, known);
    try {
      const stamp = await store.stamp();
      if (known.looks > 0 && stamp !== known.stamp) known.left = SETTLING;
      known.stamp = stamp;
      known.looks += 1;
      if (known.left === 0 && (stamp !== undefined || known.looks % WITHOUT_STAMP !== 0)) return;
      const set = await reading.run(async () => {
        const read = isNeeded() ? await store.read() : undefined;
        if (read) await options.prepare?.(read);
        return read;
      });
      // The upstream may have delivered, or the stores may be others, meanwhile.
      if (!isNeeded() || !stores().includes(store)) return;
      known.left = Math.max(0, known.left - 1);
      if (set && adopt(set, store) > 0) last = { database: store.status().database, time: Date.now() };
    } catch {
      // The store has logged the reason; what failed is read with the next look.
      known.left = Math.max(1, known.left);
    }
  }

  async function run(): Promise<void> {
    last = undefined;
    for (;;) {
      await pause.wait(spread(pollMs, 0.2));
      if (!isNeeded()) return;
      // One that is slow must not delay the others.
      await Promise.all(stores().map(look));
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
