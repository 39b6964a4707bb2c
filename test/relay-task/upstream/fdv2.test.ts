/** Flags by FDv2, over real sockets: streams, polls, and what happens when one of them does not work. */
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import type { UpstreamStatus } from '../../../relay-task/ports.ts';
import { type StreamingOptions, startStreaming } from '../../../relay-task/upstream/streaming.ts';
import { eventually, roomy, turnsOfLoop, until } from '../../support/eventually.ts';
import {
  basisOf,
  type FakeFDv2,
  type FDv2Data,
  intent,
  putObject,
  startFakeFDv2,
  transferred,
} from '../../support/fake-fdv2.ts';
import type { RecordedRequest } from '../../support/fake-upstream.ts';
import { flag as flagItem } from '../../support/items.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { flagData, segmentData } from './support.ts';

const SDK_KEY = 'sdk-0a1b2c3d-do-not-show-me-anywhere';
/** Longer than any test. */
const NEVER_MS = 3_600_000;

const { behind } = closeAfterEach();

async function startFake(...flags: readonly FDv2Data[]): Promise<FakeFDv2> {
  const fake = await startFakeFDv2(...flags);
  behind(() => fake.close());
  return fake;
}

/** Follows the fake with a real environment as memory. */
function follow(fake: Pick<FakeFDv2, 'uri'>, more: Partial<StreamingOptions> = {}) {
  const { log, lines } = createLogRecorder();
  const puts: number[] = [];
  const memory = createEnvironment({
    name: 'test',
    log,
    onChange: ({ kind, items }) => void (kind === 'put' && puts.push(items.length)),
  });
  const statuses: UpstreamStatus[] = [];
  const upstream = startStreaming({
    ...{ streamUri: fake.uri, baseUri: fake.uri, sdkKey: SDK_KEY, protocol: 'fdv2', log },
    ...{ userAgent: 'EdgeFlagRelay/1.2.3', sink: memory, held: memory.get, generation: () => memory.generation },
    onStatus: (status) => void statuses.push(status),
    ...{ backoff: { firstMs: 10, maxMs: 40 }, refusedBackoff: { firstMs: 10, maxMs: 40 }, pollIntervalMs: 20 },
    ...{ fallbackMs: NEVER_MS, firstFallbackMs: NEVER_MS, recoveryMs: NEVER_MS },
    ...more,
  });
  behind(() => upstream.close());
  const versions = () =>
    Object.fromEntries(
      [...memory.items('features')].map(({ key, version, deleted }) => [key, deleted ? -version : version]),
    );
  const has = (wanted: Record<string, number>) => eventually(() => expect(versions()).toEqual(wanted));
  return { memory, upstream, statuses, lines, puts, versions, has };
}

const isPoll = ({ url }: RecordedRequest) => url.startsWith('/sdk/poll');
const isStream = ({ url }: RecordedRequest) => url.startsWith('/sdk/stream');

