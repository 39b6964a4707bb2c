/**
 * The PHP SDK's protocol, by a client that makes the same requests: one per flag and segment, through an HTTP cache, with the
 * headers of its `GuzzleFeatureRequester` and `GuzzleEventPublisher`.
 */
import { request } from 'node:http';
import { eventually } from '../support/eventually.ts';
import { clientSideEnvironment, edited } from './client-side.ts';
import { type EventsRecorder, startEventsRecorder } from './events-recorder.ts';
import { type Site, sdkKey, startSite } from './site.ts';

let site: Site | undefined;
let launchDarkly: EventsRecorder | undefined;
afterEach(async () => {
  await site?.close();
  await launchDarkly?.close();
  launchDarkly = undefined;
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

interface PhpClient {
  /** As the SDK does: undefined for a 404; throws for any other unexpected status. */
  get(path: string): Promise<unknown>;
  publish(events: unknown[], headers: Record<string, string>): Promise<number>;
  /** The status of each response, oldest first; a fresh cache entry makes no request. */
  readonly asked: readonly number[];
}

function createPhpClient(uri: string, key = sdkKey): PhpClient {
  const cache = new Map<string, Answer & { readonly at: number }>();
  const asked: number[] = [];
  const always = { Authorization: key, 'Content-Type': 'application/json', 'User-Agent': 'PHPClient/6.9.0' };
  const send = (method: string, path: string, headers: Record<string, string>, body?: string) =>
    new Promise<Answer>((resolve, reject) => {
      const asking = request(`${uri}${path}`, { method, headers: { ...always, ...headers } }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => {
          asked.push(response.statusCode ?? 0);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
        });
      });
      asking.on('error', reject);
      asking.end(body);
    });
  return {
    asked,
    async get(path) {
      const held = cache.get(path);
      const [, age] = /max-age=(\d+)/.exec(String(held?.headers['cache-control'])) ?? [];
      if (held && age !== undefined && Date.now() - held.at < Number(age) * 1_000) return JSON.parse(held.body);
      const tag = held?.headers.etag;
      const answer = await send('GET', path, typeof tag === 'string' ? { 'If-None-Match': tag } : {});
      if (answer.status === 304 && held) return JSON.parse(held.body);
      if (answer.status === 404) return undefined;
      if (answer.status !== 200) throw new Error(`unexpected status ${answer.status}`);
      cache.set(path, { ...answer, at: Date.now() });
      return JSON.parse(answer.body);
    },
    async publish(events, headers) {
      return (await send('POST', '/bulk', { Accept: 'application/json', ...headers }, JSON.stringify(events))).status;
    },
  };
}

const data = clientSideEnvironment();

test('a PHP client gets every flag and segment with all that LaunchDarkly sent, all flags at once, and nothing for an unknown key', async () => {
  site = await startSite(data);
  const php = createPhpClient(site.uri);
  for (const [key, flag] of Object.entries(data.flags))
    expect(await php.get(`/sdk/flags/${key}`)).toMatchObject(flag as object);
  for (const [key, segment] of Object.entries(data.segments)) {
    expect(await php.get(`/sdk/segments/${key}`)).toMatchObject(segment as object);
  }
  expect(await php.get('/sdk/flags')).toMatchObject(data.flags);
  expect(await php.get('/sdk/flags/nothing')).toBeUndefined();
  expect(await php.get('/sdk/segments/nothing')).toBeUndefined();
  await expect(createPhpClient(site.uri, 'sdk-wrong').get('/sdk/flags')).rejects.toThrow('401');
});

