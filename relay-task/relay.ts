import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Config, EnvironmentConfig } from './config/config.ts';
import { createRelayServer } from './endpoints/server.ts';
import type { ServedEnvironment } from './endpoints/services.ts';
import { createEnvironment, type Environment } from './environments/environment.ts';
import { type Credential, createRegistry } from './environments/registry.ts';
import type { Change, Log, Store, Upstream } from './ports.ts';
import { familyOf } from './status/family.ts';
import { createHealth, type EnvironmentHealth } from './status/health.ts';
import { createMetrics, type Metrics } from './status/metrics.ts';
import { createDynamoDBStore } from './store/dynamodb-store.ts';
import { createHub, type EnvironmentStreams } from './streams/hub.ts';
import { type FileReload, startFileSource } from './upstream/file.ts';
import { startStreaming } from './upstream/streaming.ts';

export interface RelayOptions {
  readonly log: Log;
  /** Shown in `/status` and to upstream. */
  readonly version: string;
  /** After every change of an environment's memory, once its streams and stores have been told. Must not throw. */
  onChange?(environment: string, change: Change): void;
  /** After every reading of an environment's flags file. Must not throw. */
  onReload?(environment: string, reload: FileReload): void;
}

export interface Relay {
  readonly port: number;
  readonly metrics: Metrics;
  /** Resolves when everything that memory holds now is in the stores, or the time is over. */
  stored(timeoutMs?: number): Promise<void>;
  /**
   * Stops in order: not ready any more, streams closed over the drain window, lease released, answers under way finished.
   */
  close(): Promise<void>;
}

/** One environment with everything that belongs to it. */
interface Tenant {
  readonly config: EnvironmentConfig;
  readonly createdAt: number;
  readonly memory: Environment;
  readonly served: ServedEnvironment;
  readonly streams: EnvironmentStreams;
  readonly stores: readonly Store[];
  upstream: Upstream | undefined;
}

/** A store that does not answer at boot may hold up upstream's turn so long: a task is to serve within 3 s. */
const BOOT_FROM_STORE_MS = 2_000;
/** A holder whose upstream went quiet gives its lease up; quiet has no event. */
const ELIGIBILITY_MS = 5_000;
const FLUSH_MS = 5_000;
const LAST_ANSWERS_MS = 5_000;

/**
 * Starts everything in order: listener, what the stores hold, upstream; and introduces the rooms to one another.
 * Rejects with RelayError: LISTEN_FAILED, FLAGS_FILE_INVALID. Nothing is left open then.
 */
