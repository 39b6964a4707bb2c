/**
 * The five sequences of "Persistent storage" in ld-relay's documentation
 * (https://github.com/launchdarkly/ld-relay/blob/v8/docs/persistent-storage.md), with whole relays, a real table behind a
 * proxy, and a stand-in for LaunchDarkly. Where ld-relay denies or delays an SDK, this relay serves it: memory holds
 * everything, and CACHE_TTL has nothing to expire.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { QueryCommand } from '@aws-sdk/client-dynamodb';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const headers = { Authorization: sdkKey };
const cacheTtlMs = 50;
/** The store must equal memory within 30 s of coming back. */
const promisedMs = 30_000;

const flag = (key: string, version: number) => ({
  ...{ key, version, on: true, variations: ['a', 'b'], fallthrough: { variation: 0 }, salt: '' },
});
const data = (...flags: ReturnType<typeof flag>[]) => ({
  flags: Object.fromEntries(flags.map((one) => [one.key, one])),
  segments: {},
});

let table: TestTable;
let proxy: FaultyProxy;
let upstream: FakeUpstream;
// Runs before the relays close, so that they can flush.
afterEach(() => proxy.heal());
const { opened } = closeAfterEach();

beforeEach(async () => {
  table = opened(await startTable());
  proxy = opened(await startFaultyProxy(table.endpoint));
  upstream = opened(await startFakeUpstream(data(flag('a', 1), flag('b', 1))));
});

const start = async (): Promise<TestRelay> =>
  opened(
    await startTestRelay({
      ...{
        LD_ENV_production: sdkKey,
        LD_PREFIX_production: 'production',
        STREAM_URI: upstream.uri,
        INIT_TIMEOUT: '1h',
      },
      ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: proxy.endpoint },
      CACHE_TTL: `${cacheTtlMs}ms`,
    }),
  );

/** Connects like an SDK and reads its put and patches until it holds these versions. */
async function connect(relay: TestRelay, wanted: Record<string, number>) {
  const stream = opened(await readStream({ port: relay.port, path: '/all', headers }));
  expect(stream.status).toBe(200);
  const put = await stream.next();
  expect(put.event).toBe('put');
  const { flags } = JSON.parse(put.data).data as { flags: Record<string, { version: number }> };
  const versions = Object.fromEntries(Object.entries(flags).map(([key, { version }]) => [key, version]));
  while (Object.entries(wanted).some(([key, version]) => versions[key] !== version)) {
    // The put is a shared snapshot; later changes follow as patches. Rejects if none arrives.
    const { event, data } = await stream.next();
    expect(event).toBe('patch');
    const { data: item } = JSON.parse(data) as { data: { key: string; version: number } };
    versions[item.key] = item.version;
  }
  expect(versions).toEqual(wanted);
  return stream;
}

/** Versions in LaunchDarkly's layout, as an SDK in daemon mode finds them; undefined before the marker is there. */
async function stored(): Promise<Record<string, number> | undefined> {
  const query = async (namespace: string) => {
    const { Items = [] } = await table.client.send(
      new QueryCommand({
        ...{ TableName: table.tableName, KeyConditionExpression: '#n = :n' },
        ...{ ExpressionAttributeNames: { '#n': 'namespace' }, ExpressionAttributeValues: { ':n': { S: namespace } } },
      }),
    );
    return Items;
  };
  if ((await query('production:$inited')).length === 0) return undefined;
  const items = await query('production:features');
  return Object.fromEntries(items.map(({ key, version }) => [key?.S, Number(version?.N)]));
}

const untilStored = (versions: Record<string, number>) =>
  eventually(async () => expect(await stored()).toEqual(versions), promisedMs);

const reads = () => proxy.passed.filter(({ operation }) => /^(GetItem|BatchGetItem|Query|Scan)$/.test(operation));

test("while the cache TTL is fresh, SDKs are served from memory and the store receives LaunchDarkly's data @heavy", async () => {
  const relay = await start();
  await connect(relay, { a: 1, b: 1 });
  await untilStored({ a: 1, b: 1 });
});

test('after the cache TTL expires, SDKs are still served from memory without reading the store @heavy', async () => {
  const relay = await start();
  await connect(relay, { a: 1, b: 1 });
  await untilStored({ a: 1, b: 1 });
  await relay.stored();
  await delay(3 * cacheTtlMs);
  proxy.passed.length = 0;
  await connect(relay, { a: 1, b: 1 });
  expect(reads()).toEqual([]);
});

test('during a store outage SDKs connect and get fresh flags, and the store catches up afterwards @heavy', async () => {
  const relay = await start();
  const first = await connect(relay, { a: 1, b: 1 });
  await untilStored({ a: 1, b: 1 });
  proxy.cut();
  await delay(3 * cacheTtlMs);
  await connect(relay, { a: 1, b: 1 });
  await upstream.patch('flags', flag('a', 2));
  expect(await first.next()).toEqual({ event: 'patch', data: expect.stringContaining('"version":2') });
  await connect(relay, { a: 2, b: 1 });
  const health = async () => (await fetch(`${relay.uri}/status`)).json() as Promise<StatusBody>;
  await eventually(async () =>
    expect((await health()).environments.production?.dataStoreStatus.state).toBe('INTERRUPTED'),
  );
  expect((await fetch(`${relay.uri}/readyz`)).status).toBe(200);
  expect(await stored()).toEqual({ a: 1, b: 1 });
  proxy.heal();
  await untilStored({ a: 2, b: 1 });
  // ld-relay would reconnect to LaunchDarkly to get everything again.
  expect(upstream.connections).toBe(1);
  await eventually(async () => expect((await health()).environments.production?.dataStoreStatus.state).toBe('VALID'));
});

test('a relay started while LaunchDarkly is down serves SDKs from the store at once, and sends the changes when it is back @heavy', async () => {
  const before = await start();
  await untilStored({ a: 1, b: 1 });
  await before.close();
  upstream.answer = 'cut';
  const relay = await start();
  // INIT_TIMEOUT is an hour, and nothing waits for it.
  const first = await connect(relay, { a: 1, b: 1 });
  expect((await fetch(`${relay.uri}/readyz`)).status).toBe(200);
  expect(upstream.requests.length).toBeGreaterThan(1);
  upstream.data = data(flag('a', 1), flag('b', 5));
  upstream.answer = 'stream';
  expect(await first.next()).toEqual({ event: 'patch', data: expect.stringContaining('"version":5') });
  await untilStored({ a: 1, b: 5 });
});

test('during a LaunchDarkly outage old and new SDKs are served, and only real changes are sent and stored afterwards @heavy', async () => {
  const relay = await start();
  const first = await connect(relay, { a: 1, b: 1 });
  await untilStored({ a: 1, b: 1 });
  await relay.stored();
  upstream.answer = 'cut';
  upstream.cut();
  await delay(3 * cacheTtlMs);
  await connect(relay, { a: 1, b: 1 });
  proxy.passed.length = 0;
  upstream.data = data(flag('a', 1), flag('b', 2));
  upstream.answer = 'stream';
  expect(await first.next()).toEqual({ event: 'patch', data: expect.stringContaining('"version":2') });
  await untilStored({ a: 1, b: 2 });
  const items = proxy.passed.filter(({ namespace }) => namespace === 'production:features');
  expect(items.map(({ operation, key }) => [operation, key])).toEqual([['PutItem', 'b']]);
});

interface StatusBody {
  readonly environments: Record<string, { readonly dataStoreStatus: { readonly state: string } }>;
}
