import { decodeCounts, decodeHead } from '../../../lib/flag-table/index.ts';
import { systemClock } from '../../../relay-task/store/timings.ts';
import { eventually } from '../../support/eventually.ts';
import { createMemory } from '../../support/memory.ts';
import { flag, flags } from './items.ts';
import { expectTableToEqual, hasty, type OpenStore, openTable, quick, type Stores } from './open-stores.ts';

let stores: Stores;
beforeEach(async () => {
  stores = await openTable();
});
afterEach(() => stores.close());

const head = async () => (await stores.rows('$snapshot')).head ?? {};
const writers = (all: OpenStore[]) => all.filter((store) => store.status().writer);

async function openEligible(count: number, memory = createMemory(flag('a', 1)), timings = quick): Promise<OpenStore[]> {
  const opened: OpenStore[] = [];
  for (let index = 0; index < count; index++) {
    const store = await stores.open(memory, { timings });
    store.setEligible(true);
    opened.push(store);
  }
  return opened;
}

test('of three eligible stores exactly one writes @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const all = await openEligible(3, memory);
  await eventually(() => expect(writers(all)).toHaveLength(1));
  for (let version = 2; version <= 5; version++) {
    memory.set(flag('a', version));
    await writers(all)[0]!.flush(60_000);
    expect(await stores.versions()).toEqual({ a: version });
  }
  expect(writers(all)).toHaveLength(1);
  const wrote = all.filter((store) =>
    store.proxy.passed.some(({ operation, key }) => operation === 'PutItem' && key === 'a'),
  );
  expect(wrote).toEqual(writers(all));
  await expectTableToEqual(stores, memory);
});

test('a holder that dies is replaced with a higher epoch, and its unfinished work is done @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const [first, second] = (await openEligible(2, memory, hasty)) as [OpenStore, OpenStore];
  await eventually(() => expect(writers([first, second])).toHaveLength(1));
  const [dying] = writers([first, second]) as [OpenStore];
  const heir = dying === first ? second : first;
  await dying.flush(60_000);
  const before = await head();
  dying.proxy.cut();
  memory.set(flag('a', 2));
  await eventually(() => expect(heir.status().writer).toBe(true));
  await heir.flush(60_000);
  expect(Number((await head()).epoch)).toBeGreaterThan(Number(before.epoch));
  expect((await head()).owner).toBe(heir.owner);
  await expectTableToEqual(stores, memory);
});

test('a lease whose holder keeps beating is never taken @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const [first] = (await openEligible(1, memory, hasty)) as [OpenStore];
  await first.flush(60_000);
  const { epoch } = await head();
  const [second] = (await openEligible(1, memory, hasty)) as [OpenStore];
  const firstBeat = Number((await head()).beat);
  await eventually(async () => expect(Number((await head()).beat)).toBeGreaterThan(firstBeat + 30));
  expect((await head()).epoch).toBe(epoch);
  expect(second.status().writer).toBe(false);
});

test('a holder stops writing before anyone may take over, counting from when its last successful renewal was sent @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const [store] = (await openEligible(1, memory, hasty)) as [OpenStore];
  await store.flush(60_000);
  store.proxy.hang();
  await eventually(() => expect(store.status().writer).toBe(false));
  expect(store.status().state).toBe('INTERRUPTED');
  expect((await head()).owner).toBe(store.owner);
  store.proxy.heal();
  await eventually(() => expect(store.status()).toMatchObject({ writer: true, state: 'VALID' }));
});

test('a holder resumes work if the answer to its renewal arrives late @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const timings = { ...quick, renewMs: 1_000, stopMs: 1_500 };
  const [holder] = (await openEligible(1, memory, timings)) as [OpenStore];
  await holder.flush(60_000);
  // Sent in time, answered too late: 1,000 + 1,250 > 1,500.
  holder.proxy.slow(1_250);
  await eventually(() => expect(holder.status().writer).toBe(false));
  memory.set(flag('a', 2));
  await eventually(() => expect(holder.status().writer).toBe(true));
  holder.proxy.heal();
  await eventually(() => expectTableToEqual(stores, memory));
});

