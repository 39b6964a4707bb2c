/** What the answers of one state of a flag take in memory. */
import { parseGoContext } from '../../../lib/evaluation/index.ts';
import type { Item } from '../../../lib/flag-table/index.ts';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { createKept } from '../../../relay-task/common/kept.ts';
import { createOpenFeatureResults } from '../../../relay-task/endpoints/ofrep-result.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import { flag } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';

const RULES = 300;
const large = { text: 'x'.repeat(10_000) };

function start(budgetBytes: number, items: readonly Item[]) {
  const budget = createBudget(budgetBytes);
  const kept = createKept(budget);
  const environment = createEnvironment({ name: 'test', log: silentLog, onChange() {}, kept });
  environment.put(items, [], 0);
  const answer = (rule: number, withReasons = true, key = 'f') => {
    const context = parseGoContext({ kind: 'user', key: 'u', n: rule })!;
    return environment.clientView.evaluateOne(key, context, { audience: 'sdkKey', withReasons })!;
  };
  return { budget, kept, environment, answer };
}

const ruled = (value: unknown, more = {}) =>
  flag('f', 1, {
    variations: [value, 0.5],
    rules: Array.from({ length: RULES }, (_, rule) => ({
      id: `r${rule}`,
      variation: 0,
      clauses: [{ contextKind: 'user', attribute: 'n', op: 'in', values: [rule] }],
    })),
    ...more,
  });
const rules = Array.from({ length: RULES }, (_, rule) => rule);
const expected = (value: unknown, rule: number) =>
  `{"value":${JSON.stringify(value)},"variation":0,"version":1,"flagVersion":1,"reason":{"kind":"RULE_MATCH","ruleIndex":${rule},"ruleId":"r${rule}"}}`;

test('a large value is written once for all rules that lead to it, and each answer adds a short text @heavy', () => {
  const { answer, budget } = start(1_000_000, [ruled(large)]);
  const answers = rules.map((rule) => answer(rule));
  expect(answers.map(({ json }) => json)).toEqual(rules.map((rule) => expected(large, rule)));
  expect(answers[0]?.value).toEqual({ json: JSON.stringify(large) });
  for (const { value } of answers) expect(value).toBe(answers[0]?.value);
  expect(budget.usedBytes).toBeGreaterThan(RULES * 100);
  expect(budget.usedBytes).toBeLessThan(RULES * 300);
});

test.each([
  ['short', 'a'],
  ['large', large],
])('answers with a %s value are right and stay the same objects when their texts were forgotten @heavy', (_, value) => {
  const { answer, budget } = start(10_000, [ruled(value)]);
  const first = rules.map((rule) => answer(rule));
  for (let round = 0; round < 2; round++) {
    for (const rule of rules) {
      expect(answer(rule).json).toBe(expected(value, rule));
      expect(`{"value":${answer(rule).value.json}${answer(rule).rest}`).toBe(expected(value, rule));
      expect(answer(rule)).toBe(first[rule]);
      expect(budget.usedBytes).toBeLessThanOrEqual(10_000);
    }
  }
  expect(budget.usedBytes).toBeGreaterThan(0);
});

test.each([true, false])(
  'answers that name prerequisites count, too, and stay the same objects when their texts were forgotten (reasons: %s) @heavy',
  (withReasons) => {
    const needs = { prerequisites: [{ key: 'p', variation: 0 }] };
    const { answer, budget } = start(10_000, [flag('p', 1), ruled(large, needs)]);
    const json = (rule: number) => {
      const whole = expected(large, rule).replace(/}$/, ',"prerequisites":["p"]}');
      return withReasons ? whole : whole.replace(/,"reason":{.*?}/, '');
    };
    const first = rules.map((rule) => answer(rule, withReasons));
    expect(new Set(first).size).toBe(withReasons ? RULES : 1);
    for (const rule of rules) {
      expect(answer(rule, withReasons).json).toBe(json(rule));
      expect(answer(rule, withReasons)).toBe(first[rule]);
      expect(budget.usedBytes).toBeLessThanOrEqual(10_000);
    }
    expect(budget.usedBytes).toBeGreaterThan(0);
  },
);

test('errors and answers with the status of Big Segments stay the same objects when their texts were forgotten @heavy', () => {
  const broken = flag('broken', 1, { variations: [], fallthrough: { variation: 3 } });
  const { answer, environment } = start(1_000, [broken, ruled(large)]);
  const [error] = [answer(0, true, 'broken')];
  for (const rule of rules) expect(answer(rule).json).toBe(expected(large, rule));
  expect(answer(0, true, 'broken')).toBe(error);
  expect(environment.failedItems()).toEqual([]);
});

test('without reasons, rules that lead to the same variation have one answer @heavy', () => {
  const { answer } = start(1_000_000, [ruled(large)]);
  for (const rule of rules) expect(answer(rule, false)).toBe(answer(0, false));
});

describe('in the format of OpenFeature', () => {
  const openFeature = (value: string, rule: number) =>
    `{"key":"f","value":${value},"reason":"RULE_MATCH","variant":"0","metadata":{"version":"1","ruleIndex":${rule},"ruleId":"r${rule}"}}`;

  test('a large value is read and written once for all rules', () => {
    const { answer, environment, kept, budget } = start(1_000_000, [ruled(large)]);
    const answers = rules.map((rule) => answer(rule));
    const resultOf = createOpenFeatureResults(kept);
    const parsed = jest.spyOn(JSON, 'parse');
    const results = answers.map((one) => resultOf(one, 'launchdarkly', environment).json);
    const long = parsed.mock.calls.filter(([text]) => text.length > 10_000).length;
    parsed.mockRestore();
    expect(results).toEqual(rules.map((rule) => openFeature(JSON.stringify(large), rule)));
    expect(long).toBe(1);
    expect(budget.usedBytes).toBeLessThan(RULES * 600);
  });

  test.each([
    ['short', 3, '3.0'],
    ['large', large, JSON.stringify(large)],
  ])('answers with a %s value are right when their texts were forgotten @heavy', (_, value, written) => {
    const { answer, environment, kept, budget } = start(10_000, [ruled(value)]);
    const resultOf = createOpenFeatureResults(kept);
    for (let round = 0; round < 2; round++) {
      for (const rule of rules) {
        expect(resultOf(answer(rule), 'launchdarkly', environment)).toEqual({
          failed: false,
          json: openFeature(written, rule),
        });
        expect(budget.usedBytes).toBeLessThanOrEqual(10_000);
      }
    }
    expect(budget.usedBytes).toBeGreaterThan(0);
  });
});
