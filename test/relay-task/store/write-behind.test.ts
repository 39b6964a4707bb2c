import type { Item } from '../../../lib/flag-table/index.ts';
import { sleep } from '../../../relay-task/common/pause.ts';
import type { Store } from '../../../relay-task/ports.ts';
import { createReplicaStore, type ReplicaStoreOptions } from '../../../relay-task/store/replica-store.ts';
import { eventually } from '../../support/eventually.ts';
import { createEmptyMemory, createMemory, type Memory } from '../../support/memory.ts';
import { randomFrom } from '../../support/random.ts';
import { countSlicedTurns } from '../../support/sliced-turns.ts';
import { createFakeDatabase, type FakeDatabase } from './fake-database.ts';
import { flag, flags, relayed, segment, tombstone } from './items.ts';
import { listenToLog, quickReplica, textsOfMemory } from './open-replicas.ts';

const patienceMs = 60_000;
let log = listenToLog();
const opened: Store[] = [];
const restores: (() => void)[] = [];
beforeEach(() => {
  log = listenToLog();
});
afterEach(async () => {
  for (const restore of restores.splice(0)) restore();
  await Promise.all(opened.splice(0).map((store) => store.close()));
});

function open(database: FakeDatabase, memory: Memory, options: Partial<ReplicaStoreOptions> = {}): Store {
  const store = createReplicaStore(
    {
      ...{ prefix: 'env', view: memory, writer: 'auto', log, timings: quickReplica },
      source: () => memory.source,
      ...options,
    },
    () => database,
  );
  opened.push(store);
  memory.listen(store);
  return store;
}

async function openWriter(database: FakeDatabase, memory: Memory, options: Partial<ReplicaStoreOptions> = {}) {
  const store = open(database, memory, options);
  store.setEligible(true);
  await store.flush(patienceMs);
  return store;
}

/** Of the wall alone, until the end of the test. */
function stepClock(stepMs: number): void {
  const now = Date.now.bind(Date);
  const stepped = jest.spyOn(Date, 'now').mockImplementation(() => now() + stepMs);
  restores.push(() => stepped.mockRestore());
}

const applies = ({ calls }: FakeDatabase) => calls.filter((call) => call.startsWith('apply'));

/** Holds calls until `release`. */
function gate(): { wait: () => Promise<void>; release(): void } {
  let release = () => {};
  const opened = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { wait: () => opened, release };
}

test('during a write only the newest version of each item waits, and is written next', async () => {
  const database = createFakeDatabase();
  const memory = createMemory(flag('a', 1), flag('b', 1));
  const store = await openWriter(database, memory);
  const { wait, release } = gate();
  database.calls.length = 0;
  database.before = (call) => (call === 'apply a+' ? wait() : undefined);
  memory.set(flag('a', 2));
  await eventually(() => expect(applies(database)).toEqual(['apply a+']));
  for (let version = 3; version <= 100; version++) memory.set(flag('a', version), flag('b', version));
  database.before = () => {};
  release();
  await store.flush(patienceMs);
  expect(applies(database)).toEqual(['apply a+', 'apply a b+']);
  expect(database.texts()).toEqual(textsOfMemory(memory));
});

/** Turns of the event loop from the end of a call to the beginning of the next write. */
function countTurnsAfter(database: FakeDatabase, isCall: (call: string) => boolean) {
  const counted = countSlicedTurns();
  restores.push(counted.stop);
  const seen = { turns: undefined as number | undefined };
  let endedAt: number | undefined;
  database.after = (call) => {
    if (isCall(call)) endedAt ??= counted.turns;
  };
  database.before = (call) => {
    if (endedAt !== undefined && call.startsWith('apply')) seen.turns ??= counted.turns - endedAt;
  };
  return seen;
}

test("rows in another writer's text are compared one by one in slices, and none is written", async () => {
  const database = createFakeDatabase();
  const stored = [
    ...flags(100),
    ...Array.from({ length: 100 }, (_, index) => tombstone('features', `gone-${index}`, 2)),
  ];
  for (const item of stored) database.rows.features.set(item.key, relayed(item));
  const memory = createMemory(...stored);
  const seen = countTurnsAfter(database, (call) => call === 'readAll');
  await openWriter(database, memory);
  expect(applies(database)).toEqual(['apply +']);
  // Of each live row one part at least, and of each tombstone.
  expect(seen.turns).toBeGreaterThan(200);
});

test('a large row is compared in slices, too @heavy', async () => {
  const database = createFakeDatabase({ writes: 100, bytes: 1_000_000 });
  const large = flag('large', 1, { extra: Array.from({ length: 40_000 }, (_, index) => `value-${index}`) });
  database.rows.features.set(large.key, relayed(large));
  const seen = countTurnsAfter(database, (call) => call === 'readAll');
  await openWriter(database, createMemory(large));
  expect(applies(database)).toEqual(['apply +']);
  expect(seen.turns).toBeGreaterThan(50);
});

