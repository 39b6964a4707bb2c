import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { parseGoVersion } from '../../../../lib/evaluation/go/versions.ts';
import {
  bigSegmentRef,
  compileFlag,
  compileSegment,
  createEvaluator,
  type Flag,
  parseGoContext,
  sha1BucketFloat32,
} from '../../../../lib/evaluation/index.ts';
import { compileRe2 } from '../../../../relay-task/common/re2.ts';
import { randomFrom } from '../../../support/random.ts';
import { PATTERN_TEXTS, randomPatterns } from '../../../support/random-patterns.ts';
import { compareWithGo, fuzzGo, type GoDifference, type GoRequest, goDialect } from '../go-differential.ts';
import { type GoResponse, hasGoEvaluator, startGoEvaluator } from '../go-evaluator.ts';
import type { Items } from '../in-memory.ts';
import { plain } from '../verdict.ts';

const folder = join(__dirname, '../../../fixtures/evaluation');
const cases = process.env.CASES ?? (process.env.LONG === '1' ? '100000' : '1500');
const seed = process.env.SEED ?? '1';
const whereGoIs = hasGoEvaluator ? test : test.skip;

whereGoIs(
  `in the Go dialect, the evaluator gives the Go evaluator's answers in ${cases} random cases (seed ${seed})`,
  async () => {
    const go = startGoEvaluator();
    try {
      const report = await fuzzGo({ cases: Number(cases), seed, go });
      expect(report.differences).toEqual([]);
      expect(report.cases).toBeGreaterThanOrEqual(Number(cases));
      const kinds = ['OFF', 'FALLTHROUGH', 'TARGET_MATCH', 'RULE_MATCH', 'PREREQUISITE_FAILED', 'ERROR MALFORMED_FLAG'];
      for (const kind of kinds) expect(report.counts[kind]).toBeGreaterThan(Number(cases) * 0.005);
    } finally {
      go.close();
    }
  },
  1_200_000,
);

/** Requests to the Go evaluator with its responses. */
const recorded = gunzipSync(readFileSync(join(folder, 'go.ndjson.gz')))
  .toString()
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as [object, GoResponse]);

test('in the Go dialect, the evaluator gives the answers that the Go evaluator gave in the recorded random cases @heavy', () => {
  const environments = recorded.filter(([request]) => 'cases' in request);
  expect(environments).toHaveLength(121);
  const differences: GoDifference[] = [];
  for (const [request, response] of environments) compareWithGo(JSON.stringify(request), response, differences);
  expect(differences).toEqual([]);
});

interface Vector {
  readonly id: string;
  readonly flags: Items;
  readonly segments?: Items;
  readonly flagKey: string;
  readonly context: unknown;
  readonly default: unknown;
  readonly bigSegments?: GoRequest['bigSegments'];
  readonly node: object;
  readonly go?: { readonly rejectsFlagData?: string; readonly contextError?: string };
}

/** As in the SDK: the default replaces a missing value. */
function answerTo({
  flags,
  segments = {},
  bigSegments,
  flagKey,
  context: rawContext,
  default: fallback,
}: Vector): unknown {
  const find = (items: Items, key: string) => (Object.hasOwn(items, key) ? items[key] : undefined);
  const flag = (key: string): Flag | undefined =>
    find(flags, key) ? compileFlag(find(flags, key), goDialect) : undefined;
  const evaluator = createEvaluator(
    {
      flag,
      segment: (key) => (find(segments, key) ? compileSegment(find(segments, key), goDialect) : undefined),
      bucket: sha1BucketFloat32,
      ...(bigSegments && {
        bigSegments: (key) => {
          if (bigSegments.failKeys?.includes(key)) throw new Error('unreadable');
          return { status: bigSegments.status, membership: bigSegments.memberships[key] ?? null };
        },
      }),
    },
    goDialect,
  );
  return plain(evaluator.evaluate(flagKey, rawContext, fallback));
}

