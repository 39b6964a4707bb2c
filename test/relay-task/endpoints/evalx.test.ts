import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { flag, tombstone } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { ask, base64url, json } from './ask.ts';
import { startServer, type TestServer } from './start-server.ts';

const seenBy = (usingMobileKey: boolean, usingEnvironmentId: boolean) => ({
  clientSideAvailability: { usingMobileKey, usingEnvironmentId },
  clientSide: usingEnvironmentId,
});
const forBob = { targets: [{ values: ['bob'], variation: 1 }] };
const items = () => [
  flag('everywhere', 3, forBob),
  flag('mobile', 4, seenBy(true, false)),
  flag('browser', 5, seenBy(false, true)),
  flag('server', 6, seenBy(false, false)),
  tombstone('features', 'gone', 9),
];
const vectors: { sdkKey: string; hashes: [object, string][] } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../fixtures/endpoints/secure-mode.json'), 'utf8'),
);
const alice = { kind: 'user', key: 'alice' };
let servers: TestServer[] = [];
const start = async () => {
  const server = await startServer({ view: createMemory(...items()) });
  servers.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()));
  servers = [];
});

const kinds = [
  ['sdkKey', '/sdk/evalx', { authorization: 'sdk-key' }],
  ['mobileKey', '/msdk/evalx', { authorization: 'mob-key' }],
  ['environmentId', '/sdk/evalx/64a0', {}],
] as const;
const on = (version: number, value = true) => ({ value, variation: value ? 0 : 1, version, flagVersion: version });

test.each(kinds)(
  'evalx with an %s returns the flags visible to that kind of credential, without tombstones',
  async (kind, prefix, headers) => {
    const { port } = await start();
    const answer = await ask(port, 'GET', `${prefix}/contexts/${base64url(alice)}`, { headers });
    const all = { everywhere: on(3), mobile: on(4), browser: on(5), server: on(6) };
    const expected = {
      sdkKey: all,
      mobileKey: { everywhere: all.everywhere, mobile: all.mobile },
      environmentId: { everywhere: all.everywhere, browser: all.browser },
    };
    expect(answer.json()).toEqual(expected[kind]);
    const withReasons = await ask(port, 'GET', `${prefix}/users/${base64url(alice)}?withReasons=true`, { headers });
    expect(withReasons.json().everywhere).toEqual({ ...on(3), reason: { kind: 'FALLTHROUGH' } });
    expect(
      (await ask(port, 'GET', `${prefix}/users/${base64url(alice)}?withReasons=1`, { headers })).text(),
    ).not.toContain('reason');
  },
);