test('rows that others have written meanwhile, in their text, are compared in slices', async () => {
  const database = createFakeDatabase({ writes: 1_000, bytes: 1_000_000 });
  const memory = createMemory(...flags(100));
  const store = await openWriter(database, memory);
  database.calls.length = 0;
  for (const item of flags(100, 2)) database.rows.features.set(item.key, relayed(item));
  const seen = countTurnsAfter(database, (call) => call.startsWith('apply flag-0 '));
  memory.set(...flags(100, 2));
  await store.flush(patienceMs);
  expect(applies(database)).toHaveLength(2);
  expect(applies(database)[1]).toBe('apply +');
  expect(seen.turns).toBeGreaterThan(100);
});

test('an item that changes while rows are compared is written', async () => {
  const database = createFakeDatabase();
  for (const item of flags(20)) database.rows.features.set(item.key, relayed(item));
  const memory = createMemory(...flags(20));
  let looks = 0;
  const { get } = memory;
  jest.spyOn(memory, 'get').mockImplementation((kind, key) => {
    looks += 1;
    // In the middle of the first pass, and at the end of the second: under the version of the row, and above it.
    if (looks === 10) memory.setQuietly(flag('flag-3', 1, { on: false }), flag('flag-15', 2));
    if (looks === 40) memory.setQuietly(flag('flag-5', 1, { on: false }));
    return get(kind, key);
  });
  await openWriter(database, memory);
  expect(applies(database)).toEqual(['apply flag-3 flag-5 flag-15+']);
  expect(JSON.parse(database.rows.features.get('flag-5')!)).toMatchObject({ on: false });
});

test('segments are written before flags in batches, manifest and marker last', async () => {
  const database = createFakeDatabase({ writes: 2, bytes: 1_000_000 });
  await openWriter(
    database,
    createMemory(flag('f1', 1), segment('s1', 1), flag('f2', 1), segment('s2', 1), flag('f3', 1)),
  );
  expect(applies(database)).toEqual(['apply s1 s2', 'apply f1 f2', 'apply f3+']);
});

test('a batch is limited in bytes, and a large item is written alone', async () => {
  const database = createFakeDatabase({ writes: 100, bytes: 1_000 });
  const large = flag('large', 1, { description: 'x'.repeat(2_000) });
  await openWriter(database, createMemory(flag('a', 1), large, flag('b', 1), flag('c', 1)));
  expect(applies(database)).toEqual(['apply a', 'apply large', 'apply b c+']);
});

test('equal items are not rewritten, no matter which task wrote them', async () => {
  const database = createFakeDatabase();
  const reserialised = { ...flag('a', 4), json: relayed(flag('a', 4)) };
  database.put(reserialised);
  database.put(tombstone('features', 'gone', 7));
  database.inited = true;
  const memory = createMemory(flag('a', 4), flag('b', 1));
  await openWriter(database, memory);
  expect(applies(database)).toEqual(['apply b+']);
  expect(database.rows.features.get('a')).toBe(reserialised.json);
  expect(database.rows.features.get('gone')).toBe(tombstone('features', 'gone', 7).json);
});

test('a start on an unchanged store writes nothing', async () => {
  const database = createFakeDatabase();
  const first = await openWriter(database, createMemory(...flags(20), segment('s', 1)));
  await first.close();
  database.calls.length = 0;
  await openWriter(database, createMemory(...flags(20), segment('s', 1)));
  expect(applies(database)).toEqual([]);
});

test('after an outage the store is read, and only differences are written', async () => {
  const database = createFakeDatabase();
  const memory = createMemory(flag('a', 1), flag('b', 1), flag('c', 1));
  const store = await openWriter(database, memory);
  database.before = () => {
    throw new Error('down');
  };
  memory.set(flag('a', 2));
  await eventually(() =>
    expect(store.status()).toMatchObject({ state: 'INTERRUPTED', lastError: { message: 'Error: down' } }),
  );
  expect(log.lines.join('\n')).toContain('"reason":"Error: down"');
  memory.set(flag('a', 3), tombstone('features', 'b', 2));
  database.calls.length = 0;
  database.before = () => {};
  await store.flush(patienceMs);
  expect(database.calls.filter((call) => call !== 'glance').slice(-2)).toEqual(['readAll', 'apply a b+']);
  expect(database.texts()).toEqual(textsOfMemory(memory));
  await eventually(() => expect(store.status().state).toBe('VALID'));
});

