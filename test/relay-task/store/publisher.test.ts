import { setTimeout as delay } from 'node:timers/promises';
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { type Attributes, createSnapshotReader, type Key } from '../../../lib/flag-table/index.ts';
import { sleep } from '../../../relay-task/common/pause.ts';
import { eventually } from '../../support/eventually.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { flag, flags, segment, tombstone } from './items.ts';
import { expectTableToEqual, type OpenStore, openTable, quick, type Stores, sorted } from './open-stores.ts';

let stores: Stores;
beforeEach(async () => {
  stores = await openTable();
});
afterEach(() => stores.close());

const head = async () => (await stores.rows('$snapshot')).head ?? {};
/** Writes other than renewals of the lease. */
const written = ({ proxy }: OpenStore) =>
  proxy.passed.filter(
    ({ operation, condition }) => !['GetItem', 'BatchGetItem', 'Query'].includes(operation) && !isRenewal(condition),
  );
const isRenewal = (condition: string) => condition === 'owner = :ce0 AND epoch = :ce1';
const names = (store: OpenStore) =>
  written(store).map(({ namespace, key }) => (namespace === '$snapshot' ? key : namespace));

async function getRow({ namespace, key }: Key): Promise<Attributes | undefined> {
  const { client, tableName: TableName } = stores.table;
  const Key = { namespace: { S: namespace }, key: { S: key } };
  const { Item } = await client.send(new GetItemCommand({ TableName, Key, ConsistentRead: true }));
  return Item as Attributes | undefined;
}

async function openHolder(memory: Memory, options = {}): Promise<OpenStore> {
  const store = await stores.open(memory, options);
  store.setEligible(true);
  await store.flush(60_000);
  return store;
}

test('the first fill writes segments, flags, the marker, the body and the head in this order @heavy', async () => {
  const memory = createMemory(flag('a', 1), segment('s', 1), flag('b', 1));
  const store = await openHolder(memory);
  expect(names(store)).toEqual(['head', 'segments', 'features', 'features', '$inited', 'body', 'head']);
  await expectTableToEqual(stores, memory);
});

test('writes are conditional: items need an older version, the snapshot an older revision, the head its holder @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const store = await openHolder(memory);
  memory.set(flag('a', 2));
  await store.flush(60_000);
  const condition = (key: string) => store.proxy.passed.filter((one) => one.key === key).at(-1)?.condition;
  expect(condition('a')).toBe('attribute_not_exists(namespace) OR version < :cVersion');
  expect(condition('delta')).toBe('attribute_not_exists(rev) OR rev < :cRev');
  const publication = written(store).findLast(({ key }) => key === 'head');
  expect(publication?.condition).toMatch(/^\(owner = :ce0 AND epoch = :ce1\) AND .*rev < :cRev/);
});

test('a start on an unchanged table writes only the lease @heavy', async () => {
  const memory = createMemory(...flags(process.env.LONG ? 500 : 40), segment('s', 1), tombstone('features', 'gone', 4));
  const first = await openHolder(memory);
  await first.close();
  const second = await openHolder(createMemory(...memory.all()));
  expect(second.status().writer).toBe(true);
  expect(names(second)).toEqual(['head']);
  expect(written(second).reduce((sum, { writeUnits }) => sum + writeUnits, 0)).toBe(1);
});

test('with three stores a change costs one write each of item, delta and head @heavy', async () => {
  const memory = createMemory(...flags(20));
  const holder = await openHolder(memory);
  const others = [await stores.open(memory), await stores.open(memory)];
  for (const store of others) store.setEligible(true);
  holder.proxy.passed.length = 0;
  memory.set(flag('flag-7', 2, { on: false }));
  await holder.flush(60_000);
  expect(names(holder)).toEqual(['features', 'delta', 'head']);
  expect(written(holder).map(({ writeUnits }) => writeUnits)).toEqual([1, 1, 1]);
  expect(others.flatMap(names)).toEqual([]);
  await expectTableToEqual(stores, memory);
});

test('both layouts follow at once if versions fall or content changes under a version @heavy', async () => {
  const memory = createMemory(flag('fell', 9), flag('same', 5), flag('rose', 1), segment('s', 4));
  const store = await openHolder(memory);
  memory.set(flag('fell', 3), flag('same', 5, { on: false }), flag('rose', 2), tombstone('segments', 's', 2));
  await store.flush(60_000);
  await expectTableToEqual(stores, memory);
  const last = (key: string) => store.proxy.passed.findLast((one) => one.key === key)?.condition;
  expect(last('fell')).toMatch(/item = .*version = |version = .*item = /);
  expect(last('rose')).toBe('attribute_not_exists(namespace) OR version < :cVersion');
});