describe('an evalx context', () => {
  // Its base64 contains both characters that differ between the two alphabets.
  const odd = { kind: 'user', key: 'bob', note: 'ÿþ~~???>>>ûïÿ😀' };
  const standard = Buffer.from(JSON.stringify(odd)).toString('base64');
  const shuffled = '{ "note": "ÿþ~~???>>>ûïÿ😀",\n "key": "bob", "kind": "user" }';
  const escaped = shuffled.replace(/[^\n -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

  test('gives the same answer and ETag however it is sent', async () => {
    const { port } = await start();
    expect(standard).toMatch(/\+.*\/|\/.*\+/);
    const at = (path: string) => ask(port, 'GET', `/sdk/evalx/64a0/contexts/${path}`);
    const by = (method: string, body: string | Buffer, headers: Record<string, string> = json) =>
      ask(port, method, '/sdk/evalx/64a0/context', { headers, body });
    const answers = await Promise.all([
      at(base64url(odd)),
      at(`${base64url(odd)}${'='.repeat(standard.length - base64url(odd).length)}`),
      at(encodeURIComponent(standard)),
      at(standard.replaceAll('/', '%2F')),
      at(Buffer.from(shuffled).toString('base64url')),
      by('REPORT', JSON.stringify(odd)),
      by('POST', shuffled),
      by('POST', escaped),
      by('REPORT', shuffled, { 'content-type': 'Application/JSON; charset=UTF-8' }),
      by('POST', shuffled, { ...json, 'transfer-encoding': 'chunked' }),
    ]);
    for (const answer of answers) {
      expect(answer.json()).toEqual({ everywhere: on(3, false), browser: on(5) });
      expect(answer.headers.etag).toBe(answers[0]!.headers.etag);
    }
  });

  /** ld-relay answers each of these in another way: docs/migrating-from-ld-relay.md. */
  test.each<[string, string, Record<string, unknown>]>([
    [
      'an emoji that is written as two escapes',
      '{"kind":"user","key":"\\ud83d\\ude00"}',
      { targets: [{ values: ['😀'], variation: 1 }] },
    ],
    [
      'two kinds, of which the last counts',
      '{"kind":"org","kind":"team","key":"bob"}',
      { contextTargets: [{ contextKind: 'team', values: ['bob'], variation: 1 }] },
    ],
    [
      'an integer beyond 64 bits, which is rounded',
      '{"kind":"user","key":"a","n":18446744073709551617}',
      {
        rules: [{ variation: 1, clauses: [{ attribute: 'n', op: 'in', values: [2 ** 64], negate: false }] }],
      },
    ],
  ])('may have %s', async (_, body, more) => {
    const server = await startServer({ view: createMemory(flag('everywhere', 3, more)) });
    servers.push(server);
    const answer = await ask(server.port, 'REPORT', '/sdk/evalx/64a0/context', { headers: json, body });
    expect(answer.json()).toEqual({ everywhere: on(3, false) });
  });

  test.each([
    ['a legacy user', { key: 'bob', custom: { a: 1 } }],
    ['a legacy user with nulls', { key: 'bob', name: null, anonymous: null, custom: null }],
    ['a multi-kind context', { kind: 'multi', user: { key: 'bob' }, org: { key: 'acme' } }],
    ['a user with a long key', { key: 'ü'.repeat(4_096) }],
    ['a multi-kind context with one kind', { kind: 'multi', org: { key: 'acme' } }],
  ])('may be %s', async (_, context) => {
    const { port } = await start();
    expect((await ask(port, 'GET', `/sdk/evalx/64a0/users/${base64url(context)}`)).status).toBe(200);
  });

  const bad: readonly [string, string | Buffer, RegExp][] = [
    ['not JSON', '{"kind":', /not JSON/],
    ['empty', '', /empty/],
    ['a string', '"alice"', /must be an object, not a string/],
    ['null', 'null', /must be an object/],
    ['an array', '[]', /must be an object/],
    ['without a key', '{"kind":"user"}', /key of the user context.*missing/],
    ['with an empty key', '{"kind":"user","key":""}', /non-empty/],
    ['a user with an empty key', '{"key":""}', /must not be empty/],
    ['a user without a key', '{"name":"x"}', /key of a user/],
    ['of a bad kind', '{"kind":"a b","key":"x"}', /"a b"/],
    ['of the kind "kind"', '{"kind":"kind","key":"x"}', /not "kind"/],
    ['of no kinds', '{"kind":"multi"}', /at least one/],
    ['with one bad kind of several', '{"kind":"multi","user":{"key":""}}', /user context/],
    ['behind a byte order mark', '\ufeff{"kind":"user","key":"a"}', /not JSON/],
    ['with a text for anonymous', '{"kind":"user","key":"a","anonymous":"yes"}', /anonymous.*not a string/],
    ['with a number as name', '{"kind":"user","key":"a","name":5}', /name.*not a number/],
    ['with null as kind', '{"kind":null,"key":"a"}', /kind.*not null/],
    ['a user with a number as key', '{"key":7}', /key of a user.*not a number/],
    ['not UTF-8', Buffer.from([0x22, 0xff, 0x22]), /UTF-8/],
    ['with a long key', `{"kind":"user","key":"${'x'.repeat(8 * 1024 + 1)}"}`, /key of more than 8192 bytes/],
    ['with a long key of several', `{"kind":"multi","a":{"key":"a"},"b":{"key":"${'ü'.repeat(4_097)}"}}`, /8192 bytes/],
    ['nested too deeply', `{"kind":"user","key":"a","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, /deep/],
  ];
  test.each(bad)('that is %s gets 400 with the reason', async (_, body, reason) => {
    const { port, logged } = await start();
    for (const method of ['REPORT', 'POST']) {
      const answer = await ask(port, method, '/msdk/evalx/context', {
        headers: { ...json, authorization: 'mob-key' },
        body,
      });
      expect([answer.status, answer.json().message]).toEqual([400, expect.stringMatching(reason)]);
    }
    if (body.length > 0 && body.length < 1_000) {
      const inPath = await ask(port, 'GET', `/sdk/evalx/64a0/contexts/${Buffer.from(body).toString('base64url')}`);
      expect([inPath.status, inPath.json().message]).toEqual([400, expect.stringMatching(reason)]);
    }
    expect(logged).toEqual([]);
  });

  test.each(['e', 'eyJ%20', '%C3%BC', 'e30===', 'e=30', '=='])('encoded as %s gets 400', async (text) => {
    const { port } = await start();
    const answer = await ask(port, 'GET', `/sdk/evalx/64a0/contexts/${text}`);
    expect([answer.status, answer.json().message]).toEqual([400, expect.stringMatching(/base64url|JSON|empty|"#"/)]);
  });

  test.each(['text/plain', 'application/jsonp', '', 'application/json; charset=latin1'])(
    'in a body of type "%s" gets 415',
    async (type) => {
      const { port } = await start();
      for (const path of ['/sdk/evalx/64a0/context', '/eval/64a0']) {
        const answer = await ask(port, 'POST', path, {
          headers: { 'content-type': type },
          body: JSON.stringify(alice),
        });
        expect([answer.status, answer.json().message]).toEqual([415, expect.stringContaining('json')]);
      }
    },
  );
});

describe('the ETag of an evalx answer', () => {
  const tagOf = async ({ port }: TestServer, path: string, headers: Record<string, string> = {}) =>
    (await ask(port, 'GET', path, { headers })).headers.etag!;
  const path = (context: unknown) => `/sdk/evalx/64a0/contexts/${base64url(context)}`;

  test('is strong and the same on every relay with the same items', async () => {
    const [one, other] = [await start(), await start()];
    expect(await tagOf(one, path(alice))).toMatch(/^"[0-9a-f]{32}"$/);
    expect(await tagOf(one, path(alice))).toBe(await tagOf(other, path(alice)));
    one.view.set(flag('everywhere', 4));
    const changed = await tagOf(one, path(alice));
    expect(changed).not.toBe(await tagOf(other, path(alice)));
    other.view.set(flag('everywhere', 4));
    expect(changed).toBe(await tagOf(other, path(alice)));
  });

  test('differs by context attributes, options and kind of credential', async () => {
    const server = await start();
    const tags = [
      await tagOf(server, path(alice)),
      await tagOf(server, path({ ...alice, name: 'Alice' })),
      await tagOf(server, path({ key: 'alice' })),
      await tagOf(server, `${path(alice)}?withReasons=true`),
      await tagOf(server, `/msdk/evalx/contexts/${base64url(alice)}`, { authorization: 'mob-key' }),
      await tagOf(server, `/sdk/evalx/contexts/${base64url(alice)}`, { authorization: 'sdk-key' }),
    ];
    expect(new Set(tags).size).toBe(tags.length);
  });

  test('lets an unchanged poll get 304 without evaluation', async () => {
    const { port, environment } = await start();
    const first = await ask(port, 'GET', path(alice));
    const { etag } = first.headers;
    for (const held of [etag!, `W/${etag}`, `"a", ${etag}`, '*', `${etag!.slice(0, -1)}-gzip"`]) {
      const again = await ask(port, 'GET', path(alice), { headers: { 'if-none-match': held } });
      expect([held, again.status, again.body.length]).toEqual([held, 304, 0]);
      expect(again.headers['cache-control']).toBe('private, no-cache');
      expect(again.headers.etag).toBe(held.includes('gzip') ? held : etag);
    }
    expect(environment.evaluations).toBe(1);
    expect(first.headers['cache-control']).toBe('private, no-cache');
    expect(first.headers.vary).toBe('Authorization, Accept-Encoding, Origin');
  });

  test('covers Big Segment memberships, which are loaded first', async () => {
    const { port, environment } = await start();
    let loaded = false;
    environment.bigSegment = {
      flag: 'everywhere',
      get value() {
        return loaded ? 'in' : 'not loaded';
      },
      wait: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        loaded = true;
        return new Map();
      },
    };
    const first = await ask(port, 'GET', path(alice));
    expect(first.json().everywhere.value).toBe('in');
    const held = { headers: { 'if-none-match': first.headers.etag! } };
    expect((await ask(port, 'GET', path(alice), held)).status).toBe(304);
    environment.bigSegment = { flag: 'everywhere', value: 'out', wait: async () => new Map() };
    const second = await ask(port, 'GET', path(alice), held);
    expect([second.status, second.json().everywhere.value]).toEqual([200, 'out']);
  });

  test('covers the version in which a flag counts that changes faster than it is compiled', async () => {
    const { port, environment } = await start();
    environment.earlier = { flag: 'everywhere', value: 'earlier' };
    const first = await ask(port, 'GET', path(alice));
    expect(first.json().everywhere.value).toBe('earlier');
    const held = { headers: { 'if-none-match': first.headers.etag! } };
    expect((await ask(port, 'GET', path(alice), held)).status).toBe(304);
    environment.earlier = undefined;
    const second = await ask(port, 'GET', path(alice), held);
    expect(second.status).toBe(200);
    expect(second.json().everywhere.value).not.toBe('earlier');
  });
});

