/**
 * One evaluation, compared with LaunchDarkly's Node server SDK.
 *
 * Method: the SDK runs in this process, in daemon mode over an in-memory feature store, without events. Both get the same raw
 * context objects, a fresh one for each of 64 users in turn, and both look up the flag by key. After a warm-up, short slices of
 * the two alternate, so that both run under the same load, and the medians over all slices are compared. The SDK is
 * asynchronous, ours is synchronous. Answers are compared before anything is timed.
 *
 * `--dialect go` measures the relay's evaluation instead of the edge reader's; the SDK is the same. Contexts are then parsed before,
 * since the relay parses each once and evaluates many flags for it.
 *
 * `tsx test/bench/evaluate.ts [--slices 40] [--dialect go] [--json]`
 */
import { isDeepStrictEqual, parseArgs } from 'node:util';
import {
  compileFlag,
  compileSegment,
  createEvaluator,
  createGoDialect,
  type Flag,
  parseGoContext,
  type Segment,
  sha1Bucket,
  sha1BucketFloat32,
} from '../../lib/evaluation/index.ts';
import { compileRe2 } from '../../relay-task/common/re2.ts';
import { median } from '../support/percentile.ts';
import { startOfficialClient } from './official-client.ts';

const { values: settings } = parseArgs({
  options: {
    slices: { type: 'string', default: '40' },
    dialect: { type: 'string', default: 'node' },
    json: { type: 'boolean', default: false },
  },
});
const SLICES = Number(settings.slices);
const SLICE_MS = 12;
const WARM_UP_MS = 400;

const clause = (attribute: string, op: string, ...values: unknown[]) => ({
  contextKind: 'user',
  attribute,
  op,
  values,
  negate: false,
});
const inSegment = (...values: string[]) => ({ attribute: '', op: 'segmentMatch', values, negate: false });
const rule = (id: string, variation: number, ...clauses: object[]) => ({ id, variation, clauses });
const flag = (key: string, rest: object) => ({
  ...{
    key,
    version: 1,
    on: true,
    variations: [false, true],
    offVariation: 0,
    fallthrough: { variation: 0 },
    salt: 'salt',
  },
  ...rest,
});
const segment = (key: string, rest: object) => ({
  key,
  version: 1,
  salt: 'salt',
  included: [],
  excluded: [],
  rules: [],
  ...rest,
});

const flags = [
  flag('off', { on: false }),
  flag('five-rules', {
    rules: ['a', 'b', 'c', 'd']
      .map((value, i) => rule(`r${i}`, 0, clause('plan', 'in', value)))
      .concat(rule('r4', 1, clause('plan', 'in', 'gold'))),
  }),
  flag('rollout', {
    fallthrough: {
      rollout: {
        variations: [
          { variation: 0, weight: 40_000 },
          { variation: 1, weight: 60_000 },
        ],
      },
    },
  }),
  flag('segment-hit', { rules: [rule('r', 1, inSegment('large'))] }),
  flag('segment-miss', { rules: [rule('r', 1, inSegment('others'))] }),
  flag('regex', { rules: [rule('r', 1, clause('email', 'matches', '^[^@]+@example\\.(com|org)$'))] }),
  flag('semver', {
    rules: [
      rule('r', 1, clause('version', 'semVerGreaterThan', '2.4.0'), clause('version', 'semVerLessThan', '3.0.0')),
    ],
  }),
  flag('dates', {
    rules: [
      rule(
        'r',
        1,
        clause('created', 'after', '2020-01-01T00:00:00Z'),
        clause('created', 'before', '2030-01-01T00:00:00Z'),
      ),
    ],
  }),
  flag('prerequisite', { on: true, rules: [rule('r', 1, clause('plan', 'in', 'gold'))] }),
  flag('prerequisite-and-segments', {
    prerequisites: [{ key: 'prerequisite', variation: 1 }],
    rules: [rule('r0', 0, inSegment('beta')), rule('r1', 1, inSegment('staff'))],
  }),
];
const segments = [
  segment('large', { included: Array.from({ length: 10_000 }, (_, i) => `user-${i}`) }),
  segment('others', { included: Array.from({ length: 10_000 }, (_, i) => `other-${i}`) }),
  segment('beta', { rules: [{ id: 'b', clauses: [clause('plan', 'in', 'beta')] }] }),
  segment('staff', { rules: [{ id: 's', clauses: [clause('email', 'endsWith', '@example.com')] }] }),
];
const users = Array.from({ length: 64 }, (_, i) =>
  JSON.stringify({
    kind: 'user',
    key: `user-${i * 7}`,
    plan: 'gold',
    email: `user${i}@example.com`,
    version: `2.${5 + (i % 9)}.${i}`,
    created: `2024-0${1 + (i % 9)}-11T08:30:${10 + (i % 50)}Z`,
  }),
);
const contexts = users.map((text) => JSON.parse(text));

