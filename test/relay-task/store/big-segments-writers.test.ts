/** Several relays, one table of Big Segments, and how often each member is written. */
import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { changesByHash } from '../../../relay-task/store/big-segments.ts';
import type { Timings } from '../../../relay-task/store/timings.ts';
import { readPatches } from '../../../relay-task/upstream/big-segments-patches.ts';
import { eventually } from '../../support/eventually.ts';
import {
  type FakeBigSegments,
  startFakeBigSegments,
  type WirePatch,
  wirePatch,
} from '../../support/fake-big-segments.ts';
import { everyNth } from '../../support/long.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { type BigSegmentRelay, GROUP_SIZE, startBigSegmentRelay } from './big-segments-relays.ts';
import { openTable, type Stores } from './open-stores.ts';

const metadata = 'big_segments_metadata';
const members = 'big_segments_user';
/** A busy machine answers within the request timeout, too. */
const brief = { patchBeatMs: 20, patchExpireMs: 3_000, requestTimeoutMs: 2_000 };

const { opened } = closeAfterEach();

async function start(count: number, timings: Partial<Timings> = {}) {
  const stores = opened(await openTable());
  const launchDarkly = opened(await startFakeBigSegments());
  // A relay whose regular look comes between another's patch and its own message of it writes the time of synchronisation, too.
  const calm = { confirmMs: 1e9, checkMs: 1e9 };
  const startRelay = async () => opened(await startBigSegmentRelay({ stores, launchDarkly, timings, ...calm }));
  const relays: BigSegmentRelay[] = [];
  for (let index = 0; index < count; index++) relays.push(await startRelay());
  await eventually(() => {
    expect(launchDarkly.openStreams).toBe(count);
    // Each reports its first synchronisation, so what a test counts afterwards is of its own patches.
    for (const relay of relays) expect(relay.batches).toBe(1);
  });
  return { stores, launchDarkly, relays, startRelay };
}

/** The patch that follows the last one. */
function next({ history }: FakeBigSegments, included: readonly string[], excluded: readonly string[] = []): WirePatch {
  const count = history.length;
  return wirePatch('vip.g1', count === 0 ? '' : `v${count}`, `v${count + 1}`, included, excluded);
}

const hashesOf = (name: string, count: number) => Array.from({ length: count }, (_, index) => `${name}-${index}`);
const added = (hashes: readonly string[]) => hashes.map((hash) => `+${hash}`);

const metadataOf = async (stores: Stores) => (await stores.rows(metadata))[metadata] ?? {};
const isAt = (stores: Stores, version: string) =>
  eventually(async () => expect((await metadataOf(stores)).lastVersion).toBe(version));

async function membersOf(stores: Stores, list: 'included' | 'excluded' = 'included'): Promise<string[]> {
  const rows = Object.entries(await stores.rows(members));
  return rows.flatMap(([hash, row]) => ((row[list] as string[] | undefined)?.length ? [hash] : [])).sort();
}

const writesOf = ({ proxy }: BigSegmentRelay, namespace = members) =>
  proxy.passed.filter((passed) => passed.operation === 'UpdateItem' && passed.namespace === namespace);

/** How often each member was written, by all relays together. */
function writesByHash(relays: readonly BigSegmentRelay[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { key } of relays.flatMap((relay) => writesOf(relay))) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
}

const once = (hashes: readonly string[]) => Object.fromEntries(hashes.map((hash) => [hash, 1]));

/** The relay that the table names as the writer, and the others. */
function byRole(relays: readonly BigSegmentRelay[]) {
  const [writer, ...idle] = [...relays].sort((a, b) => writesOf(b).length - writesOf(a).length);
  return { writer: writer!, idle };
}

test.each(everyNth(2, [3, 2]))(
  'of %i relays one writes each member of each patch, and all are told of it @heavy',
  async (count) => {
    const { stores, launchDarkly, relays } = await start(count);
    const hashes: string[] = [];
    async function change(size: number) {
      const batches = relays.map((relay) => relay.batches);
      const patch = next(launchDarkly, added(hashesOf(`patch-${launchDarkly.history.length}`, size)));
      hashes.push(...(patch.changes?.included?.add ?? []));
      launchDarkly.push(patch);
      await isAt(stores, patch.version);
      await eventually(() => {
        for (const [index, relay] of relays.entries()) expect(relay.batches).toBeGreaterThan(batches[index]!);
      });
    }
    const last = process.env.LONG ? 7 : 4;
    await change(3);
    const { writer, idle } = byRole(relays);
    const first = writesByHash(relays);
    for (const relay of relays) relay.proxy.passed.length = 0;
    for (let patch = 2; patch <= last; patch++) await change(patch * 3);
    expect({ ...first, ...writesByHash(relays) }).toEqual(once(hashes));
    // For each patch the cursor, and the time of synchronisation.
    expect(writesOf(writer, metadata)).toHaveLength(2 * (last - 1));
    for (const relay of idle) expect(relay.proxy.passed.filter(({ operation }) => operation !== 'GetItem')).toEqual([]);
    expect(await membersOf(stores)).toEqual(hashes.sort());
  },
);

