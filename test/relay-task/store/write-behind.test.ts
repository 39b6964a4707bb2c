import type { Store } from '../../../relay-task/ports.ts';
import { createReplicaStore, type ReplicaStoreOptions } from '../../../relay-task/store/replica-store.ts';
import { eventually } from '../../support/eventually.ts';
import { randomFrom } from '../../support/random.ts';
import { createFakeDatabase, type FakeDatabase } from './fake-database.ts';
import { createMemory, flag, flags, type Memory, segment, tombstone } from './memory.ts';
import { listenToLog, quickReplica, textsOfMemory } from './open-replicas.ts';

const patienceMs = 10_000;
let log = listenToLog();
const opened: Store[] = [];
beforeEach(() => {
  log = listenToLog();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
});

function open(database: FakeDatabase, memory: Memory, options: Partial<ReplicaStoreOptions> = {}): Store {
  const store = createReplicaStore(
    { prefix: 'env', view: memory, writer: 'auto', log, timings: quickReplica, ...options },
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

const applies = ({ calls }: FakeDatabase) => calls.filter((call) => call.startsWith('apply'));

/** Holds calls back until `release`. */
function gate(): { wait: () => Promise<void>; release(): void } {
  let release = () => {};
  const opened = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { wait: () => opened, release };
}

test('while a write is under way only the newest version of each item waits, and it goes next', async () => {
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

test('segments are written before flags, no more at once than the database takes, and the marks after everything', async () => {
  const database = createFakeDatabase({ writes: 2, bytes: 1_000_000 });
  await openWriter(
    database,
    createMemory(flag('f1', 1), segment('s1', 1), flag('f2', 1), segment('s2', 1), flag('f3', 1)),
  );
  expect(applies(database)).toEqual(['apply s1 s2', 'apply f1 f2', 'apply f3+']);
});

test('a batch ends where its bytes would be too many; one large item goes alone', async () => {
  const database = createFakeDatabase({ writes: 100, bytes: 1_000 });
  const large = flag('large', 1, { description: 'x'.repeat(2_000) });
  await openWriter(database, createMemory(flag('a', 1), large, flag('b', 1), flag('c', 1)));
  expect(applies(database)).toEqual(['apply a', 'apply large', 'apply b c+']);
});

test('what already stands there as memory has it is not written again, whatever wrote it', async () => {
  const database = createFakeDatabase();
  const reserialised = {
    ...flag('a', 4),
    json: `{"version":4,"on":true,"key":"a","fallthrough":{"variation":0},"variations":[true,false],"salt":""}`,
  };
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

test('after an outage what is different is read first, and only that is written', async () => {
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

test('a write that was done although its answer was lost is not done twice', async () => {
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

test('pauses between failing tries double up to the longest, each with jitter', async () => {
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
    // The first try is the one that setEligible wakes.
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

test('when versions fell during an outage, the store follows without a second look', async () => {
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

describe('what other hands wrote', () => {
  const watchful = { ...quickReplica, reconcileMs: 40 };

  test('is put right at the next comparison if it is older, other or broken', async () => {
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

  test('is left alone at first if it is newer, and taken back only if it still stands at the second look', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('stays', 5), flag('heard', 5), flag('other', 1));
    await openWriter(database, memory, { timings: { ...watchful, secondLookMs: 400 } });
    database.put(flag('stays', 9, { on: false }));
    database.put(flag('heard', 6, { on: false }));
    memory.set(flag('other', 2));
    await eventually(() => expect(database.rows.features.get('other')).toBe(flag('other', 2).json));
    expect(database.rows.features.get('stays')).toBe(flag('stays', 9, { on: false }).json);
    memory.set(flag('heard', 6, { on: false }));
    await eventually(() => expect(database.texts()).toEqual(textsOfMemory(memory)));
    expect(log.lines.filter((line) => line.includes('not what LaunchDarkly sent'))).toHaveLength(1);
  });

  test('is removed at the second look if memory never knew it; tombstones stay', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1));
    await openWriter(database, memory, { timings: watchful });
    database.put(flag('stranger', 3));
    database.put(tombstone('segments', 'buried', 3));
    await eventually(() => expect(Object.keys(database.texts().features ?? {})).toEqual(['a']));
    expect(database.rows.segments.has('buried')).toBe(true);
  });

  test('is taken back only once memory was confirmed after it was seen, where that is told', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 5));
    let checkedAt = Date.now() - 1;
    await openWriter(database, memory, { timings: { ...watchful, glanceMs: 20 }, checkedAt: () => checkedAt });
    database.put(flag('a', 6));
    database.calls.length = 0;
    await eventually(() => expect(database.calls.filter((call) => call === 'readAll').length).toBeGreaterThan(10));
    expect(database.rows.features.get('a')).toBe(flag('a', 6).json);
    checkedAt = Date.now() + 1;
    await eventually(() => expect(database.rows.features.get('a')).toBe(flag('a', 5).json));
  });

  test('is never overwritten unseen: a refused write answers with what stands there', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), flag('b', 1));
    const store = await openWriter(database, memory, { timings: { ...quickReplica, glanceMs: 3_600_000 } });
    database.put(flag('a', 2));
    database.put(flag('b', 7, { on: false }));
    database.calls.length = 0;
    memory.set(flag('a', 2), flag('b', 2));
    await store.flush(patienceMs);
    // The first was written by an equal writer, the second is newer: neither is written a second time.
    expect(applies(database)).toEqual(['apply a b+', 'apply +']);
    expect(database.rows.features.get('b')).toBe(flag('b', 7, { on: false }).json);
  });

  test('an item that others change all the time holds up no other', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(flag('a', 1), flag('b', 1));
    const store = await openWriter(database, memory);
    let round = 0;
    database.before = (call) => {
      if (call.startsWith('apply a')) database.put(flag('a', 1, { round: round++, on: false }));
    };
    memory.set(flag('a', 2), flag('b', 2));
    await eventually(() => expect(database.rows.features.get('b')).toBe(flag('b', 2).json));
    await store.flush(patienceMs);
    expect(store.status().state).toBe('VALID');
  });
});

describe('glances', () => {
  test('a wiped database is filled again', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(...flags(5), segment('s', 1));
    await openWriter(database, memory);
    database.wipe();
    await eventually(() => expect(database.inited).toBe(true));
    expect(database.texts()).toEqual(textsOfMemory(memory));
  });

  test('a hash that vanished alone is filled again', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(...flags(5), segment('s', 1));
    await openWriter(database, memory);
    database.rows.features.clear();
    await eventually(() => expect(database.texts()).toEqual(textsOfMemory(memory)));
  });

  test('a manifest that is not ours, twice, is looked into: a server fell back to an older state', async () => {
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

  test('while nothing changes nothing but glances is sent', async () => {
    const database = createFakeDatabase();
    await openWriter(database, createMemory(flag('a', 1)), { timings: { ...quickReplica, glanceMs: 10 } });
    database.calls.length = 0;
    await eventually(() => expect(database.calls.length).toBeGreaterThan(10));
    expect(new Set(database.calls)).toEqual(new Set(['glance']));
  });

  test('a store that may only read tells by glances whether the database is there', async () => {
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

test('a task that is no longer eligible writes nothing more, and compares when it is again', async () => {
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

test('memory that was filled from another store takes nothing back from this one', async () => {
  const database = createFakeDatabase();
  const newest = createMemory(flag('a', 9));
  await (await openWriter(database, newest)).close();
  const booted = createMemory(flag('a', 4), flag('b', 1));
  const store = open(database, booted);
  await store.flush(patienceMs);
  await eventually(() => expect(store.status().state).toBe('VALID'));
  expect(database.texts()).toEqual(textsOfMemory(newest));
});

test('an item that does not fit keeps its old copy and is named, until it fits again', async () => {
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

describe('boot', () => {
  const read = (database: FakeDatabase) => open(database, createMemory(), { writer: 'never' }).read();

  test('what was written is whole', async () => {
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
  ])('a set in which %s is not served as whole', async (_, damage) => {
    const database = createFakeDatabase();
    const writer = await openWriter(database, createMemory(...flags(5), segment('s', 1)));
    await writer.close();
    damage(database);
    expect(await read(database)).toBeUndefined();
    expect(log.lines.join()).toContain('set in the store is not complete');
  });

  test('a set that another writer is just changing is read a second time', async () => {
    const database = createFakeDatabase();
    const memory = createMemory(...flags(5));
    await openWriter(database, memory);
    const { json } = memory.get('features', 'flag-3')!;
    database.rows.features.delete('flag-3');
    database.after = (call) => void (call === 'readAll' && database.rows.features.set('flag-3', json));
    expect(await read(database)).toHaveLength(5);
  });

  test('without a manifest the marker decides, and the log says that the set cannot be verified', async () => {
    const database = createFakeDatabase();
    database.put(flag('a', 1));
    expect(await read(database)).toBeUndefined();
    database.inited = true;
    expect(await read(database)).toEqual([flag('a', 1)]);
    expect(log.lines.join()).toContain('cannot be verified');
  });

  test('a set without an item that was too large for the store is not whole', async () => {
    const database = createFakeDatabase();
    await openWriter(database, createMemory(flag('a', 1), flag('large', 1, { description: 'x'.repeat(20_000) })));
    expect(await read(database)).toBeUndefined();
    expect(log.lines.join()).toContain('too large');
  });

  test('a failing database rejects with STORE_UNAVAILABLE and its name', async () => {
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
test(`whatever two writers, failures and lost answers do, the store ends as memory is (${runs} schedules, SEED=${seed})`, async () => {
  for (let run = 0; run < runs; run++) {
    const random = randomFrom(`${seed} ${run}`);
    const whole = (below: number) => Math.floor(random() * below);
    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const database = createFakeDatabase({ writes: 1 + whole(4), bytes: 100_000 });
    let calm = false;
    const trouble = async () => {
      await pause(whole(3));
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
      // The other hears of it a moment later, as two relays of one stream do.
      if (random() < 0.5) await pause(whole(4));
      memories[1]!.set(item);
      const dice = random();
      if (dice < 0.1) database.wipe();
      else if (dice < 0.2) database.put(flag(key, version + whole(9), { on: false }));
      else if (dice < 0.3) database.put(flag(`stranger${whole(3)}`, 1));
      await pause(whole(6));
    }
    calm = true;
    const reader = open(database, createMemory(), { writer: 'never' });
    await eventually(async () => {
      const texts = { run, ...database.texts(), inited: database.inited };
      expect(texts).toEqual({ run, ...textsOfMemory(memories[0]!), inited: true });
      // The manifest says so, too.
      expect(await reader.read()).toHaveLength(memories[0]!.all().length);
    });
    await Promise.all([reader, ...stores].map((store) => store.close()));
  }
}, 600_000);
