import { encodeOfficialItem, type Item } from '../../../lib/flag-table/index.ts';
import { eventually } from '../../support/eventually.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { flag, flags, relayed, segment, tombstone } from './items.ts';
import { expectTableToEqual, type OpenStore, openTable, quick, type Stores } from './open-stores.ts';

let stores: Stores;
beforeEach(async () => {
  stores = await openTable();
});
afterEach(() => stores.close());

const watchful = { ...quick, reconcileMs: 60 };
const dataWrites = ({ proxy }: OpenStore) =>
  proxy.passed.filter(({ operation, key }) => ['PutItem', 'DeleteItem'].includes(operation) && key !== 'head');

async function openHolder(memory: Memory, timings = quick): Promise<OpenStore> {
  const store = await stores.open(memory, { timings });
  store.setEligible(true);
  await store.flush(60_000);
  return store;
}

const putForeign = (item: Item) => stores.put(encodeOfficialItem('', item));

test('changes by another writer are repaired item by item @heavy', async () => {
  const memory = createMemory(flag('lower', 5), flag('same', 5), flag('gone', 5), segment('junk', 5), flag('fine', 5));
  const store = await openHolder(memory, watchful);
  const { DeleteItemCommand } = await import('@aws-sdk/client-dynamodb');
  store.proxy.passed.length = 0;
  await putForeign(flag('lower', 3));
  await putForeign(flag('same', 5, { on: false }));
  await stores.put({ namespace: { S: 'segments' }, key: { S: 'junk' }, version: { N: '5' }, item: { S: '{broken' } });
  const Key = { namespace: { S: 'features' }, key: { S: 'gone' } };
  await stores.table.client.send(new DeleteItemCommand({ TableName: stores.table.tableName, Key }));
  await eventually(() => expectTableToEqual(stores, memory));
  // One row was gone, so the marker is taken away before, and comes back last.
  const order = dataWrites(store).map(({ key }) => key);
  expect(new Set(order)).toEqual(new Set(['lower', 'same', 'gone', 'junk', '$inited']));
  expect(order.indexOf('$inited')).toBeLessThan(order.indexOf('gone'));
  expect(order.at(-1)).toBe('$inited');
});

test('a repair only overwrites exactly what was read @heavy', async () => {
  const memory = createMemory(flag('a', 5));
  const store = await openHolder(memory, watchful);
  await putForeign(flag('a', 5, { on: false }));
  await eventually(() => expectTableToEqual(stores, memory));
  const repair = store.proxy.passed.findLast(({ key }) => key === 'a');
  expect(repair?.condition).toMatch(/item = :c\d/);
  expect(repair?.condition).toMatch(/version = :c\d/);
});

test('a version above memory is replaced only if it is still there at the second look @heavy', async () => {
  const memory = createMemory(flag('stays', 5), flag('heard', 5), flag('other', 1));
  await openHolder(memory, { ...watchful, secondLookMs: 1_500 });
  await putForeign(flag('stays', 9, { on: false }));
  await putForeign(flag('heard', 6, { on: false }));
  memory.set(flag('other', 2));
  await eventually(async () => expect(await stores.versions()).toMatchObject({ other: 2 }));
  expect(await stores.versions()).toMatchObject({ stays: 9, heard: 6 });
  memory.set(flag('heard', 6, { on: false }));
  await eventually(() => expectTableToEqual(stores, memory));
});

test('an unknown flag is removed at the second look, and tombstones of other writers are kept @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  await openHolder(memory, watchful);
  await putForeign(flag('stranger', 3));
  await putForeign(tombstone('features', 'buried', 8));
  await eventually(async () => expect(await stores.versions()).toEqual({ a: 1, buried: 8 }));
});

test('a tombstone leaves the table and the snapshot once it has been there long enough @heavy', async () => {
  const memory = createMemory(flag('a', 1), tombstone('features', 'gone', 2));
  await putForeign(tombstone('segments', 'buried', 8));
  const timings = { ...watchful, tombstoneMs: 500 };
  const store = await stores.open(memory, { timings, checkedAt: Date.now });
  store.setEligible(true);
  await eventually(async () => expect(await stores.versions()).toEqual({ a: 1, gone: 2 }));
  await eventually(async () => expect(await stores.versions()).toEqual({ a: 1 }));
  await eventually(async () => expect(await stores.versions('segments')).toEqual({}));
  await eventually(async () => expect(await stores.snapshot()).toEqual([flag('a', 1)]));
  expect(Object.keys(await stores.rows('$inited'))).toEqual(['$inited']);
});