describe('a stream', () => {
  test('asks for /sdk/stream with the key, and delivers everything and each change', async () => {
    const fake = await startFake(flagData('a', 1), flagData('b', 1));
    fake.headersFor = () => ({ 'X-LD-EnvID': 'env-1' });
    const ids: string[] = [];
    const { has, upstream, lines } = follow(fake, { filter: 'only mine', onEnvironmentId: (id) => ids.push(id) });
    await has({ a: 1, b: 1 });
    expect(upstream.status()).toMatchObject({ state: 'VALID', current: true, refused: false });
    await fake.set('flag', flagData('a', 2), flagData('c', 7));
    await has({ a: 2, b: 1, c: 7 });
    await fake.remove('flag', 'b', 3);
    await has({ a: 2, b: -3, c: 7 });
    const [request, ...others] = fake.upstream.requests;
    expect(others).toEqual([]);
    expect(request).toMatchObject({ method: 'GET', url: '/sdk/stream?filter=only%20mine' });
    expect(request?.headers).toMatchObject({ authorization: SDK_KEY, 'user-agent': 'EdgeFlagRelay/1.2.3' });
    expect(ids).toEqual(['env-1']);
    expect(lines.join()).not.toContain(SDK_KEY);
  });

  test('that was cut continues where it stopped: with the changes since, or with nothing', async () => {
    const fake = await startFake(flagData('a', 1), flagData('b', 1));
    const { has, puts, statuses, upstream } = follow(fake);
    await has({ a: 1, b: 1 });
    fake.upstream.cut();
    await eventually(() => expect(statuses.map(({ state }) => state)).toEqual(['VALID', 'INTERRUPTED', 'VALID']));
    fake.setQuietly('flag', flagData('a', 2));
    fake.upstream.cut();
    await has({ a: 2, b: 1 });
    expect(fake.requests('/sdk/stream').map(basisOf)).toEqual([null, 'state-1', 'state-1']);
    expect(puts).toHaveLength(1);
    expect(upstream.status().current).toBe(true);
  });

  test('whose state LaunchDarkly does not remember gets everything, and what no longer exists is removed', async () => {
    const fake = await startFake(flagData('a', 1), flagData('b', 1));
    const { has, lines } = follow(fake);
    await has({ a: 1, b: 1 });
    fake.upstream.cut();
    await fake.remove('flag', 'b', 2);
    await fake.set('flag', flagData('a', 3));
    fake.forget();
    // The tombstone is memory's own: it was not among everything.
    await has({ a: 3, b: -2 });
    expect(lines.filter((line) => line.startsWith('Received the full flag set'))).toHaveLength(2);
  });

  test('names no state if something else has changed memory since, such as a store', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has, memory } = follow(fake);
    await has({ a: 1 });
    fake.upstream.answerNext('cut');
    fake.upstream.cut();
    memory.follow([flagItem('a', 9)]);
    await has({ a: 1 });
    expect(fake.requests('/sdk/stream').map(basisOf).at(-1)).toBe(null);
  });

  test('of a relay without a generation always gets everything', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has } = follow(fake, { generation: undefined });
    await has({ a: 1 });
    fake.setQuietly('flag', flagData('a', 2));
    fake.upstream.cut();
    await has({ a: 2 });
    expect(fake.requests('/sdk/stream').map(basisOf)).toEqual([null, null]);
  });

  test.each([
    ['garbage', () => 'event: put-object\ndata: {"kind":\n\n'],
    ['changes without an intent', () => 'event: payload-transferred\ndata: {"version":1}\n\n'],
    [
      'a transfer that is cut off',
      (fake: FakeFDv2) =>
        `event: put-object\ndata: ${JSON.stringify(putObject('flag', flagData('x', 1)).data)}\n\n`.slice(
          0,
          fake ? -20 : 0,
        ),
    ],
  ])('in which %s arrives reconnects and keeps the current flags', async (_, text) => {
    const fake = await startFake(flagData('a', 1));
    const { has, versions, statuses } = follow(fake);
    await has({ a: 1 });
    await fake.upstream.send(text(fake));
    fake.upstream.end();
    await eventually(() => expect(statuses.at(-1)).toMatchObject({ state: 'VALID', lastError: expect.anything() }));
    expect(versions()).toEqual({ a: 1 });
    expect(fake.requests('/sdk/stream').length).toBeGreaterThan(1);
  });

  test.each([
    [
      'changes',
      [intent('xfer-changes'), putObject('flag', flagData('x', 1)), transferred('s')],
      'changes to a state that memory does not have',
    ],
    ['nothing', [intent('none')], 'nothing, although it was asked for everything'],
  ] as const)('that answers with %s, although no state was named, is refused', async (_, events, problem) => {
    const fake = await startFake(flagData('a', 1));
    let asked = 0;
    fake.script = () => (asked++ === 0 ? events : undefined);
    const { has, statuses } = follow(fake);
    await has({ a: 1 });
    expect(statuses[0]?.lastError).toMatchObject({ kind: 'INVALID_DATA', message: `LaunchDarkly sent ${problem}` });
  });

  test.each([
    ['that no address can hold', '\\ud800'],
    ['that is too long for a request', 's'.repeat(20_000)],
  ])('with a state %s counts, and is never named', async (_, state) => {
    const fake = await startFake(flagData('a', 1));
    const { has, statuses } = follow(fake);
    await has({ a: 1 });
    const { event, data } = putObject('flag', flagData('a', 2));
    await fake.upstream.send(
      `event: ${event}\ndata: ${JSON.stringify(data)}\n\nevent: payload-transferred\ndata: {"state":"${state}"}\n\n`,
    );
    await has({ a: 2 });
    fake.setQuietly('flag', flagData('a', 3));
    fake.upstream.end();
    await has({ a: 3 });
    expect(fake.requests('/sdk/stream').map(basisOf)).toEqual([null, null]);
    expect(statuses.every(({ lastError }) => lastError?.message !== 'URI malformed')).toBe(true);
  });

  test.each([400, 413, 414, 422, 431])('whose state is refused with %s asks for everything soon', async (status) => {
    const fake = await startFake(flagData('a', 1));
    const { has, statuses } = follow(fake, { refusedBackoff: { firstMs: NEVER_MS, maxMs: NEVER_MS } });
    await has({ a: 1 });
    fake.trouble = (request) => (basisOf(request) === null ? undefined : { status });
    fake.setQuietly('flag', flagData('a', 2));
    fake.upstream.end();
    await has({ a: 2 });
    expect(statuses.filter(({ refused }) => refused)).toEqual([]);
  });

  test('with a large object and silence after it stays open, and delays no other stream', async () => {
    const fake = await startFake(flagData('a', 1, { description: 'x'.repeat(300_000) }));
    const stallMs = roomy(100);
    const { has, lines } = follow(fake, { stallMs });
    await has({ a: 1 });
    const silentSince = performance.now();
    const other = follow(fake, { stallMs });
    await other.has({ a: 1 });
    await eventually(() => expect(performance.now() - silentSince).toBeGreaterThan(2 * stallMs));
    expect(lines.join()).not.toContain('within a large event');
    expect(fake.requests('/sdk/stream')).toHaveLength(2);
  });

  test('that says goodbye is opened again, without an error', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has, statuses, lines } = follow(fake);
    await has({ a: 1 });
    fake.setQuietly('flag', flagData('a', 2));
    await fake.send({ event: 'goodbye', data: { reason: 'deploy', silent: true, catastrophe: false } });
    await has({ a: 2 });
    expect(statuses.map(({ state }) => state)).toEqual(['VALID']);
    expect(lines.join()).toContain('LaunchDarkly is closing the stream {"reason":"deploy"}');
  });

  test('delivers the prerequisite before the flag that names it, whatever the order of a transfer', async () => {
    const fake = await startFake(flagData('a', 1), flagData('p', 1));
    const seen: string[] = [];
    const { has, memory } = follow(fake);
    await has({ a: 1, p: 1 });
    const upsert = memory.upsert.bind(memory);
    memory.upsert = (item, at) => {
      seen.push(item.key);
      upsert(item, at);
    };
    await fake.set('flag', flagData('a', 2, { prerequisites: [{ key: 'p', variation: 0 }] }), flagData('p', 2));
    await has({ a: 2, p: 2 });
    expect(seen).toEqual(['p', 'a']);
  });

  test('keeps the previous version of an item that cannot be read', async () => {
    const fake = await startFake(flagData('a', 1), flagData('b', 1));
    const { has, memory } = follow(fake);
    await has({ a: 1, b: 1 });
    await fake.set('flag', { ...flagData('a', 2), rules: 'none' } as never, flagData('b', 2));
    await has({ a: 1, b: 2 });
    expect(memory.unreadable()).toMatchObject([{ kind: 'features', key: 'a' }]);
  });

  test('rejected with 401 is retried, and the environment counts as refused meanwhile', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.trouble = () => ({ status: 401 });
    const { has, upstream } = follow(fake, { protocol: 'fdv2-streaming' });
    await eventually(() => expect(upstream.status()).toMatchObject({ refused: true, lastError: { statusCode: 401 } }));
    fake.trouble = () => undefined;
    await has({ a: 1 });
    expect(upstream.status()).toMatchObject({ refused: false, state: 'VALID' });
  });
});

