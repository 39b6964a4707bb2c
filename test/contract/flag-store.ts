/** The contract of a flag store, whatever its database. */
import type { Item } from '../../lib/flag-table/index.ts';
import type { Store } from '../../relay-task/ports.ts';
import { flag, flags, segment, tombstone } from '../relay-task/store/items.ts';
import { eventually, PATIENCE_MS } from '../support/eventually.ts';
import { flag as completeFlag, segment as completeSegment, shortTombstone } from '../support/items.ts';
import { createMemory, type Memory } from '../support/memory.ts';

/** One test's own database. */
export interface StoreDatabase {
  /** How many items are written at once, or in one transaction. */
  readonly atOnce: number;
  /** A store in this database that receives the memory's changes; `never`: one that may only read. */
  open(memory: Memory, writer: 'auto' | 'never'): Promise<Store>;
  /** Removes rows and marks as an accident does: everything, or all flags with the marks left standing. */
  lose(what: 'everything' | 'flags'): Promise<void>;
  /** What an SDK in daemon mode finds that opens now: the marker `$inited`, and the number of flags. */
  look(): Promise<{ readonly marked: boolean; readonly flags: number }>;
  /** What such an SDK reads of these items, as `kind/key`: their JSON. */
  texts(): Promise<Readonly<Record<string, string>>>;
  /** Closes all stores, and the database. */
  close(): Promise<void>;
}

const patienceMs = 60_000;
const nameOf = ({ kind, key }: Item) => `${kind}/${key}`;

