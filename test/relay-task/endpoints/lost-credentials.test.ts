/** A credential that loses its environment, or the environment its data, while a request is being answered. */
import type { Found } from '../../../relay-task/endpoints/services.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { base64url } from './ask.ts';
import { startServer, type TestServer } from './start-server.ts';

let server: TestServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

const other = {} as Extract<Found, { environment: unknown }>['environment'];
const after: readonly (readonly [string, Found, number])[] = [
  ['is revoked', 'unknown-credential', 401],
  ['has to wait for its own data', 'not-yet', 503],
  ['opens another environment', { environment: other }, 503],
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
      find: (_kind, _credential, _filter, environment) => (asked++ === 0 ? { environment } : found),
    });
    const response = await server.get(path, { headers: { Authorization: credential } });
    expect(response.status).toBe(status);
    expect(await response.text()).not.toContain('banner');
    expect(server.opened).toEqual([]);
    expect(server.hub.connections).toBe(0);
  });
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
