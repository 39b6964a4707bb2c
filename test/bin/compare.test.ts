/** The command that compares two relays, on real relays and on servers that answer as ld-relay does. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parseArguments } from '../../bin/compare/arguments.ts';
import { firstPut, type NoAnswer } from '../../bin/compare/ask.ts';
import { compareItems, servedIn } from '../../bin/compare/items.ts';
import { fitsShown, pairUp } from '../../bin/compare/pairs.ts';
import { statusOf } from '../../bin/compare/relay-status.ts';
import { runCompare } from '../../bin/compare/run.ts';
import { statusChecks } from '../../bin/compare/status-checks.ts';
import { createOutbound } from '../../relay-task/upstream/outbound.ts';
import { createAuthority } from '../support/authority.ts';
import { eventually, until } from '../support/eventually.ts';
import { type FakeUpstream, type FlagData, startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData, segmentData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';
import recorded from './compare/recorded.json' with { type: 'json' };
import { environmentId, mobileKey, type OldRelay, sdkKey, startOldRelay, startStandIn } from './compare/stand-in.ts';

const { opened, behind } = closeAfterEach();
const root = join(import.meta.dirname, '../..');

const visible = { clientSide: true, clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } };
const hidden = { clientSideAvailability: { usingMobileKey: false, usingEnvironmentId: false } };
const data = (flags: readonly object[], segments: readonly object[] = []): FlagData => {
  const byKey = (items: readonly object[]) =>
    Object.fromEntries(items.map((item) => [(item as { key: string }).key, item]));
  return { flags: byKey(flags), segments: byKey(segments) };
};
const twoFlags = () => data([flagData('a', 3, visible), flagData('b', 1, visible)], [segmentData('s', 2)]);

const keys = { LD_ENV_Shop: sdkKey, LD_MOBILE_KEY_Shop: mobileKey, LD_CLIENT_SIDE_ID_Shop: environmentId };
const status8 = recorded['8.10.1'].status;

interface Compared {
  readonly exitCode: number;
  readonly printed: string;
  readonly said: string;
  /** In ms of a clock that only pauses move. */
  readonly waitedMs: number;
}

/** Time passes only in pauses. */
async function compare(
  old: { readonly uri: string },
  fresh: { readonly uri: string },
  {
    args = [],
    env = keys,
    onPause,
    maxBytes,
  }: {
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly onPause?: () => unknown;
    readonly maxBytes?: number;
  } = {},
): Promise<Compared> {
  let [printed, said, now] = ['', '', 0];
  const exitCode = await runCompare([old.uri, fresh.uri, ...args], {
    out: (text) => (printed += text),
    say: (text) => (said += text),
    env,
    async pause(ms) {
      now += ms;
      await onPause?.();
    },
    now: () => now,
    ...(maxBytes !== undefined && { maxBytes }),
  });
  for (const key of [sdkKey, mobileKey]) expect(printed + said).not.toContain(key);
  return { exitCode, printed, said, waitedMs: now };
}

async function startRelay(
  variables: Readonly<Record<string, string>> = keys,
  served = twoFlags(),
): Promise<TestRelay & { upstream: FakeUpstream }> {
  const upstream = opened(await startFakeUpstream(served));
  const relay = opened(await startTestRelay({ ...variables, STREAM_URI: upstream.uri, BASE_URI: upstream.uri }));
  await relay.initialized();
  return Object.assign(relay, { upstream });
}

const answersOf = (...flags: readonly string[]) => {
  const answer = Object.fromEntries(flags.map((key) => [key, { value: true, variation: 0, version: 1 }]));
  return Object.fromEntries(['compare-1', 'compare-2', 'compare-3'].map((context) => [context, answer]));
};

async function oldRelay(more: Partial<OldRelay> = {}) {
  return opened(await startOldRelay({ status: status8, data: twoFlags(), answers: answersOf('a', 'b'), ...more }));
}

