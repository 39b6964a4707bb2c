import { hash } from 'node:crypto';
import { createReader, type Reader, type ReaderConfig } from '../../../lambda/edge-reader/index.ts';
import type { Reason } from '../../../lib/evaluation/index.ts';
import { encodeInited, encodeOfficialItem, type Item } from '../../../lib/flag-table/index.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import {
  type Environment,
  evaluateAll,
  exampleContexts,
  exampleEnvironment,
} from '../../support/example-environment.ts';
import { startOfficialSdk } from './official-sdk.ts';
import { item, itemsOf, put, putMembership, putOfficial, putSnapshot, putSynchronizedOn } from './table-writer.ts';

const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
const environment = exampleEnvironment();
let table: TestTable;

beforeAll(async () => {
  table = await startTable();
  await putOfficial(table, 'official', itemsOf(environment));
  await putOfficial(table, '', itemsOf(environment));
  await putOfficial(table, 'both', itemsOf(environment));
  await putSnapshot(table, 'both', itemsOf(environment), { epoch: 7, seq: 1 });
});
afterAll(() => table.close());

function open(prefix: string, options: Partial<ReaderConfig> = {}): Reader {
  const { endpoint, tableName } = table;
  const base = { tableName, prefix, endpoint, replicas: { default: ['eu-west-1'] }, coldDeadlineMs: 10_000 };
  return createReader({ ...base, ...options }, { env });
}

