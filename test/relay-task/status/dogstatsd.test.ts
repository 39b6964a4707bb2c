/**
 * Expected lines: what ld-relay 8.10.1 sends (the fixture says how it was recorded); otherwise Datadog, "Datagram Format and Shell
 * Usage", and datadog-agent's `quantile.Agent.Insert` for sample rates of distributions.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { startDogstatsd } from '../../../relay-task/status/dogstatsd.ts';
import { createMetrics } from '../../../relay-task/status/metrics.ts';
import { parseMetric, type StatsServer, startSocketServer, startUdpServer } from '../../support/dogstatsd.ts';
import { eventually } from '../../support/eventually.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { behind, opened } = closeAfterEach();

type Options = Parameters<typeof startDogstatsd>[0];

function addressOf({ address }: StatsServer): Options['statsAddr'] {
  if (address.startsWith('unix://')) return { path: address.slice('unix://'.length) };
  const [host = '', port] = address.split(':');
  return { host, port: Number(port) };
}

/** Reports only when told. */
async function start(
  { prefix, registry }: { readonly prefix?: string; readonly registry: Registry },
  more: Partial<Options> & Pick<Options, 'statsAddr'>,
) {
  const { log, lines: logged } = createLogRecorder();
  const dogstatsd = await startDogstatsd({
    measures: { registry, prefix: prefix ?? 'relay' },
    prefix: 'launchdarkly_relay',
    tags: [],
    log,
    intervalMs: 2 ** 30,
    ...more,
  });
  return { ...opened(dogstatsd), logged };
}

/** The lines that came since the last call, once there are this many. */
function receiving(server: StatsServer) {
  let seen = 0;
  return (count: number) =>
    eventually(() => {
      const all = server.lines();
      if (all.length < seen + count) throw new Error(`${all.length - seen} lines of ${count}`);
      const lines = all.slice(seen);
      seen = all.length;
      return lines;
    });
}

/** The reports of ld-relay, line by line. Its DD_ENV is left out: see docs/datadog.md. */
const ofLdRelay = readFileSync(join(import.meta.dirname, '../../fixtures/datadog/ld-relay-8.10.1.txt'), 'utf8')
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll('#env:dd-prod,', '#')
  .trim()
  .split('\n\n')
  .map((report) => report.split('\n'));

test("ld-relay's metrics have its names, kinds, values and tags in its order", async () => {
  const server = opened(await startUdpServer());
  const metrics = createMetrics();
  behind(() => metrics.close());
  const environment = 'shop/prod';
  const answered = { environment, method: 'GET', status: 200, durationMs: 1 };
  for (const path of ['one', 'two']) {
    metrics.streams.opened(environment, path, 'NodeJSClient/9.4.0', 'sdkKey');
    metrics.answered({ ...answered, route: '/all', credential: 'sdkKey', family: 'NodeJSClient/9.4.0' });
  }
  metrics.streams.opened(environment, 'ping', 'AndroidClient/5.0.0', 'mobileKey');
  metrics.answered({ ...answered, route: '/sdk/flags', credential: 'sdkKey', family: 'PHPClient/6.0.0' });
  metrics.answered({ ...answered, route: '/sdk/flags/{key}', credential: 'sdkKey', family: 'PHPClient/6.0.0' });
  const route = '/sdk/evalx/{envId}/contexts/{context}';
  metrics.answered({ ...answered, route, credential: 'environmentId', family: 'JSClient/3.1.0' });
  const { emit } = await start(metrics.measures, {
    statsAddr: addressOf(server),
    tags: ['az:eu-1', 'region:eu'],
    env: { DD_ENV: 'dd-prod', DD_SERVICE: 'svc' },
  });
  const isLdRelays = (line: string) => /^launchdarkly_relay\.(connections|newconnections|requests):/.test(line);
  let expected = 0;
  for (const report of ofLdRelay) {
    expected += report.length;
    await emit();
    await eventually(() => expect(server.lines().filter(isLdRelays)).toHaveLength(expected));
    expect(server.lines().filter(isLdRelays).slice(-report.length).sort()).toEqual([...report].sort());
  }
  expect(ofLdRelay.map((report) => report.length)).toEqual([8, 8]);
});

