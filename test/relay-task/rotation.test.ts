/** Keys are rotated while clients read. No client may notice, for any source of keys. */
import { eventually } from '../support/eventually.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream, type StreamReader } from '../support/read-stream.ts';
import { startLoad } from '../support/relay-load.ts';
import {
  autoConfigKey,
  hastyTimings,
  type RotatingSource,
  startRotatingArchive,
  startRotatingAutoConfig,
  startRotatingSsm,
} from '../support/rotating-sources.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

/** Any response; the tests assert what they read. */
// biome-ignore lint/suspicious/noExplicitAny: the tests reach into answers of many shapes
type Json = any;

const LONG = process.env.LONG !== undefined;
const ROTATIONS = LONG ? 10 : 2;
const STREAMS = LONG ? 200 : 15;
const REQUESTS_PER_SECOND = LONG ? 50 : 30;
const REQUESTS_OF_EACH = 10;

const keyOf = (number: number) => `sdk-00000000-0000-0000-0000-${String(number).padStart(12, '0')}`;

const inAnHour = () => Date.now() + 3_600_000;

const { opened } = closeAfterEach();

async function startFrom(source: RotatingSource, secrets: readonly string[]): Promise<TestRelay> {
  return opened(
    await startTestRelay(source.variables, { timings: hastyTimings, secrets: [...secrets, source.mobileKey] }),
  );
}

async function statusOf(relay: TestRelay, sdkKey: string): Promise<number> {
  const response = await fetch(`${relay.uri}/sdk/flags/a`, { headers: { Authorization: sdkKey } });
  await response.text();
  return response.status;
}

async function environmentOf(relay: TestRelay): Promise<Json> {
  const { environments } = (await (await fetch(`${relay.uri}/status`)).json()) as Json;
  return Object.values(environments)[0];
}

/** How many streams the relay closed, by reason. */
async function closedBy(relay: TestRelay): Promise<Record<string, number>> {
  const { body } = await relay.metrics.text();
  const found = body.matchAll(/^launchdarkly_relay_streams_closed_total\{.*?reason="([^"]+)".*?\} (\d+)$/gm);
  return Object.fromEntries([...found].map(([, reason, count]) => [reason, Number(count)]));
}

const sources = [
  ['SSM', startRotatingSsm],
  ['auto-configuration', startRotatingAutoConfig],
  ['the archive', startRotatingArchive],
] as const;

describe.each(sources)('rotation with keys from %s', (name, startSource) => {
  const asksLaunchDarkly = name !== 'the archive';

  test(`${ROTATIONS} rotations under ${STREAMS} streams and ${REQUESTS_PER_SECOND} requests a second fail no request, drop no stream and lose no flag @heavy`, async () => {
    const all = Array.from({ length: ROTATIONS + 1 }, (_, number) => keyOf(number));
    const source = opened(await startSource({ sdkKey: keyOf(0) }));
    const { door, mobileKey, environmentId } = source;
    const relay = await startFrom(source, all);
    await eventually(async () => expect(await statusOf(relay, keyOf(0))).toBe(200));

    const load = opened(
      startLoad({
        ...{ port: relay.port, mobileKey, environmentId, flag: 'a' },
        requestsPerSecond: REQUESTS_PER_SECOND,
      }),
    );
    const sdksPerKey = Math.ceil(STREAMS / 10);
    const serverStreamsPerKey = Math.floor(STREAMS / 2) - sdksPerKey;
    load.use(keyOf(0));
    await load.openClientStreams(STREAMS - serverStreamsPerKey - sdksPerKey);
    await load.openServerStreams(keyOf(0), serverStreamsPerKey);
    await load.startSdks(keyOf(0), sdksPerKey);

    for (let number = 1; number <= ROTATIONS; number++) {
      const [previous, next] = [keyOf(number - 1), keyOf(number)];
      door.good.add(next);
      await source.say({ sdkKey: next, previous: { sdkKey: previous, until: inAnHour() } });
      await eventually(async () => expect(await statusOf(relay, next)).toBe(200));
      load.use(next);
      await load.openServerStreams(next, serverStreamsPerKey);
      await load.startSdks(next, sdksPerKey);
      if (asksLaunchDarkly)
        await eventually(() => expect([door.streams(previous), door.streams(next)]).toEqual([0, 1]));
      await source.change(number + 1);
      await load.seen('a', number + 1);
      // However fast it is, each rotation is under load.
      await eventually(() =>
        expect(Math.min(load.requests, load.evaluations)).toBeGreaterThan(number * REQUESTS_OF_EACH),
      );

      load.closeSdks(previous);
      await load.retire(previous);
      expect(await statusOf(relay, previous)).toBe(200);
      const ended = load.ended(previous);
      // The last expiry that was announced counts.
      const until = Date.now() + 300;
      await source.say({ sdkKey: next, previous: { sdkKey: previous, until } });
      await eventually(async () => expect(await statusOf(relay, previous)).toBe(401));
      expect(Date.now()).toBeGreaterThan(until);
      door.end(previous);
      expect(await ended).toEqual(Array.from({ length: serverStreamsPerKey }, () => 'clean'));
    }

    expect(load.openStreams).toBe(STREAMS - sdksPerKey);
    // SDKs that closed by themselves count as client.
    const wanted = { client: ROTATIONS * sdksPerKey, revoked: ROTATIONS * serverStreamsPerKey };
    await eventually(async () => expect(await closedBy(relay)).toEqual(wanted));
    await load.close();
    expect(load.failures).toEqual([]);
    expect(load.requests).toBeGreaterThan(ROTATIONS * REQUESTS_OF_EACH);
    expect(load.evaluations).toBeGreaterThan(ROTATIONS * REQUESTS_OF_EACH);
  });
});