describe('two relays that serve the same', () => {
  test('are found to be the same, whichever product the old one is @heavy', async () => {
    const [old, fresh] = [await oldRelay(), await startRelay()];
    expect(await compare(old, fresh)).toEqual({
      exitCode: 0,
      said: '',
      waitedMs: 0,
      printed: [
        `old relay: ${old.uri} (ld-relay 8.10.1, healthy, 1 environment)`,
        `new relay: ${fresh.uri} (edge-flag-relay 0.0.0-test, healthy, 1 environment)`,
        '',
        '✓ Shop: the same 2 flags and 1 segment, and 6 evaluations with the same values',
        '',
        'The relays serve the same: 1 environment.',
        '',
      ].join('\n'),
    });
    expect(await compare(fresh, fresh)).toMatchObject({ exitCode: 0, said: '' });
  });

  test('are asked once for what has not changed, and compressed answers are read @heavy', async () => {
    const many = data(Array.from({ length: 50 }, (_, index) => flagData(`flag-${index}`, 1, visible)));
    const [fresh, other] = [await startRelay(keys, many), await startRelay(keys, data([]))];
    const statuses: string[] = [];
    const between = opened(
      await startStandIn((request, response) => {
        const { authorization, 'if-none-match': etag, 'accept-encoding': encoding } = request.headers;
        const headers = {
          ...(authorization && { authorization }),
          ...(etag && { 'if-none-match': etag }),
          'accept-encoding': String(encoding),
        };
        // As a proxy does it, byte by byte.
        http
          .request(`${fresh.uri}${request.url}`, { method: request.method, headers }, (answer) => {
            statuses.push(`${request.url} ${answer.statusCode} ${answer.headers['content-encoding']}`);
            answer.pipe(response.writeHead(answer.statusCode ?? 0, answer.headers));
          })
          .end();
      }),
    );
    const { exitCode } = await compare(between, other, { args: ['--wait', '1s'] });
    expect(exitCode).toBe(1);
    expect(statuses.filter((text) => text.startsWith('/sdk/latest-all'))).toEqual([
      '/sdk/latest-all 200 gzip',
      '/sdk/latest-all 304 undefined',
      '/sdk/latest-all 304 undefined',
    ]);
  });
});

describe('a difference', () => {
  test('is named with its versions and values, for flags, segments and clients', async () => {
    const old = await oldRelay();
    const served = data(
      [flagData('a', 4, { ...visible, fallthrough: { variation: 1 } }), flagData('c', 1, hidden)],
      [segmentData('s', 2, { included: ['alice'] })],
    );
    const { exitCode, printed, waitedMs } = await compare(old, await startRelay(keys, served), {
      args: ['--wait', '2s', '--show', '3'],
    });
    expect(exitCode).toBe(1);
    expect(waitedMs).toBe(2_000);
    const lines = printed.split('\n').slice(3);
    expect(lines).toEqual(
      expect.arrayContaining([
        '✗ Shop: 4 differences among 2 flags and 1 segment',
        '    flag a: version 3 on the old relay, 4 on the new: compare-1 gets false instead of true; and 2 more contexts',
        '    flag b: version 1 is only on the old relay',
        '    flag c: version 1 is only on the new relay',
        '    and 1 more: pass --show 4, or --json',
        'The relays do not serve the same: 1 of 1 environment differs.',
      ]),
    );
    // The fourth.
    expect(printed).not.toContain('segment s:');
  });

  test('of values alone is told by context: the flags are the same, and something else is not', async () => {
    const answers = answersOf('a', 'b');
    const old = await oldRelay({
      answers: { ...answers, 'compare-2': { ...answers['compare-2'], b: { value: 'x', variation: 0 } } },
    });
    const { exitCode, printed } = await compare(old, await startRelay(), { args: ['--wait', '0s'] });
    expect(exitCode).toBe(1);
    expect(printed).toContain('\n    value of flag b: compare-2 (browsers) gets true instead of "x"\n');
    expect(printed).toContain('\n    value of flag b: compare-2 (mobile SDKs) gets true instead of "x"\n');
    const without = await oldRelay({ answers: { ...answers, 'compare-1': { a: { value: true, variation: 1 } } } });
    const { printed: more } = await compare(without, await startRelay(), { args: ['--wait', '0s'] });
    expect(more).toContain('value of flag a: compare-1 (browsers) gets variation 0 instead of 1\n');
    expect(more).toContain('value of flag b: compare-1 (browsers) gets it only from the new relay\n');
  });

  test('that is gone while it waits is none: a change was on its way @heavy', async () => {
    const tracked = flagData('a', 4, { ...visible, trackEvents: true });
    const served = twoFlags();
    const old = await oldRelay({
      data: data([tracked, flagData('b', 1, visible)], [segmentData('s', 2)]),
    });
    const fresh = await startRelay(keys, served);
    const arrives = async () => {
      await fresh.upstream.patch('flags', tracked);
      await until('the change', async () => {
        const answer = await fetch(`${fresh.uri}/sdk/flags/a`, { headers: { authorization: sdkKey } });
        return ((await answer.json()) as { version: number }).version === 4;
      });
    };
    expect(await compare(old, fresh, { onPause: arrives })).toMatchObject({ exitCode: 0, waitedMs: 500 });
  });

  test('that is another one at every look is marked: the relays are still changing', async () => {
    const served: OldRelay = { status: status8, data: twoFlags() };
    const old = opened(await startOldRelay(served));
    let version = 10;
    const changes = () => {
      version += 1;
      served.data = data([flagData('a', version), flagData('b', 1)], [segmentData('s', 2)]);
    };
    changes();
    const { printed } = await compare(
      old,
      await startRelay({ LD_ENV_Shop: sdkKey }, data([flagData('a', 1, { on: false })])),
      {
        args: ['--wait', '1s'],
        env: { LD_ENV_Shop: sdkKey },
        onPause: changes,
      },
    );
    expect(printed).toMatch(/flag a: version \d+ on the old relay, 1 on the new.* \(still changing: compare again\)/);
    expect(printed).toContain('    flag b: version 1 is only on the old relay\n');
  });

  test('appears in JSON with all others, whatever --show says', async () => {
    const old = await oldRelay({ answers: {} });
    const env = { LD_ENV_Shop: sdkKey };
    const { printed, exitCode } = await compare(old, await startRelay(env, data([])), {
      args: ['--wait', '0s', '--show', '1', '--json'],
      env,
    });
    expect(exitCode).toBe(1);
    const { environments, ...rest } = JSON.parse(printed) as {
      environments: { name: string; differences: unknown[] }[];
    };
    expect(rest).toMatchObject({
      same: false,
      different: 1,
      old: { url: old.uri, product: 'ld-relay', version: '8.10.1' },
    });
    expect(environments).toMatchObject([
      {
        name: 'Shop',
        flags: 0,
        segments: 0,
        differences: [{ kind: 'flag', key: 'a' }, { key: 'b' }, { kind: 'segment', key: 's' }],
      },
    ]);
  });
});

