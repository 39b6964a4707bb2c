/**
 * One fault at a time, on a real socket between two stores and their table, while memory keeps changing. Afterwards the
 * table equals memory, item by item, and the snapshot decodes to the same.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { CreateTableCommand, DeleteItemCommand, DeleteTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { encodeOfficialItem } from '../../../lib/flag-table/index.ts';
import { startTable, type TestTable, testRegion } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { flag, flags, segment } from './items.ts';
import { expectTableToEqual, hasty, type OpenStore, openTable, quick, type Stores } from './open-stores.ts';
import { seededRandom } from './seeded-random.ts';

const { LONG } = process.env;
/** How long a fault lasts, in ms. */
const lasting = LONG ? 60_000 : 100;
const watchful = { ...hasty, pollMs: 50, reconcileMs: 200, secondLookMs: 80 };
const names = { namespace: 'HASH', key: 'RANGE' } as const;
/** Items that do not change meanwhile, so that only a repair can undo the damage of a fault. */
const still = [flag('still-0', 7), flag('still-1', 7), segment('still', 7)];

let table: TestTable;
let stores: Stores;
beforeEach(async () => {
  table = await startTable();
  stores = await openTable(table);
});
afterEach(() => stores.close());

const holderOf = (all: readonly OpenStore[]) => all.find((store) => store.status().writer);

async function createFlagTable(): Promise<void> {
  const all = Object.entries(names);
  await table.client.send(
    new CreateTableCommand({
      ...{ TableName: table.tableName, BillingMode: 'PAY_PER_REQUEST' },
      AttributeDefinitions: all.map(([AttributeName]) => ({ AttributeName, AttributeType: 'S' })),
      KeySchema: all.map(([AttributeName, KeyType]) => ({ AttributeName, KeyType })),
    }),
  );
}

async function dropTable(): Promise<void> {
  await table.client.send(new DeleteTableCommand({ TableName: table.tableName }));
  const gone = () => expect(stores.rows('features')).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  await eventually(gone);
}

async function wipe(): Promise<void> {
  for (const namespace of ['features', 'segments', '$inited', '$snapshot']) {
    for (const key of Object.keys(await stores.rows(namespace))) {
      const Key = { namespace: { S: namespace }, key: { S: key } };
      await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key }));
    }
  }
}

interface Scene {
  readonly all: readonly OpenStore[];
  readonly memory: Memory;
}

/** Starts a fault and returns how to end it, if it does not end by itself. */
type Fault = (scene: Scene) => Promise<undefined | (() => unknown)> | undefined | (() => unknown);

const onAll =
  (inflict: (proxy: OpenStore['proxy']) => void): Fault =>
  ({ all }) => {
    for (const { proxy } of all) inflict(proxy);
    return () => {
      for (const { proxy } of all) proxy.heal();
    };
  };
const onHolder =
  (inflict: (proxy: OpenStore['proxy']) => void): Fault =>
  ({ all }) => {
    const proxy = holderOf(all)?.proxy;
    if (proxy) inflict(proxy);
    return () => proxy?.heal();
  };
const isWrite = ({ operation }: { operation: string }) => /^(Put|Update|Delete)/.test(operation);

const faults: Record<string, Fault> = {
  'the table is cut off': onAll((proxy) => proxy.cut()),
  'the holder is cut off, the other one is not': onHolder((proxy) => proxy.cut()),
  'the table never answers': onAll((proxy) => proxy.hang()),
  'the holder’s requests hang': onHolder((proxy) => proxy.hang()),
  'the table is slow': onAll((proxy) => proxy.slow(60)),
  'the holder is slower than the request timeout': onHolder((proxy) => proxy.slow(1_500)),
  '30 % of writes are throttled': onAll((proxy) => proxy.throttle(0.3)),
  'every write is throttled': onAll((proxy) => proxy.throttle(1)),
  'a third of the answers are lost': onAll((proxy) => proxy.loseAnswers(0.33)),
  'the credentials expire': onAll((proxy) => proxy.refuse('ExpiredTokenException')),
  'the permission to write is withdrawn': onAll((proxy) => proxy.refuse('AccessDeniedException', isWrite)),
  'every permission of the holder is withdrawn': onHolder((proxy) => proxy.refuse('AccessDeniedException')),
  'the table is wiped': () => wipe() as Promise<undefined>,
  'the table is deleted and recreated': async () => {
    await dropTable();
    return createFlagTable;
  },
  'another writer writes items, some with higher versions': async ({ memory }) => {
    for (const version of [1, 7, 500, 1_000_000]) {
      await stores.put(encodeOfficialItem('', flag(`flag-${version % 7}`, version, { on: false })));
      await stores.put(encodeOfficialItem('', flag('still-0', version, { on: false })));
      await stores.put(encodeOfficialItem('', segment('still', version, { salt: 'foreign' })));
      memory.set(flag('flag-9', (memory.get('features', 'flag-9')?.version ?? 0) + 1));
    }
    return undefined;
  },
  'ld-relay starts on the table and rewrites everything unconditionally with older versions': async () => {
    for (const item of [...flags(10, 0), flag('still-0', 6), flag('still-1', 7, { on: false })])
      await stores.put(encodeOfficialItem('', item));
    return undefined;
  },
};

