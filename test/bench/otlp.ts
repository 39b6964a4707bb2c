/**
 * What OTLP costs: a relay without it, one that traces 1 % of its requests and one that traces all of them, in turns within one run.
 *
 *     npm run bench -- otlp [--json] [--requests 20000] [--rounds 9] [--peer <folder>]
 *
 * Method: each relay is a process of its own, from the bundle in its image, with a flags server and a collector in this process. A round asks each
 * of them for all evaluated flags of a context, 16 requests at a time on kept connections, in an order that changes each time, and reads the
 * processor time of the relay before and after. The result is the median of the rounds' ratios to the relay without OTLP. `--peer`: a folder with
 * another bundle (`npx tsx bin/relay-bundle.ts <folder>` in another checkout), which runs without OTLP.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flag } from '../support/items.ts';
import { startOtlpReceiver } from '../support/otlp-receiver.ts';
import { median } from '../support/percentile.ts';
import { listeningPort, relayBundle } from '../support/relay-process.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    requests: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '9' },
    peer: { type: 'string' },
  },
});
const requests = Number(values.requests);
const rounds = Number(values.rounds);
const AT_ONCE = 16;
const MOBILE_KEY = 'mob-00000000-1111-2222-3333-444455556666';
const CONTEXT = Buffer.from('{"kind":"user","key":"u"}').toString('base64url');

/** Answers each message with what the process has used so far. */
const TELLS_USAGE = `data:text/javascript,${encodeURIComponent(
  "process.on('message', () => process.send({ ...process.cpuUsage(), rss: process.memoryUsage.rss() }))",
)}`;

interface Usage {
  readonly user: number;
  readonly system: number;
  readonly rss: number;
}

interface Subject {
  readonly name: string;
  readonly child: ChildProcess;
  readonly uri: string;
  readonly microseconds: number[];
}

const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
const flags = Array.from({ length: 20 }, (_, index) => flag(`flag-${index}`, 1));
const upstream = await startFakeUpstream({
  flags: Object.fromEntries(flags.map(({ key, json }) => [key, JSON.parse(String(json))])),
});
const collector = await startOtlpReceiver();

async function start(name: string, folder: string, variables: Record<string, string> = {}): Promise<Subject> {
  const child = spawn(process.execPath, ['--import', TELLS_USAGE, join(folder, 'relay.mjs')], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: {
      LD_ENV_bench: 'sdk-00000000-1111-2222-3333-444455556666',
      LD_MOBILE_KEY_bench: MOBILE_KEY,
      STREAM_URI: upstream.uri,
      BASE_URI: upstream.uri,
      DISABLE_INTERNAL_USAGE_METRICS: 'true',
      PORT: '0',
      ...variables,
    },
  });
  process.on('exit', () => child.kill('SIGKILL'));
  let output = '';
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', () => reject(new Error(`${name} ended: ${output}`)));
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk;
      if (output.includes('Relay listening') && output.endsWith('\n')) resolve(listeningPort(output));
    });
  });
  return { name, child, uri: `http://127.0.0.1:${port}`, microseconds: [] };
}

function statusOf({ uri }: Subject): Promise<number> {
  return new Promise((resolve, reject) => {
    get(`${uri}/msdk/evalx/contexts/${CONTEXT}`, { agent, headers: { authorization: MOBILE_KEY } }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    }).on('error', reject);
  });
}

function usageOf({ child }: Subject): Promise<Usage> {
  return new Promise((resolve) => {
    child.once('message', (usage) => resolve(usage as Usage));
    child.send('usage');
  });
}

/** Processor time of the relay for one request, in microseconds. */
async function measure(subject: Subject): Promise<number> {
  const before = await usageOf(subject);
  let left = requests;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (left-- > 0) {
        const status = await statusOf(subject);
        if (status !== 200) throw new Error(`${subject.name} answered ${status}`);
      }
    }),
  );
  const after = await usageOf(subject);
  return (after.user + after.system - before.user - before.system) / requests;
}

const on = { USE_OTLP: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: collector.uri, OTEL_METRIC_EXPORT_INTERVAL: '10000' };
const bundle = await relayBundle();
process.on('exit', () => rmSync(dirname(bundle), { recursive: true, force: true }));
const off = await start('off', bundle);
const subjects = [
  off,
  await start('off, again', bundle),
  await start('1 % traced', bundle, {
    ...on,
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.01',
  }),
  await start('all traced', bundle, on),
  ...(values.peer === undefined ? [] : [await start('peer', values.peer)]),
];
for (const subject of subjects) {
  while ((await statusOf(subject)) !== 200);
  await measure(subject);
}
for (let round = 0; round < rounds; round++) {
  const first = round % subjects.length;
  for (const subject of [...subjects.slice(first), ...subjects.slice(0, first)]) {
    subject.microseconds.push(await measure(subject));
  }
}
const rows = [];
for (const subject of subjects) {
  rows.push({
    relay: subject.name,
    'µs per request': Math.round(median(subject.microseconds)),
    ratio: Number(median(subject.microseconds.map((time, round) => time / off.microseconds[round]!)).toFixed(2)),
    'resident MiB': Math.round((await usageOf(subject)).rss / 1024 ** 2),
  });
}
if (collector.requests.length === 0) throw new Error('the collector got nothing');
if (values.json)
  console.log(JSON.stringify({ node: process.version, requests, rounds, spans: collector.spans.length, rows }));
else {
  console.log(`node ${process.version}; ratio of processor time to the relay without OTLP, lower is better`);
  console.table(rows);
}
process.exit(0);
