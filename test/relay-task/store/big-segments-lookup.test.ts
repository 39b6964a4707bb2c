/** Memberships for evaluation, from a store that may be slow, unavailable or stale. */
import { compileFlag, compileSegment, createEvaluator } from '../../../lib/evaluation/index.ts';
import { hashOf, type Membership } from '../../../relay-task/store/big-segments.ts';
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
    down: false,
    hanging: false,
    asked: [] as string[],
    metadataReads: 0,
    underWay: 0,
    most: 0,
    async answer<T>(value: () => T): Promise<T> {
      store.underWay += 1;
      store.most = Math.max(store.most, store.underWay);
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (store.hanging) await new Promise(() => {});
      store.underWay -= 1;
      if (store.down) throw new Error('the store is away');
      return value();
    },
    metadata() {
      store.metadataReads += 1;
      return store.answer(() => ({ cursor: store.cursor, synchronizedOn: store.synchronizedOn }));
    },
    membership(hash: string) {
      store.asked.push(hash);
      return store.answer(() => store.memberships[hash] ?? null);
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
    ...{ now: () => clock.now, pollMs: 10, retryMs: 10, ...more },
  });
  lookups.push(lookup);
  return { ...lookup, store, clock, lines, told };
}

test('a lookup reads the hash of the context key, and an unknown context has no memberships', async () => {
  const { lookup, load, store } = start();
  expect(lookup('alice')).toEqual({ status: 'STORE_ERROR' });
  await load(['alice', 'bob']);
  expect(store.asked).toEqual([ALICE, hashOf('bob')]);
  expect(lookup('alice')).toEqual({ status: 'HEALTHY', membership: { 'vip.g1': true } });
  expect(lookup('bob')).toEqual({ status: 'HEALTHY', membership: null });
});

test('an evaluation uses the stored memberships and reports their status', async () => {
  const { lookup, load, clock, store } = start();
  const segment = compileSegment({ key: 'vip', version: 1, unbounded: true, generation: 1, rules: [], salt: 's' });
  const clause = { attribute: '', op: 'segmentMatch', values: ['vip'] };
  const flag = compileFlag({
    ...{ key: 'f', version: 1, on: true, salt: 's', variations: ['in', 'out'], offVariation: 1 },
    ...{ rules: [{ id: 'r', clauses: [clause], variation: 0 }], fallthrough: { variation: 1 } },
  });
  const evaluator = createEvaluator({
    ...{ flag: () => flag, segment: () => segment, bucket: () => 0, bigSegments: lookup },
  });
  const answer = async (key: string) => {
    await load([key]);
    const { value, reason } = evaluator.evaluate('f', { kind: 'user', key }, null);
    return [value, reason.bigSegmentsStatus];
  };
  expect(await answer('alice')).toEqual(['in', 'HEALTHY']);
  expect(await answer('bob')).toEqual(['out', 'HEALTHY']);
  clock.now += 120_001;
  expect(await answer('alice')).toEqual(['in', 'STALE']);
  store.synchronizedOn = clock.now;
  await eventually(() => expect(lookup('alice').status).toBe('HEALTHY'));
  store.down = true;
  clock.now += 5_000;
  // An outage does not remove anyone from a segment.
  expect(await answer('alice')).toEqual(['in', 'STORE_ERROR']);
  expect(await answer('carol')).toEqual(['out', 'STORE_ERROR']);
});

test('a membership is cached for exactly 5 s', async () => {
  const { load, store, clock, lookup } = start();
  await load(['alice']);
  clock.now += 4_999;
  await load(['alice']);
  expect(store.asked).toHaveLength(1);
  store.memberships[ALICE] = { 'vip.g1': false };
  clock.now += 1;
  await load(['alice']);
  expect(store.asked).toHaveLength(2);
  expect(lookup('alice').membership).toEqual({ 'vip.g1': false });
});

test('concurrent loads of one context share a read', async () => {
  const { load, store } = start();
  await Promise.all(Array.from({ length: 50 }, () => load(['alice', 'alice'])));
  expect(store.asked).toEqual([ALICE]);
});

test('the cache is bounded and evicts the context that was loaded longest ago', async () => {
  const { load, lookup } = start({ cacheSize: 3 });
  for (const key of ['a', 'b', 'c', 'a', 'd']) await load([key]);
  expect(['a', 'b', 'c', 'd'].map((key) => lookup(key).status)).toEqual([
    'HEALTHY',
    'STORE_ERROR',
    'HEALTHY',
    'HEALTHY',
  ]);
});

test('concurrent and waiting reads are bounded, and further ones fail at once', async () => {
  const { load, lookup, store, status, lines } = start({ maxInside: 4, maxWaiting: 6 });
  await load(['first']);
  store.most = 0;
  const keys = Array.from({ length: 20 }, (_, index) => `key-${index}`);
  await Promise.all(keys.map((key) => load([key])));
  expect(store.most).toBeLessThanOrEqual(5);
  expect(keys.filter((key) => lookup(key).status === 'HEALTHY')).toHaveLength(10);
  // Too many requests are not an outage.
  expect(status()?.available).toBe(true);
  expect(lines).toEqual([]);
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

  test('is stale if they were never synchronised', async () => {
    const { load, lookup, status, store } = start();
    store.synchronizedOn = undefined;
    await load(['alice']);
    expect(lookup('alice').status).toBe('STALE');
    expect(status()).toEqual({ available: true, potentiallyStale: true, lastSynchronizedOn: 0 });
  });

  test('uses both configured limits', async () => {
    const { load, lookup, status, clock } = start({ staleAfterMs: 1_000, statusStaleAfterMs: 2_000 });
    await load(['alice']);
    clock.now += 1_500;
    expect(lookup('alice').status).toBe('STALE');
    expect(status()?.potentiallyStale).toBe(false);
    clock.now += 1_000;
    expect(status()?.potentiallyStale).toBe(true);
  });
});