/** Each is much like another one, and runs with LONG=1 only. */
const alike = new Set([
  'the holder is cut off, the other one is not',
  'the holder’s requests hang',
  'the holder is slower than the request timeout',
  'every write is throttled',
  'every permission of the holder is withdrawn',
]);
const chosen = Object.keys(faults).filter((name) => LONG || !alike.has(name));

test.each(chosen)('the table equals memory after a fault: %s @heavy', async (name) => {
  const memory = createMemory(...flags(10), segment('s', 1), ...still);
  const all = [
    await stores.open(memory, { timings: watchful, random: seededRandom(1) }),
    await stores.open(memory, { timings: watchful, random: seededRandom(2) }),
  ];
  for (const store of all) store.setEligible(true);
  await eventually(() => expect(holderOf(all)).toBeDefined());
  await holderOf(all)?.flush(60_000);
  const heal = await faults[name]?.({ all, memory });
  const until = performance.now() + lasting;
  for (let version = 2; performance.now() < until; version++) {
    memory.set(flag(`flag-${version % 10}`, version, { salt: `s${version}` }), segment('s', version));
    await delay(25);
  }
  // The store never throws, and its status stays valid.
  for (const store of all) expect(store.status().state).toMatch(/^(VALID|INTERRUPTED)$/);
  await heal?.();
  await eventually(() => expectTableToEqual(stores, memory));
  await eventually(() => expect(all.filter((store) => store.status().writer)).toHaveLength(1));
  await eventually(() => expect(all.map((store) => store.status().state)).toEqual(['VALID', 'VALID']));
});

test('a missing table is filled once it exists @heavy', async () => {
  await dropTable();
  const memory = createMemory(...flags(10), segment('s', 1));
  const store = await stores.open(memory);
  store.setEligible(true);
  await eventually(() => expect(store.status().lastError?.message).toBe('table flags does not exist (yet)'));
  memory.set(flag('flag-1', 2));
  await createFlagTable();
  await eventually(() => expectTableToEqual(stores, memory));
  await eventually(() => expect(store.status()).toMatchObject({ state: 'VALID', writer: true }));
});

test('expired credentials are renewed and writing continues', async () => {
  const memory = createMemory(...flags(3));
  // Like those of a task role, with an expiry.
  let current = 'FIRST';
  const asked: string[] = [];
  const credentials = async () => {
    asked.push(current);
    const expiration = new Date(Date.now() + (current === 'FIRST' ? 1_000 : 3_600_000));
    return { accessKeyId: current, secretAccessKey: 'secret', sessionToken: 'token', expiration };
  };
  const first = await stores.open(memory);
  const client = new DynamoDBClient({
    endpoint: first.proxy.endpoint,
    region: testRegion,
    credentials,
    maxAttempts: 1,
  });
  const store = await stores.open(memory, { client, timings: quick });
  store.setEligible(true);
  await store.flush(60_000);
  first.proxy.refuse('ExpiredTokenException', ({ accessKeyId }) => accessKeyId === 'FIRST');
  memory.set(flag('flag-1', 2));
  await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
  current = 'SECOND';
  await eventually(() => expectTableToEqual(stores, memory));
  expect(asked).toContain('SECOND');
  await eventually(() => expect(store.status()).toMatchObject({ state: 'VALID', writer: true }));
  await store.close();
  client.destroy();
});

test('a holder without upstream hands over to one with upstream, which writes the missed changes @heavy', async () => {
  const truth = createMemory(...flags(5));
  const stale = createMemory(...flags(5));
  const holder = await stores.open(stale, { timings: quick });
  holder.setEligible(true);
  await holder.flush(60_000);
  const fresh = await stores.open(truth, { timings: quick });
  fresh.setEligible(true);
  truth.set(flag('flag-1', 2), flag('flag-2', 2));
  holder.setEligible(false);
  await eventually(() => expect(fresh.status().writer).toBe(true));
  await fresh.flush(60_000);
  await eventually(() => expectTableToEqual(stores, truth));
});

test.each([-86_400_000, 86_400_000])(
  'wall clock steps of %i ms affect neither the holder nor its successor @heavy',
  async (stepMs) => {
    const memory = createMemory(...flags(5));
    let offsetMs = 0;
    const clock = { now: () => performance.now(), wall: () => Math.round(Date.now() + offsetMs) };
    const holder = await stores.open(memory, { clock });
    holder.setEligible(true);
    await holder.flush(60_000);
    const before = (await stores.rows('$snapshot')).head;
    offsetMs = stepMs;
    memory.set(flag('flag-1', 2));
    await holder.flush(60_000);
    const after = (await stores.rows('$snapshot')).head;
    expect(after?.epoch).toBe(before?.epoch);
    await expectTableToEqual(stores, memory);
    await holder.close();
    const heir = await stores.open(memory, { clock: { ...clock, wall: () => Math.round(Date.now() - offsetMs) } });
    heir.setEligible(true);
    memory.set(flag('flag-2', 2));
    await heir.flush(60_000);
    await expectTableToEqual(stores, memory);
    const last = (await stores.rows('$snapshot')).head;
    expect(String(last?.rev) > String(after?.rev)).toBe(true);
  },
);
