/** Big Segments in DynamoDB and Redis: what is stored, and that faults between relays and databases do no harm. */

import { DynamoDBClient, type UpdateItemCommandInput } from '@aws-sdk/client-dynamodb';
import { createMeasures } from '../../../relay-task/common/measures.ts';
import { SLICE_MS } from '../../../relay-task/common/slices.ts';
import type { BigSegmentPatch } from '../../../relay-task/ports.ts';
import {
  type BigSegmentStore,
  changesByHash,
  EVERY_HASH,
  HASHES_AT_ONCE,
  type HashChange,
  hashOf,
  MAX_READ,
} from '../../../relay-task/store/big-segments.ts';
import { createDynamoDBBigSegments } from '../../../relay-task/store/big-segments-dynamodb.ts';
import { createRedisBigSegments } from '../../../relay-task/store/big-segments-redis.ts';
import { testCredentials, testRegion } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { startFaultyProxy } from '../../support/faulty-proxy.ts';
import { createLogRecorder, silentLog } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { describeWithRedis, redisAt, startCluster, startRedis, type TestRedis } from '../../support/redis.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { openTable, quick, type Stores } from './open-stores.ts';

const { behind } = closeAfterEach();

/** `included` and `excluded`: `+HASH` adds, `-HASH` removes. */
function patch(
  previousVersion: string,
  version: string,
  included: readonly string[] = [],
  excluded: readonly string[] = [],
  segmentRef = 'vip.g3',
): BigSegmentPatch {
  const split = (list: readonly string[]) => ({
    add: list.filter((one) => one.startsWith('+')).map((one) => one.slice(1)),
    remove: list.filter((one) => one.startsWith('-')).map((one) => one.slice(1)),
  });
  return { segmentRef, previousVersion, version, included: split(included), excluded: split(excluded) };
}

const many = (count: number) => Array.from({ length: count }, (_, index) => `hash-${index}`);

test.each([
  // computed by `printf alice | openssl dgst -sha256 -binary | base64`
  ['alice', 'K9gGyX8OAK8aH8Myj6djqSaXI8jbj6xPk69x2xhtbpA='],
  ['bob', 'gbY32PzSxtpjWeaWMROhFw3nleS3JbhNHgtM/Z7FjOk='],
])('the hash of %s is %s', (key, hash) => {
  expect(hashOf(key)).toBe(hash);
});

test('changes are grouped by hash, and a removal wins over an addition in the same list', async () => {
  const groups = await groupsOf(patch('', 'v1', ['+a', '-b', '+c', '-c'], ['+b', '-a', '+d']));
  expect(groups).toEqual([
    [
      { hash: 'a', included: 'add', excluded: 'remove' },
      { hash: 'c', included: 'remove' },
      { hash: 'b', included: 'remove', excluded: 'add' },
      { hash: 'd', excluded: 'add' },
    ],
  ]);
  expect(await groupsOf(patch('', 'v1'))).toEqual([]);
});

/** So many that a patch has many parts. */
const MANY = process.env.LONG ? 200_000 : 20_000;

test('a large patch is grouped in many small parts, each hash in one of them, whatever lists it is in @heavy', async () => {
  const hashes = Array.from({ length: MANY }, (_, index) => hashOf(`context-${index}`));
  const groups = await groupsOf({
    ...patch('', 'v1'),
    included: { add: hashes, remove: hashes.slice(0, 1_000) },
    excluded: { add: hashes.slice(500, 1_500), remove: [] },
  });
  expect(groups.length).toBeGreaterThanOrEqual(MANY / HASHES_AT_ONCE);
  expect(Math.max(...groups.map(({ length }) => length))).toBeLessThan(2 * HASHES_AT_ONCE);
  const changes = new Map(groups.flat().map(({ hash, ...change }) => [hash, change]));
  expect(groups.flat()).toHaveLength(MANY);
  expect([0, 500, 1_000, 1_500].map((index) => changes.get(hashes[index]!))).toEqual([
    { included: 'remove' },
    { included: 'remove', excluded: 'add' },
    { included: 'add', excluded: 'add' },
    { included: 'add' },
  ]);
});

