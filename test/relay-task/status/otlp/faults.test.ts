/** A collector that refuses, is slow or is away costs one line of the log for each change, and no request anything. */
import type { Log } from '../../../../relay-task/ports.ts';
import { createMetrics } from '../../../../relay-task/status/metrics.ts';
import type { ExporterConfig } from '../../../../relay-task/status/otlp/exporters.ts';
import { type Otlp, startOtlp } from '../../../../relay-task/status/otlp/start.ts';
import { until } from '../../../support/eventually.ts';
import { closeAfterEach } from '../../../support/opened.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../../../support/otlp-receiver.ts';

const { opened } = closeAfterEach();

interface Line {
  readonly level: string;
  readonly message: string;
  readonly reason: unknown;
}

function start(url: string, more: Partial<ExporterConfig> = {}, temporality: 'cumulative' | 'delta' = 'cumulative') {
  const lines: Line[] = [];
  const record =
    (level: string) =>
    (message: string, { reason }: Record<string, unknown> = {}) => {
      lines.push({ level, message, reason });
    };
  const log: Log = { debug: record('debug'), info: record('info'), warn: record('warn'), error: record('error') };
  const exporter = (signal: string): ExporterConfig => ({
    url: `${url}/v1/${signal}`,
    headers: 'api-key=secret%20key,x-tenant=a',
    timeoutMs: 500,
    compression: 'gzip',
    caFile: undefined,
    certFile: undefined,
    keyFile: undefined,
    ...more,
  });
  const { measures } = createMetrics();
  const otlp = startOtlp({
    config: {
      serviceName: 'shop',
      resourceAttributes: undefined,
      metrics: {
        exporter: exporter('metrics'),
        intervalMs: 50,
        timeoutMs: 50,
        temporality,
        cardinalityLimit: 0,
        environmentStatus: false,
      },
      traces: { exporter: exporter('traces'), sampler: { isParentBased: false, ratio: 1 } },
    },
    version: '1',
    measures,
    outbound: { collectorAgent: () => undefined },
    log,
    standing: () => undefined,
  });
  return { lines, otlp: opened(closing(otlp)), exports: (receiver: OtlpReceiver) => receiver.requests.length };
}

const closing = (otlp: Otlp) => ({ ...otlp, close: () => otlp.close(5_000) });

/** One request from its head to its end. */
function serve({ requests }: Pick<Otlp, 'requests'>): void {
  const watched = requests!.begin({
    headers: {},
    method: 'GET',
    scheme: 'http',
    httpVersion: '1.1',
    route: { path: '/livez', params: {} },
    isStream: false,
    address: '127.0.0.1',
    family: 'other',
    since: performance.now(),
  });
  watched.identified(undefined, undefined);
  watched.answered(200);
  watched.ended();
}

const failures = (lines: readonly Line[]) => lines.filter(({ level }) => level === 'warn');

test.each([
  ['401', { status: 401 }, /401/],
  ['400', { status: 400 }, /400/],
  ['429 with Retry-After', { status: 429, headers: { 'Retry-After': '3600' } }, /429, 502, 503 or 504/],
  ['503', { status: 503 }, /429, 502, 503 or 504/],
  ['no answer', 'hang' as const, /in time|timed out/],
])('%s: one line when it begins, one when it is over, and metrics go on', async (_, answer, reason) => {
  const receiver = opened(await startOtlpReceiver());
  receiver.answer = answer;
  const { lines } = start(receiver.uri, { timeoutMs: 100 });
  await until('four exports', () => receiver.requests.length >= 4);
  await until('the line', () => failures(lines).length > 0);
  expect(failures(lines)).toEqual([
    {
      level: 'warn',
      message: expect.stringMatching(
        /^Cannot send metrics to the OpenTelemetry collector; .* Totals are complete in the next export that works\./,
      ),
      reason: expect.stringMatching(reason),
    },
  ]);
  expect(JSON.stringify(lines)).not.toContain('secret');
  receiver.answer = 'take';
  const levels = () => lines.map(({ level }) => level);
  await until('the recovery', () => levels().includes('info'));
  // On a busy machine a later export may take longer than it may, which is another failure.
  expect(levels().slice(0, levels().indexOf('info') + 1)).toEqual(['warn', 'info']);
  expect(receiver.metrics.some(({ name }) => name === 'launchdarkly_relay_up')).toBe(true);
  expect(receiver.requests[0]!.headers).toMatchObject({
    'api-key': 'secret key',
    'x-tenant': 'a',
    'content-type': 'application/x-protobuf',
    'content-encoding': 'gzip',
    'user-agent': expect.stringMatching(/^EdgeFlagRelay\/1 OTel-OTLP-Exporter-JavaScript\//),
  });
});

test('an answer with Retry-After is followed by another attempt with the same body', async () => {
  const receiver = opened(await startOtlpReceiver());
  // The library tries five times, so that there are seconds until the collector must take it.
  receiver.answer = { status: 503, headers: { 'Retry-After': '1' } };
  const { otlp, lines } = start(receiver.uri, { timeoutMs: 60_000 });
  serve(otlp);
  await until('an export', () => receiver.requests.length >= 1);
  receiver.answer = 'take';
  await until('success', () => receiver.metrics.length > 0);
  const isAgain = ({ body }: { body: Buffer }) => body.equals(receiver.requests[0]!.body);
  await until('the same body', () => receiver.requests.slice(1).some(isAgain));
  expect(lines).toEqual([]);
});

test('spans beyond the queue are dropped while a collector hangs, and closing takes no longer than it may', async () => {
  const receiver = opened(await startOtlpReceiver());
  receiver.answer = 'hang';
  const { otlp, lines } = start(receiver.uri, { timeoutMs: 300 });
  for (let request = 0; request < 20_000; request++) serve(otlp);
  await until('the export that hangs', () => receiver.requests.some(({ path }) => path.endsWith('traces')));
  receiver.answer = 'take';
  await until('spans', () => receiver.spans.length > 0);
  serve(otlp);
  // The rest comes in batches of at most 512; three of the spans of each request that fitted in.
  await otlp.close();
  expect(receiver.spans.length).toBeLessThanOrEqual(2_048 + 512);
  expect(lines.filter(({ reason }) => /Dropped \d+ spans/.test(String(reason)))).toHaveLength(1);
});

test.each([
  ['delta', 'What was counted for an export that fails is lost'],
  ['cumulative', 'Totals are complete in the next export that works'],
] as const)('the line says what is missed: %s', async (temporality, missed) => {
  const receiver = opened(await startOtlpReceiver());
  receiver.answer = { status: 400 };
  const { lines } = start(receiver.uri, {}, temporality);
  await until('the line', () => failures(lines).length > 0);
  expect(failures(lines)[0]?.message).toContain(missed);
});