test("a PHP client's cache gets 304 until an item changes, also after a restart of the relay, and then the item @heavy", async () => {
  site = await startSite(data);
  const php = createPhpClient(site.uri);
  const paths = ['/sdk/flags', '/sdk/flags/retired', '/sdk/segments/friends'];
  const all = async () => {
    for (const path of paths) await php.get(path);
    return php.asked.slice(-paths.length);
  };
  expect(await all()).toEqual([200, 200, 200]);
  expect(await all()).toEqual([304, 304, 304]);
  await site.stop();
  await site.start();
  expect(await all()).toEqual([304, 304, 304]);
  const next = edited('flags', 'retired', { on: true, version: 2 });
  await site.upstream.patch('flags', next);
  await eventually(async () => expect(await php.get('/sdk/flags/retired')).toMatchObject(next));
  expect(await all()).toEqual([200, 304, 304]);
  expect(await php.get('/sdk/flags')).toMatchObject({ ...data.flags, retired: next });
  await site.upstream.delete('flags', 'retired', 3);
  await eventually(async () => expect(await php.get('/sdk/flags/retired')).toBeUndefined());
});

test('a PHP client makes no request for an item within its time to live', async () => {
  site = await startSite(data, { LD_TTL_interop: '1m' });
  const php = createPhpClient(site.uri);
  const flag = await php.get('/sdk/flags/retired');
  expect(await php.get('/sdk/flags/retired')).toEqual(flag);
  expect(php.asked).toEqual([200]);
});

describe('events of a PHP client', () => {
  const feature = (more: Record<string, unknown>) => ({
    ...{ kind: 'feature', key: 'retired', value: 'off', variation: 0, version: 1, default: 'x', ...more },
  });

  async function published(events: unknown[], headers: Record<string, string>) {
    const recorder = await startEventsRecorder();
    launchDarkly = recorder;
    // Only the SDK's events are of interest here.
    const silent = { DISABLE_INTERNAL_USAGE_METRICS: 'true' };
    const variables = { USE_EVENTS: 'true', EVENTS_HOST: recorder.uri, EVENTS_FLUSH_INTERVAL: '100ms', ...silent };
    site = await startSite(data, variables);
    expect(await createPhpClient(site.uri).publish(events, headers)).toBe(202);
    await eventually(() => expect(recorder.requests.length).toBeGreaterThan(0));
    expect(recorder.requests).toHaveLength(1);
    const { path, headers: sent, events: arrived } = recorder.requests[0]!;
    expect({ path, key: sent.authorization, schema: sent['x-launchdarkly-event-schema'] }).toEqual({
      ...{ path: '/bulk', key: sdkKey, schema: '4' },
    });
    return arrived;
  }

  const summaryOf = (events: readonly Record<string, unknown>[]) => events.find(({ kind }) => kind === 'summary');

  test.each([
    ['of schema 2', 'user', { key: 'u' }, { 'X-LaunchDarkly-Event-Schema': '2' }],
    [
      'of schema 4 that are not summarised',
      'context',
      { kind: 'user', key: 'u' },
      { 'X-LaunchDarkly-Event-Schema': '4', 'X-LaunchDarkly-Unsummarized': 'true' },
    ],
  ] as const)('%s are summarised by the relay', async (_title, name, who, headers) => {
    const arrived = await published(
      [
        feature({ creationDate: 1_000, [name]: who }),
        feature({ creationDate: 2_000, [name]: who }),
        feature({ creationDate: 3_000, [name]: who, key: 'nothing', value: 'x', variation: null, version: undefined }),
        { kind: 'custom', key: 'bought', creationDate: 4_000, [name]: who, metricValue: 3 },
      ],
      headers,
    );
    expect(arrived.map(({ kind }) => kind).sort()).toEqual(['custom', 'index', 'summary']);
    expect(summaryOf(arrived)).toEqual({
      ...{ kind: 'summary', startDate: 1_000, endDate: 3_000 },
      features: {
        retired: {
          ...{ default: 'x', contextKinds: ['user'] },
          counters: [{ variation: 0, version: 1, value: 'off', count: 2 }],
        },
        nothing: { default: 'x', contextKinds: ['user'], counters: [{ unknown: true, value: 'x', count: 1 }] },
      },
    });
  });

  test('of schema 4 are forwarded unchanged', async () => {
    const events = [
      { kind: 'identify', creationDate: 1, context: { kind: 'user', key: 'u' }, future: { field: 1 } },
      { kind: 'summary', startDate: 1, endDate: 2, features: {} },
    ];
    expect(await published(events, { 'X-LaunchDarkly-Event-Schema': '4' })).toEqual(events);
  });
});