export async function startRelay(config: Config, options: RelayOptions): Promise<Relay> {
  const { log, version } = options;
  const metrics = createMetrics();
  const owner = `${hostname()} ${randomUUID()}`;
  const tenants: Tenant[] = [];
  const tenantOf = new Map<ServedEnvironment, Tenant>();
  const registry = createRegistry<Tenant>();
  const hub = createHub({
    heartbeatMs: Math.max(0, config.heartbeatIntervalMs),
    maxAgeMs: Math.max(0, config.maxClientConnectionTimeMs),
    meter: metrics.streams,
  });
  const health = createHealth({
    version,
    environments: () => tenants.map(healthOf),
    keysKnown: () => registry.complete,
    initTimeoutMs: config.initTimeoutMs,
    disconnectedStatusTimeMs: config.disconnectedStatusTimeMs,
    readyRequires: config.readyRequires,
  });
  const server = createRelayServer({
    log,
    health,
    family: familyOf,
    answered: metrics.answered,
    find(kind, credential, filter) {
      const found = registry.find(kind, credential, filter);
      return typeof found === 'string' ? found : { environment: found.environment.served };
    },
    openStream: (environment, socket, opening) => tenantOf.get(environment)?.streams.open(socket, opening) ?? false,
  });

  registry.onVanished((vanished) => {
    for (const { environment, credential } of vanished) environment.streams.closeCredential(credential);
  });
  for (const environment of config.environments) {
    const tenant = createTenant(environment);
    tenants.push(tenant);
    tenantOf.set(tenant.served, tenant);
    const credentials = credentialsOf(environment);
    const { name } = environment;
    const problems = registry.apply({ type: 'add-environment', name, environment: tenant, credentials });
    for (const problem of problems) log.error('a credential was refused', { environment: name, problem });
  }
  registry.apply({ type: 'source-complete' });

  const eligibility = setInterval(() => tenants.forEach(tellEligibility), ELIGIBILITY_MS);
  eligibility.unref();

  const closeEverything = async () => {
    health.setDraining();
    clearInterval(eligibility);
    registry.close();
    await Promise.all([hub.closeAll(config.drainWindowMs), ...tenants.map(closeTenant)]);
    await server.close(LAST_ANSWERS_MS);
    metrics.close();
  };

  try {
    const host = config.listenHost;
    const { port } = await server.listen({ port: config.port, ...(host !== undefined && { host }) });
    health.setListening();
    await Promise.all(tenants.map(boot));
    return {
      port,
      metrics,
      async stored(timeoutMs = FLUSH_MS) {
        await Promise.all(tenants.flatMap(({ stores }) => stores.map((store) => store.flush(timeoutMs))));
      },
      close: closeEverything,
    };
  } catch (error) {
    await closeEverything();
    throw error;
  }

  function createTenant(environment: EnvironmentConfig): Tenant {
    const { name } = environment;
    const memory = createEnvironment({
      name,
      log,
      onChange(change) {
        tenant.streams.publish(change);
        for (const store of tenant.stores) store.notify(change);
        options.onChange?.(name, change);
      },
    });
    const tenant: Tenant = {
      config: environment,
      createdAt: Date.now(),
      memory,
      served: {
        name,
        environmentId: environment.environmentId,
        view: memory,
        get refused() {
          return tenant.upstream?.status().refused ?? false;
        },
      },
      streams: hub.environment({ name, view: memory, environmentId: () => environment.environmentId }),
      stores: config.useDynamoDB ? [createStore(environment, memory, () => tenant)] : [],
      upstream: undefined,
    };
    return tenant;
  }

  function createStore({ name, prefix, tableName }: EnvironmentConfig, view: Environment, tenant: () => Tenant): Store {
    return createDynamoDBStore({
      tableName: tableName ?? config.dynamoDBTable ?? '',
      prefix,
      view,
      checkedAt: () => tenant().upstream?.status().checkedAt ?? 0,
      writer: config.storeWriter,
      owner,
      log: withFields(log, { environment: name }),
      registry: metrics.registry,
      // An endpoint of one's own knows no regions, the client insists on one.
      region: config.awsRegion ?? (config.dynamoDBUrl ? 'us-east-1' : undefined),
      endpoint: config.dynamoDBUrl,
    });
  }

  /** What the stores hold first, upstream second: with LaunchDarkly down, a filled store is enough to serve. */
  async function boot(tenant: Tenant): Promise<void> {
    await Promise.all(tenant.stores.map((store) => bootFrom(store, tenant.memory)));
    tenant.upstream = await startUpstream(tenant);
    tellEligibility(tenant);
  }

  async function bootFrom(store: Store, memory: Environment): Promise<void> {
    const read = store.read().then(
      (items) => {
        if (items && memory.boot(items))
          log.info('booted from the store', { environment: memory.name, items: items.length });
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

  async function startUpstream(tenant: Tenant): Promise<Upstream> {
    const { config: environment, memory: sink } = tenant;
    const { name, sdkKey, flagsFile } = environment;
    const common = {
      sink,
      held: sink.get,
      log: withFields(log, { environment: name }),
      onStatus: () => tellEligibility(tenant),
    };
    if (flagsFile === undefined) {
      return startStreaming({ ...common, sdkKey, streamUri: config.streamUri, userAgent: `EdgeFlagRelay/${version}` });
    }
    return startFileSource({
      ...common,
      path: flagsFile,
      onReload: (reload) => options.onReload?.(name, reload),
    });
  }

  function healthOf({ config: environment, createdAt, memory, upstream, stores, streams }: Tenant): EnvironmentHealth {
    const { name, sdkKey, mobileKey, environmentId } = environment;
    return {
      ...{ name, sdkKey, mobileKey, environmentId, createdAt },
      initialized: memory.initialized,
      upstream: upstream?.status(),
      stores: stores.map((store) => store.status()),
      unreadable: memory.unreadable(),
      streams: streams.connections,
    };
  }
}

function tellEligibility({ upstream, stores }: Tenant): void {
  const current = upstream?.status().current ?? false;
  for (const store of stores) store.setEligible(current);
}

async function closeTenant({ upstream, stores }: Tenant): Promise<void> {
  await Promise.all(stores.map((store) => store.flush(FLUSH_MS)));
  await Promise.all([upstream?.close(), ...stores.map((store) => store.close())]);
}

function credentialsOf({ sdkKey, mobileKey, environmentId }: EnvironmentConfig): Credential[] {
  const all = [
    { kind: 'sdkKey', value: sdkKey },
    { kind: 'mobileKey', value: mobileKey },
    { kind: 'environmentId', value: environmentId },
  ] as const;
  return all.flatMap(({ kind, value }) => (value === undefined ? [] : [{ kind, value }]));
}

/** A log whose every line has these fields. */
function withFields(log: Log, fields: Record<string, unknown>): Log {
  return {
    debug: (message, more) => log.debug(message, { ...fields, ...more }),
    info: (message, more) => log.info(message, { ...fields, ...more }),
    warn: (message, more) => log.warn(message, { ...fields, ...more }),
    error: (message, more) => log.error(message, { ...fields, ...more }),
  };
}
