/** Keeping a store up to date with LaunchDarkly's Big Segments, whatever fails. */
import type { Outbound } from '../../../relay-task/ports.ts';
import {
  type BigSegmentSynchronizerOptions,
  type BigSegmentTarget,
  createBigSegmentSynchronizer,
} from '../../../relay-task/upstream/big-segments.ts';
import { createReceivedMemory } from '../../../relay-task/upstream/received-limit.ts';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { type FakeBigSegments, startFakeBigSegments, wirePatch } from '../../support/fake-big-segments.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';

const { behind } = closeAfterEach();
/** The longest text that may be parsed in one turn of the event loop, in characters. */
const MAX_PARSED_AT_ONCE = 512 * 1024;

/** An in-memory store that checks the cursor. Its members are `SEGMENT list HASH`. */
function createTarget() {
  const target = {
    cursor: '',
    members: new Set<string>(),
    synchronizedOn: 0,
    writes: 0,
    /** While set, every call fails with this message. */
    down: undefined as string | undefined,
    applied: [] as string[],
    /** Called before each patch, to act as another relay. */
    before: undefined as ((version: string) => void) | undefined,
    async own() {
      if (target.down) throw new Error(target.down);
    },
    async metadata() {
      if (target.down) throw new Error(target.down);
      return { cursor: target.cursor };
    },
    async apply({
      previousVersion,
      version,
      segmentRef,
      included,
      excluded,
    }: Parameters<BigSegmentTarget['apply']>[0]) {
      if (target.down) throw new Error(target.down);
      target.before?.(version);
      if (version !== previousVersion && target.cursor === version) return 'applied' as const;
      if (target.cursor !== previousVersion) return 'out-of-order' as const;
      for (const [list, { add, remove }] of Object.entries({ included, excluded })) {
        for (const hash of add) target.members.add(`${segmentRef} ${list} ${hash}`);
        for (const hash of remove) target.members.delete(`${segmentRef} ${list} ${hash}`);
      }
      target.cursor = version;
      target.applied.push(version);
      return 'applied' as const;
    },
    async setSynchronizedOn(unixMs: number) {
      if (target.down) throw new Error(target.down);
      target.synchronizedOn = unixMs;
      target.writes += 1;
    },
  };
  return target;
}
type Target = ReturnType<typeof createTarget>;

const quick = {
  backoff: { firstMs: 10, maxMs: 50 },
  pollBackoff: { firstMs: 10, maxMs: 50 },
  refusedBackoff: { firstMs: 20, maxMs: 40 },
  checkMs: 50,
  confirmMs: 1_000,
  askGapMs: 20,
};

async function launchDarkly(...history: Parameters<typeof startFakeBigSegments>): Promise<FakeBigSegments> {
  const fake = await startFakeBigSegments(...history);
  behind(() => fake.close());
  return fake;
}

function follow(fake: FakeBigSegments, target: Target, more: Partial<BigSegmentSynchronizerOptions> = {}) {
  const { log, lines } = createLogRecorder();
  const told = { batches: 0 };
  const synchronizer = createBigSegmentSynchronizer({
    ...{ streamUri: fake.uri, baseUri: fake.uri, sdkKey: 'sdk-1', userAgent: 'EdgeFlagRelay/1', store: target, log },
    onBatch() {
      told.batches += 1;
    },
    ...more,
    timings: { ...quick, ...more.timings },
  });
  synchronizer.start();
  behind(() => synchronizer.close());
  return {
    ...synchronizer,
    lines,
    told,
    valid: () => eventually(() => expect(synchronizer.status().state).toBe('VALID')),
  };
}

const v = (from: number, hash: string) => wirePatch('vip.g1', from === 0 ? '' : `v${from}`, `v${from + 1}`, [hash]);

