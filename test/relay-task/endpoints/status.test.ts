import type { RelayServerOptions } from '../../../relay-task/endpoints/server.ts';
import { createEmptyMemory } from '../../support/memory.ts';
import { ask } from './ask.ts';
import { startServer, type TestServer, type TestServerOptions } from './start-server.ts';

let servers: TestServer[] = [];
const start = async (server: Partial<RelayServerOptions>, more: TestServerOptions = {}) => {
  const started = await startServer({ view: createEmptyMemory(), server, ...more });
  servers.push(started);
  return started;
};
afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()));
  servers = [];
});
const paths = ['/status', '/status/production', '/status/nothing', '/status/a/b'];
const statuses = ({ port }: TestServer, authorization = '') =>
  Promise.all(paths.map(async (path) => (await ask(port, 'GET', path, { headers: { authorization } })).status));

test('/status is public by default', async () => {
  expect(await statuses(await start({}))).toEqual([200, 200, 404, 404]);
  expect(await statuses(await start({ statusAccess: 'public', statusToken: 'token' }))).toEqual([200, 200, 404, 404]);
});

test('a restricted /status requires an SDK key or the token', async () => {
  const server = await start({ statusAccess: 'restricted', statusToken: 'token' });
  for (const right of ['sdk-key', 'Bearer sdk-key', 'token', 'Bearer token', 'api_key token']) {
    expect([right, await statuses(server, right)]).toEqual([right, [200, 200, 404, 404]]);
  }
  for (const wrong of ['', 'mob-key', '64a0', 'tok', 'tokens', 'undefined']) {
    expect([wrong, await statuses(server, wrong)]).toEqual([wrong, [401, 401, 401, 401]]);
  }
  const refused = await ask(server.port, 'GET', '/status');
  expect([refused.headers['www-authenticate'], refused.json()]).toEqual(['api_key', { message: expect.any(String) }]);
  for (const none of ['', undefined]) {
    const withoutToken = await start({ statusAccess: 'restricted', statusToken: none });
    expect(await statuses(withoutToken, 'token')).toEqual([401, 401, 401, 401]);
    expect(await statuses(withoutToken, 'sdk-key')).toEqual([200, 200, 404, 404]);
  }
});

test('a restricted /status gets 503 for a key that may become known', async () => {
  const server = await start({ statusAccess: 'restricted', statusToken: 'token' }, { find: () => 'not-yet' });
  expect(await statuses(server, 'sdk-key')).toEqual([503, 503, 503, 503]);
  expect(await statuses(server, 'token')).toEqual([200, 200, 404, 404]);
});

test('/livez and /readyz are always open, but only /status access shows environment names', async () => {
  const health = { readiness: () => ({ ready: false, waitingFor: ['environment "secret project"'] }) };
  const server = await start({ statusAccess: 'restricted', statusToken: 'token' }, { health });
  expect((await ask(server.port, 'GET', '/livez')).json()).toEqual({ status: 'alive' });
  const closed = await ask(server.port, 'GET', '/readyz');
  expect([closed.status, closed.json()]).toEqual([503, { status: 'not ready' }]);
  const open = await ask(server.port, 'GET', '/readyz', { headers: { authorization: 'token' } });
  expect([open.status, open.json().waitingFor.length]).toEqual([503, 1]);
});
