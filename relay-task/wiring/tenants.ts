/** Environments as they come, change and go, each with its memory, streams, stores and upstream. */
import { createEnvironment, type Environment } from '../environments/environment.ts';
import type { Registry } from '../environments/registry.ts';
import type {
  BigSegments,
  Change,
  EnvironmentDescription,
  EnvironmentSink,
  Log,
  Store,
  Upstream,
  UpstreamSink,
  UpstreamStatus,
} from '../ports.ts';
import type { EnvironmentStreams, StreamSource } from '../streams/hub.ts';
import type { Place } from './stores.ts';

/** One environment, or one payload filter of one, with everything that belongs to it. */
export interface Tenant {
  /** `NAME`, or `NAME/FILTER`: for logs, metrics and `/status`. */
  readonly name: string;
  /** '' for everything. */
  readonly filter: string;
  /** As the source says it at present. */
  readonly description: EnvironmentDescription;
  /** Unix ms. */
  readonly createdAt: number;
  readonly memory: Environment;
  readonly streams: EnvironmentStreams;
  readonly stores: readonly Store[];
  readonly upstream: TenantUpstream | undefined;
  readonly bigSegments: TenantBigSegments | undefined;
}

export interface TenantBigSegments extends BigSegments {
  /** To be called once the environment is known to have Big Segments. */
  start(): void;
  /** The key to ask LaunchDarkly with from now on. */
  setKey(sdkKey: string): void;
  close(): Promise<void>;
}

export interface TenantUpstream extends Upstream {
  /** Another key for the same data; absent where no key is used. */
  setKey?(sdkKey: string): void;
  /** Set while a new key is of no use and the one before it goes on. */
  keyProblem?(): EnvironmentDescription['keyProblem'];
}

/** What the rooms make for a tenant. */
export interface TenantParts {
  streams(source: StreamSource): EnvironmentStreams;
  stores(place: Place, tenant: Tenant): readonly Store[];
  /** Undefined where no store holds Big Segments. `onBatch` after each batch that was applied. */
  bigSegments(place: Place, tenant: Tenant, onBatch: () => void): TenantBigSegments | undefined;
  /** Undefined while there is nothing to start from. May reject with RelayError FLAGS_FILE_INVALID. */
  upstream(
    tenant: Tenant,
    sink: UpstreamSink,
    onStatus: (status: UpstreamStatus) => void,
  ): Promise<TenantUpstream | undefined>;
}

export interface TenantsOptions {
  readonly log: Log;
  readonly registry: Registry<Tenant>;
  readonly parts: TenantParts;
  placeOf(description: EnvironmentDescription, filter: string): Place;
  /** A tenant is about to be found. Must not throw. */
  onAdded?(tenant: Tenant): void;
  /** After every change of a tenant's memory, once its streams and stores have been told. Must not throw. */
  onChange?(tenant: Tenant, change: Change): void;
  /** A tenant is gone. Must not throw. */
  onRemoved?(tenant: Tenant): void;
}

export interface Tenants extends EnvironmentSink {
  readonly all: Iterable<Tenant>;
  /**
   * Resolves when every tenant that exists by now has read its stores and started its upstream. Rejects with the first
   * failure of an upstream to start, such as FLAGS_FILE_INVALID; it is tried again meanwhile.
   */
  started(): Promise<void>;
  /** Tells the stores anew whether this task's data is current; it grows old without an event. */
  tellEligibility(): void;
  /** Writes what is to be written and closes upstreams and stores; streams are the hub's. */
  close(): Promise<void>;
}

/** A store that does not answer at boot may hold up upstream's turn so long: a task is to serve within 3 s. */
const BOOT_FROM_STORE_MS = 2_000;
const FLUSH_MS = 5_000;
const UPSTREAM_RETRY_MS = 5_000;

interface Holder extends Tenant {
  description: EnvironmentDescription;
  stores: readonly Store[];
  upstream: TenantUpstream | undefined;
  bigSegments: TenantBigSegments | undefined;
  place: Place;
  started: Promise<void>;
  /** What the present upstream was started for, or has followed since; undefined: there is none, or it could not be. */
  followed: EnvironmentDescription | undefined;
  /** From creation, or from the end of one upstream, until there is another or it could not be started. */
  starting: boolean;
  retry: NodeJS.Timeout | undefined;
  closed: boolean;
}

