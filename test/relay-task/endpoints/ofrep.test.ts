/** Expected answers are those of OFREP's OpenAPI, version 0.3. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parseContext } from '../../../lib/evaluation/index.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { flag, tombstone } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { ask, json } from './ask.ts';
import { startServer, type TestServer, type TestServerOptions } from './start-server.ts';

const seenBy = (usingMobileKey: boolean, usingEnvironmentId: boolean) => ({
  clientSideAvailability: { usingMobileKey, usingEnvironmentId },
  clientSide: usingEnvironmentId,
});
const items = () => [
  flag('everywhere', 3, { targets: [{ values: ['bob'], variation: 1 }] }),
  flag('mobile', 4, seenBy(true, false)),
  flag('browser', 5, seenBy(false, true)),
  flag('server', 6, seenBy(false, false)),
  tombstone('features', 'gone', 9),
];
const alice = { targetingKey: 'alice' };
const BULK = '/ofrep/v1/evaluate/flags';
const one = (key: string) => `${BULK}/${key}`;

let servers: TestServer[] = [];
const start = async (options: TestServerOptions = {}) => {
  const server = await startServer({ view: createMemory(...items()), ...options });
  servers.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()));
  servers = [];
});

interface Asking {
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
  readonly key?: string;
}
const evaluate = ({ port }: TestServer, path: string, context: unknown, { headers, body, key }: Asking = {}) =>
  ask(port, 'POST', path, {
    headers: { ...json, authorization: `Bearer ${key ?? 'sdk-key'}`, ...headers },
    body: body ?? JSON.stringify({ context }),
  });
const keysOf = (bulk: { flags: { key: string }[] }) => bulk.flags.map(({ key }) => key);

describe('OFREP credentials', () => {
  const all = ['everywhere', 'mobile', 'browser', 'server'];
  const kinds = [
    ['sdk-key', all],
    ['mob-key', ['everywhere', 'mobile']],
    ['64a0', ['everywhere', 'browser']],
  ] as const;
  test.each(kinds)(
    'include %s, for the flags visible to its kind, in every header that providers use @heavy',
    async (key, seen) => {
      const server = await start();
      const ways: Record<string, string>[] = [
        { authorization: key },
        { authorization: `Bearer ${key}` },
        { authorization: `api_key ${key}` },
        { authorization: '', 'x-api-key': key },
        // A gateway may set this header.
        { authorization: 'Basic dXNlcjpwYXNz', 'x-api-key': key },
      ];
      for (const headers of ways) {
        const bulk = await evaluate(server, BULK, alice, { headers });
        expect([bulk.status, keysOf(bulk.json())]).toEqual([200, seen]);
        for (const name of all) {
          const single = await evaluate(server, one(name), alice, { headers });
          expect([name, single.status]).toEqual([name, seen.some((other) => other === name) ? 200 : 404]);
        }
      }
      expect(server.answers[0]).toMatchObject({
        route: BULK,
        status: 200,
        environment: 'production',
        credential: expect.any(String),
      });
    },
  );

  test.each([['unknown'], [''], ['two words']])('%p get 401 on every endpoint', async (key) => {
    const { port } = await start();
    for (const [method, path] of [
      ['POST', BULK],
      ['POST', one('everywhere')],
      ['GET', '/ofrep/v1/configuration'],
    ] as const) {
      const answer = await ask(port, method, path, {
        headers: { ...json, authorization: key },
        ...(method === 'POST' && { body: '{}' }),
      });
      expect(answer.status).toBe(401);
      expect(answer.json().message).toContain('client-side ID');
      expect(answer.headers['www-authenticate']).toBeDefined();
    }
  });

  test('may come with a payload filter', async () => {
    const server = await start();
    expect((await evaluate(server, `${BULK}?filter=none`, alice)).status).toBe(404);
  });
});

describe('an OFREP answer about one flag', () => {
  const answers = async (extra: Record<string, unknown>, headers: Record<string, string> = {}) => {
    const server = await start({ view: createMemory(flag('f', 12, extra)) });
    const answer = await evaluate(server, one('f'), alice, { headers });
    return [answer.status, answer.json()];
  };
  const metadata = { version: '12' };
  const ruleFor = (extra: object) => ({
    id: 'r1',
    clauses: [{ attribute: 'key', op: 'in', values: ['alice'] }],
    ...extra,
  });
  const python = { 'user-agent': 'python-requests/2.32.3' };

  test.each([
    ['a fallthrough', {}, { value: true, variant: '0', reason: 'FALLTHROUGH' }, 'UNKNOWN'],
    ['a flag that is off', { on: false }, { value: false, variant: '1', reason: 'OFF' }, 'DISABLED'],
    [
      'a target',
      { targets: [{ values: ['alice'], variation: 1 }] },
      { value: false, variant: '1', reason: 'TARGET_MATCH' },
      'TARGETING_MATCH',
    ],
    ['a string', { variations: ['blue'] }, { value: 'blue', variant: '0', reason: 'FALLTHROUGH' }, 'UNKNOWN'],
    ['a number', { variations: [1.5] }, { value: 1.5, variant: '0', reason: 'FALLTHROUGH' }, 'UNKNOWN'],
    [
      'a structure',
      { variations: [{ a: [1] }] },
      { value: { a: [1] }, variant: '0', reason: 'FALLTHROUGH' },
      'UNKNOWN',
    ],
    ['a list', { variations: [[1]] }, { value: [1], variant: '0', reason: 'FALLTHROUGH' }, 'UNKNOWN'],
  ])('has the reason and value for %s', async (_, extra, expected, standard) => {
    expect(await answers(extra)).toEqual([200, { key: 'f', ...expected, metadata }]);
    const strict = { ...expected, reason: standard, metadata: { ...metadata, reasonKind: expected.reason } };
    expect(await answers(extra, python)).toEqual([200, { key: 'f', ...strict }]);
    expect(await answers(extra, { prefer: 'wait=5, reasons=standard' })).toEqual([200, { key: 'f', ...strict }]);
  });

  test('names the deciding rule or prerequisite', async () => {
    expect(await answers({ rules: [ruleFor({ variation: 1 })] })).toEqual([
      200,
      {
        key: 'f',
        value: false,
        variant: '1',
        reason: 'RULE_MATCH',
        metadata: { ...metadata, ruleIndex: 0, ruleId: 'r1' },
      },
    ]);
    expect(await answers({ prerequisites: [{ key: 'none', variation: 0 }] })).toEqual([
      200,
      {
        key: 'f',
        value: false,
        variant: '1',
        reason: 'PREREQUISITE_FAILED',
        metadata: { ...metadata, prerequisiteKey: 'none' },
      },
    ]);
  });

  test('has the reason SPLIT for an experiment if the client needs standard reasons', async () => {
    const rollout = { kind: 'experiment', seed: 1, variations: [{ variation: 0, weight: 100_000 }] };
    const extra = { fallthrough: { rollout } };
    expect(await answers(extra)).toEqual([
      200,
      { key: 'f', value: true, variant: '0', reason: 'FALLTHROUGH', metadata: { ...metadata, inExperiment: true } },
    ]);
    expect((await answers(extra, python))[1]).toMatchObject({ reason: 'SPLIT' });
  });

  test('has no value if the default in the code applies', async () => {
    const nothing = { on: false, offVariation: undefined };
    expect(await answers(nothing)).toEqual([200, { key: 'f', reason: 'OFF', metadata }]);
    // LaunchDarkly's SDKs also return the default for null.
    expect(await answers({ variations: [null] })).toEqual([
      200,
      { key: 'f', reason: 'FALLTHROUGH', variant: '0', metadata },
    ]);
  });

  test('is an error for a malformed flag', async () => {
    expect(await answers({ fallthrough: { variation: 99 } })).toEqual([
      400,
      {
        key: 'f',
        errorCode: 'PARSE_ERROR',
        errorDetails: expect.stringContaining('MALFORMED_FLAG'),
        metadata: { ...metadata, errorKind: 'MALFORMED_FLAG' },
      },
    ]);
  });

  test.each(['none', 'gone', 'toString', 'käse/1'])('is 404 for the unknown flag %p', async (key) => {
    const answer = await evaluate(await start(), one(encodeURIComponent(key)), alice);
    expect(answer.status).toBe(404);
    expect(answer.json()).toEqual({ key, errorCode: 'FLAG_NOT_FOUND', errorDetails: expect.stringContaining(key) });
  });
});

test('an OFREP bulk answer has the same results as single answers, including errors', async () => {
  const view = createMemory(...items(), flag('broken', 8, { fallthrough: { variation: 99 } }));
  const server = await start({ view });
  const bulk = (await evaluate(server, BULK, { targetingKey: 'bob' })).json();
  expect(bulk.metadata).toEqual({ flagSetId: '64a0' });
  expect(bulk.flags).toHaveLength(5);
  for (const result of bulk.flags) {
    expect((await evaluate(server, one(result.key), { targetingKey: 'bob' })).json()).toEqual(result);
  }
  expect(bulk.flags[0]).toMatchObject({ key: 'everywhere', value: false, reason: 'TARGET_MATCH' });
  expect(bulk.flags[4]).toMatchObject({ key: 'broken', errorCode: 'PARSE_ERROR' });
});

test('an OFREP bulk answer for a client-side ID names a stream of changes, and no other key appears in one', async () => {
  const server = await start({
    find: (kind, credential, filter, environment) =>
      kind === 'environmentId' && credential === '64a0' && (filter === '' || filter === 'a b')
        ? { environment }
        : kind === 'mobileKey' && credential === 'mob-key'
          ? { environment }
          : 'unknown-credential',
  });
  expect((await evaluate(server, BULK, alice, { key: 'mob-key' })).json()).not.toHaveProperty('eventStreams');
  for (const [query, suffix] of [
    ['', ''],
    ['?filter=a%20b', '?filter=a%20b'],
  ]) {
    const { eventStreams } = (await evaluate(server, `${BULK}${query}`, alice, { key: '64a0' })).json();
    expect(eventStreams).toEqual([{ type: 'sse', endpoint: { requestUri: `/ofrep/v1/events/64a0${suffix}` } }]);
    const stream = await ask(server.port, 'GET', eventStreams[0].endpoint.requestUri, {
      headers: { origin: 'https://shop.example' },
    });
    expect(stream.headers['access-control-allow-origin']).toBe('https://shop.example');
    expect(server.opened.at(-1)?.opening).toMatchObject({ kind: 'refetch', credential: '64a0' });
  }
});

test('an OFREP answer shared by clients has the kind of reasons that each client needs', async () => {
  const server = await start();
  const { clientView } = server.environment;
  const everyone = resultOf(
    clientView.evaluateInSteps(parseContext({ kind: 'user', key: 'alice' })!, {
      audience: 'sdkKey',
      withReasons: true,
    }),
  );
  server.environment.clientView = {
    ...clientView,
    *evaluateInSteps() {
      yield;
      return [...everyone];
    },
  };
  for (const [headers, reason] of [
    [{}, 'FALLTHROUGH'],
    [{ prefer: 'reasons=standard' }, 'UNKNOWN'],
    [{ 'user-agent': 'python-requests/2.32.3' }, 'UNKNOWN'],
    [{ prefer: 'reasons=other' }, 'FALLTHROUGH'],
  ] as const) {
    const bulk = await evaluate(server, BULK, alice, { headers });
    expect([headers, bulk.json().flags[0].reason]).toEqual([headers, reason]);
  }
});

describe('a bad OFREP request', () => {
  const limit = 1024;
  const bad: [string, number, string, Asking][] = [
    ['invalid JSON', 400, 'PARSE_ERROR', { body: '{' }],
    ['no body', 400, 'PARSE_ERROR', { body: '' }],
    ['a list', 400, 'PARSE_ERROR', { body: '[]' }],
    ['invalid UTF-8', 400, 'PARSE_ERROR', { body: Buffer.from([0x7b, 0xff, 0x7d]) }],
    ['too deep a context', 400, 'PARSE_ERROR', { body: `{"context":${'['.repeat(200)}${']'.repeat(200)}}` }],
    [
      'truncated gzip',
      400,
      'PARSE_ERROR',
      { body: gzipSync('{"context":{}}').subarray(0, 20), headers: { 'content-encoding': 'gzip' } },
    ],
    ['a body above the limit', 413, 'PARSE_ERROR', { body: ' '.repeat(limit + 1) }],
    ['another content type', 415, 'PARSE_ERROR', { body: '{}', headers: { 'content-type': 'text/plain' } }],
    ['no context', 400, 'TARGETING_KEY_MISSING', { body: '{}' }],
    ['an empty context', 400, 'TARGETING_KEY_MISSING', { body: '{"context":{}}' }],
    ['an empty key', 400, 'TARGETING_KEY_MISSING', { body: '{"context":{"targetingKey":""}}' }],
    ['a kind without a key', 400, 'TARGETING_KEY_MISSING', { body: '{"context":{"kind":"multi","org":{"name":"x"}}}' }],
    ['a context that is a list', 400, 'INVALID_CONTEXT', { body: '{"context":[]}' }],
    ['a key that is a number', 400, 'INVALID_CONTEXT', { body: '{"context":{"targetingKey":7}}' }],
    ['an invalid kind', 400, 'INVALID_CONTEXT', { body: '{"context":{"targetingKey":"a","kind":"a b"}}' }],
    ['no kinds', 400, 'INVALID_CONTEXT', { body: '{"context":{"kind":"multi"}}' }],
  ];
  test.each(bad)('with %s gets %i %s', async (_, status, errorCode, asking) => {
    const server = await start({ server: { maxContextBytes: limit } });
    const single = await evaluate(server, one('everywhere'), undefined, asking);
    const bulk = await evaluate(server, BULK, undefined, asking);
    const words = { errorCode, errorDetails: expect.stringMatching(/\w/) };
    expect([single.status, single.json()]).toEqual([status, { key: 'everywhere', ...words }]);
    expect([bulk.status, bulk.json()]).toEqual([status, words]);
    expect(single.headers['content-type']).toBe('application/json');
  });

  test('differs from a failure of the relay, which gets 500 and a log line without the request', async () => {
    const server = await start();
    server.environment.clientView.evaluateInSteps = () => {
      throw new Error('a fault');
    };
    const answer = await evaluate(server, BULK, { targetingKey: 'secret-alice' });
    expect([answer.status, answer.json()]).toEqual([500, { errorCode: 'GENERAL', errorDetails: expect.any(String) }]);
    expect(server.logged.join()).toContain('a fault');
    expect(server.logged.join()).not.toContain('alice');
    for (let count = 0; count < 5; count += 1) await evaluate(server, BULK, alice);
    expect(server.logged).toHaveLength(1);
  });
});

describe('an OFREP request before the relay is ready', () => {
  test.each([
    ['without data', { view: createMemory() }],
    ['without environments', { find: () => 'not-yet' as const }],
  ])('gets 503 (%s)', async (_, options) => {
    const server = await start(options);
    for (const path of [BULK, one('everywhere')]) {
      const answer = await evaluate(server, path, alice);
      expect(answer.status).toBe(503);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    }
  });
});

describe('an OFREP client with an ETag', () => {
  test('gets 304 for the same context in any form until something changes', async () => {
    const server = await start();
    const context = { targetingKey: 'alice', plan: 'a', n: 1 };
    const first = await evaluate(server, BULK, context);
    const tag = first.headers.etag!;
    expect(tag).toMatch(/^"[\w-]+"$/);
    const again = (other: unknown, headers: Record<string, string> = {}, key = 'sdk-key') =>
      evaluate(server, BULK, other, { key, headers: { 'if-none-match': tag, ...headers } });
    const before = server.environment.evaluations;
    for (const same of [context, { n: 1, plan: 'a', key: 'alice', kind: 'user' }]) {
      const answer = await again(same);
      expect([answer.status, answer.body.length, answer.headers.etag]).toEqual([304, 0, tag]);
    }
    expect(server.environment.evaluations).toBe(before);
    expect((await again({ ...context, n: 2 })).status).toBe(200);
    expect((await again(context, {}, 'mob-key')).status).toBe(200);
    expect((await again(context, { prefer: 'reasons=standard' })).status).toBe(200);
    server.view.set(flag('server', 7));
    expect((await again(context)).status).toBe(200);
  });

  test('gets a new answer if only a Big Segment membership changed', async () => {
    const server = await start();
    let waited = 0;
    const wait = async () => {
      waited++;
      return new Map();
    };
    server.environment.bigSegment = { wait, flag: 'everywhere', value: 'in' };
    const first = await evaluate(server, BULK, alice);
    expect(first.json().flags[0].value).toBe('in');
    const again = () => evaluate(server, BULK, alice, { headers: { 'if-none-match': first.headers.etag! } });
    expect((await again()).status).toBe(304);
    server.environment.bigSegment = { wait, flag: 'everywhere', value: 'out' };
    expect((await again()).json().flags[0].value).toBe('out');
    expect((await evaluate(server, one('everywhere'), alice)).json().value).toBe('out');
    expect(waited).toBe(4);
  });

  test('revalidates every time, and shared caches keep no answer', async () => {
    const server = await start();
    for (const path of [BULK, one('everywhere'), one('none')]) {
      expect((await evaluate(server, path, alice)).headers['cache-control']).toBe('private, no-cache');
    }
  });
});

test('a large OFREP answer is compressed for clients that accept it', async () => {
  const many = Array.from({ length: 50 }, (_, index) => flag(`flag-${index}`, 1));
  const server = await start({ view: createMemory(...many) });
  const plain = await evaluate(server, BULK, alice);
  const packed = await evaluate(server, BULK, alice, { headers: { 'accept-encoding': 'gzip' } });
  expect(packed.headers['content-encoding']).toBe('gzip');
  expect(packed.body.length).toBeLessThan(plain.body.length / 4);
});

describe('OFREP in secure mode', () => {
  const vectors: { sdkKey: string; hashes: [object, string][] } = JSON.parse(
    readFileSync(join(import.meta.dirname, '../../fixtures/endpoints/secure-mode.json'), 'utf8'),
  );
  test('requires the hash of browsers only, by header or query @heavy', async () => {
    const server = await start();
    server.environment.secureMode = true;
    server.environment.sdkKeys = () => ['another', vectors.sdkKey];
    for (const [context, hash] of vectors.hashes) {
      const proof = { 'x-launchdarkly-hash': hash };
      for (const path of [BULK, one('browser')]) {
        expect((await evaluate(server, path, context, { key: '64a0', headers: proof })).status).toBe(200);
        expect((await evaluate(server, `${path}?h=${hash}`, context, { key: '64a0' })).status).toBe(200);
        expect(
          (await evaluate(server, path, { targetingKey: 'mallory' }, { key: '64a0', headers: proof })).status,
        ).toBe(403);
        expect((await evaluate(server, path, context, { key: '64a0' })).status).toBe(403);
      }
      expect((await evaluate(server, BULK, context, { key: 'mob-key' })).status).toBe(200);
    }
    const denied = await evaluate(server, BULK, alice, { key: '64a0' });
    expect(denied.json().message).toContain('secure mode');
  });
});

describe('a browser that uses OFREP', () => {
  const origin = 'https://shop.example';
  test('can send every header it needs and read every answer', async () => {
    const server = await start();
    for (const path of [BULK, one('browser')]) {
      const preflight = await ask(server.port, 'OPTIONS', path, {
        headers: { origin, 'access-control-request-method': 'POST' },
      });
      expect([preflight.status, preflight.headers['access-control-allow-methods']]).toEqual([200, 'POST,OPTIONS']);
      const allowed = preflight.headers['access-control-allow-headers']!.toLowerCase().split(',');
      expect(allowed).toEqual(
        expect.arrayContaining(['authorization', 'content-type', 'if-none-match', 'x-api-key', 'x-launchdarkly-hash']),
      );
      for (const [key, body] of [
        ['64a0', undefined],
        ['64a0', '{'],
        ['wrong', undefined],
      ] as const) {
        const answer = await evaluate(server, path, alice, { key, headers: { origin }, ...(body && { body }) });
        expect(answer.headers['access-control-allow-origin']).toBe(origin);
        expect(answer.headers['access-control-expose-headers']).toContain('ETag');
      }
    }
  });

  test('is not allowed from an origin that is not configured', async () => {
    const server = await start();
    server.environment.allowedOrigins = ['https://other.example'];
    const answer = await evaluate(server, BULK, alice, { key: '64a0', headers: { origin } });
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
  });
});

test("OFREP's configuration is served to older providers, with an ETag", async () => {
  const { port } = await start({ view: createMemory() });
  const headers = { authorization: '64a0' };
  const answer = await ask(port, 'GET', '/ofrep/v1/configuration', { headers });
  expect(answer.status).toBe(200);
  expect(answer.json()).toEqual({
    name: expect.any(String),
    capabilities: {
      cacheInvalidation: { polling: { enabled: true, minPollingIntervalMs: expect.any(Number) } },
      flagEvaluation: { supportedTypes: expect.arrayContaining(['int', 'float', 'string', 'boolean', 'object']) },
      caching: { enabled: false },
    },
  });
  const again = await ask(port, 'GET', '/ofrep/v1/configuration', {
    headers: { ...headers, 'if-none-match': answer.headers.etag! },
  });
  expect(again.status).toBe(304);
});

test('a flag whose answer cannot be converted costs only itself', async () => {
  const server = await start();
  const { clientView } = server.environment;
  const { evaluateInSteps } = clientView;
  clientView.evaluateInSteps = function* (...args) {
    const answers = yield* evaluateInSteps(...args);
    return answers.map((answer) => (answer.key === 'mobile' ? { ...answer, value: { json: 'Infinity' } } : answer));
  };
  const bulk = await evaluate(server, BULK, alice);
  expect(bulk.status).toBe(200);
  expect(bulk.json().flags).toEqual([
    expect.objectContaining({ key: 'everywhere', value: true }),
    { key: 'mobile', errorCode: 'GENERAL', errorDetails: expect.stringContaining('log') },
    expect.objectContaining({ key: 'browser', value: true }),
    expect.objectContaining({ key: 'server', value: true }),
  ]);
});

describe('a number in an OFREP answer', () => {
  const numbers = (key: string, variations: readonly unknown[], variation: number) =>
    flag(key, 1, { on: true, variations, fallthrough: { variation } });
  const rows: [key: string, variations: readonly unknown[], variation: number, text: string][] = [
    ['zero', [0, 1.5, 100], 0, '0.0'],
    ['fraction', [0, 1.5, 100], 1, '1.5'],
    ['hundred', [0, 1.5, 100], 2, '100.0'],
    ['negative', [-3, 0.25], 0, '-3.0'],
    // Already a double in every parser.
    ['exponent', [1e21, 0.5], 0, '1e+21'],
    ['integers', [0, 1, 100], 2, '100'],
    ['mixed', [7, 0.5, 'text', { n: 1 }], 2, '"text"'],
    ['inside', [{ n: 1 }, { n: 0.5 }], 0, '{"n":1}'],
  ];
  const view = () => createMemory(...rows.map(([key, variations, variation]) => numbers(key, variations, variation)));

  test.each(rows)(
    'is written as a decimal if a variation of its flag has a fraction: %s',
    async (key, _all, _one, text) => {
      const server = await start({ view: view() });
      const single = await evaluate(server, one(key), alice);
      expect(single.text()).toContain(`{"key":"${key}","value":${text},"reason":"FALLTHROUGH"`);
      const bulk = await evaluate(server, BULK, alice);
      expect(bulk.text()).toContain(`{"key":"${key}","value":${text},"reason":"FALLTHROUGH"`);
      expect(single.json().value).toEqual(JSON.parse(text));
    },
  );
});
