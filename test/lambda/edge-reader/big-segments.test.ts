/** The edge reader and a table whose Big Segments are another environment's, as after an SDK key was corrected. */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { createReader } from '../../../lambda/edge-reader/index.ts';
import type { BigSegmentPatch } from '../../../relay-task/ports.ts';
import { hashOf } from '../../../relay-task/store/big-segments.ts';
import { createDynamoDBBigSegments } from '../../../relay-task/store/big-segments-dynamodb.ts';
import { quick } from '../../relay-task/store/open-stores.ts';
import { startTable, type TestTable, testCredentials, testRegion } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { silentLog } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startReplica } from './replica.ts';
import { item, put, putDelta, putMembership, putSnapshot, putSynchronizedOn, remove } from './table-writer.ts';

const { opened, behind } = closeAfterEach();
const prefix = 'shop';
const metadataName = `${prefix}:big_segments_metadata`;

const inSegment = (key: string) => ({ attribute: '', op: 'segmentMatch', values: [key], negate: false });
const items = [
  item('segments', { key: 'vip', unbounded: true, generation: 3, salt: '' }),
  item('features', {
    ...{ key: 'club', on: true, salt: '', variations: ['in', 'out'], offVariation: 1, fallthrough: { variation: 1 } },
    rules: [{ id: 'r', clauses: [inSegment('vip')], variation: 0 }],
  }),
];
const patch = (previousVersion: string, version: string, key: string): BigSegmentPatch => ({
  ...{ segmentRef: 'vip.g3', previousVersion, version },
  ...{ included: { add: [hashOf(key)], remove: [] }, excluded: { add: [], remove: [] } },
});

let table: TestTable;
beforeEach(async () => {
  table = await startTable();
});
afterEach(() => table.close());

/** The Big Segments of a relay whose SDK key belongs to this environment. Those of another one are deleted at once. */
function relayOf(environment: string, endpoint = table.endpoint) {
  const client = new DynamoDBClient({ endpoint, region: testRegion, credentials: testCredentials, maxAttempts: 1 });
  behind(() => client.destroy());
  return opened(
    createDynamoDBBigSegments({
      ...{ client, tableName: table.tableName, prefix, log: silentLog, quietMs: 0, environment: () => environment },
      timings: { ...quick, patchExpireMs: 20, patchDrainMs: 20, retryCapMs: 5 },
    }),
  );
}

type Relay = ReturnType<typeof relayOf>;

/** The first attempt only sees that the members are another environment's. */
async function emptied(relay: Relay): Promise<void> {
  while (
    await relay.own().then(
      () => false,
      () => true,
    )
  );
}

async function filled(relay: Relay, member: string): Promise<void> {
  await relay.own();
  await relay.apply(patch('', '1', member));
  await relay.setSynchronizedOn(Date.now());
}