test('a patch with many members is divided in slices', async () => {
  const add = Array.from({ length: MANY }, (_, index) => `hash-${index}`);
  const loop = countSlicedTurns();
  behind(async () => loop.stop());
  const groups = changesByHash({ ...patch('', 'v1'), included: { add, remove: [] } });
  expect((await groups.next()).value).not.toHaveLength(0);
  // A step for HASHES_AT_ONCE hashes, and a slice is over after SLICE_MS of them.
  expect(loop.turns).toBeGreaterThanOrEqual(add.length / HASHES_AT_ONCE / (SLICE_MS + 1));
  await groups.return(undefined);
});

async function groupsOf(one: BigSegmentPatch): Promise<HashChange[][]> {
  const groups: HashChange[][] = [];
  for await (const group of changesByHash(one)) groups.push([...group]);
  return groups;
}

async function membershipIn(store: BigSegmentStore, hash: string) {
  return (await store.read([hash])).memberships[0];
}

interface Bench {
  /** A store behind its own faulty connection. */
  open(): Promise<{ store: BigSegmentStore; cut(): void; heal(): void }>;
  /** Everything in the database in LaunchDarkly's layout, without our own numbers. */
  dump(): Promise<Record<string, unknown>>;
}

/** The tests of both databases. */
function promises(bench: () => Bench): void {
  test('start without a cursor, a time of synchronisation or memberships', async () => {
    const { store } = await bench().open();
    expect(await store.metadata()).toEqual({ cursor: '', synchronizedOn: undefined });
    expect(await membershipIn(store, 'nobody')).toBeNull();
  });

  test('apply a patch with additions and removals and move the cursor, and included wins over excluded @heavy', async () => {
    const { store } = await bench().open();
    expect(await store.apply(patch('', 'v1', ['+a', '+b'], ['+b', '+c']))).toBe('applied');
    expect(await store.apply(patch('v1', 'v2', ['+a'], [], 'other.g1'))).toBe('applied');
    expect({ ...(await membershipIn(store, 'a')) }).toEqual({ 'vip.g3': true, 'other.g1': true });
    expect({ ...(await membershipIn(store, 'b')) }).toEqual({ 'vip.g3': true });
    expect({ ...(await membershipIn(store, 'c')) }).toEqual({ 'vip.g3': false });
    // One hash in two lists of a patch: DynamoDB rejects a transaction with two operations on one item.
    expect(await store.apply(patch('v2', 'v3', ['-a', '-b'], ['+a', '-b']))).toBe('applied');
    expect({ ...(await membershipIn(store, 'a')) }).toEqual({ 'vip.g3': false, 'other.g1': true });
    expect(await membershipIn(store, 'b')).toBeNull();
    expect((await store.metadata()).cursor).toBe('v3');
  });

  test('ignore an out-of-order patch @heavy', async () => {
    const { store } = await bench().open();
    expect(await store.apply(patch('v1', 'v2', ['+a']))).toBe('out-of-order');
    expect(await bench().dump()).toEqual({});
    await store.apply(patch('', 'v1', ['+a']));
    const before = await bench().dump();
    for (const stale of [patch('', 'v9', ['+b']), patch('v2', 'v3', ['-a']), patch('', '', ['+b'])]) {
      expect(await store.apply(stale)).toBe('out-of-order');
    }
    expect(await bench().dump()).toEqual(before);
  });

  test('say that a patch was applied already, and do not apply it again', async () => {
    const { store } = await bench().open();
    await store.apply(patch('', 'v1', ['+a']));
    expect(await store.apply(patch('', 'v1', ['+b']))).toBe('already-applied');
    expect(await membershipIn(store, 'b')).toBeNull();
  });

  test('accept several patches without a version during the first load @heavy', async () => {
    const { store } = await bench().open();
    expect(await store.apply(patch('', '', ['+a']))).toBe('applied');
    expect(await store.apply(patch('', '', ['+b']))).toBe('applied');
    expect((await store.metadata()).cursor).toBe('');
    expect(await store.apply(patch('', 'v1'))).toBe('applied');
    expect({ ...(await membershipIn(store, 'a')), cursor: (await store.metadata()).cursor }).toEqual({
      'vip.g3': true,
      cursor: 'v1',
    });
  });

  test('replace the time of synchronisation without moving the cursor', async () => {
    const { store } = await bench().open();
    await store.apply(patch('', 'v1'));
    await store.setSynchronizedOn(1_700_000_000_000);
    await store.setSynchronizedOn(1_700_000_000_001);
    expect(await store.metadata()).toEqual({ cursor: 'v1', synchronizedOn: 1_700_000_000_001 });
  });

  test('are read many at a time, in the order asked for, together with their metadata @heavy', async () => {
    const { store } = await bench().open();
    const hashes = many(MAX_READ);
    await store.apply(patch('', 'v1', [`+${hashes[3]}`, `+${hashes[98]}`], [`+${hashes[0]}`]));
    await store.setSynchronizedOn(1_700_000_000_000);
    const { memberships, metadata } = await store.read(hashes);
    expect(metadata).toEqual({ cursor: 'v1', synchronizedOn: 1_700_000_000_000 });
    const found = memberships.map((membership) => membership && { ...membership });
    expect(found).toEqual(
      hashes.map(
        (_, index) => ({ 0: { 'vip.g3': false }, 3: { 'vip.g3': true }, 98: { 'vip.g3': true } })[index] ?? null,
      ),
    );
    expect(await store.read([])).toEqual({ memberships: [], metadata });
  });

  test('accept any segment and context names', async () => {
    const { store } = await bench().open();
    await store.apply(patch('', 'v"1 ü', ['+__proto__', '+a:b/c='], [], '__proto__.g1'));
    expect(Object.keys((await membershipIn(store, '__proto__')) ?? {})).toEqual(['__proto__.g1']);
    expect(Object.entries((await membershipIn(store, 'a:b/c=')) ?? {})).toEqual([['__proto__.g1', true]]);
    expect((await store.metadata()).cursor).toBe('v"1 ü');
  });

  test('are safe when two relays apply the same patches at the same time @heavy', async () => {
    const [one, two] = [await bench().open(), await bench().open()];
    const patches = [1, 2, 3, 4].map((n) =>
      patch(n === 1 ? '' : `v${n - 1}`, `v${n}`, [`${n % 2 ? '+' : '-'}a`, `+${n}`]),
    );
    const walk = async ({ store }: typeof one) => {
      for (const next of patches) {
        // A relay that is behind reads the cursor, as the synchroniser does.
        while ((await store.apply(next)) === 'out-of-order') {
          const { cursor } = await store.metadata();
          if (patches.findIndex(({ version }) => version === cursor) >= patches.indexOf(next)) break;
        }
      }
    };
    await Promise.all([walk(one), walk(two)]);
    expect((await one.store.metadata()).cursor).toBe('v4');
    expect(await membershipIn(one.store, 'a')).toBeNull();
    for (const n of ['1', '2', '3', '4']) expect({ ...(await membershipIn(two.store, n)) }).toEqual({ 'vip.g3': true });
  });

  test('reject every call with a reason during an outage, and work again afterwards @heavy', async () => {
    const { store, cut, heal } = await bench().open();
    await store.apply(patch('', 'v1', ['+a']));
    cut();
    await expect(store.apply(patch('v1', 'v2', ['+b']))).rejects.toThrow(/\w/);
    await expect(store.metadata()).rejects.toThrow(/\w/);
    await expect(store.read(['a'])).rejects.toThrow(/\w/);
    heal();
    expect(await store.apply(patch('v1', 'v2', ['+b']))).toBe('applied');
    expect({ ...(await membershipIn(store, 'b')) }).toEqual({ 'vip.g3': true });
  });
}

