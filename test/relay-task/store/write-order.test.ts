/** A flag is never visible in a store before its prerequisites are. */
import { encodeOfficialItem, type Item } from '../../../lib/flag-table/index.ts';
import type { Store } from '../../../relay-task/ports.ts';
import { createReplicaStore } from '../../../relay-task/store/replica-store.ts';
import type { EngineTimings, Timings } from '../../../relay-task/store/timings.ts';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { createFakeDatabase, type FakeDatabase } from './fake-database.ts';
import { flag, segment, tombstone } from './items.ts';
import { type Heard, listenToLog, quickReplica, textsOfMemory } from './open-replicas.ts';
import { expectTableToEqual, openTable, quick, type Stores } from './open-stores.ts';

const patienceMs = 60_000;
const naming = (key: string, version: number, ...names: readonly string[]) =>
  flag(key, version, { prerequisites: names.map((name) => ({ key: name, variation: 0 })) });

describe('in DynamoDB, where items are written one by one', () => {
  let stores: Stores;
  beforeEach(async () => {
    stores = await openTable();
  });
  afterEach(() => stores.close());

  async function openHolder(memory: Memory, timings: Partial<Timings> = {}) {
    const store = await stores.open(memory, { timings: { ...quick, ...timings } });
    store.setEligible(true);
    await store.flush(patienceMs);
    store.proxy.passed.length = 0;
    const isPut = (key: string) => (asked: { operation: string; namespace: string; key: string }) =>
      asked.operation === 'PutItem' && asked.namespace === 'features' && asked.key === key;
    const puts = () => store.proxy.passed.filter(({ operation }) => operation === 'PutItem');
    const written = () =>
      puts()
        .filter(({ namespace }) => namespace !== '$snapshot')
        .map(({ key }) => key);
    return { store, isPut, written };
  }

  test('a flag waits for its prerequisite to be acknowledged, and other flags do not wait @heavy', async () => {
    const memory = createMemory(naming('d', 1, 'p'), naming('p', 1), flag('other', 1));
    const { store, isPut, written } = await openHolder(memory);
    const release = store.proxy.hold('answers', isPut('p'));
    memory.set(naming('d', 2, 'p'), naming('p', 2), flag('other', 2));
    await eventually(async () => expect(await stores.versions()).toMatchObject({ p: 2, other: 2 }));
    expect(await stores.versions()).toEqual({ d: 1, p: 2, other: 2 });
    release();
    await store.flush(patienceMs);
    expect(written().at(-1)).toBe('d');
    await expectTableToEqual(stores, memory);
  });

  test('while a prerequisite is throttled, the flags that depend on it wait, and nothing else @heavy', async () => {
    const [others, changed] = [1, 2].map((version) =>
      Array.from({ length: 40 }, (_, index) => flag(`other-${index}`, version)),
    ) as [Item[], Item[]];
    const memory = createMemory(naming('d', 1, 'between'), naming('between', 1, 'p'), naming('p', 1), ...others);
    const { store, isPut, written } = await openHolder(memory);
    const release = store.proxy.hold('requests', isPut('p'));
    memory.set(naming('d', 2, 'between'), naming('p', 2), ...changed);
    await eventually(() => expect(written()).toHaveLength(40));
    expect(store.proxy.held()).toBe(1);
    // Retried with a backoff, like any throttled write.
    let refusals = 0;
    store.proxy.refuse('ProvisionedThroughputExceededException', ({ operation, key }) => {
      const refused = operation === 'PutItem' && key === 'p' && refusals < 4;
      if (refused) refusals += 1;
      return refused;
    });
    release();
    await store.flush(patienceMs);
    expect(refusals).toBe(4);
    expect(written().slice(40)).toEqual(['p', 'd']);
    await expectTableToEqual(stores, memory);
  });

  test('a flag is written beside a version of its prerequisite that another writer put and that is newer still @heavy', async () => {
    const memory = createMemory(naming('d', 1, 'p'), naming('p', 1));
    // After the second look memory overrules what the other writer put.
    const { store } = await openHolder(memory, { secondLookMs: 3_600_000 });
    await stores.put(encodeOfficialItem('', naming('p', 9)));
    memory.set(naming('d', 2, 'p'), naming('p', 2));
    await eventually(async () => expect(await stores.versions()).toEqual({ d: 2, p: 9 }));
    expect(store.status().state).toBe('VALID');
  });

  test('no reader finds a new version of a flag beside an old one of what it depends on, while a third of the writes is throttled @heavy', async () => {
    const depth = 6;
    const chain = (version: number) =>
      Array.from({ length: depth }, (_, level) =>
        naming(`f${level}`, version, ...(level < depth - 1 ? [`f${level + 1}`] : [])),
      );
    const memory = createMemory(...chain(1));
    const { store } = await openHolder(memory);
    store.proxy.throttle(0.3);
    for (let version = 2; version <= 4; version++) {
      memory.set(...chain(version));
      for (let seen = await stores.versions(); seen.f0 !== version; seen = await stores.versions()) {
        const versions = Array.from({ length: depth }, (_, level) => seen[`f${level}`] ?? 0);
        expect(versions).toEqual([...versions].sort());
      }
    }
    store.proxy.heal();
    await store.flush(patienceMs);
    await expectTableToEqual(stores, memory);
  });
});