test('counters are sent as differences, gauges as they are, also when they are not whole', async () => {
  const server = opened(await startUdpServer());
  const registry = new Registry();
  const bytes = new Counter({ name: 'relay_bytes_total', help: '-', labelNames: ['env'], registers: [registry] });
  const age = new Gauge({ name: 'relay_age_seconds', help: '-', registers: [registry] });
  const { emit } = await start({ registry }, { statsAddr: addressOf(server) });
  const received = receiving(server);
  bytes.inc({ env: 'a' }, 5);
  age.set(1.5);
  await emit();
  expect(await received(2)).toEqual([
    'launchdarkly_relay.bytes_total:5|c|#env:a',
    'launchdarkly_relay.age_seconds:1.5|g',
  ]);
  bytes.inc({ env: 'a' }, 2.5);
  await emit();
  expect(await received(2)).toContain('launchdarkly_relay.bytes_total:2.5|c|#env:a');
  // As after an environment was removed and came back.
  bytes.reset();
  bytes.inc({ env: 'a' }, 1);
  await emit();
  expect(await received(2)).toContain('launchdarkly_relay.bytes_total:1|c|#env:a');
});

test('a histogram is a distribution of its buckets, with exact count and sum beside it', async () => {
  const server = opened(await startUdpServer());
  const registry = new Registry();
  const seconds = new Histogram({
    ...{ name: 'relay_seconds', help: '-', buckets: [0.1, 0.5], labelNames: ['env'], registers: [registry] },
  });
  const { emit } = await start({ registry }, { statsAddr: addressOf(server) });
  const received = receiving(server);
  for (const value of [0.05, 0.25, 0.25, 0.25, 7]) seconds.observe({ env: 'a' }, value);
  await emit();
  expect((await received(5)).sort()).toEqual([
    'launchdarkly_relay.seconds.count:5|c|#env:a',
    'launchdarkly_relay.seconds.sum:7.8|c|#env:a',
    'launchdarkly_relay.seconds:0.1|d|#env:a',
    'launchdarkly_relay.seconds:0.5|d|@0.3333333333333333|#env:a',
    'launchdarkly_relay.seconds:1|d|#env:a',
  ]);
  seconds.observe({ env: 'a' }, 0.2);
  await emit();
  expect((await received(3)).map((line) => parseMetric(line)).filter(({ kind }) => kind === 'd')).toEqual([
    { name: 'launchdarkly_relay.seconds', value: 0.5, kind: 'd', rate: 1, tags: ['env:a'] },
  ]);
});

test('the agent counts each sampled value as often as it was observed, whatever the number', async () => {
  const server = opened(await startUdpServer());
  const registry = new Registry();
  const labelNames = ['count'];
  const sizes = new Histogram({ name: 'relay_sizes', help: '-', buckets: [1], labelNames, registers: [registry] });
  const counts = Array.from({ length: 150 }, (_, index) => index + 1);
  for (const count of counts) for (let i = 0; i < count; i++) sizes.observe({ count }, 1);
  const { emit } = await start({ registry }, { statsAddr: addressOf(server) });
  await emit();
  await receiving(server)(3 * counts.length);
  const sampled = server.metrics().filter(({ kind }) => kind === 'd');
  // "use truncated 1 / sampleRate as count"
  expect(sampled.map(({ rate, tags }) => [tags[0], Math.trunc(1 / rate)])).toEqual(
    counts.map((count) => [`count:${count}`, count]),
  );
});

test.each([
  ['pre-', 'pre_'],
  ['my app.v1', 'myapp_v1'],
  ['a__b', 'a_b'],
])('the prefix %j is written as ld-relay writes it: %s', async (prefix, written) => {
  const server = opened(await startUdpServer());
  const registry = new Registry();
  new Gauge({ name: 'relay_up', help: '-', registers: [registry] }).set(1);
  const { emit } = await start({ registry }, { statsAddr: addressOf(server), prefix });
  await emit();
  expect(await receiving(server)(1)).toEqual([`${written}.up:1|g`]);
});

