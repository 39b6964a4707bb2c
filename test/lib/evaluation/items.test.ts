import {
  describeFlagProblem,
  describeSegmentProblem,
  sameFlagInSteps,
  sameSegmentInSteps,
} from '../../../lib/evaluation/index.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { flagDefaults } from '../../support/items.ts';
import { evaluatorOf } from './in-memory.ts';

const sameFlag = (a: unknown, b: unknown) => resultOf(sameFlagInSteps(a, b));
const sameSegment = (a: unknown, b: unknown) => resultOf(sameSegmentInSteps(a, b));

const clause = { attribute: 'plan', op: 'in', values: ['gold'], negate: false };
const flag = {
  key: 'f',
  on: true,
  prerequisites: [{ key: 'p', variation: 1 }],
  targets: [{ variation: 0, values: ['a'] }],
  contextTargets: [],
  rules: [{ variation: 1, id: 'r', clauses: [clause], trackEvents: false }],
  fallthrough: { rollout: { variations: [{ variation: 0, weight: 100_000 }], seed: 61 } },
  offVariation: 0,
  variations: [{ deep: [null] }, null],
  clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
  clientSide: true,
  salt: 's',
  trackEvents: false,
  trackEventsFallthrough: false,
  debugEventsUntilDate: null,
  version: 7,
  deleted: false,
};

describe('no problem is found in', () => {
  test.each([
    ['a complete flag', flag],
    ['a flag with only a key and a version', { key: 'f', version: 1 }],
    ['a flag full of nulls', { ...flag, prerequisites: null, rules: null, fallthrough: null, offVariation: null }],
    ['a tombstone', { key: '$deleted', version: 3, deleted: true }],
    ['a flag with unknown fields', { ...flag, fromTheFuture: { any: 'thing' } }],
  ])('%s', (_, data) => void expect(describeFlagProblem(data)).toBeUndefined());

  test('no problem is found in a complete segment', () => {
    const rules = [{ id: '', clauses: [clause], weight: 5.5, bucketBy: 'key', rolloutContextKind: 'org' }];
    expect(describeSegmentProblem({ key: 's', version: 1, included: ['a'], rules, generation: null })).toBeUndefined();
  });
});

describe('the problem of an item names the path, the value and what is expected', () => {
  test.each([
    [5, 'the item must be an object, not 5'],
    [null, 'the item must be an object, not null'],
    [[], 'the item must be an object, not []'],
    [{ version: 1 }, 'key must be a string, it is missing'],
    [{ key: 'f' }, 'version must be a whole number, it is missing'],
    [{ ...flag, on: 'yes' }, 'on must be true or false, not "yes"'],
    [{ ...flag, rules: [{}, {}, { clauses: 'x' }] }, 'rules[2].clauses must be an array, not "x"'],
    [{ ...flag, rules: [null] }, 'rules[0] must be an object, not null'],
    [{ ...flag, rules: [{ clauses: [{ attribute: 5 }] }] }, 'rules[0].clauses[0].attribute must be a string, not 5'],
    [{ ...flag, fallthrough: { variation: 0.5 } }, 'fallthrough.variation must be a whole number, not 0.5'],
    [
      { ...flag, fallthrough: { rollout: { variations: [{ weight: '1' }] } } },
      'fallthrough.rollout.variations[0].weight must be a number, not "1"',
    ],
    [{ ...flag, debugEventsUntilDate: Infinity }, 'debugEventsUntilDate must be a number, not Infinity'],
    [{ ...flag, version: Infinity }, 'version must be a whole number, not Infinity'],
    [{ ...flag, targets: [{ values: [null] }] }, 'targets[0].values[0] must be a string, not null'],
    [{ ...flag, salt: ['x'.repeat(200)] }, `salt must be a string, not ["${'x'.repeat(78)}…`],
  ])('%j', (data, problem) => void expect(describeFlagProblem(data)).toBe(problem));

  test('the problem of a segment names the path, the value and what is expected, too', () => {
    expect(describeSegmentProblem({ key: 's', version: 1, includedContexts: [{ values: 'a' }] })).toBe(
      'includedContexts[0].values must be an array, not "a"',
    );
  });
});