test('in the Go dialect, the evaluator gives the Go evaluator’s answers in the curated cases @heavy', () => {
  const vectors: Vector[] = JSON.parse(readFileSync(join(folder, 'evaluation-curated.json'), 'utf8'));
  // The relay refuses the flags of two; and Go 1.19, which recorded the answers, did not know `(?<name>…)` yet.
  const readable = vectors.filter(({ id, go }) => go?.rejectsFlagData === undefined && id !== 're named');
  expect(readable).toHaveLength(501);
  expect(readable.filter(({ go }) => go)).toHaveLength(141);
  const failures = readable.flatMap((vector) => {
    const { contextError: _, ...expected } = vector.go ?? (vector.node as { contextError?: string });
    const actual = answerTo(vector);
    return isDeepStrictEqual(actual, expected) ? [] : [{ id: vector.id, actual, expected }];
  });
  expect(failures).toEqual([]);
});

const matchesOf = (patterns: readonly string[], texts: readonly string[]) =>
  patterns.map((source) => {
    const pattern = compileRe2(source);
    return pattern ? texts.map((text) => pattern.test(text)) : null;
  });
/** The patterns that differ: a readable failure. */
const differing = (patterns: readonly string[], actual: GoResponse['matches'], expected: GoResponse['matches']) =>
  patterns.filter((_, index) => !isDeepStrictEqual(actual[index], expected[index]));

test('patterns match, and are refused, as Go’s regexp package recorded @heavy', () => {
  const [[request, { matches }] = [{}, { matches: [] }]] = recorded.filter(([one]) => 'patterns' in one);
  const { patterns, texts } = request as { patterns: string[]; texts: string[] };
  expect(patterns.length).toBe(400);
  expect(matches.filter((one) => one !== null).length).toBeGreaterThan(100);
  expect(differing(patterns, matchesOf(patterns, texts), matches)).toEqual([]);
});

whereGoIs(
  `random patterns match, and are refused, as by Go's regexp package (seed ${seed})`,
  async () => {
    const go = startGoEvaluator();
    try {
      const patterns = randomPatterns(process.env.LONG === '1' ? 50_000 : 700, randomFrom(`${seed}:patterns`));
      const { matches } = await go.ask(JSON.stringify({ patterns, texts: PATTERN_TEXTS }));
      expect(differing(patterns, matchesOf(patterns, PATTERN_TEXTS), matches)).toEqual([]);
    } finally {
      go.close();
    }
  },
  1_200_000,
);

test.each([
  ['(?P<n>a)(?P<n>b)', 'ab', true],
  ['(?P<n>[(?P<n>])\\(?P<n>(?P<n>x)', '?(P<n>x', true],
  ['\\Q(?P<n>\\E(?P<n>a)(?<n>b)', '(?P<n>ab', true],
])('two groups of one name are no error: %s', (source, text, expected) => {
  expect(compileRe2(source)?.test(text)).toBe(expected);
});

test('a pattern that takes V8 exponential time is decided at once', () => {
  expect(compileRe2('^(a+)+$')?.test(`${'a'.repeat(100_000)}!`)).toBe(false);
});

test('a text that is too long for a pattern does not match, and ordinary patterns are searched for in ten thousand characters @heavy', () => {
  const ends = compileRe2('b$')!;
  expect([64 * 1024, 4 * 1024 * 1024].map((length) => ends.test(`${'a'.repeat(length)}b`))).toEqual([true, false]);
  const found = (count: number, length: number) => {
    const words = compileRe2(`(${Array.from({ length: count }, (_, i) => `word${i}x`).join('|')})$`)!;
    return words.test(`${'a'.repeat(length)}word${count - 1}x`);
  };
  expect([9_900, 64 * 1024].map((length) => found(50, length))).toEqual([true, false]);
  expect([50, 900].map((length) => found(2_000, length))).toEqual([true, false]);
});

const evaluate = (flag: object, context: unknown, segments: Items = {}) =>
  answerTo({
    id: '',
    flags: { f: { key: 'f', version: 1, on: true, variations: ['no', 'yes'], offVariation: 0, ...flag } },
    segments,
    flagKey: 'f',
    context,
    default: null,
    node: {},
  });
const rule = (...clauses: object[]) => ({ rules: [{ variation: 1, clauses }], fallthrough: { variation: 0 } });
const inSegment = { op: 'segmentMatch', values: ['s'] };

