import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { createEvaluationLines } from './common/evaluation-lines.ts';
import { createKept } from './common/kept.ts';
import { sleep } from './common/pause.ts';
import { processLimits } from './common/process-limits.ts';
import { withRunbook } from './common/with-runbook.ts';
import type { Config } from './config/config.ts';
import { createRelayServer, createRequestTurns } from './endpoints/server.ts';
import { createRegistry } from './environments/registry.ts';
import { createEventForwarding, type EventForwardingOptions } from './events/forwarding.ts';
import type { Change, Log } from './ports.ts';
import { createDescriptors } from './status/descriptors.ts';
import { type Dogstatsd, startDogstatsd } from './status/dogstatsd.ts';
import { type Emf, startEmf } from './status/emf.ts';
import { familyOf } from './status/family.ts';
import { createHealth, type HealthOptions, type RelayStanding } from './status/health.ts';
import { createLevels, type Levels, limitLog } from './status/levels.ts';
import { createMetrics, type Metrics } from './status/metrics.ts';
import { type MetricsServer, startMetricsServer } from './status/metrics-server.ts';
import type { Otlp } from './status/otlp/start.ts';
import type { Output } from './status/output.ts';
import { createPropagation } from './status/propagation.ts';
import { createRequestLog } from './status/request-log.ts';
import { tellVersion } from './status/version-metric.ts';
import { createHub, type HubOptions } from './streams/hub.ts';
import type { FileReload } from './upstream/file.ts';
import { createGoals } from './upstream/goals.ts';
import { createOutbound } from './upstream/outbound.ts';
import { type AccountViewTimings, createAccountView } from './wiring/account-view.ts';
import { type CertificatePair, followCertificate, readCertificate, warnOfDates } from './wiring/certificate.ts';
import { tellingChanges } from './wiring/change-way.ts';
import { createForgottenSeries } from './wiring/forgotten-series.ts';
import { createHeartbeats, type HeartbeatTimings } from './wiring/heartbeats.ts';
import { createMemory, type Memory, usageOf } from './wiring/memory.ts';
import { createServedTenants, healthOfAll } from './wiring/served.ts';
import { createSource, placeOf, type SourceTimings } from './wiring/sources.ts';
import { createStores, type StoreTimings } from './wiring/stores.ts';
import { loggingFailures } from './wiring/stream-failures.ts';
import type { Tenant } from './wiring/tenant.ts';
import { createTenantParts } from './wiring/tenant-parts.ts';
import { createTenants, type Tenants } from './wiring/tenants.ts';

interface RelayOptions {
  readonly log: Log;
  /** Which lines are written; by default as configured. */
  readonly levels?: Levels;
  /** Where the log is written, and metrics for CloudWatch; how many lines it lost is in `/status` and metrics. */
  readonly output?: Output;
  /** Shown in `/status` and to upstream. */
  readonly version: string;
  /** HTTPS_PROXY, HTTP_PROXY and NO_PROXY: for AWS, and for LaunchDarkly where the configuration names no proxy; and where ECS tells of the task. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** False: fills the stores and does not listen. */
  readonly listen?: boolean;
  /** For tests; a relay never changes them. */
  readonly timings?: RelayTimings;
  /** After every change of an environment's memory, once its streams and stores have been told. Must not throw. */
  onChange?(environment: string, change: Change): void;
  /** After every reading of an environment's flags file. Must not throw. */
  onReload?(environment: string, reload: FileReload): void;
}

export interface RelayTimings extends SourceTimings, StoreTimings, AccountViewTimings {
  /** Between looks at the files of the certificate; 10 s. */
  readonly certificateMs?: number;
  /** Between looks whether a writer's upstream went quiet; 5 s. */
  readonly eligibilityMs?: number;
  /** Between looks at the stores while LaunchDarkly cannot be reached; 3 s. */
  readonly followMs?: number;
  readonly heartbeats?: HeartbeatTimings;
  /** Until the metrics of a removed environment end; 15 minutes. */
  readonly seriesMs?: number;
}