describe('items', () => {
  const served = (from: unknown) => servedIn(from as FlagData as never)!;
  const options = { contexts: [{ kind: 'user', key: 'alice' }], usersOnly: false };

  test.each(['6.9.1', '7.6.7'] as const)(
    'ld-relay %s leaves out what it does not know, which is harmless',
    (version) => {
      const result = compareItems(served(recorded[version].put), served(recorded['8.10.1'].put), {
        ...options,
        usersOnly: version === '6.9.1',
      });
      expect(result).toMatchObject({ differences: [], notes: [{ kind: 'flag', key: 'b' }] });
      expect(result.notes[0]?.what).toMatch(/samplingRatio has more on the new relay than the old one knows$/);
      // The other way round something is lost.
      const back = compareItems(served(recorded['8.10.1'].put), served(recorded[version].put), options);
      expect(back.differences).toMatchObject([{ kind: 'flag', key: 'b' }]);
    },
  );

  test('targets that are not users are a difference for clients that know contexts', () => {
    const result = compareItems(served(recorded['6.9.1'].put), served(recorded['8.10.1'].put), options);
    expect(result.differences).toEqual([
      { kind: 'flag', key: 'b', what: expect.stringContaining('org acme gets false instead of true') },
    ]);
  });

  test('equal content under another version is harmless; tombstones and absent items are the same', () => {
    const tombstone = { key: 'gone', version: 7, deleted: true };
    const result = compareItems(served(data([flagData('a', 3), tombstone])), served(data([flagData('a', 5)])), options);
    expect(result).toMatchObject({
      ...{ flags: 1, differences: [] },
      notes: [{ key: 'a', what: 'version 3 on the old relay, 5 on the new, with the same content' }],
    });
  });

  test.each([
    ['an off variation', { offVariation: 0 }, { offVariation: null }],
    ['a rule', { rules: [] }, { rules: [{ id: 'r', variation: 1, clauses: [], trackEvents: false }] }],
    [
      'a target',
      { targets: [{ variation: 1, values: ['bob'] }] },
      { targets: [{ variation: 1, values: ['bob', 'carol'] }] },
    ],
    ['a salt', { salt: 'x' }, { salt: 'y' }],
  ])('%s that differs under one version is a difference', (_what, one, other) => {
    for (const [a, b] of [
      [one, other],
      [other, one],
    ])
      expect(
        compareItems(served(data([flagData('a', 1, a)])), served(data([flagData('a', 1, b)])), options).differences,
      ).toHaveLength(1);
  });
});

