/**
 * The edge reader against LaunchDarkly's Node server SDK in daemon mode.
 *
 * Method: both are bundled by esbuild (minified, CommonJS, `mainFields` module,main). `official` is @launchdarkly/node-server-sdk
 * with @aws-sdk/client-dynamodb and a small store written for this benchmark: one GetItem per key, behind the SDK's own
 * PersistentDataStoreWrapper, since the store package (@launchdarkly/node-server-sdk-dynamodb) is not a dependency here.
 * Each sample is a fresh process on this Node that loads a bundle and evaluates one flag with a prerequisite and two
 * segments, over TLS 1.3 from a local dynalite; variants are interleaved. `load` is the time until the module is loaded,
 * `total` until the first value; the start of Node.js itself is in neither, nor node:http, which Lambda's runtime has loaded for an agent of its
 * own before it loads a function (RAPIDClient.js of aws-lambda-nodejs-runtime-interface-client). `bare` only sends the reader's request with node:https, unsigned,
 * and parses the answer's JSON: what is left when a reader costs nothing. With `--trip`, bytes are delayed by half of so many ms in each
 * direction. Medians; trust the ratios, not the ms: Lambda has less CPU.
 *
 * npm run bench -- edge-reader [--json] [--trip 40] [samples]
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import { build } from 'esbuild';
import { bundleEdge } from '../../lib/infrastructure/edge-size.ts';
import { item, putOfficial, putSnapshot } from '../lambda/edge-reader/table-writer.ts';
import { createAuthority, startTlsFront } from '../support/authority.ts';
import { startTable } from '../support/dynalite.ts';
import { median } from '../support/percentile.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, trip: { type: 'string', default: '0' } },
});
const samples = Number(positionals[0] ?? 9);
const tripMs = Number(values.trip);
const root = join(import.meta.dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'bench-edge-reader-'));
const table = await startTable();
const authority = await createAuthority();
const front = await startTlsFront(Number(new URL(table.endpoint).port), authority);
const proxy = await startTcpProxy(front.port);
if (tripMs > 0) proxy.slow(tripMs / 2);
const endpoint = `https://127.0.0.1:${tripMs > 0 ? proxy.port : front.port}`;

const clause = (segment: string) => ({ attribute: '', op: 'segmentMatch', values: [segment], negate: false });
const flag = (key: string, more: object) =>
  item('features', {
    key,
    version: 1,
    on: true,
    salt: 's',
    prerequisites: [],
    targets: [],
    variations: [true, false],
    fallthrough: { variation: 1 },
    ...more,
  });
const rules = [{ id: 'r', variation: 0, clauses: [clause('one'), clause('two')] }];
const items = [
  flag('flag', { prerequisites: [{ key: 'needed', variation: 0 }], rules }),
  flag('needed', { fallthrough: { variation: 0 } }),
  ...['one', 'two'].map((key) =>
    item('segments', { key, version: 1, included: ['alice'], excluded: [], rules: [], salt: 's' }),
  ),
  ...Array.from({ length: 196 }, (_, index) =>
    flag(`other-${index}`, {
      rules: [{ id: 'r', variation: 0, clauses: [clause('one')] }],
      description: `about ${index} `.repeat(40),
    }),
  ),
];
await putOfficial(table, 'official', items);
await putSnapshot(table, 'snapshot', items, { epoch: 1, seq: 1 });

interface Variant {
  readonly name: string;
  readonly file: string;
  readonly minifiedBytes: number;
  readonly zipBytes: number;
  /** Code that stores the flag's value in `value`. */
  readonly ask: string;
}

async function ours(prefix: string): Promise<Variant> {
  const { tableName } = table;
  const config = { tableName, prefix, endpoint, replicas: { default: ['us-east-1'] }, coldDeadlineMs: 30_000 };
  const bundle = await bundleEdge({ entry: 'reader', config, outdir: join(directory, prefix), target: 'node20' });
  return { name: `ours, ${prefix}`, ...bundle, ask: `value = await bundle.reader.variation('flag', context, null);` };
}

async function official(): Promise<Variant> {
  mkdirSync(join(directory, 'sdk'));
  const file = join(directory, 'sdk/index.cjs');
  const contents = `
    import { init, PersistentDataStoreWrapper } from '@launchdarkly/node-server-sdk';
    import { DynamoDBClient, GetItemCommand } from '@aws-sdk/client-dynamodb';
    const dynamo = new DynamoDBClient({ endpoint: ${JSON.stringify(endpoint)}, region: 'us-east-1' });
    const TableName = ${JSON.stringify(table.tableName)};
    const store = {
      get(kind, key, callback) {
        const Key = { namespace: { S: 'official:' + kind.namespace }, key: { S: key } };
        dynamo.send(new GetItemCommand({ TableName, Key })).then(({ Item }) =>
          callback(Item && { version: Number(Item.version.N), deleted: false, serializedItem: Item.item.S }));
      },
      initialized: (callback) => callback(true), init() {}, upsert() {}, getAll() {}, close() {}, getDescription: () => '',
    };
    export const client = init('sdk-x', {
      useLdd: true, sendEvents: false, diagnosticOptOut: true, logger: { debug() {}, info() {}, warn() {}, error() {} },
      featureStore: () => new PersistentDataStoreWrapper(store, 15),
    });`;
  const result = await build({
    stdin: { contents, resolveDir: root, loader: 'js' },
    outfile: file,
    write: false,
    bundle: true,
    minify: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    mainFields: ['module', 'main'],
    legalComments: 'none',
  });
  const code = Buffer.from(result.outputFiles[0]!.contents);
  writeFileSync(file, code);
  const ask = `await bundle.client.waitForInitialization({ timeout: 60 }); value = await bundle.client.variation('flag', context, null);`;
  return { name: 'official', file, ...sizesOf(code), ask };
}

