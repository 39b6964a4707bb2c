/** An SDK key keeps its data when its environment gets another name, even while LaunchDarkly cannot be reached. */
import { eventually } from '../support/eventually.ts';
import { environmentRep, startFakeAutoConfig } from '../support/fake-auto-config.ts';
import { type Answer, type FakeUpstream, startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { autoConfigKey, hastyTimings } from '../support/rotating-sources.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const key = 'sdk-00000000-0000-0000-0000-00000000000a';
const otherKey = 'sdk-00000000-0000-0000-0000-00000000000b';
const mobile = 'mob-00000000-0000-0000-0000-00000000000a';
const context = Buffer.from('{"kind":"user","key":"u"}').toString('base64url');
const { opened } = closeAfterEach();

const flagOf = (whose: string, version: number) => ({
  key: 'whose',
  version,
  on: false,
  offVariation: 0,
  variations: [whose],
  salt: '',
  clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
});

interface Keys {
  readonly sdkKey: string;
  readonly mobileKey: string;
  readonly previous?: string;
}

/** What the environments of a source are; names are folders in SSM and client-side IDs in auto-configuration. */
interface Source {
  readonly launchDarkly: FakeUpstream;
  readonly relay: TestRelay;
  readonly names: readonly [string, string];
  put(name: string, keys: Keys): Promise<void>;
  remove(name: string): Promise<void>;
  /** Only in SSM: a folder with a setting and without keys. */
  prepare?(name: string): Promise<void>;
  /** Both at once. */
  rename(keys: Keys): Promise<void>;
}

/** One flag that names the key, and the payload filter if one is asked for. */
function serveEachKey(launchDarkly: FakeUpstream): void {
  const before = launchDarkly.dataFor;
  launchDarkly.dataFor = (request) => {
    const filter = new URL(request.url, launchDarkly.uri).searchParams.get('filter');
    const whose = [request.headers.authorization, filter].filter(Boolean).join('/');
    return before(request) ?? { flags: { whose: flagOf(whose, 5) }, segments: {} };
  };
}

const start = async (variables: Record<string, string>) =>
  opened(await startTestRelay(variables, { timings: hastyTimings, secrets: [key, otherKey, mobile] }));

async function startSsm(): Promise<Source> {
  const launchDarkly = opened(await startFakeUpstream());
  serveEachKey(launchDarkly);
  const ssm = opened(await startSsmServer());
  const put: Source['put'] = async (name, { sdkKey, mobileKey, previous }) => {
    ssm.put(`/relay/${name}/filters`, 'red', { type: 'String' });
    ssm.put(`/relay/${name}/mobile-key`, mobileKey);
    if (previous !== undefined) {
      ssm.put(`/relay/${name}/previous-sdk-key`, previous);
      ssm.put(`/relay/${name}/previous-sdk-key-until`, new Date(Date.now() + 3_600_000).toISOString());
    }
    ssm.put(`/relay/${name}/sdk-key`, sdkKey);
  };
  await put('shop', { sdkKey: key, mobileKey: mobile });
  const relay = await start({ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: launchDarkly.uri });
  const remove: Source['remove'] = async (name) => {
    for (const path of [...ssm.parameters.keys()]) if (path.startsWith(`/relay/${name}/`)) ssm.delete(path);
  };
  return {
    ...{ launchDarkly, relay, put, remove, names: ['shop', 'store'] },
    prepare: async (name) => ssm.put(`/relay/${name}/ttl`, '1s'),
    async rename(keys) {
      await remove('shop');
      await put('store', keys);
    },
  };
}

async function startAutoConfig(): Promise<Source> {
  const names = ['aaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbb'] as const;
  const record = (name: string, { sdkKey, mobileKey, previous }: Keys) =>
    environmentRep(name, 1, {
      mobKey: mobileKey,
      sdkKey: {
        value: sdkKey,
        ...(previous !== undefined && { expiring: { value: previous, timestamp: Date.now() + 3_600_000 } }),
      },
    });
  const fake = opened(await startFakeAutoConfig(record(names[0], { sdkKey: key, mobileKey: mobile })));
  fake.filters.f = { projKey: 'shop', key: 'red', version: 1 };
  const { upstream: launchDarkly } = fake;
  serveEachKey(launchDarkly);
  const relay = await start({ AUTO_CONFIG_KEY: autoConfigKey, STREAM_URI: launchDarkly.uri });
  return {
    ...{ launchDarkly, relay, names },
    put: (name, keys) => fake.patch(record(name, keys)),
    remove: (name) => fake.delete('environments', name, 2),
    rename(keys) {
      delete fake.environments[names[0]];
      fake.environments[names[1]] = record(names[1], keys);
      return fake.put();
    },
  };
}

/** Whose data a client with this credential gets, or the status. */
async function polled({ relay }: Source, credential: string, filter = ''): Promise<string | number> {
  const path = credential.startsWith('sdk-') ? '/sdk/latest-all' : `/msdk/evalx/contexts/${context}`;
  const response = await fetch(`${relay.uri}${path}${filter && `?filter=${filter}`}`, {
    headers: { Authorization: credential },
  });
  const text = await response.text();
  if (response.status !== 200) return response.status;
  const { flags, whose } = JSON.parse(text);
  return whose?.value ?? flags.whose.variations[0];
}

/** Of the environments in `/status`. */
async function namesIn({ relay }: Source): Promise<string[]> {
  const { environments } = (await (await fetch(`${relay.uri}/status`)).json()) as { environments: object };
  return Object.entries(environments).map(([name, { envId = name }]) => envId);
}

/** From now on LaunchDarkly answers so to all SDK keys, while auto-configuration goes on. */
function answerAll({ launchDarkly }: Source, answer: Answer = 'silent'): void {
  launchDarkly.answer = ({ url }) => (url.startsWith('/all') ? answer : 'stream');
  launchDarkly.cut(({ url }) => url.startsWith('/all'));
}

describe.each([
  ['SSM', startSsm],
  ['auto-configuration', startAutoConfig],
])('an environment that gets another name in %s while LaunchDarkly sends nothing', (_name, open) => {
  let source: Source;
  let before: string;
  let after: string;
  beforeEach(async () => {
    source = await open();
    [before, after] = source.names;
    await eventually(async () => expect(await polled(source, key)).toBe(key));
    await eventually(async () => expect(await polled(source, key, 'red')).toBe(`${key}/red`));
    answerAll(source);
  });

  test('keeps its data for all its credentials and payload filters, and reconnects to LaunchDarkly later @heavy', async () => {
    const stream = await readStream({ port: source.relay.port, path: '/all', headers: { Authorization: key } });
    expect((await stream.next()).event).toBe('put');
    await source.rename({ sdkKey: key, mobileKey: mobile });
    expect(await stream.ended).toBe('clean');
    await eventually(async () => expect(await polled(source, key)).toBe(key));
    expect(await polled(source, mobile)).toBe(key);
    expect(await polled(source, key, 'red')).toBe(`${key}/red`);
    const next = await readStream({ port: source.relay.port, path: '/all', headers: { Authorization: key } });
    expect((await next.next()).data).toContain(key);

    expect(await namesIn(source)).not.toContain(before);

    answerAll(source, 'stream');
    const ofKey = ({ url, headers }: { url: string; headers: { authorization?: string } }) =>
      url === '/all' && headers.authorization === key;
    // A patch on a stream that has not begun with its put says nothing.
    await eventually(async () => {
      await source.launchDarkly.patch('flags', flagOf('a change', 6), { to: ofKey });
      expect(await polled(source, key)).toBe('a change');
    });
  });

  test('has its data although it had the new name beside the old one for a while @heavy', async () => {
    await source.put(after, { sdkKey: key, mobileKey: mobile });
    await eventually(async () => expect(await namesIn(source)).toContain(after));
    expect(await polled(source, key)).toBe(key);
    await source.remove(before);
    // A change that takes longer than a slice of the event loop is in force a moment later.
    for (let look = 0; look < 20; look++) expect([key, 503]).toContain(await polled(source, key));
    await eventually(async () => expect(await polled(source, key)).toBe(key));
    expect(await polled(source, mobile)).toBe(key);
  });

  test('opens nothing of it for another SDK key that comes with the new name @heavy', async () => {
    await source.rename({ sdkKey: otherKey, mobileKey: mobile });
    await eventually(async () => expect(await polled(source, otherKey)).toBe(503));
    for (let look = 0; look < 20; look++) {
      expect(await polled(source, otherKey)).toBe(503);
      expect(await polled(source, otherKey, 'red')).toBe(503);
    }
    await eventually(async () => expect(await polled(source, mobile)).toBe(503));
  });

  test('and another SDK key in the same moment keeps its data for the key before, in its grace time @heavy', async () => {
    await source.rename({ sdkKey: otherKey, mobileKey: mobile, previous: key });
    await eventually(async () => expect(await namesIn(source)).toContain(after));
    expect(await polled(source, key)).toBe(key);
    expect(await polled(source, mobile)).toBe(key);
    expect(await polled(source, otherKey)).toBe(503);
    answerAll(source, 'stream');
    await eventually(async () => expect(await polled(source, otherKey)).toBe(otherKey));
  });
});

test('an environment whose new folder existed before its keys keeps its data while LaunchDarkly sends nothing @heavy', async () => {
  const source = await startSsm();
  await eventually(async () => expect(await polled(source, key)).toBe(key));
  answerAll(source);
  await source.prepare?.('store');
  await eventually(async () => expect(await namesIn(source)).toContain('store'));
  await source.rename({ sdkKey: key, mobileKey: mobile });
  await eventually(async () => expect(await namesIn(source)).not.toContain('shop'));
  expect(await polled(source, key)).toBe(key);
});

test('what LaunchDarkly said about the environment of a key holds under another name: client-side IDs of others get 503 @heavy', async () => {
  const [right, foreign] = ['aaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbb'];
  const launchDarkly = opened(await startFakeUpstream());
  serveEachKey(launchDarkly);
  launchDarkly.headersFor = () => ({ 'X-LD-EnvID': foreign });
  const ssm = opened(await startSsmServer());
  const put = (name: string) => {
    ssm.put(`/relay/${name}/sdk-key`, key);
    ssm.put(`/relay/${name}/mobile-key`, mobile);
    ssm.put(`/relay/${name}/client-side-id`, right, { type: 'String' });
  };
  put('shop');
  const relay = await start({ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: launchDarkly.uri });
  const source = { relay } as Source;
  await eventually(async () => expect(await polled(source, key)).toBe(key));
  expect(await polled(source, mobile)).toBe(503);
  launchDarkly.answer = 'silent';
  launchDarkly.cut();
  for (const path of [...ssm.parameters.keys()]) ssm.delete(path);
  put('store');
  const environments = async () =>
    Object.keys(((await (await fetch(`${relay.uri}/status`)).json()) as { environments: object }).environments);
  await eventually(async () => expect(await environments()).toEqual(['store']));
  expect(await polled(source, key)).toBe(key);
  for (let look = 0; look < 20; look++) expect(await polled(source, mobile)).toBe(503);
});
