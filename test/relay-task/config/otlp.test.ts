/** What is sent over OTLP, by OpenTelemetry's "Environment Variable Specification" and ld-relay 9's options. */
import { parseConfig, type Variables } from '../../../relay-task/config/config.ts';

const parse = (variables: Variables, file = '') =>
  parseConfig({ LD_ENV_x: 'sdk-1', ...variables }, { path: 'relay.conf', text: file });
const otlp = (variables: Variables) => parse({ USE_OTLP: 'true', ...variables }).config.otlp;

test('nothing is sent unless it is switched on, and a variable without effect is named', () => {
  const { config, warnings } = parse({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' });
  expect(config.otlp).toBeUndefined();
  expect(warnings).toEqual(['OTEL_EXPORTER_OTLP_ENDPOINT has no effect: USE_OTLP is not set']);
  expect(parse({ USE_OTLP: 'true', OTEL_SDK_DISABLED: 'true' }).config.otlp).toBeUndefined();
});

test('without more settings the defaults of the specification count', () => {
  const { config, warnings } = parse({ USE_OTLP: 'true' });
  expect(warnings).toEqual([]);
  const exporter = { timeoutMs: 10_000, compression: 'none', headers: undefined };
  expect(config.otlp).toMatchObject({
    metrics: {
      exporter: { ...exporter, url: 'http://localhost:4318/v1/metrics' },
      intervalMs: 60_000,
      timeoutMs: 30_000,
      temporality: 'cumulative',
      cardinalityLimit: 2_000,
      environmentStatus: false,
    },
    traces: {
      exporter: { ...exporter, url: 'http://localhost:4318/v1/traces' },
      sampler: { isParentBased: true, ratio: 1 },
    },
  });
});

test('an endpoint for both is a base, one for a signal is the whole address', () => {
  const given = otlp({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'https://collector/base/',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://traces/own/',
    OTEL_EXPORTER_OTLP_HEADERS: 'a=1',
    OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'b=2',
    OTEL_EXPORTER_OTLP_TIMEOUT: '7',
    OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
  });
  expect(given).toMatchObject({
    metrics: { exporter: { url: 'https://collector/base/v1/metrics', headers: 'b=2', timeoutMs: 7 } },
    traces: { exporter: { url: 'https://traces/own/', headers: 'a=1', compression: 'gzip' } },
  });
});

test("ld-relay 9's options of the file", () => {
  const { config, warnings } = parse(
    {},
    '[OpenTelemetry]\nenabled\nprotocol = http\nmetricsCardinalityLimit = 0\nenvironmentStatusMetrics = true\nlogsExporter = none\ntracesExporter = none\nmetricsExporter = otlp',
  );
  expect(warnings).toEqual([]);
  expect(config.otlp).toMatchObject({ metrics: { cardinalityLimit: 0, environmentStatus: true }, traces: undefined });
});

test.each([
  ['OTEL_METRICS_EXPORTER', 'prometheus', 'OTEL_METRICS_EXPORTER=prometheus: expected otlp or none; otlp is used'],
  ['OTEL_TRACES_EXPORTER', 'zipkin', 'OTEL_TRACES_EXPORTER=zipkin: expected otlp or none; otlp is used'],
  ['OTEL_LOGS_EXPORTER', 'otlp', 'OTEL_LOGS_EXPORTER: logs are not sent over OTLP'],
  ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc', 'OTEL_EXPORTER_OTLP_PROTOCOL=grpc: OTLP over gRPC is not supported'],
  ['OTEL_EXPORTER_OTLP_PROTOCOL', 'http/json', 'OTEL_EXPORTER_OTLP_PROTOCOL=http/json: expected http/protobuf'],
  [
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    'collector:4318',
    'OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318: expected an absolute URL',
  ],
  [
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    'http://collector:4317',
    'OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317: collectors take gRPC on port 4317',
  ],
  [
    'OTEL_EXPORTER_OTLP_TIMEOUT',
    '10s',
    'OTEL_EXPORTER_OTLP_TIMEOUT=10s: expected a number of milliseconds; 10000 is used',
  ],
  [
    'OTEL_EXPORTER_OTLP_COMPRESSION',
    'zstd',
    'OTEL_EXPORTER_OTLP_COMPRESSION=zstd: expected one of none, gzip; none is used',
  ],
  [
    'OTEL_METRIC_EXPORT_INTERVAL',
    '0',
    'OTEL_METRIC_EXPORT_INTERVAL=0: expected a number of milliseconds; 60000 is used',
  ],
  ['OTEL_TRACES_SAMPLER', 'jaeger_remote', 'OTEL_TRACES_SAMPLER=jaeger_remote: expected one of always_on'],
])('%s=%s is a warning, and both signals are sent', (variable, value, warning) => {
  const { config, warnings } = parse({ USE_OTLP: 'true', [variable]: value });
  expect(warnings).toEqual([expect.stringContaining(warning)]);
  expect(config.otlp).toMatchObject({ metrics: {}, traces: {} });
});

test('a password in an address of a collector is in no warning', () => {
  const { warnings } = parse({ USE_OTLP: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://shop:pa55word@collector:4317' });
  expect(warnings).toEqual([
    expect.stringMatching(/^OTEL_EXPORTER_OTLP_ENDPOINT=http:.*collector:4317: collectors take/),
  ]);
  expect(warnings.join()).not.toContain('pa55word');
});

test.each([
  ['always_on', undefined, { isParentBased: false, ratio: 1 }],
  ['always_off', undefined, { isParentBased: false, ratio: 0 }],
  ['parentbased_always_off', undefined, { isParentBased: true, ratio: 0 }],
  ['traceidratio', '0.25', { isParentBased: false, ratio: 0.25 }],
  ['PARENTBASED_TRACEIDRATIO', '0.25', { isParentBased: true, ratio: 0.25 }],
  ['traceidratio', undefined, { isParentBased: false, ratio: 1 }],
  ['traceidratio', '1.5', { isParentBased: false, ratio: 1 }],
])('the sampler %s with %s', (sampler, arg, expected) => {
  expect(otlp({ OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: arg })?.traces?.sampler).toEqual(expected);
});

test('the time for an export is at most the interval', () => {
  expect(otlp({ OTEL_METRIC_EXPORT_INTERVAL: '1000' })?.metrics).toMatchObject({ intervalMs: 1_000, timeoutMs: 1_000 });
});