const copies = (items: readonly { key: string }[]) =>
  Object.fromEntries(items.map((item) => [item.key, structuredClone(item)]));
const client = await startOfficialClient({ flags: copies(flags), segments: copies(segments) });

const dialect = settings.dialect === 'go' ? createGoDialect(compileRe2) : undefined;
const ourContexts = dialect ? contexts.map(parseGoContext) : contexts;
const compiledFlags = new Map<string, Flag>(
  flags.map((data) => [data.key, compileFlag(structuredClone(data), dialect)]),
);
const compiledSegments = new Map<string, Segment>(
  segments.map((data) => [data.key, compileSegment(structuredClone(data), dialect)]),
);
const evaluator = createEvaluator(
  {
    flag: (key) => compiledFlags.get(key),
    segment: (key) => compiledSegments.get(key),
    bucket: dialect ? sha1BucketFloat32 : sha1Bucket,
  },
  dialect,
);

let sink: unknown;
const BATCH = 64;
async function officialSlice(key: string, ms: number): Promise<number> {
  let calls = 0;
  const start = performance.now();
  do {
    for (let i = 0; i < BATCH; i++) sink = await client.variationDetail(key, contexts[i], false);
    calls += BATCH;
  } while (performance.now() - start < ms);
  return calls / (performance.now() - start);
}
function ourSlice(key: string, ms: number): number {
  let calls = 0;
  const start = performance.now();
  do {
    for (let i = 0; i < BATCH; i++) sink = evaluator.evaluate(key, ourContexts[i], false);
    calls += BATCH;
  } while (performance.now() - start < ms);
  return calls / (performance.now() - start);
}
const keys = flags.map(({ key }) => key).filter((key) => key !== 'prerequisite');
for (const key of keys) {
  for (const [index, context] of contexts.entries()) {
    const [ours, official] = [
      evaluator.evaluate(key, ourContexts[index], false),
      await client.variationDetail(key, context, false),
    ];
    if (!isDeepStrictEqual({ ...ours }, { ...official }))
      throw new Error(`${key}: ${JSON.stringify({ ours, official })}`);
  }
}
// Warms up all cases before timing any, so that no case benefits from code optimised for that case alone.
for (const key of keys) {
  await officialSlice(key, WARM_UP_MS);
  ourSlice(key, WARM_UP_MS);
}
const rows = [];
for (const key of keys) {
  const official: number[] = [];
  const ours: number[] = [];
  for (let slice = 0; slice < SLICES; slice++) {
    official.push(await officialSlice(key, SLICE_MS));
    ours.push(ourSlice(key, SLICE_MS));
  }
  const [theirs, mine] = [median(official), median(ours)];
  rows.push({
    case: key,
    officialPerSecond: Math.round(theirs * 1000),
    oursPerSecond: Math.round(mine * 1000),
    ratio: Number((mine / theirs).toFixed(1)),
  });
}
client.close();
if (settings.json) console.log(JSON.stringify({ node: process.version, rows, sink: typeof sink }));
else console.table(rows);
