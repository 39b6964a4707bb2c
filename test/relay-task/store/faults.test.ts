import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeOfficialItem } from '../../../lib/flag-table/index.ts';
import { createMeasures } from '../../../relay-task/common/measures.ts';
import { RelayError } from '../../../relay-task/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { everyNth } from '../../support/long.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { flag, flags, segment } from './items.ts';
import { expectTableToEqual, type OpenStore, openTable, quick, type Stores } from './open-stores.ts';
import { seededRandom } from './seeded-random.ts';

let stores: Stores;
beforeEach(async () => {
  stores = await openTable();
});
afterEach(() => stores.close());

async function openHolder(memory: Memory, options = {}): Promise<OpenStore> {
  const store = await stores.open(memory, options);
  store.setEligible(true);
  await store.flush(60_000);
  return store;
}

test('with 30 % of writes throttled all items are written, each once @heavy', async () => {
  const count = process.env.LONG ? 100 : 30;
  const memory = createMemory(...flags(count), segment('s', 1));
  const measures = createMeasures();
  // A late answer would count as a failure, which is not tested here.
  const timings = { ...quick, requestTimeoutMs: 60_000 };
  const store = await stores.open(memory, { random: seededRandom(1), measures, timings });
  store.proxy.throttle(0.3);
  store.setEligible(true);
  await store.flush(60_000);
  memory.set(...flags(count, 2));
  await store.flush(60_000);
  await expectTableToEqual(stores, memory);
  // A throttled renewal of the lease is not retried before the next one is due.
  await eventually(() => expect(store.status().state).toBe('VALID'));
  expect(store.proxy.passed.filter(({ key }) => key === 'flag-1')).toHaveLength(2);
  const metrics = await measures.registry.metrics();
  expect(metrics).toMatch(/store_retries_total\{env="",table="flags",prefix=""\} [1-9]/);
  expect(metrics).toContain(
    `store_writes_total{env="",table="flags",prefix="",kind="flag",outcome="written"} ${2 * count}\n`,
  );
  expect(metrics).toMatch(/store_lease_held\{env="",table="flags",prefix=""\} 1/);
});

test('the status shows an outage, and only differences are written afterwards @heavy', async () => {
  const memory = createMemory(...flags(50));
  const store = await openHolder(memory);
  store.proxy.cut();
  memory.set(flag('flag-1', 2), flag('flag-2', 2));
  await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
  memory.set(flag('flag-1', 3));
  expect(store.status().lastError?.message).toMatch(/ECONNREFUSED|ECONNRESET|socket hang up|closed/i);
  store.proxy.passed.length = 0;
  store.proxy.heal();
  await eventually(() => expectTableToEqual(stores, memory));
  await eventually(() => expect(store.status().state).toBe('VALID'));
  const items = store.proxy.passed.filter(
    ({ operation, namespace }) => operation === 'PutItem' && namespace === 'features',
  );
  expect(items.map(({ key }) => key).sort()).toEqual(['flag-1', 'flag-2']);
});

test('after an outage the whole table is compared, not only pending changes @heavy', async () => {
  const memory = createMemory(...flags(5));
  const store = await openHolder(memory);
  store.proxy.cut();
  memory.set(flag('flag-1', 2));
  await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
  await stores.put(encodeOfficialItem('', flag('flag-3', 1, { on: false })));
  store.proxy.heal();
  await eventually(() => expectTableToEqual(stores, memory));
});

test('a database that never answers blocks nothing @heavy', async () => {
  const memory = createMemory(...flags(5));
  const store = await openHolder(memory, { timings: { ...quick, requestTimeoutMs: 1_000 } });
  store.proxy.hang();
  memory.set(flag('flag-1', 2));
  await store.flush(50);
  await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
  await expect(store.read()).rejects.toThrow(RelayError);
  store.proxy.heal();
  await eventually(() => expectTableToEqual(stores, memory));
});

test.each(['ResourceNotFoundException', 'ExpiredTokenException', 'AccessDeniedException'])(
  '%s is retried indefinitely, and the store fills once it is resolved @heavy',
  async (error) => {
    const memory = createMemory(...flags(5));
    const store = await stores.open(memory);
    store.proxy.refuse(error);
    store.setEligible(true);
    await expect(store.read()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
    memory.set(flag('flag-1', 2));
    await delay(100);
    store.proxy.heal();
    await store.flush(60_000);
    await expectTableToEqual(stores, memory);
    expect(store.status()).toMatchObject({ state: 'VALID', writer: true });
  },
);

test('the status names a table that does not exist yet', async () => {
  const memory = createMemory(flag('a', 1));
  const store = await stores.open(memory, { tableName: 'not-yet' });
  store.setEligible(true);
  await eventually(() => expect(store.status().lastError?.message).toBe('table not-yet does not exist (yet)'));
  expect(store.status().state).toBe('INTERRUPTED');
});

test('lost answers leave the table equal to memory @heavy', async () => {
  const memory = createMemory(...flags(30));
  const store = await openHolder(memory, { random: seededRandom(7) });
  store.proxy.loseAnswers(0.3);
  for (let version = 2; version < 12; version++) {
    memory.set(...flags(3, version));
    await delay(40);
  }
  store.proxy.heal();
  await store.flush(60_000);
  await eventually(() => expectTableToEqual(stores, memory));
});

test('closing is quick even if the database hangs @heavy', async () => {
  const memory = createMemory(flag('a', 1));
  const store = await openHolder(memory, { timings: { ...quick, requestTimeoutMs: 500 } });
  store.proxy.hang();
  memory.set(flag('a', 2));
  await store.close();
  expect(store.status().writer).toBe(false);
});

// Whichever request a writer dies before, its successor makes the table equal to memory.
describe('a successor completes the work of a writer that dies in the middle', () => {
  const noise = (length: number) => randomBytes(length / 2).toString('hex');
  const bulky = (version: number) => flags(10).map(({ key }) => flag(key, version, { salt: noise(100_000) }));
  const cases: [string, number, (memory: Memory) => void][] = [
    ['of a delta', 5, (memory) => memory.set(flag('flag-0', 2), segment('s', 2), flag('flag-1', 2))],
    ['of the first fill', 8, () => {}],
  ];
  if (process.env.LONG) {
    cases.push(
      ['of a fall to older versions', 5, (memory) => memory.set(flag('flag-0', 0), segment('s', 2), flag('flag-1', 2))],
      ['of a body in parts', 14, (memory) => memory.set(...bulky(2))],
    );
  }
  for (const [what, requests, change] of cases) {
    test.each(
      everyNth(
        2,
        Array.from({ length: requests }, (_, index) => index),
      ),
    )(`${what}, after %i writes @heavy`, async (count) => {
      const first = what === 'of the first fill';
      const inParts = what === 'of a body in parts';
      const memory = createMemory(...(inParts ? bulky(1) : flags(3)), segment('s', 1));
      const timings = { ...quick, renewMs: 5_000, bodyGapMs: 0 };
      const doomed = await stores.open(memory, { timings });
      if (first) doomed.proxy.cutAfter(count);
      doomed.setEligible(true);
      if (!first) {
        await doomed.flush(60_000);
        doomed.proxy.cutAfter(count);
        change(memory);
      }
      await doomed.flush(inParts ? 1_000 : 60);
      doomed.proxy.cut();
      await doomed.close();
      const heirMemory = createMemory(...memory.all());
      const heir = await stores.open(heirMemory, { timings: { ...timings, expireMs: 100 } });
      heir.setEligible(true);
      await heir.flush(60_000);
      await eventually(() => expectTableToEqual(stores, heirMemory));
    });
  }
});