test('a write whose answer was lost is not repeated', async () => {
  const database = createFakeDatabase();
  const memory = createMemory(flag('a', 1));
  const store = await openWriter(database, memory);
  database.calls.length = 0;
  let lost = 0;
  database.after = (call) => {
    if (!call.startsWith('apply') || lost > 0) return;
    lost += 1;
    throw new Error('the answer was lost');
  };
  memory.set(flag('a', 2));
  await store.flush(patienceMs);
  expect(applies(database)).toEqual(['apply a+']);
  expect(database.texts()).toEqual(textsOfMemory(memory));
});

test('retries back off exponentially to a maximum, with jitter', async () => {
  jest.useFakeTimers();
  try {
    const database = createFakeDatabase();
    const at: number[] = [];
    database.before = () => {
      at.push(performance.now());
      throw new Error('down');
    };
    const store = open(database, createMemory(flag('a', 1)), {
      timings: { ...quickReplica, retryBaseMs: 4, retryCapMs: 64 },
    });
    store.setEligible(true);
    await jest.advanceTimersByTimeAsync(2_000);
    // setEligible triggers the first attempt.
    const pauses = at.slice(1).map((time, index) => time - (at[index] ?? 0));
    expect(pauses.length).toBeGreaterThan(20);
    for (const [index, pause] of pauses.entries()) {
      const backoffMs = Math.min(64, 4 * 2 ** index);
      // Fake timers count in whole milliseconds.
      expect(pause).toBeGreaterThanOrEqual(Math.floor(4 + backoffMs / 2));
      expect(pause).toBeLessThanOrEqual(Math.ceil(4 + backoffMs));
    }
    expect(new Set(pauses.slice(6)).size).toBeGreaterThan(5);
  } finally {
    jest.useRealTimers();
  }
});

test('versions that fell during an outage are written without a second look', async () => {
  const database = createFakeDatabase();
  const memory = createMemory(flag('a', 9));
  const store = await openWriter(database, memory, { timings: { ...quickReplica, secondLookMs: 3_600_000 } });
  database.before = () => {
    throw new Error('down');
  };
  memory.set(flag('a', 3));
  await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
  database.before = () => {};
  await store.flush(patienceMs);
  expect(database.texts()).toEqual(textsOfMemory(memory));
});

describe('an item changed by another writer', () => {
  const watchful = { ...quickReplica, reconcileMs: 40 };

  test('is repaired at the next comparison if it is older, different or damaged', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(
      flag('older', 5),
      flag('other', 5),
      flag('broken', 5),
      flag('fine', 5),
      segment('gone', 5),
    );
    await openWriter(database, memory, { timings: { ...watchful, glanceMs: 3_600_000 } });
    database.calls.length = 0;
    database.put(flag('older', 4));
    database.put(flag('other', 5, { on: false }));
    database.rows.features.set('broken', '{broken');
    database.rows.segments.delete('gone');
    await eventually(() => expect(database.texts()).toEqual(textsOfMemory(memory)));
    expect(applies(database).join(' ')).not.toContain('fine');
  });

  test('is kept at first if it is newer, and replaced only if it is still there at the second look @heavy', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('stays', 5), flag('heard', 5), flag('other', 1));
    await openWriter(database, memory, { timings: { ...watchful, secondLookMs: 1_500 } });
    database.put(flag('stays', 9, { on: false }));
    database.put(flag('heard', 6, { on: false }));
    memory.set(flag('other', 2));
    await eventually(() => expect(database.rows.features.get('other')).toBe(flag('other', 2).json));
    expect(database.rows.features.get('stays')).toBe(flag('stays', 9, { on: false }).json);
    memory.set(flag('heard', 6, { on: false }));
    await eventually(() => expect(database.texts()).toEqual(textsOfMemory(memory)));
    expect(log.lines.filter((line) => line.includes('not what LaunchDarkly sent'))).toHaveLength(1);
  });

  test('is removed at the second look if it is unknown, unless it is a tombstone', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1));
    await openWriter(database, memory, { timings: watchful });
    database.put(flag('stranger', 3));
    database.put(tombstone('segments', 'buried', 3));
    await eventually(() => expect(Object.keys(database.texts().features ?? {})).toEqual(['a']));
    expect(database.rows.segments.has('buried')).toBe(true);
  });

  test('is replaced only after memory was confirmed since it was seen, if that is known, whatever the clock does', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 5));
    let checkedNow = performance.now() - 1;
    await openWriter(database, memory, { timings: { ...watchful, glanceMs: 20 }, checkedNow: () => checkedNow });
    database.put(flag('a', 6));
    database.calls.length = 0;
    await eventually(() => expect(database.calls.filter((call) => call === 'readAll').length).toBeGreaterThan(10));
    expect(database.rows.features.get('a')).toBe(flag('a', 6).json);
    stepClock(-3_600_000);
    checkedNow = performance.now() + 1;
    await eventually(() => expect(database.rows.features.get('a')).toBe(flag('a', 5).json));
  });

  test('is never overwritten blindly, since a rejected write returns the current value', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), flag('b', 1));
    const store = await openWriter(database, memory, { timings: { ...quickReplica, glanceMs: 3_600_000 } });
    database.put(flag('a', 2));
    database.put(flag('b', 7, { on: false }));
    database.calls.length = 0;
    memory.set(flag('a', 2), flag('b', 2));
    await store.flush(patienceMs);
    // The first is equal and the second newer, so neither is written again.
    expect(applies(database)).toEqual(['apply a b+', 'apply +']);
    expect(database.rows.features.get('b')).toBe(flag('b', 7, { on: false }).json);
  });

  test('all the time does not block other items', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), flag('b', 1));
    const store = await openWriter(database, memory);
    let round = 0;
    database.before = (call) => {
      if (call.startsWith('apply a')) database.put(flag('a', 1, { round: round++, on: false }));
    };
    memory.set(flag('a', 2), flag('b', 2));
    await eventually(() => expect(database.rows.features.get('b')).toBe(flag('b', 2).json));
    await eventually(() => expect(round).toBeGreaterThan(10));
    expect(store.status().state).toBe('VALID');
  });
});

