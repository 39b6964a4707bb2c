/**
 * Metrics and traces over OTLP, by OpenTelemetry's SDK. Nothing else of the relay imports it: it is loaded when it is switched on.
 */
import { randomUUID } from 'node:crypto';
import { DiagLogLevel, diag } from '@opentelemetry/api';
import { parseKeyPairsIntoRecord } from '@opentelemetry/core';
import { defaultResource, type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { Measures } from '../../common/measures.ts';
import { createReasonLines } from '../../common/paced-lines.ts';
import { sleep } from '../../common/pause.ts';
import { redactSecrets } from '../../common/secrets.ts';
import type { ChangeWatch, CollectorOutbound, Log, RequestWatch } from '../../ports.ts';
import type { RelayStanding } from '../health.ts';
import { createChangeWatch } from './change-watch.ts';
import { createMetricExporter, createTraceExporter, type ExporterConfig, type Temporality } from './exporters.ts';
import { createRegistryProducer } from './registry-producer.ts';
import { createInstruments, createRequestWatch } from './request-watch.ts';
import { createChangeSampler, createSampler, type SamplerConfig } from './sampler.ts';
import { statusMetrics } from './status-gauges.ts';

export interface OtlpOptions {
  readonly config: {
    readonly serviceName: string | undefined;
    readonly resourceAttributes: string | undefined;
    readonly metrics: MetricsConfig | undefined;
    readonly traces: { readonly exporter: ExporterConfig; readonly sampler: SamplerConfig } | undefined;
  };
  readonly version: string;
  /** What Prometheus reads. */
  readonly measures: Pick<Measures, 'registry' | 'fullName'>;
  readonly outbound: CollectorOutbound;
  readonly log: Log;
  /** Undefined until there is any. */
  standing(): RelayStanding | undefined;
}

interface MetricsConfig {
  readonly exporter: ExporterConfig;
  readonly intervalMs: number;
  /** At most the interval. */
  readonly timeoutMs: number;
  readonly temporality: Temporality;
  /** 0: none. */
  readonly cardinalityLimit: number;
  readonly environmentStatus: boolean;
}

export interface Otlp {
  /** Undefined: neither metrics nor traces of requests are sent. */
  readonly requests: RequestWatch | undefined;
  /** Undefined: no traces are sent. */
  readonly changes: ChangeWatch | undefined;
  /** Sends what is left, for at most `timeoutMs`. Never rejects. */
  close(timeoutMs: number): Promise<void>;
}

const SCOPE = 'edge-flag-relay';
/** As ld-relay's, so that its dashboards find it. */
const SERVICE_NAME = 'ld-relay';
/** CloudWatch takes 1,000 data points in a request. */
const MAX_POINTS = 1_000;
const LONGEST_ATTRIBUTE = 1_024;

/** Throws RelayError CONFIG_INVALID when a certificate cannot be read. */
export function startOtlp(options: OtlpOptions): Otlp {
  const { config, version, log } = options;
  const resource = resourceOf(options);
  const counts = { metrics: { sent: 0, failed: 0 }, traces: { sent: 0, failed: 0 } };
  const parts = {
    userAgent: `EdgeFlagRelay/${version}`,
    log,
    outbound: options.outbound,
    ended: (signal: 'metrics' | 'traces', outcome: 'sent' | 'failed') => {
      counts[signal][outcome] += 1;
    },
  };
  tellDiagnostics(log);
  const metrics = config.metrics && startMetrics(config.metrics, options, resource, parts);
  const traces = config.traces && startTraces(config.traces, version, resource, parts);
  return {
    requests: createRequestWatch(metrics?.instruments, traces?.requests),
    changes: traces && createChangeWatch(traces.changes),
    async close(timeoutMs) {
      const closed = Promise.all([metrics?.shutdown(), traces?.shutdown()]).catch(() => {});
      const aborter = new AbortController();
      await Promise.race([closed, sleep(timeoutMs, aborter.signal)]);
      aborter.abort();
      metrics?.close();
      traces?.close();
      diag.disable();
    },
  };
}

type ExporterParts = Parameters<typeof createTraceExporter>[1];

function startMetrics(config: MetricsConfig, options: OtlpOptions, resource: Resource, parts: ExporterParts) {
  const { temporality, cardinalityLimit, environmentStatus: perEnvironment, intervalMs, timeoutMs } = config;
  const { exporter, close } = createMetricExporter(config.exporter, temporality, parts);
  const producer = createRegistryProducer({
    measures: options.measures,
    scope: { name: SCOPE, version: options.version },
    isDelta: temporality !== 'cumulative',
    *more(at) {
      const standing = options.standing();
      return standing ? yield* statusMetrics(standing, { perEnvironment, at }) : [];
    },
  });
  const reader = new PeriodicExportingMetricReader({
    exporter,
    exportIntervalMillis: intervalMs,
    exportTimeoutMillis: timeoutMs,
    metricProducers: [producer],
    // The instruments limit their series themselves.
    cardinalityLimits: { default: Infinity },
    maxExportBatchSize: MAX_POINTS,
  });
  const provider = new MeterProvider({ resource, readers: [reader] });
  return {
    instruments: createInstruments(provider.getMeter(SCOPE, options.version), cardinalityLimit || Infinity),
    shutdown: () => provider.shutdown(),
    close,
  };
}

function startTraces(
  { exporter: config, sampler }: NonNullable<OtlpOptions['config']['traces']>,
  version: string,
  resource: Resource,
  parts: ExporterParts,
) {
  const { exporter, close } = createTraceExporter(config, parts);
  const processor = new BatchSpanProcessor(exporter);
  const common = {
    resource,
    spanProcessors: [processor],
    generalLimits: { attributeValueLengthLimit: LONGEST_ATTRIBUTE },
  };
  const ofRequests = new BasicTracerProvider({ ...common, sampler: createSampler(sampler) });
  const ofChanges = new BasicTracerProvider({ ...common, sampler: createChangeSampler(sampler) });
  return {
    requests: ofRequests.getTracer(SCOPE, version),
    changes: ofChanges.getTracer(SCOPE, version),
    shutdown: () => processor.shutdown(),
    close,
  };
}

function resourceOf({ config, version }: OtlpOptions): Resource {
  const given = parseKeyPairsIntoRecord(config.resourceAttributes ?? '');
  return defaultResource().merge(
    resourceFromAttributes({
      'service.version': version,
      'service.instance.id': randomUUID(),
      ...given,
      'service.name': config.serviceName ?? given['service.name'] ?? SERVICE_NAME,
    }),
  );
}

/** What the SDK itself has to say: spans that were dropped, and items that a collector did not take although it accepted the rest. */
function tellDiagnostics(log: Log): void {
  const tell = createReasonLines((fields) =>
    log.warn('OpenTelemetry reports a problem', { ...fields, runbook: 'operations.md#metrics-not-sent' }),
  );
  const ignore = () => {};
  diag.setLogger(
    {
      error: ignore,
      warn: (message, ...more) => tell(redactSecrets([message, ...more.map(String)].join(' '))),
      info: ignore,
      debug: ignore,
      verbose: ignore,
    },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