test('unchanged content is not published @heavy', async () => {
  const memory = createMemory(...flags(20));
  const store = await openHolder(memory);
  store.proxy.passed.length = 0;
  memory.set(...flags(20));
  await store.flush(60_000);
  memory.set(flag('flag-1', 1, { salt: 'salt-1' }));
  await store.flush(60_000);
  expect(names(store)).toEqual([]);
});

test('500 changes cause at most one publication per publishGapMs, and two more @heavy', async () => {
  const memory = createMemory(...flags(50));
  const store = await openHolder(memory, { timings: { ...quick, publishGapMs: 1_000, bodyGapMs: 0 } });
  const start = Number((await head()).rev?.toString().split('.')[1]);
  const began = performance.now();
  for (let change = 0; change < 500; change++) {
    memory.set(flag(`flag-${change % 50}`, 2 + Math.floor(change / 50)));
    if (change % 20 === 0) await sleep(5);
  }
  const gaps = Math.floor((performance.now() - began) / 1_000);
  await eventually(async () => expect((await stores.versions())['flag-49']).toBe(11));
  await eventually(async () =>
    expect(store.proxy.passed.filter(({ key }) => key === 'head').length).toBeGreaterThan(1),
  );
  await store.flush(60_000);
  expect(Number((await head()).rev?.toString().split('.')[1]) - start).toBeLessThanOrEqual(2 + gaps);
  const perFlag = store.proxy.passed.filter(({ key }) => key === 'flag-0').length;
  expect(perFlag).toBeLessThanOrEqual(3 + gaps);
  await expectTableToEqual(stores, memory);
});

test('changes too large for a delta cause a new body, with a minimum interval between bodies @heavy', async () => {
  const memory = createMemory(...flags(20));
  const store = await openHolder(memory, { timings: { ...quick, bodyGapMs: 1_000 } });
  const bodies = () => store.proxy.passed.filter(({ key }) => key === 'body').length;
  expect(bodies()).toBe(1);
  const bulky = (round: number) =>
    flags(20, round).map(({ key }) => flag(key, round, { note: noise(4_000, `${key}.${round}`) }));
  memory.set(...bulky(2));
  // The official layout does not wait for the body.
  await eventually(async () => expect((await stores.versions())['flag-19']).toBe(2));
  await store.flush(60_000);
  memory.set(...bulky(3));
  memory.set(...bulky(4));
  await store.flush(60_000);
  const times = store.proxy.passed.filter(({ key }) => key === 'body').map(({ at }) => at);
  expect(times.length).toBeGreaterThan(1);
  // Allows for the time that the first request took.
  for (const [index, at] of times.slice(1).entries()) expect(at - times[index]!).toBeGreaterThan(800);
  await expectTableToEqual(stores, memory);
});

test('an old delta is folded into a body without any further change @heavy', async () => {
  const memory = createMemory(...flags(5));
  const store = await openHolder(memory, { timings: { ...quick, deltaAgeMs: 400 } });
  memory.set(flag('flag-0', 2));
  await store.flush(60_000);
  const { rev } = await head();
  await eventually(() => expect(store.proxy.passed.filter(({ key }) => key === 'body')).toHaveLength(2));
  await store.flush(60_000);
  const rows = await stores.rows('$snapshot');
  // The body has the revision that was published last, so readers that hold it need no body.
  expect([rows.body?.rev, rows.head?.base, rows.delta?.base]).toEqual([rev, rev, rev]);
  await expectTableToEqual(stores, memory);
  const writes = names(store).length;
  await delay(500);
  expect(names(store)).toHaveLength(writes);
});

test('a reader that holds the last revision never reads a body again @heavy', async () => {
  const memory = createMemory(...flags(20));
  const store = await openHolder(memory, { timings: { ...quick, bodyGapMs: 0 } });
  const asked: string[] = [];
  const get = async (keys: readonly Key[]) => {
    asked.push(...keys.map(({ key }) => key));
    return Promise.all(keys.map(getRow));
  };
  const reader = createSnapshotReader({ prefix: '', get });
  const cold = await reader.cold();
  if (cold.kind !== 'snapshot') throw new Error(cold.kind);
  let held = cold.snapshot;
  asked.length = 0;
  const bodies = () => store.proxy.passed.filter(({ key }) => key === 'body').length;
  for (let round = 2; bodies() < 4; round++) {
    memory.set(flag(`flag-${round % 20}`, round, { note: noise(9_000, `${round}`) }));
    await store.flush(60_000);
    const reading = await reader.refresh(held);
    if (reading.kind !== 'snapshot') throw new Error(reading.kind);
    held = reading.snapshot;
    expect(sorted([...held.items()])).toEqual(sorted(memory.all()));
  }
  expect(new Set(asked)).toEqual(new Set(['head', 'delta']));
  await expectTableToEqual(stores, memory);
});

