/** A credential that loses its environment, or the environment its data, while a request is being answered. */
import type { Found, ServedEnvironment } from '../../../relay-task/endpoints/services.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { base64url } from './ask.ts';
import { createTestEnvironment } from './served-environment.ts';
import { startServer, type TestServer } from './start-server.ts';

let server: TestServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

const after: readonly (readonly [string, (environment: ServedEnvironment) => Found, number])[] = [
  ['is revoked', () => 'unknown-credential', 401],
  ['has to wait for its own data', () => 'not-yet', 503],
  ['opens another environment each time', (environment) => ({ environment: Object.create(environment) }), 503],
];
const context = base64url({ kind: 'user', key: 'alice' });
const paths = [
  ['/sdk/latest-all', 'sdk-key'],
  ['/sdk/flags/banner', 'sdk-key'],
  ['/sdk/poll', 'sdk-key'],
  [`/msdk/evalx/contexts/${context}`, 'mob-key'],
  ['/all', 'sdk-key'],
  ['/flags', 'sdk-key'],
  ['/sdk/stream', 'sdk-key'],
  [`/meval/${context}`, 'mob-key'],
] as const;

describe.each(after)('a credential that %s while a request is answered', (_what, found, status) => {
  test.each(paths)('gets no data from %s', async (path, credential) => {
    let asked = 0;
    server = await startServer({
      view: createMemory(flag('banner', 1)),
      find: (_kind, _credential, _filter, environment) => (asked++ === 0 ? { environment } : found(environment)),
    });
    const response = await server.get(path, { headers: { Authorization: credential } });
    expect(response.status).toBe(status);
    expect(response.headers.get('x-ld-envid')).toBeNull();
    expect(await response.text()).not.toContain('banner');
    expect(server.opened).toEqual([]);
    expect(server.hub.connections).toBe(0);
  });
});

test('a request whose credential opens another environment meanwhile is answered from that one', async () => {
  const other = Object.assign(createTestEnvironment(createMemory(flag('second', 1))), { environmentId: '64a1' });
  let asked = 0;
  server = await startServer({
    view: createMemory(flag('banner', 1)),
    find: (_kind, _credential, _filter, environment) => ({ environment: asked++ === 0 ? environment : other }),
  });
  for (const path of ['/sdk/latest-all', `/msdk/evalx/contexts/${context}`]) {
    asked = 0;
    const authorization = path.startsWith('/msdk') ? 'mob-key' : 'sdk-key';
    const response = await server.get(path, { headers: { Authorization: authorization } });
    expect([response.status, response.headers.get('x-ld-envid')]).toEqual([200, '64a1']);
    expect(await response.text()).toMatch(/^(?!.*banner).*second/);
  }
});

test('a refusal that was made from the data before is withdrawn when the data changes meanwhile', async () => {
  let asked = 0;
  server = await startServer({
    view: createMemory(flag('banner', 1)),
    find: (_kind, _credential, _filter, environment) => (asked++ === 0 ? { environment } : 'not-yet'),
  });
  const response = await server.get('/sdk/flags/of-the-other', { headers: { Authorization: 'sdk-key' } });
  expect(response.status).toBe(503);
});

test('events that were accepted stay accepted when their key is revoked meanwhile', async () => {
  let asked = 0;
  server = await startServer({
    find: (_kind, _credential, _filter, environment) => (asked++ === 0 ? { environment } : 'unknown-credential'),
  });
  const response = await server.get('/bulk', {
    method: 'POST',
    headers: { Authorization: 'sdk-key', 'Content-Type': 'application/json' },
    body: '[]',
  });
  expect(response.status).toBe(202);
});

describe.each(after)('a bad request whose credential %s meanwhile', (_what, found, status) => {
  test.each([
    [
      'a hash that only the former environment refuses',
      `/sdk/evalx/client-id/contexts/${context}?h=of-another-key`,
      'GET',
    ],
    ['the same with a body', '/sdk/evalx/client-id/context?h=of-another-key', 'REPORT'],
    ['the same for a stream', `/eval/client-id/${context}?h=of-another-key`, 'GET'],
    ['a context that is none', '/sdk/evalx/client-id/contexts/bm9uZQ', 'GET'],
  ])('gets no 400 for %s', async (_request, path, method) => {
    let asked = 0;
    server = await startServer({
      view: createMemory(flag('banner', 1)),
      find: (_kind, _credential, _filter, environment) =>
        asked++ === 0 ? { environment: { ...environment, secureMode: true } } : found(environment),
    });
    const response = await server.get(path, {
      method,
      ...(method === 'REPORT' && {
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ kind: 'user', key: 'alice' }),
      }),
    });
    expect(response.status).toBe(status === 401 ? 404 : status);
  });
});

test.each([
  ['/bulk', 'sdk-key', 'POST'],
  ['/mobile', 'mob-key', 'POST'],
  ['/diagnostic', 'sdk-key', 'POST'],
  ['/a/client-id.gif?d=W10', undefined, 'GET'],
])('events for %s get 503 when their environment is removed while they arrive', async (path, credential, method) => {
  server = await startServer({
    find: (_kind, _credential, _filter, environment) => {
      Object.assign(environment.events ?? {}, { closed: true });
      return { environment };
    },
  });
  const response = await server.get(path, {
    method,
    headers: { ...(credential && { Authorization: credential }), 'Content-Type': 'application/json' },
    ...(method === 'POST' && { body: '[]' }),
  });
  expect(response.status).toBe(503);
  expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
});
