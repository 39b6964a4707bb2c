/**
 * What running relays expose, with every kind of store and two sources of keys, an environment whose name needs every escape, and
 * clients that send what they can: it is what the table of metrics says, and all of it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { request as ask } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { measureRows } from '../../relay-task/common/measures.ts';
import { hashOf } from '../../relay-task/store/big-segments.ts';
import { eventually } from '../support/eventually.ts';
import { startFakeBigSegments, wirePatch } from '../support/fake-big-segments.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { nodeMetrics } from '../support/metrics-page.ts';
import { closeAfterEach } from '../support/opened.ts';
import { parseMetrics, prometheusParserIsInstalled } from '../support/prometheus-parser.ts';
import { readStream } from '../support/read-stream.ts';
import { relayStores } from '../support/relay-stores.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay } from '../support/start-relay.ts';

const { opened, behind } = closeAfterEach();
const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const hostile = 'a "b" {c="d"} 1\\e/f\ng';
const HOSTILE_REQUESTS = 60;

interface Scraped {
  readonly text: string;
  readonly openMetrics: string;
}

let scraped: Promise<readonly Scraped[]> | undefined;
/** Of the relay with stores and the one with SSM; started once. */
const scrapeBoth = () => (scraped ??= Promise.all([scrapeWithStores(), scrapeWithSsm()]));

async function scrape(port: number | undefined): Promise<Scraped> {
  const get = async (accept: string) =>
    (await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { accept } })).text();
  return { text: await get('text/plain'), openMetrics: await get('application/openmetrics-text') };
}

async function scrapeWithStores(): Promise<Scraped> {
  const vip = {
    key: 'vip',
    version: 1,
    salt: '',
    unbounded: true,
    generation: 1,
    included: [],
    excluded: [],
    rules: [],
  };
  const launchDarkly = opened(await startFakeBigSegments(wirePatch('vip.g1', '', 'v1', [`+${hashOf('alice')}`])));
  const upstream = opened(await startFakeUpstream({ flags: { f: flagData('f', 1) }, segments: { vip } }));
  upstream.answer = ({ url }) => (url.startsWith('/big-segments') ? 'silent' : 'stream');
  const spool = mkdtempSync(join(tmpdir(), 'every-metric-'));
  behind(() => rmSync(spool, { recursive: true }));
  const stores = await Promise.all(Object.values(relayStores({ opened })).map((start) => start()));
  const relay = opened(
    await startTestRelay(
      {
        ...Object.assign({}, ...stores),
        ...{ [`LD_ENV_${hostile}`]: sdkKey, [`LD_CLIENT_SIDE_ID_${hostile}`]: 'client-id' },
        ...{ STREAM_URI: upstream.uri, BASE_URI: launchDarkly.uri, EVENTS_URI: upstream.uri, USE_EVENTS: 'true' },
        EVENTS_SPOOL_DIR: spool,
        ...{ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: '0', METRICS_EMF: 'true' },
      },
      { output: { write() {}, lost: () => 0, losing: () => undefined } },
    ),
  );
  await relay.initialized();
  const authorized = { Authorization: sdkKey, 'Content-Type': 'application/json' };
  opened(await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } }));
  const events = JSON.stringify([{ kind: 'custom', key: 'k', creationDate: 1, contextKeys: { user: 'u' } }]);
  await fetch(`${relay.uri}/bulk`, { method: 'POST', headers: authorized, body: events });
  await eventually(async () => {
    const { body } = await relay.metrics.text();
    for (const name of [
      'store_writes_total',
      'store_replica_writes_total',
      'big_segments_patches_total',
      'version_info',
    ])
      expect(body).toMatch(new RegExp(`^launchdarkly_relay_${name}\\{`, 'm'));
  });
  for (let i = 0; i < HOSTILE_REQUESTS; i++) {
    await send(
      relay.port,
      ['PROPFIND', 'GET', 'REPORT'][i % 3]!,
      `/sdk/evalx/client-id/contexts/"x${i}%0a\\`,
      `"${i}\\`,
    );
    await send(relay.port, 'GET', `/none/"${i}%0a`, `Client${i}/${i}.0`);
    await send(relay.port, 'GET', `/sdk/flags/f?"${i}{}`, `NodeJSClient/${i}`, sdkKey);
  }
  return scrape(relay.metricsPort);
}

function send(port: number, method: string, path: string, userAgent: string, key = ''): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'User-Agent': userAgent, 'X-LaunchDarkly-User-Agent': userAgent, Authorization: key };
    ask({ port, host: '127.0.0.1', method, path, headers }, (response) => {
      response.resume();
      response.on('end', resolve);
    })
      .on('error', reject)
      .end();
  });
}

