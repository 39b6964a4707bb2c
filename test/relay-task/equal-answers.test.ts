/** Equal strong ETags promise equal bytes (RFC 9110 section 8.8), also of two relays; and both ways of FDv2 agree. */
import { eventually } from '../support/eventually.ts';
import { type FakeUpstream, type FlagData, startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData, segmentData } from '../support/items.ts';
import { closeAfterEach } from '../support/opened.ts';
import { readStream } from '../support/read-stream.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';

const sdkKey = 'sdk-00000000-1111-2222-3333-444455556666';
const alice = Buffer.from(JSON.stringify({ kind: 'user', key: 'alice' })).toString('base64url');

const { opened } = closeAfterEach();

async function startOne(data: FlagData): Promise<{ upstream: FakeUpstream; relay: TestRelay }> {
  const upstream = opened(await startFakeUpstream(data));
  const variables = { LD_ENV_production: sdkKey, LD_CLIENT_SIDE_ID_production: 'client-id', STREAM_URI: upstream.uri };
  const relay = opened(await startTestRelay(variables));
  await eventually(async () => expect((await ask(relay, '/sdk/latest-all')).status).toBe(200));
  return { upstream, relay };
}

/** Without `Authorization` if the path has the credential. */
const ask = (relay: TestRelay, path: string, headers: Record<string, string> = {}, init: RequestInit = {}) => {
  const credential: Record<string, string> = path.includes('auth=') ? {} : { Authorization: sdkKey };
  return fetch(`${relay.uri}${path}`, {
    ...init,
    headers: { ...credential, 'Accept-Encoding': 'identity', 'Content-Type': 'application/json', ...headers },
  });
};

const stateOf = async (relay: TestRelay) => (await ask(relay, '/sdk/poll')).headers.get('etag')!.slice(1, -1);

const visible = { clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true } };
const rules = [{ variation: 1, clauses: [{ attribute: 'name', op: 'in', values: ['x'], negate: false }] }];
const a = flagData('a', 5, { ...visible, rules, later: { z: 1, b: [1] }, also: 2 });
const newer = flagData('a', 6, { ...visible, rules });
const b = flagData('b', 2, { ...visible, variations: [{ z: 1, b: 2 }, null] });
const [s, t] = [segmentData('s', 3, { included: ['x'] }), segmentData('t', 1)];

/** The same item with its fields in another order, but not inside variations and unknown fields. */
function reordered<T extends object>(item: T): T {
  const fields = Object.entries(item).map(([name, value]) => {
    const isList = Array.isArray(value) && name !== 'variations';
    return [name, isList ? value.map((part) => (typeof part === 'object' ? reordered(part) : part)) : value];
  });
  return Object.fromEntries(fields.reverse());
}

const bodies: [string, string, string?][] = [
  ['GET', '/sdk/latest-all'],
  ['GET', '/sdk/latest-flags'],
  ['GET', '/sdk/latest-segments'],
  ['GET', '/sdk/flags'],
  ['GET', '/sdk/flags/a'],
  ['GET', '/sdk/segments/s'],
  ['GET', '/sdk/poll'],
  ['GET', `/sdk/evalx/client-id/contexts/${alice}`],
  ['GET', `/sdk/poll/eval/${alice}?auth=client-id`],
  ['POST', '/ofrep/v1/evaluate/flags', JSON.stringify({ context: { targetingKey: 'alice' } })],
];

test('relays that got the same items in another order send equal bytes under equal tags, and 304 to each other’s clients @heavy', async () => {
  const one = await startOne({ flags: { a, b }, segments: { s, t } });
  const other = await startOne({
    flags: { b: flagData('b', 1), c: flagData('c', 1) },
    segments: { t: reordered(t) },
  });
  await other.upstream.delete('flags', 'b', 2);
  await other.upstream.delete('flags', 'c', 2);
  await other.upstream.put({ flags: { b: reordered(b), a: flagData('a', 4) }, segments: { t: reordered(t) } });
  await other.upstream.patch('segments', reordered(s));
  await other.upstream.patch('flags', reordered(a));
  await eventually(async () => expect(await stateOf(other.relay)).toBe(await stateOf(one.relay)));
  for (const [method, path, body] of bodies) {
    const send = (relay: TestRelay, headers = {}) =>
      ask(relay, path, headers, { method, ...(body !== undefined && { body }) });
    const [first, second] = [await send(one.relay), await send(other.relay)];
    const etag = first.headers.get('etag');
    expect([path, first.status, etag]).toEqual([path, 200, expect.stringMatching(/^"[0-9a-f]{32,}"$/)]);
    expect([path, second.headers.get('etag'), await second.text()]).toEqual([path, etag, await first.text()]);
    expect([path, (await send(other.relay, { 'If-None-Match': etag! })).status]).toEqual([path, 304]);
  }
});

test('a reconnect that brings the same items in another order of fields changes no tag and no state @heavy', async () => {
  const { upstream, relay } = await startOne({ flags: { a, b }, segments: { s } });
  const tags = async () => {
    const paths = bodies.filter(([method]) => method === 'GET').map(([, path]) => path);
    return Promise.all(paths.map(async (path) => (await ask(relay, path)).headers.get('etag')));
  };
  const before = await tags();
  const puts = () => relay.lines.filter(({ message }) => message.startsWith('Received the full flag set')).length;
  await upstream.put({ flags: { b: reordered(b), a: reordered(a) }, segments: { s: reordered(s) } });
  await eventually(() => expect(puts()).toBe(2));
  expect(await tags()).toEqual(before);
});

