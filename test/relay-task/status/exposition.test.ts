/**
 * What scrapers get, read by the parsers of Prometheus's own Python client: its OpenMetrics parser follows the specification strictly.
 * https://prometheus.io/docs/specs/om/open_metrics_spec/
 */
import { request as ask } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { familyOf } from '../../../relay-task/status/family.ts';
import { createMetrics, type Metrics } from '../../../relay-task/status/metrics.ts';
import { startMetricsServer } from '../../../relay-task/status/metrics-server.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { parseMetrics, prometheusParserIsInstalled } from '../../support/prometheus-parser.ts';

const { opened, behind } = closeAfterEach();
const withParser = prometheusParserIsInstalled ? describe : describe.skip;
const formats = ['text', 'openMetrics'] as const;

function createOpened(): Metrics {
  const metrics = createMetrics();
  behind(() => metrics.close());
  return metrics;
}

const request = {
  status: 200,
  environment: 'production',
  credential: 'sdkKey',
  family: 'other',
  durationMs: 1,
} as const;
/** Names that a label must escape, and one that is empty. */
const names = [
  'a "quoted" one',
  'two\nlines',
  'back\\slash',
  'ends in \\',
  'a/b',
  'ümlaut 🦆',
  '{env="x"} 1',
  '\r\t',
  '',
];

/** The parser of the text adds `_total` to counters that have it not, as ld-relay's. */
const asParsed = (counter: string, format: (typeof formats)[number]) =>
  format === 'text' ? `${counter}_total` : counter;

withParser("Prometheus's parser (Python's prometheus-client is installed)", () => {
  test.each(formats)('reads every environment name as it is, in %s @heavy', async (format) => {
    const metrics = createOpened();
    for (const name of names) {
      metrics.streams.opened(name, 'all', 'NodeJSClient/9', 'mobileKey');
      metrics.answered({ ...request, route: '/sdk/flags/{key}', method: 'GET', environment: name });
    }
    const families = await parseMetrics((await metrics.text(format)).body, format);
    const samples = families.flatMap((family) => family.samples);
    const valuesOf = (name: string) => samples.filter((one) => one.name === name).map(({ labels }) => labels.env);
    expect(valuesOf('launchdarkly_relay_streams_open')).toEqual(names);
    // As ld-relay writes them.
    const asLdRelay = names.map((name) => name.replaceAll('/', '_') || '_');
    expect(valuesOf('launchdarkly_relay_connections')).toEqual(asLdRelay);
    expect(valuesOf(asParsed('launchdarkly_relay_requests', format))).toEqual(asLdRelay);
  });

  test.each(formats)('finds the help, kind and buckets of each metric, in %s @heavy', async (format) => {
    const metrics = createOpened();
    metrics.answered({ ...request, route: '/sdk/flags', method: 'GET', durationMs: 3 });
    const families = await parseMetrics((await metrics.text(format)).body, format);
    const ofKind = (name: string) => families.find((family) => family.name === name);
    expect(ofKind('launchdarkly_relay_up')).toEqual({
      name: 'launchdarkly_relay_up',
      type: 'gauge',
      help: '1 while the relay runs.',
      samples: [{ name: 'launchdarkly_relay_up', labels: {}, value: 1 }],
    });
    // The parser names a counter without its end in both formats.
    expect(ofKind('launchdarkly_relay_http_answers')?.type).toBe('counter');
    const seconds = ofKind('launchdarkly_relay_http_answer_seconds');
    expect(seconds?.type).toBe('histogram');
    expect(seconds?.samples.filter(({ name }) => name.endsWith('_bucket')).map(({ labels }) => labels.le)).toEqual(
      format === 'text'
        ? ['0.001', '0.005', '0.01', '0.05', '0.1', '0.5', '1', '5', '+Inf']
        : ['0.001', '0.005', '0.01', '0.05', '0.1', '0.5', '1.0', '5.0', '+Inf'],
    );
  });

  test("ld-relay's names are the same in both formats @heavy", async () => {
    const metrics = createOpened();
    metrics.streams.opened('production', 'all', 'NodeJSClient/9');
    metrics.answered({ ...request, route: '/sdk/flags', method: 'GET' });
    for (const format of formats) {
      const families = await parseMetrics((await metrics.text(format)).body, format);
      const all = new Set(families.flatMap(({ samples }) => samples.map(({ name }) => name)));
      const missing = [
        'launchdarkly_relay_connections',
        asParsed('launchdarkly_relay_newconnections', format),
        asParsed('launchdarkly_relay_requests', format),
      ].filter((name) => !all.has(name));
      expect(missing).toEqual([]);
    }
  });
});

test('hostile clients add one series at most, whatever they send', async () => {
  const metrics = createOpened();
  const lines = async () =>
    (await metrics.text()).body.split('\n').filter((line) => line.startsWith('launchdarkly_')).length;
  const send = (index: number) => {
    const family = familyOf(`"\n${index}/\\${index}`);
    metrics.streams.opened('production', 'all', family);
    metrics.streams.closed('production', 'all', family, 'client');
    metrics.answered({ ...request, route: '/sdk/evalx/{envId}/contexts/{context}', method: `"${index}\n`, family });
  };
  send(0);
  const once = await lines();
  for (let index = 1; index < 1_000; index++) send(index);
  expect(await lines()).toBe(once);
});

describe('the metrics server', () => {
  const start = async () => {
    const metrics = createOpened();
    const { port } = opened(await startMetricsServer({ port: 0, host: '127.0.0.1', text: metrics.text }));
    return `http://127.0.0.1:${port}/metrics`;
  };

  // What Prometheus 2.53 and 3.5 send by default, curl, and a browser.
  test.each([
    [
      'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      true,
    ],
    [
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      true,
    ],
    ['application/openmetrics-text', true],
    ['*/*', false],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', false],
    ['text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.1', false],
    ['application/openmetrics-text;q=0', false],
    ['application/openmetrics-text;version=0.0.1', false],
    ['', false],
    [',;=,q=', false],
  ])('answers Accept: %s in OpenMetrics: %s', async (accept, isOpen) => {
    const response = await fetch(await start(), { headers: { accept } });
    expect(response.headers.get('content-type')).toBe(
      isOpen
        ? 'application/openmetrics-text; version=1.0.0; charset=utf-8'
        : 'text/plain; version=0.0.4; charset=utf-8',
    );
    expect(response.headers.get('vary')).toBe('Accept, Accept-Encoding');
    expect((await response.text()).endsWith('# EOF\n')).toBe(isOpen);
  });

  test.each([
    ['gzip', 'gzip'],
    ['deflate, gzip;q=0.1', 'gzip'],
    ['gzip;q=0', undefined],
    ['br, deflate', undefined],
    ['identity', undefined],
  ])('answers Accept-Encoding: %s with %s', async (encoding, expected) => {
    const uri = await start();
    const [headers, bytes] = await new Promise<[Record<string, unknown>, Buffer]>((resolve, reject) => {
      const asked = ask(uri, { headers: { 'accept-encoding': encoding } }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve([response.headers, Buffer.concat(chunks)]));
      });
      asked.on('error', reject).end();
    });
    expect(headers['content-encoding']).toBe(expected);
    expect(Number(headers['content-length'])).toBe(bytes.length);
    const text = (expected === undefined ? bytes : gunzipSync(bytes)).toString();
    expect(text).toContain('\nlaunchdarkly_relay_up 1\n');
  });
});