test('an unknown flag that arrives in memory before the second look is kept @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const store = await openHolder(memory, { ...watchful, secondLookMs: 60_000 });
  store.proxy.passed.length = 0;
  await putForeign(flag('early', 3));
  await eventually(() =>
    expect(store.proxy.passed.filter(({ operation }) => operation === 'Query').length).toBeGreaterThan(6),
  );
  memory.set(flag('early', 3));
  await store.flush(60_000);
  await eventually(() => expectTableToEqual(stores, memory));
  expect(store.proxy.passed.filter(({ operation }) => operation === 'DeleteItem')).toEqual([]);
});

test.each(['body', 'delta', 'head'])('a damaged %s of a snapshot is rewritten @heavy', async (key) => {
  const memory = createMemory(...flags(10));
  // A holder that found its head damaged takes the lease again when nobody renewed it for this long.
  const store = await openHolder(memory, { ...watchful, expireMs: 1_000 });
  memory.set(flag('flag-3', 2));
  await store.flush(60_000);
  await stores.put({ namespace: { S: '$snapshot' }, key: { S: key }, rev: { S: 'zzz' }, junk: { N: '1' } });
  await eventually(() => expectTableToEqual(stores, memory));
});

test('a body that replaces an unusable one uses the other bank, since readers may be reading its parts @heavy', async () => {
  const memory = createMemory(...flags(10));
  const store = await openHolder(memory, watchful);
  const { bank } = (await stores.rows('$snapshot')).body ?? {};
  await stores.put({ namespace: { S: '$snapshot' }, key: { S: 'delta' }, rev: { S: 'zzz' }, junk: { N: '1' } });
  await eventually(async () => expect((await stores.rows('$snapshot')).body?.bank).toBe(bank === '0' ? '1' : '0'));
  await store.flush(60_000);
  await expectTableToEqual(stores, memory);
});

test('a reconciliation without differences writes nothing @heavy', async () => {
  const memory = createMemory(...flags(30), segment('s', 1));
  const store = await openHolder(memory, watchful);
  memory.set(flag('flag-3', 2));
  await store.flush(60_000);
  store.proxy.passed.length = 0;
  await eventually(() =>
    expect(store.proxy.passed.filter(({ operation }) => operation === 'Query').length).toBeGreaterThan(12),
  );
  expect(dataWrites(store)).toEqual([]);
});

test('a table that ld-relay filled is adopted: items are not rewritten, and the snapshot is added @heavy', async () => {
  for (const one of [...flags(20), tombstone('features', 'gone', 3)]) {
    await stores.put(encodeOfficialItem('', { ...one, json: relayed(one) }));
  }
  await stores.put({ namespace: { S: '$inited' }, key: { S: '$inited' } });
  const memory = createMemory(...flags(20), tombstone('features', 'gone', 3));
  const store = await openHolder(memory);
  expect(dataWrites(store).map(({ key }) => key)).toEqual(['body']);
  expect(await stores.snapshot()).toHaveLength(21);
});

test('reading uses the snapshot, else a complete official layout without unreadable items @heavy', async () => {
  const reader = await stores.open(createMemory(), { writer: 'never' });
  expect(await reader.read()).toBeUndefined();
  await putForeign(flag('a', 1));
  expect(await reader.read()).toBeUndefined();
  await stores.put({ namespace: { S: '$inited' }, key: { S: '$inited' } });
  await stores.put({ namespace: { S: 'features' }, key: { S: 'junk' }, version: { N: '1' }, item: { S: 'no json' } });
  expect(await reader.read()).toEqual({ items: [flag('a', 1)], source: undefined });
  const memory = createMemory(flag('a', 2), segment('s', 1));
  const store = await openHolder(memory);
  await putForeign(flag('only-official', 1));
  expect((await reader.read())?.items.map(({ key }) => key).sort()).toEqual(['a', 's']);
  expect(store.status().writer).toBe(true);
});

test('reading follows all pages of a large table @heavy', async () => {
  for (let index = 0; index < 15; index++) await putForeign(flag(`big-${index}`, 1, { note: 'x'.repeat(100_000) }));
  await stores.put({ namespace: { S: '$inited' }, key: { S: '$inited' } });
  const reader = await stores.open(createMemory(), { writer: 'never' });
  expect((await reader.read())?.items).toHaveLength(15);
  expect(reader.proxy.passed.filter(({ operation }) => operation === 'Query').length).toBeGreaterThan(2);
});