describe('the Big Segments synchroniser', () => {
  test('polls until there are no more patches, opens the stream, polls once more, and follows the stream', async () => {
    const fake = await launchDarkly(v(0, '+a'), v(1, '+b'), v(2, '-a'));
    fake.pageSize = 2;
    const target = createTarget();
    const { valid, told } = follow(fake, target);
    await valid();
    expect(fake.asked.map(({ url }) => url)).toEqual([
      '/sdk/big-segments/revisions',
      '/sdk/big-segments/revisions?after=v2',
      '/sdk/big-segments/revisions?after=v3',
      '/big-segments',
      '/sdk/big-segments/revisions?after=v3',
    ]);
    expect(new Set(fake.asked.map(({ key, userAgent }) => `${key} ${userAgent}`))).toEqual(
      new Set(['sdk-1 EdgeFlagRelay/1']),
    );
    expect([...target.members]).toEqual(['vip.g1 included b']);
    const { batches } = told;
    const asked = fake.polls();
    fake.push(v(3, '+c'), wirePatch('other.g2', 'v4', 'v5', [], ['+d']));
    await eventually(() => expect(target.cursor).toBe('v5'));
    await eventually(() => expect(told.batches).toBe(batches + 1));
    expect([...target.members]).toEqual(['vip.g1 included b', 'vip.g1 included c', 'other.g2 excluded d']);
    expect(fake.polls()).toBe(asked);
    expect(target.synchronizedOn).toBeGreaterThan(0);
  });

  test('continues from the stored cursor, URL-encoded', async () => {
    const fake = await launchDarkly();
    const target = Object.assign(createTarget(), { cursor: 'a/b c&d' });
    await follow(fake, target).valid();
    expect(fake.asked[0]?.url).toBe('/sdk/big-segments/revisions?after=a%2Fb%20c%26d');
  });

  test('polls for changes made between the poll and the stream', async () => {
    const fake = await launchDarkly();
    fake.streamStatus = 503;
    const target = createTarget();
    const { valid } = follow(fake, target);
    await eventually(() => expect(fake.streams()).toBeGreaterThan(0));
    fake.history.push(v(0, '+a'));
    fake.streamStatus = undefined;
    await valid();
    await eventually(() => expect(target.cursor).toBe('v1'));
  });

  test('polls for a patch that is too large to be parsed at once, and keeps its stream @heavy', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const { status, valid } = follow(fake, target);
    await valid();
    const polls = fake.polls();
    const parse = jest.spyOn(JSON, 'parse');
    behind(() => parse.mockRestore());
    const hashes = Array.from({ length: 20_000 }, (_, index) => `+${index}${'-'.repeat(40)}`);
    fake.push(wirePatch('vip.g1', 'v1', 'v2', hashes));
    await eventually(() => expect(target.cursor).toBe('v2'));
    expect(JSON.stringify(fake.history.at(-1)).length).toBeGreaterThan(MAX_PARSED_AT_ONCE);
    expect(Math.max(0, ...parse.mock.calls.map(([text]) => text.length))).toBeLessThanOrEqual(MAX_PARSED_AT_ONCE);
    expect(target.members.size).toBe(20_001);
    expect(fake.polls()).toBeGreaterThan(polls);
    fake.push(v(2, '-a'));
    await eventually(() => expect(target.members.size).toBe(20_000));
    expect([fake.streams(), status().state]).toEqual([1, 'VALID']);
  });

  test('reads a long event over many turns of the event loop @heavy', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const { valid } = follow(fake, target);
    await valid();
    const parse = jest.spyOn(JSON, 'parse');
    behind(() => parse.mockRestore());
    const sliced = countSlicedTurns();
    behind(() => sliced.stop());
    const before = sliced.turns;
    // Patches without a change, with fields that are unknown.
    const event = [
      ...Array.from({ length: 900 }, (_, at) => ({
        ...{ segmentId: 'vip.g1', previousVersion: 'v1', version: 'v1' },
        [`name-${at}`]: 'x'.repeat(100),
      })),
      v(1, '+b'),
    ];
    fake.stream(JSON.stringify(event));
    await eventually(() => expect(target.members).toContain('vip.g1 included b'));
    sliced.stop();
    expect(sliced.turns - before).toBeGreaterThan(100);
    expect(Math.max(0, ...parse.mock.calls.map(([text]) => text.length))).toBeLessThan(20_000);
  });

  test('treats null and missing lists as empty, and moves the cursor for a patch without changes', async () => {
    const fake = await launchDarkly(
      { segmentId: 's.g1', previousVersion: '', version: 'v1', changes: null },
      { segmentId: 's.g1', previousVersion: 'v1', version: 'v2', changes: { included: { add: ['x'], remove: null } } },
      { segmentId: 's.g1', previousVersion: 'v2', version: 'v3' },
    );
    const target = createTarget();
    await follow(fake, target).valid();
    expect([target.cursor, ...target.members]).toEqual(['v3', 's.g1 included x']);
  });

  test('confirms to the store regularly that it is up to date', async () => {
    const fake = await launchDarkly();
    const target = createTarget();
    const { valid, told } = follow(fake, target, { timings: { ...quick, checkMs: 10, confirmMs: 30 } });
    await valid();
    const { writes } = target;
    const { batches } = told;
    await eventually(() => expect(target.writes).toBeGreaterThan(writes + 2));
    expect(told.batches).toBe(batches);
    expect(fake.polls()).toBe(2);
  });

  test('uses the outbound proxy', async () => {
    const fake = await launchDarkly();
    const urls: string[] = [];
    const outbound: Outbound = {
      agentFor(url) {
        urls.push(url.pathname);
        return undefined;
      },
      awsAgents: () => undefined,
    };
    await follow(fake, createTarget(), { outbound }).valid();
    expect(new Set(urls)).toEqual(new Set(['/sdk/big-segments/revisions', '/big-segments']));
  });

  test('rejects an invalid URL at once', () => {
    const wrong = (addresses: object) => () =>
      createBigSegmentSynchronizer({
        ...{ streamUri: 'http://a', baseUri: 'http://a', sdkKey: 'k', userAgent: 'u', store: createTarget() },
        ...{ log: createLogRecorder().log, onBatch() {}, ...addresses },
      });
    expect(wrong({ streamUri: 'nowhere' })).toThrow('nowhere');
    expect(wrong({ baseUri: 'ftp://x' })).toThrow('ftp://x');
    expect(wrong({})).not.toThrow();
  });
});

