import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { readStream } from '../../support/read-stream.ts';
import { type Answer, ask, base64url, json } from './ask.ts';
import { startServer, type TestServer } from './start-server.ts';

const context = base64url({ kind: 'user', key: 'alice' });
const site = 'https://app.example';
let server: TestServer;
beforeEach(async () => {
  server = await startServer({ view: createMemory(flag('banner', 1)) });
});
afterEach(() => server.close());
const from = (origin: string | undefined, method: string, path: string): Promise<Answer> =>
  ask(server.port, method, path, { headers: { ...json, ...(origin && { origin }) } });
const allowOrigin = ({ headers }: Answer) => headers['access-control-allow-origin'];

test('a preflight allows the headers that LaunchDarkly allows and current SDKs send', async () => {
  server.environment.allowedHeaders = ['X-Corp', 'X-Trace'];
  const { status, headers } = await from(site, 'OPTIONS', '/sdk/evalx/64a0/context');
  expect(status).toBe(200);
  expect(headers['access-control-allow-origin']).toBe(site);
  expect(headers['access-control-allow-credentials']).toBe('false');
  expect(headers['access-control-max-age']).toBe('300');
  expect(headers['access-control-allow-methods']).toBe('REPORT,POST,OPTIONS');
  expect(headers['access-control-expose-headers']?.split(',')).toEqual(expect.arrayContaining(['Date', 'ETag']));
  expect(headers['access-control-allow-headers']).toMatch(
    /^Cache-Control,Content-Type,Content-Length,Accept-Encoding,X-LaunchDarkly-User-Agent,X-LaunchDarkly-Payload-ID,X-LaunchDarkly-Wrapper,X-LaunchDarkly-Event-Schema,X-LaunchDarkly-Tags,.*X-LaunchDarkly-Instance-Id.*,X-Corp,X-Trace$/,
  );
  expect(headers.vary).toContain('Origin');
  expect(headers.allow).toBe('REPORT, POST, OPTIONS');
});

test.each(['/events/bulk/64a0', '/events/diagnostic/64a0'])('a preflight for %s lists its methods', async (path) => {
  expect((await from(site, 'OPTIONS', path)).headers['access-control-allow-methods']).toBe('POST,OPTIONS');
});

const paths = [
  `/sdk/evalx/64a0/contexts/${context}`,
  '/sdk/goals/64a0',
  '/a/64a0.gif',
  `/eval/64a0/${context}`,
  '/ping/64a0',
  `/sdk/poll/eval/${context}?auth=64a0`,
  `/sdk/stream/eval/${context}?auth=64a0`,
];
test.each(paths)('%s allows any origin by default, and otherwise only the configured ones', async (path) => {
  expect(allowOrigin(await from(site, 'GET', path))).toBe(site);
  expect(allowOrigin(await from(undefined, 'GET', path))).toBe('*');
  server.environment.allowedOrigins = ['https://first.example', site];
  for (const method of ['GET', 'OPTIONS']) {
    const allowed = await from(site, method, path);
    expect([allowOrigin(allowed), allowed.headers.vary]).toEqual([site, expect.stringContaining('Origin')]);
    for (const other of ['https://evil.example', `${site}.evil.example`, 'null', undefined]) {
      const refused = await from(other, method, path);
      expect([refused.status, allowOrigin(refused)]).toEqual([200, undefined]);
      expect(refused.headers.vary).toContain('Origin');
    }
  }
});

test('a page can read every error', async () => {
  for (const [method, path, status] of [
    ['GET', `/sdk/evalx/unknown/contexts/${context}`, 404],
    ['GET', '/sdk/evalx/64a0/contexts/bad!', 400],
    ['GET', '/eval/64a0/bad!', 400],
    ['GET', '/ping/unknown', 404],
    ['POST', '/eval/64a0', 400],
    ['POST', '/events/bulk/64a0', 400],
    ['DELETE', '/events/bulk/64a0', 405],
    ['GET', `/sdk/poll/eval/${context}`, 401],
  ] as const) {
    const answer = await from(site, method, path);
    expect([path, answer.status, allowOrigin(answer)]).toEqual([path, status, site]);
  }
  server.environment.allowedOrigins = ['https://first.example'];
  expect(allowOrigin(await from(site, 'GET', '/eval/64a0/bad!'))).toBeUndefined();
  expect(allowOrigin(await from('https://first.example', 'DELETE', '/ping/64a0'))).toBe('https://first.example');
});

test('the page can read a 304', async () => {
  const { headers } = await from(site, 'GET', paths[0]!);
  const again = await ask(server.port, 'GET', paths[0]!, { headers: { origin: site, 'if-none-match': headers.etag! } });
  expect([again.status, allowOrigin(again)]).toEqual([304, site]);
});

test('endpoints for servers and mobile devices have no CORS headers', async () => {
  for (const [path, authorization] of [
    ['/sdk/latest-all', 'sdk-key'],
    [`/msdk/evalx/contexts/${context}`, 'mob-key'],
    ['/status', ''],
  ] as const) {
    const reader = await readStream({ port: server.port, path, headers: { authorization, origin: site } });
    reader.close();
    expect(Object.keys(reader.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  }
  await from(site, 'GET', `/meval/${context}`);
  const mobile = await ask(server.port, 'GET', `/meval/${context}`, { headers: { authorization: 'mob-key' } });
  expect([mobile.status, server.opened.at(-1)?.opening.headers]).toEqual([200, undefined]);
});
