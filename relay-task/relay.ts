import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Config } from './config/config.ts';
import { createRelayServer, type RelayServer } from './endpoints/server.ts';
import type { Found, ServedEnvironment } from './endpoints/services.ts';
import { createRegistry } from './environments/registry.ts';
import { createEventForwarding } from './events/forwarding.ts';
import type { Change, CredentialKind, EnvironmentDescription, Log } from './ports.ts';
import { type Emf, startEmf } from './status/emf.ts';
import { familyOf } from './status/family.ts';
import { createHealth, type EnvironmentHealth } from './status/health.ts';
import { limitLog } from './status/log.ts';
import { createMetrics, type Metrics } from './status/metrics.ts';
import { type MetricsServer, startMetricsServer } from './status/metrics-server.ts';
import { createHub } from './streams/hub.ts';
import type { FileReload } from './upstream/file.ts';
import { createGoals } from './upstream/goals.ts';
import { createOutbound } from './upstream/outbound.ts';
import { createTenantBigSegments } from './wiring/big-segments.ts';
import { followCertificate, readCertificate } from './wiring/certificate.ts';
import { healthOf, type Served, serve } from './wiring/served.ts';
import { placeOf, type RunningSource, type SourceTimings, startSource } from './wiring/sources.ts';
import { createStores, type Stores } from './wiring/stores.ts';
import { createTenants, type Tenant } from './wiring/tenants.ts';
import { createUpstreams } from './wiring/upstreams.ts';

export interface RelayOptions {
  readonly log: Log;
  /** Shown in `/status` and to upstream. */
  readonly version: string;
  /** HTTPS_PROXY, HTTP_PROXY and NO_PROXY, where the configuration names no proxy. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** False: stores are filled, nobody is served. */
  readonly listen?: boolean;
  /** For tests; a relay never changes them. */
  readonly timings?: RelayTimings;
  /** After every change of an environment's memory, once its streams and stores have been told. Must not throw. */
  onChange?(environment: string, change: Change): void;
  /** After every reading of an environment's flags file. Must not throw. */
  onReload?(environment: string, reload: FileReload): void;
}

export interface RelayTimings extends SourceTimings {
  /** Between looks at the files of the certificate; 10 s. */
  readonly certificateMs?: number;
}

export interface Relay {
  /** 0 when it does not listen. */
  readonly port: number;
  /** Of Prometheus; undefined: there is none. */
  readonly metricsPort: number | undefined;
  readonly metrics: Metrics;
  /**
   * Resolves when every environment has data, is refused, or has used up INIT_TIMEOUT, with the names of those that
   * have none.
   */
  initialized(): Promise<readonly string[]>;
  /**
   * Resolves when everything that memory holds now is in the stores, or the time is over, with the names of the
   * environments of which some store cannot be reached.
   */
  stored(timeoutMs?: number): Promise<readonly string[]>;
  /**
   * Stops in order: not ready any more, streams closed over the drain window, events sent, stores written and leases
   * released, answers under way finished.
   */
  close(): Promise<void>;
}

/** A holder whose upstream went quiet gives its lease up; quiet has no event. */
const ELIGIBILITY_MS = 5_000;
const FLUSH_MS = 5_000;
const LAST_ANSWERS_MS = 5_000;
const CERTIFICATE_MS = 10_000;
const INITIALIZED_LOOK_MS = 50;

/**
 * Starts everything in order: stores, listener, environments and keys, upstreams; and introduces the rooms to one another.
 * Rejects with RelayError: LISTEN_FAILED, FLAGS_FILE_INVALID, ARCHIVE_INVALID, CERTIFICATE_INVALID, CONFIG_INVALID. Nothing
 * is left open then.
 */
