import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { ask, json } from './ask.ts';
import { startServer, type TestServer, type TestServerOptions } from './start-server.ts';

const events = '[{"kind":"custom","key":"ü"}]';
const addresses = [
  ['/bulk', 'sdk-key', 'analytics', 'sdkKey'],
  ['/diagnostic', 'sdk-key', 'diagnostic', 'sdkKey'],
  ['/mobile', 'mob-key', 'analytics', 'mobileKey'],
  ['/mobile/events', 'mob-key', 'analytics', 'mobileKey'],
  ['/mobile/events/bulk', 'mob-key', 'analytics', 'mobileKey'],
  ['/mobile/events/diagnostic', 'mob-key', 'diagnostic', 'mobileKey'],
  ['/events/bulk/64a0', '64a0', 'analytics', 'environmentId'],
  ['/events/diagnostic/64a0', '64a0', 'diagnostic', 'environmentId'],
] as const;
let servers: TestServer[] = [];
const start = async (options: TestServerOptions = {}) => {
  const server = await startServer({ view: createMemory(flag('banner', 1)), ...options });
  servers.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()));
  servers = [];
});

test.each(addresses)('%s accepts events and passes on their headers', async (path, key, to, kind) => {
  const { port, environment } = await start();
  const headers = { ...json, authorization: key, 'x-launchdarkly-event-schema': '4', 'x-launchdarkly-payload-id': 'p' };
  const began = Date.now();
  const answer = await ask(port, 'POST', path, { headers, body: events });
  expect([answer.status, answer.body.length]).toEqual([202, 0]);
  // SDKs use it to correct their clock for debug events.
  expect(Date.parse(answer.headers.date!)).toBeGreaterThan(began - 1_500);
  expect(Date.parse(answer.headers.date!)).toBeLessThanOrEqual(Date.now());
  expect(environment.delivered).toEqual([
    {
      to,
      kind,
      credential: key,
      headers: expect.objectContaining(headers),
      body: Buffer.from(events),
      address: '127.0.0.1',
      pause: expect.any(Function),
    },
  ]);
});

test.each<[string, (bytes: Buffer) => Buffer]>([
  ['gzip', gzipSync],
  ['x-gzip', gzipSync],
  ['GZIP', gzipSync],
  ['deflate', deflateSync],
  ['deflate', deflateRawSync],
  ['br', brotliCompressSync],
  ['identity', (bytes) => bytes],
])('an event body in %s is decompressed', async (encoding, pack) => {
  const { port, environment } = await start();
  const headers = { authorization: 'sdk-key', 'content-encoding': encoding };
  expect((await ask(port, 'POST', '/bulk', { headers, body: pack(Buffer.from(events)) })).status).toBe(202);
  expect(environment.delivered[0]!.body.toString()).toBe(events);
});

test.each<[string, string | Buffer, number, RegExp, string]>([
  ['no content', '', 400, /empty/, ''],
  ['no content, compressed', '', 400, /empty/, 'gzip'],
  ['white space', ' \n', 400, /JSON/, ''],
  ['invalid JSON', '[{"kind":', 400, /JSON/, ''],
  ['JSON that is not events', '"custom"', 400, /JSON/, ''],
  ['something that is not gzip', events, 400, /gzip/, 'gzip'],
  ['truncated gzip', gzipSync(events).subarray(0, 20), 400, /gzip/, 'gzip'],
  ['an unknown encoding', events, 415, /gzip, deflate or br/, 'zip'],
  ['two encodings', gzipSync(gzipSync(events)), 415, /gzip, deflate or br/, 'gzip, gzip'],
])('an event body with %s is rejected with a reason', async (_, body, status, reason, encoding) => {
  const { port, environment } = await start();
  for (const path of ['/bulk', '/diagnostic']) {
    const headers = { authorization: 'sdk-key', ...(encoding && { 'content-encoding': encoding }) };
    const answer = await ask(port, 'POST', path, { headers, body });
    expect([answer.status, answer.json().message]).toEqual([status, expect.stringMatching(reason)]);
  }
  expect(environment.delivered).toEqual([]);
});

test('a single object on /bulk is accepted, since an SDK sends a diagnostic event there after a failure', async () => {
  const { port, environment } = await start();
  expect(
    (await ask(port, 'POST', '/bulk', { headers: { authorization: 'sdk-key' }, body: '{"kind":"diagnostic"}' })).status,
  ).toBe(202);
  expect(environment.delivered.length).toBe(1);
});

test('the size limit applies to decompressed bytes and is inclusive', async () => {
  const body = `["${'x'.repeat(100_000)}"]`;
  const { port, environment } = await start({ server: { maxInboundPayloadBytes: body.length } });
  const post = (text: string, headers: Record<string, string> = {}) =>
    ask(port, 'POST', '/bulk', {
      headers: { authorization: 'sdk-key', ...headers },
      body: headers['content-encoding'] ? gzipSync(text) : text,
    });
  for (const headers of [{}, { 'transfer-encoding': 'chunked' }, { 'content-encoding': 'gzip' }] as Record<
    string,
    string
  >[]) {
    expect((await post(body, headers)).status).toBe(202);
    const answer = await post(`${body} `, headers);
    expect([answer.status, answer.json().message]).toEqual([413, expect.stringContaining(String(body.length))]);
  }
  expect(environment.delivered.length).toBe(3);
});

