/**
 * The snapshot against LaunchDarkly's own layout, for generated environments of 10, 200 and 2,000 flags (about 1.3 KB of JSON each)
 * and a tenth as many segments.
 *
 *     npx tsx test/bench/snapshot.ts [--json]
 *
 * Method: one process; each time is the median of several runs after warm-up, measured with `performance.now()`; the variants of one
 * size run one after the other, so trust ratios, not ms. Read units are computed by DynamoDB's rule for eventually consistent
 * reads (half a unit for each 4 KiB: of each item by GetItem and BatchGetItem, of a page's sum by Query); a test compares that with
 * the server's own count. "one flag" is from a fresh snapshot each time: inflate one block, find one item.
 */
import {
  type Attributes,
  createSnapshotReader,
  type EncodedBody,
  encodeBody,
  encodeDelta,
  encodeHead,
  encodeOfficialItem,
  SNAPSHOT_FORMAT,
} from '../../lib/flag-table/index.ts';
import { generateEnvironment } from '../lib/flag-table/generate.ts';
import { median } from '../support/percentile.ts';

const first = { epoch: 1_760_000_000_000, seq: 1 };
const second = { epoch: 1_760_000_000_000, seq: 2 };
const results = [];

for (const flags of [10, 200, 2000]) {
  const items = generateEnvironment(flags);
  const officialItems = items.map((item) => encodeOfficialItem('prod', item));
  const encode = (previous?: EncodedBody, some = items) =>
    encodeBody({ prefix: 'prod', items: some, rev: first, bank: 0, previous });
  const written = await encode();
  const flag = items.findLast(({ kind }) => kind === 'features')!;
  const changed = { ...flag, version: flag.version + 1, json: flag.json.replace('"on":true', '"on":false') };
  const untouched = items.find(({ kind }) => kind === 'features')!;
  const delta = (await encodeDelta({ prefix: 'prod', items: [changed], rev: second, base: first }))!;
  const head = encodeHead('prod', {
    format: SNAPSHOT_FORMAT,
    owner: 'x'.repeat(90),
    epoch: 1,
    beat: 1,
    rev: second,
    base: first,
    checkedAt: 1,
  });
  const table = new Map([head, written.body, ...written.parts, delta].map((one) => [text(one.key), one]));
  const reader = createSnapshotReader({ prefix: 'prod', get: async (keys) => keys.map(({ key }) => table.get(key)) });
  const cold = async () => {
    const reading = await reader.cold();
    if (reading.kind !== 'snapshot') throw new Error(reading.kind);
    return reading.snapshot;
  };
  const snapshotItems = [head, written.body, ...written.parts, delta];
  const officialBytes = sum(officialItems.map(itemBytes));
  const coldUnits = sum(snapshotItems.map((one) => units(itemBytes(one))));
  const queryUnits = sum(
    ['features', 'segments'].map((kind) =>
      units(sum(officialItems.filter((one) => text(one.namespace) === `prod:${kind}`).map(itemBytes))),
    ),
  );
  results.push({
    flags,
    officialBytes,
    jsonBytes: sum(items.map(({ json }) => json.length)),
    bodyBytes: written.bytes,
    bodyItems: 1 + written.parts.length,
    compression: round(officialBytes / written.bytes),
    deltaBytes: itemBytes(delta),
    readUnitsCold: coldUnits,
    readUnitsQuery: queryUnits,
    readUnitsRatio: round(queryUnits / coldUnits),
    encodeMs: round(await medianMs(9, () => encode())),
    encodeAgainMs: round(await medianMs(9, () => encode(written, [...items.slice(0, -1), changed]))),
    verifyMs: round(await medianMs(15, cold)),
    oneFlagUs: round(1000 * (await medianMs(31, cold, (snapshot) => snapshot.get('features', untouched.key)))),
    getHeldNs: round(
      await nsOfGet(
        await cold(),
        items.filter(({ kind }) => kind === 'features').map(({ key }) => key),
      ),
    ),
    allMs: round(await medianMs(15, cold, (snapshot) => [...snapshot.items()].length)),
  });
}

if (process.argv.includes('--json')) console.log(JSON.stringify(results, undefined, 2));
else console.table(Object.fromEntries(results.map(({ flags, ...rest }) => [`${flags} flags`, rest])));

/** Median ms of `timed`, or of `prepare` if there is no `timed`. */
async function medianMs<T>(
  runs: number,
  prepare: () => T | Promise<T>,
  timed?: (prepared: T) => unknown,
): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < runs + 3; i++) {
    const start = performance.now();
    const prepared = await prepare();
    const ready = performance.now();
    timed?.(prepared);
    times.push(timed ? performance.now() - ready : ready - start);
  }
  return median(times.slice(3));
}

async function nsOfGet(snapshot: { get(kind: 'features', key: string): unknown }, keys: string[]): Promise<number> {
  const rounds = Math.ceil(200_000 / keys.length);
  const ms = await medianMs(5, () => {
    for (let i = 0; i < rounds; i++) for (const key of keys) snapshot.get('features', key);
  });
  return (ms * 1e6) / (rounds * keys.length);
}

function itemBytes(attributes: Attributes): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(attributes)) {
    bytes += name.length;
    for (const one of Object.values(value))
      bytes += one instanceof Uint8Array ? one.length : Buffer.byteLength(String(one));
  }
  return bytes;
}

function units(bytes: number): number {
  return Math.ceil(bytes / 4096) / 2;
}

function text(value: unknown): string {
  return (value as { S: string }).S;
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}
