/** An environment's SDK key is corrected or rotated, through a whole relay with Big Segments. */
import { createReader } from '../../lambda/edge-reader/index.ts';
import type { Variables } from '../../relay-task/config/config.ts';
import { hashOf } from '../../relay-task/store/big-segments.ts';
import { startTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { type FakeBigSegments, startFakeBigSegments, wirePatch } from '../support/fake-big-segments.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { type FaultyProxy, startFaultyProxy } from '../support/faulty-proxy.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { hasRedis, startRedis } from '../support/redis.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay } from '../support/start-relay.ts';
import { openTable } from './store/open-stores.ts';

const staging = 'sdk-00000000-0000-0000-0000-00000000000a';
const rotated = 'sdk-00000000-0000-0000-0000-0000000000aa';
const production = 'sdk-00000000-0000-0000-0000-00000000000b';
const mobile = 'mob-00000000-0000-0000-0000-00000000000c';
const environments: Record<string, string> = {
  [staging]: 'aaaaaaaaaaaaaaaaaaaaaaaa',
  [rotated]: 'aaaaaaaaaaaaaaaaaaaaaaaa',
  [production]: 'bbbbbbbbbbbbbbbbbbbbbbbb',
};
const { opened } = closeAfterEach();

const clause = { attribute: '', op: 'segmentMatch', values: ['vip'], negate: false };
const club = (environment: string, version: number) => ({
  ...{ key: 'club', version, on: true, salt: '', offVariation: 1, fallthrough: { variation: 1 } },
  variations: ['in', 'out'].map((word) => `${word} ${environment}`),
  rules: [{ id: 'r', clauses: [clause], variation: 0 }],
  clientSideAvailability: { usingEnvironmentId: true, usingMobileKey: true },
});
const vip = { key: 'vip', version: 1, salt: '', unbounded: true, generation: 3, included: [], excluded: [], rules: [] };
const contextOf = (key: string) => Buffer.from(JSON.stringify({ kind: 'user', key })).toString('base64url');

/** The answers that Alice and Bob may get: `key value bigSegmentsStatus`. With STORE_ERROR, no membership is known, so they are outside. */
const rightAnswers: ReadonlySet<string> = (() => {
  const [a, b] = [environments[staging], environments[production]];
  const known = [`alice in ${a}`, `bob out ${a}`, `alice out ${b}`, `bob in ${b}`];
  return new Set([
    ...known.flatMap((told) => [`${told} HEALTHY`, `${told} STALE`]),
    ...[`alice out ${b} STORE_ERROR`, `bob out ${b} STORE_ERROR`],
  ]);
})();

interface Told {
  readonly value: string;
  readonly reason?: { readonly bigSegmentsStatus?: string };
}

/** The same segment has Alice in staging, and Bob in production. LaunchDarkly names the environments of `named` keys only. */
async function start(
  store: Variables,
  bigSegments: FakeBigSegments,
  { sdkKey = staging, named = Object.keys(environments) } = {},
) {
  const ofStaging = [wirePatch('vip.g3', '', 'a1', [`+${hashOf('alice')}`])];
  for (const key of [staging, rotated]) bigSegments.histories.set(key, ofStaging);
  bigSegments.histories.set(production, [wirePatch('vip.g3', '', 'b1', [`+${hashOf('bob')}`])]);
  const upstream = opened(await startFakeUpstream());
  const keyOf = (headers: { authorization?: string | undefined }) => String(headers.authorization);
  upstream.answer = ({ url }) => (url.startsWith('/big-segments') ? 'silent' : 'stream');
  upstream.dataFor = ({ headers }) => ({
    flags: { club: club(environments[keyOf(headers)]!, keyOf(headers) === production ? 2 : 1) },
    segments: { vip },
  });
  upstream.headersFor = ({ headers }): Record<string, string> =>
    named.includes(keyOf(headers)) ? { 'X-LD-EnvID': environments[keyOf(headers)]! } : {};
  const ssm = opened(await startSsmServer());
  ssm.put('/relay/shop/sdk-key', sdkKey);
  ssm.put('/relay/shop/mobile-key', mobile);
  const relay = opened(
    await startTestRelay(
      {
        ...{ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: upstream.uri, BASE_URI: bigSegments.uri },
        ...store,
      },
      {
        timings: { ...hastyTimings, bigSegments: { quietMs: 300, patchDrainMs: 100 } },
        secrets: [...Object.keys(environments), mobile],
      },
    ),
  );
  /** Undefined: 503. */
  async function poll(key: string): Promise<Told | undefined> {
    const response = await fetch(`${relay.uri}/msdk/evalx/contexts/${contextOf(key)}?withReasons=true`, {
      headers: { Authorization: mobile },
    });
    const text = await response.text();
    return response.status === 200 ? JSON.parse(text).club : undefined;
  }
  const is = (key: string, value: string) =>
    eventually(async () => expect(await poll(key)).toMatchObject({ value, reason: { bigSegmentsStatus: 'HEALTHY' } }));
  const stream = async (key: string) =>
    opened(
      await readStream({
        port: relay.port,
        path: `/meval/${contextOf(key)}`,
        headers: { Authorization: mobile },
      }),
    );
  return { relay, ssm, upstream, poll, is, stream };
}

const stores: Record<string, () => Promise<Variables>> = {
  async DynamoDB() {
    const { tableName, endpoint } = opened(await startTable());
    return { USE_DYNAMODB: 'true', DYNAMODB_TABLE: tableName, DYNAMODB_URL: endpoint };
  },
  ...(hasRedis && {
    async Redis() {
      return { USE_REDIS: 'true', REDIS_HOST: '127.0.0.1', REDIS_PORT: String(opened(await startRedis()).port) };
    },
  }),
};

describe.each(Object.keys(stores))('with a store in %s', (name) => {
  test("after an SDK key was corrected, no client ever sees the other environment's membership @heavy", async () => {
    const bigSegments = opened(await startFakeBigSegments());
    const { ssm, poll, is, stream } = await start(await stores[name]!(), bigSegments);
    const [a, b] = [environments[staging], environments[production]];
    await is('alice', `in ${a}`);
    await is('bob', `out ${a}`);
    const open = await stream('alice');
    expect(JSON.parse((await open.next()).data).club).toMatchObject({ value: `in ${a}` });

    const seen = new Set<string>();
    let watching = true;
    const watch = (async () => {
      while (watching) {
        for (const key of ['alice', 'bob']) {
          const told = await poll(key);
          if (told) seen.add(`${key} ${told.value} ${told.reason?.bigSegmentsStatus}`);
        }
      }
    })();
    // It watches the change, and neither sees only one side of it.
    const bothSaw = (...told: string[]) =>
      eventually(() => expect([...seen]).toEqual(expect.arrayContaining(told.map((one) => `${one} HEALTHY`))));
    await bothSaw(`alice in ${a}`, `bob out ${a}`);
    ssm.put('/relay/shop/sdk-key', production);
    await is('bob', `in ${b}`);
    await is('alice', `out ${b}`);
    await bothSaw(`alice out ${b}`, `bob in ${b}`);
    watching = false;
    await watch;
    expect([...seen].filter((told) => !rightAnswers.has(told))).toEqual([]);
    expect(open.events.filter(({ data }) => data.includes(`in ${b}`))).toEqual([]);
    expect(JSON.parse((await (await stream('alice')).next()).data).club).toMatchObject({ value: `out ${b}` });
    const ofProduction = bigSegments.asked.filter(({ key, url }) => key === production && url.startsWith('/sdk/'));
    expect(ofProduction.map(({ url }) => url)[0]).toBe('/sdk/big-segments/revisions');
    expect(ofProduction.filter(({ url }) => url.endsWith('after=a1'))).toEqual([]);
  });
});

test("a relay that starts beside another SDK key's flags does not take the members there for its own, although they are unnamed @heavy", async () => {
  const bigSegments = opened(await startFakeBigSegments());
  const store = await stores.DynamoDB!();
  const before = await start(store, bigSegments, { named: [] });
  await before.is('alice', `in ${environments[staging]}`);
  await before.relay.close();
  const { is, poll } = await start(store, bigSegments, { sdkKey: production });
  const seen = new Set<string>();
  const b = environments[production];
  await eventually(async () => {
    for (const key of ['alice', 'bob']) {
      const told = await poll(key);
      if (told) seen.add(`${key} ${told.value} ${told.reason?.bigSegmentsStatus}`);
    }
    expect(seen).toContain(`bob in ${b} HEALTHY`);
  });
  await is('alice', `out ${b}`);
  expect([...seen].filter((told) => !rightAnswers.has(told))).toEqual([]);
});

test('after a rotation within one environment nothing is deleted or loaded again', async () => {
  const bigSegments = opened(await startFakeBigSegments());
  const table = opened(await startTable());
  const proxy: FaultyProxy = opened(await startFaultyProxy(table.endpoint));
  const store = { USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: proxy.endpoint };
  const { ssm, is, poll } = await start(store, bigSegments);
  const a = environments[staging];
  await is('alice', `in ${a}`);
  proxy.passed.length = 0;
  ssm.put('/relay/shop/sdk-key', rotated);
  await eventually(() => expect(bigSegments.asked.some(({ key }) => key === rotated)).toBe(true));
  await eventually(async () => expect((await poll('alice'))?.reason?.bigSegmentsStatus).toBe('HEALTHY'));
  const polls = bigSegments.asked.filter(({ key, url }) => key === rotated && url.startsWith('/sdk/'));
  expect(new Set(polls.map(({ url }) => url))).toEqual(new Set(['/sdk/big-segments/revisions?after=a1']));
  const members = proxy.passed.filter(({ namespace }) => namespace.endsWith('big_segments_user'));
  expect(members.filter(({ operation }) => operation !== 'GetItem')).toEqual([]);
  const stored = opened(await openTable(table));
  expect(Object.keys(await stored.rows('shop:big_segments_user'))).toEqual([hashOf('alice')]);
});

test("after an SDK key was corrected, the edge reader never uses the other environment's membership @heavy", async () => {
  const bigSegments = opened(await startFakeBigSegments());
  const { tableName, endpoint } = opened(await startTable());
  const store = { USE_DYNAMODB: 'true', DYNAMODB_TABLE: tableName, DYNAMODB_URL: endpoint };
  const { ssm, is } = await start(store, bigSegments);
  const [a, b] = [environments[staging], environments[production]];
  await is('alice', `in ${a}`);
  let nowMs = Date.now();
  const reader = createReader(
    {
      ...{ tableName, endpoint, prefix: 'shop', replicas: { default: ['us-east-1'] }, coldDeadlineMs: 10_000 },
      ...{ refreshMs: 1, maxWaitMs: 10_000 },
    },
    { env: { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' }, now: () => nowMs },
  );
  const ask = async (key: string) => {
    // No longer than memberships are remembered, in every second question longer.
    nowMs += key === 'alice' ? 5_001 : 2;
    const { value, reason } = await reader.variationDetail('club', { kind: 'user', key }, null);
    return { value, status: reason.bigSegmentsStatus };
  };
  await eventually(async () => expect(await ask('alice')).toMatchObject({ value: `in ${a}`, status: 'HEALTHY' }));

  const seen = new Set<string>();
  ssm.put('/relay/shop/sdk-key', production);
  await eventually(async () => {
    const [alice, bob] = [await ask('alice'), await ask('bob')];
    for (const [key, { value, status }] of Object.entries({ alice, bob })) seen.add(`${key} ${value} ${status}`);
    expect([alice.value, bob]).toMatchObject([`out ${b}`, { value: `in ${b}` }]);
  });
  expect([...seen].filter((told) => !rightAnswers.has(told))).toEqual([]);
  expect(seen).toContain(`alice out ${b} STORE_ERROR`);
});
