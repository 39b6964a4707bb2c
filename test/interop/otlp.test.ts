/** What the relay exports, read by the OpenTelemetry Collector's own decoder. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/eventually.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startOtlpReceiver } from '../support/otlp-receiver.ts';
import { startTestRelay } from '../support/start-relay.ts';

const decoder = join(import.meta.dirname, '../../.cache/interop/otlp-decoder');
const testIf = existsSync(decoder) ? test : test.skip;
const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';

const { opened } = closeAfterEach();

// biome-ignore lint/suspicious/noExplicitAny: OTLP's JSON
type Json = any;

const read = (signal: 'metrics' | 'traces', body: Buffer): Json =>
  JSON.parse(execFileSync(decoder, [signal], { input: body, maxBuffer: 64 * 1024 * 1024 }).toString());

testIf(
  "the collector's decoder reads the same metrics and spans",
  async () => {
    const receiver = opened(await startOtlpReceiver());
    const upstream = opened(await startFakeUpstream({ flags: { first: flagData('first', 1) } }));
    const relay = opened(
      await startTestRelay({
        LD_ENV_production: sdkKey,
        STREAM_URI: upstream.uri,
        USE_OTLP: 'true',
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.uri,
        OTEL_ENVIRONMENT_STATUS_METRICS: 'true',
        OTEL_METRIC_EXPORT_INTERVAL: '200',
      }),
    );
    expect(await relay.initialized()).toEqual([]);
    await (await fetch(`${relay.uri}/sdk/latest-all`, { headers: { Authorization: sdkKey } })).text();
    await until('a duration', () => receiver.metrics.some(({ name }) => name === 'http.server.request.duration'));
    await relay.close();
    const bodies = (signal: string) =>
      receiver.requests.filter(({ path }) => path.endsWith(signal)).map(({ body }) => body);

    const metrics: Json[] = bodies('metrics')
      .flatMap((body) => read('metrics', body).resourceMetrics)
      .flatMap(({ scopeMetrics }) => scopeMetrics)
      .flatMap((one: Json) => one.metrics);
    expect(metrics.map(({ name, unit = '' }) => [name, unit])).toEqual(
      receiver.metrics.map(({ name, unit }) => [name, unit]),
    );
    const duration = metrics.find(({ name }) => name === 'http.server.request.duration');
    expect(duration.histogram).toMatchObject({
      aggregationTemporality: 2,
      dataPoints: [
        { count: '1', explicitBounds: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] },
      ],
    });
    const own = metrics.findLast(({ name }) => name === 'launchdarkly_relay_http_answer_seconds');
    for (const { bucketCounts, explicitBounds, count } of own.histogram.dataPoints) {
      expect(bucketCounts).toHaveLength(explicitBounds.length + 1);
      expect(bucketCounts.reduce((sum: number, one: string) => sum + Number(one), 0)).toBe(Number(count));
    }

    const spans: Json[] = bodies('traces')
      .flatMap((body) => read('traces', body).resourceSpans)
      .flatMap(({ scopeSpans }) => scopeSpans)
      .flatMap((one: Json) => one.spans);
    expect(
      spans.map(({ name, traceId, spanId, parentSpanId = '' }) => ({ name, traceId, spanId, parentSpanId })),
    ).toEqual(
      receiver.spans.map(({ name, traceId, spanId, parentSpanId }) => ({ name, traceId, spanId, parentSpanId })),
    );
    expect(spans.map(({ name }) => name)).toEqual(expect.arrayContaining(['GET /sdk/latest-all', 'relay.change']));
  },
  900_000,
);
