/** One environment, or one payload filter of one, from its first data to its end: memory, streams, stores and upstream. */
import type { Budget } from '../common/budget.ts';
import type { Kept } from '../common/kept.ts';
import { createPacedLines } from '../common/paced-lines.ts';
import { sleep } from '../common/pause.ts';
import { inSlices } from '../common/slices.ts';
import type { Turnstile } from '../common/turnstile.ts';
import { createEnvironment, type Environment } from '../environments/environment.ts';
import type {
  BigSegments,
  Change,
  EnvironmentDescription,
  Log,
  Memberships,
  Store,
  StoredSet,
  StoreStatus,
  UpstreamStatus,
} from '../ports.ts';
import type { KnownMemberships } from '../store/big-segments-lookup.ts';
import type { EnvironmentStreams, StreamSource } from '../streams/hub.ts';
import { type Admission, createAdmission, type Heard, sourceOf } from './admission.ts';
import { createBackground } from './background.ts';
import { type StoreFollower, startStoreFollower } from './store-follower.ts';
import { isSamePlace, type Place } from './stores.ts';
import { createFollowingUpstream, type SinkOf, type TenantUpstream } from './tenant-upstream.ts';

export interface Tenant {
  /** `NAME`, or `NAME/FILTER`: for logs, metrics and `/status`. */
  readonly name: string;
  /** '' for everything. */
  readonly filter: string;
  /** What the source says at present. */
  readonly description: EnvironmentDescription;
  /** Which of its credentials may have the data in memory. */
  readonly admission: Omit<Admission, 'update'>;
  /** Why its flags do not come from the source that the description names. */
  readonly sourceProblem: EnvironmentDescription['keyProblem'];
  /** Unix ms. */
  readonly createdAt: number;
  readonly memory: Environment;
  readonly streams: EnvironmentStreams;
  readonly stores: readonly Store[];
  readonly upstream: TenantUpstream | undefined;
  readonly bigSegments: TenantBigSegments | undefined;
  /** See `StoreFollower`. */
  followedStore(): ReturnType<StoreFollower['followed']>;
  /** The SDK key whose data may be written to the stores; undefined while memory holds data of another source than the place is for. */
  writingKey(): string | undefined;
}

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

/** What the modules make for a tenant. */
export interface TenantParts {
  /** For the flags and segments of all environments. */
  readonly room?: Budget | undefined;
  streams(source: StreamSource): EnvironmentStreams;
  stores(place: Place, tenant: Tenant): readonly Store[];
  /** Undefined where no store holds Big Segments. */
  bigSegments(place: Place, tenant: Tenant, how: BigSegmentsOpening): TenantBigSegments | undefined;
  /** Undefined while there is nothing to start from. May reject with RelayError FLAGS_FILE_INVALID. */
  upstream(
    tenant: Tenant,
    sinkOf: SinkOf,
    onStatus: (status: UpstreamStatus) => void,
    /** Aborted when the tenant closes. */
    closing: AbortSignal,
  ): Promise<TenantUpstream | undefined>;
}

export interface TenantOptions {
  readonly log: Log;
  readonly parts: TenantParts;
  /** Where an environment's items are kept in the stores. */
  placeOf(description: EnvironmentDescription, filter: string): Place;
  /** After every change of the tenant's memory, once its streams and stores have been told. Must not throw. */
  onChange?(tenant: Tenant, change: Change): void;
  /** `StoreFollowerOptions.pollMs` */
  readonly followMs?: number | undefined;
  /** `EnvironmentOptions.kept` */
  readonly kept?: Kept | undefined;
}

/** A tenant as its owner sees it. */
export interface LiveTenant extends Tenant {
  /** Resolves when the stores were read and the upstream was started; rejects when it could not be. */
  readonly started: Promise<void>;
  update(description: EnvironmentDescription): void;
  /** Begins with the data of another tenant, which comes from one of its own SDK keys. Ignored once there is data. */
  inherit(other: Tenant): void;
  /** Tells the stores whether this task's data is current. */
  tellEligibility(): void;
  /** Writes what is waiting and closes upstream and stores; the streams are the hub's. */
  close(): Promise<void>;
}

/** How long boot waits for a slow store before connecting upstream: a task has to serve within 3 s. */
const BOOT_FROM_STORE_MS = 2_000;
const FLUSH_MS = 5_000;

