import { Socket } from 'node:net';
import { until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import type { StreamReader } from '../../support/read-stream.ts';
import { type ClientHub, startClientHub } from './start-client-hub.ts';

/** More than what takes its turn at once. */
const STREAMS = 40;

let started: ClientHub;
/** Of events about single flags, or of whole sets after the first: those of each turn of the event loop. */
let writes: { turn: number; bytes: Buffer; socket: Socket }[] = [];
let turn = 0;
let isCounting = false;
/** Called after each write. */
let afterWrite: (count: number) => void = () => {};
/** The clock stands still, except that each write takes 0.4 ms: two of them fill a slice. */
let clock = 0;

beforeEach(async () => {
  [writes, turn, isCounting, clock] = [[], 0, false, performance.now()];
  afterWrite = () => {};
  const { write } = Socket.prototype;
  const count = () => {
    turn++;
    if (isCounting) setImmediate(count);
  };
  jest.spyOn(Socket.prototype, 'write').mockImplementation(function (this: Socket, ...args: unknown[]) {
    const [bytes] = args;
    if (isCounting && Buffer.isBuffer(bytes) && /event: (put|patch|delete)/.test(bytes.toString())) {
      writes.push({ turn, bytes, socket: this });
      clock += 0.4;
      afterWrite(writes.length);
    }
    return (write as (...all: unknown[]) => boolean).apply(this, args);
  });
  started = await startClientHub({ heartbeatMs: 0 });
  startCounting = () => {
    jest.spyOn(performance, 'now').mockImplementation(() => clock);
    isCounting = true;
    setImmediate(count);
  };
});
let startCounting = () => {};
afterEach(async () => {
  isCounting = false;
  jest.restoreAllMocks();
  await started.close();
});

const shared = { kind: 'user', key: 'anonymous', anonymous: true };
const open = async (count = STREAMS): Promise<StreamReader[]> => {
  const readers = await Promise.all(Array.from({ length: count }, () => started.evaluated(shared)));
  for (const reader of readers) await reader.next();
  return readers;
};
const mostInATurn = () => {
  const counts = new Map<number, number>();
  for (const write of writes) counts.set(write.turn, (counts.get(write.turn) ?? 0) + 1);
  return Math.max(...counts.values());
};
const eventsOf = (reader: StreamReader) => reader.events.map(({ event, data }) => `${event} ${data}`);
const allHave = (readers: readonly StreamReader[], count: number) =>
  until('all were sent everything', () => readers.every(({ events }) => events.length >= count));

test.each([
  ['a patch', () => started.upsert(flag('a', 2, { on: false })), 'patch'],
  ['a whole set', () => started.upsert(segment('s', 2, { included: ['anonymous'] })), 'put'],
  ['a deletion', () => started.upsert(tombstone('features', 'a', 2)), 'delete'],
])('%s is written to many streams of one context in slices', async (_what, change, event) => {
  const rules = [{ id: 'r', variation: 1, clauses: [{ op: 'segmentMatch', attribute: '', values: ['s'] }] }];
  started.put(flag('a', 1), segment('s', 1), flag('b', 1, { rules }));
  const readers = await open();
  startCounting();
  change();
  await allHave(readers, 2);
  expect(new Set(readers.map(({ events }) => events[1]!.event))).toEqual(new Set([event]));
  expect(writes).toHaveLength(STREAMS);
  expect(mostInATurn()).toBeLessThanOrEqual(3);
  // One whole set for all of them.
  expect(new Set(writes.map(({ bytes }) => bytes)).size).toBe(1);
});

test('patches of many flags are joined once for all streams of a context', async () => {
  const flags = (version: number) =>
    Array.from({ length: 30 }, (_, i) => flag(`f${i}`, version, { on: version === 1 }));
  started.put(...flags(1));
  const readers = await open();
  startCounting();
  started.put(...flags(2));
  await allHave(readers, 31);
  expect(writes).toHaveLength(STREAMS);
  expect(new Set(writes.map(({ bytes }) => bytes)).size).toBe(1);
  expect(mostInATurn()).toBeLessThanOrEqual(3);
});

test('a client that joins during a write gets everything once, and one that leaves costs the others no event', async () => {
  started.put(flag('a', 1));
  const readers = await open();
  const joined: Promise<StreamReader>[] = [];
  startCounting();
  afterWrite = (count) => {
    if (count === 5) joined.push(started.evaluated(shared));
    const patched = writes.filter(({ bytes }) => bytes.includes('event: patch'));
    if (count === 20)
      for (const { socket } of [patched[0], patched[7]].filter((write) => write !== undefined)) socket.destroy();
  };
  started.upsert(flag('a', 2, { on: false }));
  const have = (events: number) => readers.filter((reader) => reader.events.length >= events);
  await until('those that stay have it', () => have(2).length >= STREAMS - 2 && joined.length === 1);
  const newcomer = await joined[0]!;
  await newcomer.next();
  started.upsert(flag('a', 3));
  await until('they have the next one', () => have(3).length === STREAMS - 2 && newcomer.events.length === 2);
  const namesOf = (reader: StreamReader) => reader.events.map(({ event }) => event);
  for (const reader of have(3)) expect(namesOf(reader)).toEqual(['put', 'patch', 'patch']);
  expect(namesOf(newcomer)).toEqual(['put', 'patch']);
  expect(newcomer.events[0]?.data).toContain('"version":2');
});

test('a change while others are written to is not overtaken', async () => {
  started.put(flag('a', 1), flag('b', 1));
  const readers = await open();
  startCounting();
  afterWrite = (count) => {
    if (count === 5) started.upsert(tombstone('features', 'a', 3));
  };
  started.upsert(flag('a', 2, { on: false }));
  await allHave(readers, 3);
  for (const reader of readers) {
    expect(eventsOf(reader).slice(1)).toEqual([
      'patch {"key":"a","value":false,"variation":1,"version":2,"flagVersion":2}',
      'delete {"key":"a","version":3}',
    ]);
  }
});
