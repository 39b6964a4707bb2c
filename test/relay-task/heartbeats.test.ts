/**
 * Heartbeats on their whole way: from LaunchDarkly's REST API, which a stand-in plays, to the relay, its streams, the flag table, and the
 * table's replica in another region. The clocks of sender and relay are set by the tests.
 */
import { join } from 'node:path';
import { parseReaderConfig } from '../../lambda/edge-reader/config.ts';
import { createHeartbeats, startReader } from '../../lambda/edge-reader/index.ts';
import { heartbeatOf } from '../../lib/flag-table/index.ts';
import type { Variables } from '../../relay-task/config/config.ts';
import type { PropagationStatus } from '../../relay-task/status/propagation.ts';
import type { HeartbeatTimings } from '../../relay-task/wiring/heartbeats.ts';
import { eventually } from '../support/eventually.ts';
import { type FakeRestApi, startFakeRestApi } from '../support/fake-rest-api.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { startReplicatedTables } from '../support/replicator.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-00000000-0000-0000-0000-00000000000a';
const token = 'api-00000000-0000-0000-0000-00000000feed';
const FLAGS_FILE = join(import.meta.dirname, '../../examples/flags.json');
const heartbeat = { key: 'heartbeat', version: 1, on: false, offVariation: 0, variations: [{}], salt: '' };
const { opened } = closeAfterEach();

let launchDarkly: FakeUpstream;
let api: FakeRestApi;

beforeEach(async () => {
  launchDarkly = opened(await startFakeUpstream({ flags: { heartbeat } }));
  api = opened(await startFakeRestApi(launchDarkly, token));
});

const start = async (more: Variables, heartbeats: HeartbeatTimings = {}): Promise<TestRelay> =>
  opened(
    await startTestRelay(
      {
        LD_ENV_shop: sdkKey,
        LD_PREFIX_shop: 'shop',
        LD_PROJ_KEY_shop: 'shop',
        LD_HEARTBEAT_FLAG_shop: 'heartbeat',
        STREAM_URI: launchDarkly.uri,
        HEARTBEAT_API_URI: api.uri,
        ...more,
      },
      { timings: { ...hastyTimings, heartbeats } },
    ),
  );

/** Another program sends a heartbeat. */
async function send(sentAt: number): Promise<void> {
  const { version, ...flag } = launchDarkly.data.flags.heartbeat as typeof heartbeat;
  const next = { ...flag, version: version + 1, variations: [{ sentAt }] };
  await launchDarkly.patch('flags', next);
}

async function propagation({ uri }: TestRelay): Promise<PropagationStatus> {
  const response = await fetch(`${uri}/status`);
  return ((await response.json()) as { propagation: PropagationStatus }).propagation;
}

/** When the relay has the first flags from LaunchDarkly, since what comes with them is not measured. */
const hears = (relay: TestRelay) =>
  eventually(async () => {
    const { environments } = (await (await fetch(`${relay.uri}/status`)).json()) as {
      environments: Record<string, { checkedAt: number }>;
    };
    expect(environments.shop?.checkedAt).toBeGreaterThan(0);
  });

async function metric({ metrics }: TestRelay, name: string): Promise<number> {
  const { body } = await metrics.text();
  const line = body.split('\n').find((one) => one.startsWith(`launchdarkly_relay_${name} `));
  return Number(line?.split(' ').at(-1) ?? Number.NaN);
}

test('a heartbeat of the relay is seen at every stage, as much later as its clock is ahead of the sender @heavy', async () => {
  const { regions } = await startReplicatedTables({ random: Math.random, maxDelayMs: 20 });
  const [home, away] = regions.map(opened);
  const relay = await start(
    {
      USE_DYNAMODB: 'true',
      DYNAMODB_TABLE: home!.tableName,
      DYNAMODB_URL: home!.endpoint,
      HEARTBEAT_API_TOKEN: token,
      HEARTBEAT_REPLICAS: `eu-west-1=${away!.endpoint}`,
    },
    // An hour, so that no delay of the machine reaches it.
    { now: () => Date.now() + 3_600_000, pulse: { intervalMs: 200, lookMs: 10 }, replicas: { firstMs: 5 } },
  );
  opened(await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } }));
  const seen = await eventually(async () => {
    const { heartbeat: stages } = await propagation(relay);
    expect(Object.keys(stages ?? {}).sort()).toEqual(['relay', 'replicas', 'stream', 'table']);
    return stages!;
  });
  const reader = startReader(
    parseReaderConfig({
      tableName: away!.tableName,
      prefix: 'shop',
      replicas: { default: ['eu-west-1'] },
      endpoint: away!.endpoint,
      refreshMs: 24 * 3_600_000,
    }),
    { onData: (...all) => atEdge.onData(...all) },
  );
  const atEdge = createHeartbeats({
    flagKey: 'heartbeat',
    refreshMs: 24 * 3_600_000,
    status: reader.status,
    now: () => Date.now() + 3_600_000,
  });
  const [seconds] = await eventually(async () => {
    await reader.refresh();
    const { HeartbeatToEdge } = atEdge.extra().metrics;
    expect(HeartbeatToEdge).toBeDefined();
    return HeartbeatToEdge as readonly [readonly number[], string];
  });
  expect(seconds[0]).toBeGreaterThanOrEqual(3_600);
  expect(seconds[0]).toBeLessThan(2 * 3_600);
  const stages = [seen.relay, seen.stream, seen.table, seen.replicas?.['eu-west-1']];
  for (const stage of stages) {
    expect(stage?.count).toBeGreaterThan(0);
    expect(stage?.p50Ms).toBeGreaterThanOrEqual(3_600_000);
    expect(stage?.p50Ms).toBeLessThan(2 * 3_600_000);
  }
  const labels = (stage: string, region = '') => `{le="300",env="shop",stage="${stage}",region="${region}"}`;
  // Later than the last bound.
  expect(await metric(relay, `heartbeat_seconds_bucket${labels('relay')}`)).toBe(0);
  expect(await metric(relay, `heartbeat_seconds_bucket${labels('replica', 'eu-west-1')}`)).toBe(0);
  expect(api.requests[0]).toMatchObject({ method: 'PATCH', url: '/api/v2/flags/shop/heartbeat', authorization: token });
});

