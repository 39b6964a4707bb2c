/** One environment, or one payload filter of one, from its first data to its end: memory, streams, stores and upstream. */
import type { Budget } from '../common/budget.ts';
import type { Kept } from '../common/kept.ts';
import type { Turnstile } from '../common/turnstile.ts';
import { createEnvironment, type Environment } from '../environments/environment.ts';
import type {
  BigSegments,
  Change,
  Credential,
  EnvironmentDescription,
  Log,
  Memberships,
  Store,
  UpstreamStatus,
} from '../ports.ts';
import type { EnvironmentStreams, StreamSource } from '../streams/hub.ts';
import { type Admission, createAdmission, type Heard } from './admission.ts';
import { type BigSegmentsOpening, createStorage, type Storage, type TenantBigSegments } from './storage.ts';
import type { StoreFollower } from './store-follower.ts';
import { createStoreIntake } from './store-intake.ts';
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
  /** The same in ms of `performance.now()`. */
  readonly createdNow: number;
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
  const admission = createAdmission(
    first,
    // Before data of another environment reaches their streams.
    () => closeStreams(({ kind, value }) => !admission.admits(kind, value)),
    options.heard,
    options.sibling?.admission.history(),
  );
  let description = first;

  const { memory, streams } = createServing(name, options, {
    bigSegments: () => storage.bigSegments,
    environmentId: admission.environmentId,
    onChange(change) {
      for (const store of storage.stores) store.notify(change);
      storage.startBigSegments();
      options.onChange?.(tenant, change);
    },
  });

  function closeStreams(isOver: (credential: Credential) => boolean): void {
    for (const one of description.credentials) if (isOver(one)) streams.closeCredential(one.value);
  }

  const isCurrent = () => upstream.present()?.status().current === true;

  function tellEligibility(): void {
    for (const store of storage.stores) store.setEligible(isCurrent() && !intake.isForOther());
    intake.check();
  }

  const tenant: Tenant = {
    name,
    filter,
    get description() {
      return description;
    },
    admission,
    createdAt: Date.now(),
    createdNow: performance.now(),
    memory,
    streams,
    get stores() {
      return storage.stores;
    },
    get upstream() {
      return upstream.present();
    },
    get bigSegments() {
      return storage.bigSegments;
    },
    followedStore: () => intake.followed(),
    writingKey: () => (intake.isForOther() ? undefined : admission.key()),
    get sourceProblem() {
      return upstream.problem();
    },
  };
  const storage = createStorage({
    log,
    memory,
    admission,
    place: placeOf(first, filter),
    openStores: (place) => parts.stores(place, tenant),
    openBigSegments: (place, how) => parts.bigSegments(place, tenant, how),
  });
  const intake = createStoreIntake({
    log,
    memory,
    admission,
    storage,
    description: () => description,
    isCurrent,
    reading: options.reading,
    pollMs: options.followMs,
  });
  const upstream = createFollowingUpstream({
    name,
    log,
    description: () => description,
    open: (sinkOf, closing) => parts.upstream(tenant, sinkOf, tellEligibility, closing),
    sinkOf: sinksTo({ memory, streams, storage, admission, closeStreams, tellEligibility }),
    onStarted: tellEligibility,
  });
  // Stores first, upstream second: with LaunchDarkly down, a filled store is enough to serve.
  const started = intake.boot().then(upstream.start);
  // A failure is retried, so callers that do not wait for it need not handle it.
  started.catch(() => {});

  return Object.assign(tenant, {
    started,
    update(next: EnvironmentDescription) {
      const waited = intake.isForOther();
      logLevelChange(log, name, description, next);
      description = next;
      admission.update(next);
      const place = placeOf(next, filter);
      if (!isSamePlace(place, storage.place)) intake.moves();
      try {
        if (storage.move(place)) tellEligibility();
        else if (waited && !intake.isForOther()) {
          storage.bigSegments?.follow();
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
      storage.inherit(other.bigSegments);
      takeFlags(memory, other, log);
    },
    tellEligibility,
    async close() {
      // Closing the stores ends their requests.
      await Promise.all([storage.close(), intake.close(), upstream.close()]);
      memory.leave();
    },
  });
}

/** Memory, and the streams that get its changes. */
function createServing(
  name: string,
  { log, parts, kept }: TenantOptions,
  how: Pick<StreamSource, 'environmentId'> & {
    bigSegments(): BigSegments | undefined;
    /** After the streams. */
    onChange(change: Change): void;
  },
) {
  const memory = createEnvironment({
    name,
    log,
    bigSegments: presentOf(how.bigSegments),
    room: parts.room,
    kept,
    onRefresh: (flagKeys) => streams.refresh(flagKeys),
    onChange(change) {
      streams.publish(change);
      how.onChange(change);
    },
  });
  const { environmentId } = how;
  const streams = parts.streams({ name, view: memory, clientView: memory.clientView, environmentId });
  return { memory, streams };
}

/** Brings the data of a source into memory, in the order in which nobody gets another environment's. */
function sinksTo(to: {
  readonly memory: Environment;
  readonly streams: EnvironmentStreams;
  readonly storage: Pick<Storage, 'followSource'>;
  readonly admission: Admission;
  closeStreams(isOver: (credential: Credential) => boolean): void;
  tellEligibility(): void;
}): SinkOf {
  const { memory, streams, storage, admission, closeStreams, tellEligibility } = to;
  return (source) => ({
    ...memory,
    put(items, unreadable, receivedAt) {
      const isOther = admission.source() !== source;
      const mayBeForeign = admission.holds(source);
      // After the streams that lose the data were closed: they got the rest of it.
      if (isOther) streams.renew();
      // Streams of evaluated flags remember the other environment's memberships.
      if (storage.followSource(mayBeForeign)) closeStreams(({ kind }) => kind !== 'sdkKey');
      memory.put(items, unreadable, receivedAt, mayBeForeign ? 'none' : 'unreadable');
      if (isOther) tellEligibility();
    },
  });
}

function takeFlags(memory: Environment, { name: before, memory: held }: Tenant, log: Log): void {
  const items = [...held.items('segments'), ...held.items('features')];
  memory.put(items, held.unreadable(), performance.now());
  log.info('Kept the flags of an SDK key whose environment has another name now', {
    environment: memory.name,
    before,
    items: items.length,
  });
}

/** Who reads the lines of an environment knows which ones to expect. */
function logLevelChange(log: Log, environment: string, before: EnvironmentDescription, next: EnvironmentDescription) {
  const { logLevel, logLevelUntil } = next;
  if (logLevel === before.logLevel && logLevelUntil === before.logLevelUntil) return;
  const until = logLevelUntil === undefined ? '' : ` until ${new Date(logLevelUntil).toISOString()}`;
  log.info(`Log level of the environment is ${logLevel ?? "the relay's"}${until}`, { environment, by: 'its settings' });
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