describe('environments', () => {
  const statusWith = (environments: object) => statusOf({ environments, version: '8.10.1', status: 'healthy' });
  const shown = 'sdk-********-****-****-****-*******56666';

  test('are paired by name, by the end of their key, or by their client-side ID', () => {
    const old = statusWith({
      'Shop Production': { sdkKey: shown },
      renamed: { sdkKey: 'sdk-x', envId: 'id-1' },
      alone: {},
    });
    const fresh = statusWith({ 'id-1': { sdkKey: 'sdk-*', envId: 'id-1' }, production: { sdkKey: shown }, own: {} });
    const names = (pairs: ReturnType<typeof pairUp>) =>
      pairs.map(({ name, old: before, new: after }) => [name, before?.id, after?.id]);
    expect(names(pairUp([], old, fresh))).toEqual([
      ['Shop Production', 'Shop Production', 'production'],
      ['renamed', 'renamed', 'id-1'],
      ['alone', 'alone', undefined],
      ['own', undefined, 'own'],
    ]);
    expect(
      names(
        pairUp(
          [
            { name: 'Production', sdkKey },
            { name: 'other', environmentId: 'id-1' },
          ],
          old,
          fresh,
        ),
      ).slice(0, 2),
    ).toEqual([
      ['Production', 'Shop Production', 'production'],
      ['other', 'renamed', 'id-1'],
    ]);
  });

  test('of one name with different keys are not taken for each other while one with the right key exists', () => {
    const old = statusWith({ a: { sdkKey: 'sdk-********-****-****-****-*******00000' }, b: { sdkKey: shown } });
    expect(pairUp([{ name: 'a', sdkKey }], old, undefined)[0]?.old?.id).toBe('b');
  });

  // ld-relay's own examples: internal/sdks/obscure_key_test.go.
  test.each([
    ['sdk-def01234-56-789abc', 'sdk-********-**-*89abc', true],
    ['sdk-def01234-56-789abd', 'sdk-********-**-*89abc', false],
    ['sdk-9abc', 'sdk-9abc', true],
    ['sdk-9abc', 'sdk-****', true],
    ['sdk-def01234-56-789abc', 'sdk-****', false],
  ])('%s may be shown as %s: %s', (key, as, fits) => expect(fitsShown(key, as)).toBe(fits));

  test('that only one relay serves, or whose key is unknown, are named', async () => {
    const { Shop } = status8.environments;
    const old = await oldRelay({
      status: { ...status8, environments: { Shop, Old: { sdkKey: 'sdk-1' }, Both: { sdkKey: 'sdk-2' } } },
    });
    const fresh = await startRelay({ ...keys, LD_ENV_Both: 'sdk-2', LD_ENV_New: 'sdk-3' });
    const { exitCode, printed } = await compare(old, fresh);
    expect(exitCode).toBe(1);
    expect(printed).toContain('✓ Shop: the same 2 flags');
    expect(printed).toContain(
      '✗ Old: only the old relay serves this environment\n    → give the new relay its SDK key',
    );
    expect(printed).toContain(
      '? Both: its flags were not compared, since its SDK key is not known\n    → set LD_ENV_<name>',
    );
    expect(printed).toContain('! New: only the new relay serves this environment\n');
    expect(printed).toMatch(/1 of 4 environments differs, and 1 could not be compared completely\.\n$/);
  });

  test('with a payload filter are compared filtered, and one that the new relay does not have is named @heavy', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'compare-'));
    behind(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'ld-relay.conf');
    const text = `[Environment "Shop"]\nsdkKey = ${sdkKey}\nprojKey = p\n[Filters "p"]\nkeys = half\n`;
    writeFileSync(file, text);
    const env = { LD_ENV_Shop: sdkKey, LD_PROJ_KEY_Shop: 'p', LD_FILTER_KEYS_p: 'half' };
    const filtered = await startRelay(env);
    const other = await startRelay(env);
    // Only what is filtered differs.
    other.upstream.dataFor = ({ url }) => (url.includes('filter=half') ? data([flagData('a', 9, visible)]) : undefined);
    other.upstream.cut();
    await until('the filtered flags', async () => {
      const answer = await fetch(`${other.uri}/sdk/flags/a?filter=half`, { headers: { authorization: sdkKey } });
      return answer.ok && ((await answer.json()) as { version: number }).version === 9;
    });
    const args = ['--config', file, '--wait', '0s'];
    const { printed } = await compare(filtered, other, { env: {}, args });
    expect(printed).toContain('✓ Shop: the same 2 flags and 1 segment\n');
    expect(printed).toContain('✗ Shop/half: 2 differences among 1 flag and 0 segments\n');
    const without = await startRelay({ LD_ENV_Shop: sdkKey });
    const { printed: told } = await compare(filtered, without, { env: {}, args });
    expect(told).toContain('✗ Shop/half: only the old relay serves this environment');
    const { printed: hidden } = await compare(await oldRelay({ status: undefined }), without, { env: {}, args });
    expect(hidden).toMatch(/Shop\/half: the new relay has no payload filter "half" \(404\)\n {4}→ set LD_FILTER_KEYS_/);
  });

  test('without any that can be compared, the answer is not yes', async () => {
    const empty = { environments: {}, status: 'healthy', version: '8.10.1' };
    const old = await oldRelay({ status: empty });
    const { exitCode, printed } = await compare(old, old, { env: {} });
    expect(exitCode).toBe(1);
    expect(printed).toContain('Nothing was compared');
  });
});

