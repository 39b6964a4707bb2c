/** Big Segments of an environment that gets another name, another place in stores, or another source of flags. */
import { writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Variables } from '../../relay-task/config/config.ts';
import { hashOf } from '../../relay-task/store/big-segments.ts';
import { startTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { startFakeBigSegments, wirePatch } from '../support/fake-big-segments.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { closeAfterEach } from '../support/opened.ts';
import { hasRedis, startRedis } from '../support/redis.ts';
import { hastyTimings } from '../support/rotating-sources.ts';
import { startSsmServer } from '../support/ssm-server.ts';
import { startTestRelay } from '../support/start-relay.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const own = 'sdk-00000000-0000-0000-0000-00000000000a';
const other = 'sdk-00000000-0000-0000-0000-00000000000b';
const mobile = 'mob-00000000-0000-0000-0000-00000000000a';
const otherMobile = 'mob-00000000-0000-0000-0000-00000000000b';
const environments: Record<string, string> = {
  [own]: 'aaaaaaaaaaaaaaaaaaaaaaaa',
  [other]: 'bbbbbbbbbbbbbbbbbbbbbbbb',
};
const { opened } = closeAfterEach();

const clause = { attribute: '', op: 'segmentMatch', values: ['vip'], negate: false };
const club = {
  ...{ key: 'club', version: 1, on: true, salt: '', offVariation: 1, fallthrough: { variation: 1 } },
  ...{ variations: ['in', 'out'], rules: [{ id: 'r', clauses: [clause], variation: 0 }] },
  clientSideAvailability: { usingEnvironmentId: true, usingMobileKey: true },
};
const vip = { key: 'vip', version: 1, salt: '', unbounded: true, generation: 3, included: [], excluded: [], rules: [] };
const data = { flags: { club }, segments: { vip } };
const membersPatch = (before: string, version: string, ...members: string[]) =>
  wirePatch(
    'vip.g3',
    before,
    version,
    members.map((key) => `+${hashOf(key)}`),
  );

/** Alice, Carol and Dave are in the segment of the key `own`, and Bob is in that of `other`. */
async function start(store: Variables) {
  const bigSegments = opened(await startFakeBigSegments());
  bigSegments.histories.set(own, [membersPatch('', 'a1', 'alice', 'carol', 'dave')]);
  bigSegments.histories.set(other, [membersPatch('', 'b1', 'bob')]);
  const upstream = opened(await startFakeUpstream(data));
  const keyOf = (headers: { authorization?: string | undefined }) => String(headers.authorization);
  upstream.headersFor = ({ headers }) => ({ 'X-LD-EnvID': environments[keyOf(headers)] ?? '' });
  upstream.answer = ({ url }) => (url.startsWith('/big-segments') ? 'silent' : 'stream');
  const ssm = opened(await startSsmServer());
  const put = (name: string, sdkKey: string, mobileKey: string) => {
    ssm.put(`/relay/${name}/mobile-key`, mobileKey);
    ssm.put(`/relay/${name}/sdk-key`, sdkKey);
  };
  const remove = (name: string) => {
    for (const path of [...ssm.parameters.keys()]) if (path.startsWith(`/relay/${name}/`)) ssm.delete(path);
  };
  const relay = async () =>
    opened(
      await startTestRelay(
        {
          ...{ KEYS_FROM_SSM: '/relay', SSM_URL: ssm.endpoint, STREAM_URI: upstream.uri, BASE_URI: bigSegments.uri },
          ...store,
        },
        {
          timings: { ...hastyTimings, bigSegments: { quietMs: 100, patchDrainMs: 100 } },
          secrets: [own, other, mobile, otherMobile],
        },
      ),
    );
  /** What a mobile client is told: `in HEALTHY`; or the status of the answer. */
  const tell =
    ({ uri }: { readonly uri: string }) =>
    async (key: string, mobileKey = mobile): Promise<string> => {
      const context = Buffer.from(JSON.stringify({ kind: 'user', key })).toString('base64url');
      const response = await fetch(`${uri}/msdk/evalx/contexts/${context}?withReasons=true`, {
        headers: { Authorization: mobileKey },
      });
      const text = await response.text();
      if (response.status !== 200) return String(response.status);
      const { value, reason } = JSON.parse(text).club;
      return `${value} ${reason?.bigSegmentsStatus}`;
    };
  return {
    ...{ bigSegments, ssm, put, remove, relay, tell },
    /** LaunchDarkly sends nothing from now on, to all or to one key. */
    silence(sdkKey?: string) {
      const isSilent = (key: string) => sdkKey === undefined || key === sdkKey;
      upstream.answer = ({ url, headers }) =>
        url.startsWith('/big-segments') || isSilent(keyOf(headers)) ? 'silent' : 'stream';
      upstream.cut(({ headers }) => isSilent(keyOf(headers)));
      bigSegments.keys = new Set(sdkKey === undefined ? [] : [other]);
      bigSegments.endStreams(sdkKey);
    },
    speak() {
      bigSegments.keys = undefined;
      upstream.answer = ({ url }) => (url.startsWith('/big-segments') ? 'silent' : 'stream');
      upstream.cut();
    },
    /** The environment whose SDK key this is has this name in `/status`. */
    named: ({ uri }: { readonly uri: string }, name: string) =>
      eventually(async () => {
        const status = (await (await fetch(`${uri}/status`)).json()) as { environments: object };
        expect(Object.keys(status.environments)).toEqual([name]);
      }),
  };
}

/** Every answer until `done` resolves, without repetition. */
async function watch(poll: () => Promise<string>, done: Promise<unknown>): Promise<Set<string>> {
  const seen = new Set<string>();
  let isDone = false;
  void done.finally(() => {
    isDone = true;
  });
  while (!isDone) seen.add(await poll());
  await done;
  return seen;
}

interface OpenedStore {
  readonly variables: Variables;
  cut(): void;
  heal(): void;
}

const stores: Record<string, () => Promise<OpenedStore>> = {
  async DynamoDB() {
    const { tableName, endpoint } = opened(await startTable());
    const proxy = opened(await startTcpProxy(Number(new URL(endpoint).port)));
    const DYNAMODB_URL = `http://127.0.0.1:${proxy.port}`;
    return {
      variables: { USE_DYNAMODB: 'true', DYNAMODB_TABLE: tableName, DYNAMODB_URL },
      ...proxy,
    };
  },
  ...(hasRedis && {
    async Redis() {
      const proxy = opened(await startTcpProxy(opened(await startRedis()).port));
      return {
        variables: { USE_REDIS: 'true', REDIS_HOST: '127.0.0.1', REDIS_PORT: String(proxy.port) },
        ...proxy,
      };
    },
  }),
};

describe.each(Object.keys(stores))('Big Segments in %s', (name) => {
  test('stay what they were while an environment gets another name and LaunchDarkly sends nothing @heavy', async () => {
    const { variables } = await stores[name]!();
    const { put, remove, relay, tell, silence, speak, named, bigSegments } = await start(variables);
    put('shop', own, mobile);
    const one = await relay();
    const told = tell(one);
    await eventually(async () => expect(await told('alice')).toBe('in HEALTHY'));
    silence();
    remove('shop');
    put('store', own, mobile);
    expect(await watch(() => told('alice'), named(one, 'store'))).toEqual(new Set(['in HEALTHY']));
    // Nobody asked about these before.
    expect([await told('carol'), await told('bob')]).toEqual(['in HEALTHY', 'out HEALTHY']);
    expect(await told('alice')).toBe('in HEALTHY');

    bigSegments.histories.set(own, [membersPatch('', 'a1', 'alice', 'carol', 'dave'), membersPatch('a1', 'a2', 'bob')]);
    speak();
    const renewed = eventually(async () => expect(await told('bob')).toBe('in HEALTHY'));
    expect(await watch(() => told('dave'), renewed)).toEqual(new Set(['in HEALTHY']));
  });

  test('are the last known ones when the store cannot be reached either', async () => {
    const { variables, cut, heal } = await stores[name]!();
    const { put, remove, relay, tell, silence, named } = await start(variables);
    put('shop', own, mobile);
    const one = await relay();
    const told = tell(one);
    await eventually(async () => expect(await told('alice')).toBe('in HEALTHY'));
    silence();
    cut();
    for (const next of ['store', 'market']) {
      remove(next === 'store' ? 'shop' : 'store');
      put(next, own, mobile);
      await named(one, next);
      expect(await told('alice')).toBe('in STALE');
    }
    heal();
    await eventually(async () => expect(await told('carol')).toBe('in HEALTHY'));
  });

  test('stay what they were when only the prefix in stores changes @heavy', async () => {
    const { variables } = await stores[name]!();
    const { ssm, put, relay, tell, silence } = await start(variables);
    put('shop', own, mobile);
    const one = await relay();
    const told = tell(one);
    await eventually(async () => expect(await told('alice')).toBe('in HEALTHY'));
    silence();
    ssm.put('/relay/shop/prefix', 'elsewhere', { type: 'String' });
    const moved = eventually(async () => {
      const { environments: all } = (await (await fetch(`${one.uri}/status`)).json()) as {
        environments: Record<string, { stores: readonly { prefix?: string }[] }>;
      };
      expect(JSON.stringify(all)).toContain('elsewhere');
    });
    expect(await watch(() => told('alice'), moved)).toEqual(new Set(['in HEALTHY']));
    expect([await told('carol'), await told('bob')]).toEqual(['in HEALTHY', 'out HEALTHY']);
  });

  test('are never those of an environment that got the former name @heavy', async () => {
    const { variables } = await stores[name]!();
    const { put, remove, relay, tell, silence, named } = await start(variables);
    put('shop', own, mobile);
    const one = await relay();
    const told = tell(one);
    await eventually(async () => expect(await told('alice')).toBe('in HEALTHY'));
    silence(own);
    remove('shop');
    put('store', own, mobile);
    await named(one, 'store');
    put('shop', other, otherMobile);
    const taken = eventually(async () => expect(await told('bob', otherMobile)).toBe('in HEALTHY'));
    const seen = await watch(() => told('bob'), taken);
    for (let look = 0; look < 20; look++) seen.add(await told('bob'));
    expect([...seen].filter((answer) => answer.startsWith('in'))).toEqual([]);
    expect(await told('alice')).toBe('in STALE');
  });

  test('are kept in step once an environment gets its flags from LaunchDarkly instead of a file @heavy', async () => {
    const { variables } = await stores[name]!();
    const { ssm, put, relay, tell, bigSegments } = await start(variables);
    const file = join(await mkdtemp(join(tmpdir(), 'flags-')), 'flags.json');
    writeFileSync(
      file,
      JSON.stringify({ flags: { club: { ...club, variations: ['in the file', 'out'] } }, segments: { vip } }),
    );
    put('shop', own, mobile);
    ssm.put('/relay/shop/flags-file', file, { type: 'String' });
    const told = tell(await relay());
    await eventually(async () => expect(await told('alice')).toContain('out'));
    expect(bigSegments.asked).toEqual([]);
    ssm.delete('/relay/shop/flags-file');
    await eventually(async () => expect(await told('alice')).toBe('in HEALTHY'));
  });

  test('are not those with which a file was evaluated, once the flags come from another environment @heavy', async () => {
    const { variables } = await stores[name]!();
    const { ssm, put, relay, tell } = await start(variables);
    put('shop', own, mobile);
    const first = await relay();
    await eventually(async () => expect(await tell(first)('alice')).toBe('in HEALTHY'));
    await first.close();
    const file = join(await mkdtemp(join(tmpdir(), 'flags-')), 'flags.json');
    writeFileSync(
      file,
      JSON.stringify({ flags: { club: { ...club, variations: ['in the file', 'out'] } }, segments: { vip } }),
    );
    ssm.put('/relay/shop/flags-file', file, { type: 'String' });
    const told = tell(await relay());
    await eventually(async () => expect(await told('alice')).toBe('in the file HEALTHY'));
    put('shop', other, mobile);
    ssm.delete('/relay/shop/flags-file');
    const changed = eventually(async () => expect(await told('bob')).toBe('in HEALTHY'));
    const seen = await watch(() => told('alice'), changed);
    expect([...seen].filter((answer) => /^in (HEALTHY|STALE)/.test(answer))).toEqual([]);
    expect(await told('alice')).toBe('out HEALTHY');
  });
});