function bare(): Variant {
  const file = join(directory, 'bare.cjs');
  const Keys = ['head', 'delta', 'body'].map((key) => ({ namespace: { S: 'snapshot:$snapshot' }, key: { S: key } }));
  const body = JSON.stringify({ RequestItems: { [table.tableName]: { Keys } } });
  const headers = {
    'content-type': 'application/x-amz-json-1.0',
    'x-amz-target': 'DynamoDB_20120810.BatchGetItem',
    'x-amz-date': '20261130T000000Z',
    authorization:
      'AWS4-HMAC-SHA256 Credential=a/20261130/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0',
  };
  const code = `const { request } = require('node:https');
    exports.answer = new Promise((resolve, reject) => {
      const outgoing = request(${JSON.stringify(endpoint)}, { method: 'POST', headers: ${JSON.stringify(headers)} }, (incoming) => {
        const chunks = [];
        incoming.on('data', (chunk) => chunks.push(chunk));
        incoming.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString())));
      });
      outgoing.on('error', reject);
      outgoing.end(${JSON.stringify(body)});
    });`;
  writeFileSync(file, code);
  return {
    name: 'bare',
    file,
    ...sizesOf(Buffer.from(code)),
    ask: 'value = (await bundle.answer).Responses !== undefined;',
  };
}

/** 127 bytes: the overhead of a zip with one file. */
const sizesOf = (code: Buffer) => ({
  minifiedBytes: code.length,
  zipBytes: deflateRawSync(code, { level: 9 }).length + 127,
});

interface Sample {
  readonly load: number;
  readonly total: number;
  readonly cpu: number;
  readonly rssMb: number;
  readonly requests: number;
}

async function measure({ file, ask }: Variant): Promise<Sample> {
  table.resetConsumed();
  const code = `const lambda = new (require('node:http').Agent)({ keepAlive: true }); const context = { kind: 'user', key: 'alice' }; const start = performance.now(); const used = process.cpuUsage();
    const bundle = require(${JSON.stringify(file)}); const load = performance.now() - start;
    (async () => { let value; ${ask} if (value !== true) throw new Error('answered ' + value);
      const { user, system } = process.cpuUsage(used);
      const total = performance.now() - start;
      console.log(JSON.stringify({ load, total, cpu: (user + system) / 1000, rssMb: process.memoryUsage.rss() / 2 ** 20 }));
      process.exit(); })();`;
  const env = {
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'a',
    AWS_SECRET_ACCESS_KEY: 'b',
    NODE_EXTRA_CA_CERTS: authority.file,
  };
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', '-e', code], { env });
  const requests = Object.values(table.consumed.requests).reduce((sum, count) => sum + count, 0);
  return { ...JSON.parse(stdout), requests };
}

const variants = [await official(), await ours('snapshot'), await ours('official'), bare()];
const results = new Map<string, Sample[]>(variants.map(({ name }) => [name, []]));
for (let round = 0; round <= samples; round += 1) {
  for (const variant of variants) {
    const sample = await measure(variant);
    // The first run of each only warms the disk cache.
    if (round > 0) results.get(variant.name)!.push(sample);
  }
}

const rows = variants.map(({ name, minifiedBytes, zipBytes }) => {
  const of = (member: keyof Sample) => Number(median(results.get(name)!.map((sample) => sample[member])).toFixed(1));
  const times = {
    loadMs: of('load'),
    totalMs: of('total'),
    cpuMs: of('cpu'),
    rssMb: of('rssMb'),
    requests: of('requests'),
  };
  return { name, minifiedBytes, zipBytes, ...times };
});
const [base, ...mine] = rows;
const ratios = mine.map(({ name, ...row }) => {
  const entries = Object.entries(row).map(([member, value]) => [
    member,
    Number((Number(base![member as 'loadMs']) / value).toFixed(1)),
  ]);
  return { name, ...Object.fromEntries(entries) };
});
if (values.json) console.log(JSON.stringify({ node: process.version, samples, tripMs, rows, ratios }));
else {
  console.log(
    `Node ${process.version}, ${samples} samples each, 200 items, TLS, ${tripMs} ms away; medians, then official / ours`,
  );
  console.table(rows);
  console.table(ratios);
}
await proxy.close();
await front.close();
await table.close();
authority.close();
rmSync(directory, { recursive: true });