describe('what the old relay offers and the new one does not', () => {
  const pairOf = (old: object, fresh: object) => {
    const pick = (environment: object) => statusOf({ environments: { Shop: environment } }).environments[0];
    return { name: 'Shop', keys: undefined, old: pick(old), new: pick(fresh) };
  };
  const connected = { status: 'connected', connectionStatus: { state: 'VALID' }, sdkKey: 'sdk-1' };
  const redis = recorded['8.10.1, Redis'].status.environments.Shop;
  const redis6 = recorded['6.9.1, Redis'].status.environments.Shop;
  const stores = (store: object) => ({ ...connected, dataStoreStatus: {}, stores: [store] });
  const big = { available: true, potentiallyStale: false };

  test.each<[string, object, object, RegExp]>([
    ['browsers', { ...connected, envId: 'id' }, connected, /no client-side ID\nset LD_CLIENT_SIDE_ID_Shop=id/],
    ['mobile SDKs', { ...connected, mobileKey: 'mob-*' }, connected, /no mobile key\nset LD_MOBILE_KEY_Shop/],
    ['an expiring key', { ...connected, expiringSdkKey: 'sdk-*1' }, connected, /still accepts the SDK key sdk-\*1/],
    ['a store', redis, stores({ database: 'consul' }), /writes to redis, the new one does not\nset USE_REDIS=true/],
    [
      'a prefix',
      { ...redis6, envId: undefined },
      stores({ database: 'redis', dbServer: 'redis://127.0.0.1:18050', dbPrefix: 'shop' }),
      /is "launchdarkly" for the old relay and "shop" for the new\nset LD_PREFIX_Shop=launchdarkly/,
    ],
    [
      'a table',
      stores({ database: 'dynamodb', dbTable: 'a' }),
      stores({ database: 'dynamodb', dbTable: 'b' }),
      /the table is a .* and b /,
    ],
    ['Big Segments', { ...connected, bigSegmentStatus: big }, connected, /has Big Segments, the new one has none/],
    [
      'fresh Big Segments',
      connected,
      { ...connected, bigSegmentStatus: { ...big, potentiallyStale: true } },
      /are stale/,
    ],
    [
      'a connection',
      connected,
      {
        ...connected,
        status: 'disconnected',
        connectionStatus: { state: 'INTERRUPTED', lastError: { kind: 'ERROR_RESPONSE' } },
      },
      /not connected to LaunchDarkly \(INTERRUPTED: ERROR_RESPONSE\)/,
    ],
  ])('%s: named, with what to do', (_what, old, fresh, expected) => {
    const found = statusChecks(pairOf(old, fresh)).filter(({ state }) => state === 'bad');
    expect(found.map(({ what, advice }) => `${what}\n${advice}`)).toEqual([expect.stringMatching(expected)]);
  });

  test('nothing is told of two that offer the same', () => {
    const { database, dbServer, dbPrefix } = redis.dataStoreStatus;
    expect(statusChecks(pairOf(redis, { ...connected, stores: [{ database, dbServer, dbPrefix }] }))).toEqual([]);
  });

  test('events are looked for with an empty body, which no relay sends on', async () => {
    const old = await oldRelay({ forwardsEvents: true });
    const { exitCode, printed } = await compare(old, await startRelay());
    expect(exitCode).toBe(1);
    expect(printed).toContain('✗ Shop: the old relay forwards events, the new one does not\n    → set USE_EVENTS=true');
    const quiet = await oldRelay({ forwardsEvents: false });
    const fresh = await startRelay({ ...keys, USE_EVENTS: 'true' });
    expect(await compare(quiet, fresh)).toMatchObject({
      exitCode: 0,
      printed: expect.stringContaining('! Shop: the new relay forwards events'),
    });
    expect(fresh.upstream.requests.filter(({ method }) => method === 'POST')).toEqual([]);
  });

  test('secure mode on one of them only is a difference, on both it is none', async () => {
    const secure = await oldRelay({ isSecure: true });
    const { exitCode, printed } = await compare(secure, await startRelay());
    expect({ exitCode, printed }).toEqual({
      exitCode: 1,
      printed: expect.stringContaining('set LD_SECURE_MODE_<name>=true'),
    });
    const both = await compare(secure, await startRelay({ ...keys, LD_SECURE_MODE_Shop: 'true' }));
    expect(both).toMatchObject({
      exitCode: 0,
      printed: expect.stringContaining('and 6 evaluations with the same values'),
    });
    const { printed: now } = await compare(
      await oldRelay(),
      await startRelay({ ...keys, LD_SECURE_MODE_Shop: 'true' }),
    );
    expect(now).toContain('set LD_SECURE_MODE_<name>=false');
  });

  test('a mobile key that the new relay does not accept is a difference', async () => {
    const fresh = await startRelay({
      LD_ENV_Shop: sdkKey,
      LD_CLIENT_SIDE_ID_Shop: environmentId,
      LD_MOBILE_KEY_Shop: 'mob-other',
    });
    const { exitCode, printed } = await compare(await oldRelay(), fresh);
    expect(exitCode).toBe(1);
    expect(printed).toMatch(
      /✗ Shop, mobile SDKs, compare-1: the new relay does not accept mob-\S+ \(401\)\n {4}→ set LD_MOBILE_KEY_/,
    );
  });
});