describe('a glance', () => {
  test('finds a wiped database, which is filled again', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(...flags(5), segment('s', 1));
    await openWriter(database, memory);
    database.wipe();
    await eventually(() => expect(database.inited).toBe(true));
    expect(database.texts()).toEqual(textsOfMemory(memory));
  });

  test('finds a lost hash, which is filled again', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(...flags(5), segment('s', 1));
    await openWriter(database, memory);
    database.rows.features.clear();
    await eventually(() => expect(database.texts()).toEqual(textsOfMemory(memory)));
  });

  test('finds a database restored to an older state, if its manifest is foreign twice', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1));
    const store = await openWriter(database, memory);
    const before = database.manifest;
    memory.set(flag('a', 2));
    await store.flush(patienceMs);
    database.put(flag('a', 1));
    database.manifest = before;
    await eventually(() => expect(database.texts()).toEqual(textsOfMemory(memory)));
  });

  test('is all that is sent while nothing changes', async () => {
    const database = createFakeDatabase();
    await openWriter(database, createMemory(flag('a', 1)), { timings: { ...quickReplica, glanceMs: 10 } });
    database.calls.length = 0;
    await eventually(() => expect(database.calls.length).toBeGreaterThan(10));
    expect(new Set(database.calls)).toEqual(new Set(['glance']));
  });

  test('shows a store that may only read whether the database is available', async () => {
    const database = createFakeDatabase();
    const store = open(database, createMemory(flag('a', 1)), { writer: 'never' });
    await eventually(() => expect(store.status()).toMatchObject({ state: 'VALID', writer: false }));
    database.before = () => {
      throw new Error('down');
    };
    await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
    database.before = () => {};
    await eventually(() => expect(store.status().state).toBe('VALID'));
    expect(applies(database)).toEqual([]);
  });
});

test('a task that is no longer eligible stops writing, and compares once it is eligible again', async () => {
  const database = createFakeDatabase();
  const memory = createMemory(flag('a', 1));
  const store = await openWriter(database, memory);
  store.setEligible(false);
  expect(store.status().writer).toBe(false);
  database.calls.length = 0;
  memory.set(flag('a', 2));
  await store.flush(patienceMs);
  expect(applies(database)).toEqual([]);
  store.setEligible(true);
  await store.flush(patienceMs);
  expect(database.texts()).toEqual(textsOfMemory(memory));
});

test('memory that booted from another store does not roll this one back', async () => {
  const database = createFakeDatabase();
  const newest = createMemory(flag('a', 9));
  await (await openWriter(database, newest)).close();
  const booted = createMemory(flag('a', 4), flag('b', 1));
  const store = open(database, booted);
  await store.flush(patienceMs);
  await eventually(() => expect(store.status().state).toBe('VALID'));
  expect(database.texts()).toEqual(textsOfMemory(newest));
});

