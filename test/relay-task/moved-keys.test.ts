/** A corrected SDK key must never open the data of the key that it replaced. */
import { eventually } from '../support/eventually.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { type Answer, type FakeUpstream, type RecordedRequest, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { autoConfigKey, hastyTimings } from '../support/rotating-sources.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const [wrong, right] = ['sdk-00000000-0000-0000-0000-00000000000a', 'sdk-00000000-0000-0000-0000-00000000000b'];
const [mobile, newMobile] = ['mob-00000000-0000-0000-0000-00000000000a', 'mob-00000000-0000-0000-0000-00000000000b'];
const [id, otherId] = ['aaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbb'];
const { opened } = closeAfterEach();
/** Above that of the wrong key, so that streams that stay open get the difference as a patch. */
const versionOf = (key: string) => (key === right ? 2 : 1);

/** What the fake LaunchDarkly has for each key: one flag that names it. */
const dataOf = (key: string) => ({
  flags: {
    whose: {
      key: 'whose',
      version: versionOf(key),
      on: false,
      offVariation: 0,
      variations: [key],
      salt: '',
      clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
    },
  },
  segments: {},
});

interface Source {
  readonly launchDarkly: FakeUpstream;
  readonly relay: TestRelay;
  /** Sets the environment's keys. The SDK key that is replaced has no grace period unless it is given as `previous`. */
  say(sdkKey: string, mobileKey?: string, more?: { previous?: string }): Promise<void>;
  /** Sets the SDK keys of the environment and of a second one, whose mobile key is `newMobile`, in one change if the source can. */
  sayBoth(sdkKey: string, otherKey: string): Promise<void>;
}

const answers = (launchDarkly: FakeUpstream, toRight: () => Answer) => {
  const isStream = ({ url }: RecordedRequest) => url.startsWith('/all');
  launchDarkly.answer = (request) =>
    isStream(request) && request.headers.authorization === right ? toRight() : 'stream';
};

async function startRelay(variables: Record<string, string>): Promise<TestRelay> {
  const secrets = [wrong, right, mobile, newMobile];
  return opened(await startTestRelay(variables, { timings: hastyTimings, secrets }));
}

async function startSsm(): Promise<Source> {
  const launchDarkly = opened(await startFakeUpstream());
  launchDarkly.dataFor = ({ headers }) => dataOf(String(headers.authorization));
  const ssm = opened(await startSsmServer());
  const say: Source['say'] = async (sdkKey, mobileKey = mobile, { previous } = {}) => {
    if (previous !== undefined) {
      ssm.put('/relay/shop/previous-sdk-key', previous);
      ssm.put('/relay/shop/previous-sdk-key-until', new Date(Date.now() + 3_600_000).toISOString());
    }
    ssm.put('/relay/shop/sdk-key', sdkKey);
    ssm.put('/relay/shop/mobile-key', mobileKey);
  };
  const sayBoth: Source['sayBoth'] = async (sdkKey, otherKey) => {
    ssm.put('/relay/shop/sdk-key', sdkKey);
    ssm.put('/relay/blog/sdk-key', otherKey);
    ssm.put('/relay/blog/mobile-key', newMobile);
  };
  await say(wrong);
  const relay = await startRelay({
    KEYS_FROM_SSM: '/relay',
    SSM_URL: ssm.endpoint,
    STREAM_URI: launchDarkly.uri,
  });
  return { launchDarkly, relay, say, sayBoth };
}

async function startAutoConfig(): Promise<Source> {
  const record = (version: number, sdkKey: string, mobKey: string, envId = id) =>
    environmentRep(envId, version, { sdkKey: { value: sdkKey }, mobKey });
  const fake = opened(await startFakeAutoConfig(record(1, wrong, mobile)));
  const { upstream: launchDarkly } = fake;
  const configure = launchDarkly.dataFor;
  launchDarkly.dataFor = (request) => configure(request) ?? dataOf(String(request.headers.authorization));
  let version = 1;
  const relay = await startRelay({ AUTO_CONFIG_KEY: autoConfigKey, STREAM_URI: launchDarkly.uri });
  return {
    launchDarkly,
    relay,
    async say(sdkKey, mobileKey = mobile) {
      version += 1;
      await fake.patch(record(version, sdkKey, mobileKey));
    },
    async sayBoth(sdkKey, otherKey) {
      version += 1;
      fake.environments[id] = record(version, sdkKey, mobile);
      fake.environments[otherId] = record(version, otherKey, newMobile, otherId);
      await fake.put();
    },
  };
}

/** The key whose data a client with this key gets by polling, or the status. */
async function polled({ relay }: Source, key: string): Promise<string | number> {
  const path = key.startsWith('mob') ? '/msdk/evalx/user' : '/sdk/latest-all';
  const response = await fetch(`${relay.uri}${path}`, {
    headers: { Authorization: key, 'Content-Type': 'application/json' },
    ...(key.startsWith('mob') && { method: 'REPORT', body: '{"kind":"user","key":"u"}' }),
  });
  const text = await response.text();
  if (response.status !== 200) return response.status;
  const { flags, whose } = JSON.parse(text);
  return whose?.value ?? flags.whose.variations[0];
}

/** The same by a new stream. */
async function streamed({ relay }: Source, key: string): Promise<string | number> {
  const stream = await readStream({ port: relay.port, path: '/all', headers: { Authorization: key } });
  if (stream.status !== 200) return stream.status;
  const { data } = JSON.parse((await stream.next()).data);
  stream.close();
  return data.flags.whose.variations[0];
}