const list = (length: number, text: (index: number) => unknown) => Array.from({ length }, (_, index) => text(index));
const inList = (op: string, values: unknown[]) => ({ attribute: 'list', contextKind: 'user', op, values });
const user = (values: unknown) => ({ kind: 'user', key: 'u', list: values });
const address = (index: number) => `user${index}@elsewhere.org`;
const letters = 'abcdefghij'.repeat(100);
const shares = {
  s: {
    key: 's',
    version: 1,
    salt: 'x',
    rules: list(1_000, () => ({ clauses: [], weight: 0, bucketBy: 'list' })),
  },
};

test.each<[string, object, unknown, Items?]>([
  [
    'a list of values in a list of texts',
    inList(
      'contains',
      list(500, (i) => `company${i}`),
    ),
    list(9_000, address),
  ],
  [
    'ends of texts',
    inList(
      'endsWith',
      list(500, (i) => `@company${i}.com`),
    ),
    list(9_000, address),
  ],
  [
    'a long text',
    inList(
      'contains',
      list(500, (i) => `company${i}`),
    ),
    letters.repeat(250),
  ],
  [
    'a pattern of many words',
    inList('matches', [`(${list(1_000, (i) => `word${i}`).join('|')})$`]),
    list(20, () => letters),
  ],
  [
    'patterns in a list',
    inList(
      'matches',
      list(50, (i) => `^a+@${i}`),
    ),
    list(9_000, address),
  ],
  ['long versions', inList('semVerLessThan', ['1.0.0']), list(100, () => `2.0.0-1${'.1'.repeat(2_000)}`)],
  ['hashes of a long text', inSegment, letters.repeat(250), shares],
])('a flag that takes too much work for a context is malformed: %s', (_, clause, values, segments = {}) => {
  expect(evaluate(rule(clause), user(values), segments)).toMatchObject({
    reason: { kind: 'ERROR', errorKind: 'MALFORMED_FLAG' },
  });
});

test.each<[string, object, unknown]>([
  [
    'a list of values in a list of texts',
    inList('endsWith', [...list(200, (i) => `@company${i}.com`), '7@elsewhere.org']),
    list(500, address),
  ],
  [
    'a pattern of many words',
    inList('matches', [`(${list(1_000, (i) => `word${i}`).join('|')}|r7@elsewhere.org)$`]),
    list(10, address),
  ],
  [
    'an ordinary pattern and a long text',
    inList('matches', [`(${list(50, (i) => `word${i}`).join('|')}|end)$`]),
    `${letters.repeat(9)}end`,
  ],
  ['versions', inList('semVerLessThan', ['1.0.0']), [...list(5_000, (i) => `2.0.${i}`), '0.1.0']],
  ['keys', inList('in', [...list(10_000, String), address(9_000)]), list(9_900, address)],
])('a flag that takes an ordinary amount of work is evaluated: %s', (_, clause, values) => {
  expect(evaluate(rule(clause), user(values))).toMatchObject({ reason: { kind: 'RULE_MATCH' } });
});

test('a pattern with two groups of one name and very many openings of classes is decided at once', () => {
  expect(compileRe2(`(?P<n>a)(?P<n>b)${'[:'.repeat(3_000)}`)).toBeUndefined();
  expect(compileRe2('(?P<n>a)(?P<n>[[:^alpha:]])')?.test('a1')).toBe(true);
});

test.each(['9223372036854775807', '9223372036854775808', '18446744073709551616', `1${'0123456789'.repeat(400)}`])(
  'the number %s in a version wraps around after 64 bits',
  (digits) => {
    expect(parseGoVersion(`${digits}.0.0-${digits}`)).toEqual({
      numbers: [BigInt.asIntN(64, BigInt(digits)), 0n, 0n],
      pre: [BigInt.asIntN(64, BigInt(digits))],
    });
  },
);

test('a rule with an inline flag of RE2 matches, and one with look-around never does', () => {
  const email = (value: string) => rule({ attribute: 'email', op: 'matches', values: [value] });
  const alice = { kind: 'user', key: 'a', email: 'A@EXAMPLE.COM' };
  expect(evaluate(email('(?i)@example\\.com$'), alice)).toMatchObject({ value: 'yes' });
  expect(evaluate(email('(?=A)'), alice)).toMatchObject({ value: 'no' });
});