describe('a marker', () => {
  const unhurried = { timings: { ...quickReplica, glanceMs: 3_600_000 } };
  const threeAtOnce = { writes: 3, bytes: 1_000_000 };

  test('is not put when the database was wiped while it was being filled', async () => {
    const database = createFakeDatabase(threeAtOnce);
    let wipes = 0;
    const marked: number[] = [];
    database.after = (call) => {
      if (call === 'apply flag-3 flag-4 flag-5' && wipes++ === 0) database.wipe();
      if (database.inited) marked.push(database.rows.features.size);
    };
    await openWriter(database, createMemory(...flags(8)), unhurried);
    await eventually(() => expect(database.inited).toBe(true));
    expect(wipes).toBe(2);
    expect(new Set(marked)).toEqual(new Set([8]));
  });

  test('is not put when others wrote as many other flags in place of those that were lost', async () => {
    const database = createFakeDatabase(threeAtOnce);
    const marked: string[][] = [];
    let losses = 0;
    database.after = (call) => {
      if (call === 'apply flag-3 flag-4 flag-5' && losses++ === 0) {
        for (const key of ['flag-1', 'flag-4']) database.rows.features.delete(key);
        for (const key of ['more-1', 'more-4']) database.put(flag(key, 1));
      }
      if (database.inited) marked.push([...database.rows.features.keys()]);
    };
    await openWriter(database, createMemory(...flags(8)), unhurried);
    await eventually(() => expect(database.inited).toBe(true));
    expect(losses).toBe(1);
    const all = flags(8).map(({ key }) => key);
    for (const keys of marked) expect(keys).toEqual(expect.arrayContaining(all));
  });

  test('that another relay took away is not put back by one that has not seen the loss', async () => {
    const database = createFakeDatabase(threeAtOnce);
    const memory = createMemory(...flags(8));
    const store = await openWriter(database, memory, unhurried);
    // The other one found a loss, and has filled one row of two with a flag of its own.
    database.inited = false;
    database.rows.features.delete('flag-1');
    database.put(flag('more-1', 1));
    const marked: boolean[] = [];
    database.after = () => void (database.inited && marked.push(database.rows.features.has('flag-1')));
    memory.set(flag('flag-2', 2));
    await store.flush(patienceMs);
    await eventually(() => expect(database.inited).toBe(true));
    expect(new Set(marked)).toEqual(new Set([true]));
  });

  test.each([
    ['with its manifest', true],
    ['without a manifest', false],
  ])('is taken from a set that lost its flags, %s, before the first of them is back', async (_, keepsManifest) => {
    const database = createFakeDatabase(threeAtOnce);
    const memory = createMemory(...flags(8), segment('s', 1));
    await (await openWriter(database, memory, unhurried)).close();
    database.rows.features.clear();
    if (!keepsManifest) database.manifest = undefined;
    database.calls.length = 0;
    await openWriter(database, memory, unhurried);
    const [first, ...rest] = database.calls.filter((call) => call === 'unmark' || call.startsWith('apply'));
    expect(first).toBe('unmark');
    expect(rest.map((call) => call.endsWith('+'))).toEqual([false, false, true]);
  });

  test('stays on a set that is merely old', async () => {
    const database = createFakeDatabase(threeAtOnce);
    await (await openWriter(database, createMemory(...flags(8)), unhurried)).close();
    database.calls.length = 0;
    await openWriter(database, createMemory(...flags(8, 2), flag('new', 1)), unhurried);
    expect(database.calls).not.toContain('unmark');
    expect(database.rows.features.size).toBe(9);
  });

  test('stays when another writer removed tombstones', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), tombstone('features', 'gone', 2));
    const store = await openWriter(database, memory, unhurried);
    database.rows.features.delete('gone');
    database.calls.length = 0;
    memory.set(flag('a', 2));
    await store.flush(patienceMs);
    expect(database.calls).toEqual(['apply a+']);
  });
});

