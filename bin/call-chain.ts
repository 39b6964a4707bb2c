/**
 * `npm run example:chain`: runs examples/call-chain on this machine, with the relay and an embedded DynamoDB, while the flag's rollout grows from 0
 * to 100 %. Arguments: `offline` for hard-coded values instead of a table, or other percentages.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GREETING } from '../examples/call-chain/hello.ts';
import { PUNCTUATION, versions } from '../examples/call-chain/world.ts';
import { createChain } from '../lambda/edge-reader/chain.ts';
import { createOfflineReader, createReader, type Reader } from '../lambda/edge-reader/index.ts';
import { formatRev } from '../lib/flag-table/index.ts';
import packageJson from '../package.json' with { type: 'json' };
import { sleep } from '../relay-task/common/pause.ts';
import { parseConfig } from '../relay-task/config/config.ts';
import { startRelay } from '../relay-task/relay.ts';
import { startServices } from './call-chain/services.ts';
import { createOutcomes, percentile, silentReport, startTraffic } from './call-chain/walk.ts';
import { startEmbeddedDynamoDB, useLocalCredentials } from './dev/embedded-dynamodb.ts';

const SHARES = [0, 10, 25, 50, 75, 100];
const USERS = 16;
/** How long each share is measured, after every service has read it. */
const STEP_MS = 1_500;
const TABLE = 'call-chain';
const PREFIX = 'example';

const given = process.argv.slice(2);
const isOffline = given.join() === 'offline';
const shares = given.length > 0 && !isOffline ? given.map(Number) : SHARES;
if (!shares.every((share) => Number.isInteger(share) && share >= 0 && share <= 100)) {
  console.error('npm run example:chain [-- offline | -- <percent> <percent> …]');
  process.exit(2);
}
/** How often world's own decision would have differed from the one in the header. */
let alone = 0;
const opened: (() => Promise<void> | void)[] = [];
try {
  await (isOffline ? runOffline() : runWalk());
} finally {
  for (const close of opened.reverse()) await close();
}

async function runOffline(): Promise<void> {
  const readers = [1, 2].map(() => createOfflineReader({ flagValues: { [GREETING]: 'stable', [PUNCTUATION]: '!' } }));
  const { helloUrl } = await start(readers, createOutcomes());
  for (const user of ['alice', 'bob']) console.log(await (await fetch(`${helloUrl}?user=${user}`)).text());
}

async function runWalk(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'call-chain-'));
  opened.push(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'flags.json');
  writeFileSync(file, environment(shares[0] ?? 0));
  let last = shares[0];

  useLocalCredentials();
  const dynamoDB = await startEmbeddedDynamoDB({ port: 0, tableName: TABLE });
  opened.push(() => dynamoDB.close());
  const { config } = parseConfig({
    LD_ENV_local: 'sdk-local',
    LD_PREFIX_local: PREFIX,
    LD_FLAGS_FILE_local: file,
    LISTEN_HOST: '127.0.0.1',
    PORT: '0',
    USE_DYNAMODB: 'true',
    DYNAMODB_TABLE: TABLE,
    DYNAMODB_URL: dynamoDB.endpoint,
  });
  const silent = () => {};
  const log = { debug: silent, info: silent, warn: silent, error: (message: string) => console.error(message) };
  const relay = await startRelay({ ...config, drainWindowMs: 0 }, { log, version: packageJson.version });
  opened.push(() => relay.close());
  await relay.stored();

  const where = { tableName: TABLE, prefix: PREFIX, endpoint: dynamoDB.endpoint, replicas: { default: ['eu-west-1'] } };
  const readers = [1, 2].map(() => createReader({ ...where, refreshMs: 1_000 }));
  await Promise.all(readers.map((reader) => reader.ready()));
  const outcomes = createOutcomes();
  const { helloUrl } = await start(readers, outcomes);
  const traffic = startTraffic({ helloUrl, users: USERS * 4 });
  opened.push(() => traffic.stop());

  console.log(`${USERS * 4} users call hello, which calls world. Share of the canary:\n`);
  const revision = async () => {
    const rev = (await dynamoDB.head(PREFIX))?.rev;
    return rev && formatRev(rev);
  };
  let moved = new Set<string>();
  for (const share of shares) {
    const before = await revision();
    if (share !== last) {
      writeFileSync(file, environment(share));
      while ((await revision()) === before) await sleep(20);
      last = share;
    }
    const published = await revision();
    while (readers.some((reader) => reader.status().rev !== published)) await sleep(20);
    await Promise.all([traffic.everybody(), sleep(STEP_MS)]);
    const canary = new Set([...traffic.versions].filter(([, version]) => version === 'canary').map(([user]) => user));
    const back = [...moved].filter((user) => !canary.has(user));
    moved = canary;
    console.log(`${String(share).padStart(3)} %  ${canary.size} users, ${back.length} of them back on stable`);
    for (const [version, { requests, errors, times }] of [...outcomes.take()].sort()) {
      const [p50, p99] = [0.5, 0.99].map((part) => percentile(times, part).toFixed(1));
      console.log(`       ${version.padEnd(7)} ${requests} requests, ${errors} errors, p50 ${p50} ms, p99 ${p99} ms`);
    }
  }
  await traffic.stop();
  const [all, disagreed] = [traffic.requests(), traffic.disagreements()];
  console.log(`\n${all} chains. Services disagreed in ${disagreed}; had each decided by itself, in ${alone}.`);
}

/** The services, each with its own reader; the canary is slower and sometimes fails, so that there is something to see. */
async function start([first, second]: readonly Reader[], { report }: ReturnType<typeof createOutcomes>) {
  if (!first || !second) throw new Error('two readers are needed');
  const keys = [{ id: 'local', secret: randomBytes(32).toString('base64url') }];
  let calls = 0;
  const services = await startServices({
    hello: createChain({ reader: first, prefix: PREFIX, keys, report }),
    world: createChain({ reader: second, prefix: PREFIX, keys, report: comparing(second) }),
    versions: {
      ...versions,
      async canary(user) {
        await sleep(5);
        calls += 1;
        if (calls % 100 === 0) throw new Error('the canary fails at times');
        return versions.canary?.(user) ?? '';
      },
    },
  });
  opened.push(() => services.close());
  return services;
}

function comparing(reader: Reader): typeof silentReport {
  return {
    ...silentReport,
    onDecision({ flagKey, context, fallback, detail }) {
      if (reader.evaluate(flagKey, context, fallback).value !== detail.value) alone += 1;
    },
  };
}

/** A flags file: the share of users who get the canary, in percent. */
function environment(share: number): string {
  const weights = [100_000 - share * 1_000, share * 1_000];
  const rollout = { variations: weights.map((weight, variation) => ({ variation, weight })) };
  const basis = { on: true, offVariation: 0, salt: 'call-chain', version: 1 };
  return JSON.stringify({
    flags: {
      [GREETING]: { key: GREETING, ...basis, variations: ['stable', 'canary'], fallthrough: { rollout } },
      [PUNCTUATION]: { key: PUNCTUATION, ...basis, variations: ['!'], fallthrough: { variation: 0 } },
    },
  });
}