export function createTenant(
  first: EnvironmentDescription,
  filter: string,
  options: TenantOptions & {
    readonly heard: Heard;
    /** `StoreFollowerOptions.reading` */
    readonly reading: Pick<Turnstile, 'run'>;
    /** Another view of the same environment that exists already. */
    readonly sibling?: Tenant | undefined;
  },
): LiveTenant {
  const { log, parts, placeOf } = options;
  const name = filter === '' ? first.name : `${first.name}/${filter}`;
  const background = createBackground();
  const admission = createAdmission(first, closeStrangers, options.heard, options.sibling?.admission.history());
  let description = first;
  /**
   * The place is for another source than the data in memory is of: they came together, or a task that starts in a rotation has
   * an earlier key's data.
   */
  let movedAhead = isForOtherKey(first);

  const memory = createEnvironment({
    name,
    log,
    bigSegments: presentOf(() => kept.bigSegments),
    room: parts.room,
    kept: options.kept,
    onRefresh: (flagKeys) => streams.refresh(flagKeys),
    onChange(change) {
      streams.publish(change);
      for (const store of kept.stores) store.notify(change);
      kept.startBigSegments();
      options.onChange?.(tenant, change);
    },
  });
  const streams = parts.streams({
    name,
    view: memory,
    clientView: memory.clientView,
    environmentId: admission.environmentId,
  });
  const upstream = createFollowingUpstream({
    name,
    log,
    description: () => description,
    open: (sinkOf, closing) => parts.upstream(tenant, sinkOf, tellEligibility, closing),
    sinkOf: (source) => ({
      ...memory,
      put(items, unreadable, receivedAt) {
        const isOther = admission.source() !== source;
        const mayBeForeign = admission.holds(source);
        // After the streams that lose the data were closed: they got the rest of it.
        if (isOther) streams.renew();
        followSource(mayBeForeign);
        memory.put(items, unreadable, receivedAt, mayBeForeign ? 'none' : 'unreadable');
        if (isOther) tellEligibility();
      },
    }),
    onStarted: tellEligibility,
  });

  /** Before data of another environment reaches their streams. */
  function closeStrangers(): void {
    for (const { kind, value } of description.credentials) {
      if (!admission.admits(kind, value)) streams.closeCredential(value);
    }
  }

  function followSource(mayBeForeign: boolean): void {
    const left = kept.followSource(mayBeForeign);
    if (!left) return;
    background.add(left.closed);
    // Streams of evaluated flags remember the other environment's memberships.
    for (const { kind, value } of description.credentials) if (kind !== 'sdkKey') streams.closeCredential(value);
  }

  function isForOtherKey(one: EnvironmentDescription): boolean {
    return one.awaitsKey === true || admission.source() !== sourceOf(one);
  }

  function awaitsOwnData(): boolean {
    movedAhead &&= isForOtherKey(description);
    return movedAhead;
  }

  function tellEligibility(): void {
    const current = upstream.present()?.status().current ?? false;
    for (const store of kept.stores) store.setEligible(current && !awaitsOwnData());
    follower.check();
  }

  const tenant: Tenant = {
    name,
    filter,
    get description() {
      return description;
    },
    admission,
    createdAt: Date.now(),
    memory,
    streams,
    get stores() {
      return kept.stores;
    },
    get upstream() {
      return upstream.present();
    },
    get bigSegments() {
      return kept.bigSegments;
    },
    followedStore: () => follower.followed(),
    writingKey: () => (awaitsOwnData() ? undefined : admission.key()),
    get sourceProblem() {
      return upstream.problem();
    },
  };
  const kept = createKept(tenant, parts, placeOf(first, filter), log);
  const paced = createPacedLines();
  const warnRefused = (database: string) =>
    paced(database, () =>
      log.warn("The store holds another SDK key's flags; waiting for LaunchDarkly", { environment: name, database }),
    );
  let isRefused = false;
  let hasMoved = false;
  const booting: Booting = {
    memory,
    admission,
    log,
    adoptsUnmarked: () => !hasMoved,
    onTaken() {
      // The place holds that data already.
      if (!isRefused) movedAhead = false;
    },
    onRefused({ database }) {
      isRefused = true;
      movedAhead = true;
      warnRefused(database);
      kept.distrust();
    },
  };
  const follower = startStoreFollower({
    stores: () => kept.stores,
    reading: options.reading,
    isCutOff: () =>
      upstream.present()?.status().current !== true &&
      admission.key() !== undefined &&
      (!memory.initialized || !awaitsOwnData()),
    prepare: ({ items }) => inSlices(memory.prepare(items)),
    adopt: (set, store) => followStore(set, store, booting),
    pollMs: options.followMs,
  });
  // Stores first, upstream second: with LaunchDarkly down, a filled store is enough to serve.
  const started = Promise.all(kept.stores.map((store) => bootFrom(store, booting))).then(() => {
    follower.check();
    return upstream.start();
  });
  // Some callers wait for it and hear of a failure; the others need not.
  started.catch(() => {});

  return Object.assign(tenant, {
    started,
    update(next: EnvironmentDescription) {
      const waited = awaitsOwnData();
      description = next;
      admission.update(next);
      const place = placeOf(next, filter);
      // Another environment may have that place. What is in memory is not written there unless it is of the present source.
      if (!isSamePlace(place, kept.place)) movedAhead = true;
      try {
        const moved = kept.move(place);
        if (moved) {
          hasMoved = true;
          background.add(moved.closed);
          tellEligibility();
        } else if (waited && !awaitsOwnData()) {
          kept.bigSegments?.follow();
          tellEligibility();
        }
      } finally {
        // A place that cannot be used leaves the one before in use, and holds up no key.
        upstream.follow();
      }
    },
    inherit(other: Tenant) {
      if (memory.initialized) return;
      admission.holds(other.admission.source());
      background.add(kept.inherit(other.bigSegments));
      const items = [...other.memory.items('segments'), ...other.memory.items('features')];
      memory.put(items, other.memory.unreadable(), performance.now());
      log.info('Kept the flags of an SDK key whose environment has another name now', {
        environment: name,
        before: other.name,
        items: items.length,
      });
    },
    tellEligibility,
    async close() {
      // Closing the stores ends their requests.
      await Promise.all([kept.close(), follower.close(), upstream.close(), background.ended()]);
      memory.leave();
    },
  });
}

