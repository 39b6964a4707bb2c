import { flag } from '../../support/items.ts';
import { type ClientHub, type ClientHubOptions, startClientHub } from './start-client-hub.ts';

let started: ClientHub;
const start = async (options?: ClientHubOptions) => {
  started = await startClientHub(options);
  return started;
};
afterEach(() => started.close());

const PING = 'event: ping\ndata:  \n\n';

test('a ping stream gets a ping at its start and at each change, in the form that parsers need', async () => {
  const { put, upsert, streams, read } = await start();
  put(flag('a', 1));
  const reader = await read('/ping/64a0');
  await reader.next();
  expect(reader.body()).toBe(PING);
  upsert(flag('a', 2));
  await reader.next();
  streams.refresh(['a']);
  await reader.next();
  expect(reader.body()).toBe(PING.repeat(3));
});

test('a ping stream without data gets a ping when data arrives', async () => {
  const { put, read } = await start();
  const reader = await read('/mping');
  expect(reader.body()).toBe('');
  put();
  await reader.next();
  expect(reader.body()).toBe(PING);
});

test('streams of evaluated flags get pings if evaluation is off', async () => {
  const { put, upsert, evaluated } = await start({ clientStreams: 'ping' });
  put(flag('a', 1));
  const reader = await evaluated({ kind: 'user', key: 'x' });
  await reader.next();
  upsert(flag('a', 2));
  await reader.next();
  expect(reader.body()).toBe(PING.repeat(2));
});

/** Streams that have their first ping, and how long after some changes each of them gets the next one, in ms. */
async function afterChanges({ put, upsert, read }: ClientHub) {
  put(flag('a', 1));
  const readers = await Promise.all(Array.from({ length: 40 }, () => read('/ping/64a0')));
  await Promise.all(readers.map((reader) => reader.next()));
  const began = performance.now();
  for (let version = 2; version < 7; version++) upsert(flag('a', version));
  const after = await Promise.all(
    readers.map(async (reader) => {
      await reader.next();
      return performance.now() - began;
    }),
  );
  return { readers, after };
}

test.each([10, 100, 1_000])('no ping is sent before half of a jitter of %i ms', async (pingJitterMs) => {
  const { after } = await afterChanges(await start({ pingJitterMs }));
  expect(Math.min(...after)).toBeGreaterThanOrEqual(pingJitterMs / 2);
});

test('pings are spread over the second half of the jitter, and one ping covers all changes until then', async () => {
  const hub = await start({ pingJitterMs: 2_000 });
  const { readers, after } = await afterChanges(hub);
  expect(new Set(after.map((ms) => Math.round(ms / 50))).size).toBeGreaterThan(2);
  for (const reader of readers) expect(reader.events).toHaveLength(2);
  // The next change starts a new round.
  hub.upsert(flag('a', 7));
  await Promise.all(readers.map((reader) => reader.next()));
  for (const reader of readers) expect(reader.events).toHaveLength(3);
});

test('a change during a round of pings causes another ping for streams that already had one', async () => {
  const { put, upsert, read } = await start({ pingJitterMs: 1_000 });
  put(flag('a', 1));
  const readers = await Promise.all(Array.from({ length: 30 }, () => read('/ping/64a0')));
  await Promise.all(readers.map((reader) => reader.next()));
  upsert(flag('a', 2));
  await Promise.race(readers.map((reader) => reader.next()));
  const counts = readers.map((reader) => reader.events.length);
  upsert(flag('a', 3));
  await Promise.all(readers.map((reader, i) => reader.until(({ events }) => events.length > counts[i]!)));
  expect(counts).toContain(1);
  expect(counts).toContain(2);
});
