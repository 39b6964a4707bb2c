/**
 * A fleet of relays that starts at once on an account whose SSM answers 40 requests a second.
 *
 * Method: SSM is a fake in a process of its own, with an SDK key and a mobile key for each environment; requests beyond the
 * limit get ThrottlingException. `fleet`: the key sources of all relays run in one process with the timings of a real relay,
 * with and without a sealed copy of the last good keys. Measured from the start of the sources: until a source has delivered
 * its first environment and all of them, and until it has confirmed them with a complete listing; first and last of the
 * fleet. `start`: one whole relay in its own process, with all keys and flags in DynamoDB (dynalite, in another process),
 * while SSM and LaunchDarkly accept requests and never answer; from the start of the process until the first and the last
 * environment answer their mobile key with flags.
 *
 *   npx tsx test/bench/ssm-fleet.ts [--json] [--relays 20] [--environments 400]
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { SSMClient } from '@aws-sdk/client-ssm';
import { startSsmSource } from '../../relay-task/environments/ssm-source.ts';
import type { Keeper } from '../../relay-task/ports.ts';
import { createBenchChildren } from '../support/bench-children.ts';
import { startTable, testCredentials } from '../support/dynalite.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { freePort } from '../support/free-port.ts';
import { flag } from '../support/items.ts';
import { silentLog } from '../support/logs.ts';
import { createMemoryKeeper } from '../support/memory-keeper.ts';
import { startSsmServer } from '../support/ssm-server.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    relays: { type: 'string', default: '20' },
    environments: { type: 'string', default: '400' },
    ssm: { type: 'boolean', default: false },
    launchdarkly: { type: 'boolean', default: false },
    table: { type: 'boolean', default: false },
  },
});
const RELAYS = Number(values.relays);
const ENVIRONMENTS = Number(values.environments);
/** What SSM allows an account by default: https://docs.aws.amazon.com/general/latest/gr/ssm.html. */
const PER_SECOND = 40;
const GIVE_UP_MS = 300_000;
const path = '/edge-flag-relay/bench/environments';
const secret = 'a-secret-of-the-benchmark';
const nameOf = (i: number) => `e${String(i).padStart(4, '0')}`;

/** Messages to the children: what they shall do from now on. */
type Order = 'answer' | 'limit' | 'hang';

async function serveSsm(): Promise<void> {
  const server = await startSsmServer();
  for (let i = 0; i < ENVIRONMENTS; i++) {
    server.put(`${path}/${nameOf(i)}/sdk-key`, `sdk-${nameOf(i)}`);
    server.put(`${path}/${nameOf(i)}/mobile-key`, `mob-${nameOf(i)}`);
  }
  process.on('message', (order: Order) => {
    if (order === 'limit') server.limit(PER_SECOND);
    if (order === 'hang') server.hang();
    process.send?.('done');
  });
  process.send?.(server.endpoint);
}

async function serveLaunchDarkly(): Promise<void> {
  const flags = Array.from({ length: 5 }, (_, i) => flag(`flag-${i}`, 1));
  const upstream = await startFakeUpstream({
    flags: Object.fromEntries(flags.map(({ key, json }) => [key, JSON.parse(String(json))])),
    segments: {},
  });
  process.on('message', (order: Order) => {
    upstream.answer = () => (order === 'hang' ? 'silent' : 'stream');
    process.send?.('done');
  });
  process.send?.(upstream.uri);
}

async function serveTable(): Promise<void> {
  const { endpoint, tableName } = await startTable();
  process.send?.({ endpoint, tableName });
}

interface Times {
  readonly firstMs: number;
  readonly allMs: number;
  readonly confirmedMs: number;
}

/** Starts one relay's source of keys. */
function startSource(endpoint: string, keeper?: Keeper) {
  const client = new SSMClient({ endpoint, region: 'eu-west-1', credentials: testCredentials, maxAttempts: 1 });
  const startedAt = performance.now();
  let firstMs = Number.NaN;
  let allMs = Number.NaN;
  const source = startSsmSource({
    ...{ path, client, graceMs: 86_400_000, log: silentLog },
    ...(keeper && { cache: { keeper, secret } }),
    sink: {
      replace(environments) {
        const ms = performance.now() - startedAt;
        if (environments.length > 0 && Number.isNaN(firstMs)) firstMs = ms;
        const keys = environments.flatMap(({ credentials }) => credentials);
        if (keys.length === 2 * ENVIRONMENTS && Number.isNaN(allMs)) allMs = ms;
      },
    },
  });
  return {
    async confirmed(): Promise<Times> {
      while (source.status().state !== 'VALID') {
        if (performance.now() - startedAt > GIVE_UP_MS) return { firstMs, allMs, confirmedMs: Number.NaN };
        await sleep(10);
      }
      return { firstMs, allMs, confirmedMs: performance.now() - startedAt };
    },
    async close() {
      await source.close();
      client.destroy();
    },
  };
}

interface Row {
  readonly part: 'fleet' | 'start';
  readonly 'sealed copy': boolean;
  readonly what: string;
  readonly 'first, ms': number;
  readonly 'last, ms': number;
}