describe('an out-of-order patch', () => {
  test('on the stream causes a poll, and the stream continues', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    await follow(fake, target).valid();
    fake.history.push(v(1, '+b'), v(2, '+c'));
    fake.stream(JSON.stringify([v(2, '+c')]));
    await eventually(() => expect(target.applied).toEqual(['v1', 'v2', 'v3']));
    fake.push(v(3, '+d'));
    await eventually(() => expect(target.cursor).toBe('v4'));
    expect(fake.streams()).toBe(1);
  });

  test('that is old is ignored, and the next one is applied', async () => {
    const fake = await launchDarkly(v(0, '+a'), v(1, '-a'));
    const target = createTarget();
    await follow(fake, target).valid();
    fake.stream(JSON.stringify([v(0, '+a')]));
    fake.push(v(2, '+c'));
    await eventually(() => expect(target.cursor).toBe('v3'));
    expect([...target.members]).toEqual(['vip.g1 included c']);
    expect(fake.streams()).toBe(1);
  });

  test('newer than the poll is found by a later check @heavy', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const timings = { ...quick, askGapMs: 60_000, checkMs: 500 };
    const { valid, lines } = follow(fake, target, { timings });
    await valid();
    fake.stream(JSON.stringify([v(2, '+c')]));
    await eventually(() => expect(lines.join()).toContain('Discarded an out-of-order Big Segments patch'));
    fake.history.push(v(1, '+b'), v(2, '+c'));
    await eventually(() => expect(target.cursor).toBe('v3'));
  });

  test('that never came on the stream is found by an occasional poll', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    await follow(fake, target, { timings: { ...quick, askMs: 60 } }).valid();
    fake.history.push(v(1, '+b'));
    await eventually(() => expect(target.cursor).toBe('v2'));
    expect(fake.streams()).toBe(1);
  });

  test('in every poll is retried with increasing pauses and shown in the status @heavy', async () => {
    const fake = await launchDarkly();
    fake.pollText = JSON.stringify([v(5, '+x')]);
    const target = createTarget();
    const pollBackoff = { firstMs: 200, maxMs: 400 };
    const { status, lines } = follow(fake, target, { timings: { ...quick, pollBackoff, random: () => 0 } });
    const since = performance.now();
    await eventually(() => expect(fake.polls()).toBeGreaterThanOrEqual(3));
    // It paused for 200 ms and 400 ms.
    expect(performance.now() - since).toBeGreaterThan(500);
    expect(status().lastError).toMatchObject({ kind: 'INVALID_DATA', message: expect.stringContaining('empty store') });
    expect(lines.join()).toContain('offers no Big Segments patch that applies');
    expect(target.synchronizedOn).toBe(0);
    fake.pollText = undefined;
    fake.history.push(v(0, '+a'));
    await eventually(() => expect(target.cursor).toBe('v1'));
  });

  test('without a version that repeats forever does not cause a tight loop either', async () => {
    const fake = await launchDarkly(wirePatch('s.g1', '', '', ['+a']));
    const pollBackoff = { firstMs: 60_000, maxMs: 60_000 };
    const { status } = follow(fake, createTarget(), { timings: { ...quick, pollBackoff } });
    await eventually(() => expect(status().lastError?.kind).toBe('INVALID_DATA'));
    expect(fake.polls()).toBe(1);
  });
});