describe('a relay that does not answer as a relay', () => {
  const good = recorded['8.10.1'].status;
  /** Answers `/status` and nothing else so. */
  const odd = async (
    answer: (path: string) => { status: number; headers?: Record<string, string>; body?: string | Buffer },
  ) =>
    opened(
      await startStandIn((request, response) => {
        const path = request.url ?? '';
        const { status, headers, body } =
          path === '/status' ? { status: 200, headers: {}, body: JSON.stringify(good) } : answer(path);
        response.writeHead(status, headers).end(body ?? '');
      }),
    );

  test.each<[string, Parameters<typeof odd>[0], RegExp]>([
    [
      '401',
      () => ({ status: 401 }),
      /the new relay does not accept sdk-\*\S+56666 \(401\)\n {4}→ give the new relay this environment/,
    ],
    ['404 everywhere', () => ({ status: 404 }), /the new relay has no \/all \(404\)/],
    [
      '503',
      () => ({ status: 503, headers: { 'retry-after': '1' } }),
      /the new relay has no data yet, or is overloaded \(503\)/,
    ],
    [
      'a redirect',
      () => ({ status: 302, headers: { location: 'https://a:b@login/' } }),
      /redirects \/sdk\/latest-all to https:\/\/…@login\/\n {4}→ redirects are not followed/,
    ],
    [
      'a login page',
      () => ({ status: 200, body: '<html>' }),
      /something that is not a relay’s JSON\n {4}→ check the address/,
    ],
    [
      'JSON without flags',
      () => ({ status: 200, body: '{}' }),
      /the new relay answers with something that has no flags/,
    ],
    ['500', () => ({ status: 500 }), /the new relay answers \/sdk\/latest-all with 500/],
    [
      'a small body that unpacks to a large one',
      () => ({ status: 200, headers: { 'content-encoding': 'gzip' }, body: gzipSync(Buffer.alloc(200_000, ' ')) }),
      /with more than 100000 bytes/,
    ],
    [
      'a large body',
      () => ({ status: 200, body: ' '.repeat(200_000) }),
      /the new relay cannot be reached: \S+ answered with more than 100000 bytes/,
    ],
  ])('%s is told in a sentence', async (_what, answer, expected) => {
    const env = { LD_ENV_Shop: sdkKey };
    const { exitCode, printed } = await compare(await oldRelay(), await odd(answer), {
      env,
      args: ['--wait', '1s'],
      maxBytes: 100_000,
    });
    expect({ exitCode, printed }).toEqual({ exitCode: 1, printed: expect.stringMatching(expected) });
  });

  test('503 is asked again until it has data', async () => {
    const env = { LD_ENV_Shop: sdkKey };
    let asked = 0;
    const late = await odd((path) => {
      if (path !== '/sdk/latest-all') return { status: path === '/bulk' ? 503 : 404 };
      asked += 1;
      return asked < 3 ? { status: 503 } : { status: 200, body: JSON.stringify(twoFlags()) };
    });
    expect(await compare(await oldRelay({ answers: {} }), late, { env })).toMatchObject({
      exitCode: 0,
      waitedMs: 1_500,
    });
  });

  test('an address where nobody listens, or that never answers, is told with exit code 2', async () => {
    const closed = await startStandIn(() => {});
    await closed.close();
    const old = await oldRelay();
    expect(await compare(old, closed)).toMatchObject({
      ...{ exitCode: 2, printed: '' },
      said: expect.stringMatching(/^The new relay cannot be reached: .*ECONNREFUSED.*\n {4}→ check the address/),
    });
    const silent = opened(await startStandIn(() => {}));
    expect(await compare(silent, old, { args: ['--timeout', '1ms'] })).toMatchObject({
      ...{
        exitCode: 2,
        said: expect.stringMatching(/^The old relay cannot be reached: \S+ did not answer within 1 ms/),
      },
    });
  });

  test('a stream without flags is given up', async () => {
    const dumb = await odd((path) =>
      path === '/all' ? { status: 200, body: 'event: patch\ndata: {}\n\n' } : { status: 404 },
    );
    const { printed } = await compare(dumb, await startRelay(), { args: ['--wait', '0s'] });
    expect(printed).toMatch(/the old relay cannot be reached: \S+ closed its stream before it sent flags/);
  });

  test('a stream on which no flags come is told as such: ld-relay opens streams before it has any', async () => {
    const silent = opened(
      await startStandIn((_request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(':\n\n');
      }),
    );
    const outbound = createOutbound({ caCertFiles: [], env: {} });
    const ask = (timeoutMs: number) =>
      firstPut(
        {
          side: 'old',
          called: 'the old relay',
          url: new URL(silent.uri),
          outbound,
          timeoutMs,
          maxBytes: 1_000,
          held: new Map(),
        },
        { path: '/all', credential: sdkKey },
      ).catch((error: NoAnswer) => error);
    // On a slow machine not even the head of the answer may be there in time.
    let timeoutMs = 25;
    const told = await eventually(async () => {
      timeoutMs *= 2;
      const error = (await ask(timeoutMs)) as NoAnswer;
      expect(error.message).toBe(`the old relay sent no flags on its stream within ${timeoutMs} ms`);
      return error;
    });
    expect(told).toMatchObject({ why: 'wait' });
  });

  test('what a relay says of itself cannot write to the terminal, or lines of its own', async () => {
    const sequence = '\u001b[2J\u001b]0;title\u0007\u009b31m';
    const status = {
      status: `healthy${sequence}`,
      version: `8${sequence}\nnew relay: http://trusted`,
      environments: {},
    };
    const { printed } = await compare(await oldRelay({ status }), await startRelay(keys));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(printed).not.toMatch(/[\0-\x09\x0b-\x1f\x7f-\x9f]/);
    expect(printed.split('\n').filter((line) => line.startsWith('new relay: '))).toHaveLength(1);
  });

  test('keys of flags cannot write to the terminal either', async () => {
    const old = await oldRelay({ data: data([flagData('a\u001b[2J', 3, visible)]) });
    const { printed } = await compare(old, await startRelay(keys));
    expect(printed).toContain('a [2J');
    expect(printed).not.toContain('\u001b');
  });

  test('a status that is restricted is asked for with the token, one that is hidden is done without', async () => {
    const fresh = await startRelay({ ...keys, STATUS_ACCESS: 'restricted', STATUS_TOKEN: 'token-of-status' });
    const env = { ...keys, STATUS_TOKEN: 'token-of-status' };
    const { printed: asked } = await compare(await oldRelay(), fresh, { env });
    expect(asked).toContain('(edge-flag-relay 0.0.0-test, healthy, 1 environment)');
    // Only where it is asked for.
    const old = await oldRelay({ status: undefined });
    const { exitCode, printed } = await compare(old, fresh, { env });
    expect({ exitCode, printed }).toEqual({ exitCode: 0, printed: expect.stringContaining('(hides its status)') });
    expect(printed).toContain(
      '! the old relay has no /status (404), so only environments whose keys are given are compared',
    );
    expect(old.credentials).not.toContain('token-of-status');
  });
});

