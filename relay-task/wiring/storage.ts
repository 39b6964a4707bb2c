import type { Environment } from '../environments/environment.ts';
import type { BigSegments, Log, Store } from '../ports.ts';
import type { KnownMemberships } from '../store/big-segments-lookup.ts';
import type { Admission } from './admission.ts';
import { createBackground } from './background.ts';
import { isSamePlace, type Place } from './stores.ts';

export interface TenantBigSegments extends BigSegments {
  /** To be called once the environment is known to have Big Segments. */
  start(): void;
  /** The key whose flags are in memory is another one. */
  follow(): void;
  /** LaunchDarkly's ID of the environment whose memberships were read last, as far as the store says. */
  owner(): string | undefined;
  /** What Big Segments of the same environment in another place, or under another name, begin with. */
  handOver(): FormerBigSegments;
  close(): Promise<void>;
}

export interface BigSegmentsOpening {
  /** LaunchDarkly's ID of the environment whose Big Segments these are; once it is known it stays the same. */
  environment(): string | undefined;
  /** Whether members that name no environment count as this one's. */
  adopts(): boolean;
  /** After each batch that was applied. */
  onBatch(): void;
  /** Where the same environment's members were before. */
  readonly former?: FormerBigSegments | undefined;
}

interface FormerBigSegments {
  /** The last one first. */
  readonly places: readonly Place[];
  readonly known: KnownMemberships;
}

interface StorageOptions {
  readonly log: Log;
  readonly memory: Environment;
  readonly admission: Admission;
  /** The first one. */
  readonly place: Place;
  /** May throw. */
  openStores(place: Place): readonly Store[];
  /** Undefined where no store holds Big Segments. */
  openBigSegments(place: Place, how: BigSegmentsOpening): TenantBigSegments | undefined;
}

const FLUSH_MS = 5_000;

/** What keeps a tenant's data outside this process, in one place of each store. */
export function createStorage(options: StorageOptions) {
  const { log, memory, admission } = options;
  /** What is left and being closed. */
  const closing = createBackground();
  let { place } = options;
  let stores: readonly Store[] = [];
  let bigSegments: TenantBigSegments | undefined;
  /** Whose data `bigSegments` serves, as far as LaunchDarkly said; once it is known it stays the same. */
  let served: { environment?: string | undefined };
  /** False: what the stores hold without a name may be another environment's. */
  let adopts = true;
  let isMissingTold = false;

  /** Once memory has Big Segments. Idempotent. */
  function startBigSegments(): void {
    if (!memory.hasBigSegments) return;
    bigSegments?.start();
    if (bigSegments || isMissingTold) return;
    isMissingTold = true;
    const names = stores.map((store) => store.status().database).join(' and ');
    log.warn('Flags use Big Segments, but no store holds them; treating all contexts as non-members', {
      environment: memory.name,
      reason: `${names === '' ? 'there is no store' : `${names} cannot hold them`}; add Redis or DynamoDB`,
      runbook: 'operations.md#big-segments-stale',
    });
  }

  function openBigSegments(former?: FormerBigSegments): void {
    const mine: typeof served = {};
    served = mine;
    bigSegments = options.openBigSegments(place, {
      environment: () => (mine.environment ??= admission.environment()),
      adopts: () => adopts,
      onBatch: () => memory.bigSegmentsChanged(),
      former,
    });
    startBigSegments();
  }

  const close = () => Promise.all([...stores.map(flushAndClose), bigSegments?.close(), closing.ended()]);

  stores = options.openStores(place);
  openBigSegments();
  return {
    get place() {
      return place;
    },
    get stores() {
      return stores;
    },
    get bigSegments() {
      return bigSegments;
    },
    startBigSegments,
    /** Opens another place, and closes the one before. False: it is the same. */
    move(next: Place): boolean {
      if (isSamePlace(next, place)) return false;
      const left = { stores, bigSegments };
      // May throw, and then nothing has changed.
      stores = options.openStores(next);
      place = next;
      openBigSegments(left.bigSegments?.handOver());
      // Memory may get another source's data before all is written, and another environment may have that place now.
      for (const store of left.stores) store.setEligible(false);
      closing.add(Promise.all([...left.stores.map((store) => store.close()), left.bigSegments?.close()]));
      return true;
    },
    /** The stores hold another key's flags, so that their Big Segments may be another environment's, too. */
    distrust() {
      adopts = false;
    },
    /** Begins with another tenant's memberships, which are the same environment's. */
    inherit(other: TenantBigSegments | undefined): void {
      if (!other) return;
      if (bigSegments) closing.add(bigSegments.close());
      openBigSegments(other.handOver());
    },
    /**
     * To be called when memory gets data of a source. True: it is another environment's, or may be, and nothing that was known about
     * memberships is used any longer.
     */
    followSource(mayBeForeign: boolean): boolean {
      // A file names no environment, but the memberships that its flags were evaluated with may be one's.
      const before = served.environment ?? bigSegments?.owner();
      const now = admission.environment();
      const mayHoldForeign = mayBeForeign && memory.hasBigSegments;
      const isForeign = before === undefined || now === undefined ? mayHoldForeign : before !== now;
      if (!isForeign) {
        bigSegments?.follow();
        return false;
      }
      adopts = false;
      if (bigSegments) closing.add(bigSegments.close());
      openBigSegments();
      return true;
    },
    close,
  };
}

async function flushAndClose(store: Store): Promise<void> {
  await store.flush(FLUSH_MS);
  await store.close();
}

export type Storage = ReturnType<typeof createStorage>;