describe('a change of Big Segments', () => {
  test('by another relay is announced, then memberships are read again', async () => {
    const { load, lookup, store, told } = start();
    await load(['alice']);
    store.memberships[ALICE] = { 'vip.g1': false };
    store.cursor = 'v2';
    await eventually(() => expect(told.changes).toBe(1));
    // Until then the last memberships are used.
    expect(lookup('alice').membership).toEqual({ 'vip.g1': true });
    await load(['alice']);
    expect(lookup('alice').membership).toEqual({ 'vip.g1': false });
    expect(told.changes).toBe(1);
  });

  test('by this relay is read again at once and not announced twice', async () => {
    const { load, lookup, store, told, refresh } = start({ pollMs: 200 });
    await load(['alice']);
    store.memberships[ALICE] = { 'vip.g1': false };
    Object.assign(store, { cursor: 'v2', synchronizedOn: NOW - 200_000 });
    await refresh();
    expect(lookup('alice').status).toBe('STALE');
    await load(['alice']);
    expect(lookup('alice').membership).toEqual({ 'vip.g1': false });
    const { metadataReads } = store;
    await eventually(() => expect(store.metadataReads).toBeGreaterThan(metadataReads + 1));
    expect(told.changes).toBe(0);
  });

  test('is not hidden by a read that began before it', async () => {
    const { load, lookup, store, refresh } = start();
    await load(['bob']);
    let answerOld = (_membership: Membership) => {};
    const { membership } = store;
    store.membership = () =>
      new Promise((resolve) => {
        answerOld = resolve;
      });
    const old = load(['alice']);
    await eventually(() => expect(answerOld).toHaveLength(1));
    await refresh();
    store.membership = membership;
    store.memberships[ALICE] = { 'vip.g1': false };
    await load(['alice']);
    answerOld({ 'vip.g1': true });
    await old;
    expect(lookup('alice').membership).toEqual({ 'vip.g1': false });
  });
});

describe('a failing Big Segment store', () => {
  test('is retried in the background without delaying readers, and its recovery is announced', async () => {
    const { load, lookup, store, lines, told, clock } = start();
    await load(['alice']);
    store.down = true;
    clock.now += 5_000;
    await load(['alice', 'bob']);
    expect(lookup('alice')).toEqual({ status: 'STORE_ERROR', membership: { 'vip.g1': true } });
    expect(lookup('bob')).toEqual({ status: 'STORE_ERROR', membership: null });
    const asked = store.asked.length;
    await Promise.all(Array.from({ length: 100 }, (_, index) => load([`key-${index}`])));
    expect(store.asked).toHaveLength(asked);
    store.down = false;
    await eventually(() => expect(told.changes).toBe(1));
    await load(['bob']);
    expect(lookup('bob').status).toBe('HEALTHY');
    expect(lines.map((line) => line.replace(/;.*/, ''))).toEqual([
      'Big Segments cannot be read',
      'Big Segments can be read again {}',
    ]);
    expect(lines.join()).not.toMatch(/alice|bob|key-/);
  });

  test('that never answers delays readers once, for the configured time', async () => {
    const { load, lookup, store } = start({ timeoutMs: 40, maxInside: 2 });
    store.hanging = true;
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map((key) => load([key])));
    expect(lookup('e')).toEqual({ status: 'STORE_ERROR', membership: null });
    // Waiting loads did not ask the store, too.
    expect(store.asked).toHaveLength(2);
  });

  test('is replaced by the next store, and reads do not wait for it meanwhile', async () => {
    const [one, two] = [createStore(), createStore()];
    one.hanging = true;
    two.memberships[ALICE] = { 'other.g1': true };
    const { load, lookup, status } = start({ stores: [one, two], timeoutMs: 40, pollMs: 60_000 });
    await load(['alice']);
    expect(lookup('alice')).toEqual({ status: 'HEALTHY', membership: { 'other.g1': true } });
    expect(status()?.available).toBe(true);
    const asked = one.asked.length;
    await load(['bob']);
    expect(lookup('bob').status).toBe('HEALTHY');
    expect(one.asked).toHaveLength(asked);
  });

  test('is preferred again once it recovers', async () => {
    const [one, two] = [createStore(), createStore()];
    one.down = true;
    two.memberships[ALICE] = { 'other.g1': true };
    const { load, lookup, refresh } = start({ stores: [one, two] });
    await load(['alice']);
    one.down = false;
    await refresh();
    await load(['alice']);
    expect(lookup('alice').membership).toEqual({ 'vip.g1': true });
  });
});
