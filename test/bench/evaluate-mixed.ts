/**
 * All flags of an environment in turn, against LaunchDarkly's Node server SDK: what a function does that asks for many flags.
 *
 * Method: environments of 200 and 2,000 flags (about 1.3 KB of JSON each) and a tenth as many segments. The reader has them from a table's
 * snapshot (dynalite) and answers with `evaluate`; the SDK has them in memory, in daemon mode without events, and answers with
 * `variation`, which is asynchronous. Both run in this process, evaluate every flag for one of 64 users after the other, and
 * take turns. Answers are compared before anything is timed; the ratio is that of the medians.
 *
 * `npm run bench -- evaluate-mixed [--rounds 15] [--json]`
 */
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { createReader } from '../../lambda/edge-reader/index.ts';
import { putSnapshot } from '../lambda/edge-reader/table-writer.ts';
import { generateEnvironment } from '../lib/flag-table/generate.ts';
import { startTable } from '../support/dynalite.ts';
import { median } from '../support/percentile.ts';
import { startOfficialClient } from './official-client.ts';

const { values: settings } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, json: { type: 'boolean', default: false } },
});
const EVALUATIONS = 20_000;
const env = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
const contexts = Array.from({ length: 64 }, (_, index) => ({
  ...{ kind: 'user', key: `user-${index}`, email: `user${index}@example.com`, country: index % 2 ? 'DE' : 'US' },
  ...{ plan: index % 3 ? 'gold' : 'free', groups: ['beta'], appVersion: `2.${index % 9}.0`, os: 'ios', locale: 'de' },
}));

function startOfficial(items: ReturnType<typeof generateEnvironment>) {
  const of = (kind: string) =>
    Object.fromEntries(items.filter((one) => one.kind === kind).map(({ key, json }) => [key, JSON.parse(json)]));
  return startOfficialClient({ flags: of('features'), segments: of('segments') });
}

const table = await startTable();

async function compare(flags: number) {
  const items = generateEnvironment(flags);
  const keys = items.filter(({ kind }) => kind === 'features').map(({ key }) => key);
  const prefix = `mixed${flags}`;
  await putSnapshot(table, prefix, items, { epoch: 1, seq: 1 });
  const { tableName, endpoint } = table;
  const config = { tableName, prefix, endpoint, replicas: { default: ['eu-west-1'] }, bigSegments: false };
  const reader = createReader({ ...config, refreshMs: 3_600_000, coldDeadlineMs: 60_000 }, { env });
  await reader.ready();
  const client = await startOfficial(items);
  for (const key of keys) {
    const [ours, official] = [
      reader.evaluate(key, contexts[0]!, 0),
      await client.variationDetail(key, contexts[0]!, 0),
    ];
    if (!isDeepStrictEqual({ ...ours }, { ...official })) throw new Error(JSON.stringify({ key, ours, official }));
  }
  let sink: unknown;
  const theirs = async () => {
    const began = performance.now();
    for (let i = 0; i < EVALUATIONS; i += 1)
      sink = await client.variation(keys[i % flags]!, contexts[Math.floor(i / flags) % 64]!, 0);
    return ((performance.now() - began) * 1_000) / EVALUATIONS;
  };
  const mine = () => {
    const began = performance.now();
    for (let i = 0; i < EVALUATIONS; i += 1)
      sink = reader.evaluate(keys[i % flags]!, contexts[Math.floor(i / flags) % 64]!, 0).value;
    return ((performance.now() - began) * 1_000) / EVALUATIONS;
  };
  const [official, ours]: [number[], number[]] = [[], []];
  for (let round = -3; round < Number(settings.rounds); round += 1) {
    const [a, b] = [await theirs(), mine()];
    if (round < 0) continue;
    official.push(a);
    ours.push(b);
  }
  client.close();
  const [a, b] = [median(official), median(ours)];
  return {
    flags,
    officialUs: Number(a.toFixed(2)),
    oursUs: Number(b.toFixed(2)),
    ratio: Number((a / b).toFixed(1)),
    sink: typeof sink,
  };
}

const rows = [await compare(200), await compare(2_000)];
await table.close();
if (settings.json) console.log(JSON.stringify({ node: process.version, rows }));
else console.table(rows);
process.exit(0);
