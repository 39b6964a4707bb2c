/**
 * What the reader's bundle holds in a viewer function of 128 MB while flags change: an environment of 2,000 flags (about 1.3 KB of JSON
 * each) and 200 segments, all flags in use, 20 of them changed every 1.5 s, for one hour of simulated time.
 *
 *     npx tsx test/bench/edge-memory.ts [--json] [--changes 2400] [--flags 2000]
 *
 * Method: the bundle runs in two processes with Lambda's options for 128 MB: one refreshes every 10 s, as it does unless told otherwise, one
 * every second, so that it takes each change as a delta and never reads a body again. Their clocks move by 1.5 s with each change, and they
 * evaluate every flag after each. The table is a map in this process, written by the relay's snapshot writer on the same clock. `heap` is what a full
 * collection leaves, `rss` what the process has then, `peak` the most that it ever had; Lambda's own runtime, which is not in it, needs
 * a few MB more. Exits with 1 if the heap has grown by more than a quarter since all flags were first used.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Attributes, encodeHead, type Item, type Key, SNAPSHOT_FORMAT } from '../../lib/flag-table/index.ts';
import { bundleEdge } from '../../lib/infrastructure/edge-size.ts';
import type { Table } from '../../relay-task/store/dynamodb-client.ts';
import type { Lease } from '../../relay-task/store/lease.ts';
import { createSnapshotWriter } from '../../relay-task/store/snapshot-writer.ts';
import { defaultTimings } from '../../relay-task/store/timings.ts';
import { createRandom, generateEnvironment } from '../lib/flag-table/generate.ts';
import { queryOver } from '../lib/flag-table/query.ts';
import { silentLog } from '../support/logs.ts';
import { createMemory } from '../support/memory.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    changes: { type: 'string', default: '2400' },
    flags: { type: 'string', default: '2000' },
  },
});
const STEP_MS = 1_500;
const CHANGED = 20;
/** Lambda's for a function of 128 MB. */
const LAMBDA_OPTIONS = ['--max-old-space-size=115', '--max-semi-space-size=7'];

interface Sample {
  readonly heapMb: number;
  readonly rssMb: number;
  readonly peakMb: number;
  readonly rev: string;
}

const random = createRandom(8);
const items = generateEnvironment(Number(values.flags));
const flags = items.filter(({ kind }) => kind === 'features');
const memory = createMemory(...items);
const rows = new Map<string, Attributes>();
let elapsedMs = 0;
const startedAt = Date.now();

const writer = createSnapshotWriter({
  prefix: 'bench',
  view: memory,
  clock: { now: () => elapsedMs, wall: () => startedAt + elapsedMs },
  timings: defaultTimings,
  log: silentLog,
  table: { put: async (_kind: string, row: Attributes) => rows.set(Object(row.key).S, row) } as unknown as Table,
  lease: {
    term: () => ({ epoch: 1, start: 'created' }),
    async publish(publication: Parameters<Lease['publish']>[0]) {
      const head = { format: SNAPSHOT_FORMAT, owner: 'bench', epoch: 1, beat: 1, ...publication };
      return rows.set('head', encodeHead('bench', head)) && true;
    },
  } as unknown as Lease,
});

/** The requests of the reader, in DynamoDB's JSON protocol. */
const get = async (keys: readonly Key[]) => keys.map(({ key }) => rows.get(key));
const query = queryOver(get);
const requests: Record<string, number> = {};
const server = createServer(async (incoming, outgoing) => {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const body = JSON.parse(Buffer.concat(chunks).toString());
  const operation = String(incoming.headers['x-amz-target']).replace(/.*\./, '');
  requests[operation] = (requests[operation] ?? 0) + 1;
  const keyOf = ({ namespace, key }: Record<string, { S: string }>): Key => ({ namespace: namespace!.S, key: key!.S });
  const wire = (row: Attributes | undefined) =>
    row &&
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [
        name,
        'B' in value ? { B: Buffer.from(value.B as Uint8Array).toString('base64') } : value,
      ]),
    );
  const answer = async () => {
    if (operation === 'GetItem') return { Item: wire((await get([keyOf(body.Key)]))[0]) };
    if (operation === 'Query') return { Items: (await query(body)).map(wire) };
    const [[tableName, { Keys }]] = Object.entries(body.RequestItems) as [[string, { Keys: never[] }]];
    return { Responses: { [tableName]: (await get(Keys.map(keyOf))).filter(Boolean).map(wire) } };
  };
  outgoing.end(JSON.stringify(await answer()));
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

