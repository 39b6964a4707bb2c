/**
 * What LaunchDarkly's account pages show about the relay, as ld-relay tells it: once a minute which SDKs use it, at the start and every
 * 15 minutes how it is configured and how its stream does. Sent with the events of SDKs, and only where these are forwarded.
 */
import { randomUUID } from 'node:crypto';
import { arch, platform, release } from 'node:os';
import { type Config, storesIn } from '../config/config.ts';
import { settings } from '../config/settings.ts';
import { CONTEXTS_REMEMBERED } from '../events/credential-events.ts';
import type { EnvironmentEvents } from '../events/forwarding.ts';
import { createOwnDiagnostics, type DiagnosticConfiguration, type OwnDiagnostics } from '../events/own-diagnostics.ts';
import { usualTimings } from '../events/timings.ts';
import { createUsage } from '../events/usage.ts';
import type { StreamAttempt } from '../ports.ts';
import type { Metrics } from '../status/metrics.ts';
import { CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS } from '../upstream/event-stream.ts';
import { FIRST_RETRY_MS } from '../upstream/retries.ts';
import type { Tenant } from './tenant.ts';

export interface AccountViewTimings {
  /** Between two looks at what there is to tell; 60 s. */
  readonly usageMs?: number;
  /** Between two diagnostic events; 15 min. */
  readonly diagnosticsMs?: number;
}

export interface AccountView {
  add(tenant: Tenant, events: EnvironmentEvents): void;
  remove(tenant: Tenant): void;
  /** The same meters, which tell this one too. */
  hearing(metrics: Metrics): Pick<Metrics, 'streams' | 'answered'>;
  attempted(environment: string, attempt: StreamAttempt): void;
  close(): void;
}

interface AccountViewOptions {
  readonly config: Config;
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly timings?: AccountViewTimings | undefined;
}

/** One environment. */
interface Told {
  readonly tenant: Tenant;
  readonly events: EnvironmentEvents;
  sdkKey?: string;
  diagnostics?: OwnDiagnostics;
  /** `performance.now()` of the last diagnostic event. */
  diagnosedAt: number;
  /** The last event about usage is not delivered yet; the next one covers the time since then. */
  isTelling: boolean;
}

const USAGE_MS = 60_000;
const DIAGNOSTICS_MS = 900_000;

/** Undefined when it is switched off, offline, or events are not forwarded. */
export function createAccountView(options: AccountViewOptions): AccountView | undefined {
  const { config, version, timings = {} } = options;
  const { usageMs = USAGE_MS, diagnosticsMs = DIAGNOSTICS_MS } = timings;
  if (config.disableInternalUsageMetrics || config.offline || !config.events.enabled) return undefined;
  const usage = createUsage(randomUUID());
  const configuration = configurationOf(options);
  const host = { nodeVersion: process.versions.node, os: platform(), arch: arch(), release: release() };
  const told = new Map<string, Told>();

  function tell(one: Told): void {
    const { tenant, events } = one;
    const { sdkKey, flagsFile, data } = tenant.description;
    // Flags from a file have no account.
    if (sdkKey === undefined || flagsFile !== undefined || data !== undefined) return;
    diagnose(one, sdkKey);
    if (one.isTelling) return;
    const event = usage.take(tenant.name);
    if (!event) return;
    one.isTelling = true;
    void events.own(sdkKey, { what: 'analytics', json: JSON.stringify([event]) }).finally(() => {
      one.isTelling = false;
    });
  }

  function diagnose(one: Told, sdkKey: string): void {
    const now = performance.now();
    const send = (event: object) => void one.events.own(sdkKey, { what: 'diagnostics', json: JSON.stringify(event) });
    if (!one.diagnostics || one.sdkKey !== sdkKey) {
      one.sdkKey = sdkKey;
      one.diagnosedAt = now;
      one.diagnostics = createOwnDiagnostics({
        version,
        sdkKey,
        configuration,
        intervalMs: diagnosticsMs,
        platform: host,
        now: Date.now,
      });
      send(one.diagnostics.init());
    } else if (now - one.diagnosedAt >= diagnosticsMs) {
      one.diagnosedAt = now;
      send(one.diagnostics.periodic(one.events.takeDropped()));
    }
  }

  const timer = setInterval(() => {
    for (const one of told.values()) tell(one);
  }, usageMs);
  timer.unref();
  return {
    add(tenant, events) {
      usage.begin(tenant.name);
      const one: Told = { tenant, events, diagnosedAt: 0, isTelling: false };
      told.set(tenant.name, one);
      tell(one);
    },
    remove(tenant) {
      if (told.get(tenant.name)?.tenant !== tenant) return;
      told.delete(tenant.name);
      usage.forget(tenant.name);
    },
    hearing: ({ streams, answered }) => ({
      streams: {
        ...streams,
        opened(environment, kind, family, credential = 'sdkKey') {
          streams.opened(environment, kind, family, credential);
          usage.opened(environment, family, credential);
        },
        closed(environment, kind, family, reason, credential = 'sdkKey') {
          streams.closed(environment, kind, family, reason, credential);
          usage.closed(environment, family, credential);
        },
      },
      answered(answer) {
        answered(answer);
        usage.answered(answer);
      },
    }),
    attempted: (environment, attempt) => told.get(environment)?.diagnostics?.attempted(attempt),
    close: () => clearInterval(timer),
  };
}

function configurationOf({ config, env }: AccountViewOptions): DiagnosticConfiguration {
  const stores = storesIn(config).map(({ name }) => name);
  return {
    startWaitMillis: config.initTimeoutMs,
    eventsCapacity: config.events.capacity,
    eventsFlushIntervalMillis: config.events.flushIntervalMs,
    streamingDisabled: config.upstreamProtocol === 'fdv2-polling',
    dataStoreType: stores.length > 1 ? 'custom' : (stores[0] ?? 'memory'),
    customBaseURI: config.baseUri !== DEFAULTS.baseUri,
    customStreamURI: config.streamUri !== DEFAULTS.streamUri,
    customEventsURI: config.events.uri !== DEFAULTS.eventsUri,
    userKeysCapacity: CONTEXTS_REMEMBERED,
    userKeysFlushIntervalMillis: usualTimings.forgetContextsMs,
    connectTimeoutMillis: CONNECT_TIMEOUT_MS,
    socketTimeoutMillis: READ_TIMEOUT_MS,
    reconnectTimeMillis: FIRST_RETRY_MS,
    usingProxy: [config.proxy.url, env.HTTPS_PROXY, env.https_proxy].some(Boolean),
  };
}

const DEFAULTS = {
  baseUri: settings.baseUri.fallback,
  streamUri: settings.streamUri.fallback,
  eventsUri: settings.events.uri.fallback,
};