describe('polling', () => {
  const polling = { protocol: 'fdv2-polling' } as const;

  test('asks /sdk/poll again and again, each time for what is new', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has, upstream, puts } = follow(fake, { ...polling, filter: 'f' });
    await has({ a: 1 });
    fake.setQuietly('flag', flagData('a', 2));
    fake.setQuietly('segment', segmentData('s', 1));
    await has({ a: 2 });
    await eventually(() =>
      expect(fake.requests('/sdk/poll').map(({ url }) => url)).toEqual(
        expect.arrayContaining([
          '/sdk/poll?filter=f',
          '/sdk/poll?basis=state-1&filter=f',
          '/sdk/poll?basis=state-3&filter=f',
        ]),
      ),
    );
    expect(fake.requests('/sdk/stream')).toEqual([]);
    expect(puts).toHaveLength(1);
    expect(upstream.status()).toMatchObject({ state: 'VALID', current: true });
    expect(fake.requests('/sdk/poll')[0]?.headers).toMatchObject({
      authorization: SDK_KEY,
      accept: 'application/json',
    });
  });

  test('sends the ETag of the last answer from the same address, and takes 304 as unchanged', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.headersFor = () => ({ ETag: '"one"' });
    const { has, statuses, upstream } = follow(fake, polling);
    await has({ a: 1 });
    const conditional = () => fake.requests('/sdk/poll').filter(({ headers }) => headers['if-none-match'] === '"one"');
    await until('a conditional request', () => conditional().length > 0);
    expect(conditional().every((request) => basisOf(request) === 'state-1')).toBe(true);
    fake.trouble = ({ headers }) => (headers['if-none-match'] === '"one"' ? { status: 304 } : undefined);
    const before = upstream.status().checkedAt;
    await eventually(() => expect(upstream.status().checkedAt).toBeGreaterThan(before));
    const count = fake.requests('/sdk/poll').length;
    await until('more polls', () => fake.requests('/sdk/poll').length > count + 2);
    expect(statuses.map(({ state }) => state)).toEqual(['VALID']);
  });

  test.each<[string, string, string]>([
    ['garbage', '<html>', 'the answer to a poll, 6 bytes, is not JSON'],
    ['no events', '{"flags":{}}', 'the answer to a poll has no list of events'],
    ['null', 'null', 'the answer to a poll has no list of events'],
    ['an event that is none', '{"events":[5]}', 'an event in the answer to a poll is not an object'],
    ['an event without data', '{"events":[{"event":"server-intent"}]}', 'a server-intent is null, not an object'],
    [
      'no end',
      JSON.stringify({ events: [intent('xfer-full'), putObject('flag', flagData('x', 1))] }),
      'ends before its payload was transferred',
    ],
    ['no events at all', '{"events":[]}', 'ends before its payload was transferred'],
  ])('an answer with %s changes nothing, and is reported', async (_, body, problem) => {
    const fake = await startFake(flagData('a', 1));
    const { has, upstream, versions } = follow(fake, polling);
    await has({ a: 1 });
    fake.trouble = () => ({ status: 200, body });
    await eventually(() =>
      expect(upstream.status()).toMatchObject({
        state: 'INTERRUPTED',
        lastError: { kind: 'INVALID_DATA', message: expect.stringContaining(problem) },
      }),
    );
    expect(versions()).toEqual({ a: 1 });
    fake.trouble = () => undefined;
    await eventually(() => expect(upstream.status().state).toBe('VALID'));
  });

  test('an answer that is a goodbye changes nothing and confirms nothing', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has, upstream, versions } = follow(fake, polling);
    await has({ a: 1 });
    fake.script = () => [intent('xfer-full'), { event: 'goodbye', data: { reason: 'deploy' } }];
    await eventually(() => expect(upstream.status().state).toBe('INTERRUPTED'));
    const { checkedAt } = upstream.status();
    const count = fake.requests('/sdk/poll').length;
    await until('more of them', () => fake.requests('/sdk/poll').length > count + 3);
    expect(upstream.status().checkedAt).toBe(checkedAt);
    expect(versions()).toEqual({ a: 1 });
  });

  test.each([400, 431])(
    'a state that is refused with %s is not named again, and everything is asked for',
    async (status) => {
      const fake = await startFake(flagData('a', 1));
      const { has, statuses } = follow(fake, { ...polling, refusedBackoff: { firstMs: NEVER_MS, maxMs: NEVER_MS } });
      await has({ a: 1 });
      fake.trouble = (request) => (basisOf(request) === null ? undefined : { status });
      fake.setQuietly('flag', flagData('a', 2));
      await has({ a: 2 });
      expect(statuses.filter(({ refused }) => refused)).toEqual([]);
    },
  );

  test('the answer is not quoted, since it may contain the key', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.trouble = () => ({ status: 200, body: `${SDK_KEY} is not known` });
    const { upstream, lines } = follow(fake, polling);
    await eventually(() => expect(upstream.status().lastError?.kind).toBe('INVALID_DATA'));
    expect(`${lines.join()}${upstream.status().lastError?.message}`).not.toContain(SDK_KEY.slice(0, 8));
  });

  test('an answer that is too large fails', async () => {
    const fake = await startFake(flagData('a', 1, { description: 'x'.repeat(5_000) }));
    const { upstream, lines } = follow(fake, { ...polling, maxReceivedBytes: 4_000 });
    await eventually(() =>
      expect(upstream.status().lastError?.message).toContain('answered with more than 4000 bytes'),
    );
    expect(lines.join()).toContain('LaunchDarkly sent something that cannot be used; next attempt in ');
  });

  test('an event with too many values costs its object; of its members only event and data are kept', async () => {
    const fake = await startFake(flagData('a', 1));
    const names = Array.from({ length: 5_000 }, (_, at) => `"n${at}":1`).join(',');
    let isOther = false;
    fake.trouble = (request) => {
      if (!isPoll(request) || !isOther) return undefined;
      const data = `{"kind":"flag","key":"b",${names}}`;
      const excessive = `{${names},"event":"put-object","data":${data}}`;
      const [begin, end] = [intent('xfer-changes'), transferred('state-2')].map((one) => JSON.stringify(one));
      return { status: 200, body: `{"events":[${begin},${excessive},${end}]}` };
    };
    const { has, lines } = follow(fake, { ...polling, maxReceivedBytes: 200_000 });
    await has({ a: 1 });
    const sets = jest.spyOn(Map.prototype, 'set');
    isOther = true;
    await until('the line about it', () => lines.some((line) => line.includes('more than 3125 values')));
    const kept = sets.mock.calls.filter(([name]) => /^n\d+$/.test(String(name)));
    sets.mockRestore();
    expect(kept).toEqual([]);
    expect(lines.join()).toContain('"key":"b"');
  });

  test('a large answer is read in slices, and equal in every byte @heavy', async () => {
    const flags = Array.from({ length: 300 }, (_, index) =>
      flagData(`f${index}`, 1, { description: `"{[\\ü${index}` }),
    );
    const fake = await startFake(...flags);
    const { memory } = follow(fake, polling);
    await until('all flags', () => [...memory.items('features')].length === 300);
    for (const wanted of flags) expect(memory.get('features', wanted.key)?.json).toBe(JSON.stringify(wanted));
  });

  test('that is closed sends no more requests', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has, upstream } = follow(fake, polling);
    await has({ a: 1 });
    await upstream.close();
    await turnsOfLoop(20);
    const count = fake.upstream.requests.length;
    await turnsOfLoop(200);
    expect(fake.upstream.requests).toHaveLength(count);
    expect(upstream.status().state).toBe('OFF');
  });
});

