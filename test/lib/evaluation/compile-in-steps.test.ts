import type { CompiledFlag } from '../../../lib/evaluation/compile.ts';
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
import { type Random, randomFrom, toJson } from '../../support/random.ts';
import { randomEnvironment } from '../../support/random-environment.ts';
import type { Items } from './in-memory.ts';
import { plain } from './verdict.ts';

const cases = Number(process.env.CASES ?? (process.env.LONG === '1' ? 5_000 : 40));
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
  `in ${cases} random environments (seed ${seed}), flags and segments compiled in steps give the same answers in the %s dialect @heavy`,
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
  ['keys of one context target', { contextTargets: [{ contextKind: 'org', variation: 1, values: keys }] }],
  ['context targets', { contextTargets: keys.map((key) => ({ contextKind: 'org', variation: 1, values: [key] })) }],
  ['prerequisites', { prerequisites: keys.map((key) => ({ key, variation: 0 })) }],
];

/** JSON can have objects that cannot be made a text. */
const ODD = [null, false, 7, 'x', [], [1], [null], {}, { values: 7 }, { values: [{ toString: 1 }], contextKind: 7 }];

/** With one or two odd members in lists of these names, or in the clauses of a rule, or in the values of a member of any of them. */
function damaged(random: Random, item: Record<string, unknown>, names: readonly string[]): object {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  for (let times = random() < 0.7 ? 1 : 2; times > 0; times -= 1) {
    const lists = names.map((name) => item[name] as unknown[]);
    const { clauses } = (pick(item.rules as { clauses?: unknown }[]) ?? {}) as { clauses?: unknown };
    if (Array.isArray(clauses)) lists.push(clauses, clauses);
    const { values } = (pick(pick(lists)) ?? {}) as { values?: unknown };
    if (Array.isArray(values)) lists.push(values);
    const list = pick(lists);
    const at = Math.floor(random() * (list.length + 1));
    list.splice(at, random() < 0.5 ? 0 : 1, pick(ODD));
  }
  return item;
}

const someKeys = (length: number, from = 0) => Array.from({ length }, (_, at) => `u${from + at}`);
const someClauses = (length: number) => [
  ...someKeys(length).map((key) => clause([key], 'in', key !== 'u0')),
  clause(someKeys(length), 'segmentMatch'),
  clause(someKeys(length), 'startsWith'),
];
const someTargets = (length: number) => [
  { contextKind: 'org', variation: 1, values: someKeys(length) },
  ...someKeys(length).map((key, at) => ({
    contextKind: ['user', 'org', ''][at % 3],
    variation: at % 2,
    values: [key],
  })),
];
const someFlag = (length: number): Record<string, unknown> =>
  flag({
    rules: [
      { variation: 1, clauses: [clause(['nobody'])] },
      { variation: 1, clauses: someClauses(length) },
    ],
    targets: [
      { variation: 1, values: ['u2999'] },
      { variation: 0, values: someKeys(length, 1_499) },
    ],
    contextTargets: [...someTargets(length), { contextKind: 'user', variation: 1, values: [] }],
    prerequisites: [],
  });
const someSegment = (length: number): Record<string, unknown> => ({
  ...{ key: 's', version: 1, salt: 's' },
  ...{ included: ['u2999'], excluded: someKeys(length, 2_000) },
  ...{ includedContexts: someTargets(length), excludedContexts: someTargets(length) },
  rules: [{ clauses: [clause(['nobody'])] }, { clauses: someClauses(length) }],
});

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

  test.each([
    ['without fields', {}],
    ['for users', { contextKind: 'user', variation: 0, values: [] }],
  ])('many context targets %s that stand for one target take its keys once', (__, entry) => {
    const data = flag({
      targets: [
        { variation: 0, values: keys },
        { variation: 1, values: ['u0'] },
      ],
      contextTargets: [...keys.slice(0, 300).map(() => entry), { contextKind: 'user', variation: 1 }],
      variations: ['named', 'other', 'fallthrough'],
      fallthrough: { variation: 2 },
    });
    const work = compileFlagInSteps(data, dialect);
    let steps = 1;
    let result = work.next();
    for (; !result.done; result = work.next()) steps += 1;
    expect(steps).toBeLessThan(20);
    // In the Node SDK, an entry without a variation stands for a target without one.
    const named = dialect || 'variation' in entry ? keys.length : 0;
    for (const held of [result.value, compileFlag(data, dialect)]) {
      const { targets } = held as CompiledFlag;
      expect(targets.reduce((sum, target) => sum + target.keys.size, 0)).toBe(named + 1);
      const flags = new Map([['f', held]]);
      const evaluator = createEvaluator(
        { flag: (key) => flags.get(key), segment: () => undefined, bucket: sha1Bucket },
        dialect,
      );
      const values = users.map((user) => evaluator.evaluate('f', user, 'none').value);
      expect(values).toEqual(
        named > 0 ? ['named', 'named', 'named', 'fallthrough'] : ['other', 'fallthrough', 'fallthrough', 'fallthrough'],
      );
    }
  });

  test(`in ${cases} random flags and segments (seed ${seed}), a member of the wrong type has the same effect in any list @heavy`, () => {
    const differences: unknown[] = [];
    for (let number = 0; number < cases && differences.length < 3; number += 1) {
      const random = randomFrom(`${seed}:members:${number}`);
      // Large ones are divided as in the relay, small ones into small parts.
      const [length, atOnce] = number % 4 === 0 ? [700] : [4, [1, 2, 5][number % 3]];
      const flagJson = toJson(
        damaged(random, someFlag(length), ['targets', 'contextTargets', 'prerequisites', 'rules']),
      );
      const segmentJson = toJson(
        damaged(random, someSegment(length), ['includedContexts', 'excludedContexts', 'rules']),
      );
      const answersWith = (compiledFlag: Flag, compiledSegment: Segment) =>
        plain([
          [compiledFlag, compiledSegment].map(({ segmentKeys }) => segmentKeys),
          answers(
            new Map([
              ['f', compiledFlag],
              [
                'of s',
                compileFlag(flag({ rules: [{ variation: 1, clauses: [clause(['s'], 'segmentMatch')] }] }), dialect),
              ],
            ]),
            new Map([['s', compiledSegment]]),
            [...users, { kind: 'org', key: 'u1' }],
            dialect,
          ),
        ]);
      const expected = answersWith(
        compileFlag(JSON.parse(flagJson), dialect),
        compileSegment(JSON.parse(segmentJson), dialect),
      );
      const found = answersWith(
        lastOf(compileFlagInSteps(JSON.parse(flagJson), dialect, atOnce)),
        lastOf(compileSegmentInSteps(JSON.parse(segmentJson), dialect, atOnce)),
      );
      if (toJson(found) !== toJson(expected)) differences.push({ number, atOnce, found, expected });
    }
    expect(differences).toEqual([]);
  }, 600_000);

  test('a rule or target of the wrong type far behind makes the whole flag malformed @heavy', () => {
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