/** A reader on a clock that the test moves on; each question is more than 5 s later, so that no membership is only remembered. */
function openReader(endpoint = table.endpoint, coldDeadlineMs = 10_000) {
  let nowMs = Date.now();
  const { tableName } = table;
  const reader = createReader(
    {
      ...{ tableName, prefix, endpoint, replicas: { default: [testRegion] }, coldDeadlineMs },
      ...{ refreshMs: 100, maxWaitMs: 10_000 },
    },
    {
      env: { AWS_REGION: testRegion, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' },
      now: () => nowMs,
    },
  );
  const tell = async (context: unknown) => {
    const { value, reason } = await reader.variationDetail('club', context as never, null);
    return `${value} ${reason.bigSegmentsStatus}`;
  };
  return {
    tell,
    now: () => nowMs,
    /** Synchronously, `ms` later. */
    fromMemory(key: string, ms = 0) {
      nowMs += ms;
      const { value, reason } = reader.evaluate('club', { kind: 'user', key }, null);
      return `${value} ${reason.kind === 'ERROR' ? reason.errorKind : reason.bigSegmentsStatus}`;
    },
    /** Within the time that memberships are remembered. */
    askAgain: (key: string) => tell({ kind: 'user', key }),
    ask(key: string) {
      nowMs += 5_001;
      return tell({ kind: 'user', key });
    },
    /** Reads flags that were published meanwhile. */
    async follow(seq: number) {
      await eventually(async () => {
        nowMs += 150;
        await reader.ready();
        expect(reader.status().rev).toMatch(new RegExp(`\\.0*${seq}$`));
      });
    },
  };
}

const publish = (seq: number, source?: string) =>
  putSnapshot(table, prefix, items, { epoch: 1, seq }, undefined, source);
const NOT_KNOWN = 'out STORE_ERROR';

test("flags are never evaluated with another environment's members, from a corrected key until the members are loaded @heavy", async () => {
  await publish(1, 'hash-b.b');
  await filled(relayOf('a'), 'alice');
  const { ask, now } = openReader();
  const told = [await ask('alice'), await ask('bob')];
  expect(told).toEqual([NOT_KNOWN, NOT_KNOWN]);

  const relay = relayOf('b');
  let done = false;
  const emptying = emptied(relay).finally(() => {
    done = true;
  });
  while (!done) told.push(await ask('alice'));
  await emptying;
  told.push(await ask('bob'));
  await relay.apply(patch('', '1', 'bob'));
  told.push(await ask('alice'), await ask('bob'));
  expect(new Set(told)).toEqual(new Set([NOT_KNOWN]));
  await relay.setSynchronizedOn(now());
  expect([await ask('alice'), await ask('bob')]).toEqual(['out HEALTHY', 'in HEALTHY']);
});

test("a membership that was known stays, as STALE, while the store is emptied or holds another environment's members @heavy", async () => {
  await publish(1, 'hash-a.a');
  const a = relayOf('a');
  await a.own();
  await a.apply(patch('', '1', 'alice'));
  await a.setSynchronizedOn(Date.now() + 600_000);
  const { ask } = openReader();
  expect([await ask('alice'), await ask('bob')]).toEqual(['in HEALTHY', 'out HEALTHY']);
  await emptied(relayOf('b'));
  expect([await ask('alice'), await ask('bob'), await ask('carol')]).toEqual(['in STALE', 'out STALE', NOT_KNOWN]);
  const again = relayOf('a');
  await emptied(again);
  expect([await ask('alice'), await ask('bob')]).toEqual(['in STALE', 'out STALE']);
  await again.apply(patch('', '1', 'bob'));
  await again.setSynchronizedOn(Date.now() + 600_000);
  expect([await ask('alice'), await ask('bob')]).toEqual(['out HEALTHY', 'in HEALTHY']);
});

test.each([
  ['a context', ['alice'], 'in STALE', 'out HEALTHY'],
  ['too many contexts to be named', ['*'], 'in STALE', 'out STALE'],
])('%s of whom an item cannot hold all segments is STALE, as the relay says', async (_who, named, alice, bob) => {
  await publish(1);
  const { ask, now } = openReader();
  await filled(relayOf('a'), 'alice');
  await put(table, {
    ...{ namespace: { S: metadataName }, key: { S: metadataName } },
    ...{ synchronizedOn: { N: String(now()) }, lastVersion: { S: '1' }, environment: { S: 'a' } },
    incomplete: { SS: named.map((one) => (one === '*' ? one : hashOf(one))) },
  });
  expect([await ask('alice'), await ask('bob')]).toEqual([alice, bob]);
});

test('a membership that was known stays, as STALE, although the store came back empty and is not filled yet @heavy', async () => {
  await publish(1, 'hash-a.a');
  const relay = relayOf('a');
  await filled(relay, 'alice');
  const { ask, now } = openReader();
  expect(await ask('alice')).toBe('in HEALTHY');
  await remove(table, metadataName, metadataName);
  await remove(table, `${prefix}:big_segments_user`, hashOf('alice'));
  const told = [await ask('alice')];
  await relay.own();
  told.push(await ask('alice'));
  expect(new Set(told)).toEqual(new Set(['in STALE']));
  await filled(relay, 'bob');
  await relay.setSynchronizedOn(now());
  expect([await ask('alice'), await ask('bob')]).toEqual(['out HEALTHY', 'in HEALTHY']);
});

test('from memory, a member that could not be read has the answer of the call that tried', async () => {
  await publish(1, 'hash-a.a');
  await putMembership(table, prefix, hashOf('alice'), { included: ['vip.g3'] });
  await putSynchronizedOn(table, prefix, Date.now());
  const replica = opened(await startReplica(table.endpoint));
  const { ask, askAgain, fromMemory, follow } = openReader(replica.endpoint);
  await follow(1);
  const fail = () => replica.behave(({ body }) => (JSON.stringify(body).includes(metadataName) ? 'throttle' : 'pass'));
  const unknown = 'null CLIENT_NOT_READY';
  fail();
  expect(fromMemory('alice')).toBe(unknown);
  expect([await ask('alice'), fromMemory('alice'), fromMemory('bob')]).toEqual([NOT_KNOWN, NOT_KNOWN, unknown]);
  expect(fromMemory('alice', 5_001)).toBe(unknown);
  replica.behave('pass');
  // The replica rests after failures.
  expect(fromMemory('alice', 20_000)).toBe(unknown);
  expect([await askAgain('alice'), fromMemory('alice')]).toEqual(['in HEALTHY', 'in HEALTHY']);
  fail();
  expect([await ask('alice'), fromMemory('alice')]).toEqual(['in STALE', 'in STALE']);
});

test('members are not used while they are being deleted, whichever environment they belong to', async () => {
  await publish(1);
  await putMembership(table, prefix, hashOf('alice'), { included: ['vip.g3'] });
  const name = { S: metadataName };
  const found = { namespace: name, key: name, environment: { S: 'b' }, synchronizedOn: { N: String(Date.now()) } };
  const { ask } = openReader();
  await put(table, { ...found, emptying: { S: 'token 3' } });
  expect(await ask('alice')).toBe(NOT_KNOWN);
  await put(table, found);
  expect(await ask('alice')).toBe('in HEALTHY');
});

test.each([
  { name: "that names no environment, such as ld-relay's", source: 'hash-b.b', named: undefined },
  { name: 'beside flags of an unknown environment', source: 'hash-b', named: 'a' },
  { name: 'beside flags that do not say whose they are', source: undefined, named: 'a' },
])('the members of a table $name are used', async ({ source, named }) => {
  await publish(1, source);
  await putMembership(table, prefix, hashOf('alice'), { included: ['vip.g3'] });
  if (named === undefined) await putSynchronizedOn(table, prefix, Date.now());
  else
    await relayOf(named)
      .own()
      .then(() => relayOf(named).setSynchronizedOn(Date.now()));
  const { ask } = openReader();
  expect([await ask('alice'), await ask('bob')]).toEqual(['in HEALTHY', 'out HEALTHY']);
});

test('members that name no environment are used as STALE before their first synchronisation', async () => {
  await publish(1, 'hash-b.b');
  await putMembership(table, prefix, hashOf('alice'), { included: ['vip.g3'] });
  const { ask } = openReader();
  expect([await ask('alice'), await ask('bob')]).toEqual(['in STALE', 'out STALE']);
});

describe('a membership that was remembered', () => {
  /** Remembers that Alice is a member, then publishes flags with another source while the table cannot be asked for members. */
  async function after(before: string, next: string, how: 'body' | 'delta') {
    await publish(1, before);
    await putMembership(table, prefix, hashOf('alice'), { included: ['vip.g3'] });
    await putSynchronizedOn(table, prefix, Date.now());
    const replica = opened(await startReplica(table.endpoint));
    const { ask, askAgain, follow } = openReader(replica.endpoint);
    expect(await ask('alice')).toBe('in HEALTHY');
    replica.behave(({ body }) => (JSON.stringify(body).includes(metadataName) ? 'throttle' : 'pass'));
    if (how === 'body') await publish(2, next);
    else
      await putDelta(
        table,
        prefix,
        [item('features', { key: 'new' })],
        { epoch: 1, seq: 2 },
        { epoch: 1, seq: 1 },
        next,
      );
    await follow(2);
    return [await askAgain('alice'), await ask('alice')];
  }

  test.each(['body', 'delta'] as const)(
    "is not used with another environment's flags, published as a %s @heavy",
    async (how) => {
      expect(await after('hash-a.a', 'hash-b.b', how)).toEqual([NOT_KNOWN, NOT_KNOWN]);
    },
  );

  test('is not used with the flags of another key whose environment is unknown', async () => {
    expect(await after('hash-a', 'hash-b', 'body')).toEqual([NOT_KNOWN, NOT_KNOWN]);
  });

  test('stays in use after a rotation within one environment, as STALE once it is older than 5 s @heavy', async () => {
    expect(await after('hash-a.a', 'hash-b.a', 'body')).toEqual(['in HEALTHY', 'in STALE']);
  });
});

test("a membership that was read for one environment's flags is not used when another's arrive during the call @heavy", async () => {
  const [vip, club] = items;
  const team = item('segments', { key: 'team', unbounded: true, unboundedContextKind: 'org', generation: 1, salt: '' });
  const data = JSON.parse(club!.json);
  const both = { id: 'both', clauses: [inSegment('vip'), inSegment('team')], variation: 1 };
  const asksTwice = [vip!, team, item('features', { ...data, rules: [both, ...data.rules] })];
  await putSnapshot(table, prefix, asksTwice, { epoch: 1, seq: 1 }, undefined, 'hash-a.a');
  await filled(relayOf('a'), 'alice');
  const replica = opened(await startReplica(table.endpoint));
  const { tell, follow } = openReader(replica.endpoint, 3_000);
  let arrive: () => void = () => {};
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  // The membership of the organisation is asked for once Alice's is known.
  replica.behave(({ body }) => {
    if (!JSON.stringify(body).includes(hashOf('acme'))) return 'pass';
    arrive();
    return 'hang';
  });
  const answer = tell({ kind: 'multi', user: { key: 'alice' }, org: { key: 'acme' } });
  await arrived;
  await putSnapshot(table, prefix, asksTwice, { epoch: 1, seq: 2 }, undefined, 'hash-b.b');
  await follow(2);
  expect(await answer).toBe(NOT_KNOWN);
});