export async function startRelay(config: Config, options: RelayOptions): Promise<Relay> {
  const { version, timings = {} } = options;
  const log = limitLog(options.log, config.logLevel);
  const userAgent = `EdgeFlagRelay/${version}`;
  const { user, password, caCertFiles, url: proxyUrl } = config.proxy;
  const outbound = createOutbound({ proxyUrl, user, password, caCertFiles, env: options.env ?? {} });
  const metrics = createMetrics({ prefix: config.prometheus?.prefix });
  const { registry: measures } = metrics;
  const health = createHealth({
    version,
    environments: healthOfAll,
    keysKnown: () => registry.complete,
    source: () => source?.status(),
    initTimeoutMs: config.initTimeoutMs,
    disconnectedStatusTimeMs: config.disconnectedStatusTimeMs,
    readyRequires: config.readyRequires,
    bigSegmentsStaleAsDegraded: config.bigSegments.staleAsDegraded,
  });
  const { tls } = config;
  let server: RelayServer;
  let stores: Stores;
  try {
    server = createRelayServer({
      ...{ log, health, find, family: familyOf, answered: metrics.answered },
      ...(tls && { tls: { ...readCertificate(tls), minVersion: tls.minVersion } }),
      statusAccess: config.statusAccess,
      statusToken: config.statusToken,
      maxContextBytes: config.maxClientRequestBodyBytes,
      maxInboundPayloadBytes: config.events.maxInboundPayloadBytes,
      openStream: (environment, socket, opening) => tenantOf.get(environment)?.streams.open(socket, opening) ?? false,
    });
    stores = createStores({ config, owner: `${hostname()} ${randomUUID()}`, registry: measures });
  } catch (error) {
    metrics.close();
    throw error;
  }
  const goalsOf = createGoals({ baseUri: config.clientSideBaseUri, outbound, userAgent });
  const events =
    config.events.enabled || config.offline
      ? createEventForwarding({
          ...{ eventsUri: config.events.uri, userAgent, outbound, log, registry: measures },
          flushIntervalMs: config.events.flushIntervalMs,
          capacity: config.events.capacity,
          discard: config.offline !== undefined,
        })
      : undefined;
  const { initMaxConcurrent, initMaxQueued } = config;
  const hub = createHub({
    heartbeatMs: Math.max(0, config.heartbeatIntervalMs),
    maxAgeMs: Math.max(0, config.maxClientConnectionTimeMs),
    clientStreams: config.clientStreams,
    pingJitterMs: config.pingStreamJitterMs,
    ...(initMaxConcurrent !== undefined && { maxInitialInFlight: initMaxConcurrent }),
    ...(initMaxQueued !== undefined && { maxInitialWaiting: initMaxQueued }),
    meter: metrics.streams,
  });
  let source: RunningSource | undefined;
  const registry = createRegistry<Tenant>();
  const served = new Map<Tenant, Served>();
  const tenantOf = new WeakMap<ServedEnvironment, Tenant>();
  const tenants = createTenants({
    log,
    registry,
    placeOf: placeOf(config),
    parts: {
      streams: hub.environment,
      stores: (place, tenant) =>
        stores.open({
          ...{ place, view: tenant.memory, log: logOf(tenant) },
          checkedAt: () => tenant.upstream?.status().checkedAt ?? 0,
          confirms: tenant.description.flagsFile === undefined && tenant.description.data === undefined,
        }),
      bigSegments(place, tenant, onBatch) {
        const { sdkKey, flagsFile, data } = tenant.description;
        return createTenantBigSegments({
          ...{ streamUri: config.streamUri, baseUri: config.baseUri, outbound, userAgent, onBatch, sdkKey },
          ...{ stores: stores.bigSegments(place, logOf(tenant)), log: logOf(tenant) },
          synchronises: config.storeWriter !== 'never' && flagsFile === undefined && data === undefined,
          staleThresholdMs: config.bigSegments.staleThresholdMs,
        });
      },
      upstream: createUpstreams({
        ...{ streamUri: config.streamUri, outbound, userAgent, logOf, times: timings.upstream },
        onReload: options.onReload,
      }),
    },
    onChange: (tenant, change) => options.onChange?.(tenant.name, change),
    onAdded(tenant) {
      const environment = serve(tenant, { registry, events, goalsOf });
      served.set(tenant, environment);
      tenantOf.set(environment, tenant);
    },
    onRemoved(tenant) {
      void served.get(tenant)?.events?.close(FLUSH_MS);
      served.delete(tenant);
    },
  });
  metrics.watch({ environments: healthOfAll, source: () => source?.status() });
  const eligibility = setInterval(tenants.tellEligibility, ELIGIBILITY_MS);
  eligibility.unref();
  const certificate =
    tls &&
    followCertificate({
      files: tls,
      log,
      intervalMs: timings.certificateMs ?? CERTIFICATE_MS,
      replace: (pair) => server.replaceCertificate(pair),
    });
  let emf: Emf | undefined;
  let metricsServer: MetricsServer | undefined;

  const closeEverything = async () => {
    health.setDraining();
    clearInterval(eligibility);
    certificate?.close();
    // A source that waits for a store does not hold the readers up; it says nothing more from here on.
    await Promise.all([source?.close(), hub.closeAll(config.drainWindowMs), tenants.close()]);
    registry.close();
    await Promise.all([server.close(LAST_ANSWERS_MS), stores.close()]);
    // After the last request that could bring some.
    await events?.close(FLUSH_MS);
    await Promise.all([emf?.close(), metricsServer?.close()]);
    metrics.close();
  };

  try {
    let port = 0;
    const host = config.listenHost;
    if (options.listen ?? true) {
      if (config.prometheus) {
        metricsServer = await startMetricsServer({ port: config.prometheus.port, host, text: metrics.text });
      }
      ({ port } = await server.listen({ port: config.port, ...(host !== undefined && { host }) }));
      health.setListening();
    }
    if (config.metrics.emf) {
      const { namespace, emfIntervalMs } = config.metrics;
      emf = startEmf({ registry: measures, namespace, intervalMs: emfIntervalMs, properties: { host: hostname() } });
    }
    source = await startSource({
      ...{ config, outbound, userAgent, log, timings, registry: measures },
      sink: tenants,
      keeper: stores.keeper,
    });
    // Where the configuration itself names the environments, a flags file that cannot be read is a mistake in it.
    if (config.environments.length > 0) await tenants.started();
    return {
      port,
      metricsPort: metricsServer?.port,
      metrics,
      initialized,
      async stored(timeoutMs = FLUSH_MS) {
        const views = [...tenants.all];
        await Promise.all(views.flatMap(({ stores }) => stores.map((store) => store.flush(timeoutMs))));
        const failing = views.filter(({ stores }) => stores.some((store) => store.status().state !== 'VALID'));
        return failing.map(({ name }) => name);
      },
      close: closeEverything,
    };
  } catch (error) {
    await closeEverything();
    throw error;
  }

  function find(kind: CredentialKind, credential: string, filter: string): Found {
    const found = registry.find(kind, credential, filter);
    // What the source would name if it could be asked is not unknown.
    const answers = source?.status().state === 'VALID' && (source.unread?.() ?? 0) === 0;
    if (typeof found === 'string') return answers ? found : 'not-yet';
    const environment = served.get(found.environment);
    return environment ? { environment } : 'not-yet';
  }

  function healthOfAll(): EnvironmentHealth[] {
    return [...tenants.all].map((tenant) => healthOf(tenant, registry));
  }

  function logOf({ name, description }: { name: string; description: EnvironmentDescription }): Log {
    return withFields(limitLog(options.log, description.logLevel ?? config.logLevel), { environment: name });
  }

  async function initialized(): Promise<readonly string[]> {
    const until = Date.now() + config.initTimeoutMs;
    for (;;) {
      const waiting = [...tenants.all].filter(
        ({ memory, upstream }) => !memory.initialized && !upstream?.status().refused,
      );
      if ((registry.complete && waiting.length === 0) || Date.now() >= until) break;
      await new Promise((resolve) => setTimeout(resolve, INITIALIZED_LOOK_MS));
    }
    const without = [...tenants.all].filter(({ memory }) => !memory.initialized).map(({ name }) => name);
    return registry.complete ? without : ['the list of environments', ...without];
  }
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
