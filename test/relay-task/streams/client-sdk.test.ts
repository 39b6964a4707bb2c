import { initialize, type LDClient } from 'launchdarkly-node-client-sdk';
import { until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';
import { type ClientHub, type ClientHubOptions, startClientHub } from './start-client-hub.ts';

let started: ClientHub;
let clients: LDClient[] = [];
const start = async (options?: ClientHubOptions) => {
  started = await startClientHub(options);
  return started;
};
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  clients = [];
  await started.close();
});

const connect = async ({ port, streams }: ClientHub, key = 'alice') => {
  const uri = `http://127.0.0.1:${port}`;
  const client = initialize(
    '64a0',
    { kind: 'user', key },
    {
      baseUrl: uri,
      streamUrl: uri,
      eventsUrl: uri,
      sendEvents: false,
      streaming: true,
      diagnosticOptOut: true,
      logger: silentLog,
    },
  );
  clients.push(client);
  await client.waitForInitialization();
  await until('its stream', () => streams.connections === clients.length);
  return client;
};

describe('the official Node client-side SDK', () => {
  const inSegment = {
    rules: [{ id: 'r', variation: 1, clauses: [{ op: 'segmentMatch', attribute: '', values: ['beta'] }] }],
  };

  test('follows patches, deletions, and changes without a version bump', async () => {
    const hub = await start();
    hub.put(flag('a', 1), flag('b', 1, inSegment), segment('beta', 1));
    const client = await connect(hub);
    expect(client.allFlags()).toEqual({ a: true, b: true });
    hub.upsert(flag('a', 2, { on: false }));
    await until('the patch', () => client.variation('a') === false);
    hub.upsert(segment('beta', 2, { included: ['alice'] }));
    await until('the segment', () => client.variation('b') === false);
    hub.upsert(tombstone('features', 'a', 3));
    await until('the deletion', () => client.variation('a', 'gone') === 'gone');
    hub.upsert(flag('a', 4));
    await until('the return', () => client.variation('a') === true);
    hub.put(flag('a', 1, { on: false }));
    await until('the whole set', () => client.variation('a') === false && client.variation('b', 'gone') === 'gone');
    // Its flags came over the stream; it fetched none after the first.
    expect(hub.requests.filter((request) => request.includes('/evalx/'))).toHaveLength(1);
  });

  test('fetches its flags when pinged', async () => {
    const hub = await start({ clientStreams: 'ping' });
    hub.put(flag('a', 1));
    const client = await connect(hub);
    hub.upsert(flag('a', 2, { on: false }));
    await until('the change', () => client.variation('a') === false);
    expect(hub.requests.filter((request) => request.includes('/evalx/')).length).toBeGreaterThan(1);
  });

  test('follows the context passed to identify', async () => {
    const hub = await start();
    hub.put(flag('a', 1, { targets: [{ variation: 1, values: ['bob'] }] }));
    const client = await connect(hub);
    expect(client.variation('a')).toBe(true);
    await client.identify({ kind: 'user', key: 'bob' });
    expect(client.variation('a')).toBe(false);
    await until('the other stream', () => hub.requests.filter((one) => one.startsWith('GET /eval/')).length === 2);
    hub.upsert(flag('a', 2));
    await until('the change', () => client.variation('a') === true);
  });
});