describe('a tombstone', () => {
  const shortLived = { ...quickReplica, reconcileMs: 20, tombstoneMs: 60 };
  const longLived = { ...quickReplica, reconcileMs: 20 };
  const buried = tombstone('features', 'buried', 3);

  test('leaves the store when it has been there long enough and memory was confirmed since', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), tombstone('features', 'gone', 2));
    database.put(buried);
    let checkedNow = 0;
    await openWriter(database, memory, { timings: shortLived, checkedNow: () => checkedNow });
    const { manifest } = database;
    database.calls.length = 0;
    await eventually(() => expect(database.calls.filter((call) => call === 'readAll').length).toBeGreaterThan(10));
    expect(Object.keys(database.texts().features!).sort()).toEqual(['a', 'buried', 'gone']);
    stepClock(-3_600_000);
    checkedNow = performance.now();
    await eventually(() => expect(Object.keys(database.texts().features!)).toEqual(['a']));
    // The set is the same without it.
    expect(database.manifest).toBe(manifest);
    expect(database.calls).not.toContain('unmark');
    database.calls.length = 0;
    await eventually(() => expect(database.calls.filter((call) => call === 'readAll').length).toBeGreaterThan(5));
    expect(applies(database)).toEqual([]);
  });

  test('stays when its item is younger than the rule says', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), tombstone('features', 'gone', 2));
    await openWriter(database, memory, { timings: longLived });
    database.calls.length = 0;
    await eventually(() => expect(database.calls.filter((call) => call === 'readAll').length).toBeGreaterThan(10));
    expect(database.texts()).toEqual(textsOfMemory(memory));
  });

  test('that another relay removed is not written again, unless the store lost everything', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), tombstone('features', 'gone', 2), tombstone('features', 'kept', 2));
    await openWriter(database, memory, { timings: longLived });
    const someReadings = async () => {
      database.calls.length = 0;
      await eventually(() => expect(database.calls.filter((call) => call === 'readAll').length).toBeGreaterThan(5));
    };
    await someReadings();
    database.rows.features.delete('gone');
    await someReadings();
    expect(Object.keys(database.texts().features!).sort()).toEqual(['a', 'kept']);
    database.wipe();
    await eventually(() => expect(Object.keys(database.texts().features!).sort()).toEqual(['a', 'kept']));
    expect(database.inited).toBe(true);
  });

  test('that was removed keeps out no flag of that key, and a new deletion is stored again @heavy', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), tombstone('features', 'gone', 2));
    const store = await openWriter(database, memory, { timings: { ...shortLived, tombstoneMs: 400 } });
    await eventually(() => expect(Object.keys(database.texts().features!)).toEqual(['a']));
    memory.set(flag('gone', 3));
    await store.flush(patienceMs);
    expect(database.texts()).toEqual(textsOfMemory(memory));
    memory.set(tombstone('features', 'gone', 4));
    await store.flush(patienceMs);
    expect(database.rows.features.get('gone')).toBe(tombstone('features', 'gone', 4).json);
  });
});

test('an item that does not fit keeps its old copy and is named until it fits', async () => {
  const database = createFakeDatabase();
  const memory = createMemory(flag('a', 1), flag('b', 1));
  const store = await openWriter(database, memory);
  memory.set(flag('a', 2, { description: 'x'.repeat(20_000) }), flag('b', 2));
  await store.flush(patienceMs);
  expect(store.status().oversized).toEqual([expect.stringMatching(/^features\/a: it has \d+ bytes$/)]);
  expect(database.texts().features).toEqual({ a: flag('a', 1).json, b: flag('b', 2).json });
  memory.set(flag('a', 3));
  await store.flush(patienceMs);
  expect(store.status().oversized).toBeUndefined();
  expect(database.texts()).toEqual(textsOfMemory(memory));
});

describe('a store says whose data it holds', () => {
  /** Fills a store from one source, then gives memory another one's data. */
  async function change(next: Item[] = [], foreign: Item[] = []) {
    const database = createFakeDatabase({ writes: 1, bytes: 1_000_000 });
    const memory = createMemory(flag('a', 5), flag('b', 5), flag('c', 5));
    memory.source = 'one';
    const store = await openWriter(database, memory);
    const sources: unknown[] = [];
    database.after = (call) => {
      if (call.startsWith('apply')) sources.push(sourceIn(database));
    };
    database.calls.length = 0;
    foreign.forEach(database.put);
    memory.source = 'other';
    if (next.length > 0) memory.put(next);
    return { database, memory, store, sources };
  }
  const sourceIn = ({ manifest }: FakeDatabase) => JSON.parse(manifest ?? '{}').source;

  test('before its first and until after its last item of another source, it is nobody’s', async () => {
    const { database, memory, sources } = await change([flag('a', 6), flag('b', 6), flag('c', 6)]);
    await eventually(() => expect(sourceIn(database)).toBe('other'));
    expect(applies(database)).toEqual(['apply +', 'apply a', 'apply b', 'apply c+']);
    expect(sources).toEqual(['', '', '', 'other']);
    expect(database.texts()).toEqual(textsOfMemory(memory));
  });

  test('it stays nobody’s as long as one row is another source’s, such as one with a higher version', async () => {
    const { database, memory, sources } = await change([flag('a', 6), flag('b', 6), flag('c', 6)], [flag('b', 9)]);
    await eventually(() => expect(sourceIn(database)).toBe('other'));
    const overruled = applies(database).findLastIndex((call) => call.startsWith('apply b'));
    expect(overruled).toBeGreaterThan(0);
    expect(sources.slice(0, overruled)).toEqual(sources.slice(0, overruled).map(() => ''));
    expect(database.texts()).toEqual(textsOfMemory(memory));
  });

  test('it stays nobody’s until a flag that the new source does not have is gone', async () => {
    const { database, sources } = await change([flag('a', 6), flag('b', 6), tombstone('features', 'c', 6)]);
    await eventually(() => expect(sourceIn(database)).toBe('other'));
    expect(database.rows.features.get('c')).toBe(tombstone('features', 'c', 6).json);
    expect(sources.indexOf('other')).toBe(sources.length - 1);
  });

  test('if memory’s source changes in the middle of a write, what is stored is nobody’s', async () => {
    const database = createFakeDatabase({ writes: 1, bytes: 1_000_000 });
    const memory = createMemory(flag('a', 5), flag('b', 5));
    memory.source = 'one';
    await openWriter(database, memory);
    const sources: unknown[] = [];
    database.after = (call) => {
      if (!call.startsWith('apply')) return;
      sources.push(sourceIn(database));
      if (call !== 'apply a') return;
      memory.source = 'other';
      memory.put([flag('a', 3), flag('b', 3)]);
    };
    memory.set(flag('a', 6), flag('b', 6));
    await eventually(() => expect(sourceIn(database)).toBe('other'));
    // `a` was still written as data of the first source.
    expect(sources[0]).toBe('one');
    expect(new Set(sources.slice(1, -1))).toEqual(new Set(['']));
    expect(database.texts()).toEqual(textsOfMemory(memory));
  });

  test('the same data under another key only gets another name', async () => {
    const { database, store, sources } = await change();
    store.setEligible(false);
    store.setEligible(true);
    await eventually(() => expect(sourceIn(database)).toBe('other'));
    expect(applies(database)).toEqual(['apply +']);
    expect(sources).toEqual(['other']);
  });

  test('a newer item of another relay does not make it nobody’s', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 5), flag('b', 5));
    memory.source = 'one';
    const store = await openWriter(database, memory, { timings: { ...quickReplica, secondLookMs: 3_600_000 } });
    database.put(flag('a', 6));
    memory.set(flag('b', 6));
    await store.flush(patienceMs);
    expect(sourceIn(database)).toBe('one');
  });

  test('a set of an earlier version gets a name once it equals memory', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 5), flag('b', 5));
    const earlier = await openWriter(database, memory);
    await earlier.close();
    expect(sourceIn(database)).toBeUndefined();
    memory.source = 'one';
    await openWriter(database, memory);
    expect(sourceIn(database)).toBe('one');
  });
});