describe('when the stream does not work', () => {
  test.each([404, 405, 403])('because it is answered with %s, flags come by polling at once', async (status) => {
    const fake = await startFake(flagData('a', 1));
    fake.trouble = (request) => (isStream(request) ? { status } : undefined);
    const { has, upstream, lines } = follow(fake);
    await has({ a: 1 });
    expect(upstream.status()).toMatchObject({ state: 'VALID', refused: false });
    expect(lines.join()).toContain(
      'Changed the way flags are received from LaunchDarkly {"way":"polling","before":"FDv2\'s stream"}',
    );
  });

  test.each(['cut', { status: 503 }] as const)(
    'because it fails (%j) at the start, flags come by polling at once',
    async (answer) => {
      const fake = await startFake(flagData('a', 1));
      fake.trouble = (request) => (isStream(request) ? answer : undefined);
      await follow(fake).has({ a: 1 });
    },
  );

  test.each(['hang', 'silent'] as const)(
    'because it hangs at the start (%s), flags come by polling after a while',
    async (answer) => {
      const fake = await startFake(flagData('a', 1));
      fake.trouble = (request) => (isStream(request) ? answer : undefined);
      await follow(fake, { firstFallbackMs: 50 }).has({ a: 1 });
    },
  );

  test('later, polling begins after the time to fall back, from the state that memory has; the stream keeps retrying', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has, puts } = follow(fake, { fallbackMs: 100 });
    await has({ a: 1 });
    fake.trouble = (request) => (isStream(request) ? { status: 503 } : undefined);
    fake.upstream.cut();
    fake.setQuietly('flag', flagData('a', 2));
    await has({ a: 2 });
    expect(basisOf(fake.requests('/sdk/poll')[0]!)).toBe('state-1');
    await eventually(() => expect(fake.requests('/sdk/stream').length).toBeGreaterThan(2));
    expect(puts).toHaveLength(1);
  });

  test('and works again before the time to fall back is over, nothing is polled', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has, statuses } = follow(fake, { fallbackMs: 60_000 });
    await has({ a: 1 });
    fake.upstream.cut();
    await eventually(() => expect(statuses.at(-1)?.state).toBe('VALID'));
    expect(fake.requests('/sdk/poll')).toEqual([]);
  });

  test('and works again later, it is used again after the time to recover, and polling ends', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.trouble = (request) => (isStream(request) ? { status: 404 } : undefined);
    const { has, statuses, lines } = follow(fake, { recoveryMs: 50, fallbackMs: 200 });
    await has({ a: 1 });
    // It is tried again beside the polls, which go on.
    await until('further tries', () => fake.requests('/sdk/stream').length > 3);
    fake.trouble = () => undefined;
    await until('the stream in use', () => lines.some((line) => line.includes('"before":"polling"')));
    await fake.set('flag', flagData('a', 2));
    await has({ a: 2 });
    await turnsOfLoop(20);
    const polls = fake.requests('/sdk/poll').length;
    await turnsOfLoop(200);
    expect(fake.requests('/sdk/poll')).toHaveLength(polls);
    expect(statuses.map(({ state }) => state).filter((state) => state === 'INTERRUPTED')).toEqual([]);
  });

  test('and polling does not either, the stream is retried until it works', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.trouble = () => ({ status: 503 });
    const { has, upstream } = follow(fake);
    await until('a poll', () => fake.requests('/sdk/poll').length > 0);
    expect(upstream.status().state).toBe('INITIALIZING');
    await until('more streams and polls', () =>
      ['/sdk/stream', '/sdk/poll'].every((path) => fake.requests(path as '/all').length > 4),
    );
    fake.trouble = () => undefined;
    await has({ a: 1 });
  });

  test('and polling fails now and then, the stream is still tried again', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.trouble = (request) => (isStream(request) ? { status: 404 } : undefined);
    const { has, lines } = follow(fake, { recoveryMs: 300, fallbackMs: 250 });
    await has({ a: 1 });
    let polls = 0;
    fake.trouble = (request) => (isPoll(request) && polls++ % 2 === 0 ? { status: 503 } : undefined);
    await until('the stream in use', () => lines.some((line) => line.includes('"before":"polling"')));
  });

  test('because it sends only heartbeats after a goodbye, flags come by polling', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has, upstream } = follow(fake, { fallbackMs: 100 });
    await has({ a: 1 });
    fake.trouble = (request) => (isStream(request) ? 'silent' : undefined);
    await fake.send({ event: 'goodbye', data: { reason: 'deploy' } });
    fake.setQuietly('flag', flagData('a', 2));
    await until('a second stream', () => fake.requests('/sdk/stream').length > 1);
    const { checkedAt } = upstream.status();
    await fake.upstream.comment();
    await turnsOfLoop(20);
    if (fake.requests('/sdk/poll').length === 0) expect(upstream.status().checkedAt).toBe(checkedAt);
    await has({ a: 2 });
  });

  test('because it sends a lower version than memory has, everything is asked for', async () => {
    const fake = await startFake(flagData('a', 5), flagData('b', 9));
    const { has } = follow(fake);
    await has({ a: 5, b: 9 });
    await fake.set('flag', flagData('a', 4));
    await has({ a: 4, b: 9 });
    expect(fake.requests('/sdk/stream').map(basisOf)).toEqual([null, null]);
  });

  test('and there is no other way, the stream is retried', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.trouble = () => ({ status: 404 });
    follow(fake, { protocol: 'fdv2-streaming', firstFallbackMs: 1, fallbackMs: 1 });
    await until('several tries', () => fake.requests('/sdk/stream').length > 3);
    expect(fake.requests('/sdk/poll')).toEqual([]);
  });
});