test('closing releases the lease, so that the next holder takes it at once @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const [first] = (await openEligible(1, memory, { ...quick, expireMs: 1e9 })) as [OpenStore];
  await first.flush(60_000);
  const [second] = (await openEligible(1, memory, { ...quick, expireMs: 1e9 })) as [OpenStore];
  await first.close();
  expect((await head()).owner).not.toBe(first.owner);
  await eventually(() => expect(second.status().writer).toBe(true));
});

test('a store that is not eligible takes no lease, not even a free one @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const idle = await stores.open(memory);
  const [holder] = (await openEligible(1, memory)) as [OpenStore];
  await holder.flush(60_000);
  await holder.close();
  const looks = idle.proxy.passed.length;
  await eventually(() => expect(idle.proxy.passed.length).toBeGreaterThan(looks + 5));
  expect(idle.status().writer).toBe(false);
  expect(idle.proxy.passed.filter(({ operation }) => operation !== 'GetItem')).toEqual([]);
});

test('a holder that lost upstream keeps the lease until another store is eligible, then yields it @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const [holder] = (await openEligible(1, memory, { ...quick, expireMs: 1e9 })) as [OpenStore];
  await holder.flush(60_000);
  const other = await stores.open(memory, { timings: { ...quick, expireMs: 1e9 } });
  holder.setEligible(false);
  const { beat } = await head();
  await eventually(async () => expect(Number((await head()).beat)).toBeGreaterThan(Number(beat) + 4));
  expect(holder.status().writer).toBe(true);
  other.setEligible(true);
  await eventually(() => expect(other.status().writer).toBe(true));
  expect(holder.status().writer).toBe(false);
  memory.set(flag('a', 2));
  await other.flush(60_000);
  await expectTableToEqual(stores, memory);
});

test('a holder whose upstream recovers in time keeps the lease @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const [holder] = (await openEligible(1, memory)) as [OpenStore];
  await holder.flush(60_000);
  holder.setEligible(false);
  await eventually(async () => expect(await head()).toHaveProperty('yielding'));
  holder.setEligible(true);
  await eventually(async () => expect(await head()).not.toHaveProperty('yielding'));
  const [other] = (await openEligible(1, memory)) as [OpenStore];
  const { beat } = await head();
  await eventually(async () => expect(Number((await head()).beat)).toBeGreaterThan(Number(beat) + 4));
  expect([holder.status().writer, other.status().writer]).toEqual([true, false]);
});

test.each([
  ['has published', [flag('new', 1)]],
  ['found nothing to publish', []],
])(
  'a store with a lost lease cannot publish even if it believes to hold it, after its successor %s @heavy',
  async (_, news) => {
    const memory = createMemory(...flags(5));
    let frozen: number | undefined;
    const clock = { now: () => frozen ?? performance.now(), wall: () => Date.now() };
    // With its clock stopped it would never retry, so no request may time out.
    const patient = { ...quick, requestTimeoutMs: 60_000 };
    const believer = await stores.open(memory, { clock, timings: patient });
    believer.setEligible(true);
    await believer.flush(60_000);
    // With its clock stopped it does not renew, and never notices that its lease expired.
    frozen = performance.now();
    const successorMemory = createMemory(...memory.all(), ...news);
    // Its second look after a takeover would repair what the believer writes, and publish that.
    const timings = { ...patient, expireMs: 800, secondLookMs: 3_600_000 };
    const [successor] = (await openEligible(1, successorMemory, timings)) as [OpenStore];
    await eventually(() => expect(successor.status().writer).toBe(true));
    await successor.flush(60_000);
    expect(believer.status().writer).toBe(true);
    const before = await head();
    frozen += patient.publishGapMs + 1;
    memory.set(flag('flag-0', 2, { on: false }));
    await eventually(() => expect(believer.status().writer).toBe(false));
    expect(await head()).toMatchObject({ owner: successor.owner, epoch: before.epoch, rev: before.rev });
  },
);