test('patches whose versions go round in a circle do not cause a tight loop', async () => {
  const fake = await launchDarkly();
  const target = createTarget();
  const circle = [
    wirePatch('s.g1', '', 'v0', ['+a']),
    ...[0, 1, 2, 3, 4].map((n) => wirePatch('s.g1', `v${n}`, `v${(n + 1) % 5}`, [])),
  ];
  // One patch for each poll, so that none of them ends.
  fake.pollText = (cursor) => JSON.stringify(circle.filter(({ previousVersion }) => previousVersion === cursor));
  const pollBackoff = { firstMs: 60_000, maxMs: 60_000 };
  const { status } = follow(fake, target, { timings: { ...quick, pollBackoff } });
  await eventually(() => expect(status().lastError?.message).toContain('offers no Big Segments patch that applies'));
  expect(fake.polls()).toBeLessThan(20);
});

test('patches that wait for the store take no more than their part of the memory, and are polled instead @heavy', async () => {
  const fake = await launchDarkly(v(0, '+a'));
  const target = createTarget();
  fake.pageSize = 2;
  const receivedMemory = createReceivedMemory(4 * 1024 * 1024);
  const { valid } = follow(fake, target, { receivedMemory });
  await valid();
  const { apply } = target;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  target.apply = async (patch) => {
    await held;
    return apply(patch);
  };
  for (let n = 1; n <= 40; n++) {
    const hashes = Array.from({ length: 2_000 }, (_, index) => `+${n}-${index}${'-'.repeat(40)}`);
    fake.push(wirePatch('vip.g1', `v${n}`, `v${n + 1}`, hashes));
    await turnsOfLoop();
  }
  await eventually(() => expect(receivedMemory.usedBytes).toBeGreaterThan(1024 * 1024));
  expect(receivedMemory.usedBytes).toBeLessThan(4 * 1024 * 1024);
  release();
  await eventually(() => expect(target.members.size).toBe(80_001));
  await eventually(() => expect(receivedMemory.usedBytes).toBe(0));
});

describe('several relays on one store', () => {
  test('apply every patch once, and all of them notice', async () => {
    const fake = await launchDarkly(v(0, '+a'), v(1, '+b'));
    const target = createTarget();
    const relays = [follow(fake, target), follow(fake, target), follow(fake, target)];
    for (const { valid } of relays) await valid();
    const batches = relays.map(({ told }) => told.batches);
    for (let n = 2; n < 30; n++) fake.push(v(n, n % 2 ? '+x' : '-x'));
    await eventually(() => expect(target.cursor).toBe('v30'));
    expect(target.applied).toEqual(Array.from({ length: 30 }, (_, n) => `v${n + 1}`));
    await eventually(() => {
      for (const [index, { told }] of relays.entries()) expect(told.batches).toBeGreaterThan(batches[index]!);
    });
    expect(fake.streams()).toBe(3);
  });

  test('skip patches that another one applied without polling LaunchDarkly', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    await follow(fake, target, { timings: { ...quick, checkMs: 60_000 } }).valid();
    const asked = fake.polls();
    target.before = () => {
      target.cursor = 'v3';
      target.before = undefined;
    };
    fake.push(v(1, '+b'), v(2, '+c'), v(3, '+d'));
    await eventually(() => expect(target.cursor).toBe('v4'));
    expect(target.applied).toEqual(['v1', 'v4']);
    expect(fake.polls()).toBe(asked);
  });

  test('notice a cursor moved by another relay without any event', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const { valid, told } = follow(fake, target);
    await valid();
    const { batches } = told;
    fake.history.push(v(1, '+b'));
    target.cursor = 'v2';
    await eventually(() => expect(told.batches).toBeGreaterThan(batches));
    expect(target.applied).toEqual(['v1']);
  });
});

