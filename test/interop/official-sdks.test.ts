/**
 * Official SDKs as clients of a relay that serves the example file: over its streams, by polling, and in daemon mode
 * on the table that it keeps. Each answers like our evaluator and follows an edit of the file.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { init } from '@launchdarkly/node-server-sdk';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { evaluateAll, exampleContexts, exampleEnvironment } from '../support/example-environment.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';
import { type DriverOptions, drivers, type SdkDriver, startDriver } from './sdk-driver.ts';

const sdkKey = 'sdk-interop';
const fallback = 'FALLBACK';
let directory: string;
let file: string;
let table: TestTable;
let relay: TestRelay;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-'));
  file = join(directory, 'flags.json');
  writeFileSync(file, JSON.stringify(exampleEnvironment()));
  table = await startTable();
  relay = await startTestRelay({
    LD_ENV_interop: sdkKey,
    LD_FLAGS_FILE_interop: file,
    LD_PREFIX_interop: 'interop',
    USE_DYNAMODB: 'true',
    DYNAMODB_TABLE: table.tableName,
    DYNAMODB_URL: table.endpoint,
  });
  await relay.stored();
});

afterEach(async () => {
  await relay.close();
  await table.close();
  rmSync(directory, { recursive: true });
});

async function answersLikeOurs(sdk: SdkDriver, understands: Client['understands'] = () => true): Promise<void> {
  let asked = 0;
  for (const [question, expected] of evaluateAll(exampleEnvironment(), fallback)) {
    const [flag, context] = JSON.parse(question);
    if (!understands(flag, context)) continue;
    asked += 1;
    expect({ question, answer: await sdk.evaluate(flag, context, fallback) }).toEqual({ question, answer: expected });
  }
  expect(asked).toBeGreaterThan(70);
}

/** An edited flag and a removed one. */
function editFile(): void {
  const environment = exampleEnvironment();
  environment.flags.retired = { ...environment.flags.retired, on: true };
  delete environment.flags['site-banner'];
  writeFileSync(file, JSON.stringify(environment));
}

async function followsTheEdit(sdk: SdkDriver, withinMs?: number): Promise<void> {
  const context = exampleContexts[0];
  expect(await sdk.evaluate('retired', context, fallback)).toMatchObject({ value: 'off', reason: { kind: 'OFF' } });
  editFile();
  await eventually(async () => {
    expect(await sdk.evaluate('retired', context, fallback)).toMatchObject({ value: 'on', variationIndex: 1 });
    expect(await sdk.evaluate('site-banner', context, fallback)).toMatchObject({
      value: fallback,
      reason: { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' },
    });
  }, withinMs);
}

/** The current Node SDK in this process, in the shape of the other languages' drivers. */
async function startNodeSdk(options: DriverOptions): Promise<SdkDriver> {
  if (options.mode === 'daemon') throw new Error('the store package of the current Node SDK is not published');
  const client = init(options.sdkKey, {
    stream: options.mode === 'streaming',
    pollInterval: 30,
    streamUri: options.relay,
    baseUri: options.relay,
    eventsUri: options.relay,
    sendEvents: false,
    diagnosticOptOut: true,
    logger: { error() {}, warn() {}, info() {}, debug() {} },
  });
  await client.waitForInitialization({ timeout: 10 });
  return {
    ready: client.initialized(),
    evaluate: (flag, context, value) => client.variationDetail(flag, context as { kind: 'user'; key: string }, value),
    async close() {
      client.close();
    },
  };
}

/** The older Node SDK with LaunchDarkly's own DynamoDB store, in daemon mode. */
async function startOlderNodeSdk(options: DriverOptions): Promise<SdkDriver> {
  if (options.mode !== 'daemon') throw new Error('only for daemon mode');
  process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1';
  const { default: sdk } = await import('launchdarkly-node-server-sdk');
  const { DynamoDBFeatureStore: createStore } = await import('launchdarkly-node-server-sdk-dynamodb');
  const client = sdk.init(options.sdkKey, {
    featureStore: createStore(options.table, {
      prefix: options.prefix,
      cacheTTL: 0,
      clientOptions: {
        endpoint: options.endpoint,
        region: 'us-east-1',
        credentials: { accessKeyId: 'local', secretAccessKey: 'local' } as never,
      },
    }),
    useLdd: true,
    sendEvents: false,
    logger: { error() {}, warn() {}, info() {}, debug() {} },
  });
  await client.waitForInitialization();
  return {
    ready: client.initialized(),
    evaluate: (flag, context, value) => {
      const { kind: _, key, email, ...custom } = context as { kind: string; key: string; email?: string };
      return client.variationDetail(flag, { key, ...(email && { email }), custom }, value);
    },
    async close() {
      client.close();
    },
  };
}

interface Client {
  name: string;
  start: ((options: DriverOptions) => Promise<SdkDriver>) | undefined;
  modes: readonly DriverOptions['mode'][];
  /** Absent: everything. */
  understands?: (flag: string, context: { kind: string }) => boolean;
}

const clients: Client[] = [
  { name: 'the current Node SDK', start: startNodeSdk, modes: ['streaming', 'polling'] },
  {
    name: 'the older Node SDK with its DynamoDB store',
    start: startOlderNodeSdk,
    modes: ['daemon'],
    // It knows users only: no other kinds of context, and no flag that looks at them.
    understands: (flag, { kind }) => kind === 'user' && flag !== 'new-search',
  },
  ...drivers.map(({ language, command }) => ({
    name: command ? `the ${language} SDK` : `the ${language} SDK (needs test/interop/install.sh)`,
    start: command && ((options: DriverOptions) => startDriver(command, options)),
    modes: ['streaming', 'polling', 'daemon'] as const,
  })),
];

describe.each(clients)('$name', ({ start, modes, understands }) => {
  const testIf = start === undefined ? test.skip : test;

  const startIn = (mode: DriverOptions['mode']) => {
    const where =
      mode === 'daemon'
        ? { mode, endpoint: table.endpoint, table: table.tableName, prefix: 'interop' }
        : { mode, relay: `http://127.0.0.1:${relay.port}` };
    return start!({ sdkKey, ...where });
  };

  for (const mode of modes) {
    testIf(`answers in ${mode} mode like our evaluator, and follows an edit of the file`, async () => {
      const sdk = await startIn(mode);
      try {
        expect(sdk.ready).toBe(true);
        await answersLikeOurs(sdk, understands);
        // SDKs poll every 30 s at the most often: worth waiting for in the long run only.
        if (mode !== 'polling') await followsTheEdit(sdk);
        else if (process.env.LONG) await followsTheEdit(sdk, 70_000);
      } finally {
        await sdk.close();
      }
    });
  }
});
