import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { createTurnstile } from '../../../relay-task/common/turnstile.ts';
import { textsOf } from '../../../relay-task/events/parcel.ts';
import { createIndex, type Entry } from '../../../relay-task/events/spool-index.ts';
import type { Journal } from '../../../relay-task/events/spool-journal.ts';
import { type Groups, sortInto } from '../../../relay-task/events/spool-lots.ts';
import type { EventRange, SpoolRecord } from '../../../relay-task/events/spool-records.ts';
import { createSegments } from '../../../relay-task/events/spool-segments.ts';
import { createWriter, type WriterOptions } from '../../../relay-task/events/spool-writer.ts';
import { randomFrom } from '../../support/random.ts';
import { filesIn, newDirectory } from './spool-support.ts';
import { NEVER_MS } from './support.ts';

const journal = { assign() {}, settle() {}, written: async () => {} };

/** Payloads: the ID that each event was sent under. */
function entryOf(id: number, { payloads = [''], bytes = 100 } = {}): Entry {
  const spans = payloads.map((payload, first) => ({ first, events: 1, payload }));
  return { id, at: id, events: payloads.length, journal, since: 0, state: 'pending', spans, bytes };
}

const batchOf = (id: number): SpoolRecord => ({
  kind: 'batch',
  head: { id, at: id, events: 1, sender: 'a', queue: 'q' },
  bytes: Buffer.from(`{"n":${id}}`),
});

describe('The files of the spool', () => {
  const open = (directory: string | undefined, segmentBytes = 1_000_000) =>
    createSegments({ directory: () => directory, lane: createTurnstile({ maxInside: 1 }).run, segmentBytes });

  /** Writes a batch of its own. */
  async function write(segments: ReturnType<typeof open>, id: number): Promise<Entry> {
    const entry = entryOf(id);
    await segments.write([{ record: batchOf(id), entry }]);
    return entry;
  }

  test('give back each batch, also to the process that adopts them', async () => {
    const directory = newDirectory();
    const written = open(directory);
    const entries = [await write(written, 1), await write(written, 2)];
    expect(entries.map(({ state }) => state)).toEqual(['written', 'written']);
    expect(String((await written.load(entries[1]!)).bytes)).toBe('{"n":2}');
    await written.close();

    const adopted = open(directory);
    const read: Entry[] = [];
    const { damage, foreign } = await adopted.adopt((record) => {
      if (record.kind !== 'batch') return undefined;
      read.push(entryOf(record.head.id));
      return read.at(-1);
    });
    expect([damage, foreign, read.map(({ id }) => id)]).toEqual([[], [], [1, 2]]);
    expect(String((await adopted.load(read[0]!)).bytes)).toBe('{"n":1}');
    expect(adopted.bytes).toBe(written.bytes);
  });

  test('tell in place what is settled, so that who adopts them has the rest, under the IDs it was sent with', async () => {
    const random = randomFrom('in place');
    const pick = <T>(choices: readonly T[]) => choices[Math.floor(random() * choices.length)] as T;
    for (let round = 0; round < 100; round++) {
      // A short event leaves no room for what is known of the others.
      const isLong = round % 2 === 0;
      const more = 'x'.repeat(isLong ? 300 : 0);
      const texts = [`{"a":[1,{"b":"],{"}],"c":"${more}"}`, `{"key":"ü\\"ß€${more}"}`, `{ "n" : "${more}" }`];
      const told = (payload: string | undefined, text: string) => `${isLong ? payload : ''} ${text}`;
      const directory = newDirectory();
      const written = open(directory, 2_000);
      const index = createIndex(written.forget);
      const share = createBudget(1_000_000);
      const left: string[] = [];
      for (let id = 1; id <= 5; id++) {
        const events = Array.from({ length: 1 + Math.floor(random() * 6) }, () => pick(texts));
        const head = { id: index.nextId(), at: id, events: events.length, sender: 'a', queue: 'q' };
        const entry = index.add(head, 1, journal, share);
        await written.write([{ record: { kind: 'batch', head, bytes: Buffer.from(events.join(',')) }, entry }]);
        const payloads = events.map(() => pick(['', `p${id}`]));
        const write = (kind: 'assigned' | 'settled', payload: string, ranges: EventRange[]) =>
          written.write([
            { record: kind === 'settled' ? { kind, ranges } : { kind, payload, ranges }, entry: undefined },
          ]);
        // The log tells of what LaunchDarkly was sent, and of a part of what it has taken.
        for (const [first, payload] of payloads.entries())
          if (payload !== '') await write('assigned', payload, index.assign([{ entry, first, events: 1 }], payload));
        for (const [first, text] of events.entries()) {
          const becomes = pick(['settled', 'told', 'left']);
          if (becomes === 'left') left.push(told(payloads[first], text));
          else {
            const ranges = index.settle([{ entry, first, events: 1 }]);
            if (becomes === 'told') await write('settled', '', ranges);
          }
        }
      }
      const { bytes } = written;
      await written.settleInPlace({
        index,
        mayWrite: async () => true,
        failed(error) {
          throw error;
        },
      });
      await written.close();
      expect(filesIn(directory).reduce((sum, path) => sum + statSync(path).size, 0)).toBe(bytes);

      const adopted = open(directory);
      const found = createIndex(adopted.forget);
      const contents = { queues: new Map<Entry, string>(), bodies: [] };
      const { damage } = await adopted.adopt((record) => found.read(record, 1, journal, contents));
      expect(damage).toEqual([]);
      const all: string[] = [];
      for (const entry of found.entries) {
        const batch = await adopted.load(entry);
        for (const { first, events, payload } of entry.spans)
          for (let at = first; at < first + events; at++)
            all.push(
              told(payload, String(await textsOf({ ...batch, events: entry.events }, { first: at, events: 1 })).trim()),
            );
      }
      expect(all).toEqual(left);
      await adopted.close();
    }
  });

  test('tell which bytes are no record and which files are not theirs', async () => {
    const directory = newDirectory();
    const written = open(directory, 1);
    await write(written, 1);
    await write(written, 2);
    await written.close();
    const [first = ''] = readdirSync(directory).sort();
    const path = join(directory, first);
    writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.from('torn')]));
    writeFileSync(join(directory, 'notes.txt'), '');
    const { damage, foreign } = await open(directory).adopt(() => undefined);
    expect(damage).toEqual([{ file: path, lostBytes: 4, isLastRecord: true, records: 1 }]);
    expect(foreign).toEqual(['notes.txt']);
  });

  test('are deleted from the oldest on, up to one with something unsettled', async () => {
    const directory = newDirectory();
    const segments = open(directory, 1);
    const [first, second] = [await write(segments, 1), await write(segments, 2), await write(segments, 3)];
    segments.forget(second!);
    expect((await segments.clean(false))?.live).toEqual(new Set([first]));
    expect(readdirSync(directory)).toHaveLength(3);
    segments.forget(first!);
    expect(await segments.clean(false)).toBeUndefined();
    expect(readdirSync(directory)).toHaveLength(1);
    await segments.remove();
    expect(segments.bytes).toBe(0);
    expect(() => readdirSync(directory)).toThrow('ENOENT');
  });

  test('count nothing as written that was not', async () => {
    const segments = open(undefined);
    await expect(write(segments, 1)).rejects.toThrow('could not be made');
    expect(segments.bytes).toBe(0);
  });
});