describe('arguments', () => {
  const parse = (...args: string[]) => parseArguments(args, {});

  test('keys come from a configuration file, variables and arguments, payload filters included', () => {
    const folder = mkdtempSync(join(tmpdir(), 'compare-'));
    behind(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'ld-relay.conf');
    writeFileSync(
      file,
      '[Environment "Shop"]\nsdkKey = sdk-1\nmobileKey = mob-1\nprojKey = p\n[Filters "p"]\nkeys = f\n',
    );
    const env = { LD_ENV_Shop: 'sdk-2', LD_CLIENT_SIDE_ID_web: 'id' };
    expect(
      parseArguments(['old:8030', 'https://new/relay', '--config', file, '--env', 'more=sdk-3'], env),
    ).toMatchObject({
      ...{ old: new URL('http://old:8030'), new: new URL('https://new/relay'), waitMs: 15_000, show: 10 },
      keys: [
        { name: 'Shop', sdkKey: 'sdk-2', mobileKey: 'mob-1' },
        { name: 'Shop/f', filter: 'f', sdkKey: 'sdk-2' },
        { name: 'web', environmentId: 'id' },
        { name: 'more', sdkKey: 'sdk-3' },
      ],
    });
  });

  test('a file may leave its keys to variables', () => {
    const folder = mkdtempSync(join(tmpdir(), 'compare-'));
    behind(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'ld-relay.conf');
    writeFileSync(file, '[Main]\nport = 8030\n[Environment "Shop"]\nprefix = shop\n');
    expect(
      parseArguments(['old', 'new', '--config', file], { LD_ENV_Shop: sdkKey, USE_REDIS: 'nonsense' }),
    ).toMatchObject({
      keys: [{ name: 'Shop', sdkKey }],
    });
  });

  test('every problem is told, and no key', () => {
    const found = parse(
      'ftp://x',
      'http://a',
      sdkKey,
      '--env',
      sdkKey,
      '--context',
      '7',
      '--wait',
      'soon',
      '--show',
      'all',
      '--config',
      '/nowhere',
    );
    expect(found).toEqual({
      problems: [
        expect.stringMatching(/^Unexpected argument "sdk-…"/),
        expect.stringMatching(/^"ftp:\/\/x" is no address of a relay/),
        expect.stringMatching(/^--wait must be .*, got "soon"$/),
        expect.stringMatching(/^--show must be a number/),
        expect.stringMatching(/^--context must be a JSON object/),
        expect.stringMatching(/^Cannot read \/nowhere/),
        expect.stringMatching(/^--env must be <name>=<SDK key>/),
      ],
    });
    expect(JSON.stringify(found)).not.toContain(sdkKey);
    expect(parse('http://a')).toEqual({ problems: [expect.stringMatching(/^Two addresses are needed/)] });
    expect(parse('--help', 'x')).toBe('help');
  });

  test('a configuration file that is invalid is told with its place', () => {
    const folder = mkdtempSync(join(tmpdir(), 'compare-'));
    behind(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'ld-relay.conf');
    writeFileSync(file, '[Main]\nport = x\n');
    expect(parse('a', 'b', '--config', file)).toEqual({ problems: [expect.stringContaining(`${file}:2`)] });
  });
});

describe('the command', () => {
  const run = (args: readonly string[], env: Record<string, string>) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const command = ['--import', 'tsx', 'bin/compare.ts', ...args];
      execFile(
        process.execPath,
        command,
        { cwd: root, env: { PATH: process.env.PATH, ...env } },
        (error, stdout, stderr) => resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
      );
    });

  test('trusts the authorities of NODE_EXTRA_CA_CERTS, and says so without @heavy', async () => {
    const { cert, key, file } = opened(await createAuthority());
    const server = createServer({ cert, key }, (request, response) => {
      const body = request.url === '/status' ? status8 : twoFlags();
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    behind(() => server.close());
    const uri = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const env = { LD_ENV_Shop: sdkKey };
    const trusting = await run([uri, uri], { ...env, NODE_EXTRA_CA_CERTS: file });
    expect(trusting).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('The relays serve the same: 1 environment.'),
    });
    const doubting = await run([uri, uri], env);
    expect(doubting).toMatchObject({ code: 2, stderr: expect.stringContaining('set NODE_EXTRA_CA_CERTS=<PEM file>') });
  });
});