test('a burst of patches that all relays get at once is written by one of them @heavy', async () => {
  const { stores, launchDarkly, relays } = await start(3);
  const hashes = hashesOf('burst', process.env.LONG ? 30 : 12);
  for (const hash of hashes) launchDarkly.push(next(launchDarkly, [`+${hash}`]));
  await isAt(stores, `v${hashes.length}`);
  expect(writesByHash(relays)).toEqual(once(hashes));
});

test('a relay alone asks for nothing more than a patch needs', async () => {
  const { stores, launchDarkly, relays } = await start(1);
  const [relay] = relays as [BigSegmentRelay];
  launchDarkly.push(next(launchDarkly, ['+a']));
  await isAt(stores, 'v1');
  await eventually(() => expect(relay.batches).toBe(2));
  relay.proxy.passed.length = 0;
  launchDarkly.push(next(launchDarkly, ['-a', '+b']));
  await eventually(() => expect(relay.batches).toBe(3));
  const asked = relay.proxy.passed.map(({ operation, namespace }) => `${operation} ${namespace}`);
  // Two members, the cursor and the time. Before them it reads its position; regular looks may come at any time.
  const first = asked.indexOf(`UpdateItem ${members}`);
  expect(asked.slice(0, first)).toContain(`GetItem ${metadata}`);
  expect(asked.filter((request) => request !== `GetItem ${metadata}`)).toEqual([
    ...[`UpdateItem ${members}`, `UpdateItem ${members}`],
    ...[`UpdateItem ${metadata}`, `UpdateItem ${metadata}`],
  ]);
});

/** A patch of two groups, of which one of two relays has written the first and cannot write the second. */
async function interruptLargePatch() {
  const { stores, launchDarkly, relays } = await start(2, brief);
  launchDarkly.push(next(launchDarkly, ['+first']));
  await isAt(stores, 'v1');
  const { writer, idle } = byRole(relays);
  const hashes = hashesOf('large', GROUP_SIZE + 1);
  const large = next(launchDarkly, added(hashes));
  const groups: string[][] = [];
  for await (const group of changesByHash(resultOf(readPatches(JSON.stringify([large])))[0]!, GROUP_SIZE)) {
    groups.push(group.map(({ hash }) => hash));
  }
  writer.proxy.hang(({ key }) => groups[1]!.includes(key));
  launchDarkly.push(large);
  await eventually(async () => expect((await metadataOf(stores)).progress).toBe('1/2 v2'));
  return { stores, launchDarkly, relays, writer, heir: idle[0]!, hashes, second: groups[1]! };
}

test('the patch of a relay that dies at work is continued by another, after what is known to be written @heavy', async () => {
  const { stores, writer, heir, hashes, second } = await interruptLargePatch();
  writer.proxy.cut();
  await isAt(stores, 'v2');
  expect(await membersOf(stores)).toEqual(['first', ...hashes].sort());
  // A write may be sent again on a busy machine.
  expect(new Set(writesOf(heir).map(({ key }) => key))).toEqual(new Set(second));
});

test('a relay that freezes at work undoes nothing when it wakes up, and lets its heir go on writing @heavy', async () => {
  const { stores, launchDarkly, relays, writer, heir, hashes } = await interruptLargePatch();
  writer.proxy.hang();
  await isAt(stores, 'v2');
  launchDarkly.push(
    next(
      launchDarkly,
      hashes.slice(0, 10).map((hash) => `-${hash}`),
    ),
  );
  await isAt(stores, 'v3');
  writer.proxy.heal();
  const expected = ['first', ...hashes.slice(10)].sort();
  for (const relay of relays) relay.proxy.passed.length = 0;
  const { batches } = writer;
  launchDarkly.push(next(launchDarkly, ['+last']));
  await isAt(stores, 'v4');
  await eventually(() => expect(writer.batches).toBeGreaterThan(batches));
  expect(await membersOf(stores)).toEqual(['last', ...expected].sort());
  expect(writesOf(heir).filter(({ key }) => key === 'last')).toHaveLength(1);
  expect(writesOf(writer)).toEqual([]);
});

test('a relay that only is slow loses nothing to a hasty one, which stops when the other is first @heavy', async () => {
  const { stores, launchDarkly, relays } = await start(2, { ...brief, patchBeatMs: 1e6, patchExpireMs: 200 });
  launchDarkly.push(next(launchDarkly, ['+first']));
  await isAt(stores, 'v1');
  const { writer } = byRole(relays);
  const hashes = hashesOf('slow', GROUP_SIZE + 1);
  writer.proxy.slow(80);
  launchDarkly.push(next(launchDarkly, added(hashes)), wirePatch('vip.g1', 'v2', 'v3', [`-${hashes[0]}`]));
  await isAt(stores, 'v3');
  expect(await membersOf(stores)).toEqual(['first', ...hashes.slice(1)].sort());
  writer.proxy.heal();
  launchDarkly.push(next(launchDarkly, [`-${hashes[1]}`]));
  await isAt(stores, 'v4');
  expect(await membersOf(stores)).toEqual(['first', ...hashes.slice(2)].sort());
});