test('the epoch rises even if the wall clock of the next holder is behind @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const [first] = (await openEligible(1, memory)) as [OpenStore];
  await first.flush(60_000);
  const { epoch } = await head();
  await first.close();
  const late = await stores.open(memory, { clock: { now: systemClock.now, wall: () => 1_000 } });
  late.setEligible(true);
  await late.flush(60_000);
  expect(Number((await head()).epoch)).toBe(Number(epoch) + 1);
});

test('orphaned revisions from the future are overwritten if the head is missing @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const [first] = (await openEligible(1, memory)) as [OpenStore];
  await first.flush(60_000);
  await first.close();
  const { DeleteItemCommand } = await import('@aws-sdk/client-dynamodb');
  const Key = { namespace: { S: '$snapshot' }, key: { S: 'head' } };
  await stores.table.client.send(new DeleteItemCommand({ TableName: stores.table.tableName, Key }));
  memory.set(flag('a', 2));
  const late = await stores.open(memory, { clock: { now: systemClock.now, wall: () => 1_000 } });
  late.setEligible(true);
  await late.flush(60_000);
  await expectTableToEqual(stores, memory);
});

test('an unreadable head is replaced once it stops changing, except for one in a newer format @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  await stores.put({ namespace: { S: '$snapshot' }, key: { S: 'head' }, format: { N: '99' }, owner: { S: 'newer' } });
  const [store] = (await openEligible(1, memory, { ...quick, expireMs: 600 })) as [OpenStore];
  const looks = store.proxy.passed.length;
  await eventually(() => expect(store.proxy.passed.length).toBeGreaterThan(looks + 60));
  expect((await head()).owner).toBe('newer');
  await stores.put({ namespace: { S: '$snapshot' }, key: { S: 'head' }, format: { N: '1' }, owner: { S: 'broken' } });
  await eventually(() => expect(store.status().writer).toBe(true));
  await store.flush(60_000);
  await expectTableToEqual(stores, memory);
});

test('a takeover whose answer was lost is recognised in the head', async () => {
  const memory = createMemory(flag('a', 1));
  const store = await stores.open(memory, { timings: { ...hasty, expireMs: 1e9 } });
  store.proxy.loseAnswers(1);
  store.setEligible(true);
  await eventually(async () => expect((await head()).owner).toBe(store.owner));
  expect(store.status().writer).toBe(false);
  store.proxy.heal();
  await eventually(() => expect(store.status().writer).toBe(true));
});

test('checkedAt follows memory while the table is up to date @heavy', async () => {
  let checkedAt = 1_700_000_000_000;
  const memory = createMemory(flag('a', 1));
  const store = await stores.open(memory, { checkedAt: () => checkedAt });
  store.setEligible(true);
  await store.flush(60_000);
  checkedAt += 60_000;
  await eventually(async () => expect(Number((await head()).checkedAt)).toBe(checkedAt));
});

test('the head is readable and below 1 KB with all lease attributes @heavy', async () => {
  const memory = createMemory(...flags(3));
  const [holder] = (await openEligible(1, memory, { ...quick, renewMs: 1_000 })) as [OpenStore];
  await holder.flush(60_000);
  holder.setEligible(false);
  await eventually(async () => expect(await head()).toHaveProperty('yielding'));
  const row = await head();
  expect(JSON.stringify(row).length).toBeLessThan(1_024);
  const { GetItemCommand } = await import('@aws-sdk/client-dynamodb');
  const Key = { namespace: { S: '$snapshot' }, key: { S: 'head' } };
  const { Item } = await stores.table.client.send(new GetItemCommand({ TableName: stores.table.tableName, Key }));
  expect(decodeHead(Item as never)).toMatchObject({ owner: holder.owner });
  expect(decodeCounts(Item as never)).toEqual({ flags: 3, segments: 0, deleted: 0 });
});
