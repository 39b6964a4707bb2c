/**
 * Known faults of LaunchDarkly's own relay (8.10), numbers 14 to 22 in our list of them; each test shows what this relay
 * does instead.
 */
import { createHmac } from 'node:crypto';
import { flag, segment } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { ask, base64url, json } from './ask.ts';
import { startServer, type TestServer } from './start-server.ts';

const alice = { kind: 'user', key: 'alice' };
const site = 'https://app.example';
let server: TestServer;
beforeEach(async () => {
  server = await startServer({
    view: createMemory(flag('banner', 7, { newField: { from: 'tomorrow' } }), segment('beta', 2, { newField: 1 })),
  });
});
afterEach(() => server.close());
const sdk = { authorization: 'sdk-key' };
const get = (path: string, headers: Record<string, string> = {}) => ask(server.port, 'GET', path, { headers });

test('fault 14: ETags are quoted, match in lists and come with 304; evalx has them too, and responses have Cache-Control', async () => {
  server.environment.ttlMs = 60_000;
  for (const path of [
    '/sdk/flags',
    '/sdk/flags/banner',
    '/sdk/segments/beta',
    `/sdk/evalx/contexts/${base64url(alice)}`,
  ]) {
    const { etag } = (await get(path, sdk)).headers;
    expect(etag).toMatch(/^"[^"]+"$/);
    for (const held of [`"a", ${etag}, "b"`, '*', `W/${etag}`]) {
      const answer = await get(path, { ...sdk, 'if-none-match': held });
      expect([answer.status, answer.headers.etag]).toEqual([304, etag]);
      expect(answer.headers['cache-control']).toBeDefined();
    }
  }
});

test('fault 15: allowedOrigins apply to streams, errors are readable, responses vary by origin, preflights list methods', async () => {
  server.environment.allowedOrigins = [site];
  for (const path of ['/ping/64a0', `/eval/64a0/${base64url(alice)}`]) {
    expect((await get(path, { origin: site })).headers['access-control-allow-origin']).toBe(site);
    const other = await get(path, { origin: 'https://other.example' });
    expect(other.headers['access-control-allow-origin']).toBeUndefined();
    expect(other.headers.vary).toContain('Origin');
  }
  const error = await get('/sdk/evalx/64a0/contexts/bad!', { origin: site });
  expect([error.status, error.headers['access-control-allow-origin']]).toEqual([400, site]);
  const diagnostic = await ask(server.port, 'OPTIONS', '/events/diagnostic/64a0', { headers: { origin: site } });
  expect(diagnostic.headers['access-control-allow-methods']).toBe('POST,OPTIONS');
});

test('fault 16: HEAD, a trailing slash, a charset, and POST instead of REPORT all work', async () => {
  expect((await ask(server.port, 'HEAD', '/sdk/flags', { headers: sdk })).status).toBe(200);
  expect((await get('/sdk/flags/', sdk)).status).toBe(200);
  const headers = { 'content-type': 'application/json; charset=utf-8' };
  for (const [path, key] of [
    ['/sdk/evalx/context', 'sdk-key'],
    ['/sdk/evalx/user', 'sdk-key'],
    ['/msdk/evalx/context', 'mob-key'],
    ['/msdk/evalx/user', 'mob-key'],
    ['/sdk/evalx/64a0/context', ''],
    ['/sdk/evalx/64a0/user', ''],
    ['/meval', 'mob-key'],
    ['/eval/64a0', ''],
  ] as const) {
    for (const method of ['REPORT', 'POST']) {
      const options = { headers: { ...headers, authorization: key }, body: JSON.stringify(alice) };
      expect([path, method, (await ask(server.port, method, path, options)).status]).toEqual([path, method, 200]);
    }
  }
});

test('fault 17: Bearer is accepted, and every error is JSON that says what is wrong', async () => {
  expect((await get('/sdk/flags', { authorization: 'Bearer sdk-key' })).status).toBe(200);
  for (const [path, authorization, status, message] of [
    ['/sdk/flags', '', 401, /Authorization header/],
    ['/sdk/flags', 'sdk-wrong', 401, /SDK key belongs to no environment/],
    ['/mping', 'mob-wrong', 401, /mobile key belongs to no environment/],
    ['/ping/wrong', '', 404, /client-side ID in the path belongs to no environment/],
    ['/sdk/flags/nothing', 'sdk-key', 404, /"nothing"/],
    ['/sdk/flags?filter=f', 'sdk-key', 404, /filter/],
    ['/nothing', '', 404, /nothing/],
    ['/bulk', 'sdk-key', 405, /POST/],
  ] as const) {
    const answer = await get(path, { authorization });
    expect([path, answer.status, answer.headers['content-type']]).toEqual([path, status, 'application/json']);
    expect(answer.json()).toEqual({ message: expect.stringMatching(message) });
  }
});

test('fault 18: events above the limit get 413, events of exactly the limit 202, malformed ones 400', async () => {
  const limited = await startServer({ server: { maxInboundPayloadBytes: 10 } });
  const post = (body: string) => ask(limited.port, 'POST', '/bulk', { headers: { ...json, ...sdk }, body });
  const statuses = [await post('[12345678]'), await post('[123456789]'), await post('[12,')].map(
    ({ status }) => status,
  );
  await limited.close();
  expect(statuses).toEqual([202, 413, 400]);
});

test('fault 19: in secure mode, hashes made with the previous SDK key keep working', async () => {
  server.environment.secureMode = true;
  server.environment.sdkKeys = () => ['new', 'old'];
  for (const [key, status] of [
    ['new', 200],
    ['old', 200],
    ['never', 400],
  ] as const) {
    const hash = createHmac('sha256', key).update('alice').digest('hex');
    expect((await get(`/sdk/evalx/64a0/contexts/${base64url(alice)}?h=${hash}`)).status).toBe(status);
  }
});

test('fault 20: server SDKs can poll', async () => {
  expect((await get('/sdk/latest-all', sdk)).json()).toMatchObject({
    flags: { banner: { version: 7 } },
    segments: { beta: { version: 2 } },
  });
});

test('fault 21: SDKs receive fields that the relay does not know', async () => {
  expect((await get('/sdk/flags/banner', sdk)).json().newField).toEqual({ from: 'tomorrow' });
  const all = (await get('/sdk/latest-all', sdk)).json();
  expect([all.flags.banner.newField, all.segments.beta.newField]).toEqual([{ from: 'tomorrow' }, 1]);
});

test('fault 22: evalx answers have flagVersion', async () => {
  for (const [path, headers] of [
    ['/sdk/evalx/contexts', sdk],
    ['/msdk/evalx/contexts', { authorization: 'mob-key' }],
    ['/sdk/evalx/64a0/contexts', {}],
  ] as const) {
    expect((await get(`${path}/${base64url(alice)}`, headers)).json().banner.flagVersion).toBe(7);
  }
});
