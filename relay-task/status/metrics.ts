/** All measures in one registry, in Prometheus's text format. Every label has a bounded set of values. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { CredentialKind, EnvironmentSourceStatus } from '../ports.ts';
import type { EnvironmentHealth } from './health.ts';
import { watchHealth } from './watch-health.ts';

export interface Metrics {
  readonly registry: Registry;
  /** `text/plain; version=0.0.4` … */
  text(): Promise<{ readonly contentType: string; readonly body: string }>;
  /** From now on, what these say is read whenever metrics are. */
  watch(watched: Watched): void;
  /** The words of the streams' meter. */
  readonly streams: {
    opened(environment: string, kind: string, family: string, credential?: CredentialKind): void;
    closed(environment: string, kind: string, family: string, reason: string, credential?: CredentialKind): void;
    refused(environment: string): void;
    wrote(bytes: number): void;
    broadcast(durationMs: number): void;
    snapshot(environment: string, kind: string, bytes: number): void;
  };
  /** The words of the endpoints' report. */
  answered(answer: {
    readonly route: string;
    readonly method: string;
    readonly status: number;
    readonly environment: string | undefined;
    readonly credential: CredentialKind | undefined;
    readonly family: string;
    readonly durationMs: number;
  }): void;
  close(): void;
}

export interface Watched {
  environments(): Iterable<EnvironmentHealth>;
  source?(): EnvironmentSourceStatus | undefined;
}

export interface MetricsOptions {
  /** Before the names of ld-relay's three measures: `launchdarkly_relay`. */
  readonly prefix?: string | undefined;
}

const platforms: Readonly<Record<CredentialKind, string>> = {
  sdkKey: 'server',
  mobileKey: 'mobile',
  environmentId: 'browser',
};
const METHODS = new Set(['GET', 'HEAD', 'POST', 'REPORT', 'OPTIONS']);

export function createMetrics({ prefix = 'launchdarkly_relay' }: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  const registers = [registry];
  // Of the process: memory, CPU, garbage collection, and how late the event loop is (nodejs_eventloop_lag_p99_seconds).
  collectDefaultMetrics({ register: registry });
  // ld-relay's measures, with its names and labels.
  const clientLabels = ['platformCategory', 'userAgent', 'env'] as const;
  const connections = new Gauge({
    name: `${prefix}_connections`,
    help: 'open SSE connections',
    labelNames: clientLabels,
    registers,
  });
  const newConnections = new Counter({
    name: `${prefix}_newconnections`,
    help: 'SSE connections opened',
    labelNames: clientLabels,
    registers,
  });
  const requests = new Counter({
    name: `${prefix}_requests`,
    help: 'requests answered for an environment',
    labelNames: [...clientLabels, 'route', 'method'] as const,
    registers,
  });
  // And ours.
  const streamsOpen = new Gauge({
    name: 'relay_streams_open',
    help: 'open streams',
    labelNames: ['env', 'kind'],
    registers,
  });
  const streamsOpened = new Counter({
    name: 'relay_streams_opened_total',
    help: 'streams opened',
    labelNames: ['env'],
    registers,
  });
  const streamsClosed = new Counter({
    name: 'relay_streams_closed_total',
    help: 'streams that ended, by reason',
    labelNames: ['env', 'reason'],
    registers,
  });
  const streamsRefused = new Counter({
    name: 'relay_streams_refused_total',
    help: 'streams turned away with 503',
    labelNames: ['env'],
    registers,
  });
  const streamBytes = new Counter({ name: 'relay_stream_bytes_total', help: 'bytes handed to streams', registers });
  const snapshots = new Counter({
    name: 'relay_stream_snapshots_total',
    help: 'whole sets put together for streams',
    labelNames: ['env', 'kind'],
    registers,
  });
  const broadcast = new Histogram({
    name: 'relay_broadcast_seconds',
    help: 'from the arrival of a change to its last write to a stream',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  });
  const answers = new Counter({
    name: 'relay_http_answers_total',
    help: 'answers, streams opened included',
    labelNames: ['route', 'method', 'status'],
    registers,
  });
  const requestsAnswered = new Counter({
    name: 'relay_requests_total',
    help: 'requests answered for an environment, those below 400',
    labelNames: ['env'],
    registers,
  });
  const failures = new Counter({
    name: 'relay_http_failures_total',
    help: 'answers of 500 and above, 503 before there is data included',
    registers,
  });
  const durations = new Histogram({
    name: 'relay_http_seconds',
    help: 'from the head of a request to its answer',
    labelNames: ['route'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
    registers,
  });
  const client = (environment: string, family: string, credential: CredentialKind = 'sdkKey') => ({
    platformCategory: platforms[credential],
    userAgent: labelValue(family),
    env: labelValue(environment),
  });
  new Gauge({ name: 'relay_up', help: '1 while the relay runs', registers }).set(1);
  return {
    registry,
    watch: (watched) => watchHealth(registry, watched),
    text: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
    streams: {
      opened(environment, kind, family, credential) {
        connections.inc(client(environment, family, credential));
        newConnections.inc(client(environment, family, credential));
        streamsOpened.inc({ env: environment });
        streamsOpen.inc({ env: environment, kind });
      },
      closed(environment, kind, family, reason, credential) {
        connections.dec(client(environment, family, credential));
        streamsOpen.dec({ env: environment, kind });
        streamsClosed.inc({ env: environment, reason });
      },
      refused: (environment) => streamsRefused.inc({ env: environment }),
      wrote: (bytes) => streamBytes.inc(bytes),
      broadcast: (durationMs) => broadcast.observe(durationMs / 1_000),
      snapshot: (environment, kind) => snapshots.inc({ env: environment, kind }),
    },
    answered({ route, method, status, environment, credential, family, durationMs }) {
      const known = METHODS.has(method) ? method : 'other';
      answers.inc({ route, method: known, status: String(status) });
      if (status >= 500) failures.inc();
      durations.observe({ route }, durationMs / 1_000);
      if (environment === undefined || credential === undefined || status >= 400) return;
      requestsAnswered.inc({ env: environment });
      requests.inc({ ...client(environment, family, credential), route: labelValue(route), method: known });
    },
    close: () => registry.clear(),
  };
}

/** As ld-relay writes label values: no slashes, never empty. */
function labelValue(text: string): string {
  return text.replaceAll('/', '_') || '_';
}