const directory = mkdtempSync(join(tmpdir(), 'bench-edge-memory-'));
const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/** The function in a process of its own. */
async function startFunction(refreshMs: number) {
  const replicas = { default: ['us-east-1'] };
  const config = { tableName: 'flags', prefix: 'bench', endpoint, replicas, refreshMs, maxWaitMs: 60_000 };
  const outdir = join(directory, `${refreshMs}`);
  const { file } = await bundleEdge({ entry: 'reader', config, outdir, target: 'node20' });
  const script = join(outdir, 'function.cjs');
  writeFileSync(
    script,
    `let skewMs = 0;
    const { now } = Date;
    Date.now = () => now() + skewMs;
    const { reader } = require(${JSON.stringify(file)});
    process.on('message', async (message) => {
      skewMs = message.skewMs;
      for (const key of message.keys) await reader.variation(key, { kind: 'user', key: 'user-' + skewMs }, null);
      if (!message.measure) return process.send({});
      global.gc();
      const { heapUsed, rss } = process.memoryUsage();
      const peakMb = process.resourceUsage().maxRSS / 1024;
      process.send({ heapMb: heapUsed / 2 ** 20, rssMb: rss / 2 ** 20, peakMb, rev: reader.status().rev });
    });`,
  );
  const child = fork(script, [], {
    execArgv: [...LAMBDA_OPTIONS, '--expose-gc'],
    env: { AWS_REGION: 'us-east-1', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
  });
  process.on('exit', () => child.kill('SIGKILL'));
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the function ended with ${code}`);
  });
  ended.catch(() => {});
  return {
    refreshMs,
    samples: [] as { readonly minutes: number; readonly sample: Sample }[],
    async use(keys: readonly string[], measure: boolean): Promise<void> {
      child.send({ keys, skewMs: elapsedMs, measure });
      const [sample] = (await Promise.race([once(child, 'message'), ended])) as [Sample];
      if (measure) this.samples.push({ minutes: elapsedMs / 60_000, sample });
    },
    stop: () => child.kill(),
  };
}

await writer.publish(startedAt);
const functions = await Promise.all([10_000, 1_000].map(startFunction));
const keys = flags.map(({ key }) => key);
const useAll = (measure: boolean) => Promise.all(functions.map((one) => one.use(keys, measure)));
const changes = Number(values.changes);
await useAll(true);
for (let change = 1; change <= changes; change += 1) {
  elapsedMs += STEP_MS;
  for (let i = 0; i < CHANGED; i += 1) {
    const { kind, key } = flags[Math.floor(random() * flags.length)]!;
    memory.setQuietly(nextVersion(memory.get(kind, key)!));
  }
  await writer.publish(startedAt + elapsedMs);
  await useAll(change === changes || change % Math.ceil(changes / 6) === 0);
}
for (const one of functions) one.stop();
server.closeAllConnections();
server.close();
rmSync(directory, { recursive: true });

const results = functions.map(({ refreshMs, samples }) => ({ refreshMs, samples }));
if (values.json) console.log(JSON.stringify({ node: process.version, changes, results, requests }));
else {
  console.log(
    `Node ${process.version}, ${flags.length} flags, ${CHANGED} change every ${STEP_MS} ms; requests`,
    requests,
  );
  for (const { refreshMs, samples } of results) {
    console.log(`refreshed every ${refreshMs} ms`);
    const rows = samples.map(({ minutes, sample: { heapMb, rssMb, peakMb, rev } }) => [
      `${minutes.toFixed(0)} min`,
      { heap: heapMb.toFixed(1), rss: rssMb.toFixed(0), peak: peakMb.toFixed(0), rev: Number(rev.split('.')[1]) },
    ]);
    console.table(Object.fromEntries(rows));
  }
}
for (const { refreshMs, samples } of results) {
  const [before, after] = [samples[0]?.sample.heapMb ?? 0, samples.at(-1)?.sample.heapMb ?? 0];
  if (after <= 1.25 * before) continue;
  console.error(`refreshed every ${refreshMs} ms, the heap grew from ${before.toFixed(1)} to ${after.toFixed(1)} MB`);
  process.exitCode = 1;
}

function nextVersion(item: Item): Item {
  const version = item.version + 1;
  const data = JSON.parse(item.json) as { on: boolean };
  return { ...item, version, json: JSON.stringify({ ...data, version, on: !data.on }) };
}
