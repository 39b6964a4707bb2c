import { init, type LDClient, type LDOptions } from '@launchdarkly/node-server-sdk';
import { until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';
import type { StreamEvent } from '../../support/read-stream.ts';
import { type ClientHub, type ClientHubOptions, startClientHub } from './start-client-hub.ts';

let started: ClientHub;
let clients: LDClient[] = [];
const start = async (options?: ClientHubOptions) => {
  started = await startClientHub(options);
  return started;
};
afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  await started.close();
});

/** `put-object a2`, `server-intent xfer-full`, `payload-transferred STATE`. */
const brief = ({ event, data }: StreamEvent): string => {
  const { key, version, payloads, state } = JSON.parse(data);
  return `${event} ${payloads?.[0].intentCode ?? state ?? `${key}${version}`}`;
};

describe('an FDv2 stream', () => {
  test('starts with everything and sends changes, each committed with its new state', async () => {
    const { put, upsert, environment, read } = await start();
    put(flag('a', 1), segment('s', 1), tombstone('features', 'gone', 4));
    const reader = await read('/sdk/stream');
    await reader.until(({ events }) => events.length === 4);
    expect(reader.events.map(brief)).toEqual([
      'server-intent xfer-full',
      'put-object s1',
      'put-object a1',
      `payload-transferred ${environment.state()}`,
    ]);
    upsert(flag('a', 2));
    const between = environment.state();
    upsert(tombstone('segments', 's', 2));
    await reader.until(({ events }) => events.length === 8);
    expect(reader.events.slice(4).map(brief)).toEqual([
      'put-object a2',
      `payload-transferred ${between}`,
      'delete-object s2',
      `payload-transferred ${environment.state()}`,
    ]);
  });

  test('starts with everything in its newest state while another stream is open that got the changes one by one', async () => {
    const { put, upsert, environment, read } = await start();
    put(flag('a', 1), flag('deleted', 1), segment('s', 1));
    const first = await read('/sdk/stream');
    await first.until(({ events }) => events.length === 5);
    upsert(flag('a', 2));
    upsert(tombstone('features', 'deleted', 2));
    upsert(segment('s2', 1));
    const second = await read('/sdk/stream');
    await second.until(({ events }) => events.length === 5);
    expect(second.events.map(brief)).toEqual([
      'server-intent xfer-full',
      'put-object s1',
      'put-object s21',
      'put-object a2',
      `payload-transferred ${environment.state()}`,
    ]);
    upsert(flag('a', 3));
    const last = `payload-transferred ${environment.state()}`;
    for (const reader of [first, second]) await reader.until(({ events }) => brief(events.at(-1)!) === last);
    expect(second.events.slice(5).map(brief)).toEqual(['put-object a3', last]);
  });

  test("starts with the changes since the client's basis, or nothing if it is current, and continues", async () => {
    const { put, upsert, environment, read } = await start();
    put(flag('a', 1), flag('b', 1));
    const basis = environment.state();
    const same = await read(`/sdk/stream?basis=${basis}`);
    upsert(flag('a', 2));
    const behind = await read(`/sdk/stream?basis=${basis}`);
    const stranger = await read('/sdk/stream?basis=elsewhere');
    await Promise.all([
      same.until(({ events }) => events.length === 3),
      behind.until(({ events }) => events.length === 3),
      stranger.until(({ events }) => events.length === 4),
    ]);
    const transferred = `payload-transferred ${environment.state()}`;
    expect(same.events.map(brief)).toEqual(['server-intent none', 'put-object a2', transferred]);
    expect(behind.events.map(brief)).toEqual(['server-intent xfer-changes', 'put-object a2', transferred]);
    expect(stranger.events.map(brief)).toEqual([
      'server-intent xfer-full',
      'put-object a2',
      'put-object b1',
      transferred,
    ]);
    upsert(flag('b', 2));
    for (const reader of [same, behind, stranger]) {
      await reader.until(({ events }) => brief(events.at(-1)!) === `payload-transferred ${environment.state()}`);
      expect(brief(reader.events.at(-2)!)).toBe('put-object b2');
    }
  });

  test('is silent until there is data, and gets a full transfer again when a put requires it', async () => {
    const { put, read } = await start();
    const reader = await read('/sdk/stream?basis=whatever');
    expect(reader.body()).toBe('');
    put(flag('a', 5));
    await reader.until(({ events }) => events.length === 3);
    put(flag('a', 4));
    await reader.until(({ events }) => events.length === 6);
    expect(reader.events.slice(3, 5).map(brief)).toEqual(['server-intent xfer-full', 'put-object a4']);
  });

  test('sends comments as heartbeats', async () => {
    const { put, read } = await start({ heartbeatMs: 40 });
    put();
    const reader = await read('/sdk/stream');
    await reader.until(({ body }) => body().includes('\n\n:\n'));
  });
});

