/** All metrics in one registry, as Prometheus reads them. Every label has a bounded set of values. */
import { collectDefaultMetrics } from 'prom-client';
import { labelValue, platforms } from '../common/client-labels.ts';
import { createMeasures, type Measures } from '../common/measures.ts';
import type { Answered, CredentialKind } from '../ports.ts';
import { shareEventLoopDelays } from './event-loop.ts';
import type { Watched } from './health.ts';
import { type MetricsFormat, metricsFormats, prometheusText } from './prometheus-text.ts';
import { watchHealth } from './watch-health.ts';

export type Metrics = ReturnType<typeof createMetrics>;

const METHODS = new Set(['GET', 'HEAD', 'POST', 'REPORT', 'OPTIONS']);

/** `prefix`: of the names of all metrics but Node's own. */
export function createMetrics(options: { readonly prefix?: string | undefined } = {}) {
  const measures = createMeasures(options);
  const { registry } = measures;
  // Memory, CPU, garbage collection, and the delay of the event loop (nodejs_eventloop_lag_p99_seconds).
  collectDefaultMetrics({ register: registry });
  const endDelays = shareEventLoopDelays(registry);
  const ldRelay = createLdRelayMetrics(measures);
  const own = createOwnMetrics(measures);
  return {
    /** Where the relay's other parts register theirs. */
    measures,
    registry,
    /** Adds gauges that are computed from these whenever metrics are read. */
    watch: (watched: Watched) => watchHealth(measures, watched),
    /** What a scraper gets, in Prometheus's own format by default. */
    text: async (format: MetricsFormat = 'text') => ({
      contentType: metricsFormats[format],
      body: await prometheusText(registry, format),
    }),
    /** There is this environment: what counts for it begins at 0 and not with the first event, which `rate()` would miss. */
    added(environment: string): void {
      for (const counter of [own.streamsOpened, own.streamsAdmitted, own.requestsAnswered])
        counter.inc({ env: environment }, 0);
      for (const reason of ['memory', 'queue', 'closing']) own.streamsRefused.inc({ env: environment, reason }, 0);
    },
    /** Adds gauges of the places for first payloads. */
    watchPlaces(look: () => { readonly waiting: number; readonly starting: number }): void {
      measures.gauge('streams_waiting', (gauge) => gauge.set(look().waiting));
      measures.gauge('streams_starting', (gauge) => gauge.set(look().starting));
    },
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
      admitted: (environment: string) => own.streamsAdmitted.inc({ env: environment }),
      unserved: (environment: string, reason: string) => own.streamsUnserved.inc({ env: environment, reason }),
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
    close() {
      endDelays();
      registry.clear();
    },
  };
}

/** ld-relay's metrics, with its names and labels. */
function createLdRelayMetrics({ counter, gauge }: Measures) {
  return {
    connections: gauge('connections'),
    newConnections: counter('newconnections'),
    requests: counter('requests'),
  };
}

function createOwnMetrics({ counter, gauge, histogram }: Measures) {
  gauge('up').set(1);
  return {
    streamsOpen: gauge('streams_open'),
    streamsOpened: counter('streams_opened_total'),
    streamsClosed: counter('streams_closed_total'),
    streamsRefused: counter('streams_refused_total'),
    streamsAdmitted: counter('streams_admitted_total'),
    streamsUnserved: counter('streams_unserved_total'),
    streamFailures: counter('stream_failures_total'),
    streamBytes: counter('stream_bytes_total'),
    snapshots: counter('stream_snapshots_total'),
    broadcast: histogram('broadcast_seconds'),
    answers: counter('http_answers_total'),
    requestsAnswered: counter('requests_answered_total'),
    failures: counter('http_failures_total'),
    durations: histogram('http_answer_seconds'),
  };
}

function clientLabels(environment: string, family: string, credential: CredentialKind = 'sdkKey') {
  return { platformCategory: platforms[credential], userAgent: labelValue(family), env: labelValue(environment) };
}