test('from a sender whose clock is ahead, they count as 0 and are counted', async () => {
  const relay = await start({});
  await hears(relay);
  await send(Date.now() + 3_600_000);
  await eventually(async () =>
    expect(await propagation(relay)).toMatchObject({ heartbeat: { relay: { p50Ms: 0, p99Ms: 0, count: 1 } } }),
  );
  expect(await metric(relay, 'heartbeats_ahead_total{env="shop",stage="relay"}')).toBe(1);
});

test('what comes with the first flags is not measured, nor what is set back, nor the same once more', async () => {
  const at = Date.now() - 3_600_000;
  launchDarkly.data = { flags: { heartbeat: { ...heartbeat, variations: [{ sentAt: at }] } }, segments: {} };
  const relay = await start({});
  await hears(relay);
  await send(at - 1_000);
  await send(at - 1_000);
  await send(at + 1_000);
  await eventually(async () => expect((await propagation(relay)).heartbeat?.relay?.count).toBe(1));
  expect(await metric(relay, 'heartbeat_seconds_count{env="shop",stage="relay",region=""}')).toBe(1);
});

test('a heartbeat while no stream is open is not measured to streams, neither by a later change', async () => {
  const relay = await start({});
  await hears(relay);
  await send(Date.now());
  await eventually(async () => expect((await propagation(relay)).heartbeat?.relay?.count).toBe(1));
  const stream = opened(await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } }));
  await stream.next();
  await launchDarkly.patch('flags', { ...heartbeat, key: 'other' });
  await eventually(async () => expect(await propagation(relay)).toMatchObject({ stream: { count: 1 } }));
  expect((await propagation(relay)).heartbeat).not.toHaveProperty('stream');
  await send(Date.now());
  await eventually(async () => expect((await propagation(relay)).heartbeat?.stream?.count).toBe(1));
});

test('heartbeats that stay away are told, once, and that they are back; the metric says which environment', async () => {
  const relay = await start(
    { HEARTBEAT_FLAG: 'heartbeat', LD_FLAGS_FILE_own: FLAGS_FILE },
    { overdue: { limitMs: 200, lookMs: 20 } },
  );
  const lines = () => relay.lines.filter(({ message }) => message.startsWith('Heartbeats'));
  await hears(relay);
  await eventually(() =>
    expect(lines()).toMatchObject([
      {
        ...{ level: 'warn', message: 'Heartbeats do not arrive; the way from LaunchDarkly is not measured meanwhile' },
        fields: { environment: 'shop', flag: 'heartbeat', runbook: 'operations.md#heartbeats-overdue' },
      },
    ]),
  );
  expect(await metric(relay, 'heartbeats_overdue{env="shop"}')).toBe(1);
  expect((await relay.metrics.text()).body).not.toContain('heartbeats_overdue{env="own"');
  await send(Date.now());
  await eventually(() => expect(lines()[1]).toMatchObject({ level: 'info', message: 'Heartbeats arrive again' }));
});

test('without a heartbeat flag, changes are measured from their arrival and nothing is registered for an environment', async () => {
  const relay = await start({ LD_HEARTBEAT_FLAG_shop: '' });
  await hears(relay);
  const stream = opened(await readStream({ port: relay.port, path: '/all', headers: { Authorization: sdkKey } }));
  await stream.next();
  await send(Date.now());
  await eventually(async () => expect(await propagation(relay)).toMatchObject({ stream: { count: 1 } }));
  expect(await propagation(relay)).not.toHaveProperty('heartbeat');
  const { body } = await relay.metrics.text();
  expect(body).not.toContain('heartbeat_seconds_bucket');
  expect(body).not.toContain('heartbeats_overdue{');
});

test('of two relays the one that writes the table sends, and the other one once it does @heavy', async () => {
  const { regions } = await startReplicatedTables({ random: Math.random, maxDelayMs: 1 });
  const [home] = regions.map(opened);
  const other = opened(await startFakeRestApi(launchDarkly, token));
  const table = { USE_DYNAMODB: 'true', DYNAMODB_TABLE: home!.tableName, DYNAMODB_URL: home!.endpoint };
  const hasty = { pulse: { intervalMs: 50, lookMs: 5 } };
  const first = await startTestRelay(
    {
      LD_ENV_shop: sdkKey,
      LD_PREFIX_shop: 'shop',
      HEARTBEAT_PROJECT: 'shop',
      HEARTBEAT_FLAG: 'heartbeat',
      HEARTBEAT_API_TOKEN: token,
      STREAM_URI: launchDarkly.uri,
      HEARTBEAT_API_URI: api.uri,
      ...table,
    },
    { timings: { ...hastyTimings, heartbeats: hasty } },
  );
  await api.requested(2);
  await start({ ...table, HEARTBEAT_API_TOKEN: token, HEARTBEAT_API_URI: other.uri }, hasty);
  await api.requested(8);
  expect(other.requests).toHaveLength(0);
  await first.close();
  await other.requested(2);
  const { length } = api.requests;
  await other.requested(4);
  expect(api.requests).toHaveLength(length);
  expect(heartbeatOf(JSON.stringify(launchDarkly.data.flags.heartbeat))?.sentAt).toBeGreaterThan(0);
});