export interface Relay {
  /** 0 when it does not listen. */
  readonly port: number;
  /** The port for Prometheus; undefined without one. */
  readonly metricsPort: number | undefined;
  readonly metrics: Metrics;
  /** What clients may take of the memory. */
  readonly budgetBytes: number;
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

/** A holder whose upstream went quiet gives its lease up, and no event says that it went quiet. */
const ELIGIBILITY_MS = 5_000;
const FLUSH_MS = 5_000;
const LAST_ANSWERS_MS = 5_000;
const CERTIFICATE_MS = 10_000;
const INITIALIZED_LOOK_MS = 50;

/**
 * Starts a relay: what it is made of, its listeners, then the source of environments and keys, which brings the
 * environments with their stores and upstreams. Rejects with RelayError LISTEN_FAILED, FLAGS_FILE_INVALID,
 * ARCHIVE_INVALID, CERTIFICATE_INVALID or CONFIG_INVALID; nothing is left open then.
 */
export async function startRelay(config: Config, options: RelayOptions): Promise<Relay> {
  const levels = options.levels ?? createLevels({ configured: config.logLevel, log: options.log });
  const log = limitLog(options.log, levels.present);
  const metrics = createMetrics({ prefix: config.prometheus?.prefix });
  void tellVersion(metrics.measures, options.version, options.env?.ECS_CONTAINER_METADATA_URI_V4);
  let parts: Parts;
  let otlp: Otlp | undefined;
  try {
    otlp = await openOtlp(config, options, log, metrics, () => parts?.health.standing());
    parts = createParts(config, { ...options, levels }, log, metrics, otlp);
  } catch (error) {
    await otlp?.close(0);
    metrics.close();
    throw error;
  }
  const { source, tenants, stores } = parts;
  const running = startRunning(parts, config, options, log);
  try {
    const ports = (options.listen ?? true) ? await listen(parts, config, running) : { port: 0, metricsPort: undefined };
    if (config.metrics.emf) {
      const { namespace, emfIntervalMs: intervalMs } = config.metrics;
      const { measures } = metrics;
      const write = options.output?.write;
      const properties = { host: hostname() };
      running.emf = startEmf({ measures, namespace, intervalMs, properties, log, ...(write && { write }) });
    }
    if (config.datadog) {
      running.dogstatsd = await startDogstatsd({
        ...config.datadog,
        measures: metrics.measures,
        env: options.env,
        log,
      });
    }
    await source.start(tenants);
    // Where the configuration itself names the environments, a flags file that cannot be read is a mistake in it.
    if (config.environments.length > 0) await tenants.started();
    return {
      ...ports,
      metrics,
      budgetBytes: parts.budgetBytes,
      initialized: () => initialized(parts, config.initTimeoutMs),
      stored: (timeoutMs = FLUSH_MS) => stored(tenants, timeoutMs),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }

  async function close(): Promise<void> {
    const { hub, heartbeats, registry, server, health, events, accountView, descriptors, series } = parts;
    health.setDraining();
    accountView?.close();
    series.close();
    clearInterval(running.eligibility);
    // A source that waits for a store does not hold the readers up; it delivers nothing from here on.
    await Promise.all([
      running.certificate?.close(),
      source.close(),
      heartbeats.close(),
      hub.closeAll(config.drainWindowMs),
      tenants.close(),
    ]);
    registry.close();
    await Promise.all([server.close(LAST_ANSWERS_MS), stores.close()]);
    // After the last request that could bring events.
    await events?.close(FLUSH_MS);
    const { emf, dogstatsd, metricsServer } = running;
    await Promise.all([emf?.close(), dogstatsd?.close(), metricsServer?.close(), otlp?.close(FLUSH_MS)]);
    descriptors.close();
    metrics.close();
    levels.close();
  }
}

/** Undefined: nothing is sent over OTLP, and nothing of it is loaded. Throws RelayError CONFIG_INVALID. */
async function openOtlp(
  config: Config,
  { version, env = {} }: RelayOptions,
  log: Log,
  { measures }: Metrics,
  standing: () => RelayStanding | undefined,
): Promise<Otlp | undefined> {
  if (!config.otlp) return undefined;
  const { startOtlp } = await import('./status/otlp/start.ts');
  return startOtlp({ config: config.otlp, version, measures, outbound: outboundOf(config, env), log, standing });
}

function outboundOf({ proxy: { user, password, caCertFiles, url: proxyUrl } }: Config, env: RelayOptions['env'] = {}) {
  return createOutbound({ proxyUrl, user, password, caCertFiles, env });
}

type Parts = ReturnType<typeof createParts>;

/**
 * Everything that a relay is made of; nothing runs and nothing is connected to yet. Throws RelayError CERTIFICATE_INVALID
 * or CONFIG_INVALID.
 */
function createParts(
  config: Config,
  options: RelayOptions & { levels: Levels },
  log: Log,
  metrics: Metrics,
  otlp: Otlp | undefined,
) {
  const { version, timings = {}, levels } = options;
  const { measures } = metrics;
  const outbound = outboundOf(config, options.env);
  const userAgent = `EdgeFlagRelay/${version}`;
  const shared = { outbound, userAgent, log, measures };
  const certificate = config.tls && readCertificate(config.tls);
  const owner = `${hostname()} ${randomUUID()}`;
  const stores = createStores({ config, owner, measures, outbound, timings });
  const memory = createMemory(processLimits(), config.memoryBudgetBytes);
  const upstreamTimes = { ...timings.upstream, receivedMemory: memory.received };
  const kept = createKept(memory.answerTexts);
  const turns = createRequestTurns();
  const evaluations = createEvaluationLines();
  const accountView = createAccountView({ config, version, env: options.env ?? {}, timings });
  const heard = accountView?.hearing(metrics) ?? metrics;
  const propagation = createPropagation({ measures });
  const heartbeats = createHeartbeats({
    ...shared,
    config,
    propagation,
    timings: timings.heartbeats,
    tenants: () => tenants.all,
  });
  const meter = heartbeats.meter(tellingChanges(loggingFailures(heard.streams, log), otlp?.changes));
  const hub = createRelayHub(config, memory, { turns: turns.others, evaluations, meter });
  metrics.watchPlaces(() => hub);
  const source = createSource({
    ...shared,
    config,
    keeper: stores.keeper,
    timings: { ...timings, upstream: upstreamTimes },
  });
  const events = createRelayEvents(config, { ...shared, parentBudget: memory.events });
  const requestLog = createRequestLog({ log: options.log, levels });
  const registry = createRegistry<Tenant>();
  const served = createServedTenants({
    registry,
    events,
    accountView,
    goalsOf: createGoals({ baseUri: config.clientSideBaseUri, outbound, userAgent }),
    knowsAllKeys: () => source.knowsAllKeys() && tenants.settled,
  });
  const series = createForgottenSeries({
    measures,
    names: () => tenants.all.map(({ name }) => name),
    afterMs: timings.seriesMs,
  });
  const tenants = createTenants({
    log,
    registry,
    placeOf: placeOf(config),
    followMs: timings.followMs,
    kept,
    parts: createTenantParts({
      ...shared,
      config,
      hub: { environment: heartbeats.environments(hub.environment) },
      publishing: heartbeats.publishing,
      stores,
      log: options.log,
      levels,
      upstreamTimes,
      room: memory.flags,
      onAttempt: accountView?.attempted,
      changes: otlp?.changes,
      onReload: options.onReload,
    }),
    onChange: (tenant, change) => {
      otlp?.changes?.changed(tenant.name, change);
      options.onChange?.(tenant.name, change);
    },
    onAdded(tenant) {
      metrics.added(tenant.name);
      served.add(tenant);
      requestLog.add(tenant);
      heartbeats.added(tenant);
    },
    onRemoved(tenant) {
      served.remove(tenant);
      requestLog.remove(tenant);
      heartbeats.removed(tenant);
      series.removed(tenant.name);
    },
  });
  const health = createRelayHealth(config, options, metrics, {
    environments: () => healthOfAll(tenants, registry, served),
    source: source.status,
    eventSpool: () => events?.spool(),
    memory: () => usageOf(memory),
    propagation: propagation.read,
    keysKnown: () => registry.complete,
  });
  const descriptors = createDescriptors({ log, measures });
  const server = createRelayServer({
    log,
    maxConnections: descriptors.maxConnections,
    refused: descriptors.refused,
    health,
    find: served.find,
    openStream: served.openStream,
    memory: memory.requests,
    kept,
    turns,
    evaluations,
    family: familyOf,
    answered(answer) {
      heard.answered(answer);
      requestLog.answered(answer);
    },
    watch: otlp?.requests,
    ...(certificate && { tls: { ...certificate, minVersion: config.tls?.minVersion } }),
    ...endpointSettings(config),
  });
  return {
    budgetBytes: memory.whole.maxBytes,
    metrics,
    certificate,
    stores,
    hub,
    heartbeats,
    source,
    events,
    accountView,
    registry,
    tenants,
    series,
    health,
    server,
    descriptors,
  };
}

/** What `/status`, `/readyz` and metrics show of the parts. */
function createRelayHealth(
  config: Config,
  { version, output }: RelayOptions,
  metrics: Metrics,
  parts: Pick<HealthOptions, 'environments' | 'source' | 'eventSpool' | 'memory' | 'propagation' | 'keysKnown'>,
) {
  const watched = { ...parts, logLinesLost: output?.lost, losing: output?.losing };
  metrics.watch(watched);
  const { initTimeoutMs, disconnectedStatusTimeMs, readyRequires } = config;
  const { staleAsDegraded: bigSegmentsStaleAsDegraded } = config.bigSegments;
  const settings = { initTimeoutMs, disconnectedStatusTimeMs, readyRequires, bigSegmentsStaleAsDegraded };
  return createHealth({ ...watched, ...settings, version });
}

function endpointSettings({ statusAccess, statusToken, maxClientRequestBodyBytes, events }: Config) {
  const { maxInboundPayloadBytes } = events;
  return { statusAccess, statusToken, maxContextBytes: maxClientRequestBodyBytes, maxInboundPayloadBytes };
}

/** Offline, events are accepted and dropped. Undefined: they are not forwarded. */
function createRelayEvents(
  config: Config,
  parts: Pick<EventForwardingOptions, 'parentBudget' | 'userAgent' | 'outbound' | 'log' | 'measures'>,
) {
  const { enabled, uri, flushIntervalMs, capacity, spoolDir: directory, spoolMaxBytes: maxBytes } = config.events;
  const spool =
    directory === undefined
      ? undefined
      : { directory, maxBytes, log: withRunbook(parts.log, 'operations.md#event-spool') };
  const log = withRunbook(parts.log, 'operations.md#events-dropped');
  const offline = config.offline !== undefined;
  if (!enabled && !offline) return undefined;
  return createEventForwarding({ ...parts, log, eventsUri: uri, flushIntervalMs, capacity, spool, discard: offline });
}

function createRelayHub(config: Config, memory: Memory, work: Pick<HubOptions, 'turns' | 'evaluations' | 'meter'>) {
  const { initMaxConcurrent, initMaxQueued } = config;
  return createHub({
    heartbeatMs: config.heartbeatIntervalMs,
    maxAgeMs: config.maxClientConnectionTimeMs,
    clientStreams: config.clientStreams,
    pingJitterMs: config.pingStreamJitterMs,
    ...(initMaxConcurrent !== undefined && { maxInitialInFlight: initMaxConcurrent }),
    ...(initMaxQueued !== undefined && { maxInitialWaiting: initMaxQueued }),
    memory: memory.streams,
    ...work,
  });
}

/** What runs beside the tenants, to be closed with the relay. */
interface Running {
  readonly eligibility: NodeJS.Timeout;
  readonly certificate: { close(): Promise<void> } | undefined;
  emf?: Emf;
  dogstatsd?: Dogstatsd;
  metricsServer?: MetricsServer;
}

function startRunning(
  { tenants, certificate, server, descriptors }: Parts,
  { tls }: Config,
  { timings }: RelayOptions,
  log: Log,
): Running {
  const eligibility = setInterval(tenants.tellEligibility, timings?.eligibilityMs ?? ELIGIBILITY_MS);
  eligibility.unref();
  const intervalMs = timings?.certificateMs ?? CERTIFICATE_MS;
  if (certificate) warnOfDates(certificate, log, Date.now());
  descriptors.watch();
  const replace = (pair: CertificatePair) => server.replaceCertificate(pair);
  return {
    eligibility,
    certificate:
      tls && certificate && followCertificate({ files: tls, present: certificate, log, intervalMs, replace }),
  };
}

async function listen({ metrics, server, health, heartbeats }: Parts, config: Config, running: Running) {
  const { prometheus, listenHost: host } = config;
  if (prometheus) {
    running.metricsServer = await startMetricsServer({ port: prometheus.port, host, text: metrics.text });
  }
  const { port } = await server.listen({ port: config.port, ...(host !== undefined && { host }) });
  health.setListening();
  heartbeats.start();
  return { port, metricsPort: running.metricsServer?.port };
}

async function initialized({ tenants, registry }: Parts, timeoutMs: number): Promise<readonly string[]> {
  const until = performance.now() + timeoutMs;
  const isWaiting = ({ memory, upstream }: Tenant) => !memory.initialized && !upstream?.status().refused;
  while (!(registry.complete && !tenants.all.some(isWaiting)) && performance.now() < until)
    await sleep(INITIALIZED_LOOK_MS);
  const without = tenants.all.filter(({ memory }) => !memory.initialized).map(({ name }) => name);
  return registry.complete ? without : ['the list of environments', ...without];
}

async function stored({ all }: Tenants, timeoutMs: number): Promise<readonly string[]> {
  await Promise.all(all.flatMap(({ stores }) => stores.map((store) => store.flush(timeoutMs))));
  const failing = all.filter(({ stores }) => stores.some((store) => store.status().state !== 'VALID'));
  return failing.map(({ name }) => name);
}
