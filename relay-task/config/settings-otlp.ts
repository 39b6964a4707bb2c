/**
 * OpenTelemetry. Variables have the names and defaults of its specification, options those of ld-relay 9. As the specification asks, a
 * wrong value of one of its variables is a warning: telemetry never prevents a start. So they are read as texts here.
 */
import { boolean, integer, text } from '../common/setting-values.ts';
import { inSection } from './setting.ts';

const { setting, optional } = inSection('OpenTelemetry');

/** Of the exporters of both signals, or of one of them. `of`: the signal, with a blank before it. */
const exporter = (prefix: string, of: string) => {
  const one = (name: string, says: string, more?: { readonly secret: true }) =>
    optional(undefined, `${prefix}${name}`, text, of === '' ? says : `the same for${of}`, more);
  return {
    endpoint: optional(
      undefined,
      `${prefix}ENDPOINT`,
      text,
      of === ''
        ? 'where the collector listens, without `/v1/metrics` and `/v1/traces`; `http://localhost:4318` by default'
        : `the whole address for${of}, used as it is`,
    ),
    protocol: optional(
      of === '' ? 'protocol' : undefined,
      `${prefix}PROTOCOL`,
      text,
      of === ''
        ? '`http/protobuf`, which `http` means too; with `grpc` or another word there is a warning, and `http/protobuf` is used'
        : `the same for${of}`,
    ),
    headers: one('HEADERS', 'headers of every request, `name=value` with commas between them', { secret: true }),
    timeout: one('TIMEOUT', 'for one export with its retries, in milliseconds; 10000 by default'),
    compression: one('COMPRESSION', '`gzip` or `none`; `none` by default'),
    caFile: one('CERTIFICATE', "a PEM file with the authority of the collector's certificate"),
    certFile: one('CLIENT_CERTIFICATE', 'a PEM file with a certificate for the collector'),
    keyFile: one('CLIENT_KEY', 'a PEM file with the key of that certificate'),
  };
};

export const otlpSettings = {
  otlp: {
    enabled: setting('enabled', 'USE_OTLP', boolean, 'false', 'send metrics and traces to an OpenTelemetry collector'),
    disabled: setting(undefined, 'OTEL_SDK_DISABLED', text, 'false', '`true` switches that off again'),
    metricsExporter: setting(
      'metricsExporter',
      'OTEL_METRICS_EXPORTER',
      text,
      'otlp',
      '`none`: no metrics; with any other word than `otlp` there is a warning, and they are sent',
    ),
    tracesExporter: setting('tracesExporter', 'OTEL_TRACES_EXPORTER', text, 'otlp', 'the same for traces'),
    logsExporter: setting(
      'logsExporter',
      'OTEL_LOGS_EXPORTER',
      text,
      'none',
      'logs are not sent over OTLP, whatever this says; with `otlp` there is a warning',
    ),
    serviceName: optional(
      undefined,
      'OTEL_SERVICE_NAME',
      text,
      '`service.name` of everything that is sent; `ld-relay` by default',
    ),
    resourceAttributes: optional(
      undefined,
      'OTEL_RESOURCE_ATTRIBUTES',
      text,
      'more attributes of the resource, `name=value` with commas between them',
    ),
    exporter: exporter('OTEL_EXPORTER_OTLP_', ''),
    metrics: {
      ...exporter('OTEL_EXPORTER_OTLP_METRICS_', ' metrics'),
      temporality: setting(
        undefined,
        'OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE',
        text,
        'cumulative',
        '`cumulative`, `delta` (which Datadog needs) or `lowmemory`',
      ),
      interval: setting(
        undefined,
        'OTEL_METRIC_EXPORT_INTERVAL',
        text,
        '60000',
        'how often metrics are sent, in milliseconds',
      ),
      intervalTimeout: setting(
        undefined,
        'OTEL_METRIC_EXPORT_TIMEOUT',
        text,
        '30000',
        'for reading and sending them once, in milliseconds; at most the interval',
      ),
      cardinalityLimit: setting(
        'metricsCardinalityLimit',
        'OTEL_METRICS_CARDINALITY_LIMIT',
        integer(0, 1_000_000),
        '2000',
        'series of one instrument of requests; more become one with `otel.metric.overflow`; 0: any number',
      ),
      environmentStatus: setting(
        'environmentStatusMetrics',
        'OTEL_ENVIRONMENT_STATUS_METRICS',
        boolean,
        'false',
        'about 18 more series for each environment: its state, its store, its keys, its Big Segments',
      ),
    },
    traces: {
      ...exporter('OTEL_EXPORTER_OTLP_TRACES_', ' traces'),
      sampler: setting(
        undefined,
        'OTEL_TRACES_SAMPLER',
        text,
        'parentbased_always_on',
        'which requests are traced: `always_on`, `always_off`, `traceidratio`, or one of them after `parentbased_`, which follows the caller',
      ),
      samplerArg: optional(
        undefined,
        'OTEL_TRACES_SAMPLER_ARG',
        text,
        'the share of requests for `traceidratio`, from 0 to 1; 1 by default',
      ),
    },
  },
} as const;