async function measureFleet(hasCopy: boolean): Promise<Row[]> {
  const ssm = start(['--ssm', '--environments', String(ENVIRONMENTS)]);
  const endpoint = await heard<string>(ssm);
  const keeper = hasCopy ? createMemoryKeeper() : undefined;
  if (keeper) {
    const first = startSource(endpoint, keeper);
    await first.confirmed();
    await first.close();
    if (keeper.bytes === undefined) throw new Error('the first source kept no copy of its keys');
  }
  await tell(ssm, 'limit');
  const fleet = Array.from({ length: RELAYS }, () => startSource(endpoint, keeper));
  const times = await Promise.all(fleet.map(({ confirmed }) => confirmed()));
  for (const { close } of fleet) await close();
  ssm.kill('SIGKILL');
  return (['firstMs', 'allMs', 'confirmedMs'] as const).map((name) => {
    const all = times.map((one) => one[name]);
    const what = { firstMs: 'first environment', allMs: 'all environments', confirmedMs: 'all keys confirmed' }[name];
    return row('fleet', hasCopy, what, Math.min(...all), Math.max(...all));
  });
}

const agent = new Agent({ keepAlive: true, maxSockets: 20 });
const context = Buffer.from('{"kind":"user","key":"u"}').toString('base64url');

function isServed(port: number, mobileKey: string): Promise<boolean> {
  return new Promise((resolve) => {
    const options = { host: '127.0.0.1', port, agent, headers: { authorization: mobileKey } };
    get({ ...options, path: `/msdk/evalx/contexts/${context}` }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(response.statusCode === 200 && text.includes('flag-0')));
    }).on('error', () => resolve(false));
  });
}

/** Runs the relay's bundle until every environment answers; what it took to the first and to the last one, in ms. */
async function startRelay(bundle: string, variables: Record<string, string>) {
  const port = await freePort();
  const startedAt = performance.now();
  const child = spawn(process.execPath, [bundle], {
    env: { PATH: process.env.PATH ?? '', PORT: String(port), ...variables },
    stdio: process.env.DEBUG_RELAY ? 'inherit' : 'ignore',
  });
  const exited = new Promise((resolve) => child.once('close', resolve));
  let firstMs = Number.NaN;
  for (let i = 0; i < ENVIRONMENTS; i++) {
    while (!(await isServed(port, `mob-${nameOf(i)}`))) {
      if (performance.now() - startedAt > GIVE_UP_MS) throw new Error(`${nameOf(i)} was never served`);
      await sleep(5);
    }
    if (i === 0) firstMs = performance.now() - startedAt;
  }
  const lastMs = performance.now() - startedAt;
  return {
    ...{ firstMs, lastMs },
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function measureStart(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-ssm-fleet-'));
  try {
    spawnSync(process.execPath, ['--import', 'tsx', 'bin/relay-bundle.ts', directory], { stdio: 'inherit' });
    const bundle = join(directory, 'relay.mjs');
    const ssm = start(['--ssm', '--environments', String(ENVIRONMENTS)]);
    const launchDarkly = start(['--launchdarkly']);
    const table = start(['--table']);
    const { endpoint, tableName } = await heard<{ endpoint: string; tableName: string }>(table);
    const variables = {
      ...{ KEYS_FROM_SSM: path, SSM_URL: await heard<string>(ssm), SSM_CACHE_ENCRYPTION_KEY: secret },
      ...{ STREAM_URI: await heard<string>(launchDarkly), USE_DYNAMODB: 'true', DRAIN_WINDOW: '0', LOG_LEVEL: 'warn' },
      ...{ DYNAMODB_TABLE: tableName, DYNAMODB_URL: endpoint, AWS_REGION: 'us-east-1' },
      ...{ AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' },
    };
    const earlier = await startRelay(bundle, variables);
    // Until every snapshot is in the table.
    await sleep(30_000);
    await earlier.stop();
    await tell(ssm, 'hang');
    await tell(launchDarkly, 'hang');
    const relay = await startRelay(bundle, variables);
    await relay.stop();
    for (const child of [ssm, launchDarkly, table]) child.kill('SIGKILL');
    return [row('start', true, 'environments with flags', relay.firstMs, relay.lastMs)];
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const { start, heard } = createBenchChildren({ moduleUrl: import.meta.url, signal: 'SIGKILL' });

async function tell(child: ReturnType<typeof start>, order: Order): Promise<void> {
  const done = heard<'done'>(child);
  child.send(order);
  await done;
}

const row = (part: Row['part'], hasCopy: boolean, what: string, firstMs: number, lastMs: number): Row => ({
  ...{ part, 'sealed copy': hasCopy, what },
  ...{ 'first, ms': Math.round(firstMs), 'last, ms': Math.round(lastMs) },
});

async function main(): Promise<void> {
  const rows = [...(await measureStart()), ...(await measureFleet(true)), ...(await measureFleet(false))];
  if (values.json) {
    console.log(JSON.stringify({ node: process.version, relays: RELAYS, environments: ENVIRONMENTS, rows }));
  } else {
    console.log(
      `node ${process.version}; ${RELAYS} relays, ${ENVIRONMENTS} environments, SSM at ${PER_SECOND} a second`,
    );
    console.table(rows);
  }
  process.exit(0);
}

if (values.ssm) await serveSsm();
else if (values.launchdarkly) await serveLaunchDarkly();
else if (values.table) await serveTable();
else await main();
