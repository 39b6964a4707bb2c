/** What memory takes from the stores: everything at first, and what is newer while LaunchDarkly cannot be reached. */
import { createPacedLines } from '../common/paced-lines.ts';
import { within } from '../common/pause.ts';
import { inSlices } from '../common/slices.ts';
import type { Turnstile } from '../common/turnstile.ts';
import type { Environment } from '../environments/environment.ts';
import type { EnvironmentDescription, Log, Store, StoredSet } from '../ports.ts';
import { type Admission, sourceOf } from './admission.ts';
import type { Storage } from './storage.ts';
import { startStoreFollower } from './store-follower.ts';

interface StoreIntakeOptions {
  readonly memory: Environment;
  readonly admission: Admission;
  readonly log: Log;
  description(): EnvironmentDescription;
  readonly storage: Pick<Storage, 'stores' | 'place' | 'distrust'>;
  /** Whether LaunchDarkly's data is at hand. */
  isCurrent(): boolean;
  /** `StoreFollowerOptions.reading` */
  readonly reading: Pick<Turnstile, 'run'>;
  /** `StoreFollowerOptions.pollMs` */
  readonly pollMs: number | undefined;
}

/** How long boot waits for a slow store before connecting upstream: a task has to serve within 3 s. */
const BOOT_FROM_STORE_MS = 2_000;

export function createStoreIntake(options: StoreIntakeOptions) {
  const { memory, admission, log, description, storage } = options;
  const { name: environment } = memory;
  const paced = createPacedLines();
  /**
   * The place is for another source than the data in memory is of: they came together, or a task that starts in a rotation has
   * an earlier key's data.
   */
  let isAhead = isForOtherKey();
  let isRefused = false;
  const firstPlace = storage.place;
  const follower = startStoreFollower({
    stores: () => storage.stores,
    reading: options.reading,
    isCutOff: () => !options.isCurrent() && admission.key() !== undefined && (!memory.initialized || !isForOther()),
    prepare,
    adopt: follow,
    pollMs: options.pollMs,
  });

  function isForOtherKey(): boolean {
    const present = description();
    return present.awaitsKey === true || admission.source() !== sourceOf(present);
  }

  function isForOther(): boolean {
    isAhead &&= isForOtherKey();
    return isAhead;
  }

  function prepare({ items }: StoredSet): Promise<void> {
    return inSlices(memory.prepare(items));
  }

  /** Memory begins with what a store holds, unless it has data or the store's is another key's. Returns how many items it took. */
  function takeFirst({ items, source }: StoredSet, store: Store): number {
    const hasData = memory.initialized;
    const { database } = store.status();
    if (!hasData && !admission.takes(source)) {
      isRefused = true;
      isAhead = true;
      paced(database, () =>
        log.warn("The store holds another SDK key's flags; waiting for LaunchDarkly", {
          environment,
          database,
          runbook: 'operations.md#upstream-disconnected',
        }),
      );
      storage.distrust();
      return 0;
    }
    // The place holds that data already.
    if (!isRefused && (!hasData || admission.owns(source))) isAhead = false;
    if (hasData) return 0;
    memory.boot(items);
    log.info('Booted from the store', { environment, database, items: items.length });
    return items.length;
  }

  /** Takes what is newer in a store, if it is data of the same source. Returns how many items were. */
  function follow(set: StoredSet, store: Store): number {
    // Data without a mark counts as this environment's only in the place that the task started with.
    if (set.source === undefined && storage.place !== firstPlace) return 0;
    if (!memory.initialized) return takeFirst(set, store);
    const items = admission.owns(set.source) ? memory.follow(set.items) : 0;
    if (items > 0) {
      const { database } = store.status();
      const reason = 'LaunchDarkly cannot be reached';
      log.info('Took newer flags from the store', { environment, database, items, reason });
    }
    return items;
  }

  /** Resolves when the store was read, or takes too long. */
  async function bootFrom(store: Store): Promise<void> {
    const read = store.read().then(
      async (set) => {
        if (!set) return;
        await prepare(set);
        takeFirst(set, store);
      },
      // The store has logged it and retries.
      () => {},
    );
    await within(BOOT_FROM_STORE_MS, read);
  }

  return {
    /** Whether the place is for other data than that in memory, which must not be written there. */
    isForOther,
    /** Another environment may have the next place. What is in memory is not written there unless it is of the present source. */
    moves(): void {
      isAhead = true;
    },
    async boot(): Promise<void> {
      await Promise.all(storage.stores.map(bootFrom));
      follower.check();
    },
    check: follower.check,
    followed: follower.followed,
    close: follower.close,
  };
}
