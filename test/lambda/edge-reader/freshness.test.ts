/** When a reader reads the table again, and how it answers while the table fails. The tests move the clock. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createReader, type Reader, type ReaderConfig } from '../../../lambda/edge-reader/index.ts';
import { encodeBody } from '../../../lib/flag-table/index.ts';
import { MAX_INFLATED_BYTES, sealBody } from '../../../lib/flag-table/snapshot-format.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { type Behaviour, type Replica, startReplica } from './replica.ts';
import { item, put, putDelta, putHead, putOfficial, putSnapshot } from './table-writer.ts';

const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
const context = { kind: 'user', key: 'alice' };
const notReady = { value: 'fallback', variationIndex: null, reason: { kind: 'ERROR', errorKind: 'CLIENT_NOT_READY' } };
const rejections: unknown[] = [];
const note = (reason: unknown) => void rejections.push(reason);

let table: TestTable;
let near: Replica;
let far: Replica;
let skew = 0;
/** Set while time stands still, in Unix ms. */
let stoppedAt: number | undefined;
let prefixes = 0;
let prefix = '';

beforeAll(async () => {
  process.on('unhandledRejection', note);
  table = await startTable();
});
beforeEach(async () => {
  skew = 0;
  stoppedAt = undefined;
  prefix = `p${++prefixes}`;
  [near, far] = [await startReplica(table.endpoint), await startReplica(table.endpoint)];
});
afterEach(async () => {
  await Promise.all([near.close(), far.close()]);
  expect(rejections).toEqual([]);
});
afterAll(async () => {
  process.off('unhandledRejection', note);
  await table.close();
});

function open(options: Partial<ReaderConfig> = {}, regions = ['eu-west-1']): Reader {
  const endpoint = { 'eu-west-1': near.endpoint, 'us-east-1': far.endpoint };
  const base = { tableName: table.tableName, prefix, endpoint, coldDeadlineMs: 60_000, maxWaitMs: 60_000 };
  // 0.5 means no jitter.
  const around = { env, now: () => (stoppedAt ?? Date.now()) + skew, random: () => 0.5 };
  return createReader({ ...base, replicas: { default: regions }, ...options }, around);
}

/**
 * A reader that has read `old`, from a replica so slow that it will wait for a second: on a busy machine, too, that is enough for a quick
 * one.
 */
async function openSlowly(options: Partial<ReaderConfig> = {}, regions?: string[]): Promise<Reader> {
  near.delay(250);
  const reader = open(options, regions);
  expect(await ask(reader)).toBe('old');
  near.delay(0);
  return reader;
}

const flag = (variation: number, version = 1, key = 'flag') => ({
  key,
  version,
  on: true,
  fallthrough: { variation },
  variations: ['old', 'new'],
  salt: '',
});
const one = (variation: number, version = 1) => [item('features', flag(variation, version))];
const ask = (reader: Reader) => reader.variation('flag', context, 'fallback');
/** The answer, or undefined if it waited for anything: without a wait it is there before the event loop turns. */
async function askWithoutWaiting(reader: Reader): Promise<unknown> {
  let atOnce: unknown;
  const answered = ask(reader).then((value) => {
    atOnce = value;
  });
  await turnsOfLoop(1);
  const seen = atOnce;
  await answered;
  return seen;
}
const detail = (reader: Reader) => reader.variationDetail('flag', context, 'fallback');
const asked = (replica: Replica) => replica.asked.map(({ operation }) => operation);

/** Writes the first state of either layout. */
const forms: Record<string, () => Promise<void>> = {
  snapshot: () => putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 }),
  official: () => putOfficial(table, prefix, one(0)),
};
const change: Record<string, () => Promise<void>> = {
  snapshot: () => putDelta(table, prefix, one(1, 2), { epoch: 1, seq: 2 }, { epoch: 1, seq: 1 }),
  official: () => putOfficial(table, prefix, one(1, 2)),
};