describe.each([
  { form: 'the snapshot', prefix: 'both', source: 'snapshot' },
  { form: 'the official layout', prefix: 'official', source: 'official' },
  { form: 'the official layout without a prefix', prefix: '', source: 'official' },
])('a reader of $form', ({ prefix, source }) => {
  test('gives the evaluator’s answer for every flag and context', async () => {
    const expected = evaluateAll(environment, 'fallback');
    const reader = open(prefix);
    for (const [question, detail] of expected) {
      const [flag, context] = JSON.parse(question);
      expect([question, await reader.variationDetail(flag, context, 'fallback')]).toEqual([question, detail]);
      expect(reader.evaluate(flag, context, 'fallback')).toEqual(detail);
    }
    expect(reader.status()).toMatchObject({ state: 'ready', source, replica: 'eu-west-1', message: '' });
  });

  test("gives LaunchDarkly's SDK's answer for every flag and context @heavy", async () => {
    const sdk = await startOfficialSdk(table, prefix);
    const reader = open(prefix);
    for (const flag of [...Object.keys(environment.flags), 'no-such-flag']) {
      for (const context of exampleContexts) {
        const { value, variationIndex, reason } = await sdk.variationDetail(flag, context as never, 'fallback');
        expect(await reader.variationDetail(flag, context as never, 'fallback')).toEqual({
          value,
          variationIndex: variationIndex ?? null,
          reason,
        });
      }
    }
    sdk.close();
  });

  test("gives the same state of all flags as LaunchDarkly's SDK", async () => {
    const sdk = await startOfficialSdk(table, prefix);
    const reader = open(prefix);
    for (const options of [{}, { clientSideOnly: true }, { withReasons: true, detailsOnlyForTrackedFlags: true }]) {
      for (const context of exampleContexts.slice(0, 6)) {
        const expected = (await sdk.allFlagsState(context as never, options)).toJSON();
        expect(JSON.parse(JSON.stringify(await reader.allFlagsState(context as never, options)))).toEqual(
          JSON.parse(JSON.stringify(expected)),
        );
      }
    }
    sdk.close();
  });

  test('gives different errors for a wrong type, an unknown flag and an invalid context', async () => {
    const reader = open(prefix);
    const flag = Object.values(environment.flags).find(
      ({ variations }) => typeof (variations as unknown[])[0] === 'boolean',
    )!;
    const context = { kind: 'user', key: 'alice' };
    const kindOf = async (detail: Promise<{ reason: Reason }>) => (await detail).reason;
    const key = String(flag.key);
    expect(typeof (await reader.boolVariation(key, context, false))).toBe('boolean');
    expect(await kindOf(reader.stringVariationDetail(key, context, 'x'))).toEqual({
      kind: 'ERROR',
      errorKind: 'WRONG_TYPE',
    });
    expect(await reader.numberVariation(key, context, 5)).toBe(5);
    const missing = { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' };
    expect(await reader.variationDetail('missing', context, 1)).toEqual({
      value: 1,
      variationIndex: null,
      reason: missing,
    });
    const bad = { kind: 'ERROR', errorKind: 'USER_NOT_SPECIFIED' };
    expect(await kindOf(reader.variationDetail(key, { kind: 'user' } as never, 1))).toEqual(bad);
  });
});

describe('a reader makes', () => {
  const chain: Environment = {
    flags: {
      a: flagWith({ key: 'a', prerequisites: [{ key: 'b', variation: 0 }], segments: ['s1', 's2'] }),
      b: flagWith({ key: 'b', segments: ['s3'] }),
    },
    segments: {
      s1: { key: 's1', version: 1, included: ['alice'], salt: '' },
      s2: { key: 's2', version: 1, included: ['bob'], salt: '' },
      s3: { key: 's3', version: 1, salt: '', rules: [{ clauses: [segmentMatch(['s4'])] }] },
      s4: { key: 's4', version: 1, included: ['alice'], salt: '' },
    },
  };

  test('one request for a snapshot, whichever flags are evaluated', async () => {
    await putSnapshot(table, 'chain', itemsOf(chain), { epoch: 1, seq: 1 });
    const reader = open('chain');
    table.resetConsumed();
    expect((await reader.variationDetail('a', { kind: 'user', key: 'alice' }, null)).reason.kind).toBe('RULE_MATCH');
    await reader.variation('b', { kind: 'user', key: 'alice' }, null);
    await reader.variation('unknown', { kind: 'user', key: 'alice' }, null);
    await reader.allFlagsState({ kind: 'user', key: 'alice' });
    expect(table.consumed.requests).toEqual({ BatchGetItem: 1 });
  });

  test('one request per level of dependencies in the official layout, after looking for a snapshot', async () => {
    await putOfficial(table, 'chain-official', itemsOf(chain));
    const reader = open('chain-official');
    await reader.ready();
    table.resetConsumed();
    const [first] = await Promise.all([
      reader.variationDetail('a', { kind: 'user', key: 'alice' }, null),
      reader.variationDetail('a', { kind: 'user', key: 'bob' }, null),
    ]);
    expect(first.reason).toMatchObject({ kind: 'RULE_MATCH', ruleIndex: 0 });
    // a; then b, s1 and s2; then s3; then s4.
    expect(table.consumed.requests).toEqual({ GetItem: 3, BatchGetItem: 1 });
    await reader.variation('a', { kind: 'user', key: 'bob' }, null);
    await reader.variation('b', { kind: 'user', key: 'bob' }, null);
    expect(table.consumed.requests).toEqual({ GetItem: 3, BatchGetItem: 1 });
  });

  test('one request for a flag that does not exist', async () => {
    const reader = open('chain-official');
    await reader.ready();
    table.resetConsumed();
    for (let i = 0; i < 3; i += 1) await reader.variation('nobody', { kind: 'user', key: 'alice' }, null);
    expect(table.consumed.requests).toEqual({ GetItem: 1 });
  });

  test('as many requests as needed for more than a hundred dependencies and more than a page of flags @heavy', async () => {
    const names = Array.from({ length: 130 }, (_, index) => `s${index}`);
    const flag = flagWith({ key: 'wide', segments: names });
    const segments = names.map((key) => item('segments', { key, included: key === 's129' ? ['alice'] : [], salt: '' }));
    // 1.2 MB: DynamoDB ends a page at 1 MB.
    const big = Array.from({ length: 12 }, (_, index) =>
      item('features', { ...flagWith({ key: `big${index}` }), description: 'x'.repeat(100_000) }),
    );
    await putOfficial(table, 'wide', [item('features', flag), ...segments]);
    for (const one of big) await putOfficial(table, 'wide', [one]);
    const reader = open('wide');
    expect((await reader.variationDetail('wide', { kind: 'user', key: 'alice' }, null)).reason.kind).toBe('RULE_MATCH');
    expect(Object.keys(await reader.allFlagsState({ kind: 'user', key: 'alice' }))).toHaveLength(13 + 2);
  });
});

describe('a reader with Big Segments', () => {
  const prefix = 'big';
  const flag = flagWith({ key: 'flag', segments: ['vip'] });
  const segment = { key: 'vip', version: 1, unbounded: true, generation: 3, salt: '' };
  // SHA-256 in base64, as in LaunchDarkly's published example.
  const hashed = 'CEXjZY7cHJG/ydFy7q4+YEFwVrG3/pkJwA4FAjrbfx0=';

  beforeAll(async () => {
    await putSnapshot(table, prefix, [item('features', flag), item('segments', segment)], { epoch: 1, seq: 1 });
    await putMembership(table, prefix, hashed, { included: ['vip.g3'], excluded: ['vip.g3'] });
    await putMembership(table, prefix, hash('sha256', 'out', 'base64'), { excluded: ['vip.g3'] });
  });

  test('reads memberships from the table and reports their status in the reason', async () => {
    const startedAt = Date.now();
    let skew = 0;
    const { endpoint, tableName } = table;
    const config = { tableName, prefix, endpoint, replicas: { default: ['eu-west-1'] }, coldDeadlineMs: 10_000 };
    const reader = createReader(config, { env, now: () => startedAt + skew });
    const ask = async (key: string) => (await reader.variationDetail('flag', { kind: 'user', key }, null)).reason;

    await putSynchronizedOn(table, prefix, startedAt);
    expect(reader.evaluate('flag', { kind: 'user', key: 'user-key' }, 1).reason).toMatchObject({ kind: 'ERROR' });
    expect(await ask('user-key')).toEqual({
      kind: 'RULE_MATCH',
      ruleIndex: 0,
      ruleId: 'r',
      bigSegmentsStatus: 'HEALTHY',
    });
    expect(await ask('out')).toEqual({ kind: 'FALLTHROUGH', bigSegmentsStatus: 'HEALTHY' });
    expect(await ask('stranger')).toEqual({ kind: 'FALLTHROUGH', bigSegmentsStatus: 'HEALTHY' });
    expect(reader.evaluate('flag', { kind: 'user', key: 'user-key' }, 1).reason.kind).toBe('RULE_MATCH');

    // Cached for 5 s, however often it is used, then read again.
    table.resetConsumed();
    skew += 4_900;
    expect((await ask('user-key')).bigSegmentsStatus).toBe('HEALTHY');
    expect(table.consumed.requests.BatchGetItem).toBe(undefined);
    skew += 200;
    await putSynchronizedOn(table, prefix, startedAt + skew - 120_001);
    expect(await ask('user-key')).toMatchObject({ kind: 'RULE_MATCH', bigSegmentsStatus: 'STALE' });
    // On a busy machine a slow answer is asked for a second time.
    expect(table.consumed.requests.BatchGetItem).toBeGreaterThan(0);
  });

  test('reports NOT_CONFIGURED when they are switched off', async () => {
    const reader = open(prefix, { bigSegments: false });
    const { reason } = await reader.variationDetail('flag', { kind: 'user', key: 'user-key' }, null);
    expect(reason).toEqual({ kind: 'FALLTHROUGH', bigSegmentsStatus: 'NOT_CONFIGURED' });
  });
});

test('a reader is not ready while the table is being filled, names table and prefix, never answers "flag not found", and then has all flags', async () => {
  const [first, ...rest] = itemsOf(environment);
  const official = (items: Item[]) => items.map((one) => encodeOfficialItem('filling', one));
  for (const attributes of official([first!])) await put(table, attributes);
  const reader = open('filling');
  for (const flag of [first!.key, 'retired']) {
    expect(await reader.variationDetail(flag, exampleContexts[0] as never, 'fallback')).toEqual({
      value: 'fallback',
      variationIndex: null,
      reason: { kind: 'ERROR', errorKind: 'CLIENT_NOT_READY' },
    });
  }
  expect(reader.status()).toMatchObject({ state: 'unreachable', message: 'no flags in table flags, prefix "filling"' });
  for (const attributes of [...official(rest), encodeInited('filling')]) await put(table, attributes);
  expect(await reader.variation('retired', exampleContexts[0] as never, 'fallback')).toBe('off');
});

test('a reader config with several errors is rejected with a message that lists them all', () => {
  const wrong = {
    tableName: 'x',
    replicas: { default: [], 'eu-west-1': ['Ireland'] },
    refreshMs: -1,
    endpoint: 'ftp://x',
    staleWaitMs: 75,
  };
  const read = () => createReader(wrong);
  expect(read).toThrow(/tableName="x" is invalid: expected the name of a table/);
  expect(read).toThrow(/replicas\.default=\[\] is invalid: expected at least one region, such as eu-west-1/);
  expect(read).toThrow(/replicas\.eu-west-1=\["Ireland"\] is invalid: expected /);
  expect(read).toThrow(/refreshMs=-1 is invalid: expected an integer of at least 1 \(ms\)/);
  expect(read).toThrow(/endpoint="ftp:\/\/x" is invalid: expected an http or https origin/);
  expect(read).toThrow(/staleWaitMs is not an option: expected tableName, .*maxWaitMs/);
});

function segmentMatch(values: readonly string[]) {
  return { attribute: '', op: 'segmentMatch', values, negate: false };
}

function flagWith({
  key,
  prerequisites = [],
  segments = [],
}: {
  key: string;
  prerequisites?: unknown[];
  segments?: string[];
}) {
  return {
    key,
    version: 1,
    on: true,
    prerequisites,
    rules: segments.length ? [{ id: 'r', variation: 0, clauses: [segmentMatch(segments)] }] : [],
    fallthrough: { variation: 0 },
    offVariation: 1,
    variations: [true, false],
    salt: '',
  };
}

test('what throws in the caller’s context costs the answer, not the call', async () => {
  const byEmail = { variation: 0, clauses: [{ attribute: 'email', op: 'endsWith', values: ['@x'] }] };
  const flag = { key: 'f', version: 1, on: true, variations: ['a'], rules: [byEmail], fallthrough: { variation: 0 } };
  await putSnapshot(table, 'throws', [item('features', flag)], { epoch: 1, seq: 1 });
  const reader = open('throws');
  await reader.ready();
  const context = {
    kind: 'user',
    key: 'alice',
    get email(): string {
      throw new Error('a getter of the caller');
    },
  };
  const failed = { value: 'fallback', variationIndex: null, reason: { kind: 'ERROR', errorKind: 'EXCEPTION' } };
  expect(await reader.variationDetail('f', context, 'fallback')).toEqual(failed);
  expect(reader.evaluate('f', context, 'fallback')).toEqual(failed);
  expect(await reader.variation('f', context, 'fallback')).toBe('fallback');
  expect(await reader.allFlagsState(context)).toMatchObject({ $valid: true, f: null });
});
