/** Memberships for evaluation, from a store that may be slow, unavailable or stale. */
import { type BigSegmentsAnswer, compileFlag, compileSegment, createEvaluator } from '../../../lib/evaluation/index.ts';
import { sleep } from '../../../relay-task/common/pause.ts';
import type { LoadOptions } from '../../../relay-task/ports.ts';
import { type BigSegmentReading, hashOf, type Membership } from '../../../relay-task/store/big-segments.ts';
import { createMembershipMemory } from '../../../relay-task/store/big-segments-cache.ts';
import {
  type BigSegmentLookup,
  type BigSegmentLookupOptions,
  createBigSegmentLookup,
} from '../../../relay-task/store/big-segments-lookup.ts';
import { eventually } from '../../support/eventually.ts';

const lookups: BigSegmentLookup[] = [];
afterEach(() => {
  for (const lookup of lookups.splice(0)) lookup.close();
});

const ALICE = 'K9gGyX8OAK8aH8Myj6djqSaXI8jbj6xPk69x2xhtbpA=';
const NOW = 1_700_000_000_000;

/** A fake store that records its requests. */
function createStore() {
  const store = {
    memberships: { [ALICE]: { 'vip.g1': true } } as Record<string, Membership>,
    cursor: 'v1',
    synchronizedOn: NOW as number | undefined,
    incomplete: undefined as readonly string[] | undefined,
    down: false,
    hanging: false,
    /** Hashes, in the order in which they were read. */
    asked: [] as string[],
    /** Requests for metadata only, and the number of hashes of the others. */
    metadataReads: 0,
    batches: [] as number[],
    underWay: 0,
    most: 0,
    async read(hashes: readonly string[]): Promise<BigSegmentReading> {
      store.asked.push(...hashes);
      if (hashes.length === 0) store.metadataReads += 1;
      else store.batches.push(hashes.length);
      store.underWay += 1;
      store.most = Math.max(store.most, store.underWay);
      await sleep(2);
      if (store.hanging) await new Promise(() => {});
      store.underWay -= 1;
      if (store.down) throw new Error('the store is away');
      return {
        memberships: hashes.map((hash) => store.memberships[hash] ?? null),
        metadata: {
          ...{ cursor: store.cursor, synchronizedOn: store.synchronizedOn },
          ...(store.incomplete && { incomplete: store.incomplete }),
        },
      };
    },
  };
  return store;
}

