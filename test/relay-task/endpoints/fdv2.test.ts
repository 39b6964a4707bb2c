import { internal } from '@launchdarkly/js-sdk-common';
import { init } from '@launchdarkly/node-server-sdk';
import type { OfficialPayload } from '../../support/fake-fdv2.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';
import { createMemory } from '../../support/memory.ts';
import { readStream } from '../../support/read-stream.ts';
import { ask, base64url, json } from './ask.ts';
import { startServer, type TestServer } from './start-server.ts';

let server: TestServer;
beforeEach(async () => {
  server = await startServer({
    view: createMemory(flag('banner', 7), flag('menu', 2), segment('beta', 3), tombstone('features', 'gone', 4)),
  });
});
afterEach(() => server.close());

/** The payload that LaunchDarkly's own protocol handler reads from an answer, if any. */
const understood = (events: { event: string; data: unknown }[], ...kinds: string[]): OfficialPayload | undefined => {
  const asIs = (object: unknown) => object;
  const complaints: unknown[] = [];
  const complain = (...words: unknown[]) => void complaints.push(words);
  const handler = internal.createProtocolHandler(Object.fromEntries(kinds.map((kind) => [kind, asIs])), {
    debug() {},
    info: complain,
    warn: complain,
    error: complain,
  });
  const payloads = events.map((event) => handler.processEvent(event)).filter((action) => action.type !== 'none');
  expect(complaints).toEqual([]);
  expect(payloads.length).toBe(1);
  return payloads[0]!.type === 'payload' ? payloads[0]!.payload : undefined;
};

describe('/sdk/poll', () => {
  const poll = async (basis = '', headers: Record<string, string> = {}) => {
    const query = basis === '' ? '' : `?basis=${encodeURIComponent(basis)}`;
    return ask(server.port, 'GET', `/sdk/poll${query}`, { headers: { authorization: 'sdk-key', ...headers } });
  };
  const payloadOf = async (basis?: string) => understood((await poll(basis)).json().events, 'flag', 'segment');

  test('without a basis returns all flags and segments unchanged, without tombstones', async () => {
    const payload = await payloadOf();
    expect(payload).toMatchObject({ type: 'full', state: expect.stringMatching(/^[0-9a-f]+$/) });
    expect(payload!.updates.map(({ kind, key, version, object }) => [kind, key, version, object])).toEqual([
      ['flag', 'banner', 7, JSON.parse(flag('banner', 7).json)],
      ['flag', 'menu', 2, JSON.parse(flag('menu', 2).json)],
      ['segment', 'beta', 3, JSON.parse(segment('beta', 3).json)],
    ]);
  });

  test('with a known basis returns what was changed and deleted since', async () => {
    const { state } = (await payloadOf())!;
    server.view.set(flag('banner', 8));
    server.view.set(tombstone('segments', 'beta', 4), flag('banner', 9));
    const changes = (await payloadOf(state))!;
    expect(changes.type).toBe('partial');
    expect(changes.state).toBe((await payloadOf())!.state);
    expect(changes.updates.map(({ kind, key, version, deleted }) => [kind, key, version, deleted ?? false])).toEqual([
      ['flag', 'banner', 9, false],
      ['segment', 'beta', 4, true],
    ]);
  });

  test('with the current basis returns nothing, with an unknown one everything', async () => {
    const { state } = (await payloadOf())!;
    expect(await payloadOf(state)).toMatchObject({ type: 'none', updates: [] });
    const full = await payloadOf('1000:from another relay & more');
    expect([full!.type, full!.updates.length, full!.state]).toEqual(['full', 3, state]);
  });

  test('uses the state as its ETag: 304 if the client has it, unless it names another basis', async () => {
    const first = await poll();
    const { etag } = first.headers;
    const { state } = (await payloadOf())!;
    expect(etag).toBe(`"${state}"`);
    expect((await poll('', { 'if-none-match': etag! })).status).toBe(304);
    expect((await poll(state, { 'if-none-match': etag! })).status).toBe(304);
    const behind = await poll('older', { 'if-none-match': etag! });
    expect([behind.status, understood(behind.json().events, 'flag', 'segment')!.type]).toEqual([200, 'full']);
    server.view.set(flag('banner', 8));
    expect((await poll(state, { 'if-none-match': etag! })).status).toBe(200);
  });

  test('lets an official SDK in FDv2 polling mode start', async () => {
    const uri = `http://127.0.0.1:${server.port}`;
    const client = init('sdk-key', {
      baseUri: uri,
      streamUri: uri,
      eventsUri: uri,
      sendEvents: false,
      logger: silentLog,
      dataSystem: { dataSource: { dataSourceOptionsType: 'pollingOnly', pollInterval: 30 } },
    });
    try {
      await client.waitForInitialization({ timeout: 60 });
      expect(await client.boolVariation('banner', { kind: 'user', key: 'alice' }, false)).toBe(true);
      expect(server.answers.map(({ route, status }) => [route, status])).toEqual([['/sdk/poll', 200]]);
    } finally {
      client.close();
    }
  });
});

test('/sdk/stream opens with the basis that the client names', async () => {
  for (const basis of ['', 'abc', 'a%3Ab']) {
    const path = `/sdk/stream${basis && `?basis=${basis}`}`;
    const reader = await readStream({ port: server.port, path, headers: { authorization: 'sdk-key' } });
    expect(JSON.parse((await reader.next()).data)).toMatchObject({ kind: 'fdv2', basis: decodeURIComponent(basis) });
    reader.close();
  }
});

describe('/sdk/poll/eval', () => {
  const alice = { kind: 'user', key: 'alice' };
  const path = `/sdk/poll/eval/${base64url(alice)}`;
  const poll = (query: string, headers: Record<string, string> = {}) =>
    ask(server.port, 'GET', `${path}?${query}`, { headers });
  const payloadOf = async (query: string) => understood((await poll(query)).json().events, 'flag-eval');

  test('returns what evalx returns to browsers and mobile SDKs', async () => {
    const expected = { value: true, variation: 0, flagVersion: 7 };
    const browser = await payloadOf('auth=64a0');
    expect(browser!.type).toBe('full');
    expect(browser!.updates[0]).toMatchObject({ kind: 'flag-eval', key: 'banner', version: 7, object: expected });
    const bodies = [
      await poll('auth=mob-key'),
      await poll('', { authorization: 'mob-key' }),
      await ask(server.port, 'POST', '/sdk/poll/eval', {
        headers: { ...json, authorization: 'mob-key' },
        body: JSON.stringify(alice),
      }),
    ].map((answer) => answer.text());
    expect(new Set(bodies).size).toBe(1);
    expect(bodies[0]).toContain('"flag-eval"');
    expect((await payloadOf('auth=64a0&withReasons=true'))!.updates[0]!.object).toHaveProperty('reason');
  });

  test('with the current basis returns nothing, with any other everything', async () => {
    const { state } = (await payloadOf('auth=64a0'))!;
    expect(await payloadOf(`auth=64a0&basis=${state}`)).toMatchObject({ type: 'none' });
    const held = { 'if-none-match': `"${state}"` };
    expect((await poll('auth=64a0', held)).status).toBe(304);
    expect((await poll(`auth=64a0&basis=${state}`, held)).status).toBe(304);
    expect((await poll('auth=64a0&basis=older', held)).status).toBe(200);
    server.view.set(flag('banner', 8));
    const changed = await payloadOf(`auth=64a0&basis=${state}`);
    expect([changed!.type, changed!.updates.length]).toEqual(['full', 2]);
  });
});