describe('in a database with transactions', () => {
  let log: Heard;
  const opened: Store[] = [];
  beforeEach(() => {
    log = listenToLog();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
  });

  async function openWriter(database: FakeDatabase, memory: Memory, timings?: Partial<EngineTimings>): Promise<Store> {
    const store = createReplicaStore(
      {
        ...{ prefix: 'env', view: memory, writer: 'auto', log },
        timings: { ...quickReplica, glanceMs: 3_600_000, ...timings },
      },
      () => database,
    );
    opened.push(store);
    memory.listen(store);
    store.setEligible(true);
    await store.flush(patienceMs);
    database.calls.length = 0;
    return store;
  }
  const applies = ({ calls }: FakeDatabase) => calls.filter((call) => call.startsWith('apply'));
  const versionIn = (database: FakeDatabase, key: string): number =>
    JSON.parse(database.rows.features.get(key) ?? '{"version":0}').version;

  test('batches are written in the order of prerequisites, and deletions last', async () => {
    const database = createFakeDatabase({ writes: 2, bytes: 1_000_000 });
    const memory = createMemory(
      flag('old', 1),
      segment('old', 1),
      naming('a', 1, 'old'),
      naming('b', 1),
      naming('c', 1),
    );
    const store = await openWriter(database, memory);
    memory.set(
      ...[tombstone('segments', 'old', 2), tombstone('features', 'old', 2)],
      ...[naming('a', 2, 'b'), naming('b', 2, 'c'), naming('c', 2), segment('new', 1)],
    );
    await store.flush(patienceMs);
    expect(applies(database)).toEqual(['apply new c', 'apply b a', 'apply old old+']);
  });

  /** Another writer changes the row of the prerequisite before each of the first `times` batches. */
  function disturb(database: FakeDatabase, times: number): { readonly seen: string[] } {
    let left = times;
    database.before = (call) => {
      if (!call.startsWith('apply') || left === 0) return;
      left -= 1;
      database.put(naming('p', 1, `disturbed-${left}`));
    };
    const seen: string[] = [];
    database.after = (call) => {
      if (call.startsWith('apply')) seen.push(['p', 'd', 'other'].map((key) => versionIn(database, key)).join(' '));
    };
    return { seen };
  }

  test('a prerequisite that others changed is tried again, and the flags that depend on it wait for it', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(naming('d', 1, 'between'), naming('between', 1, 'p'), naming('p', 1), flag('other', 1));
    const store = await openWriter(database, memory);
    const { seen } = disturb(database, 2);
    memory.set(naming('d', 2, 'between'), naming('p', 2), flag('other', 2));
    await store.flush(patienceMs);
    expect(seen).toEqual(['1 1 2', '1 1 2', '2 2 2']);
    expect(applies(database).at(-1)).toMatch(/\+$/);
    expect(database.texts()).toEqual(textsOfMemory(memory));
  });

  test('a prerequisite that others keep changing is left to a comparison soon, with the flags that depend on it', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(naming('d', 1, 'p'), naming('p', 1), flag('other', 1));
    const store = await openWriter(database, memory);
    const { seen } = disturb(database, 5);
    memory.set(naming('d', 2, 'p'), naming('p', 2), flag('other', 2));
    // The store has not everything before that.
    await store.flush(patienceMs);
    expect([...new Set(seen)]).toEqual(['1 1 2', '2 2 2']);
    expect(database.calls.filter((call) => call === 'readAll')).toHaveLength(1);
    expect(log.lines.filter((line) => line.startsWith('warn: '))).toEqual([
      'warn: Others keep changing an item; leaving it for later {"database":"redis","server":"fake","prefix":"env","item":"features/p","runbook":"operations.md#store-differs"}',
      'warn: A prerequisite was not written; leaving the flag for later {"database":"redis","server":"fake","prefix":"env","item":"features/d","runbook":"operations.md#store-write-errors"}',
    ]);
    expect(database.texts()).toEqual(textsOfMemory(memory));
  });

  test('a change of a flag brings a prerequisite along that was left, and the store is not up to date before the comparison', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(naming('d', 1, 'p'), naming('p', 1));
    const store = await openWriter(database, memory, { secondLookMs: 3_600_000 });
    disturb(database, 5);
    memory.set(naming('d', 2, 'p'), naming('p', 2));
    await eventually(() => expect(log.lines.join()).toContain('A prerequisite was not written'));
    memory.set(naming('d', 3, 'p'));
    await eventually(() => expect(database.texts()).toEqual(textsOfMemory(memory)));
    expect(applies(database).at(-1)).toBe('apply p d+');
    const flushed = { isDone: false };
    const flush = store.flush(patienceMs).then(() => {
      flushed.isDone = true;
    });
    await turnsOfLoop(20);
    expect(flushed).toEqual({ isDone: false });
    store.setEligible(false);
    store.setEligible(true);
    await flush;
  });

  test('a set gets its marker only with the flags whose prerequisite others kept changing', async () => {
    const database = createFakeDatabase();
    disturb(database, 5);
    const marked: number[] = [];
    database.after = () => {
      if (database.inited) marked.push(versionIn(database, 'd'));
    };
    const memory = createMemory(naming('d', 1, 'p'), flag('p', 2), flag('other', 1));
    await openWriter(database, memory);
    expect(log.lines.join()).toContain('Others keep changing an item');
    expect(marked.length).toBeGreaterThan(0);
    expect(new Set(marked)).toEqual(new Set([1]));
  });

  test('a prerequisite that does not fit holds up nothing', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(naming('d', 1, 'p'), naming('p', 1));
    const store = await openWriter(database, memory);
    memory.set(naming('d', 2, 'p'), flag('p', 2, { description: 'x'.repeat(20_000) }));
    await store.flush(patienceMs);
    expect([versionIn(database, 'd'), versionIn(database, 'p')]).toEqual([2, 1]);
  });

  test('a flag that changed again during its batch is written with the prerequisites that its newest version names', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(naming('d', 1), naming('user', 1, 'd'), naming('q', 1));
    const store = await openWriter(database, memory);
    const seen: string[] = [];
    let disturbed = false;
    database.before = (call) => {
      if (!call.startsWith('apply') || disturbed) return;
      disturbed = true;
      database.put(naming('d', 1, 'disturbed'));
      memory.set(naming('q', 2), naming('d', 3, 'q'));
    };
    database.after = (call) => {
      if (call.startsWith('apply')) seen.push(['q', 'd', 'user'].map((key) => versionIn(database, key)).join(' '));
    };
    memory.set(naming('user', 2, 'd'), naming('d', 2));
    await store.flush(patienceMs);
    expect(applies(database).at(-1)).toBe('apply q d user+');
    expect([...new Set(seen)]).toEqual(['1 1 1', '2 3 2']);
    expect(database.texts()).toEqual(textsOfMemory(memory));
  });

  test('a cycle of prerequisites is written', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(naming('a', 1, 'b'), naming('b', 1, 'c'), naming('c', 1, 'a'));
    const store = await openWriter(database, memory);
    memory.set(naming('a', 2, 'b'), naming('b', 2, 'c'), naming('c', 2, 'a'));
    await store.flush(patienceMs);
    expect(applies(database)).toEqual(['apply c b a+']);
  });
});