describe.each(['snapshot', 'official'])('a reader of the %s layout', (form) => {
  test('answers from memory within the refresh interval, without a request', async () => {
    await forms[form]!();
    const reader = open();
    expect(await ask(reader)).toBe('old');
    await change[form]!();
    near.asked.length = 0;
    skew = 7_900;
    for (let i = 0; i < 5; i += 1) expect(await ask(reader)).toBe('old');
    expect(near.asked).toEqual([]);
  });

  test('answers at once shortly before the interval is over, and refreshes in the background', async () => {
    await forms[form]!();
    const reader = open({ coldDeadlineMs: 1_000 });
    await eventually(async () => expect(await ask(reader)).toBe('old'));
    await change[form]!();
    near.asked.length = 0;
    skew = 8_100;
    // The read hangs, so the answer cannot have waited for it.
    near.behave('hang');
    expect(await Promise.all([ask(reader), ask(reader), ask(reader)])).toEqual(['old', 'old', 'old']);
    await eventually(() => expect(near.asked).not.toEqual([]));
    near.behave('pass');
    skew += 200_000;
    await eventually(async () => expect(await ask(reader)).toBe('new'));
    expect(reader.status()).toMatchObject({ state: 'ready' });
  });

  test.each([10_001, 70_000, 3_600_000])('waits for newer data when its own is %i ms old', async (ageMs) => {
    await forms[form]!();
    const reader = await openSlowly();
    await change[form]!();
    skew = ageMs;
    expect(await Promise.all([ask(reader), ask(reader)])).toEqual(['new', 'new']);
    expect(reader.status().ageMs).toBeLessThan(10_000);
  });

  test('with a longest wait of 0 it never waits', async () => {
    await forms[form]!();
    const reader = open({ maxWaitMs: 0 });
    expect(await ask(reader)).toBe('old');
    near.behave('hang');
    skew = 24 * 3_600_000;
    expect(await askWithoutWaiting(reader)).toBe('old');
    expect(reader.status()).toMatchObject({ state: 'stale', message: expect.stringContaining('not read') });
  });

  test('waits in vain once, and not again before another interval is over @heavy', async () => {
    await forms[form]!();
    const reader = await openSlowly({ coldDeadlineMs: 900, maxWaitMs: 600 });
    near.behave('hang');
    skew = 20_000;
    expect(await askWithoutWaiting(reader)).toBeUndefined();
    for (let i = 0; i < 4; i += 1) expect(await askWithoutWaiting(reader)).toBe('old');
    near.behave('pass');
    skew += 200_000;
    await change[form]!();
    await eventually(async () => expect(await ask(reader)).toBe('new'));
  });

  const faults: Behaviour[] = ['hang', 'cut', 'half', 'missing', 'throttle', 'broken'];
  test.each(faults)('keeps answering from memory while the table answers with: %s', async (fault) => {
    await forms[form]!();
    const reader = open({ maxWaitMs: 50, coldDeadlineMs: 100 });
    // On a busy machine the first read may miss its deadline.
    await eventually(async () => expect(await ask(reader)).toBe('old'));
    await change[form]!();
    near.behave(fault);
    for (let i = 0; i < 3; i += 1) {
      skew += 61_000;
      expect(await ask(reader)).toBe('old');
      await eventually(() => expect(reader.status().lastError).toBeDefined());
    }
    expect(reader.status()).toMatchObject({ state: 'stale' });
    near.behave('pass');
    skew += 61_000;
    await eventually(async () => expect(await ask(reader)).toBe('new'));
    expect(reader.status()).toMatchObject({ state: 'ready', message: '' });
  });

  const coldFaults: Behaviour[] = ['hang', 'cut', 'half', 'throttle', 'broken'];
  test.each(coldFaults)(
    'without data, answers the fallback with CLIENT_NOT_READY, never FLAG_NOT_FOUND, when the table answers with: %s',
    async (fault) => {
      await forms[form]!();
      near.behave(fault);
      const reader = open({ coldDeadlineMs: 100 });
      expect(await detail(reader)).toEqual(notReady);
      expect(reader.evaluate('flag', context, 'fallback')).toEqual(notReady);
      expect(await reader.allFlagsState(context)).toEqual({ $flagsState: {}, $valid: false });
      await eventually(() => expect(reader.status()).toMatchObject({ state: 'unreachable', source: undefined }));
      expect(reader.status().message).toMatch(/^no replica answered: eu-west-1: /);
      near.behave('pass');
      await eventually(async () => {
        skew += 1_000;
        expect(await ask(reader)).toBe('old');
      });
    },
  );

  test('uses the next replica when the nearest fails, and the nearest again after a pause', async () => {
    await forms[form]!();
    near.behave('cut');
    const reader = open({}, ['eu-west-1', 'us-east-1']);
    expect(await ask(reader)).toBe('old');
    expect(reader.status()).toMatchObject({ state: 'ready', replica: 'us-east-1' });
    near.behave('pass');
    near.asked.length = 0;
    await change[form]!();
    skew += 61_000;
    expect(await ask(reader)).toBe('new');
    expect(near.asked.length).toBeGreaterThan(0);
    expect(reader.status()).toMatchObject({ replica: 'eu-west-1' });
  });

  test('spends at most half of the deadline on a replica that hangs', async () => {
    await forms[form]!();
    near.behave('hang');
    // It is asked once the other one has failed.
    far.behave(() => {
      stoppedAt ??= Date.now();
      return 'pass';
    });
    // The other half is enough for the second replica on a busy machine, too.
    const reader = open({ coldDeadlineMs: 12_000 }, ['eu-west-1', 'us-east-1']);
    expect(await ask(reader)).toBe('old');
    // The failed replica is skipped for a while.
    const before = near.asked.length;
    skew += 100;
    await reader.variation('other', context, null);
    expect(near.asked).toHaveLength(before);
  });
});