describe.each(sources.slice(0, 2))('a new key from %s', (_name, startSource) => {
  const [old, bad, later] = [keyOf(1), keyOf(2), keyOf(3)];
  test('that LaunchDarkly rejects leaves the old one in use, shows in /status, and is used once it is accepted @heavy', async () => {
    const source = opened(await startSource({ sdkKey: old }));
    const relay = await startFrom(source, [old, bad]);
    await eventually(async () => expect(await statusOf(relay, old)).toBe(200));
    await source.say({ sdkKey: bad, previous: { sdkKey: old, until: inAnHour() } });
    await eventually(async () => {
      expect(await environmentOf(relay)).toMatchObject({
        status: 'connected',
        connectionStatus: { state: 'VALID', lastError: { kind: 'ERROR_RESPONSE' } },
        keyProblem: { since: expect.any(Number), message: expect.stringMatching(/rejected the new SDK key .*401/) },
      });
    });
    expect((await relay.metrics.text()).body).toMatch(/^launchdarkly_relay_key_problems\{.*\} 1$/m);
    // The old key still feeds it.
    await source.change(2);
    await eventually(async () => {
      const response = await fetch(`${relay.uri}/sdk/flags/a`, { headers: { Authorization: old } });
      expect(await response.json()).toMatchObject({ version: 2 });
    });
    expect(await statusOf(relay, bad)).toBe(503);

    source.door.good.add(bad);
    await eventually(() => expect([source.door.streams(old), source.door.streams(bad)]).toEqual([0, 1]));
    expect(await environmentOf(relay)).not.toHaveProperty('keyProblem');
  });

  test('is served along with the old one by a task that starts during the grace period, until that ends @heavy', async () => {
    const source = opened(await startSource({ sdkKey: later, previous: { sdkKey: old, until: inAnHour() } }));
    source.door.good.add(old);
    const relay = await startFrom(source, [old, later]);
    await eventually(async () => expect(await statusOf(relay, later)).toBe(200));
    expect(await statusOf(relay, old)).toBe(200);
    await eventually(() => expect([source.door.streams(old), source.door.streams(later)]).toEqual([0, 1]));
    const stream = await readStream({ port: relay.port, path: '/all', headers: { Authorization: old } });
    expect((await stream.next()).event).toBe('put');
    const until = Date.now() + 1_000;
    await source.say({ sdkKey: later, previous: { sdkKey: old, until } });
    expect(await stream.ended).toBe('clean');
    expect(Date.now()).toBeGreaterThan(until);
    expect(await statusOf(relay, old)).toBe(401);
    expect(await statusOf(relay, later)).toBe(200);
  });

  test('that LaunchDarkly rejects does not keep a task that starts during the grace period from getting flags with the old one', async () => {
    const source = opened(await startSource({ sdkKey: bad, previous: { sdkKey: old, until: inAnHour() } }));
    source.door.good.delete(bad);
    source.door.good.add(old);
    const relay = await startFrom(source, [old, bad]);
    await eventually(async () => expect(await statusOf(relay, old)).toBe(200));
    expect(await statusOf(relay, bad)).toBe(503);
    await eventually(async () => expect(await environmentOf(relay)).toHaveProperty('keyProblem'));
  });
});