test('a stream that opens after a correction begins with its own data, although one of the wrong key is still open', async () => {
  const source = await startSsm();
  const all = (key: string) =>
    readStream({ port: source.relay.port, path: '/all', headers: { Authorization: key } }).then(opened);
  await eventually(async () => expect(await polled(source, wrong)).toBe(wrong));
  const wrongStream = await all(wrong);
  expect((await wrongStream.next()).data).toContain(wrong);
  await source.say(right, mobile, { previous: wrong });
  // LaunchDarkly does not say whose the wrong key is, so its stream goes on in the grace time.
  await wrongStream.until(() => wrongStream.body().includes(right));
  const { data } = await (await all(right)).next();
  expect(data).toContain(right);
  expect(data).not.toContain(wrong);
});

describe.each([
  ['SSM', startSsm],
  ['auto-configuration', startAutoConfig],
])('an SDK key that is corrected in %s', (_name, start) => {
  test.each<[string, Answer]>([
    ['hangs', 'hang'],
    ['sends no data', 'silent'],
    ['answers 401', { status: 401 }],
    ['answers 500', { status: 500 }],
    ['closes the connection', 'cut'],
  ])('opens nothing while LaunchDarkly %s, and then the data of its own environment @heavy', async (_what, trouble) => {
    const source = await start();
    let answer: Answer = trouble;
    answers(source.launchDarkly, () => answer);
    await eventually(async () => expect(await polled(source, wrong)).toBe(wrong));
    await source.say(right);
    const asked = () => source.launchDarkly.requests.filter(({ headers }) => headers.authorization === right).length;
    await eventually(() => expect(asked()).toBeGreaterThan(0));
    // Since LaunchDarkly was asked, the relay knows the key.
    for (let look = 0; look < 20; look++) {
      expect(await polled(source, right)).toBe(503);
      expect(await streamed(source, right)).toBe(503);
    }
    // Existing clients are not affected.
    expect(await polled(source, mobile)).toBe(wrong);

    answer = 'stream';
    source.launchDarkly.cut(({ headers }) => headers.authorization === right);
    await eventually(async () => expect(await polled(source, right)).toBe(right), 90_000);
    expect(await streamed(source, right)).toBe(right);
    expect(await polled(source, mobile)).toBe(right);
  });

  test('never opens other data when LaunchDarkly answers at once, whenever a client asks', async () => {
    const source = await start();
    await eventually(async () => expect(await polled(source, wrong)).toBe(wrong));
    const seen = new Set<string | number>();
    await source.say(right, newMobile);
    await eventually(async () => {
      for (const key of [right, newMobile]) {
        seen.add(await polled(source, key));
        expect([...seen]).not.toContain(wrong);
      }
      expect(await polled(source, newMobile)).toBe(right);
      expect(await streamed(source, right)).toBe(right);
    });
  });

  test('takes the mobile key that comes with it along: 503 until the data is that of the SDK key @heavy', async () => {
    const source = await start();
    let answer: Answer = 'silent';
    answers(source.launchDarkly, () => answer);
    await eventually(async () => expect(await polled(source, mobile)).toBe(wrong));
    await source.say(right, newMobile);
    await eventually(async () => expect(await polled(source, newMobile)).toBe(503));
    for (let look = 0; look < 20; look++) expect(await polled(source, newMobile)).toBe(503);
    answer = 'stream';
    source.launchDarkly.cut(({ headers }) => headers.authorization === right);
    await eventually(async () => expect(await polled(source, newMobile)).toBe(right), 90_000);
  });

  test('opens nothing when it was swapped with that of a second environment while LaunchDarkly hangs, and then its own data @heavy', async () => {
    const source = await start();
    const both = [wrong, right];
    await source.sayBoth(wrong, right);
    await eventually(async () => {
      for (const key of both) expect(await polled(source, key)).toBe(key);
      expect(await polled(source, newMobile)).toBe(right);
    });
    let answer: Answer = 'hang';
    source.launchDarkly.answer = ({ url }) => (url.startsWith('/all') ? answer : 'stream');
    const before = source.launchDarkly.requests.length;
    await source.sayBoth(right, wrong);
    const asked = () => source.launchDarkly.requests.slice(before).map(({ headers }) => headers.authorization);
    const seen = new Map<string, Set<string | number>>(both.map((key) => [key, new Set()]));
    await eventually(async () => {
      for (const [key, answers] of seen) answers.add(await polled(source, key));
      expect(asked()).toEqual(expect.arrayContaining(both));
    });
    // Until the swap is known, a key may have what it had.
    for (const [key, answers] of seen) expect([503, key]).toEqual(expect.arrayContaining([...answers]));
    for (let look = 0; look < 20; look++) {
      for (const key of both) {
        expect(await polled(source, key)).toBe(503);
        expect(await streamed(source, key)).toBe(503);
      }
    }
    expect(await polled(source, mobile)).toBe(wrong);
    expect(await polled(source, newMobile)).toBe(right);

    answer = 'stream';
    source.launchDarkly.cut(({ url }) => url.startsWith('/all'));
    await eventually(async () => {
      for (const key of both) expect(await polled(source, key)).toBe(key);
    }, 90_000);
    for (const key of both) expect(await streamed(source, key)).toBe(key);
    // Mobile keys stay with their environments.
    expect(await polled(source, mobile)).toBe(right);
    expect(await polled(source, newMobile)).toBe(wrong);
  });
});