describe('What waits to be written', () => {
  /** `write` decides whether a group is written. */
  function start(write: (ids: readonly number[]) => void, more: Partial<WriterOptions> = {}) {
    const told: string[] = [];
    const writer = createWriter({
      lane: createTurnstile({ maxInside: 1 }).run,
      lateMs: NEVER_MS,
      mayWrite: async () => true,
      write: async (group) => write(group.map(({ record, entry }) => (record.kind === 'batch' ? entry!.id : 0))),
      cleanUp: async () => {},
      lost(entry) {
        entry.state = 'lost';
      },
      unkept: (events, reason) => told.push(`${events} ${reason}`),
      recovered: () => told.push('recovered'),
      ...more,
    });
    return { writer, told };
  }

  const settled: SpoolRecord = { kind: 'settled', ranges: [] };

  test('is written in its order, in one group', async () => {
    const groups: (readonly number[])[] = [];
    const { writer } = start((ids) => groups.push(ids));
    for (const id of [1, 2]) writer.append(batchOf(id), entryOf(id));
    writer.append(settled);
    await writer.written();
    expect(groups).toEqual([[1, 2, 0]]);
    expect(writer.isIdle).toBe(true);
  });

  test('is lost if it is a batch and fails, and tried again if it tells of one', async () => {
    const groups: (readonly number[])[] = [];
    const { writer, told } = start((ids) => {
      groups.push(ids);
      if (groups.length === 1) throw new Error('ENOSPC');
    });
    const entry = entryOf(1);
    writer.append(batchOf(1), entry);
    writer.append(settled);
    await writer.written();
    expect([entry.state, told]).toEqual(['lost', ['1 failed']]);
    // The first call waits for the attempt that failed.
    await writer.commit();
    await writer.commit();
    expect(groups).toEqual([[1, 0], [0]]);
    expect(told).toEqual(['1 failed', 'recovered']);
  });

  test('is written in one go with what is known of it, however much that is', async () => {
    const groups: (readonly number[])[] = [];
    const { writer } = start((ids) => groups.push(ids));
    const large = (id: number) => ({ ...batchOf(id), bytes: Buffer.alloc(1024 * 1024) }) as SpoolRecord;
    writer.append(large(1), entryOf(1), [settled, settled]);
    writer.append(large(2), entryOf(2), [settled]);
    writer.append(settled);
    await writer.written();
    expect(groups).toEqual([[1, 0, 0], [2, 0], [0]]);
  });

  test('waits while it may not be written, and nobody waits for it once it is stopped', async () => {
    let isOurs = false;
    const groups: (readonly number[])[] = [];
    const { writer } = start((ids) => groups.push(ids), { mayWrite: async () => isOurs });
    writer.append(settled);
    await writer.commit();
    expect([groups, writer.isIdle]).toEqual([[], false]);
    const written = writer.written();
    writer.stop();
    await written;
    isOurs = true;
    writer.append(settled);
    await writer.commit();
    expect([groups, writer.hasRoom(0)]).toEqual([[], false]);
  });

  test('is in time again once everything is written after there was no room', async () => {
    let isOurs = false;
    const { writer, told } = start(() => {}, { mayWrite: async () => isOurs });
    const large = { ...batchOf(1), bytes: Buffer.alloc(3 * 1024 * 1024) } as SpoolRecord;
    expect([writer.takes(3 * 1024 * 1024), writer.append(large, entryOf(1))]).toEqual([true, true]);
    expect(writer.takes(3 * 1024 * 1024)).toBe(false);
    await writer.commit();
    expect(told).toEqual([]);
    isOurs = true;
    await writer.commit();
    expect(told).toEqual(['recovered']);
    writer.append(settled);
    await writer.commit();
    expect(told).toEqual(['recovered']);
  });

  test('has room for batches up to 4 MiB', async () => {
    const { writer } = start(() => {}, { mayWrite: async () => false });
    const mebibytes = 1024 * 1024;
    expect(writer.hasRoom(4 * mebibytes)).toBe(true);
    writer.append({ ...batchOf(1), bytes: Buffer.alloc(3 * mebibytes) } as SpoolRecord, entryOf(1));
    expect([writer.hasRoom(mebibytes), writer.hasRoom(mebibytes / 2)]).toEqual([false, true]);
  });
});

