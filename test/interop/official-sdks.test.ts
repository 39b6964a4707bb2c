/**
 * Official SDKs as clients of a relay that serves the example file: streaming, polling, and in daemon mode on the table that
 * the relay writes. Each gives the same answers as our evaluator and follows an edit of the file.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { init, type LDOptions } from '@launchdarkly/node-server-sdk';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { eventually } from '../support/eventually.ts';
import { exampleContexts, exampleEnvironment } from '../support/example-environment.ts';
import { silentLog } from '../support/logs.ts';
import { startTestRelay, type TestRelay } from '../support/start-relay.ts';
import { contexts, evaluatorOf, seedNote } from './client-side.ts';
import { type DriverOptions, drivers, type SdkDriver, startDriver } from './sdk-driver.ts';

const sdkKey = 'sdk-interop';
const fallback = 'FALLBACK';
let directory: string;
let file: string;
let table: TestTable;
let relay: TestRelay;

const startRelay = (port = '0') =>
  startTestRelay({
    ...{ PORT: port, LD_ENV_interop: sdkKey, LD_FLAGS_FILE_interop: file, LD_PREFIX_interop: 'interop' },
    ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: table.tableName, DYNAMODB_URL: table.endpoint },
  });

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-'));
  file = join(directory, 'flags.json');
  writeFileSync(file, JSON.stringify(exampleEnvironment()));
  table = await startTable();
  relay = await startRelay();
  await relay.stored();
});

afterEach(async () => {
  await relay.close();
  await table.close();
  rmSync(directory, { recursive: true });
});

async function answersLikeOurs(sdk: SdkDriver, understands: Client['understands'] = () => true): Promise<void> {
  const environment = exampleEnvironment();
  const evaluator = evaluatorOf(environment);
  let asked = 0;
  for (const context of contexts(process.env.LONG ? 1_000 : 30)) {
    for (const flag of Object.keys(environment.flags)) {
      if (!understands(flag, context)) continue;
      asked += 1;
      const answer = await sdk.evaluate(flag, context, fallback);
      const expected = evaluator.evaluate(flag, context, fallback);
      expect({ flag, context, answer }).toEqual({ flag, context, answer: expected });
    }
  }
  expect(asked).toBeGreaterThan(100);
}

/** Edits one flag and removes another. */
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

/** The current Node SDK in this process, behind the interface of the other languages' drivers; `more`: its options by mode. */
async function startNodeSdk(options: DriverOptions, more?: Record<string, LDOptions>): Promise<SdkDriver> {
  if (options.mode === 'daemon') throw new Error('the store package of the current Node SDK is not published');
  const client = init(options.sdkKey, {
    stream: options.mode === 'streaming',
    pollInterval: 30,
    streamUri: options.relay,
    baseUri: options.relay,
    eventsUri: options.relay,
    sendEvents: false,
    diagnosticOptOut: true,
    logger: silentLog,
    ...more?.[options.mode],
  });
  try {
    await client.waitForInitialization({ timeout: 60 });
  } catch (error) {
    client.close();
    throw error;
  }
  return {
    ready: client.initialized(),
    evaluate: (flag, context, value) => client.variationDetail(flag, context as { kind: 'user'; key: string }, value),
    async close() {
      client.close();
    },
  };
}

const fdv2: Record<string, LDOptions> = {
  streaming: { dataSystem: { dataSource: { dataSourceOptionsType: 'standard' } } },
  polling: { dataSystem: { dataSource: { dataSourceOptionsType: 'pollingOnly', pollInterval: 30 } } },
};

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
    logger: silentLog,
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
  /** Minutes later, as the Python SDK 9.18 does; to all others a 401 is final. */
  triesWrongKeysAgain?: boolean;
  /** A line of the relay's metrics that proves which protocol was used, where the SDK could fall back to another. */
  proof?: Partial<Record<DriverOptions['mode'], RegExp>>;
  /** Default: everything. */
  understands?: (flag: string, context: { kind: string }) => boolean;
}

const clients: Client[] = [
  { name: 'the current Node SDK', start: startNodeSdk, modes: ['streaming', 'polling'] },
  {
    name: 'the current Node SDK with its FDv2 data system',
    start: (options) => startNodeSdk(options, fdv2),
    modes: ['streaming', 'polling'],
    proof: { streaming: /kind="fdv2"/, polling: /route="\/sdk\/poll"/ },
  },
  {
    name: 'the older Node SDK with its DynamoDB store',
    start: startOlderNodeSdk,
    modes: ['daemon'],
    // It supports users only: no other context kinds, and no flag that targets them.
    understands: (flag, { kind }) => kind === 'user' && flag !== 'new-search',
  },
  ...drivers.map(({ language, command, modes }) => ({
    name: command ? `the ${language} SDK` : `the ${language} SDK (needs test/interop/install.sh)`,
    start: command && ((options: DriverOptions) => startDriver(command, options)),
    modes,
    triesWrongKeysAgain: language === 'Python',
  })),
];

describe.each(clients)('$name', ({ start, modes, understands, proof, triesWrongKeysAgain }) => {
  const testIf = start === undefined ? test.skip : test;

  const startIn = (mode: DriverOptions['mode'], key = sdkKey) => {
    const where =
      mode === 'daemon'
        ? { mode, endpoint: table.endpoint, table: table.tableName, prefix: 'interop' }
        : { mode, relay: `http://127.0.0.1:${relay.port}` };
    return start!({ sdkKey: key, ...where });
  };

  for (const mode of modes) {
    testIf(
      `in ${mode} mode, gives the same answers as our evaluator and follows an edit of the file (${seedNote}) @heavy`,
      async () => {
        const sdk = await startIn(mode);
        try {
          expect(sdk.ready).toBe(true);
          await answersLikeOurs(sdk, understands);
          const told = proof?.[mode];
          if (told) await eventually(async () => expect((await relay.metrics.text()).body).toMatch(told));
          // SDKs poll at most every 30 s, too long to wait for in the ordinary run.
          if (mode !== 'polling') await followsTheEdit(sdk);
          else if (process.env.LONG) await followsTheEdit(sdk, 70_000);
        } finally {
          await sdk.close();
        }
      },
    );
  }

  if (!modes.includes('streaming')) return;

  testIf('keeps its flags while the relay restarts, then follows edits again @heavy', async () => {
    const sdk = await startIn('streaming');
    try {
      const { port } = relay;
      await relay.close();
      expect(await sdk.evaluate('retired', exampleContexts[0], fallback)).toMatchObject({ value: 'off' });
      relay = await startRelay(String(port));
      await followsTheEdit(sdk);
    } finally {
      await sdk.close();
    }
  });

  if (triesWrongKeysAgain) return;

  testIf('gives up on a wrong key long before its initialization timeout', async () => {
    let timer: NodeJS.Timeout | undefined;
    const impatience = new Promise((resolve) => {
      timer = setTimeout(resolve, 45_000, 'still trying');
    });
    const outcome = startIn('streaming', 'sdk-wrong').then(
      async ({ ready, close }) => {
        await close();
        return ready;
      },
      // The Node SDK rejects; the Go driver exits.
      () => false,
    );
    expect(await Promise.race([outcome, impatience])).toBe(false);
    clearTimeout(timer);
  });
});