test.each(['snapshot', 'official'])(
  'cold, one answer that fails is asked for again within the deadline (%s layout)',
  async (form) => {
    await forms[form]!();
    for (const fault of ['throttle', 'broken', 'cut', 'half'] as const) {
      near.asked.length = 0;
      near.behave((_asked, nth) => (nth === 1 ? fault : 'pass'));
      expect([fault, await ask(open())]).toEqual([fault, 'old']);
    }
  },
);

test('an answer that lasts is not asked for again at once', async () => {
  await putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 });
  near.behave('denied');
  const reader = open();
  expect(await detail(reader)).toEqual(notReady);
  expect(near.asked).toHaveLength(1);
  expect(reader.status().lastError?.message).toMatch(/AccessDenied/);
});

test('a key that no item can have is no flag, and takes no good one away', async () => {
  await putOfficial(table, prefix, one(0));
  const reader = open();
  for (const key of ['', 'x'.repeat(1_025), 'ü'.repeat(513)]) {
    expect(await reader.variationDetail(key, context, 'fallback')).toMatchObject({
      reason: { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' },
    });
    expect(await ask(reader)).toBe('old');
  }
  expect(reader.status().lastError).toBeUndefined();
});

test('flags that do not exist do not count among those for which the whole table is queried @heavy', async () => {
  await putOfficial(table, prefix, one(0));
  const reader = open();
  expect(await ask(reader)).toBe('old');
  for (let i = 0; i < 150; i += 1) expect(await reader.variation(`unknown-${i}`, context, 'fallback')).toBe('fallback');
  await putOfficial(table, prefix, [...one(1, 2), item('features', flag(0, 1, 'unknown-149'))]);
  near.asked.length = 0;
  skew = 30_000;
  await eventually(async () => expect(await ask(reader)).toBe('new'));
  expect(asked(near)).not.toContain('Query');
  // One that was created meanwhile is found.
  expect(await reader.variation('unknown-149', context, 'fallback')).toBe('old');
});

test('keys that DynamoDB left unprocessed are requested again', async () => {
  await putOfficial(table, prefix, [
    item('features', { ...flag(0), prerequisites: ['a', 'b', 'c'].map((key) => ({ key, variation: 0 })) }),
    ...['a', 'b', 'c'].map((key) => item('features', flag(0, 1, key))),
  ]);
  near.behave('unprocessed');
  expect(await detail(open())).toMatchObject({ value: 'old', reason: { kind: 'FALLTHROUGH' } });
});

test.each(['prerequisite', 'segment'])('a %s that cannot be read is never treated as missing', async (which) => {
  await putOfficial(table, prefix, [
    item('features', {
      ...flag(0),
      ...(which === 'prerequisite'
        ? { prerequisites: [{ key: 'other', variation: 0 }] }
        : { rules: [{ variation: 1, clauses: [{ attribute: '', op: 'segmentMatch', values: ['other'] }] }] }),
    }),
    item('features', flag(0, 1, 'other')),
    item('segments', { key: 'other', version: 1, included: ['alice'], salt: '' }),
  ]);
  const reader = open({ coldDeadlineMs: 200 });
  await reader.ready();
  near.behave(({ body }) => (JSON.stringify(body).includes('"other"') ? 'broken' : 'pass'));
  expect(await detail(reader)).toEqual(notReady);
  await eventually(() => expect(reader.status().lastError?.message).toMatch(/HTTP 500/));
  near.behave('pass');
  await eventually(async () => {
    skew += 30_000;
    expect(await detail(reader)).toMatchObject(which === 'segment' ? { value: 'new' } : { value: 'old' });
  });
});

test('refreshes query the whole table once many flags of the official layout are in use @heavy', async () => {
  const keys = Array.from({ length: 101 }, (_, index) => `f${index}`);
  await putOfficial(table, prefix, [...one(0), ...keys.map((key) => item('features', flag(0, 1, key)))]);
  // Time that passes would make further refreshes due, and on a connection that was idle for 5 s, a slow answer is asked for once more.
  stoppedAt = Date.now();
  const reader = open({ refreshMs: 1_000 });
  for (const key of keys) expect(await reader.variation(key, context, null)).toBe('old');
  await putOfficial(table, prefix, [item('features', flag(1, 2, 'f7'))]);
  near.asked.length = 0;
  near.delay(150);
  skew = 2_000;
  await eventually(async () => expect(await reader.variation('f7', context, null)).toBe('new'));
  expect(asked(near)).toEqual(['Query', 'Query']);
  expect(await ask(reader)).toBe('old');
  expect(near.asked).toHaveLength(2);
});

test('a snapshot with a wrong hash is refused, and the official layout is used', async () => {
  await putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 });
  await putOfficial(table, prefix, one(1, 2));
  await put(table, {
    namespace: { S: `${prefix}:$snapshot` },
    key: { S: 'body' },
    format: { N: '1' },
    rev: { S: '000000000000000001.0000000001' },
    bank: { N: '0' },
    parts: { N: '0' },
    sha256: { B: Buffer.alloc(32) },
    data: { B: Buffer.alloc(64) },
  });
  const reader = open();
  expect(await ask(reader)).toBe('new');
  expect(reader.status()).toMatchObject({ source: 'official', state: 'ready' });
  expect(reader.status().lastError?.message).toMatch(/hash/);
});