describe('booting from a store', () => {
  const read = async (database: FakeDatabase) =>
    (await open(database, createMemory(), { writer: 'never' }).read())?.items;

  test('reads everything that was written', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), tombstone('features', 'b', 2), segment('s', 1));
    await openWriter(database, memory);
    expect(await read(database)).toEqual(expect.arrayContaining(memory.all()));
  });

  test.each([
    ['a flag is missing', (database: FakeDatabase) => database.rows.features.delete('flag-3')],
    ['all segments are missing', (database: FakeDatabase) => database.rows.segments.clear()],
    ['a version is not the one that was written', (database: FakeDatabase) => database.put(flag('flag-3', 7))],
    ['an item cannot be read', (database: FakeDatabase) => database.rows.features.set('flag-3', '{')],
    ['something was added', (database: FakeDatabase) => database.put(flag('more', 1))],
  ])('rejects a set in which %s', async (_, damage) => {
    const database = createFakeDatabase();
    const writer = await openWriter(database, createMemory(...flags(5), segment('s', 1)));
    await writer.close();
    damage(database);
    expect(await read(database)).toBeUndefined();
    expect(log.lines.join()).toContain('set in the store is not complete');
  });

  test('reads a set again that another writer is changing', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(...flags(5));
    await openWriter(database, memory);
    const { json } = memory.get('features', 'flag-3')!;
    database.rows.features.delete('flag-3');
    database.after = (call) => void (call === 'readAll' && database.rows.features.set('flag-3', json));
    expect(await read(database)).toHaveLength(5);
  });

  test('without a manifest and without a flag rejects the set, since its flags may have been evicted', async () => {
    const database = createFakeDatabase();
    database.put(segment('s', 1));
    database.inited = true;
    expect(await read(database)).toBeUndefined();
    expect(log.lines.join()).toContain('no manifest and no flag; not using it');
  });

  test('of an environment without flags reads the empty set that its manifest states', async () => {
    const database = createFakeDatabase();
    await openWriter(database, createEmptyMemory());
    expect(await read(database)).toEqual([]);
  });

  test('without a manifest relies on the marker, and logs that the set cannot be verified', async () => {
    const database = createFakeDatabase();
    database.put(flag('a', 1));
    expect(await read(database)).toBeUndefined();
    database.inited = true;
    expect(await read(database)).toEqual([flag('a', 1)]);
    expect(log.lines.join()).toContain('cannot be verified');
  });

  test('rejects a set without an item that was too large for the store', async () => {
    const database = createFakeDatabase();
    await openWriter(database, createMemory(flag('a', 1), flag('large', 1, { description: 'x'.repeat(20_000) })));
    expect(await read(database)).toBeUndefined();
    expect(log.lines.join()).toContain('too large');
  });

  test('reports its invalid items in one line, and again after a minute at the earliest', async () => {
    const database = createFakeDatabase();
    for (let index = 0; index < 1_000; index += 1) database.rows.features.set(`broken-${index}`, '[]');
    database.put(flag('a', 1));
    database.inited = true;
    const store = open(database, createMemory());
    for (let look = 0; look < 3; look += 1) expect((await store.read())?.items).toHaveLength(1);
    const skipped = log.lines.filter((line) => line.startsWith('error: Items in the store are invalid'));
    expect(skipped).toHaveLength(1);
    expect(skipped[0]).toContain('"items":1000,"problem":"features \\"broken-0\\"');
  });

  test('fails with STORE_UNAVAILABLE and the name of the database', async () => {
    const database = createFakeDatabase();
    database.before = () => {
      throw new Error('down');
    };
    await expect(read(database)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: 'redis at fake: Error: down',
    });
  });
});