test('every metric of the relay is sent, in datagrams that fit into one packet', async () => {
  const server = opened(await startUdpServer());
  const metrics = createMetrics();
  behind(() => metrics.close());
  for (let i = 0; i < 40; i++) metrics.streams.opened(`environment ${i}, #1|@2`, 'all', 'other', 'sdkKey');
  const { emit } = await start(metrics.measures, { statsAddr: addressOf(server) });
  const read = await metrics.registry.getMetricsAsJSON();
  await emit();
  const wanted = read
    .filter(({ values }) => values.some(({ value }) => Number.isFinite(value)))
    .map(({ name }) => `launchdarkly_relay.${name.replace(/^launchdarkly_relay_/, '')}`);
  await eventually(() => {
    const names = server.metrics().map(({ name }) => name.replace(/\.(count|sum)$/, ''));
    // The delay of the event loop is no number until there is one.
    const isSteady = (name: string) => !name.includes('eventloop_lag');
    expect(names).toEqual(expect.arrayContaining(wanted.filter(isSteady)));
  });
  const connections = server.metrics().filter(({ name }) => name === 'launchdarkly_relay.connections');
  expect(connections[7]?.tags).toEqual(['env:environment 7_ _1__2', 'platformCategory:server', 'userAgent:other']);
  expect(connections).toHaveLength(40);
  const sizes = server.datagrams.map(({ length }) => length);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(1_432);
  expect(Math.max(...sizes)).toBeGreaterThan(1_000);
});

test('a line that is too long for a datagram costs only itself, and one line of the log', async () => {
  const server = opened(await startUdpServer());
  const registry = new Registry();
  const open = new Gauge({ name: 'relay_open', help: '-', labelNames: ['env'], registers: [registry] });
  open.set({ env: 'x'.repeat(1_500) }, 1);
  open.set({ env: 'short' }, 2);
  const { emit, logged } = await start({ registry }, { statsAddr: addressOf(server) });
  const received = receiving(server);
  for (let report = 0; report < 2; report++) {
    await emit();
    expect(await received(1)).toEqual(['launchdarkly_relay.open:2|g|#env:short']);
  }
  expect(logged).toEqual([
    expect.stringMatching(
      /^A metric is too long for one datagram to Datadog .*launchdarkly_relay\.open with the tags env:x/,
    ),
  ]);
  open.remove({ env: 'x'.repeat(1_500) });
  await emit();
  expect(logged.slice(1)).toEqual(['All metrics fit into datagrams to Datadog again {}']);
});

test('a name that cannot be resolved costs one line of the log, and what was counted meanwhile is sent later', async () => {
  const server = opened(await startUdpServer());
  const registry = new Registry();
  const sent = new Counter({ name: 'relay_sent_total', help: '-', registers: [registry] });
  let address: string | undefined;
  const { port } = addressOf(server) as { readonly port: number };
  const { emit, logged } = await start(
    { registry },
    {
      statsAddr: { host: 'agent.example', port },
      async lookup(host) {
        if (address === undefined) throw new Error(`getaddrinfo ENOTFOUND ${host}`);
        return [
          { address: '::1', family: 6 },
          { address, family: 4 },
        ];
      },
    },
  );
  for (let report = 0; report < 3; report++) {
    sent.inc(2);
    await emit();
  }
  const setting = `DATADOG_STATS_ADDR=agent.example:${port}`;
  const begins = `Cannot send metrics to Datadog's agent at ${setting}; trying again at every report {"reason":"getaddrinfo ENOTFOUND agent.example","runbook":"operations.md#metrics-not-sent"}`;
  expect(logged).toEqual([begins]);
  address = '127.0.0.1';
  await emit();
  expect(await receiving(server)(1)).toEqual(['launchdarkly_relay.sent_total:6|c']);
  const ends = `Metrics reach Datadog's agent at ${setting} again {}`;
  expect(logged).toEqual([begins, ends]);
  address = undefined;
  await emit();
  expect(logged).toEqual([begins, ends, begins]);
});

test('an agent that is not there costs nothing, and gets the metrics once it is', async () => {
  const first = await startUdpServer();
  const statsAddr = addressOf(first);
  await first.close();
  const registry = new Registry();
  const up = new Gauge({ name: 'relay_up', help: '-', registers: [registry] });
  up.set(1);
  const { emit, logged } = await start({ registry }, { statsAddr });
  await emit();
  await emit();
  const server = opened(await startUdpServer((statsAddr as { readonly port: number }).port));
  up.set(2);
  await emit();
  expect(await receiving(server)(1)).toEqual(['launchdarkly_relay.up:2|g']);
  expect(logged).toEqual([]);
});