test('the reader reads again soon, even without a call, while the head is newer than the rest of the replica', async () => {
  await putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 });
  await putHead(table, prefix, { epoch: 1, seq: 2 });
  const reader = open();
  expect(await ask(reader)).toBe('old');
  await change.snapshot!();
  // Calling status() starts no read.
  await eventually(() => expect(reader.status().rev).toBe('000000000000000001.0000000002'));
  expect(await ask(reader)).toBe('new');
  // The next refresh interval was never reached.
  expect(skew).toBe(0);
});

test('the reader switches to the snapshot once the table has one', async () => {
  await putOfficial(table, prefix, one(0));
  const reader = open();
  expect(await ask(reader)).toBe('old');
  await putSnapshot(table, prefix, one(1, 2), { epoch: 1, seq: 1 });
  skew = 61_000;
  expect(await ask(reader)).toBe('new');
  expect(reader.status()).toMatchObject({ source: 'snapshot', lastError: undefined });
});

test('the status is stale, and answers continue, when the relay has not confirmed its data for five minutes', async () => {
  await putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 }, Date.now() - 301_000);
  const reader = open();
  expect(await ask(reader)).toBe('old');
  expect(reader.status()).toMatchObject({ state: 'stale', message: expect.stringMatching(/^stale \(3\d\d s\)/) });
});

test('a clock that is set back does not stop refreshes', async () => {
  await putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 });
  const reader = open();
  expect(await ask(reader)).toBe('old');
  await change.snapshot!();
  skew = -3_600_000;
  await eventually(async () => expect(await ask(reader)).toBe('new'));
});

test('the next replica is asked once the nearest is silent for longer than its distance explains', async () => {
  await putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 });
  const reader = open({ coldDeadlineMs: 600_000 }, ['eu-west-1', 'us-east-1']);
  expect(await ask(reader)).toBe('old');
  await change.snapshot!();
  near.behave('hang');
  skew = 61_000;
  await eventually(async () => expect(await ask(reader)).toBe('new'));
  expect(reader.status().replica).toBe('us-east-1');
});

test('an answer that is of no use does not make older what is read after it', async () => {
  await putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 });
  const reader = open();
  expect(await ask(reader)).toBe('old');
  await change.snapshot!();
  skew = 61_000;
  near.asked.length = 0;
  near.behave((_asked, nth) => {
    if (nth > 1) return 'pass';
    skew += 30_000;
    return 'missing';
  });
  await eventually(async () => expect(await ask(reader)).toBe('new'));
  expect(reader.status().ageMs).toBeLessThan(30_000);
});

test('a refresh without changes takes one Query, and unchanged flags stay compiled', async () => {
  const others = [item('features', flag(0, 1, 'a')), item('features', flag(0, 1, 'b'))];
  await putSnapshot(table, prefix, [...one(0), ...others], { epoch: 1, seq: 1 });
  const reader = open();
  const before = await reader.variationDetail('a', context, null);
  near.asked.length = 0;
  skew = 61_000;
  await ask(reader);
  expect(asked(near)).toEqual(['Query']);
  // A read that found no changes makes the data current.
  expect(reader.status()).toMatchObject({ state: 'ready', message: '' });
  expect(reader.status().ageMs).toBeLessThan(60_000);
  await change.snapshot!();
  skew += 61_000;
  expect(await ask(reader)).toBe('new');
  // Compiled flags keep their results: the same object means that nothing was parsed again.
  expect(await reader.variationDetail('a', context, null)).toBe(before);
});