test('decompressing a gzip bomb stops at the limit @heavy', async () => {
  const { port, environment } = await start();
  const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024));
  const before = process.memoryUsage().arrayBuffers;
  const post = () =>
    ask(port, 'POST', '/bulk', { headers: { authorization: 'sdk-key', 'content-encoding': 'gzip' }, body: bomb });
  expect((await Promise.all([post(), post()])).map(({ status }) => status)).toEqual([413, 413]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(60 * 1024 * 1024);
  expect(environment.delivered).toEqual([]);
});

test('events get 503 if forwarding is off, so that SDKs retry', async () => {
  const { port, environment } = await start();
  environment.events = undefined;
  for (const [path, authorization] of addresses) {
    const answer = await ask(port, 'POST', path, { headers: { authorization }, body: events });
    expect([answer.status, answer.json()]).toEqual([503, { message: expect.any(String) }]);
  }
  expect((await ask(port, 'GET', '/a/64a0.gif')).status).toBe(503);
});

describe('an event image', () => {
  const pixel = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');
  const odd = '[{"kind":"custom","key":"ÿþ~~???>>>ûïÿ"}]';
  const standard = Buffer.from(odd).toString('base64');

  test.each([
    ['base64url, as the JavaScript SDK sends it', Buffer.from(odd).toString('base64url')],
    ['base64, percent-encoded', encodeURIComponent(standard)],
    ['base64 as it is', standard],
  ])('carries events in %s', async (_, d) => {
    const { port, environment } = await start();
    const headers = { 'user-agent': 'Mozilla/5.0', 'x-launchdarkly-tags': 'a' };
    const answer = await ask(port, 'GET', `/a/64a0.gif?d=${d}`, { headers });
    expect([answer.status, answer.headers['content-type'], answer.body]).toEqual([200, 'image/gif', pixel]);
    expect(environment.delivered).toEqual([
      {
        to: 'analytics',
        kind: 'environmentId',
        credential: '64a0',
        headers: expect.objectContaining({ 'x-launchdarkly-event-schema': '3', 'user-agent': 'Mozilla/5.0' }),
        body: Buffer.from(odd),
        address: '127.0.0.1',
        pause: expect.any(Function),
      },
    ]);
    expect(environment.delivered[0]!.headers).not.toHaveProperty('x-launchdarkly-tags');
  });

  test.each(['', '?d=', '?d=%F0%9F', '?d=e30===', `?d=${Buffer.from('[{').toString('base64')}`])(
    'is returned for %j, without any event',
    async (query) => {
      const { port, environment } = await start();
      const answer = await ask(port, 'GET', `/a/64a0.gif${query}`);
      expect([answer.status, answer.body, environment.delivered]).toEqual([200, pixel, []]);
    },
  );
});

test.each(['/a/64a0.png', '/a/.gif', '/a/64a0', '/a/64a0.gif.gif'])('%s is not an event image', async (path) => {
  const { port } = await start();
  expect((await ask(port, 'GET', path)).status).toBe(404);
});

describe('goals', () => {
  test('are an empty list without a goals source', async () => {
    const { port } = await start();
    const answer = await ask(port, 'GET', '/sdk/goals/64a0');
    expect([answer.status, answer.text(), answer.headers['content-type']]).toEqual([200, '[]', 'application/json']);
  });

  test('are LaunchDarkly’s response without its hop-by-hop headers', async () => {
    const { port, environment } = await start();
    const asked: string[] = [];
    environment.goals = async (environmentId, query) => {
      expect(environmentId).toBe('64a0');
      asked.push(query);
      const headers = {
        'Content-Type': 'application/json',
        ETag: '"g"',
        'Access-Control-Allow-Origin': 'x',
        Connection: 'close',
      };
      return { status: 200, headers, body: Buffer.from('[{"kind":"click"}]') };
    };
    const answer = await ask(port, 'GET', '/sdk/goals/64a0?a=1&b=%20', { headers: { origin: 'https://a.example' } });
    expect([answer.json(), answer.headers.etag]).toEqual([[{ kind: 'click' }], '"g"']);
    expect(answer.headers['access-control-allow-origin']).toBe('https://a.example');
    expect(asked.map((query) => [...new URLSearchParams(query)])).toEqual([
      [
        ['a', '1'],
        ['b', ' '],
      ],
    ]);
  });

  test('get 503 if LaunchDarkly does not answer', async () => {
    const { port, environment } = await start();
    environment.goals = () => Promise.reject(new Error('down'));
    const answer = await ask(port, 'GET', '/sdk/goals/64a0');
    expect([answer.status, answer.headers['retry-after'] !== undefined]).toEqual([503, true]);
  });
});