test('reports are sent by themselves, and the last interval when it is closed', async () => {
  const server = opened(await startUdpServer());
  const registry = new Registry();
  const sent = new Counter({ name: 'relay_sent_total', help: '-', registers: [registry] });
  const { close } = await start({ registry }, { statsAddr: addressOf(server), intervalMs: 20 });
  const received = receiving(server);
  await received(2);
  sent.inc(7);
  await close();
  const total = () => server.metrics().reduce((sum, { value }) => sum + value, 0);
  await eventually(() => expect(total()).toBe(7));
});

test('without the native package, a Unix socket is refused by one line that says what to do, and nothing is sent', async () => {
  jest.doMock('unix-dgram', () => {
    throw new Error("Cannot find package 'unix-dgram'");
  });
  behind(() => jest.dontMock('unix-dgram'));
  const registry = new Registry();
  new Gauge({ name: 'relay_up', help: '-', registers: [registry] }).set(1);
  const { emit, logged } = await start({ registry }, { statsAddr: { path: '/var/run/datadog/dsd.socket' } });
  await emit();
  expect(logged).toEqual([
    expect.stringMatching(
      /^DATADOG_STATS_ADDR=unix:\/\/\/var\/run\/datadog\/dsd\.socket cannot be used: .*unix-dgram.* DATADOG_STATS_ADDR=host:8125 .*Cannot find package/,
    ),
  ]);
});

const missing = [
  ...(spawnSync('python3', ['-c', '']).status === 0 ? [] : ['python3']),
  ...(spawnSync(process.execPath, ['-e', "require('unix-dgram')"]).status === 0 ? [] : ['unix-dgram']),
];
const describeIf = missing.length === 0 ? describe : describe.skip;

describeIf(`a Unix datagram socket (needs ${missing.join(', ') || 'what is installed'})`, () => {
  let path: string;

  beforeEach(() => {
    const folder = mkdtempSync(join(tmpdir(), 'dogstatsd-'));
    behind(() => rmSync(folder, { recursive: true }));
    path = join(folder, 'dsd.socket');
  });

  test('gets the same lines, in larger datagrams', async () => {
    const server = opened(await startSocketServer(path));
    const registry = new Registry();
    const open = new Gauge({ name: 'relay_open', help: '-', labelNames: ['env'], registers: [registry] });
    for (let i = 0; i < 100; i++) open.set({ env: `environment-${i}` }, i);
    const { emit, logged } = await start({ registry }, { statsAddr: { path } });
    await emit();
    expect(await receiving(server)(100)).toEqual(
      Array.from({ length: 100 }, (_, i) => `launchdarkly_relay.open:${i}|g|#env:environment-${i}`),
    );
    expect(server.datagrams.length).toBeLessThan(3);
    expect(logged).toEqual([]);
  });

  test('may appear, vanish and come back: one line of the log for each, and counts go on', async () => {
    const registry = new Registry();
    const sent = new Counter({ name: 'relay_sent_total', help: '-', registers: [registry] });
    const { emit, logged } = await start({ registry }, { statsAddr: { path } });
    const says = (text: string) => expect(logged.at(-1)).toContain(text);
    sent.inc(1);
    await emit();
    sent.inc(2);
    await emit();
    expect(logged).toHaveLength(1);
    says(`Cannot send metrics to Datadog's agent at DATADOG_STATS_ADDR=unix://${path}`);
    const first = await startSocketServer(path);
    await emit();
    expect(await receiving(first)(1)).toEqual(['launchdarkly_relay.sent_total:3|c']);
    expect(logged).toHaveLength(2);
    says('again');
    await first.close();
    rmSync(path);
    await eventually(async () => {
      await emit();
      says('Cannot send metrics');
    });
    const second = opened(await startSocketServer(path));
    sent.inc(4);
    await eventually(async () => {
      await emit();
      expect(second.metrics().reduce((sum, { value }) => sum + value, 0)).toBe(4);
    });
    says('again');
    expect(logged).toHaveLength(4);
  });
});