describe('the Big Segments synchroniser under faults', () => {
  test('refills a wiped store at the next checks', async () => {
    const fake = await launchDarkly(v(0, '+a'), v(1, '+b'));
    const target = createTarget();
    await follow(fake, target).valid();
    target.members.clear();
    target.cursor = '';
    await eventually(() => expect([...target.members]).toEqual(['vip.g1 included a', 'vip.g1 included b']));
    await eventually(() => expect(target.cursor).toBe('v2'));
    expect(fake.streams()).toBe(1);
  });

  test('applies what it missed after a store outage', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const { valid, status, lines, told } = follow(fake, target);
    await valid();
    target.down = 'the store is away';
    fake.push(v(1, '+b'));
    await eventually(() => expect(status().lastError).toMatchObject({ kind: 'STORE_ERROR', message: target.down }));
    expect(status().state).toBe('INTERRUPTED');
    fake.push(v(2, '+c'));
    const { batches } = told;
    target.down = undefined;
    await valid();
    expect(target.applied).toEqual(['v1', 'v2', 'v3']);
    expect(told.batches).toBeGreaterThan(batches);
    expect(lines.join()).toContain('the store is away');
  });

  test('replaces a stream that ends or is invalid', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const { valid, status } = follow(fake, target);
    await valid();
    fake.endStreams();
    fake.history.push(v(1, '+b'));
    await eventually(() => expect(target.cursor).toBe('v2'));
    await valid();
    fake.stream('{"no": "list"}');
    await eventually(() => expect(status().lastError?.kind).toBe('INVALID_DATA'));
    await valid();
    fake.push(v(2, '+c'));
    await eventually(() => expect(target.cursor).toBe('v3'));
    expect(fake.streams()).toBe(3);
  });

  test('reports a cursor or a hash that is not well-formed text, and applies nothing of the poll', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const { valid, status } = follow(fake, target);
    await valid();
    const [patch] = JSON.parse(JSON.stringify([v(1, '+b')])) as { changes: unknown }[];
    for (const bad of [
      { ...patch, version: '\ud800' },
      JSON.parse(JSON.stringify(patch).replace('"b"', '"\\ud800"')),
    ]) {
      fake.stream(JSON.stringify([bad]));
      await eventually(() => expect(status().lastError?.message).toContain('well-formed'));
      await valid();
    }
    expect(target.cursor).toBe('v1');
  });

  test('announces its recovery even if nothing was missed', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const { valid, status, told } = follow(fake, target);
    await valid();
    target.down = 'the store is away';
    await eventually(() => expect(status().state).toBe('INTERRUPTED'));
    const { batches } = told;
    target.down = undefined;
    await valid();
    await eventually(() => expect(told.batches).toBeGreaterThan(batches));
    expect(target.applied).toEqual(['v1']);
  });

  test('polls at once when the stream reopens, despite a pause after a failed poll', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const pollBackoff = { firstMs: 3_600_000, maxMs: 3_600_000 };
    const { valid, status } = follow(fake, target, { timings: { ...quick, pollBackoff } });
    await valid();
    fake.pollStatus = 500;
    fake.endStreams();
    await eventually(() => expect(status().lastError?.statusCode).toBe(500));
    fake.pollStatus = undefined;
    fake.history.push(v(1, '+b'));
    await eventually(() => expect(fake.openStreams).toBe(1));
    fake.endStreams();
    await eventually(() => expect(target.cursor).toBe('v2'));
  });

  test.each([
    ['not JSON', '<html>', 'must be JSON'],
    ['not a list', '{}', 'must be a list'],
    [
      'a patch with a number as version',
      '[{"segmentId":"s.g1","version":3}]',
      'Big Segments patch 0: "version" must be well-formed text',
    ],
    [
      'a patch whose members are not a list',
      '[{"segmentId":"s","changes":{"included":{"add":7}}}]',
      '"included.add" must be a list',
    ],
    [
      'a patch with an empty hash',
      '[{"segmentId":"s","changes":{"excluded":{"remove":[""]}}}]',
      '"excluded.remove" must be a list',
    ],
    ['a patch without a segment', '[{"changes":{"included":{"add":["a"]}}}]', '"segmentId" must name'],
  ])('reports a poll that is %s, changes nothing, and polls again', async (_what, text, problem) => {
    const fake = await launchDarkly(v(0, '+a'));
    fake.pollText = text;
    const target = createTarget();
    const { status } = follow(fake, target);
    await eventually(() => expect(status().lastError?.message).toContain(problem));
    expect(target.cursor).toBe('');
    fake.pollText = undefined;
    await eventually(() => expect(target.cursor).toBe('v1'));
  });

  test('keeps the store up to date by polling if only the stream fails', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    fake.streamStatus = 502;
    const target = createTarget();
    const { status } = follow(fake, target);
    await eventually(() => expect(target.cursor).toBe('v1'));
    fake.history.push(v(1, '+b'));
    await eventually(() => expect(target.cursor).toBe('v2'));
    await eventually(() => expect(status()).toMatchObject({ lastError: { statusCode: 502 }, refused: false }));
    expect(status().state).not.toBe('VALID');
  });

  test('closes everything, and cannot be started afterwards', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    const target = createTarget();
    const { valid, close, status } = follow(fake, target);
    await valid();
    await close();
    await eventually(() => expect(fake.openStreams).toBe(0));
    expect(status().state).toBe('OFF');
    const never = createBigSegmentSynchronizer({
      ...{ streamUri: fake.uri, baseUri: fake.uri, sdkKey: 'k', userAgent: 'u', store: target },
      ...{ log: createLogRecorder().log, onBatch() {} },
    });
    await never.close();
    never.start();
    expect(fake.asked.filter(({ key }) => key === 'k')).toEqual([]);
  });
});