test('a relay that shuts down lets the next one write at once @heavy', async () => {
  // 30 s would be longer than `eventually` waits.
  const { stores, launchDarkly, relays } = await start(2, { patchExpireMs: 120_000 });
  launchDarkly.push(next(launchDarkly, ['+a']));
  await isAt(stores, 'v1');
  await byRole(relays).writer.close();
  launchDarkly.push(next(launchDarkly, ['+b']));
  await isAt(stores, 'v2');
  expect(await membersOf(stores)).toEqual(['a', 'b']);
});

test('a relay that did not write says nothing when it shuts down @heavy', async () => {
  const { stores, launchDarkly, relays } = await start(2);
  launchDarkly.push(next(launchDarkly, ['+a']));
  await isAt(stores, 'v1');
  const { writer, idle } = byRole(relays);
  await eventually(() => expect(idle[0]!.batches).toBe(2));
  const before = idle[0]!.proxy.passed.length;
  const { writer: named } = await metadataOf(stores);
  await idle[0]!.close();
  const late = idle[0]!.proxy.passed.slice(before).filter(({ operation }) => operation !== 'GetItem');
  expect(late).toEqual([]);
  expect((await metadataOf(stores)).writer).toBe(named);
  await writer.close();
  expect((await metadataOf(stores)).writer).toBeUndefined();
});

test('a patch that the writer does not get is written by another relay, which stays the writer @heavy', async () => {
  const { stores, launchDarkly, relays } = await start(1, brief);
  launchDarkly.push(next(launchDarkly, ['+a']));
  await isAt(stores, 'v1');
  const writer = relays[0]!;
  const deaf = opened(await startFakeBigSegments(...launchDarkly.history));
  const heir = opened(await startBigSegmentRelay({ stores, launchDarkly: deaf, timings: brief, confirmMs: 1e9 }));
  await eventually(() => expect(deaf.openStreams).toBe(1));
  deaf.push(next(deaf, ['+b']));
  await isAt(stores, 'v2');
  deaf.push(next(deaf, ['+c']));
  await isAt(stores, 'v3');
  expect(writesOf(heir).map(({ key }) => key)).toEqual(['b', 'c']);
  // LaunchDarkly's side of the first relay recovers.
  launchDarkly.history.push(...deaf.history.slice(1));
  launchDarkly.push(next(launchDarkly, ['+d']));
  deaf.push(next(deaf, ['+d']));
  await isAt(stores, 'v4');
  expect(writesByHash([writer, heir])).toEqual(once(['a', 'b', 'c', 'd']));
  expect(writesOf(heir).map(({ key }) => key)).toEqual(['b', 'c', 'd']);
});

test('ld-relay beside our relays moves the cursor, and no relay writes again what it wrote @heavy', async () => {
  const { stores, launchDarkly, relays } = await start(2, brief);
  launchDarkly.push(next(launchDarkly, ['+a']));
  await isAt(stores, 'v1');
  await eventually(() => expect(relays.map(({ batches }) => batches)).toEqual([2, 2]));
  for (const relay of relays) relay.proxy.passed.length = 0;
  // As ld-relay writes: the member, then the cursor, on condition of the cursor before.
  const update = (namespace: string, key: string, change: object) =>
    stores.table.client.send(
      new UpdateItemCommand({
        TableName: stores.table.tableName,
        Key: { namespace: { S: namespace }, key: { S: key } },
        ...change,
      }),
    );
  const ours = next(launchDarkly, ['+b']);
  await update(members, 'b', {
    UpdateExpression: 'ADD included :set',
    ExpressionAttributeValues: { ':set': { SS: ['vip.g1'] } },
  });
  await update(metadata, metadata, {
    UpdateExpression: 'SET lastVersion = :v2',
    ConditionExpression: 'lastVersion = :v1',
    ExpressionAttributeValues: { ':v1': { S: 'v1' }, ':v2': { S: 'v2' } },
  });
  launchDarkly.push(ours);
  await eventually(() => expect(relays.map(({ batches }) => batches)).toEqual([3, 3]));
  expect(writesByHash(relays)).toEqual({});
  launchDarkly.push(next(launchDarkly, ['-a', '+c']));
  await isAt(stores, 'v3');
  expect(await membersOf(stores)).toEqual(['b', 'c']);
  expect(writesByHash(relays)).toEqual({ a: 1, c: 1 });
});