describe('Big Segments in DynamoDB', () => {
  let stores: Stores;
  beforeAll(async () => {
    stores = await openTable();
  });
  afterAll(() => stores.close());
  let prefix = '';
  let round = 0;
  beforeEach(() => {
    prefix = `env-${++round}`;
  });

  function clientFor(endpoint: string): DynamoDBClient {
    const client = new DynamoDBClient({ endpoint, region: testRegion, credentials: testCredentials, maxAttempts: 1 });
    behind(async () => client.destroy());
    return client;
  }
  function storeOver(client: DynamoDBClient, more: object = {}): BigSegmentStore {
    const { tableName } = stores.table;
    const store = createDynamoDBBigSegments({ client, tableName, prefix, log: silentLog, timings: quick, ...more });
    behind(() => store.close());
    return store;
  }
  async function openStore(more: object = {}) {
    const proxy = await startFaultyProxy(stores.table.endpoint);
    behind(() => proxy.close());
    return { store: storeOver(clientFor(proxy.endpoint), more), ...proxy };
  }
  async function dump() {
    const rows = [
      ...Object.entries(await stores.rows(`${prefix}:big_segments_metadata`)),
      ...Object.entries(await stores.rows(`${prefix}:big_segments_user`)),
    ];
    return Object.fromEntries(
      rows
        .map(
          ([key, { namespace: _n, key: _k, patchNumber: _p, writer: _w, beat: _b, progress: _, ...row }]) =>
            [key, row] as const,
        )
        .filter(([, row]) => Object.keys(row).length > 0),
    );
  }
  const cursorOf = async () =>
    (await stores.rows(`${prefix}:big_segments_metadata`))[`${prefix}:big_segments_metadata`]?.lastVersion;

  promises(() => ({ open: openStore, dump }));

  test("use LaunchDarkly's layout, plus a number and a writer that SDKs ignore", async () => {
    const { store } = await openStore();
    await store.apply(patch('', 'v1', ['+a'], ['+a', '+b']));
    await store.setSynchronizedOn(1_700_000_000_000);
    const metadata = `${prefix}:big_segments_metadata`;
    expect(await stores.rows(metadata)).toEqual({
      [metadata]: {
        ...{ namespace: metadata, key: metadata, lastVersion: 'v1' },
        ...{ synchronizedOn: '1700000000000', patchNumber: expect.anything(), writer: expect.anything() },
      },
    });
    const namespace = `${prefix}:big_segments_user`;
    expect(await stores.rows(namespace)).toEqual({
      a: { namespace, key: 'a', included: ['vip.g3'], excluded: ['vip.g3'], patchNumber: expect.anything() },
      b: { namespace, key: 'b', excluded: ['vip.g3'], patchNumber: expect.anything() },
    });
  });

  test('have no colon in their namespaces without a prefix', async () => {
    prefix = '';
    const { store } = await openStore();
    await store.apply(patch('', 'v1', ['+x']));
    expect(Object.keys(await stores.rows('big_segments_user'))).toEqual(['x']);
    expect(Object.keys(await stores.rows('big_segments_metadata'))).toEqual(['big_segments_metadata']);
  });

  test('continue from the cursor of a table that ld-relay filled', async () => {
    const metadata = `${prefix}:big_segments_metadata`;
    const namespace = `${prefix}:big_segments_user`;
    await stores.put({ namespace: { S: metadata }, key: { S: metadata }, lastVersion: { S: 'v7' } });
    await stores.put({ namespace: { S: namespace }, key: { S: 'a' }, included: { SS: ['vip.g3', 'old.g1'] } });
    const { store } = await openStore();
    expect(await store.apply(patch('v6', 'v7'))).toBe('already-applied');
    expect(await store.apply(patch('v7', 'v8', ['-a'], ['+a']))).toBe('applied');
    expect({ ...(await membershipIn(store, 'a')) }).toEqual({ 'old.g1': true, 'vip.g3': false });
  });

  test('are the same after a patch is interrupted at any request and retried @heavy', async () => {
    const next = patch('v1', 'v2', ['-a', '+b', '+c'], ['+a', '-d']);
    for (const cutAt of process.env.LONG ? [0, 1, 2, 3, 4, 5] : [0, 2, 4, 5]) {
      prefix = `cut-${round}-${cutAt}`;
      const { store, cutAfter, heal } = await openStore();
      await store.apply(patch('', 'v1', ['+a'], ['+d']));
      cutAfter(cutAt);
      const outcome = store.apply(next);
      if (cutAt < 5) {
        await expect(outcome).rejects.toThrow();
        expect(await cursorOf()).toBe('v1');
      } else expect(await outcome).toBe('applied');
      heal();
      await store.close();
      expect(await (await openStore()).store.apply(next)).toBe(cutAt < 5 ? 'applied' : 'already-applied');
      expect(await dump()).toEqual({
        a: { excluded: ['vip.g3'] },
        b: { included: ['vip.g3'] },
        c: { included: ['vip.g3'] },
        [`${prefix}:big_segments_metadata`]: { lastVersion: 'v2' },
      });
    }
  });

  test('are not reverted by a relay that is late with a patch @heavy', async () => {
    const client = clientFor(stores.table.endpoint);
    let release = () => {};
    let held = () => {};
    let isHeld = false;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const reached = new Promise<void>((resolve) => {
      held = resolve;
    });
    client.middlewareStack.add(
      (next) => async (args) => {
        if ((args.input as UpdateItemCommandInput).Key?.key?.S === 'a') {
          held();
          isHeld = true;
        }
        if (isHeld) await gate;
        return next(args);
      },
      { step: 'initialize' },
    );
    const late = storeOver(client, { timings: { ...quick, requestTimeoutMs: 60_000 } }).apply(
      patch('', 'v1', ['+a', '+b']),
    );
    await reached;
    const { store } = await openStore({ timings: { ...quick, patchExpireMs: 100 } });
    expect(await store.apply(patch('', 'v1', ['+a', '+b']))).toBe('applied');
    expect(await store.apply(patch('v1', 'v2', ['-a']))).toBe('applied');
    release();
    expect(await late).toBe('out-of-order');
    expect(await membershipIn(store, 'a')).toBeNull();
    expect({ ...(await membershipIn(store, 'b')) }).toEqual({ 'vip.g3': true });
    expect(await cursorOf()).toBe('v2');
  });

  test('catch up again after their metadata was deleted or restored @heavy', async () => {
    const metadata = `${prefix}:big_segments_metadata`;
    const { store } = await openStore();
    await store.apply(patch('', 'v1', ['+a']));
    await store.apply(patch('v1', 'v2', ['-a', '+b']));
    await stores.put({ namespace: { S: metadata }, key: { S: metadata }, patchNumber: { N: '5' } });
    const outcomes: string[] = [];
    for (const next of [patch('', 'v1', ['+a']), patch('v1', 'v2', ['-a', '+b'])]) {
      while (outcomes.at(-1) !== `applied ${next.version}` && outcomes.length < 20) {
        outcomes.push(`${await store.apply(next)} ${next.version}`);
      }
    }
    expect(outcomes).toEqual(['out-of-order v1', 'applied v1', 'applied v2']);
    expect(await membershipIn(store, 'a')).toBeNull();
    expect({ ...(await membershipIn(store, 'b')) }).toEqual({ 'vip.g3': true });
  });

  test('lose no write to throttling @heavy', async () => {
    const { store, refuse } = await openStore();
    const attempts = new Map<string, number>();
    // The first two attempts of each write.
    refuse('ProvisionedThroughputExceededException', ({ operation, key }) => {
      if (operation !== 'UpdateItem') return false;
      const before = attempts.get(key) ?? 0;
      attempts.set(key, before + 1);
      return before < 2;
    });
    expect(
      await store.apply(
        patch(
          '',
          'v1',
          many(60).map((hash) => `+${hash}`),
        ),
      ),
    ).toBe('applied');
    expect(attempts.size).toBeGreaterThanOrEqual(60);
    const rows = await stores.rows(`${prefix}:big_segments_user`);
    expect(Object.keys(rows).sort()).toEqual(many(60).sort());
  });

  test('continue an interrupted patch where it failed @heavy', async () => {
    const hashesAtOnce = 64;
    const { store, passed, cutAfter, heal } = await openStore({ hashesAtOnce });
    // Just enough for two parts of about the same size.
    const hashes = many(hashesAtOnce + 1);
    const big = patch(
      'v1',
      'v2',
      hashes.map((hash) => `+${hash}`),
    );
    await store.apply(patch('', 'v1', ['+old']));
    cutAfter(0.75 * hashesAtOnce, ({ namespace }) => namespace.endsWith('big_segments_user'));
    await expect(store.apply(big)).rejects.toThrow(/\w/);
    heal();
    passed.length = 0;
    // The first attempts may still get connections that were cut.
    await eventually(async () => expect(await store.apply(big)).toBe('applied'));
    const updates = passed.filter(({ namespace }) => namespace.endsWith('big_segments_user'));
    expect(updates.length).toBeLessThan(0.75 * hashesAtOnce);
    const rows = await stores.rows(`${prefix}:big_segments_user`);
    expect(Object.keys(rows).sort()).toEqual([...hashes, 'old'].sort());
    // Another patch begins at its beginning.
    expect(await store.apply(patch('v2', 'v3', [`-${hashes[0]}`]))).toBe('applied');
    expect(await membershipIn(store, hashes[0]!)).toBeNull();
  });

  describe('with an item at the limit of 400 KB', () => {
    /** The segments of a context that is in as many as an item can hold. */
    const segments = Array.from({ length: 39 }, (_, index) => `${index}`.padStart(10_000, 's'));
    const full = (key: string) =>
      stores.put({ namespace: { S: `${prefix}:big_segments_user` }, key: { S: key }, included: { SS: segments } });

    test('name the context in the log and in the metadata, and apply everything else @heavy', async () => {
      const lines: string[] = [];
      const note = (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields)}`);
      const { store } = await openStore({ log: { ...silentLog, error: note } });
      await full('b');
      expect(await store.apply(patch('', 'v1', ['+a', '+b', '+c'], [], `${'x'.repeat(20_000)}.g1`))).toBe('applied');
      expect(await store.apply(patch('v1', 'v2', ['-c']))).toBe('applied');
      const { memberships, metadata } = await store.read(['a', 'b', 'c']);
      expect(metadata).toEqual({ cursor: 'v2', synchronizedOn: undefined, incomplete: ['b'] });
      expect(await store.metadata()).toEqual(metadata);
      expect(memberships.map((membership) => Object.keys(membership ?? {}).length)).toEqual([1, 39, 1]);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(/STALE.*"hash":"b","segment":"x+\.g1"/);
    });

    test('name only so many contexts, and every context if there are more @heavy', async () => {
      const { store } = await openStore();
      const hashes = many(51);
      for (const hash of hashes) await full(hash);
      const tooMuch = hashes.map((hash) => `+${hash}`);
      expect(await store.apply(patch('', 'v1', tooMuch, [], `${'x'.repeat(20_000)}.g1`))).toBe('applied');
      expect((await store.metadata()).incomplete).toContain(EVERY_HASH);
    });
  });

  test('are updated with one request per hash, at most 16 at a time @heavy', async () => {
    const client = clientFor(stores.table.endpoint);
    let underWay = 0;
    let most = 0;
    client.middlewareStack.add(
      (next) => async (args) => {
        most = Math.max(most, ++underWay);
        return next(args).finally(() => {
          underWay -= 1;
        });
      },
      { step: 'initialize' },
    );
    const { table } = stores;
    const store = storeOver(client);
    await store.metadata();
    table.resetConsumed();
    await store.apply(
      patch(
        '',
        'v1',
        many(50).map((hash) => `+${hash}`),
        many(50).map((hash) => `-${hash}`),
      ),
    );
    expect(most).toBe(16);
    // 50 hashes, the name of the writer and the cursor
    expect(table.consumed.requests).toEqual({ GetItem: 1, UpdateItem: 52 });
  });

  test('name a missing table, and closing aborts open requests', async () => {
    const { store } = await openStore({ tableName: 'no-such-table' });
    await expect(store.metadata()).rejects.toThrow('table no-such-table does not exist');
    const open = await openStore({ timings: { ...quick, requestTimeoutMs: 60_000 } });
    open.hang();
    const asked = open.store.metadata();
    await open.store.close();
    await expect(asked).rejects.toThrow('closed');
  });

  test('count patches by outcome', async () => {
    const measures = createMeasures();
    const { store, cut } = await openStore({ measures });
    await store.apply(patch('', 'v1'));
    await store.apply(patch('v8', 'v9'));
    cut();
    await expect(store.apply(patch('v1', 'v2'))).rejects.toThrow();
    const text = await measures.registry.metrics();
    for (const outcome of ['applied', 'out-of-order', 'failed']) {
      expect(text).toContain(
        `launchdarkly_relay_big_segments_patches_total{env="",database="dynamodb",prefix="${prefix}",outcome="${outcome}"} 1`,
      );
    }
  });
});

describeWithRedis('Big Segments in Redis', () => {
  let server: TestRedis;
  beforeAll(async () => {
    server = await startRedis();
  });
  beforeEach(() => server.client.flushall());
  afterAll(() => server.close());

  async function openStore(more: object = {}, prefix = 'env') {
    const proxy = await startTcpProxy(server.port);
    behind(() => proxy.close());
    const timeouts = { connectTimeoutMs: 60_000, commandTimeoutMs: 60_000 };
    const connection = redisAt(proxy.port, { ...timeouts, ...more });
    const store = createRedisBigSegments({ connection, prefix, log: silentLog });
    behind(() => store.close());
    return { store, ...proxy };
  }
  async function dump() {
    const keys = (await server.client.keys('*')).sort();
    const read = async (key: string) =>
      (await server.client.type(key)) === 'set' ? (await server.client.smembers(key)).sort() : server.client.get(key);
    return Object.fromEntries(await Promise.all(keys.map(async (key) => [key, await read(key)] as const)));
  }

  promises(() => ({ open: openStore, dump }));

  const layout = {
    'env:big_segment_exclude:b': ['vip.g3'],
    'env:big_segment_include:a': ['other.g1', 'vip.g3'],
    'env:big_segments_cursor': 'v2',
    'env:big_segments_lock': '',
    'env:big_segments_synchronized_on': '1700000000000',
  };

  test("use LaunchDarkly's layout, byte by byte", async () => {
    const { store } = await openStore();
    await store.apply(patch('', 'v1', ['+a', '+b'], ['+b']));
    await store.apply(patch('v1', 'v2', ['+a', '-b'], [], 'other.g1'));
    await store.apply(patch('v2', 'v2'));
    await store.setSynchronizedOn(1_700_000_000_000);
    expect(await dump()).toEqual({ ...layout, 'env:big_segment_include:b': ['vip.g3'] });
  });

  test('use the same layout if scripts are not permitted', async () => {
    await server.client.call('ACL', 'SETUSER', 'plain', 'on', '>secret', '~*', '+@all', '-@scripting');
    const { store } = await openStore({ username: 'plain', password: 'secret' });
    await store.apply(patch('', 'v1', ['+a', '+b'], ['+b']));
    expect(await store.apply(patch('v0', 'v9', ['+c']))).toBe('out-of-order');
    await store.apply(patch('v1', 'v2', ['-b'], []));
    const rivals = await Promise.all(
      [await openStore({ username: 'plain', password: 'secret' }), { store }].map((one) =>
        one.store.apply(patch('v2', 'v3', ['+a'], [], 'other.g1')),
      ),
    );
    expect(rivals.sort()).toEqual(['already-applied', 'applied']);
    await store.setSynchronizedOn(1_700_000_000_000);
    expect(await dump()).toEqual({ ...layout, 'env:big_segments_cursor': 'v3' });
  });

  describe.each([
    ['scripts', {}],
    ['transactions', { username: 'plain', password: 'secret' }],
  ])('with keys of the wrong type, by %s', (_, access) => {
    const named = (key: string, type: string) =>
      `A key in Redis has the wrong type; the relay that writes replaces it {"prefix":"env","key":"env:${key}","type":"${type}",`;
    let opened: BigSegmentStore;
    let lines: readonly string[];
    beforeEach(async () => {
      await server.client.call('ACL', 'SETUSER', 'plain', 'on', '>secret', '~*', '+@all', '-@scripting');
      const { log, lines: logged } = createLogRecorder();
      const connection = redisAt(server.port, access);
      opened = createRedisBigSegments({ connection, prefix: 'env', log, environment: () => 'own-id' });
      behind(() => opened.close());
      lines = logged;
    });

    test('begin from the start if it is the cursor, and replace it', async () => {
      await server.client.rpush('env:big_segments_cursor', 'not ours');
      expect(await opened.metadata()).toMatchObject({ cursor: '' });
      await opened.own();
      expect(await opened.apply(patch('', 'v1', ['+a']))).toBe('applied');
      expect(await server.client.get('env:big_segments_cursor')).toBe('v1');
      expect(lines.join('\n')).toContain(named('big_segments_cursor', 'list'));
    });

    test('are never synchronised if it is the time of synchronisation, until that is replaced', async () => {
      await server.client.hset('env:big_segments_synchronized_on', 'not', 'ours');
      expect((await opened.metadata()).synchronizedOn).toBeUndefined();
      await opened.own();
      await opened.setSynchronizedOn(1_700_000_000_000);
      expect(await server.client.get('env:big_segments_synchronized_on')).toBe('1700000000000');
      expect(lines.join('\n')).toContain(named('big_segments_synchronized_on', 'hash'));
    });

    test.each(['environment', 'emptying'])('replace it if it is the sign `%s`', async (name) => {
      await server.client.sadd(`env:big_segments_${name}`, 'not ours');
      await opened.own();
      expect(await opened.apply(patch('', 'v1', ['+a']))).toBe('applied');
      await opened.setSynchronizedOn(1);
      expect(await opened.metadata()).toEqual({ cursor: 'v1', synchronizedOn: 1, environment: 'own-id' });
      expect(lines.join('\n')).toContain(named(`big_segments_${name}`, 'set'));
    });

    test('count a set of members as empty, say STALE of its context alone, and replace it with its next change', async () => {
      await opened.own();
      await opened.apply(patch('', 'v1', ['+a', '+b', '+c'], ['+d']));
      for (const key of ['include:a', 'include:c', 'exclude:d']) {
        await server.client.set(`env:big_segment_${key}`, 'not ours');
      }
      const { memberships, metadata } = await opened.read(['a', 'b', 'd']);
      expect(memberships).toEqual([null, { 'vip.g3': true }, null]);
      expect(metadata).toMatchObject({ cursor: 'v1', incomplete: ['a', 'd'] });
      expect(lines.join('\n')).toContain(named('big_segment_include:', 'string'));

      expect(await opened.apply(patch('v1', 'v2', ['+a', '+b', '-c'], ['+d'], 'other.g1'))).toBe('applied');
      expect(await opened.read(['a', 'b', 'c', 'd'])).toEqual({
        memberships: [{ 'other.g1': true }, { 'vip.g3': true, 'other.g1': true }, null, { 'other.g1': false }],
        metadata: expect.not.objectContaining({ incomplete: expect.anything() }),
      });
      expect(await opened.metadata()).toMatchObject({ cursor: 'v2' });
      expect(lines.join('\n')).toContain(named('big_segment_exclude:', 'string'));
    });
  });

  test('are stored under `launchdarkly` without a prefix', async () => {
    const { store } = await openStore({}, '');
    await store.setSynchronizedOn(1);
    expect(await dump()).toEqual({ 'launchdarkly:big_segments_synchronized_on': '1' });
  });

  test('apply a patch with more sets than one batch holds completely', async () => {
    const { store } = await openStore();
    expect(
      await store.apply(
        patch(
          '',
          'v1',
          many(12_001).map((hash) => `+${hash}`),
        ),
      ),
    ).toBe('applied');
    expect(await server.client.dbsize()).toBe(12_001 + 2);
    expect((await store.metadata()).cursor).toBe('v1');
  });

  test('accept only a first patch after the server was wiped', async () => {
    const { store } = await openStore();
    await store.apply(patch('', 'v1', ['+a']));
    await server.client.flushall();
    expect(await store.apply(patch('v1', 'v2', ['+b']))).toBe('out-of-order');
    expect(await dump()).toEqual({});
  });

  test('apply a patch once, even if its answer was lost', async () => {
    const { store, loseAnswers, heal } = await openStore();
    await store.apply(patch('', 'v1', ['+a']));
    loseAnswers();
    await expect(store.apply(patch('v1', 'v2', ['-a']))).rejects.toThrow();
    heal();
    expect(await server.client.get('env:big_segments_cursor')).toBe('v2');
    // Applying the patch a second time would remove it.
    await server.client.sadd('env:big_segment_include:a', 'vip.g3');
    expect(await store.apply(patch('v1', 'v2', ['-a']))).toBe('already-applied');
    expect({ ...(await membershipIn(store, 'a')) }).toEqual({ 'vip.g3': true });
  });

  test('make an earlier transaction of ld-relay fail', async () => {
    const { store } = await openStore();
    const ldRelay = server.client.duplicate();
    behind(async () => ldRelay.disconnect());
    await ldRelay.watch('env:big_segments_lock');
    await store.apply(patch('', 'v1', ['+a']));
    expect(await ldRelay.multi().set('env:big_segments_cursor', 'v0').exec()).toBeNull();
  });

  test('need a prefix that a Cluster can hold', () => {
    const connection = redisAt([server.port]);
    expect(() => createRedisBigSegments({ connection, prefix: '}env', log: silentLog })).toThrow('such as "{env}"');
  });

  test('are stored on one Cluster node, under the prefix in braces', async () => {
    const cluster = await startCluster();
    behind(() => cluster.close());
    const connection = redisAt(cluster.nodes.map(({ port }) => port));
    const store = createRedisBigSegments({ connection, prefix: 'env', log: silentLog });
    behind(() => store.close());
    expect(await store.apply(patch('', 'v1', ['+a', '+b'], ['+c']))).toBe('applied');
    await store.setSynchronizedOn(1);
    expect(await store.metadata()).toEqual({ cursor: 'v1', synchronizedOn: 1 });
    expect({ ...(await membershipIn(store, 'c')) }).toEqual({ 'vip.g3': false });
    const names = await Promise.all(cluster.nodes.map(({ client }) => client.keys('*')));
    expect(names.map(({ length }) => length).sort()).toEqual([0, 0, 6]);
    for (const name of names.flat()) expect(name).toMatch(/^\{env\}:/);
  });
});
