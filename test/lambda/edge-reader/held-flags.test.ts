/** Flags that a program holds itself. Oracles: LaunchDarkly's Node SDK with its file and test data sources. */
import { createHmac } from 'node:crypto';
import { init, integrations, type LDClient, type LDContext } from '@launchdarkly/node-server-sdk';
import { JSDOM } from 'jsdom';
import {
  createOfflineReader,
  createReader,
  type EvaluationContext,
  type HeldFlags,
  jsonForHtml,
  type Reader,
  type ReaderOptions,
  secureModeHash,
} from '../../../lambda/edge-reader/index.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { exampleContexts, exampleEnvironment, exampleFile } from '../../support/example-environment.ts';
import { silentLog } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { type Replica, startReplica } from './replica.ts';
import { item, putSnapshot } from './table-writer.ts';

const { behind } = closeAfterEach();
const alice = { kind: 'user', key: 'alice' };
const contexts = exampleContexts as readonly EvaluationContext[];
const flagValues = { text: 'a', truth: true, number: 0, object: { a: [1] }, nothing: null };

async function startSdk(options: object): Promise<LDClient> {
  const client = init('sdk-test', { sendEvents: false, diagnosticOptOut: true, logger: silentLog, ...options });
  behind(() => client.close());
  await client.waitForInitialization({ timeout: 60 });
  return client;
}

/** Every way to ask for one flag. */
async function answers(reader: Reader | LDClient, key: string, context: EvaluationContext) {
  const asked = context as LDContext;
  const details = await Promise.all([
    reader.variationDetail(key, asked, 'other'),
    reader.boolVariationDetail(key, asked, false),
    reader.numberVariationDetail(key, asked, 7),
    reader.stringVariationDetail(key, asked, 'other'),
    reader.jsonVariationDetail(key, asked, { other: 1 }),
  ]);
  const values = await Promise.all([
    reader.variation(key, asked, 'other'),
    reader.boolVariation(key, asked, false),
    reader.numberVariation(key, asked, 7),
    reader.stringVariation(key, asked, 'other'),
    reader.jsonVariation(key, asked, { other: 1 }),
  ]);
  return {
    details: details.map(({ value, variationIndex, reason }) => ({
      value,
      variationIndex: variationIndex ?? null,
      reason,
    })),
    values,
  };
}

describe('an offline reader', () => {
  test("answers as LaunchDarkly's SDK with its file data source @heavy", async () => {
    const sdk = await startSdk({
      updateProcessor: new integrations.FileDataSourceFactory({ paths: [exampleFile] }).getFactory(),
    });
    const held = exampleEnvironment();
    const reader = createOfflineReader(held);
    await reader.ready();
    for (const key of [...Object.keys(held.flags), 'no-such-flag']) {
      for (const context of contexts) {
        expect([key, context, await answers(reader, key, context)]).toEqual([
          key,
          context,
          await answers(sdk, key, context),
        ]);
      }
    }
    for (const context of contexts) {
      const ours = await reader.allFlagsState(context, { clientSideOnly: true, withReasons: true });
      const theirs = await sdk.allFlagsState(context as LDContext, { clientSideOnly: true, withReasons: true });
      expect(JSON.parse(JSON.stringify(ours))).toEqual(JSON.parse(JSON.stringify(theirs.toJSON())));
    }
    expect(reader.status()).toMatchObject({ state: 'ready', message: '', source: 'held', ageMs: expect.any(Number) });
  });

  test('has flags of one value', async () => {
    const reader = createOfflineReader({ flagValues });
    for (const [key, value] of Object.entries(flagValues)) {
      const detail = { value, variationIndex: 0, reason: { kind: 'FALLTHROUGH' } };
      expect(await reader.variationDetail(key, alice, 'other')).toEqual(detail);
      expect(reader.evaluate(key, alice, 'other')).toEqual(detail);
    }
    expect(await reader.boolVariation('text', alice, true)).toBe(true);
  });

  test('refuses a flag that is there twice', () => {
    const held: HeldFlags = { flags: { one: { key: 'one' } }, flagValues: { one: 1 } };
    expect(() => createOfflineReader(held)).toThrow('flag one is in both flags and flagValues; keep one');
  });

  test.each([null, undefined, 7, {}, { kind: 'user' }, { kind: 'user', key: '' }])(
    'has no answer for the context %j',
    async (context) => {
      const { reason } = await createOfflineReader({ flagValues }).variationDetail('text', context as never, 'other');
      expect(reason).toEqual({ kind: 'ERROR', errorKind: 'USER_NOT_SPECIFIED' });
    },
  );

  test('answers a context that throws with its fallback', async () => {
    const context = {
      kind: 'user',
      get key(): string {
        throw new Error('mine');
      },
    };
    const reader = createOfflineReader({ flagValues });
    const failed = { value: 'other', variationIndex: null, reason: { kind: 'ERROR', errorKind: 'EXCEPTION' } };
    expect(await reader.variationDetail('text', context, 'other')).toEqual(failed);
    expect(reader.evaluate('text', context, 'other')).toEqual(failed);
  });
});