/** What keeps a tenant's data outside this process, in one place of each store. */
function createKept(tenant: Tenant, parts: TenantParts, first: Place, log: Log) {
  let place = first;
  let stores: readonly Store[] = [];
  let bigSegments: TenantBigSegments | undefined;
  /** Whose data `bigSegments` serves, as far as LaunchDarkly said; once it is known it stays the same. */
  let served: { environment?: string | undefined };
  /** False: what the stores hold without a name may be another environment's. */
  let adopts = true;
  let isMissingTold = false;

  /** Once memory has Big Segments. Idempotent. */
  function startBigSegments(): void {
    if (!tenant.memory.hasBigSegments) return;
    bigSegments?.start();
    if (bigSegments || isMissingTold) return;
    isMissingTold = true;
    const names = stores.map((store) => store.status().database).join(' and ');
    log.warn('Flags use Big Segments, but no store holds them; treating all contexts as non-members', {
      environment: tenant.name,
      reason: `${names === '' ? 'there is no store' : `${names} cannot hold them`}; add Redis or DynamoDB`,
    });
  }

  function openBigSegments(former?: FormerBigSegments): void {
    const mine: typeof served = {};
    served = mine;
    bigSegments = parts.bigSegments(place, tenant, {
      environment: () => (mine.environment ??= tenant.admission.environment()),
      adopts: () => adopts,
      onBatch: () => tenant.memory.bigSegmentsChanged(),
      former,
    });
    startBigSegments();
  }

  const close = () => Promise.all([...stores.map(flushAndClose), bigSegments?.close()]);

  stores = parts.stores(place, tenant);
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
    /** Opens another place, and closes the one before. Undefined: it is the same. */
    move(next: Place): { readonly closed: Promise<unknown> } | undefined {
      if (isSamePlace(next, place)) return undefined;
      const left = { stores, bigSegments };
      // May throw, and then nothing has changed.
      stores = parts.stores(next, tenant);
      place = next;
      openBigSegments(left.bigSegments?.handOver());
      // Memory may get another source's data before all is written, and another environment may have that place now.
      for (const store of left.stores) store.setEligible(false);
      return { closed: Promise.all([...left.stores.map((store) => store.close()), left.bigSegments?.close()]) };
    },
    /** The stores hold another key's flags, so that their Big Segments may be another environment's, too. */
    distrust() {
      adopts = false;
    },
    /** Begins with another tenant's memberships, which are the same environment's. Resolves when what was open is closed. */
    async inherit(other: TenantBigSegments | undefined): Promise<void> {
      if (!other) return;
      const closed = bigSegments?.close();
      openBigSegments(other.handOver());
      await closed;
    },
    /**
     * To be called when memory gets data of a source. If it is another environment's, or may be, nothing that was known about
     * memberships is used any longer, and what is being closed is returned.
     */
    followSource(mayBeForeign: boolean): { readonly closed: Promise<unknown> } | undefined {
      // A file names no environment, but the memberships that its flags were evaluated with may be one's.
      const before = served.environment ?? bigSegments?.owner();
      const now = tenant.admission.environment();
      const mayHoldForeign = mayBeForeign && tenant.memory.hasBigSegments;
      const isForeign = before === undefined || now === undefined ? mayHoldForeign : before !== now;
      if (!isForeign) {
        bigSegments?.follow();
        return undefined;
      }
      adopts = false;
      const closed = Promise.resolve(bigSegments?.close());
      openBigSegments();
      return { closed };
    },
    close,
  };
}