test('a context without the kind of a segment rule’s percentage is not in it', () => {
  const s = { key: 's', version: 1, salt: 's', rules: [{ clauses: [], weight: 1000, rolloutContextKind: 'org' }] };
  expect(evaluate(rule(inSegment), { kind: 'user', key: 'a' }, { s })).toMatchObject({ value: 'no' });
});

test('a context that is 32-bit arithmetic away from a boundary gets the Go evaluator’s variation', () => {
  const variations = [68_692, 31_308].map((weight, variation) => ({ variation, weight }));
  const flag = { salt: 's', fallthrough: { rollout: { variations } } };
  expect(evaluate(flag, { kind: 'user', key: 'k887' })).toMatchObject({ value: 'yes' });
});

test('a legacy user’s secondary key takes part in a rollout, but not in an experiment', () => {
  const rollout = (kind: string) => ({
    salt: 's',
    fallthrough: { rollout: { kind, variations: [0, 1].map((variation) => ({ variation, weight: 50_000 })) } },
  });
  const all = (kind: string, user: (key: string) => object) =>
    Array.from({ length: 30 }, (_, i) => (evaluate(rollout(kind), user(`k${i}`)) as { value: string }).value).join(' ');
  const plainUser = (key: string) => ({ key });
  const secondary = (key: string) => ({ key, secondary: 'x' });
  expect(all('rollout', secondary)).not.toBe(all('rollout', plainUser));
  expect(all('experiment', secondary)).toBe(all('experiment', plainUser));
});

test.each([
  ['itself', { f: ['f'] }],
  ['another that needs it', { f: ['g'], g: ['f'] }],
])('a flag that needs %s is malformed and names no prerequisites', (_, needs) => {
  const flags = new Map(
    Object.entries(needs).map(([key, keys]) => [
      key,
      compileFlag(
        {
          ...{ key, version: 1, on: true, variations: [1, 2], offVariation: 0, fallthrough: { variation: 1 } },
          prerequisites: keys.map((other) => ({ key: other, variation: 1 })),
        },
        goDialect,
      ),
    ]),
  );
  const options = { flag: (key: string) => flags.get(key), segment: () => undefined, bucket: sha1BucketFloat32 };
  const context = parseGoContext({ kind: 'user', key: 'a' })!;
  expect(createEvaluator(options, goDialect).evaluateFlag(flags.get('f')!, context)).toMatchObject({
    detail: { value: null, reason: { kind: 'ERROR', errorKind: 'MALFORMED_FLAG' } },
    prerequisites: [],
  });
});

test('generation 0 is a generation, and part of the reference in Big Segment stores', () => {
  expect(bigSegmentRef(compileSegment({ key: 's', version: 1, unbounded: true, generation: 0 }, goDialect))).toBe(
    's.g0',
  );
});

test.each([
  ['2020-02-30T00:00:00Z', '2020-03-01T00:00:00Z'],
  ['2020-01-01T5:00:00z', '2020-01-01T05:00:00Z'],
  ['2020-01-01t23:59:60Z', '2020-01-02T00:00:00Z'],
  ['2020-01-01T00:00:00+99:59', '2019-12-27T20:01:00Z'],
  ['2020-01-01T00:00:00.0005Z junk', '2020-01-01T00:00:00.000500Z'],
  ['0000-01-01T00:00:00Z', '0000-01-01T00:00:00.000Z'],
  ['2020-01-01T00:00:00+01:00\u0000', '2019-12-31T23:00:00Z'],
  ['2020-01-01T00:00:00+01:00\u2028x', '2019-12-31T23:00:00Z'],
  [1.9, '1970-01-01T00:00:00.001Z'],
  [-1.9, '1969-12-31T23:59:59.999Z'],
  // 10^13 ms are 10^19 ns, which is 10^19 - 2^64 in 64 bits.
  [1e13, '1702-05-02T18:12:06.290448384Z'],
])('the date %s is %s', (value, equal) => {
  const is = (op: string) =>
    evaluate(rule({ attribute: 'when', op, values: [equal] }), { kind: 'user', key: 'a', when: value });
  expect([is('before'), is('after')]).toMatchObject([{ value: 'no' }, { value: 'no' }]);
  const early = rule({ attribute: 'when', op: 'before', values: ['9999-12-31T23:59:59Z'] });
  expect(evaluate(early, { kind: 'user', key: 'a', when: value })).toMatchObject({ value: 'yes' });
});
