import {
  compileFlag,
  compileFlagInSteps,
  compileSegment,
  compileSegmentInSteps,
  createEvaluator,
  createGoDialect,
  type Dialect,
  type Flag,
  type Segment,
  sha1Bucket,
  sha1BucketFloat32,
} from '../../../lib/evaluation/index.ts';
import { compileRe2 } from '../../../relay-task/common/re2.ts';
import { randomFrom, toJson } from '../../support/random.ts';
import { randomEnvironment } from '../../support/random-environment.ts';
import type { Items } from './in-memory.ts';
import { plain } from './verdict.ts';

const cases = Number(process.env.CASES ?? (process.env.LONG === '1' ? 5_000 : 100));
const seed = process.env.SEED ?? '1';
const go = createGoDialect(compileRe2);
const dialects: readonly [string, Dialect | undefined][] = [
  ['Node', undefined],
  ['Go', go],
];

/** The answers about all flags to all contexts. */
function answers(
  flags: ReadonlyMap<string, Flag>,
  segments: ReadonlyMap<string, Segment>,
  contexts: readonly unknown[],
  dialect: Dialect | undefined,
): unknown {
  const evaluator = createEvaluator(
    {
      flag: (key) => flags.get(key),
      segment: (key) => segments.get(key),
      bucket: dialect ? sha1BucketFloat32 : sha1Bucket,
      bigSegments: (key) => ({ status: 'HEALTHY', membership: { [`s0.g${key.length}`]: true } }),
    },
    dialect,
  );
  return contexts.map((context) => [
    [...flags.keys()].map((key) => evaluator.evaluate(key, context, 'fallback')),
    evaluator.allFlagsState(context, { flags: flags.values(), withReasons: true }),
  ]);
}

const compiled = <T>(items: Items, compile: (data: unknown) => T) =>
  new Map(Object.entries(items).map(([key, data]) => [key, compile(data)]));

function lastOf<T>(work: Generator<void, T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

const parsed = (json: string) => JSON.parse(json) as { flags: Items; segments: Items; contexts: unknown[] };

test.each(dialects)(
  `in ${cases} random environments (seed ${seed}), flags and segments compiled in steps give the same answers in the %s dialect`,
  (_, dialect) => {
    const differences: unknown[] = [];
    for (let number = 0; number < cases && differences.length === 0; number += 1) {
      const json = toJson(randomEnvironment(randomFrom(`${seed}:steps:${number}`)));
      const [whole, steps] = [parsed(json), parsed(json)];
      const atOnce = [1, 2, 5, 20][number % 4];
      const expected = answers(
        compiled(whole.flags, (data) => compileFlag(data, dialect)),
        compiled(whole.segments, (data) => compileSegment(data, dialect)),
        whole.contexts,
        dialect,
      );
      const found = answers(
        compiled(steps.flags, (data) => lastOf(compileFlagInSteps(data, dialect, atOnce))),
        compiled(steps.segments, (data) => lastOf(compileSegmentInSteps(data, dialect, atOnce))),
        steps.contexts,
        dialect,
      );
      if (toJson(plain(found)) !== toJson(plain(expected))) differences.push({ number, atOnce, found, expected });
    }
    expect(differences).toEqual([]);
  },
  600_000,
);

const flag = (more: object) => ({
  ...{ key: 'f', version: 3, on: true, salt: 's', variations: ['off', 'on'], offVariation: 0 },
  ...{ fallthrough: { variation: 0 }, ...more },
});
const clause = (values: readonly unknown[], op = 'in', negate = false) => ({
  ...{ contextKind: 'user', attribute: 'key', op, values, negate },
});
const keys = Array.from({ length: 3_000 }, (_, at) => `u${at}`);
const users = ['u0', 'u1499', 'u2999', 'nobody'].map((key) => ({ kind: 'user', key }));

/** Items with one large part, and how their steps are to be many. */
const large: readonly [string, object][] = [
  ['rules', { rules: keys.map((key) => ({ variation: 1, id: key, clauses: [clause([key])] })) }],
  ['clauses of one rule', { rules: [{ variation: 1, clauses: keys.map(() => clause(['nobody'], 'in', true)) }] }],
  ['values of one clause', { rules: [{ variation: 1, clauses: [clause(keys)] }] }],
  ['values of one negated clause', { rules: [{ variation: 1, clauses: [clause(keys, 'startsWith', true)] }] }],
  ['regular expressions', { rules: [{ variation: 1, clauses: [clause(keys.slice(0, 20), 'matches')] }] }],
  ['targets', { targets: keys.map((key) => ({ variation: 1, values: [key] })) }],
  ['keys of one target', { targets: [{ variation: 1, values: keys }] }],
  [
    'keys of one target that a context target stands for',
    { targets: [{ variation: 1, values: keys }], contextTargets: [{ contextKind: 'user', variation: 1, values: [] }] },
  ],
  ['keys of one context target', { contextTargets: [{ contextKind: 'user', variation: 1, values: keys }] }],
  ['context targets', { contextTargets: keys.map((key) => ({ contextKind: 'org', variation: 1, values: [key] })) }],
  ['prerequisites', { prerequisites: keys.map((key) => ({ key, variation: 0 })) }],
];

describe.each(dialects)('in the %s dialect', (_, dialect) => {
  test.each(large)('a flag with many %s takes many steps, and gives the same answers', (__, more) => {
    const work = compileFlagInSteps(flag(more), dialect);
    let steps = 1;
    let result = work.next();
    for (; !result.done; result = work.next()) steps += 1;
    expect(steps).toBeGreaterThan(7);
    const answersOf = (held: Flag) => answers(new Map([['f', held]]), new Map(), users, dialect);
    expect(answersOf(result.value)).toEqual(answersOf(compileFlag(flag(more), dialect)));
  });

  test.each([
    ['members', { included: keys }],
    ['excluded members', { included: ['u0'], excluded: keys }],
    ['members of another kind', { includedContexts: [{ contextKind: 'org', values: keys }] }],
    ['rules', { rules: keys.map((key) => ({ clauses: [clause([key])] })) }],
    ['values of one clause', { rules: [{ clauses: [clause(keys)] }] }],
  ])('a segment with many %s takes many steps, and gives the same answers', (__, more) => {
    const segment = { key: 's', version: 1, salt: 's', ...more };
    const work = compileSegmentInSteps(segment, dialect);
    let steps = 1;
    let result = work.next();
    for (; !result.done; result = work.next()) steps += 1;
    expect(steps).toBeGreaterThan(5);
    const user = flag({ rules: [{ variation: 1, clauses: [clause(['s'], 'segmentMatch')] }] });
    const answersOf = (held: Segment) =>
      answers(new Map([['f', compileFlag(user, dialect)]]), new Map([['s', held]]), users, dialect);
    expect(answersOf(result.value)).toEqual(answersOf(compileSegment(segment, dialect)));
  });

  test('a rule or target of the wrong type far behind makes the whole flag malformed', () => {
    const rules = keys.map((key) => ({ variation: 1, clauses: [clause([key])] }));
    const targets = keys.map((key) => ({ variation: 1, values: [key] }));
    for (const more of [
      { rules: [...rules, 7] },
      { rules: [...rules, { clauses: [clause([]), { ...clause(keys), values: 'x' }] }] },
      { targets: [...targets, []] },
      { prerequisites: [...keys.map((key) => ({ key })), { key: 7 }] },
      { rules, fallthrough: { rollout: { variations: 7 } } },
    ]) {
      const held = lastOf(compileFlagInSteps(flag(more), dialect));
      expect(held).toEqual(compileFlag(flag(more), dialect));
    }
  });
});