/** The tenant may move to another place, or get another environment's flags, at any time. */
function presentOf(present: () => BigSegments | undefined): BigSegments {
  const sources = new WeakMap<Memberships, BigSegments | undefined>();
  const isPresent = (memberships: Memberships) => sources.has(memberships) && sources.get(memberships) === present();
  const load: BigSegments['load'] = async (keys, how) => {
    const asked = present();
    const loaded: Memberships | undefined = asked
      ? await asked.load(keys, how)
      : new Map(keys.map((key) => [key, { status: 'NOT_CONFIGURED' }]));
    if (loaded) sources.set(loaded, asked);
    return asked === present() ? loaded : load(keys, how);
  };
  return { load, isPresent, status: () => present()?.status() };
}

async function flushAndClose(store: Store): Promise<void> {
  await store.flush(FLUSH_MS);
  await store.close();
}

interface Booting {
  /** What says nothing of its source counts as this environment's only in the place that the task started with. */
  adoptsUnmarked(): boolean;
  readonly memory: Environment;
  readonly admission: Admission;
  readonly log: Log;
  /** Memory has what the store holds. */
  onTaken(): void;
  /** The store holds another key's flags. */
  onRefused(store: StoreStatus): void;
}

async function bootFrom(store: Store, booting: Booting): Promise<void> {
  const done = new AbortController();
  const read = store.read().then(
    async (set) => {
      if (!set) return;
      await inSlices(booting.memory.prepare(set.items));
      takeFirst(set, store, booting);
    },
    // The store has logged it and retries.
    () => {},
  );
  await Promise.race([read, sleep(BOOT_FROM_STORE_MS, done.signal)]);
  done.abort();
}

/** Memory begins with what a store holds, unless it has data or the store's is another key's. Returns how many items it took. */
function takeFirst(
  { items, source }: StoredSet,
  store: Store,
  { memory, admission, log, onTaken, onRefused }: Booting,
): number {
  if (memory.initialized) {
    if (admission.owns(source)) onTaken();
    return 0;
  }
  if (!admission.takes(source)) {
    onRefused(store.status());
    return 0;
  }
  onTaken();
  memory.boot(items);
  const { database } = store.status();
  log.info('Booted from the store', { environment: memory.name, database, items: items.length });
  return items.length;
}

/** Takes what is newer in a store, if it is data of the same source. */
function followStore(set: StoredSet, store: Store, booting: Booting): number {
  const { memory, admission, log } = booting;
  if (set.source === undefined && !booting.adoptsUnmarked()) return 0;
  if (!memory.initialized) return takeFirst(set, store, booting);
  const items = admission.owns(set.source) ? memory.follow(set.items) : 0;
  if (items > 0) {
    const reason = 'LaunchDarkly cannot be reached';
    log.info('Took newer flags from the store', {
      environment: memory.name,
      database: store.status().database,
      items,
      reason,
    });
  }
  return items;
}