describe('What another process left', () => {
  const nameOf = (environment: string) => JSON.stringify({ environment });

  /** For each queue, its lots: under which ID, and which events of which batches. */
  function sorted(...batches: readonly (readonly [queue: string, entry: Entry])[]) {
    const groups: Groups = new Map();
    const entries = new Set(batches.map(([, entry]) => entry));
    const queues = new Map(batches.map(([queue, entry]) => [entry, queue]));
    const events = sortInto(groups, { entries } as unknown as Journal, queues);
    const lots = Array.from(groups.values(), ({ name, lots }) => [
      name?.environment,
      ...lots.map(({ id, items }) => `${id ?? 'new'}: ${items.map(({ entry, first }) => `${entry.id}.${first}`)}`),
    ]);
    return { events, lots };
  }

  test('is sent again under the IDs that it was sent under, and the rest in lots of its own', () => {
    const { events, lots } = sorted(
      [nameOf('a'), entryOf(1, { payloads: ['p', '', 'q'] })],
      [nameOf('b'), entryOf(2)],
      [nameOf('a'), entryOf(3, { payloads: ['q', ''] })],
      [nameOf('a'), entryOf(4)],
    );
    expect(events).toBe(7);
    expect(lots).toEqual([
      ['a', 'p: 1.0', 'new: 1.1', 'q: 1.2,3.0', 'new: 3.1,4.0'],
      ['b', 'new: 2.0'],
    ]);
  });

  test('fills a lot up to 256 KiB', () => {
    const large = { bytes: 200 * 1024 };
    const { lots } = sorted([nameOf('a'), entryOf(1, large)], [nameOf('a'), entryOf(2, large)], ['?', entryOf(3)]);
    expect(lots).toEqual([
      ['a', 'new: 1.0', 'new: 2.0'],
      [undefined, 'new: 3.0'],
    ]);
  });
});