describe('while streams are open,', () => {
  const [shop, blog] = ['aaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbb'];
  const flags = (version: number) => ({
    flags: { a: { key: 'a', version, on: false, variations: [1], salt: '' } },
    segments: {},
  });
  const open = (relay: TestRelay, sdkKey: string, path = '/all') =>
    readStream({ port: relay.port, path, headers: { Authorization: sdkKey } });
  const ask = async (relay: TestRelay, sdkKey: string, path: string) =>
    (await fetch(`${relay.uri}${path}`, { headers: { Authorization: sdkKey } })).status;

  test('auto-configuration adds and removes environments without affecting the others', async () => {
    const fake = opened(await startFakeAutoConfig(environmentRep(shop, 1)));
    fake.upstream.data = flags(1);
    const relay = opened(
      await startTestRelay(
        { AUTO_CONFIG_KEY: autoConfigKey, STREAM_URI: fake.upstream.uri },
        { timings: hastyTimings, secrets: [`sdk-${shop}`, `sdk-${blog}`, `mob-${shop}`, `mob-${blog}`] },
      ),
    );
    await eventually(async () => expect(await ask(relay, `sdk-${shop}`, '/sdk/flags/a')).toBe(200));
    const staying = opened(closable(await open(relay, `sdk-${shop}`)));
    await fake.patch(environmentRep(blog, 1));
    await eventually(async () => expect(await ask(relay, `sdk-${blog}`, '/sdk/flags/a')).toBe(200));
    const leaving = await open(relay, `sdk-${blog}`);
    const mobile = await open(relay, `mob-${blog}`, '/mping');
    await leaving.next();
    await fake.delete('environments', blog, 2);
    expect(await Promise.all([leaving.ended, mobile.ended])).toEqual(['clean', 'clean']);
    expect(await ask(relay, `sdk-${blog}`, '/sdk/flags/a')).toBe(401);
    await eventually(() => expect(fake.upstream.openStreams).toBe(2));
    await fake.upstream.patch('flags', flags(2).flags.a, { to: ({ url }) => url.startsWith('/all') });
    await staying.stream.until(({ events }) => events.at(-1)?.event === 'patch');
  });

  test('a payload filter is added and removed without affecting unfiltered streams, and its upstream uses the rotated key', async () => {
    const rotated = (version: number, more = {}) =>
      environmentRep(shop, version, { sdkKey: { value: `sdk-new-${shop}`, ...more } });
    const fake = opened(await startFakeAutoConfig(environmentRep(shop, 1)));
    fake.upstream.data = flags(1);
    const relay = opened(
      await startTestRelay(
        { AUTO_CONFIG_KEY: autoConfigKey, STREAM_URI: fake.upstream.uri },
        { timings: hastyTimings, secrets: [`sdk-${shop}`, `sdk-new-${shop}`, `mob-${shop}`] },
      ),
    );
    await eventually(async () => expect(await ask(relay, `sdk-${shop}`, '/sdk/flags/a')).toBe(200));
    expect(await ask(relay, `sdk-${shop}`, '/sdk/latest-all?filter=web')).toBe(404);
    const whole = opened(closable(await open(relay, `sdk-${shop}`)));
    await fake.patchFilter('f1', { projKey: 'shop', key: 'web', version: 1 });
    await eventually(async () => expect(await ask(relay, `sdk-${shop}`, '/sdk/latest-all?filter=web')).toBe(200));
    const filtered = await open(relay, `sdk-${shop}`, '/all?filter=web');
    await filtered.next();

    await fake.patch(rotated(2, { expiring: { value: `sdk-${shop}`, timestamp: inAnHour() } }));
    const upstreams = () => fake.upstream.open().map(({ url, headers }) => `${url} ${headers.authorization}`);
    await eventually(() =>
      expect(
        upstreams()
          .filter((one) => one.startsWith('/all'))
          .sort(),
      ).toEqual([`/all sdk-new-${shop}`, `/all?filter=web sdk-new-${shop}`]),
    );
    await fake.delete('filters', 'f1', 2);
    expect(await filtered.ended).toBe('clean');
    expect(await ask(relay, `sdk-${shop}`, '/sdk/latest-all?filter=web')).toBe(404);
    await eventually(() => expect(upstreams()).toHaveLength(2));
    await fake.upstream.patch('flags', flags(2).flags.a, { to: ({ url }) => url.startsWith('/all') });
    await whole.stream.until(({ events }) => events.at(-1)?.event === 'patch');
    expect(whole.stream.events.map(({ event }) => event)).toEqual(['put', 'patch']);
  });

  test('an SSM environment connects as soon as it gets an SDK key', async () => {
    const upstream = opened(await startFakeUpstream(flags(1)));
    const ssm = opened(await startSsmServer());
    const [sdkKey, mobileKey] = [keyOf(7), 'mob-00000000-0000-0000-0000-000000000007'];
    ssm.put('/relay/shop/mobile-key', mobileKey);
    const relay = opened(
      await startTestRelay(
        { KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: upstream.uri },
        { timings: hastyTimings, secrets: [sdkKey, mobileKey] },
      ),
    );
    await eventually(async () => expect(await environmentOf(relay)).toMatchObject({ initialized: false }));
    expect(upstream.requests).toHaveLength(0);
    ssm.put('/relay/shop/sdk-key', sdkKey);
    await eventually(async () => expect(await ask(relay, sdkKey, '/sdk/flags/a')).toBe(200));
    ssm.put('/relay/shop/revoked', '*');
    await eventually(async () => expect(await ask(relay, sdkKey, '/sdk/flags/a')).toBe(401));
    await eventually(() => expect(upstream.openStreams).toBe(0));
  });
});

const closable = (stream: StreamReader) => ({ stream, close: async () => stream.close() });