function start(more: Partial<BigSegmentLookupOptions> = {}) {
  const store = createStore();
  const clock = { now: NOW };
  const lines: string[] = [];
  const told = { changes: 0 };
  const note = (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  const lookup = createBigSegmentLookup({
    stores: [store],
    log: { debug: note, info: note, warn: note, error: note },
    onChange() {
      told.changes += 1;
    },
    memory: createMembershipMemory({ limitBytes: 1_000_000 }),
    statusStaleAfterMs: 300_000,
    ...{ now: () => clock.now, pollMs: 10, retryMs: 10, waitMs: 60_000, outageWaitMs: 0, ...more },
  });
  lookups.push(lookup);
  /** What an evaluation is told about a context; 503: to come back later. */
  const tell = async (key: string, how?: LoadOptions) => {
    const memberships = await lookup.load([key], how);
    return memberships ? memberships.get(key) : 503;
  };
  return { ...lookup, tell, store, clock, lines, told };
}

const healthy = (membership: Membership | null) => ({ status: 'HEALTHY', membership });
const stale = (membership: Membership | null) => ({ status: 'STALE', membership });
const STORE_ERROR = { status: 'STORE_ERROR' };
const IN = { 'vip.g1': true };
const OUT = { 'vip.g1': false };

test('a lookup reads the hash of the context key, and an unknown context has no memberships', async () => {
  const { load, store } = start();
  const memberships = await load(['alice', 'bob']);
  expect(store.asked).toEqual([ALICE, hashOf('bob')]);
  expect([...memberships!]).toEqual([
    ['alice', healthy(IN)],
    ['bob', healthy(null)],
  ]);
});

test('an evaluation uses the stored memberships and reports their status', async () => {
  const { load, clock, store, status } = start();
  const segment = compileSegment({ key: 'vip', version: 1, unbounded: true, generation: 1, rules: [], salt: 's' });
  const clause = { attribute: '', op: 'segmentMatch', values: ['vip'] };
  const flag = compileFlag({
    ...{ key: 'f', version: 1, on: true, salt: 's', variations: ['in', 'out'], offVariation: 1 },
    ...{ rules: [{ id: 'r', clauses: [clause], variation: 0 }], fallthrough: { variation: 1 } },
  });
  const answer = async (key: string) => {
    const memberships = await load([key]);
    const lookUp = (name: string) => memberships!.get(name)!;
    const sources = { flag: () => flag, segment: () => segment, bucket: () => 0, bigSegments: lookUp };
    const { value, reason } = createEvaluator(sources).evaluate('f', { kind: 'user', key }, null);
    return [value, reason.bigSegmentsStatus];
  };
  expect(await answer('alice')).toEqual(['in', 'HEALTHY']);
  expect(await answer('bob')).toEqual(['out', 'HEALTHY']);
  clock.now += 120_001;
  expect(await answer('alice')).toEqual(['in', 'STALE']);
  store.synchronizedOn = clock.now;
  await eventually(async () => expect(await answer('alice')).toEqual(['in', 'HEALTHY']));
  store.down = true;
  await eventually(() => expect(status()?.available).toBe(false));
  // An outage does not remove anyone from a segment.
  expect(await answer('alice')).toEqual(['in', 'STALE']);
  expect(await answer('carol')).toEqual(['out', 'STORE_ERROR']);
});

test('a membership is cached for exactly 5 s', async () => {
  const { tell, store, clock } = start();
  await tell('alice');
  clock.now += 4_999;
  await tell('alice');
  expect(store.asked).toHaveLength(1);
  store.memberships[ALICE] = OUT;
  clock.now += 1;
  expect(await tell('alice')).toEqual(healthy(OUT));
  expect(store.asked).toHaveLength(2);
});

test('concurrent loads of one context share a read', async () => {
  const { load, store } = start();
  await Promise.all(Array.from({ length: 50 }, () => load(['alice', 'alice'])));
  expect(store.asked).toEqual([ALICE]);
});

const COUNT = process.env.LONG ? 20_000 : 800;

describe(`${COUNT} contexts at once`, () => {
  const keys = Array.from({ length: COUNT }, (_, index) => `key-${index}`);
  const members = (key: string): Membership => ({ [`of-${key}.g1`]: true });
  /** Contexts that were not told their own membership and HEALTHY. */
  const wrong = (answers: readonly (BigSegmentsAnswer | 503 | undefined)[]) =>
    keys.filter((key, index) => {
      const answer = answers[index];
      if (index >= answers.length) return false;
      return !(typeof answer === 'object' && answer.status === 'HEALTHY' && answer.membership?.[`of-${key}.g1`]);
    });
  const fill = (store: ReturnType<typeof createStore>) => {
    for (const key of keys) store.memberships[hashOf(key)] = members(key);
  };

  test('each get their own membership, with a few requests in progress at a time @heavy', async () => {
    const { tell, store } = start({ maxInside: 4, pollMs: 60_000 });
    fill(store);
    await tell('first');
    store.most = 0;
    store.batches.length = 0;
    const answers = await Promise.all(keys.map((key) => tell(key)));
    expect(wrong(answers)).toEqual([]);
    expect(store.most).toBe(4);
    expect(store.batches.length).toBe(Math.ceil(COUNT / 99));
  });

  test('get theirs even if the memory for memberships holds only a few of them @heavy', async () => {
    const { tell, store } = start({ memory: createMembershipMemory({ limitBytes: 10_000 }) });
    fill(store);
    const answers = await Promise.all(keys.map((key) => tell(key)));
    expect(wrong(answers)).toEqual([]);
  });

  test('wait while the store pauses, and none is answered wrongly @heavy', async () => {
    const { tell, store, lines } = start({ timeoutMs: 30, outageWaitMs: 60_000 });
    fill(store);
    store.hanging = true;
    const answers = Promise.all(keys.map((key) => tell(key)));
    await eventually(() => expect(lines).toHaveLength(1));
    store.hanging = false;
    expect(wrong(await answers)).toEqual([]);
  });

  test('are asked to retry if too many of them wait, while streams still wait @heavy', async () => {
    const { tell, store, status, lines } = start({ maxInside: 1, maxWaiting: COUNT / 4 });
    fill(store);
    await tell('first');
    const polls = Promise.all(keys.map((key) => tell(key)));
    const streams = Promise.all(keys.map((key) => tell(key, { patient: true })));
    expect((await polls).filter((answer) => answer === 503)).toHaveLength(0.75 * COUNT);
    expect(wrong((await polls).slice(0, COUNT / 4))).toEqual([]);
    expect(wrong(await streams)).toEqual([]);
    // Too many requests are not an outage.
    expect(status()?.available).toBe(true);
    expect(lines).toEqual([]);
  });
});

test('a lookup that takes too long is answered by what is known, or with 503, and a stream waits', async () => {
  const { tell, store, clock } = start({ waitMs: 1, timeoutMs: 60_000, pollMs: 60_000 });
  await tell('alice', { patient: true });
  clock.now += 5_000;
  store.hanging = true;
  let waiting = true;
  const stream = tell('carol', { patient: true }).finally(() => {
    waiting = false;
  });
  expect(await tell('alice')).toEqual(stale(IN));
  expect(await tell('bob')).toBe(503);
  expect(await tell('dora', { known: new Map([['dora', { status: 'HEALTHY', membership: OUT }]]) })).toEqual(
    stale(OUT),
  );
  expect(waiting).toBe(true);
  for (const lookup of lookups.splice(0)) lookup.close();
  expect(await stream).toBe(503);
});

test.each([
  ['a context whose segments do not all fit in the store', [ALICE], [stale(IN), healthy(null)]],
  ['every context if too many do not fit in the store', ['*'], [stale(IN), stale(null)]],
])('%s is STALE, and the status names it', async (_who, incomplete, [alice, bob]) => {
  const { tell, store, status } = start();
  store.incomplete = incomplete;
  for (let cached = 0; cached < 2; cached++) expect([await tell('alice'), await tell('bob')]).toEqual([alice, bob]);
  expect(status()).toEqual({
    ...{ available: true, potentiallyStale: true, lastSynchronizedOn: NOW },
    incompleteContexts: incomplete,
  });
});

describe('the memory for memberships', () => {
  const many = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}-${index}`);

  test('forgets the context that was used longest ago', async () => {
    const memory = createMembershipMemory({ limitBytes: 3 * 180 });
    const { tell, store } = start({ memory });
    for (const key of ['a', 'b', 'c', 'a', 'd']) await tell(key);
    store.asked.length = 0;
    for (const key of ['a', 'c', 'd', 'b']) await tell(key);
    expect(store.asked).toEqual([hashOf('b')]);
  });

  test('is bounded in bytes, and many contexts of one environment displace none of another @heavy', async () => {
    const memory = createMembershipMemory({ limitBytes: 100_000 });
    const [other, flooded] = [start({ memory }), start({ memory })];
    const few = many('few', 100);
    await other.load(few);
    await flooded.load(many('flood', 5_000));
    expect(memory.bytes).toBeLessThanOrEqual(100_000);
    other.store.asked.length = 0;
    await other.load(few);
    expect(other.store.asked).toEqual([]);
    for (const lookup of [flooded, other]) lookup.close();
    expect(memory.bytes).toBe(0);
  });

  test('keeps nothing of an environment that closed while its contexts were being read', () => {
    const memory = createMembershipMemory({ limitBytes: 1_000_000 });
    const [one, other] = [memory.open(), memory.open()];
    const entry = { membership: null, incomplete: false, generation: 0, readAt: 0 };
    one.set('before', entry);
    other.set('of another environment', entry);
    const heir = one.share();
    one.close();
    const bytes = memory.bytes;
    one.set('late', entry);
    expect([memory.bytes, heir.get('late'), heir.get('before')]).toEqual([bytes, undefined, entry]);
    heir.close();
    heir.set('later', entry);
    expect(memory.bytes).toBe(bytes / 2);
  });

  test('counts the segments of a context', async () => {
    const memory = createMembershipMemory({ limitBytes: 1_000_000 });
    const { tell, store } = start({ memory });
    store.memberships[ALICE] = Object.fromEntries(many('segment', 1_000).map((ref) => [ref, true]));
    await tell('alice');
    expect(memory.bytes).toBeGreaterThan(40_000);
  });
});

describe('the status of Big Segments', () => {
  test('is undefined until a Big Segment is seen, then follows the metadata', async () => {
    const { start: begin, status, store, clock } = start();
    expect(status()).toBeUndefined();
    begin();
    begin();
    await eventually(() =>
      expect(status()).toEqual({ available: true, potentiallyStale: false, lastSynchronizedOn: NOW }),
    );
    clock.now += 300_001;
    expect(status()?.potentiallyStale).toBe(true);
    store.synchronizedOn = clock.now;
    await eventually(() => expect(status()?.potentiallyStale).toBe(false));
    store.down = true;
    await eventually(() => expect(status()).toMatchObject({ available: false, lastSynchronizedOn: clock.now }));
  });

  test('uses both configured limits', async () => {
    const { tell, status, clock } = start({ staleAfterMs: 1_000, statusStaleAfterMs: 2_000 });
    await tell('alice');
    clock.now += 1_500;
    expect(await tell('alice')).toEqual(stale(IN));
    expect(status()?.potentiallyStale).toBe(false);
    clock.now += 1_000;
    expect(status()?.potentiallyStale).toBe(true);
  });
});

describe('a change of Big Segments', () => {
  test('by another relay is announced, then memberships are read again', async () => {
    const { tell, store, told } = start();
    await tell('alice');
    store.memberships[ALICE] = OUT;
    store.cursor = 'v2';
    await eventually(() => expect(told.changes).toBe(1));
    expect(await tell('alice')).toEqual(healthy(OUT));
    expect(told.changes).toBe(1);
  });

  test('is announced even if a membership was read before the metadata', async () => {
    const { tell, store, told, clock } = start({ pollMs: 100 });
    await tell('alice');
    store.memberships[ALICE] = OUT;
    store.cursor = 'v2';
    clock.now += 5_000;
    expect(await tell('alice')).toEqual(healthy(OUT));
    await eventually(() => expect(told.changes).toBe(1));
  });

  test('by this relay is read again at once and not announced twice', async () => {
    const { tell, store, told, refresh } = start({ pollMs: 200 });
    await tell('alice');
    store.memberships[ALICE] = OUT;
    Object.assign(store, { cursor: 'v2', synchronizedOn: NOW - 200_000 + 150_000 });
    await refresh();
    expect(await tell('alice')).toEqual(healthy(OUT));
    const { metadataReads } = store;
    await eventually(() => expect(store.metadataReads).toBeGreaterThan(metadataReads + 1));
    expect(told.changes).toBe(0);
  });

  test('is not hidden by a read that began before it', async () => {
    const { tell, store, refresh } = start({ pollMs: 60_000, timeoutMs: 60_000 });
    await tell('bob');
    let answerOld = (_reading: BigSegmentReading) => {};
    const { read } = store;
    store.read = () =>
      new Promise((resolve) => {
        answerOld = resolve;
      });
    const old = tell('alice');
    await eventually(() => expect(answerOld).toHaveLength(1));
    store.read = read;
    await refresh();
    store.memberships[ALICE] = OUT;
    expect(await tell('alice')).toEqual(healthy(OUT));
    answerOld({ memberships: [IN], metadata: { cursor: 'v1', synchronizedOn: NOW } });
    await old;
    store.down = true;
    await refresh();
    expect(await tell('alice')).toEqual(stale(OUT));
  });
});

describe('a failing Big Segment store', () => {
  test('is retried in the background without delaying readers, and its recovery is announced', async () => {
    const { load, tell, store, lines, told, clock } = start();
    await tell('alice');
    store.down = true;
    clock.now += 5_000;
    expect(await tell('alice')).toEqual(stale(IN));
    expect(await tell('bob')).toEqual(STORE_ERROR);
    const memberships = () => store.asked.filter((hash) => hash !== ALICE).length;
    const asked = memberships();
    await Promise.all(Array.from({ length: 100 }, (_, index) => load([`key-${index}`])));
    expect(memberships()).toBe(asked);
    store.down = false;
    await eventually(() => expect(told.changes).toBe(1));
    expect(await tell('bob')).toEqual(healthy(null));
    expect(lines.map((line) => line.replace(/;.*/, ''))).toEqual([
      'Big Segments cannot be read',
      'Big Segments can be read again {}',
    ]);
    expect(lines.join()).not.toMatch(/alice|bob|key-/);
  });

  test('holds up a context that was never seen once, for the configured time', async () => {
    const { tell, store } = start({ timeoutMs: 20, outageWaitMs: 20, maxInside: 2 });
    store.hanging = true;
    expect(await Promise.all(['a', 'b', 'c', 'd', 'e'].map((key) => tell(key)))).toEqual(Array(5).fill(STORE_ERROR));
    const before = store.batches.length;
    expect(await tell('f')).toEqual(STORE_ERROR);
    // Nor was the store asked for it.
    expect(store.batches.slice(before).filter((size) => size > 1)).toEqual([]);
    expect(store.asked).not.toContain(hashOf('f'));
  });

  test('takes no membership from a context that had it before', async () => {
    const { tell, store, status } = start({ memory: createMembershipMemory({ limitBytes: 0 }) });
    const told = await tell('alice');
    expect(told).toEqual(healthy(IN));
    store.down = true;
    await eventually(() => expect(status()?.available).toBe(false));
    expect(await tell('alice')).toEqual(STORE_ERROR);
    expect(await tell('alice', { known: new Map([['alice', healthy(IN) as BigSegmentsAnswer]]) })).toEqual(stale(IN));
  });

  test('that gives its metadata but no memberships stays unavailable, and is not announced again and again', async () => {
    const { tell, store, told, lines, status } = start();
    await tell('alice');
    const { read } = store;
    store.read = (hashes) => (hashes.length > 0 ? Promise.reject(new Error('NOPERM')) : read(hashes));
    expect(await tell('bob')).toEqual(STORE_ERROR);
    const { length } = store.asked;
    await tell('carol');
    let attempts = 0;
    store.read = (hashes) => {
      attempts += 1;
      return hashes.length > 0 ? Promise.reject(new Error('NOPERM')) : read(hashes);
    };
    await eventually(() => expect(attempts).toBeGreaterThan(5));
    expect(store.asked).toHaveLength(length);
    expect([told.changes, status()?.available, lines.length]).toEqual([0, false, 1]);
  });

  test('is replaced by the next store, and reads do not wait for it meanwhile', async () => {
    const [one, two] = [createStore(), createStore()];
    one.hanging = true;
    two.memberships[ALICE] = { 'other.g1': true };
    const { tell, status } = start({ stores: [one, two], timeoutMs: 40, pollMs: 60_000 });
    expect(await tell('alice')).toEqual(healthy({ 'other.g1': true }));
    expect(status()?.available).toBe(true);
    const asked = one.asked.length;
    expect(await tell('bob')).toEqual(healthy(null));
    expect(one.asked).toHaveLength(asked);
  });

  test('is preferred again once it recovers', async () => {
    const [one, two] = [createStore(), createStore()];
    one.down = true;
    two.memberships[ALICE] = { 'other.g1': true };
    const { tell, refresh } = start({ stores: [one, two] });
    await tell('alice');
    one.down = false;
    await refresh();
    expect(await tell('alice')).toEqual(healthy(IN));
  });

  test('whose lookup is closed answers with what is known, or not at all', async () => {
    const { tell, store, close } = start({ outageWaitMs: 60_000, timeoutMs: 60_000, pollMs: 60_000 });
    await tell('alice');
    store.down = true;
    const waiting = tell('bob', { patient: true });
    await eventually(() => expect(store.asked).toContain(hashOf('bob')));
    close();
    expect(await waiting).toBe(503);
    expect(await tell('alice')).toEqual(stale(IN));
  });
});

describe('a Big Segment store that lost its data', () => {
  const empty = () => ({ cursor: '', synchronizedOn: undefined, memberships: {} });
  /** A context that is remembered, and a store that loses everything while the next context is read. */
  async function lose(more: Partial<BigSegmentLookupOptions> = {}) {
    const started = start(more);
    started.store.cursor = 'v9';
    await started.tell('alice');
    started.clock.now += 5_000;
    Object.assign(started.store, empty());
    return started;
  }

  test('is noticed by the read itself: remembered memberships hold until it was synchronised again', async () => {
    const { tell, store, status, told, lines, clock } = await lose({ pollMs: 60_000 });
    expect(await tell('alice')).toEqual(stale(IN));
    expect(status()).toEqual({ available: true, potentiallyStale: true, lastSynchronizedOn: NOW });
    // It is filled from the beginning, through versions that were never seen here.
    for (const cursor of ['v1', 'v2', 'v3']) {
      const { metadataReads } = store;
      store.cursor = cursor;
      await eventually(() => expect(store.metadataReads + store.asked.length).toBeGreaterThan(metadataReads + 2));
      expect(await tell('alice')).toEqual(stale(IN));
    }
    store.memberships[ALICE] = OUT;
    Object.assign(store, { cursor: 'v10', synchronizedOn: clock.now });
    await eventually(() => expect(told.changes).toBe(1));
    expect(await tell('alice')).toEqual(healthy(OUT));
    expect(lines.map((line) => line.replace(/;.*/, ''))).toEqual([
      'The store of Big Segments is not up to date',
      'Big Segments can be read again {}',
    ]);
  });

  test('is complete again at the version that it had', async () => {
    const { tell, store } = await lose({ pollMs: 60_000 });
    await tell('alice');
    Object.assign(store, { cursor: 'v9', synchronizedOn: NOW, memberships: { [ALICE]: OUT } });
    await eventually(async () => expect(await tell('alice')).toEqual(healthy(OUT)));
  });

  test('is not complete because a relay confirmed it just before the loss was noticed', async () => {
    const { tell, store, clock } = await lose({ pollMs: 60_000 });
    store.synchronizedOn = clock.now;
    expect(await tell('alice')).toEqual(stale(IN));
    store.cursor = 'v1';
    const { asked } = store;
    const { length } = asked;
    await eventually(() => expect(asked.length).toBeGreaterThan(length + 2));
    expect(await tell('alice')).toEqual(stale(IN));
    store.synchronizedOn = clock.now + 1;
    await eventually(async () => expect(await tell('alice')).toEqual(healthy(null)));
  });

  test('is not complete while it is empty, although ld-relay keeps confirming that it is', async () => {
    const { tell, store, clock } = await lose({ pollMs: 60_000 });
    const { asked } = store;
    expect(await tell('alice')).toEqual(stale(IN));
    for (let confirmed = 1; confirmed <= 3; confirmed++) {
      clock.now += 30_000;
      store.synchronizedOn = clock.now;
      const { length } = asked;
      await eventually(() => expect(asked.length).toBeGreaterThan(length + 2));
      expect(await tell('alice')).toEqual(stale(IN));
    }
    clock.now += 30_000;
    Object.assign(store, { cursor: 'v10', synchronizedOn: clock.now, memberships: { [ALICE]: OUT } });
    await eventually(async () => expect(await tell('alice')).toEqual(healthy(OUT)));
  });

  test('gives a context that was never seen no answer, and the truth once there is one', async () => {
    const { tell, store, told, clock } = await lose();
    expect(await tell('bob')).toEqual(STORE_ERROR);
    Object.assign(store, { cursor: 'v9', synchronizedOn: clock.now, memberships: { [hashOf('bob')]: IN } });
    await eventually(() => expect(told.changes).toBe(1));
    expect(await tell('bob')).toEqual(healthy(IN));
  });

  test('is replaced by another store that still has it', async () => {
    const [one, two] = [createStore(), createStore()];
    const { tell, clock } = start({ stores: [one, two], pollMs: 60_000 });
    await tell('alice');
    clock.now += 5_000;
    Object.assign(one, empty());
    expect(await tell('alice')).toEqual(healthy(IN));
    expect(await tell('bob')).toEqual(healthy(null));
  });
});

test('a Big Segment store that was never synchronised is waited for, and gives no answer before', async () => {
  const { tell, store, status, lines, told } = start({ outageWaitMs: 60_000 });
  store.synchronizedOn = undefined;
  const waiting = tell('alice');
  await eventually(() => expect(lines).toHaveLength(1));
  expect(lines[0]).toContain('they were never synchronised into the store');
  expect(status()).toEqual({ available: true, potentiallyStale: true, lastSynchronizedOn: 0 });
  store.synchronizedOn = NOW;
  expect(await waiting).toEqual(healthy(IN));
  expect(told.changes).toBe(1);
});

describe.each([
  ['went back to an earlier version', { cursor: 'v1', synchronizedOn: NOW - 30_000 }],
  ['is a backup of an hour ago', { cursor: 'v0', synchronizedOn: NOW - 3_600_000 }],
])('a Big Segment store that %s', (_what, metadata) => {
  test('takes nothing from remembered contexts, and all that others get is STALE', async () => {
    const { tell, store, told, clock, refresh } = start({ pollMs: 60_000 });
    await tell('alice');
    store.cursor = 'v2';
    await refresh();
    clock.now += 5_000;
    Object.assign(store, { ...metadata, memberships: { [hashOf('bob')]: IN } });
    expect(await tell('alice')).toEqual(stale(IN));
    expect(await tell('bob')).toEqual(stale(IN));
    expect(await tell('carol')).toEqual(stale(null));
    expect(await tell('alice')).toEqual(stale(IN));
    Object.assign(store, { cursor: 'v3', synchronizedOn: clock.now, memberships: { [hashOf('carol')]: IN } });
    await eventually(() => expect(told.changes).toBe(1));
    expect(await tell('alice')).toEqual(healthy(null));
    expect(await tell('carol')).toEqual(healthy(IN));
  });
});

test('a Big Segment store that caught up is announced even if a read finds out', async () => {
  const { tell, store, told, clock } = start({ pollMs: 60_000, retryMs: 60_000 });
  await tell('alice');
  clock.now += 5_000;
  Object.assign(store, { cursor: 'v0', synchronizedOn: NOW - 3_600_000, memberships: {} });
  expect(await tell('alice')).toEqual(stale(IN));
  Object.assign(store, { cursor: 'v3', synchronizedOn: clock.now });
  expect(await tell('bob')).toEqual(healthy(null));
  expect(told.changes).toBe(1);
});

test("a Big Segment store stays in use if another relay's clock is behind", async () => {
  const { tell, store, clock } = start();
  await tell('alice');
  clock.now += 5_000;
  Object.assign(store, { cursor: 'v2', synchronizedOn: NOW - 59_000, memberships: { [ALICE]: OUT } });
  expect(await tell('alice')).toEqual(healthy(OUT));
});