describe('the official Node SDK with FDv2', () => {
  const alice = { kind: 'user', key: 'alice' };
  const connect = (port: number, dataSystem: LDOptions['dataSystem']) => {
    const uri = `http://127.0.0.1:${port}`;
    const client = init('sdk-key', {
      baseUri: uri,
      streamUri: uri,
      eventsUri: uri,
      sendEvents: false,
      dataSystem,
      logger: silentLog,
    });
    clients.push(client);
    return client;
  };
  const inSegment = [{ variation: 1, clauses: [{ attribute: '', op: 'segmentMatch', values: ['beta'] }] }];

  test('starts from a stream and follows changes, deletions and puts', async () => {
    const { put, upsert, port, requests } = await start();
    put(flag('banner', 1), segment('beta', 1));
    const client = connect(port, {
      dataSource: { dataSourceOptionsType: 'streamingOnly', streamInitialReconnectDelay: 0.05 },
    });
    await client.waitForInitialization({ timeout: 60 });
    expect(await client.boolVariation('banner', alice, false)).toBe(true);
    upsert(flag('banner', 2, { rules: inSegment }));
    upsert(segment('beta', 2, { included: ['alice'] }));
    await until('the changes', async () => (await client.boolVariation('banner', alice, true)) === false);
    upsert(tombstone('features', 'banner', 3));
    await until('the deletion', async () => (await client.stringVariation('banner', alice, 'gone')) === 'gone');
    put(flag('banner', 1));
    await until('the whole set', async () => await client.boolVariation('banner', alice, false));
    expect(requests).toEqual(['GET /sdk/stream']);
  });

  test('polls first, then streams from the state it got without missing anything', async () => {
    const { put, upsert, environment, port, requests, read } = await start();
    put(flag('banner', 1), flag('other', 1));
    const client = connect(port, {
      dataSource: { dataSourceOptionsType: 'standard', streamInitialReconnectDelay: 0.05 },
    });
    await client.waitForInitialization({ timeout: 60 });
    const basis = environment.state();
    await until('its stream', () => requests.includes(`GET /sdk/stream?basis=${basis}`));
    expect(requests).toEqual(['GET /sdk/poll', `GET /sdk/stream?basis=${basis}`]);
    expect(await client.boolVariation('banner', alice, false)).toBe(true);
    upsert(flag('banner', 2, { on: false }));
    await until('the change', async () => (await client.boolVariation('banner', alice, true)) === false);
    // What such a stream starts with if it connects late.
    const late = await read(`/sdk/stream?basis=${basis}`);
    expect(brief(await late.next())).toBe('server-intent xfer-changes');
  });

  test('resumes its stream after a disconnect from its last state', async () => {
    const { put, upsert, streams, port, requests } = await start();
    put(flag('banner', 1), flag('other', 1));
    const client = connect(port, {
      dataSource: { dataSourceOptionsType: 'standard', streamInitialReconnectDelay: 0.05 },
    });
    await client.waitForInitialization({ timeout: 60 });
    await until('its stream', () => streams.connections === 1);
    upsert(flag('other', 2, { on: false }));
    await until('the change', async () => (await client.boolVariation('other', alice, true)) === false);
    streams.closeCredential('key');
    upsert(flag('banner', 2, { on: false }));
    await until('the missed change', async () => (await client.boolVariation('banner', alice, true)) === false);
    expect(requests.filter((request) => request.includes('/sdk/stream')).length).toBeGreaterThanOrEqual(2);
  });

  test('starts with polling alone', async () => {
    const { put, port, requests } = await start();
    put(flag('banner', 1));
    const client = connect(port, { dataSource: { dataSourceOptionsType: 'pollingOnly', pollInterval: 30 } });
    await client.waitForInitialization({ timeout: 60 });
    expect(await client.boolVariation('banner', alice, false)).toBe(true);
    expect(requests).toEqual(['GET /sdk/poll']);
  });
});