test('a large evalx answer is compressed for clients that accept it', async () => {
  const { port, view } = await start();
  view.set(...Array.from({ length: 50 }, (_, index) => flag(`flag-${index}`, 1)));
  const path = `/sdk/evalx/64a0/contexts/${base64url(alice)}`;
  const plain = await ask(port, 'GET', path);
  const zipped = await ask(port, 'GET', path, { headers: { 'accept-encoding': 'gzip' } });
  expect(zipped.headers['content-encoding']).toBe('gzip');
  expect(gunzipSync(zipped.body)).toEqual(plain.body);
  expect(zipped.headers.etag).toBe(`${plain.headers.etag!.slice(0, -1)}-gzip"`);
});

describe('secure mode', () => {
  const old = 'sdk-old';
  const startSecure = async () => {
    const server = await start();
    server.environment.secureMode = true;
    server.environment.sdkKeys = () => [vectors.sdkKey, old];
    return server;
  };
  const status = async ({ port }: TestServer, path: string, headers: Record<string, string> = {}) =>
    (await ask(port, 'GET', path, { headers })).status;

  test.each(vectors.hashes)('requires LaunchDarkly’s hash for %j', async (context, hash) => {
    const server = await startSecure();
    for (const path of ['/sdk/evalx/64a0/contexts/', '/eval/64a0/']) {
      const url = `${path}${base64url(context)}`;
      expect(await status(server, `${url}?h=${hash}`)).toBe(200);
      for (const wrong of ['', `?h=${hash.toUpperCase()}`, `?h=${hash.slice(1)}`, '?h=', `?H=${hash}`]) {
        expect([wrong, await status(server, url + wrong)]).toEqual([wrong, 400]);
      }
    }
    const posted = await ask(server.port, 'POST', `/eval/64a0?h=${hash}`, {
      headers: json,
      body: JSON.stringify(context),
    });
    expect(posted.status).toBe(200);
    const poll = `/sdk/poll/eval/${base64url(context)}?auth=64a0`;
    expect([await status(server, `${poll}&h=${hash}`), await status(server, poll)]).toEqual([200, 400]);
  });

  test.each([
    ['has no SDK key', [], true],
    ['may have one more SDK key than the relay could read', [old], false],
  ])('asks browsers to come back while the environment %s', async (_why, sdkKeys, knowsAllKeys) => {
    const server = await startSecure();
    server.environment.sdkKeys = () => sdkKeys;
    server.environment.knowsAllKeys = () => knowsAllKeys;
    const [context, hash] = vectors.hashes[0]!;
    // Without a hash the request is wrong in any case.
    expect(await status(server, `/sdk/evalx/64a0/contexts/${base64url(context)}`)).toBe(400);
    const path = base64url(context);
    for (const url of [`/sdk/evalx/64a0/contexts/${path}?h=${hash}`, `/eval/64a0/${path}?h=${hash}`]) {
      const { status: answered, headers } = await ask(server.port, 'GET', url);
      expect([answered, Number(headers['retry-after']) > 0]).toEqual([503, true]);
    }
    const body = JSON.stringify({ context: { targetingKey: 'alice' } });
    const headers = { ...json, authorization: '64a0', 'x-launchdarkly-hash': hash };
    expect((await ask(server.port, 'POST', '/ofrep/v1/evaluate/flags', { headers, body })).status).toBe(503);
  });

  test('applies to browsers only, and not to pings, events or goals', async () => {
    const server = await startSecure();
    const path = base64url(alice);
    expect(await status(server, `/msdk/evalx/contexts/${path}`, { authorization: 'mob-key' })).toBe(200);
    expect(await status(server, `/sdk/evalx/contexts/${path}`, { authorization: 'sdk-key' })).toBe(200);
    expect(await status(server, `/meval/${path}`, { authorization: 'mob-key' })).toBe(200);
    expect(await status(server, '/ping/64a0')).toBe(200);
    expect(await status(server, '/sdk/goals/64a0')).toBe(200);
  });
});