describe("the Big Segments synchroniser's key", () => {
  test('is retried slowly after a rejection, which the status shows, until it is accepted', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    fake.keys = new Set();
    const target = createTarget();
    const refusedBackoff = { firstMs: 300, maxMs: 600 };
    const { status, lines, valid } = follow(fake, target, { timings: { ...quick, refusedBackoff, random: () => 0 } });
    const since = performance.now();
    await eventually(() => expect(status()).toMatchObject({ refused: true, lastError: { statusCode: 401 } }));
    await eventually(() => expect(fake.polls()).toBeGreaterThanOrEqual(2));
    expect(performance.now() - since).toBeGreaterThan(250);
    expect(lines.join()).toContain('"statusCode":401');
    expect(lines.join()).not.toContain('sdk-1');
    fake.keys = new Set(['sdk-1']);
    await valid();
    expect(status().refused).toBe(false);
    expect(target.cursor).toBe('v1');
  });

  test('is retried 5 min later by default', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    fake.keys = new Set();
    const { lines } = follow(fake, createTarget(), {
      timings: { ...quick, refusedBackoff: undefined, random: () => 0 },
    });
    await eventually(() => expect(lines.join()).toContain('"delayMs":300000'));
  });

  test('is used at once if it is new, despite a pause after a rejection', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    fake.keys = new Set(['sdk-2']);
    const target = createTarget();
    const refusedBackoff = { firstMs: 3_600_000, maxMs: 3_600_000 };
    const { setKey, valid, status } = follow(fake, target, { timings: { ...quick, refusedBackoff } });
    await eventually(() => expect(status().refused).toBe(true));
    setKey('sdk-2');
    await valid();
    expect(target.cursor).toBe('v1');
  });

  test('is used at once if it is new, even if the old one is rejected only afterwards', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    fake.keys = new Set(['sdk-2']);
    fake.pollDelayMs = 100;
    const target = createTarget();
    const refusedBackoff = { firstMs: 3_600_000, maxMs: 3_600_000 };
    const { setKey, valid } = follow(fake, target, { timings: { ...quick, refusedBackoff } });
    await eventually(() => expect(fake.polls()).toBe(1));
    setKey('sdk-2');
    await valid();
    expect(target.cursor).toBe('v1');
  });

  test('is rotated without a gap: the old stream stays until the new one is open', async () => {
    const fake = await launchDarkly(v(0, '+a'));
    fake.keys = new Set(['sdk-1']);
    const target = createTarget();
    const { setKey, valid, status, lines } = follow(fake, target);
    await valid();
    setKey('sdk-2');
    await eventually(() => expect(fake.asked.filter(({ key }) => key === 'sdk-2').length).toBeGreaterThan(1));
    fake.push(v(1, '+b'));
    await eventually(() => expect(target.cursor).toBe('v2'));
    expect(status().state).toBe('VALID');
    fake.keys = new Set(['sdk-2']);
    fake.endStreams('sdk-1');
    fake.history.push(v(2, '+c'));
    await eventually(() => expect(target.cursor).toBe('v3'));
    await valid();
    expect(fake.openStreams).toBe(1);
    expect(fake.asked.at(-1)?.key).toBe('sdk-2');
    expect(lines.join()).not.toMatch(/sdk-[12]/);
  });

  test('is kept if it is set again before the new one is in use', async () => {
    const fake = await launchDarkly();
    fake.keys = new Set(['sdk-1']);
    const { setKey, valid } = follow(fake, createTarget());
    await valid();
    setKey('sdk-2');
    setKey('sdk-1');
    setKey('sdk-1');
    fake.push(v(0, '+a'));
    await valid();
    expect(fake.openStreams).toBe(1);
    expect(fake.streams()).toBeLessThanOrEqual(2);
  });
});
