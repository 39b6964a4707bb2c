import { init, type LDClient, type LDOptions } from '@launchdarkly/node-server-sdk';
import { until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';
import { createMemory } from '../../support/memory.ts';
import { startServer, type TestServer, type TestServerOptions } from './start-server.ts';

let servers: TestServer[] = [];
let clients: LDClient[] = [];
afterEach(async () => {
  for (const client of clients) client.close();
  await Promise.all(servers.map((server) => server.close()));
  clients = [];
  servers = [];
});
const start = async (options?: TestServerOptions) => {
  const server = await startServer(options);
  servers.push(server);
  return server;
};
const connect = (port: number, options: LDOptions = {}, key = 'sdk-key') => {
  const uri = `http://127.0.0.1:${port}`;
  const client = init(key, {
    baseUri: uri,
    streamUri: uri,
    eventsUri: uri,
    sendEvents: false,
    logger: silentLog,
    ...options,
  });
  clients.push(client);
  return client;
};
const alice = { kind: 'user', key: 'alice' };
const inSegment = [{ variation: 1, clauses: [{ attribute: '', op: 'segmentMatch', values: ['beta'], negate: false }] }];

test('an official SDK in streaming mode starts and follows patches, deletes and puts', async () => {
  const { port, view, streams } = await start({ view: createMemory(flag('banner', 1), segment('beta', 1)) });
  const client = connect(port);
  await client.waitForInitialization({ timeout: 60 });
  expect(await client.boolVariation('banner', alice, false)).toBe(true);
  streams.publish(view.set(flag('banner', 2, { rules: inSegment }), segment('beta', 2, { included: ['alice'] })));
  await until('the patches', async () => (await client.boolVariation('banner', alice, true)) === false);
  streams.publish(view.set(tombstone('features', 'banner', 3)));
  await until('the delete', async () => (await client.stringVariation('banner', alice, 'gone')) === 'gone');
  streams.publish(view.put([flag('banner', 1)]));
  await until('the put', async () => await client.boolVariation('banner', alice, false));
});

test('an official SDK in polling mode starts with one poll of /sdk/latest-all', async () => {
  const { port, answers } = await start({ view: createMemory(flag('banner', 1)) });
  const client = connect(port, { stream: false, pollInterval: 30 });
  await client.waitForInitialization({ timeout: 60 });
  expect(await client.boolVariation('banner', alice, false)).toBe(true);
  expect(answers.map(({ route }) => route)).toEqual(['/sdk/latest-all']);
});

test('an official SDK that connects before there is data starts as soon as there is', async () => {
  const { port, view, streams } = await start({ view: createMemory() });
  const client = connect(port);
  await until('it is connected', () => streams.connections === 1);
  streams.publish(view.put([flag('banner', 1)]));
  await client.waitForInitialization({ timeout: 60 });
  expect(await client.boolVariation('banner', alice, false)).toBe(true);
});

test('an official SDK retries while its key is not known yet, and starts when it is', async () => {
  let known = false;
  const { port } = await start({
    view: createMemory(flag('banner', 1)),
    find: (_kind, _credential, _filter, environment) => (known ? { environment } : 'not-yet'),
  });
  const client = connect(port, { streamInitialReconnectDelay: 0.05 });
  setTimeout(() => {
    known = true;
  }, 300);
  await client.waitForInitialization({ timeout: 60 });
  expect(await client.boolVariation('banner', alice, false)).toBe(true);
});