describe('LaunchDarkly asks for FDv1', () => {
  const asks = (ttl?: number) => ({
    'X-LD-FD-Fallback': 'true',
    ...(ttl !== undefined && { 'X-LD-FD-Fallback-TTL': String(ttl) }),
  });
  const isV2 = (request: RecordedRequest) => isPoll(request) || isStream(request);

  test.each<[string, (fake: FakeFDv2) => void]>([
    [
      'in the answer that opens a stream',
      (fake) => {
        fake.headersFor = (request) => (isV2(request) ? asks() : {});
      },
    ],
    [
      'with an error',
      (fake) => {
        fake.trouble = (request) => (isV2(request) ? { status: 503, headers: asks() } : undefined);
      },
    ],
    [
      'with a rejection',
      (fake) => {
        fake.trouble = (request) => (isV2(request) ? { status: 403, headers: asks() } : undefined);
      },
    ],
    [
      'on a stream that then breaks',
      (fake) => {
        fake.headersFor = (request) => (isV2(request) ? asks() : {});
        fake.script = () => [];
        fake.trouble = (request) => {
          if (isStream(request)) setTimeout(() => fake.upstream.cut(isStream), 20);
          return undefined;
        };
      },
    ],
  ])('%s: flags come from /all from then on', async (_, prepare) => {
    const fake = await startFake(flagData('a', 1));
    prepare(fake);
    const { has, upstream, lines } = follow(fake);
    await fake.upstream.requested(2);
    await has({ a: 1 });
    await eventually(() => expect(fake.requests('/all')).toHaveLength(1));
    await eventually(() => expect(upstream.status()).toMatchObject({ state: 'VALID' }));
    await fake.upstream.patch('flags', flagData('a', 2));
    await has({ a: 2 });
    const asked = fake.upstream.requests.filter(isV2).length;
    await turnsOfLoop(200);
    expect(fake.upstream.requests.filter(isV2)).toHaveLength(asked);
    expect(fake.upstream.open().every(({ url }) => url === '/all')).toBe(true);
    expect(lines.join()).toContain('LaunchDarkly asks for FDv1 for good; changing to it');
  });

  test('in the answer to a poll', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.headersFor = (request) => (isPoll(request) ? asks() : {});
    const { has } = follow(fake, { protocol: 'fdv2-polling' });
    await has({ a: 1 });
    await eventually(() => expect(fake.requests('/all')).toHaveLength(1));
    await turnsOfLoop(200);
    expect(fake.requests('/sdk/poll')).toHaveLength(1);
  });

  test('with a goodbye', async () => {
    const fake = await startFake(flagData('a', 1));
    const { has } = follow(fake);
    await has({ a: 1 });
    await fake.send({ event: 'goodbye', data: { reason: 'x', protocolFallbackTTL: 0 } });
    await eventually(() => expect(fake.requests('/all')).toHaveLength(1));
    fake.setQuietly('flag', flagData('a', 2));
    fake.upstream.cut();
    await has({ a: 2 });
    expect(fake.requests('/sdk/stream')).toHaveLength(1);
  });

  test('for a time: after it FDv2 is tried again beside FDv1, and used if it is not asked for FDv1 again @heavy', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.headersFor = (request) => (isV2(request) ? asks(1) : {});
    const { has, lines, statuses } = follow(fake);
    await eventually(() => expect(fake.requests('/all')).toHaveLength(1));
    await has({ a: 1 });
    // Asked again: FDv1's stream was never closed.
    await until('a second try', () => fake.requests('/sdk/stream').length > 1);
    await turnsOfLoop(50);
    expect(fake.upstream.open().map(({ url }) => url)).toEqual(['/all']);
    fake.headersFor = () => ({});
    await until('the way back', () => lines.some((line) => line.includes('"before":"FDv1\'s stream"')));
    await eventually(() => expect(fake.upstream.open().map(({ url }) => url)).toEqual(['/sdk/stream']));
    await fake.set('flag', flagData('a', 2));
    await has({ a: 2 });
    expect(fake.requests('/all')).toHaveLength(1);
    expect(statuses.every(({ state }) => state === 'VALID')).toBe(true);
  });

  test('for a time, which begins when it was asked, however often FDv1 fails @heavy', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.trouble = (request) =>
      isV2(request) && fake.requests('/sdk/stream').length === 1
        ? { status: 503, headers: asks(1) }
        : isV2(request)
          ? undefined
          : { status: 503 };
    await follow(fake).has({ a: 1 });
    expect(fake.requests('/all').length).toBeGreaterThan(3);
  });

  test('for good, although FDv1 does not work: FDv2 is tried again', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.trouble = (request) => {
      if (!isPoll(request)) return { status: 403 };
      return fake.requests('/sdk/poll').length === 1 ? { status: 503, headers: asks() } : undefined;
    };
    const { has } = follow(fake, { protocol: 'fdv2-polling', fallbackMs: 100 });
    await has({ a: 1 });
  });

  test('for longer than a timer can wait, which Node.js would take for no time', async () => {
    const fake = await startFake(flagData('a', 1));
    fake.headersFor = (request) => (isV2(request) ? asks(10_000_000) : {});
    await follow(fake).has({ a: 1 });
    await eventually(() => expect(fake.requests('/all')).toHaveLength(1));
    await turnsOfLoop(200);
    expect(fake.requests('/sdk/stream')).toHaveLength(1);
  });
});
