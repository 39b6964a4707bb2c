import type { RelayServerOptions } from '../../../relay-task/endpoints/server.ts';
import { createStatus } from '../../../relay-task/endpoints/status.ts';
import { createEmptyMemory } from '../../support/memory.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';
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

test('a restricted /status requires an SDK key or the token @heavy', async () => {
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

const request = { method: 'GET', params: { environment: 'one' }, query: new URLSearchParams(), headers: {} };
const readiness = () => ({ ready: true, waitingFor: [] });

/** Of so many environments, and how often it was made and how many turns of the event loop had a part of it. */
function statusOfMany(count: number, padding = 0) {
  const made = { times: 0, turns: 0 };
  let isCounted = false;
  const health = {
    *status() {
      made.times += 1;
      for (let part = 0; part < count; part++) {
        if (!isCounted) {
          isCounted = true;
          made.turns += 1;
          setImmediate(() => {
            isCounted = false;
          });
        }
        yield `${part === 0 ? '[' : ','}"${'x'.repeat(padding)}"`;
      }
      yield ']';
    },
  };
  return { made, health };
}

test('/status is made in slices', async () => {
  const { made, health } = statusOfMany(500);
  const handlers = createStatus({ health: { ...health, *environmentStatus() {}, readiness } });
  const sliced = countSlicedTurns();
  const reply = await Promise.resolve(handlers.all(request)).finally(sliced.stop);
  expect(JSON.parse(Buffer.concat([reply.body].flat() as Buffer[]).toString())).toHaveLength(500);
  expect(made.turns).toBeGreaterThan(200);
});

test('a large /status is made once for all requests meanwhile, and shared for a moment; a small one is always new @heavy', async () => {
  const large = statusOfMany(500, 1_000);
  const { port } = await start({}, { health: large.health });
  // The clock stands still.
  const clock = performance.now();
  const now = jest.spyOn(performance, 'now').mockReturnValue(clock);
  const bodies = await Promise.all(Array.from({ length: 20 }, () => ask(port, 'GET', '/status')));
  expect(bodies.map((answer) => answer.json().length)).toEqual(bodies.map(() => 500));
  // One for those who asked first, one for all others.
  expect(large.made.times).toBeLessThanOrEqual(2);
  const { times: before } = large.made;
  now.mockReturnValue(clock + 900);
  await ask(port, 'GET', '/status');
  expect(large.made.times).toBe(before);
  now.mockReturnValue(clock + 1_100);
  await ask(port, 'GET', '/status').finally(() => now.mockRestore());
  expect(large.made.times).toBe(before + 1);
  const small = statusOfMany(3);
  const other = await start({}, { health: small.health });
  for (let times = 1; times <= 3; times++) {
    await ask(other.port, 'GET', '/status');
    expect(small.made.times).toBe(times);
  }
});

test('/status/{environment} is looked for in slices', async () => {
  const health = {
    status: () => [],
    *environmentStatus() {
      for (let step = 0; step < 500; step++) yield;
      return { status: 'connected' };
    },
    readiness,
  };
  const sliced = countSlicedTurns();
  const reply = await Promise.resolve(createStatus({ health }).one(request)).finally(sliced.stop);
  expect(reply.body).toBe('{"status":"connected"}');
  expect(sliced.turns).toBeGreaterThan(200);
});