describe('beside a table', () => {
  const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  let table: TestTable;
  let replica: Replica;
  const flag = (key: string, value: unknown) =>
    item('features', {
      ...{ key, version: 3, on: true, fallthrough: { variation: 0 }, variations: [value], salt: '' },
      clientSideAvailability: { usingEnvironmentId: true },
    });

  beforeAll(async () => {
    table = await startTable();
    await putSnapshot(table, 'p', [flag('text', 'table'), flag('other', 'table')], { epoch: 1, seq: 1 });
  });
  beforeEach(async () => {
    replica = await startReplica(table.endpoint);
  });
  afterEach(() => replica.close());
  afterAll(() => table.close());

  function open(more: ReaderOptions, coldDeadlineMs = 60_000, refreshMs = 10_000) {
    const { tableName } = table;
    const where = { tableName, prefix: 'p', endpoint: replica.endpoint, replicas: { default: ['eu-west-1'] } };
    return createReader({ ...where, coldDeadlineMs, refreshMs, maxWaitMs: 60_000 }, { env, ...more });
  }

  test("overrides answer as LaunchDarkly's test data source, other flags as the table", async () => {
    const data = new integrations.TestData();
    for (const [key, value] of Object.entries(flagValues))
      await data.update(data.flag(key).variations(value).valueForAll(value));
    const sdk = await startSdk({ updateProcessor: data.getFactory() });
    const reader = open({ overrides: flagValues });
    for (const key of Object.keys(flagValues))
      expect(await answers(reader, key, alice)).toEqual(await answers(sdk, key, alice));
    expect(await reader.variation('other', alice, 'x')).toBe('table');
    expect(reader.evaluate('text', alice, 'x')).toMatchObject({ value: 'a', variationIndex: 0 });
    const { text, other, truth, $flagsState, $valid } = await reader.allFlagsState(alice);
    expect([text, other, truth, $valid]).toEqual(['a', 'table', undefined, true]);
    expect($flagsState).toMatchObject({ text: { variation: 0 }, other: { variation: 0, version: 3 } });
  });

  test('a bootstrap answers until the table was read, and says so @heavy', async () => {
    replica.behave('denied');
    const held = { flagValues: { text: 'held', more: 1 } };
    const reader = open({ bootstrap: held });
    expect(await answers(reader, 'text', alice)).toEqual(await answers(createOfflineReader(held), 'text', alice));
    expect(reader.evaluate('more', alice, 0).value).toBe(1);
    expect((await reader.variationDetail('other', alice, 'x')).reason).toMatchObject({ errorKind: 'FLAG_NOT_FOUND' });
    expect(await reader.allFlagsState(alice)).toMatchObject({ text: 'held', more: 1, $valid: true });
    expect(reader.status()).toMatchObject({
      ...{ state: 'unreachable', source: 'held', ageMs: undefined, rev: undefined },
      message: expect.stringContaining('AccessDenied'),
    });
    replica.behave('pass');
    while ((await reader.variation('text', alice, 'x')) !== 'table');
    expect(reader.status()).toMatchObject({ state: 'ready', source: 'snapshot' });
    expect((await reader.variationDetail('more', alice, 'x')).reason).toMatchObject({ errorKind: 'FLAG_NOT_FOUND' });
    expect(await reader.allFlagsState(alice)).toMatchObject({ text: 'table', $valid: true });
  });

  test('an option that does not exist is refused', () => {
    const wrong = { bootstap: {} } as ReaderOptions;
    expect(() => open(wrong)).toThrow(
      'bootstap is not an option: expected overrides, bootstrap, exposures, onDecision',
    );
  });
});

test.each<EvaluationContext>([
  alice,
  { kind: 'multi', user: { key: 'a:b' }, organization: { key: 'c%' } },
  { key: 'legacy' },
])("the secure mode hash of %j is LaunchDarkly's", async (context) => {
  const sdk = await startSdk({ offline: true });
  expect(secureModeHash('sdk-test', context)).toBe(sdk.secureModeHash(context as LDContext));
  expect(secureModeHash('sdk-test', alice)).toBe(createHmac('sha256', 'sdk-test').update('alice').digest('hex'));
});

test('what is no context has no secure mode hash', () => {
  expect(secureModeHash('sdk-test', {} as never)).toBeUndefined();
});

test('flags in a page cannot end the script that holds them', () => {
  const value = { '</script><script>window.broken = 1</script>': '<!--<script>', b: ['&amp;', '\u2028\u2029', '"\\'] };
  const page = `<script>window.flags = ${jsonForHtml(value)};</script><p>after</p>`;
  const { window } = new JSDOM(page, { runScripts: 'dangerously' });
  expect(window.flags).toEqual(value);
  expect(window.broken).toBeUndefined();
  expect(window.document.querySelectorAll('script')).toHaveLength(1);
  expect(window.document.querySelector('p')?.textContent).toBe('after');
  expect(jsonForHtml(undefined)).toBe('null');
});

test('without a fallback the value is null, not undefined, as with the SDK', async () => {
  const reader = createOfflineReader({ flagValues: { a: 1 } });
  const none = undefined as never;
  expect(await reader.variation('missing', { kind: 'user', key: 'x' }, none)).toBeNull();
  expect(await reader.boolVariation('a', { kind: 'user', key: 'x' }, none)).toBeNull();
  expect(await reader.variation('a', {} as never, none)).toBeNull();
});