test('of flags that change again and again, one version stays in memory @heavy', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const keys = Array.from({ length: 20 }, (_, index) => `flag-${index}`);
  const flags = (version: number) => keys.map((key) => item('features', flag(0, version, key)));
  await putSnapshot(table, prefix, flags(1), { epoch: 1, seq: 1 });
  const reader = open();
  /** Of a compiled flag, which keeps its results. */
  const results: WeakRef<object>[] = [];
  for (let version = 1; version < 8; version += 1) {
    if (version > 1) await putDelta(table, prefix, flags(version), { epoch: 1, seq: version }, { epoch: 1, seq: 1 });
    skew += 61_000;
    await eventually(async () => {
      await ask(reader);
      expect(reader.status().rev).toContain(`.000000000${version}`);
    });
    for (const key of keys) results.push(new WeakRef(await reader.variationDetail(key, context, null)));
  }
  await eventually(() => {
    collect();
    expect(results.filter((one) => one.deref())).toHaveLength(keys.length);
  });
});

/** A snapshot with a right hash that says it is larger than what a reader takes. */
async function putTooLarge(seq: number): Promise<void> {
  const rev = { epoch: 1, seq };
  const { body } = await encodeBody({ prefix, items: one(1, seq), rev, bank: 0 });
  const data = Buffer.from(Object(body.data).B as Uint8Array);
  // A count of blocks, the dictionary's length, then of each block its bytes and what they inflate to.
  data.writeUInt32LE(MAX_INFLATED_BYTES + 1, 12);
  await put(table, { ...body, data: { B: data }, sha256: { B: sealBody(rev, 0, 0, data) } });
  await putHead(table, prefix, rev);
}

describe('of a snapshot above the bound of memory', () => {
  const says = `inflates to ${MAX_INFLATED_BYTES + 1} bytes`;

  test('nothing is inflated: a reader without flags answers from the official layout, if there is one', async () => {
    await putTooLarge(1);
    const reader = open({ coldDeadlineMs: 3_000 });
    expect(await detail(reader)).toEqual(notReady);
    expect(reader.status()).toMatchObject({ state: 'unreachable', lastError: { message: expect.any(String) } });
    await putOfficial(table, prefix, one(1));
    const other = open();
    expect(await ask(other)).toBe('new');
    expect(other.status().source).toBe('official');
  });

  test('a reader that holds flags keeps them and says so, until there is one that fits', async () => {
    await putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 });
    const reader = open();
    expect(await ask(reader)).toBe('old');
    await putTooLarge(2);
    skew = 20_000;
    expect(await ask(reader)).toBe('old');
    await eventually(() => expect(reader.status().lastError?.message).toContain(says));
    await putSnapshot(table, prefix, one(1, 3), { epoch: 1, seq: 3 });
    skew += 120_000;
    await eventually(async () => expect(await ask(reader)).toBe('new'));
  });
});

test('unchanged items of the official layout stay compiled', async () => {
  await putOfficial(table, prefix, [...one(0), item('features', flag(0, 1, 'a'))]);
  const reader = open();
  expect(await ask(reader)).toBe('old');
  const before = await reader.variationDetail('a', context, null);
  await change.official!();
  skew = 61_000;
  expect(await ask(reader)).toBe('new');
  expect(await reader.variationDetail('a', context, null)).toBe(before);
});

test('credentials are read for each request', async () => {
  await putSnapshot(table, prefix, one(0), { epoch: 1, seq: 1 });
  const changing: Record<string, string> = { ...env };
  const config = { tableName: table.tableName, prefix, endpoint: near.endpoint, replicas: { default: ['eu-west-1'] } };
  const reader = createReader(config, { env: changing, now: () => Date.now() + skew });
  await ask(reader);
  changing.AWS_ACCESS_KEY_ID = 'rotated';
  changing.AWS_SESSION_TOKEN = 'token';
  skew = 61_000;
  await ask(reader);
  await eventually(() => expect(near.asked).toHaveLength(2));
  const [first, second] = near.asked.map(({ headers }) => headers);
  expect(first!.authorization).toContain('Credential=test/');
  expect(first!['x-amz-security-token']).toBeUndefined();
  expect(second!.authorization).toContain('Credential=rotated/');
  expect(second!['x-amz-security-token']).toBe('token');
});