export function createTenants(options: TenantsOptions): Tenants {
  const { log, registry, parts, placeOf } = options;
  /** By the description's id, then by filter. */
  const holders = new Map<string, Map<string, Holder>>();
  const leaving = new Set<Promise<void>>();
  const all = function* (): Iterable<Holder> {
    for (const views of holders.values()) yield* views.values();
  };

  registry.onVanished((vanished) => {
    for (const { environment, credential } of vanished) environment.streams.closeCredential(credential);
  });

  function create(description: EnvironmentDescription, filter: string): Holder {
    const name = nameOf(description, filter);
    const place = placeOf(description, filter);
    const bigSegments: BigSegments = {
      lookup: (key) => holder.bigSegments?.lookup(key) ?? { status: 'NOT_CONFIGURED' },
      load: async (keys) => holder.bigSegments?.load(keys),
      status: () => holder.bigSegments?.status(),
    };
    const memory = createEnvironment({
      name,
      log,
      bigSegments,
      onRefresh: (flagKeys) => holder.streams.refresh(flagKeys),
      onChange(change) {
        holder.streams.publish(change);
        for (const store of holder.stores) store.notify(change);
        if (memory.hasBigSegments) holder.bigSegments?.start();
        options.onChange?.(holder, change);
      },
    });
    const holder: Holder = {
      ...{ name, filter, description, memory, place },
      createdAt: Date.now(),
      streams: parts.streams({
        name,
        view: memory,
        clientView: memory.clientView,
        environmentId: () => holder.description.environmentId,
      }),
      stores: [],
      upstream: undefined,
      bigSegments: undefined,
      started: Promise.resolve(),
      followed: undefined,
      starting: true,
      retry: undefined,
      closed: false,
    };
    openStores(holder);
    holder.started = boot(holder);
    // Whoever waits for it hears of it; nobody has to.
    holder.started.catch(() => {});
    return holder;
  }

  function openStores(holder: Holder): void {
    holder.stores = parts.stores(holder.place, holder);
    holder.bigSegments = parts.bigSegments(holder.place, holder, () => holder.memory.bigSegmentsChanged());
    if (holder.memory.hasBigSegments) holder.bigSegments?.start();
  }

  /** What the stores hold first, upstream second: with LaunchDarkly down, a filled store is enough to serve. */
  async function boot(holder: Holder): Promise<void> {
    await Promise.all(holder.stores.map((store) => bootFrom(store, holder)));
    await startUpstream(holder);
  }

  async function bootFrom(store: Store, { memory }: Holder): Promise<void> {
    const read = store.read().then(
      (items) => {
        if (items && memory.boot(items)) {
          const { database } = store.status();
          log.info('booted from the store', { environment: memory.name, database, items: items.length });
        }
      },
      // The store has said so in the log and goes on trying.
      () => {},
    );
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, BOOT_FROM_STORE_MS);
    });
    await Promise.race([read, patience]);
    clearTimeout(timer);
  }

  /** Rejects when it cannot be started; it is tried again then. */
  async function startUpstream(holder: Holder): Promise<void> {
    if (holder.closed) return;
    const { description } = holder;
    holder.starting = true;
    try {
      const upstream = await parts.upstream(holder, holder.memory, () => tellEligibility(holder));
      if (holder.closed) return void (await upstream?.close());
      holder.upstream = upstream;
      holder.followed = description;
      holder.starting = false;
      follow(holder);
      tellEligibility(holder);
    } catch (error) {
      holder.starting = false;
      const reason = (error as Error).message;
      // Said when it is tried again: where the configuration itself is wrong the relay ends with this reason before.
      holder.retry = setTimeout(() => {
        log.error('an environment has no source of flags, it is tried again', { environment: holder.name, reason });
        startUpstream(holder).catch(() => {});
      }, UPSTREAM_RETRY_MS);
      holder.retry.unref();
      throw error;
    }
  }

  async function restartUpstream(holder: Holder): Promise<void> {
    const { upstream } = holder;
    clearTimeout(holder.retry);
    holder.starting = true;
    // What was held stays in memory until the new source delivers.
    holder.upstream = undefined;
    holder.followed = undefined;
    await upstream?.close();
    await startUpstream(holder);
  }

  /** Brings the upstream to the description that the tenant has. */
  function follow(holder: Holder): void {
    const { description, followed } = holder;
    // A start that is under way looks for itself what changed meanwhile.
    if (holder.starting || description === followed) return;
    const { sdkKey } = description;
    const sameSource =
      description.flagsFile === followed?.flagsFile &&
      description.data?.id === followed?.data?.id &&
      (sdkKey === undefined) === (followed?.sdkKey === undefined);
    if (!sameSource || !followed) {
      leave(restartUpstream(holder).catch(() => {}));
      return;
    }
    holder.followed = description;
    if (sdkKey !== undefined && sdkKey !== followed.sdkKey) holder.upstream?.setKey?.(sdkKey);
  }

  function update(holder: Holder, description: EnvironmentDescription): void {
    const { sdkKey } = holder.description;
    holder.description = description;
    const place = placeOf(description, holder.filter);
    if (place.prefix !== holder.place.prefix || place.tableName !== holder.place.tableName) {
      leave(Promise.all([...holder.stores.map(closeStore), holder.bigSegments?.close()]));
      holder.place = place;
      openStores(holder);
      tellEligibility(holder);
    } else if (description.sdkKey !== undefined && description.sdkKey !== sdkKey) {
      holder.bigSegments?.setKey(description.sdkKey);
    }
    follow(holder);
  }

  function apply(description: EnvironmentDescription): void {
    const { id, credentials } = description;
    const views = holders.get(id) ?? new Map<string, Holder>();
    holders.set(id, views);
    for (const holder of views.values()) update(holder, description);
    const wanted = ['', ...description.filters];
    for (const [filter, holder] of views) {
      if (wanted.includes(filter)) continue;
      registry.apply({ type: 'remove-environment', name: id, filter });
      views.delete(filter);
      remove(holder);
    }
    for (const filter of wanted) {
      if (views.has(filter)) continue;
      const holder = create(description, filter);
      views.set(filter, holder);
      options.onAdded?.(holder);
      registry.apply({ type: 'add-environment', name: id, filter, environment: holder });
    }
    for (const problem of registry.apply({ type: 'set-credentials', name: id, credentials })) {
      log.error('a credential was refused', { environment: description.name, problem });
    }
  }

  function remove(holder: Holder): void {
    holder.streams.remove();
    options.onRemoved?.(holder);
    leave(close(holder));
  }

  function leave(work: Promise<unknown>): void {
    const settled = work.then(
      () => void leaving.delete(settled),
      () => void leaving.delete(settled),
    );
    leaving.add(settled);
  }

  async function close(holder: Holder): Promise<void> {
    holder.closed = true;
    clearTimeout(holder.retry);
    await Promise.all([...holder.stores.map(closeStore), holder.upstream?.close(), holder.bigSegments?.close()]);
  }

  return {
    get all() {
      return all();
    },
    replace(descriptions) {
      const ids = new Set(descriptions.map(({ id }) => id));
      for (const [id, views] of holders) {
        if (ids.has(id)) continue;
        // Its credentials first, so that another environment may have them.
        registry.apply({ type: 'remove-environment', name: id });
        holders.delete(id);
        for (const holder of views.values()) remove(holder);
      }
      // What is taken away goes first, for a credential may move from one environment to another.
      for (const { id, credentials } of descriptions) {
        if (!holders.has(id)) continue;
        const kept = registry
          .credentials(id)
          .filter((held) => credentials.some(({ kind, value }) => kind === held.kind && value === held.value));
        registry.apply({ type: 'set-credentials', name: id, credentials: kept });
      }
      for (const description of descriptions) apply(description);
      registry.apply({ type: 'source-complete' });
    },
    async started() {
      await Promise.all([...all()].map((holder) => holder.started));
    },
    tellEligibility: () => [...all()].forEach(tellEligibility),
    async close() {
      const views = [...all()];
      await Promise.all([...views.map(close), ...leaving]);
    },
  };
}

function nameOf({ name }: EnvironmentDescription, filter: string): string {
  return filter === '' ? name : `${name}/${filter}`;
}

function tellEligibility({ upstream, stores }: Tenant): void {
  const current = upstream?.status().current ?? false;
  for (const store of stores) store.setEligible(current);
}

async function closeStore(store: Store): Promise<void> {
  await store.flush(FLUSH_MS);
  await store.close();
}
