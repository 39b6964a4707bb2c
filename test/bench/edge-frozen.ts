/**
 * How old the answers of functions are that Lambda freezes between calls, and how long calls take.
 *
 * Method: each function is a process that is stopped (SIGSTOP) after each call and goes on (SIGCONT) with the next one, with our reader
 * or with LaunchDarkly's Node server SDK in daemon mode and a cache of 10 s. Both read one table (dynalite) through a replica that waits before it
 * answers; opening connections takes no time. A flag of theirs changes every 30 s or so. An answer is as old as the time for which its value has
 * been replaced. All functions run at the same time.
 *
 *   npx tsx test/bench/edge-frozen.ts [--json] [--seconds 240]
 */
import type { ChildProcess } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { createReader } from '../../lambda/edge-reader/index.ts';
import { startOfficialSdk } from '../lambda/edge-reader/official-sdk.ts';
import { startReplica } from '../lambda/edge-reader/replica.ts';
import { item, putOfficial, putSnapshot } from '../lambda/edge-reader/table-writer.ts';
import { createBenchChildren } from '../support/bench-children.ts';
import { startTable, testCredentials } from '../support/dynalite.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '240' },
    function: { type: 'string' },
    table: { type: 'string' },
    endpoint: { type: 'string' },
  },
});
const context = { kind: 'user', key: 'alice' };
const PREFIX = 'frozen';
const CHANGE_MS = 31_000;

/** A function: answers a message with the value of the flag. */
async function serve(kind: string, tableName: string, endpoint: string): Promise<void> {
  const evaluate = await (async () => {
    if (kind === 'reader') {
      const env = { AWS_REGION: 'eu-west-1', ...testCredentialsEnv };
      const reader = createReader(
        { tableName, prefix: PREFIX, endpoint, replicas: { default: ['eu-west-1'] } },
        { env },
      );
      await reader.ready();
      return () => reader.variation('flag', context, 'fallback');
    }
    const client = new DynamoDBClient({ endpoint, region: 'eu-west-1', credentials: testCredentials });
    const sdk = await startOfficialSdk({ client, tableName }, PREFIX, 10);
    return () => sdk.variation('flag', context, 'fallback');
  })();
  process.on('message', async () => {
    const began = performance.now();
    const value = await evaluate();
    process.send?.({ value, tookMs: performance.now() - began });
  });
  process.send?.('ready');
}

const testCredentialsEnv = {
  AWS_ACCESS_KEY_ID: testCredentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: testCredentials.secretAccessKey,
};

interface Row {
  readonly everyS: number;
  readonly delayMs: number;
  readonly who: 'reader' | 'Node SDK';
  readonly calls: number;
  readonly oldestS: number;
  readonly medianMs: number;
  readonly longestMs: number;
}

async function measure(): Promise<void> {
  const children = createBenchChildren({ moduleUrl: import.meta.url, signal: 'SIGKILL' });
  const table = await startTable();
  const replacedAt: number[] = [];
  let version = 0;
  const publish = async () => {
    const next = version + 1;
    const flag = { key: 'flag', version: next, on: true, salt: '', fallthrough: { variation: 0 }, variations: [next] };
    await putOfficial(table, PREFIX, [item('features', flag)]);
    await putSnapshot(table, PREFIX, [item('features', flag)], { epoch: 1, seq: next });
    replacedAt[version] = performance.now();
    version = next;
  };
  await publish();

  const until = performance.now() + Number(values.seconds) * 1_000;
  async function run(who: Row['who'], everyS: number, delayMs: number): Promise<Row> {
    const replica = await startReplica(table.endpoint);
    replica.delay(delayMs);
    const kind = who === 'reader' ? 'reader' : 'sdk';
    const child = children.start(['--function', kind, '--table', table.tableName, '--endpoint', replica.endpoint]);
    await children.heard(child);
    const took: number[] = [];
    let oldestMs = 0;
    while (performance.now() < until) {
      child.kill('SIGSTOP');
      await sleep(everyS * 1_000);
      const calledAt = performance.now();
      const { value, tookMs } = await call(child);
      took.push(tookMs);
      oldestMs = Math.max(oldestMs, calledAt - (replacedAt[value] ?? Infinity));
    }
    child.kill('SIGKILL');
    await replica.close();
    took.sort((a, b) => a - b);
    const [medianMs, longestMs] = [took[took.length >> 1] ?? 0, took.at(-1) ?? 0];
    return { everyS, delayMs, who, calls: took.length, oldestS: oldestMs / 1_000, medianMs, longestMs };
  }
  async function call(child: ChildProcess): Promise<{ value: number; tookMs: number }> {
    const answer = children.heard<{ value: number; tookMs: number }>(child);
    child.send('call');
    child.kill('SIGCONT');
    return answer;
  }

  const changing = (async () => {
    while (performance.now() < until) {
      await sleep(CHANGE_MS * (0.8 + 0.4 * Math.random()));
      await publish();
    }
  })();
  const runs = [0.2, 3, 20, 70].flatMap((everyS) =>
    [0, 40, 100].flatMap((delayMs) => (['reader', 'Node SDK'] as const).map((who) => run(who, everyS, delayMs))),
  );
  const rows = await Promise.all(runs);
  await changing;
  await table.close();
  if (values.json) console.log(JSON.stringify(rows));
  else {
    console.log(
      '| a call every | replica, ms | | calls | oldest answer, s | call: median, longest, ms |\n|---|---|---|---|---|---|',
    );
    for (const row of rows) {
      const { everyS, delayMs, who, calls, oldestS, medianMs, longestMs } = row;
      console.log(
        `| ${everyS} s | ${delayMs} | ${who} | ${calls} | ${oldestS.toFixed(1)} | ${medianMs.toFixed(1)}, ${longestMs.toFixed(0)} |`,
      );
    }
  }
  process.exit(0);
}

if (values.function) await serve(values.function, values.table ?? '', values.endpoint ?? '');
else await measure();