const runs = process.env.LONG ? 500 : 4;
const seed = process.env.SEED ?? 'write-behind';
test(`the store equals memory after ${runs} schedules of two writers, failures and lost answers (SEED=${seed}) @heavy`, async () => {
  for (let run = 0; run < runs; run++) {
    const random = randomFrom(`${seed} ${run}`);
    const whole = (below: number) => Math.floor(random() * below);
    const database = createFakeDatabase({ writes: 1 + whole(4), bytes: 100_000 });
    let calm = false;
    const trouble = async () => {
      await sleep(whole(3));
      if (!calm && random() < 0.15) throw new Error('by chance');
    };
    database.before = trouble;
    database.after = trouble;
    const memories = [createMemory(flag('k0', 1)), createMemory(flag('k0', 1))];
    const stores = memories.map((memory) => {
      const timings = { ...quickReplica, glanceMs: 5, reconcileMs: 30, secondLookMs: 40, retryCapMs: 10 };
      const store = open(database, memory, { timings });
      store.setEligible(true);
      return store;
    });
    let version = 1;
    for (let change = 0; change < 12; change++) {
      version += 1;
      const key = `k${whole(4)}`;
      const item = random() < 0.25 ? tombstone('features', key, version) : flag(key, version);
      memories[0]!.set(item);
      // The other gets it a moment later, as with two relays of one stream.
      if (random() < 0.5) await sleep(whole(4));
      memories[1]!.set(item);
      const dice = random();
      if (dice < 0.1) database.wipe();
      else if (dice < 0.2) database.put(flag(key, version + whole(9), { on: false }));
      else if (dice < 0.3) database.put(flag(`stranger${whole(3)}`, 1));
      await sleep(whole(6));
    }
    calm = true;
    const reader = open(database, createMemory(), { writer: 'never' });
    await eventually(async () => {
      const texts = { run, ...database.texts(), inited: database.inited };
      expect(texts).toEqual({ run, ...textsOfMemory(memories[0]!), inited: true });
      // The manifest agrees.
      expect((await reader.read())?.items).toHaveLength(memories[0]!.all().length);
    });
    await Promise.all([reader, ...stores].map((store) => store.close()));
  }
}, 600_000);

test(`a marker never vouches for a part of the set after a write, in ${runs} schedules of losses (SEED=${seed}) @heavy`, async () => {
  for (let run = 0; run < runs; run++) {
    const random = randomFrom(`${seed} loss ${run}`);
    const whole = (below: number) => Math.floor(random() * below);
    const database = createFakeDatabase({ writes: 1 + whole(4), bytes: 100_000 });
    const partial: string[] = [];
    database.before = () => sleep(whole(3));
    database.after = (call) => {
      const count = flags(12).filter(({ key }) => database.rows.features.has(key)).length;
      if (call.startsWith('apply') && database.inited && count < 12)
        partial.push(`run ${run}: ${call}: ${count} of 12`);
    };
    const memories = [createMemory(...flags(12)), createMemory(...flags(12))];
    const stores = memories.map((memory) => {
      const store = open(database, memory, { timings: { ...quickReplica, glanceMs: 10, retryCapMs: 10 } });
      store.setEligible(true);
      return store;
    });
    for (let version = 2; version < 20; version++) {
      const item = flag(`flag-${whole(15)}`, version);
      for (const memory of memories) {
        if (random() < 0.5) await sleep(whole(6));
        memory.set(item);
      }
      const dice = random();
      if (dice < 0.15) database.wipe();
      else if (dice < 0.3) database.rows.features.clear();
    }
    await eventually(() => {
      expect(database.inited).toBe(true);
      expect(database.texts()).toEqual(textsOfMemory(memories[0]!));
    });
    expect(partial).toEqual([]);
    await Promise.all(stores.map((store) => store.close()));
  }
}, 600_000);