test('a body whose unknown fields changed without a new version has a new tag, and the tag has the new body', async () => {
  const { upstream, relay } = await startOne({ flags: { a }, segments: {} });
  const paths = ['/sdk/latest-all', '/sdk/flags', '/sdk/flags/a', '/sdk/poll'];
  const read = () => Promise.all(paths.map(async (path) => ask(relay, path)));
  const before = (await read()).map(({ headers }) => headers.get('etag'));
  await upstream.put({ flags: { a: { ...a, later: 'changed' } }, segments: {} });
  await eventually(async () => expect(await stateOf(relay)).not.toBe(before.at(-1)!.slice(1, -1)));
  for (const [index, answer] of (await read()).entries()) {
    expect([paths[index], answer.headers.get('etag') === before[index]]).toEqual([paths[index], false]);
    expect([paths[index], await answer.text()]).toEqual([paths[index], expect.stringContaining('"later":"changed"')]);
  }
});

test('the order of members inside a variation is kept as it was sent', async () => {
  const { relay } = await startOne({ flags: { b }, segments: {} });
  for (const path of ['/sdk/latest-all', '/sdk/flags/b', '/sdk/poll', `/sdk/evalx/client-id/contexts/${alice}`]) {
    expect([path, await (await ask(relay, path)).text()]).toEqual([path, expect.stringContaining('{"z":1,"b":2}')]);
  }
});

describe('the stream and the poll of FDv2 answer a basis alike:', () => {
  const intentOfPoll = async (relay: TestRelay, basis: string) =>
    JSON.parse(await (await ask(relay, `/sdk/poll?basis=${basis}`)).text()).events[0].data.payloads[0];
  async function intentOfStream(relay: TestRelay, basis: string) {
    const path = `/sdk/stream?basis=${basis}`;
    const stream = opened(await readStream({ port: relay.port, path, headers: { Authorization: sdkKey } }));
    return JSON.parse((await stream.next()).data).payloads[0];
  }
  async function expectBoth(relay: TestRelay, basis: string, intentCode: string, reason: string) {
    expect(await intentOfPoll(relay, basis)).toMatchObject({ intentCode, reason });
    // Everything is framed once for all readers of the stream, whatever state they named.
    expect(await intentOfStream(relay, basis)).toMatchObject({ intentCode });
  }

  test('nothing if it is the present state, the changes if it is remembered, everything otherwise @heavy', async () => {
    const { upstream, relay } = await startOne({ flags: { a }, segments: {} });
    const before = await stateOf(relay);
    await expectBoth(relay, before, 'none', 'up-to-date');
    await upstream.patch('flags', newer);
    await eventually(async () => expect(await stateOf(relay)).not.toBe(before));
    await expectBoth(relay, before, 'xfer-changes', 'stale');
    await expectBoth(relay, await stateOf(relay), 'none', 'up-to-date');
    await expectBoth(relay, 'unheard-of', 'xfer-full', 'cant-catchup');
  });

  test('everything if the state was left and came back under lower versions', async () => {
    const { upstream, relay } = await startOne({ flags: { a }, segments: {} });
    const state = await stateOf(relay);
    await upstream.patch('flags', newer);
    await eventually(async () => expect(await stateOf(relay)).not.toBe(state));
    await upstream.put({ flags: { a }, segments: {} });
    await eventually(async () => expect(await stateOf(relay)).toBe(state));
    await expectBoth(relay, state, 'xfer-full', 'cant-catchup');
    // A client that got everything for this basis need not get it again.
    const full = await ask(relay, `/sdk/poll?basis=${state}`);
    const again = await ask(relay, `/sdk/poll?basis=${state}`, { 'If-None-Match': full.headers.get('etag')! });
    expect([full.status, again.status]).toEqual([200, 304]);
    expect((await ask(relay, `/sdk/poll?basis=${state}`, { 'If-None-Match': `"${state}"` })).status).toBe(200);
  });

  test('with 200 for a basis that is not the present state, whatever tag the client got for it before', async () => {
    const { upstream, relay } = await startOne({ flags: { a }, segments: {} });
    const basis = await stateOf(relay);
    await upstream.patch('flags', newer);
    await eventually(async () => expect(await stateOf(relay)).not.toBe(basis));
    // The SDK went on, and back to the basis by a relay that was behind. It keeps tags by URL.
    const paths = ['sdk/poll?', `sdk/poll/eval/${alice}?auth=client-id&`].flatMap((path) =>
      [basis, 'unheard-of'].map((one) => `/${path}basis=${one}`),
    );
    for (const path of paths) {
      const first = await ask(relay, path);
      const again = await ask(relay, path, { 'If-None-Match': first.headers.get('etag')! });
      expect([path, first.status, again.status]).toEqual([path, 200, 200]);
    }
  });

  test('two relays that remember different states give their answers to one basis different tags', async () => {
    const [one, other] = [await startOne({ flags: { a }, segments: {} }), await startOne({ flags: {}, segments: {} })];
    const basis = await stateOf(one.relay);
    await one.upstream.patch('flags', newer);
    await other.upstream.put({ flags: { a: newer }, segments: {} });
    await eventually(async () => expect(await stateOf(one.relay)).toBe(await stateOf(other.relay)));
    const tagsOf = async (path: string) =>
      [await ask(one.relay, path), await ask(other.relay, path)].map(({ headers }) => headers.get('etag'));
    const [changes, everything] = await tagsOf(`/sdk/poll?basis=${basis}`);
    expect(changes).not.toBe(everything);
    expect((await ask(other.relay, `/sdk/poll?basis=${basis}`, { 'If-None-Match': changes! })).status).toBe(200);
    const [first, second] = await tagsOf('/sdk/poll');
    expect(first).toBe(second);
  });
});
