import { createReadMemory, rowBytes, startReading, storedLimit } from '../../../relay-task/store/read-memory.ts';
import { replyLimits } from '../../../relay-task/store/redis-replies.ts';
import { createReplicaStore } from '../../../relay-task/store/replica-store.ts';
import { receivedLimit } from '../../../relay-task/upstream/received-limit.ts';
import { createMemory } from '../../support/memory.ts';
import { createFakeDatabase } from './fake-database.ts';
import { flag, flags } from './items.ts';
import { listenToLog, quickReplica } from './open-replicas.ts';

const MiB = 1024 * 1024;
const small = { memoryBytes: 512 * MiB, heapBytes: 256 * MiB };

test('an environment that LaunchDarkly may send can be read from a store, and all readings leave most of the heap', () => {
  expect(storedLimit(small)).toBeGreaterThan(receivedLimit(small));
  expect(createReadMemory(small).maxBytes).toBeLessThan(small.heapBytes / 2);
  expect(storedLimit({ memoryBytes: 64 * 1024 * MiB, heapBytes: 4 * 1024 * MiB })).toBe(128 * MiB);
  expect(replyLimits.maxBytes).toBe(storedLimit());
});

test('readings at the same time share the memory, and give it back', () => {
  const memory = createReadMemory(small);
  const [one, other] = [startReading(memory), startReading(memory)];
  one.take(storedLimit(small));
  expect(() => one.take(MiB)).toThrow(/^the stored data takes more than \d+ bytes, and all that is read from stores/);
  expect(() => other.take(storedLimit(small))).toThrow('the stored data takes more than 0 bytes');
  one.end();
  other.take(storedLimit(small));
  other.end();
  expect(memory.usedBytes).toBe(0);
});

test('a row counts with its key, and with two bytes for each character where one needs them', () => {
  const plain = rowBytes('key', 'text');
  expect(rowBytes('key', Buffer.from('text'))).toBe(plain);
  expect(rowBytes('key', 'tex中')).toBe(plain + 4);
  expect(rowBytes('longer key', 'text')).toBe(plain + 7);
});

test('a store holds room while it compares and reads, of its own and of others that share it, and none afterwards', async () => {
  const database = createFakeDatabase();
  const readMemory = createReadMemory(small);
  const log = listenToLog();
  const { readAll } = database;
  let rowLength = 1_000;
  const seen: number[] = [];
  database.readAll = async (take) => {
    const content = await readAll(take);
    for (let row = 0; row < content.rows.features.size; row += 1) take(rowLength);
    seen.push(readMemory.usedBytes);
    return content;
  };
  const memory = createMemory(...flags(3));
  const store = createReplicaStore(
    { prefix: 'env', view: memory, writer: 'auto', log, timings: quickReplica, readMemory },
    () => database,
  );
  memory.listen(store);
  store.setEligible(true);
  await store.flush(60_000);
  expect((await store.read())?.items).toHaveLength(3);
  expect(seen).toEqual([0, 3_000]);
  expect(readMemory.usedBytes).toBe(0);
  rowLength = storedLimit(small);
  await expect(store.read()).rejects.toThrow(/the stored data takes more than \d+ bytes/);
  expect(readMemory.usedBytes).toBe(0);
  rowLength = 1_000;
  memory.set(flag('flag-0', 2));
  await store.flush(60_000);
  expect((await store.read())?.items).toHaveLength(3);
  await store.close();
});