async function scrapeWithSsm(): Promise<Scraped> {
  const upstream = opened(await startFakeUpstream({ flags: { f: flagData('f', 1) }, segments: {} }));
  const ssm = opened(await startSsmServer());
  ssm.put('/relay/shop/sdk-key', sdkKey);
  ssm.put('/relay/bad/mobile-key', 'mob-without-sdk-key');
  const relay = opened(
    await startTestRelay({
      ...{ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: upstream.uri },
      ...{ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: '0', PROMETHEUS_PREFIX: 'shop' },
    }),
  );
  await relay.initialized();
  await eventually(async () => {
    const { body } = await relay.metrics.text();
    for (const name of ['key_source_reads_total', 'version_info'])
      expect(body).toMatch(new RegExp(`^shop_${name}\\{`, 'm'));
  });
  return scrape(relay.metricsPort);
}

/** Each sample's name and the names of its labels. */
function samplesIn(text: string): [name: string, labels: string[]][] {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const [, name, labels = ''] =
      /^([a-zA-Z_]\w*)(?:\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (?:[-+]?[\d.e+-]+|[-+]Inf|NaN)$/.exec(line) ?? [];
    if (name === undefined) throw new Error(`no sample: ${line}`);
    return [name, [...labels.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)].map(([, label]) => label!)];
  });
}

const namesIn = (text: string) => [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name!);

test('what is no sample is found', () => {
  expect(samplesIn('# HELP a b\na 1\nb_total{c="d\\"\\n",e="}"} +Inf\n')).toEqual([
    ['a', []],
    ['b_total', ['c', 'e']],
  ]);
  for (const line of ['a{b="c} 1', 'a{b="c"d"} 1', 'a-b 1', 'a x', 'a{b=c} 1', 'a', 'a{b="\\x"} 1'])
    expect(() => samplesIn(line)).toThrow('no sample');
});

test('every sample is of a metric of the table, or of the process, and has exactly its labels @heavy', async () => {
  const [withStores, withSsm] = await scrapeBoth();
  const ofProcess = await nodeMetrics();
  for (const [prefix, { text }] of [
    ['launchdarkly_relay', withStores!],
    ['shop', withSsm!],
  ] as const) {
    const rows = Object.entries(measureRows).map(([name, row]) => ({ ...row, name: `${prefix}_${name}` }));
    const known = new Map<string, readonly string[]>();
    for (const { name, kind, labels } of [...rows, ...ofProcess.map((row) => ({ ...row, kind: row.type }))]) {
      if (kind === 'histogram') {
        known.set(`${name}_bucket`, [...labels, 'le']);
        known.set(`${name}_sum`, labels);
        known.set(`${name}_count`, labels);
      } else known.set(name, labels);
    }
    const samples = samplesIn(text);
    expect(samples.length).toBeGreaterThan(60);
    const strange = samples.filter(([name, labels]) => known.get(name)?.toSorted().join() !== labels.toSorted().join());
    expect(strange).toEqual([]);
    // Stores and Big Segments name theirs, too.
    expect(text).not.toContain('env=""');
  }
});

test('every metric of the table is one of a running relay @heavy', async () => {
  const [withStores, withSsm] = await scrapeBoth();
  const registered = new Set([
    ...namesIn(withStores!.text).map((name) => name.replace(/^launchdarkly_relay_/, '')),
    ...namesIn(withSsm!.text).map((name) => name.replace(/^shop_/, '')),
  ]);
  expect(Object.keys(measureRows).filter((name) => !registered.has(name))).toEqual([]);
});

test('clients add no more series than there are SDKs, routes and methods @heavy', async () => {
  const [{ text }] = (await scrapeBoth()) as [Scraped];
  const count = (start: string) => samplesIn(text).filter(([name]) => name.endsWith(start)).length;
  // NodeJSClient/0 to 30, since no SDK is older or newer, and what no SDK sends.
  expect(count('_relay_requests')).toBeGreaterThanOrEqual(31);
  expect(count('_relay_requests')).toBeLessThanOrEqual(31 + 1 + 3);
  expect(count('_http_answers_total')).toBeLessThan(20);
  expect(text).not.toMatch(/userAgent="Client\d/);
  expect(text).not.toMatch(/PROPFIND|none\/|x\d+%0a/);
});

(prometheusParserIsInstalled ? describe : describe.skip)(
  "Prometheus's parser (Python's prometheus-client is installed)",
  () => {
    test.each(['text', 'openMetrics'] as const)('reads all of it, in %s @heavy', async (format) => {
      for (const [index, page] of (await scrapeBoth()).entries()) {
        const families = await parseMetrics(page[format], format);
        expect(families).toHaveLength(namesIn(page.text).length);
        const environments = families.flatMap(({ samples }) => samples.flatMap(({ labels }) => labels.env ?? []));
        expect(new Set(environments)).toEqual(
          new Set(index === 0 ? [hostile, hostile.replaceAll('/', '_')] : ['shop', 'bad']),
        );
      }
    });
  },
);
