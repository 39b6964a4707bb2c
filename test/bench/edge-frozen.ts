/**
 * How old the answers of functions are that Lambda freezes between calls, and how long calls take.
 *
 * Method: each function is a process that is stopped (SIGSTOP) after each call and goes on (SIGCONT) with the next one, with our reader
 * or with LaunchDarkly's Node server SDK in daemon mode and a cache of 10 s. Both read one table (dynalite) over connections that delay bytes by
 * half a round trip in each direction; opening a TCP connection takes no time, a TLS handshake does. A flag of theirs changes every 30 s or
 * so, for the reader as a delta, as relays publish it. With two replicas, the nearer one answers nothing in the second quarter of the
 * time; the SDK knows no other. An answer is as old as the time for which its value has been replaced. All functions run at the same time.
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
import { item, putDelta, putOfficial, putSnapshot } from '../lambda/edge-reader/table-writer.ts';
import { createAuthority, startTlsFront } from '../support/authority.ts';
import { createBenchChildren } from '../support/bench-children.ts';
import { startTable, testCredentials } from '../support/dynalite.ts';
import { median, percentile } from '../support/percentile.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '240' },
    function: { type: 'string' },
    table: { type: 'string' },
    endpoints: { type: 'string' },
  },
});
const context = { kind: 'user', key: 'alice' };
const PREFIX = 'frozen';
const CHANGE_MS = 31_000;

const REGIONS = ['eu-west-1', 'us-east-1'];

/** A function: answers a message with the value of the flag. `endpoints`: of its replicas, nearest first. */
async function serve(kind: string, tableName: string, endpoints: readonly string[]): Promise<void> {
  const evaluate = await (async () => {
    if (kind === 'reader') {
      const env = { AWS_REGION: 'eu-west-1', ...testCredentialsEnv };
      const replicas = { default: REGIONS.slice(0, endpoints.length) };
      const endpoint = Object.fromEntries(endpoints.map((one, index) => [REGIONS[index], one]));
      const reader = createReader({ tableName, prefix: PREFIX, endpoint, replicas }, { env });
      await reader.ready();
      return () => reader.variation('flag', context, 'fallback');
    }
    const region = 'eu-west-1';
    const client = new DynamoDBClient({ endpoint: endpoints[0] ?? '', region, credentials: testCredentials });
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

interface Case {
  readonly everyS: number;
  /** Round trips to the replicas, nearest first. */
  readonly tripsMs: readonly number[];
  readonly isTls: boolean;
  readonly who: 'reader' | 'Node SDK';
}

interface Row extends Case {
  readonly calls: number;
  readonly oldestS: number;
  readonly medianMs: number;
  readonly longestMs: number;
}

function cases(): Case[] {
  const rows: Omit<Case, 'who'>[] = [0.2, 3, 20, 70].flatMap((everyS) =>
    [0, 40, 100].map((tripMs) => ({ everyS, tripsMs: [tripMs], isTls: false })),
  );
  for (const everyS of [3, 20, 70]) rows.push({ everyS, tripsMs: [40], isTls: true });
  for (const everyS of [3, 20]) rows.push({ everyS, tripsMs: [40, 100], isTls: true });
  return rows.flatMap((row) => (['reader', 'Node SDK'] as const).map((who) => ({ ...row, who })));
}

async function measure(): Promise<void> {
  const authority = await createAuthority();
  process.env.NODE_EXTRA_CA_CERTS = authority.file;
  const children = createBenchChildren({ moduleUrl: import.meta.url, signal: 'SIGKILL' });
  const table = await startTable();
  const tablePort = Number(new URL(table.endpoint).port);
  const front = await startTlsFront(tablePort, authority);
  const replacedAt: number[] = [];
  let version = 0;
  const publish = async () => {
    const seq = version + 1;
    const items = [
      item('features', {
        key: 'flag',
        version: seq,
        on: true,
        salt: '',
        fallthrough: { variation: 0 },
        variations: [seq],
      }),
    ];
    await putOfficial(table, PREFIX, items);
    if (seq === 1) await putSnapshot(table, PREFIX, items, { epoch: 1, seq });
    else await putDelta(table, PREFIX, items, { epoch: 1, seq }, { epoch: 1, seq: 1 });
    replacedAt[version] = performance.now();
    version = seq;
  };
  await publish();

  const lastsMs = Number(values.seconds) * 1_000;
  async function start(one: Case) {
    const { tripsMs, isTls, who } = one;
    const proxies = await Promise.all(tripsMs.map(() => startTcpProxy(isTls ? front.port : tablePort)));
    for (const [index, proxy] of proxies.entries()) proxy.slow((tripsMs[index] ?? 0) / 2);
    const endpoints = proxies.map(({ port }) => `${isTls ? 'https' : 'http'}://127.0.0.1:${port}`);
    const kind = who === 'reader' ? 'reader' : 'sdk';
    const args = ['--function', kind, '--table', table.tableName, '--endpoints', endpoints.join()];
    const child = children.start(args);
    await children.heard(child);
    return { one, child, proxies };
  }
  const functions = await Promise.all(cases().map(start));

  const until = performance.now() + lastsMs;
  async function run({ one, child, proxies }: (typeof functions)[number]): Promise<Row> {
    const { everyS, tripsMs } = one;
    const [near, far] = proxies;
    if (near && far) {
      const [nearMs = 0] = tripsMs;
      setTimeout(() => near.hang(), lastsMs / 4);
      setTimeout(() => {
        near.heal();
        near.slow(nearMs / 2);
      }, lastsMs / 2);
    }
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
    await Promise.all(proxies.map((proxy) => proxy.close()));
    const [medianMs, longestMs] = [median(took), percentile(took, 1)];
    return { ...one, calls: took.length, oldestS: oldestMs / 1_000, medianMs, longestMs };
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
  const rows = await Promise.all(functions.map(run));
  await changing;
  await front.close();
  await table.close();
  authority.close();
  if (values.json) console.log(JSON.stringify(rows));
  else {
    console.log(
      '| a call every | replicas, ms | | calls | oldest answer, s | call: median, longest, ms |\n|---|---|---|---|---|---|',
    );
    for (const { everyS, tripsMs, isTls, who, calls, oldestS, medianMs, longestMs } of rows) {
      const where = `${tripsMs.join(' and ')}${isTls ? ', TLS' : ''}`;
      const times = `${medianMs.toFixed(1)}, ${longestMs.toFixed(0)}`;
      console.log(`| ${everyS} s | ${where} | ${who} | ${calls} | ${oldestS.toFixed(1)} | ${times} |`);
    }
  }
  process.exit(0);
}

if (values.function) await serve(values.function, values.table ?? '', (values.endpoints ?? '').split(','));
else await measure();