test('a failed body does not delay the next one @heavy', async () => {
  const memory = createMemory(...flags(5));
  const store = await stores.open(memory, { timings: { ...quick, bodyGapMs: 1e9 } });
  store.proxy.cutAfter(0, ({ key }) => key === 'body');
  store.setEligible(true);
  await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
  store.proxy.heal();
  await eventually(() => expectTableToEqual(stores, memory));
});

test('a body larger than one item is written in parts, in alternating banks, with the body last @heavy', async () => {
  const large = (version: number) =>
    flags(12).map(({ key }) => flag(key, version, { note: noise(90_000, `${key}.${version}`) }));
  const memory = createMemory(...large(1));
  const store = await openHolder(memory);
  memory.set(...large(2));
  await store.flush(60_000);
  const order = names(store).filter((name) => name === 'body' || name.startsWith('part'));
  const banks = order.filter((name) => name !== 'body').map((name) => name.split('.')[1]);
  expect(new Set(banks)).toEqual(new Set(['0', '1']));
  expect([order.at(-1), order.indexOf('body') > 0]).toEqual(['body', true]);
  await expectTableToEqual(stores, memory);
});

test('an item that does not fit keeps its old copy, marked as stale, and is complete in the snapshot @heavy', async () => {
  const memory = createMemory(flag('big', 1), flag('small', 1));
  const store = await openHolder(memory);
  const big = flag('big', 2, { note: 'x'.repeat(401_000) });
  memory.set(big, flag('small', 2));
  await store.flush(60_000);
  const row = (await stores.rows('features')).big;
  expect(row).toMatchObject({ version: '1', item: flag('big', 1).json, currentVersion: '2' });
  expect(Math.abs(Number(row?.staleSince) - Date.now())).toBeLessThan(60_000);
  expect(await stores.versions()).toMatchObject({ small: 2 });
  expect((await stores.snapshot())?.find(({ key }) => key === 'big')?.json).toBe(big.json);
  expect(store.status().oversized).toEqual([expect.stringMatching(/^features\/big: version 2 has 401\d\d\d bytes/)]);

  await store.close();
  const second = await openHolder(createMemory(...memory.all()));
  expect(names(second)).toEqual(['head']);
  expect(second.status().oversized).toHaveLength(1);
  await second.close();

  const shrunk = createMemory(...memory.all());
  const third = await openHolder(shrunk);
  shrunk.set(flag('big', 3));
  await third.flush(60_000);
  expect(third.status().oversized).toBeUndefined();
  await expectTableToEqual(stores, shrunk);
});

test('an item whose key is too long for the table is reported, and all others are written @heavy', async () => {
  const memory = createMemory(flag('k'.repeat(1_100), 1), flag('a', 1));
  const store = await openHolder(memory);
  expect(await stores.versions()).toEqual({ a: 1 });
  expect(store.status().oversized).toEqual([expect.stringContaining('1100 bytes')]);
  expect(await stores.snapshot()).toHaveLength(2);
});

test('environments in one table are kept apart by prefix @heavy', async () => {
  const red = createMemory(flag('a', 1));
  const blue = createMemory(flag('a', 9), flag('b', 1));
  const one = await openHolder(red, { prefix: 'red' });
  const two = await openHolder(blue, { prefix: 'blue' });
  expect(await stores.versions('red:features')).toEqual({ a: 1 });
  expect(await stores.versions('blue:features')).toEqual({ a: 9, b: 1 });
  expect(await stores.snapshot('red')).toEqual(red.all());
  expect(one.status()).toMatchObject({ dbPrefix: 'red', dbTable: 'flags', database: 'dynamodb' });
  expect([one.status().writer, two.status().writer]).toEqual([true, true]);
});

/** Text that does not compress, the same for the same seed. */
function noise(length: number, seed: string): string {
  let state = [...seed].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7);
  let text = '';
  while (text.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    text += state.toString(36);
  }
  return text.slice(0, length);
}