describe('two items', () => {
  test.each([
    ['one has unknown fields', flag, { ...flag, fromTheFuture: 1 }],
    ['their fields are in a different order', flag, Object.fromEntries(Object.entries(flag).reverse())],
    ['one omits defaults', { key: 'f', version: 1 }, { key: 'f', version: 1, ...flagDefaults, deleted: false }],
    [
      'one omits the index of variation 0',
      { key: 'f', version: 1, targets: [{ values: ['a'] }], prerequisites: [{ key: 'p' }] },
      { key: 'f', version: 1, targets: [{ values: ['a'], variation: 0 }], prerequisites: [{ key: 'p', variation: 0 }] },
    ],
    ['only the older clientSide differs', { ...flag, clientSide: false }, { ...flag, clientSide: true }],
    [
      'both are tombstones of one version',
      { key: 'f', version: 3, deleted: true },
      { key: '$deleted', version: 3, deleted: true, on: false },
    ],
  ])('are equal when %s', (_, a, b) => void expect([sameFlag(a, b), sameFlag(b, a)]).toEqual([true, true]));

  test.each([
    ['on', { on: false }],
    ['a value inside a variation', { variations: [{ deep: [1] }, null] }],
    ['the order of variations', { variations: [null, { deep: [null] }] }],
    ['a clause', { rules: [{ ...flag.rules[0], clauses: [{ ...clause, negate: true }] }] }],
    ['the version', { version: 8 }],
    ['the off variation', { offVariation: null }],
    ['a seed', { fallthrough: { rollout: { variations: [{ variation: 0, weight: 100_000 }], seed: 0 } } }],
  ])('are not equal when they differ in %s', (_, change) => {
    expect([sameFlag(flag, { ...flag, ...change }), sameFlag({ ...flag, ...change }, flag)]).toEqual([false, false]);
  });

  test('are compared in the same way when they are segments', () => {
    const segment = { key: 's', version: 1, included: ['a'] };
    expect(sameSegment(segment, { ...segment, excluded: [], rules: [], generation: null, deleted: false })).toBe(true);
    expect(sameSegment(segment, { ...segment, included: ['b'] })).toBe(false);
    expect(sameSegment(segment, { ...segment, unbounded: true })).toBe(false);
  });

  test('are compared as plain values when they are not objects', () => {
    expect([sameFlag(1, 1), sameFlag(null, undefined), sameFlag([1], [1]), sameFlag({}, null)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });
});

describe('values that nest too deeply for the stack', () => {
  const deep = (inside: string): unknown => JSON.parse(`${'[{"a":'.repeat(20_000)}${inside}${'}]'.repeat(20_000)}`);

  test('are compared @heavy', () => {
    const withValue = (value: unknown) => ({ ...flag, variations: [value, null] });
    expect(sameFlag(withValue(deep('1')), withValue(deep('1')))).toBe(true);
    expect(sameFlag(withValue(deep('1')), withValue(deep('2')))).toBe(false);
  });

  test('are frozen and evaluated', () => {
    const value = deep('1');
    const evaluator = evaluatorOf({
      f: { ...flag, prerequisites: [], rules: [], targets: [], variations: [value, value] },
    });
    expect(evaluator.evaluate('f', { kind: 'user', key: 'u' }, null).value).toBe(value);
  });

  test('are a problem where they do not belong', () => {
    expect(describeFlagProblem({ ...flag, on: deep('1') })).toBe('on must be true or false, not […]');
    expect(describeFlagProblem({ ...flag, salt: (deep('1') as unknown[])[0] })).toBe('salt must be a string, not {…}');
  });
});
