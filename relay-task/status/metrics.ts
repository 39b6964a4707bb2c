/** All metrics in one registry, in Prometheus's text format. Every label has a bounded set of values. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Answered, CredentialKind } from '../ports.ts';
import type { Watched } from './health.ts';
import { prometheusText } from './prometheus-text.ts';
import { watchHealth } from './watch-health.ts';

export type Metrics = ReturnType<typeof createMetrics>;

const platforms: Readonly<Record<CredentialKind, string>> = {
  sdkKey: 'server',
  mobileKey: 'mobile',
  environmentId: 'browser',
};
const METHODS = new Set(['GET', 'HEAD', 'POST', 'REPORT', 'OPTIONS']);

/** `prefix`: of ld-relay's three metrics. */
export function createMetrics({ prefix = 'launchdarkly_relay' }: { prefix?: string | undefined } = {}) {
  const registry = new Registry();
  // Memory, CPU, garbage collection, and the delay of the event loop (nodejs_eventloop_lag_p99_seconds).
  collectDefaultMetrics({ register: registry });
  const ldRelay = createLdRelayMetrics(registry, prefix);
  const own = createOwnMetrics(registry);
  return {
    registry,
    /** Adds gauges that are computed from these whenever metrics are read. */
    watch: (watched: Watched) => watchHealth(registry, watched),
    /** `text/plain; version=0.0.4` … */
    text: async () => ({ contentType: registry.contentType, body: await prometheusText(registry) }),
    /** Called by the streams. */
    streams: {
      opened(environment: string, kind: string, family: string, credential?: CredentialKind) {
        ldRelay.connections.inc(clientLabels(environment, family, credential));
        ldRelay.newConnections.inc(clientLabels(environment, family, credential));
        own.streamsOpened.inc({ env: environment });
        own.streamsOpen.inc({ env: environment, kind });
      },
      closed(environment: string, kind: string, family: string, reason: string, credential?: CredentialKind) {
        ldRelay.connections.dec(clientLabels(environment, family, credential));
        own.streamsOpen.dec({ env: environment, kind });
        own.streamsClosed.inc({ env: environment, reason });
      },
      refused: (environment: string, reason: string) => own.streamsRefused.inc({ env: environment, reason }),
      failed: (environment: string, kind: string) => own.streamFailures.inc({ env: environment, kind }),
      wrote: (bytes: number) => own.streamBytes.inc(bytes),
      broadcast: (durationMs: number) => own.broadcast.observe(durationMs / 1_000),
      snapshot: (environment: string, kind: string) => own.snapshots.inc({ env: environment, kind }),
    },
    /** Called by the endpoints. */
    answered({ route, method, status, environment, credential, family, durationMs }: Answered) {
      const known = METHODS.has(method) ? method : 'other';
      own.answers.inc({ route, method: known, status: String(status) });
      if (status >= 500) own.failures.inc();
      own.durations.observe({ route }, durationMs / 1_000);
      if (environment === undefined || credential === undefined || status >= 400) return;
      own.requestsAnswered.inc({ env: environment });
      const labels = clientLabels(environment, family, credential);
      ldRelay.requests.inc({ ...labels, route: labelValue(route), method: known });
    },
    close: () => registry.clear(),
  };
}

/** ld-relay's metrics, with its names and labels. */
function createLdRelayMetrics(registry: Registry, prefix: string) {
  const { counter, gauge } = registering(registry);
  const labels = ['platformCategory', 'userAgent', 'env'] as const;
  return {
    connections: gauge(`${prefix}_connections`, 'Open SSE connections', ...labels),
    newConnections: counter(`${prefix}_newconnections`, 'SSE connections opened', ...labels),
    requests: counter(`${prefix}_requests`, 'Successful requests per environment', ...labels, 'route', 'method'),
  };
}

function createOwnMetrics(registry: Registry) {
  const { counter, gauge, histogram } = registering(registry);
  gauge('relay_up', '1 while the relay runs').set(1);
  return {
    streamsOpen: gauge('relay_streams_open', 'Open streams', 'env', 'kind'),
    streamsOpened: counter('relay_streams_opened_total', 'Streams opened', 'env'),
    streamsClosed: counter('relay_streams_closed_total', 'Streams closed, by reason', 'env', 'reason'),
    streamsRefused: counter('relay_streams_refused_total', 'Streams refused with 503, by reason', 'env', 'reason'),
    streamFailures: counter('relay_stream_failures_total', 'Errors that closed streams', 'env', 'kind'),
    streamBytes: counter('relay_stream_bytes_total', 'Bytes written to streams'),
    snapshots: counter('relay_stream_snapshots_total', 'Full data sets built for streams', 'env', 'kind'),
    broadcast: histogram(
      'relay_broadcast_seconds',
      'Seconds from the arrival of a change to its last write to a stream',
      [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    ),
    answers: counter('relay_http_answers_total', 'Responses, including opened streams', 'route', 'method', 'status'),
    requestsAnswered: counter('relay_requests_total', 'Requests of an environment answered below 400', 'env'),
    failures: counter('relay_http_failures_total', 'Responses of 500 and above, including 503 before there is data'),
    durations: histogram(
      'relay_http_seconds',
      'Seconds from the request headers to the response',
      [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
      'route',
    ),
  };
}

function registering(registry: Registry) {
  const registers = [registry];
  return {
    counter: <T extends string>(name: string, help: string, ...labelNames: T[]) =>
      new Counter<T>({ name, help, labelNames, registers }),
    gauge: <T extends string>(name: string, help: string, ...labelNames: T[]) =>
      new Gauge<T>({ name, help, labelNames, registers }),
    histogram: <T extends string>(name: string, help: string, buckets: number[], ...labelNames: T[]) =>
      new Histogram<T>({ name, help, buckets, labelNames, registers }),
  };
}

function clientLabels(environment: string, family: string, credential: CredentialKind = 'sdkKey') {
  return { platformCategory: platforms[credential], userAgent: labelValue(family), env: labelValue(environment) };
}

/** As ld-relay writes label values: no slashes, never empty. */
function labelValue(text: string): string {
  return text.replaceAll('/', '_') || '_';
}