export function describeFlagStore(name: string, start: () => Promise<StoreDatabase>): void {
  describe(name, () => {
    let database: StoreDatabase;
    const moreThanAtOnce = () => (process.env.LONG ? 250 : database.atOnce + 20);
    beforeEach(async () => {
      database = await start();
    });
    afterEach(() => database.close());

    async function openWriter(memory: Memory): Promise<Store> {
      const store = await database.open(memory, 'auto');
      store.setEligible(true);
      return store;
    }

    async function readBack(): Promise<Item[] | undefined> {
      const set = await (await database.open(createMemory(), 'never')).read();
      return set && [...set.items].sort((a, b) => (a.kind + a.key < b.kind + b.key ? -1 : 1));
    }

    test('an empty database has no flag set, rather than an empty one', async () => {
      expect(await readBack()).toBeUndefined();
    });

    test('the flag set that is in memory when writing begins is stored without waiting for a change @heavy', async () => {
      const memory = createMemory(segment('s', 3), flag('a', 7), tombstone('features', 'gone', 2));
      const store = await openWriter(memory);
      await store.flush(patienceMs);
      expect(await readBack()).toEqual([flag('a', 7), tombstone('features', 'gone', 2), segment('s', 3)]);
    });

    test('stores changes, and deletions as tombstones @heavy', async () => {
      const memory = createMemory(flag('a', 1), flag('b', 1));
      const store = await openWriter(memory);
      await store.flush(patienceMs);
      memory.set(flag('a', 2, { on: false }));
      memory.set(tombstone('features', 'b', 2), segment('new', 1));
      await store.flush(patienceMs);
      expect(await readBack()).toEqual([flag('a', 2, { on: false }), tombstone('features', 'b', 2), segment('new', 1)]);
    });

    test('has a stamp that changes with the set and only then, also for one that may only read @heavy', async () => {
      const memory = createMemory(flag('a', 1));
      const store = await openWriter(memory);
      const reader = await database.open(createMemory(), 'never');
      expect(await reader.stamp()).toBeUndefined();
      await store.flush(patienceMs);
      const stamps = [await reader.stamp(), await reader.stamp(), await store.stamp()];
      expect(stamps).toEqual([expect.any(String), stamps[0], stamps[0]]);
      memory.set(flag('a', 2));
      await store.flush(patienceMs);
      const changed = await reader.stamp();
      expect(changed).toEqual(expect.any(String));
      expect(changed).not.toBe(stamps[0]);
      memory.set(tombstone('features', 'a', 3), flag('b', 1));
      await store.flush(patienceMs);
      expect(await reader.stamp()).not.toBe(changed);
    });

    test('stores the last of many versions @heavy', async () => {
      const memory = createMemory(flag('a', 1));
      const store = await openWriter(memory);
      for (let version = 2; version <= 50; version++) memory.set(flag('a', version));
      await store.flush(patienceMs);
      expect(await readBack()).toEqual([flag('a', 50)]);
    });

    test('follows memory back to older versions @heavy', async () => {
      const memory = createMemory(flag('a', 9), flag('b', 5, { on: true }));
      const store = await openWriter(memory);
      await store.flush(patienceMs);
      memory.set(flag('a', 3), flag('b', 5, { on: false }));
      await store.flush(patienceMs);
      expect(await readBack()).toEqual([flag('a', 3), flag('b', 5, { on: false })]);
    });

    test('no reader finds a new version of a flag beside an old one of its prerequisite, or of what that needs @heavy', async () => {
      const naming = (key: string, version: number, name: string) =>
        flag(key, version, { prerequisites: [{ key: name, variation: 0 }] });
      // With more flags in between than are written at once.
      const all = (version: number) => [
        ...[naming('first', version, 'second'), ...flags(moreThanAtOnce(), version)],
        ...[naming('second', version, 'third'), flag('third', version)],
      ];
      const memory = createMemory(...all(1));
      const store = await openWriter(memory);
      await store.flush(patienceMs);
      const versionIn = (text: string | undefined): number => JSON.parse(text ?? '{"version":0}').version;
      const look = async () => {
        const texts = await database.texts();
        return ['first', 'second', 'third'].map((key) => versionIn(texts[`features/${key}`]));
      };
      const deadline = performance.now() + PATIENCE_MS;
      memory.set(...all(2));
      for (let seen = await look(); seen[0] !== 2; seen = await look()) {
        expect(seen).toEqual([...seen].sort());
        if (performance.now() > deadline) throw new Error(`never written: ${seen.join(' ')}`);
      }
      expect(await look()).toEqual([2, 2, 2]);
    });

    test('keeps JSON byte for byte, unusual formatting included @heavy', async () => {
      const json = '{ "key":"a", "version":1, "deleted":false, "later": {"\\u00e9":[1.0, null, "💡"]}, "on":true }';
      const memory = createMemory({ kind: 'features', key: 'a', version: 1, deleted: false, json });
      const store = await openWriter(memory);
      await store.flush(patienceMs);
      expect((await readBack())?.[0]?.json).toBe(json);
    });

    test('stores every item of a large environment unchanged @heavy', async () => {
      const many = Array.from({ length: 100 }, (_, index) =>
        flag(`flag-${index}`, index + 1, { salt: `salt-${index}` }),
      );
      const memory = createMemory(segment('s', 1), ...many);
      const store = await openWriter(memory);
      await store.flush(patienceMs);
      const wanted = [...many].sort((a, b) => (a.key < b.key ? -1 : 1));
      expect(await readBack()).toEqual([...wanted, segment('s', 1)]);
    });

    test('stores an item of 300 KB and one with an unusual key like any other @heavy', async () => {
      const large = flag('large', 1, { description: 'é'.repeat(150_000) });
      const unusual = flag('a b/ü:%2F?#', 1);
      const memory = createMemory(large, unusual);
      const store = await openWriter(memory);
      await store.flush(patienceMs);
      memory.set(flag('a b/ü:%2F?#', 2));
      await store.flush(patienceMs);
      expect(await readBack()).toEqual([flag('a b/ü:%2F?#', 2), large]);
    });

    test('short tombstones and incomplete items that are in the database are replaced by complete ones @heavy', async () => {
      const [known, segments, unknown] = [
        shortTombstone('features', 'known', 2),
        shortTombstone('segments', 'known', 3),
        shortTombstone('features', 'unknown', 4),
      ];
      // What earlier versions wrote.
      const earlier = await openWriter(createMemory(flag('a', 5), segment('s', 6), known, segments, unknown));
      await earlier.flush(patienceMs);
      await earlier.close();
      expect(await database.texts()).toMatchObject({ 'features/known': known.json, 'features/a': flag('a', 5).json });
      const held = [
        completeFlag('a', 5, { ...JSON.parse(flag('a', 5).json) }),
        completeSegment('s', 6),
        tombstone('features', 'known', 2),
        tombstone('segments', 'known', 3),
      ];
      const later = await openWriter(createMemory(...held));
      await later.flush(patienceMs);
      const wanted = [...held, tombstone('features', 'unknown', 4)];
      expect(await database.texts()).toEqual(Object.fromEntries(wanted.map((item) => [nameOf(item), item.json])));
    });

    test('complete items of another writer are kept, in whatever order their fields are @heavy', async () => {
      const reversed = (item: Item): Item => ({
        ...item,
        json: JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(item.json)).reverse())),
      });
      const items = [completeFlag('a', 5), completeSegment('s', 6), tombstone('features', 'gone', 2)];
      const theirs = items.map(reversed);
      const first = await openWriter(createMemory(...theirs));
      await first.flush(patienceMs);
      await first.close();
      const second = await openWriter(createMemory(...items));
      await second.flush(patienceMs);
      expect(await database.texts()).toEqual(Object.fromEntries(theirs.map((item) => [nameOf(item), item.json])));
    });

    test('two tasks that write the same flag set at the same time leave exactly that set @heavy', async () => {
      const memories = [createMemory(flag('a', 1), flag('b', 1)), createMemory(flag('a', 1), flag('b', 1))];
      const stores = await Promise.all(memories.map(openWriter));
      await Promise.all(stores.map((store) => store.flush(patienceMs)));
      for (let version = 2; version <= 10; version++) {
        for (const memory of memories) memory.set(flag('a', version), tombstone('features', 'b', version));
      }
      await Promise.all(stores.map((store) => store.flush(patienceMs)));
      expect(await readBack()).toEqual([flag('a', 10), tombstone('features', 'b', 10)]);
    });

    test('a new task keeps what its predecessor stored, and adds newer versions @heavy', async () => {
      const first = await openWriter(createMemory(flag('a', 1), flag('b', 2), tombstone('features', 'c', 3)));
      await first.flush(patienceMs);
      await first.close();
      const second = await openWriter(createMemory(flag('a', 1), flag('b', 5)));
      await second.flush(patienceMs);
      expect(await readBack()).toEqual(expect.arrayContaining([flag('a', 1), flag('b', 5)]));
    });

    const sourceRead = async () => (await (await database.open(createMemory(), 'never')).read())?.source;

    test('says whose data it holds, and who has it after other data of another source @heavy', async () => {
      const memory = createMemory(flag('a', 5), flag('b', 5), segment('s', 5));
      memory.source = 'one';
      const store = await openWriter(memory);
      await store.flush(patienceMs);
      expect(await sourceRead()).toBe('one');
      memory.set(flag('a', 6));
      await store.flush(patienceMs);
      expect(await sourceRead()).toBe('one');
      memory.source = 'other';
      memory.set(flag('a', 9), flag('b', 6), segment('s', 6));
      await eventually(async () => expect(await sourceRead()).toBe('other'));
      expect(await readBack()).toEqual([flag('a', 9), flag('b', 6), segment('s', 6)]);
    });

    test('says whose data it holds after the next task got the same data from another source @heavy', async () => {
      const memory = createMemory(flag('a', 5));
      memory.source = 'one';
      const first = await openWriter(memory);
      await first.flush(patienceMs);
      await first.close();
      memory.source = 'other';
      const second = await openWriter(memory);
      await second.flush(patienceMs);
      expect(await sourceRead()).toBe('other');
    });

    test('does not say whose data it holds if the writer does not know @heavy', async () => {
      const store = await openWriter(createMemory(flag('a', 1)));
      await store.flush(patienceMs);
      expect(await sourceRead()).toBeUndefined();
    });

    test.each(['everything', 'flags'] as const)(
      'a store that lost %s is marked complete only once it is complete again @heavy',
      async (what) => {
        const many = moreThanAtOnce();
        const memory = createMemory(...flags(many), segment('s', 1));
        const store = await openWriter(memory);
        await store.flush(patienceMs);
        expect(await database.look()).toEqual({ marked: true, flags: many });
        await database.lose(what);
        memory.set(flag('new', 1));
        // Nobody can prevent that lost flags leave the marker behind; from the first write on it is gone.
        let written = what === 'everything';
        const partial: unknown[] = [];
        const deadline = performance.now() + PATIENCE_MS;
        for (let seen = await database.look(); seen.flags <= many || !seen.marked; seen = await database.look()) {
          written ||= seen.flags > 0;
          if (written && seen.marked) partial.push(seen);
          if (performance.now() > deadline) throw new Error(`never complete again: ${JSON.stringify(seen)}`);
        }
        expect(partial).toEqual([]);
        await store.flush(patienceMs);
        expect(await readBack()).toHaveLength(many + 2);
      },
    );

    test('writes nothing while the task is not eligible', async () => {
      const memory = createMemory(flag('a', 1));
      const store = await database.open(memory, 'auto');
      memory.set(flag('a', 2));
      await store.flush(patienceMs);
      expect(store.status().writer).toBe(false);
      expect(await readBack()).toBeUndefined();
    });

    test('writes nothing if it may only read, even if the task is eligible', async () => {
      const memory = createMemory(flag('a', 1));
      const store = await database.open(memory, 'never');
      store.setEligible(true);
      memory.set(flag('a', 2));
      await store.flush(patienceMs);
      expect(await readBack()).toBeUndefined();
    });

    test('reports its state, since when, and whether it writes @heavy', async () => {
      const memory = createMemory(flag('a', 1));
      const store = await openWriter(memory);
      await store.flush(patienceMs);
      const status = store.status();
      expect(status).toMatchObject({ state: 'VALID', writer: true });
      expect(Math.abs(status.stateSince - Date.now())).toBeLessThan(60_000);
    });

    test('writes nothing after close, and lets another store take over @heavy', async () => {
      const memory = createMemory(flag('a', 1));
      const first = await openWriter(memory);
      await first.flush(patienceMs);
      await first.close();
      await first.close();
      const successor = createMemory(flag('a', 2));
      const second = await openWriter(successor);
      await second.flush(patienceMs);
      memory.set(flag('a', 3));
      await first.flush(100);
      expect(first.status().writer).toBe(false);
      expect(await readBack()).toEqual([flag('a', 2)]);
    });
  });
}
