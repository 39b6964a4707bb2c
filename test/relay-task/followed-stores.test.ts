/**
 * A relay that LaunchDarkly cannot reach serves what other relays write to the store: whole relays, real databases, and a
 * stand-in for LaunchDarkly that can be cut off from single relays. `SEED=<n>` runs one schedule, `SEED=<n>-<m>` some,
 * `LONG=1` many.
 */
import { sleep } from '../../relay-task/common/pause.ts';
import type { Variables } from '../../relay-task/config/config.ts';
import { eventually } from '../support/eventually.ts';
import { type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { randomFrom } from '../support/random.ts';
import { readStream } from '../support/read-stream.ts';
import { relayStores } from '../support/relay-stores.ts';
import { startReplicatedTables } from '../support/replicator.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';
import { seedsInGroups } from './store/random-relays.ts';

const sdkKey = 'sdk-00000000-0000-0000-0000-00000000000a';
const mobileKey = 'mob-00000000-0000-0000-0000-00000000000b';
const context = Buffer.from('{"kind":"user","key":"u"}').toString('base64url');
const { opened } = closeAfterEach();

const flag = (key: string, version: number) => ({
  ...{ key, version, on: false, offVariation: 0, variations: [`${key}${version}`], salt: '' },
  clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
});

let launchDarkly: FakeUpstream;
/** The relays that LaunchDarkly cannot be reached from, by the first step of their stream's path. */
let cutOff: Set<string>;
const relayOf = ({ url }: { readonly url: string }) => url.split('/')[1] ?? '';

beforeEach(async () => {
  cutOff = new Set();
  launchDarkly = opened(await startFakeUpstream({ flags: { a: flag('a', 1), b: flag('b', 1) } }));
  launchDarkly.answer = (request) => (cutOff.has(relayOf(request)) ? 'hang' : 'stream');
});

function cut(name: string): void {
  cutOff.add(name);
  launchDarkly.cut((request) => relayOf(request) === name);
}

function heal(name: string): void {
  cutOff.delete(name);
  launchDarkly.cut((request) => relayOf(request) === name);
}

const stores = relayStores({ opened });

const start = async (name: string, store: Variables): Promise<TestRelay> =>
  opened(
    await startTestRelay(
      {
        ...{ LD_ENV_shop: sdkKey, LD_MOBILE_KEY_shop: mobileKey, LD_PREFIX_shop: 'shop' },
        ...{ STREAM_URI: `${launchDarkly.uri}/${name}`, INIT_TIMEOUT: '1h', ...store },
      },
      { timings: { ...hastyTimings, followMs: 30 } },
    ),
  );

/** The live versions that a server SDK gets. */
async function versions(relay: TestRelay): Promise<Record<string, number> | number> {
  const response = await fetch(`${relay.uri}/sdk/latest-all`, { headers: { Authorization: sdkKey } });
  const text = await response.text();
  if (response.status !== 200) return response.status;
  const { flags } = JSON.parse(text) as { flags: Record<string, { version: number; deleted?: boolean }> };
  const live = Object.entries(flags).filter(([, one]) => !one.deleted);
  return Object.fromEntries(live.map(([key, { version }]) => [key, version]));
}

const untilServed = (relay: TestRelay, wanted: Record<string, number>) =>
  eventually(async () => expect(await versions(relay)).toEqual(wanted));

// biome-ignore lint/suspicious/noExplicitAny: the tests read a few members of a large answer
const statusOf = async (relay: TestRelay): Promise<any> =>
  (await (await fetch(`${relay.uri}/status`)).json()).environments.shop;

describe.each(Object.keys(stores))('a relay that is cut off, with a store in %s', (name) => {
  let store: Variables;
  beforeEach(async () => {
    store = await stores[name]!();
  });

  test.each([
    ['', {}],
    [', whatever CACHE_TTL says', { CACHE_TTL: '1h' }],
  ])('serves and sends what another relay stores, and says so until LaunchDarkly is back%s @heavy', async (_, more) => {
    const [near, far] = [await start('near', store), await start('far', { ...store, ...more })];
    for (const relay of [near, far]) await untilServed(relay, { a: 1, b: 1 });
    const server = opened(await readStream({ port: far.port, path: '/all', headers: { Authorization: sdkKey } }));
    const phone = opened(
      await readStream({ port: far.port, path: `/meval/${context}`, headers: { Authorization: mobileKey } }),
    );
    await Promise.all([server.next(), phone.next()]);
    cut('far');
    await eventually(async () => expect((await statusOf(far)).connectionStatus.state).toBe('INTERRUPTED'));
    const { checkedAt } = await statusOf(far);
    await launchDarkly.patch('flags', flag('a', 2));
    await untilServed(far, { a: 2, b: 1 });
    await server.until(({ events }) => events.some(({ event, data }) => event === 'patch' && data.includes('"a2"')));
    await phone.until(({ events }) => events.some(({ event, data }) => event === 'patch' && data.includes('"a2"')));
    const { followedStore, connectionStatus } = await statusOf(far);
    expect(followedStore).toEqual({ database: name.toLowerCase(), time: expect.any(Number) });
    expect(connectionStatus.state).toBe('INTERRUPTED');
    await launchDarkly.delete('flags', 'b', 2);
    await launchDarkly.patch('flags', flag('c', 7));
    await untilServed(far, { a: 2, c: 7 });
    // A store is no proof that LaunchDarkly has nothing newer.
    expect((await statusOf(far)).checkedAt).toBe(checkedAt);
    expect((await statusOf(near)).followedStore).toBeUndefined();
    heal('far');
    await eventually(async () => expect((await statusOf(far)).connectionStatus.state).toBe('VALID'));
    expect((await statusOf(far)).followedStore).toBeUndefined();
    expect((await statusOf(far)).checkedAt).toBeGreaterThan(checkedAt);
    expect(await versions(far)).toEqual({ a: 2, c: 7 });
  });

  test('begins with what another one stores later, if it started with an empty store @heavy', async () => {
    cutOff.add('far');
    const far = await start('far', store);
    expect(await versions(far)).toBe(503);
    await start('near', store);
    await untilServed(far, { a: 1, b: 1 });
    await launchDarkly.patch('flags', flag('a', 2));
    await untilServed(far, { a: 2, b: 1 });
  });

  test('keeps what it has while another environment writes to the place @heavy', async () => {
    const far = await start('far', store);
    await untilServed(far, { a: 1, b: 1 });
    await eventually(async () =>
      expect((await statusOf(far)).stores[0]).toMatchObject({ state: 'VALID', writer: true }),
    );
    cut('far');
    launchDarkly.dataFor = ({ headers }) =>
      headers.authorization === sdkKey ? undefined : { flags: { a: flag('a', 9), z: flag('z', 9) }, segments: {} };
    const other = await start('near', { ...store, LD_ENV_shop: 'sdk-00000000-0000-0000-0000-00000000000f' });
    await eventually(async () =>
      expect((await statusOf(other)).stores[0]).toMatchObject({ state: 'VALID', writer: true }),
    );
    expect(await other.stored()).toEqual([]);
    // Several looks later.
    for (let look = 0; look < 10; look++) {
      expect(await versions(far)).toEqual({ a: 1, b: 1 });
      await sleep(30);
    }
  });
});

test('a relay of another region that may not write follows the replica', async () => {
  const { regions } = await replicated('follows the replica');
  const [near, far] = [await start('near', regions[0]), await start('far', regions[1])];
  for (const relay of [near, far]) await untilServed(relay, { a: 1, b: 1 });
  cut('far');
  await launchDarkly.patch('flags', flag('a', 2));
  await untilServed(far, { a: 2, b: 1 });
  expect((await statusOf(far)).followedStore).toMatchObject({ database: 'dynamodb' });
});

async function replicated(seed: string) {
  const tables = await startReplicatedTables({ random: randomFrom(seed), maxDelayMs: 200 });
  const [home, away] = tables.regions.map((table) => opened(table));
  const at = ({ tableName, endpoint }: NonNullable<typeof home>): Variables => ({
    ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: tableName, DYNAMODB_URL: endpoint },
  });
  return { regions: [at(home!), { ...at(away!), STORE_WRITER: 'never' }] as const };
}

/**
 * Two relays in the home region, one in another. After each step, every relay that can reach LaunchDarkly, or whose store
 * one of the home region that can keeps current, serves the newest versions; at no time does a relay's version fall.
 */
describe('random cuts', () => {
  test.each(seedsInGroups({ ordinary: 1, long: 60, atOnce: 1 }))('schedule %i @heavy', runSchedule);

  async function runSchedule(seed: number): Promise<void> {
    const random = randomFrom(`followed-stores:${seed}`);
    const { regions } = await replicated(String(seed));
    const names = ['one', 'two', 'far'] as const;
    const relays = new Map<string, TestRelay>();
    for (const name of names) relays.set(name, await start(name, regions[name === 'far' ? 1 : 0]));
    const truth: Record<string, number> = { a: 1, b: 1 };
    for (const relay of relays.values()) await untilServed(relay, truth);
    const seen = new Map<string, Record<string, number>>();
    let running = true;
    const watching = [...relays].map(async ([name, relay]) => {
      while (running) {
        const now = await versions(relay);
        expect(typeof now).toBe('object');
        const before = seen.get(name) ?? {};
        for (const [key, version] of Object.entries(now)) expect(version).toBeGreaterThanOrEqual(before[key] ?? 0);
        seen.set(name, now as Record<string, number>);
        await sleep(20);
      }
    });
    for (let step = 0; step < 8; step++) {
      const name = names[Math.floor(random() * names.length)]!;
      if (random() < 0.5) cut(name);
      else heal(name);
      const key = random() < 0.5 ? 'a' : 'b';
      truth[key] = truth[key]! + 1 + Math.floor(random() * 3);
      await launchDarkly.patch('flags', flag(key, truth[key]!));
      const isKept = ['one', 'two'].some((one) => !cutOff.has(one));
      for (const [one, relay] of relays) {
        if (isKept || !cutOff.has(one)) await untilServed(relay, truth);
      }
    }
    running = false;
    await Promise.all(watching);
    for (const relay of relays.values()) await relay.close();
  }
});
