/** Which lines, and which parts of them, are used. Oracle: what LaunchDarkly's SDKs send, schema 4. */
import { parseLine } from '../../../lambda/edge-events/lines.ts';
import { payloadsOf } from '../../../lambda/edge-events/payloads.ts';

const at = 1_700_000_000_000;
const context = { kind: 'user', key: 'alice' };
const counter = { value: 'new', variation: 1, version: 7, count: 3 };
const flag = { default: 'old', contextKinds: ['user'], counters: [counter] };
const summary = { kind: 'summary', startDate: at, endDate: at, features: { checkout: flag } };
const index = { kind: 'index', creationDate: at, context };
const feature = {
  ...{ kind: 'feature', creationDate: at, context, key: 'checkout', value: 'new', default: 'old' },
  ...{ samplingRatio: 2.5, prereqOf: 'site', variation: 1, version: 7 },
  reason: { kind: 'RULE_MATCH', ruleIndex: 0, ruleId: 'r', inExperiment: true, bigSegmentsStatus: 'HEALTHY' },
};
const parse = (...events: readonly unknown[]) => parseLine(JSON.stringify({ edgeFlagExposures: 1, events }));

test('texts of any characters are used, such as those that JavaScript takes for the end of a line', () => {
  const odd = { ...index, context: { ...context, about: '\u2028\u2029\u0085\r\n\0\ud800' } };
  expect(parse(odd)).toEqual({ events: [odd], problems: [], lost: 0 });
});

test('everything that the reader writes is used', () => {
  const multi = { kind: 'multi', user: { key: 'a', _meta: { redactedAttributes: ['email'] } }, org: { key: 'o' } };
  const all = [
    summary,
    { ...summary, features: { gone: { contextKinds: ['user', 'org'], counters: [{ unknown: true, count: 1 }] } } },
    index,
    { ...index, context: multi },
    feature,
    {
      kind: 'debug',
      creationDate: at,
      context,
      key: 'f',
      value: null,
      reason: { kind: 'ERROR', errorKind: 'WRONG_TYPE' },
    },
  ];
  expect(parse(...all)).toEqual({ events: all, problems: [], lost: 0 });
});

const deep = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels));

/** The reason must name the field. */
const ofCounters: readonly [object, string][] = [
  [{ count: 0 }, 'count'],
  [{ count: 1.5 }, 'count'],
  [{ count: 9e15 }, 'count'],
  [{ count: undefined }, 'count is missing'],
  [{ variation: 'x' }, 'variation is a string'],
  [{ variation: -1 }, 'variation'],
  [{ version: {} }, 'version is an object'],
  [{ version: undefined }, 'either a version or unknown'],
  [{ unknown: true }, 'either a version or unknown'],
  [{ unknown: false, version: undefined }, 'unknown is a boolean'],
  [{ value: deep(101) }, 'value is a list: expected JSON of at most 100 levels'],
  [{ more: 1 }, 'it has "more", which the reader does not write'],
];
const ofFlags: readonly [unknown, string][] = [
  [{ contextKinds: [1, null] }, 'contextKinds is a list'],
  [{ contextKinds: [] }, 'contextKinds'],
  [{ contextKinds: ['multi'] }, 'contextKinds'],
  [{ contextKinds: ['a b'] }, 'contextKinds'],
  [{ contextKinds: 'user' }, 'contextKinds'],
  [{ counters: [] }, 'counters'],
  [{ counters: [counter, 7] }, 'a counter is no object'],
  [{ default: deep(101) }, 'default'],
  [{ more: 1 }, 'it has "more"'],
  ...ofCounters.map(([more, reason]): [unknown, string] => [{ counters: [{ ...counter, ...more }] }, reason]),
];

test.each(ofFlags)('of a summary, a flag with %j is left out with the reason, and the others count', (more, reason) => {
  const { events, problems } = parse({ ...summary, features: { bad: { ...flag, ...Object(more) }, checkout: flag } });
  expect(events).toEqual([summary]);
  expect(problems).toEqual([expect.stringContaining(reason)]);
  expect(problems[0]).toMatch(/^flag "bad": /);
});

test.each([
  ['', 'flag ""'],
  ['x'.repeat(1_025), 'flag "xxx'],
])('a flag cannot have the key %j', (key, reason) => {
  expect(parse({ ...summary, features: { [key]: flag } })).toEqual({
    ...{ events: [], lost: 0 },
    problems: [expect.stringContaining(reason)],
  });
});

test.each<[object, string]>([
  [{ ...summary, startDate: at + 1 }, 'it ends before it starts'],
  [{ ...summary, startDate: 9e15, endDate: 9e15 }, 'startDate'],
  [{ ...summary, features: [] }, 'features is a list'],
  [{ ...summary, more: 1 }, 'it has "more"'],
  [{ ...index, creationDate: -1 }, 'creationDate'],
  [{ ...index, creationDate: 9e15 }, 'creationDate'],
  [{ ...index, context: {} }, 'context is an object'],
  [{ ...index, context: { key: 'alice' } }, 'context'],
  [{ ...index, context: { kind: 5, key: 'alice' } }, 'context'],
  [{ ...index, context: { kind: 'user', key: '' } }, 'context'],
  [{ ...index, context: { kind: 'multi' } }, 'context'],
  [{ ...index, context: { ...context, a: deep(101) } }, 'context'],
  [{ ...index, context: { ...context, _meta: { redactedAttributes: [1] } } }, 'context'],
  [{ ...index, key: 'checkout' }, 'it has "key"'],
  [{ ...feature, key: '' }, 'key is a string: expected the key of a flag'],
  [{ ...feature, key: undefined }, 'key is missing'],
  [{ ...feature, prereqOf: 7 }, 'prereqOf'],
  [{ ...feature, samplingRatio: '2' }, 'samplingRatio'],
  [{ ...feature, variation: 'x' }, 'variation'],
  [{ ...feature, version: {} }, 'version'],
  [{ ...feature, reason: 'OFF' }, 'reason'],
  [{ ...feature, reason: { kind: 'NEW' } }, 'reason'],
  [{ ...feature, reason: { kind: 'RULE_MATCH', ruleIndex: '0' } }, 'reason'],
  [{ ...feature, reason: { kind: 'OFF', more: 1 } }, 'reason'],
])('the event %j is left out with the reason, and the others are used', (event, reason) => {
  const { events, problems } = parse(index, event, summary);
  expect(events).toEqual([index, summary]);
  expect(problems).toEqual([expect.stringContaining(reason)]);
});

test('numbers that no double holds, and values that nest without end, cost the batch nothing', () => {
  const line = JSON.stringify({ edgeFlagExposures: 1, events: [index, { ...feature, value: '…' }, summary] });
  for (const value of [
    '1e400',
    `${'['.repeat(50_000)}${']'.repeat(50_000)}`,
    `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`,
  ]) {
    const { events, problems } = parseLine(line.replace('"…"', value));
    expect(problems).toEqual([expect.stringContaining('value')]);
    expect(payloadsOf(['a'], events).payloads).toHaveLength(1);
  }
});

test('reasons show nothing of a viewer', () => {
  const { problems } = parse(
    { ...feature, context: { kind: 'user', email: 'alice@example.com' } },
    { ...feature, variation: 'alice@example.com' },
  );
  expect(problems).toHaveLength(2);
  expect(problems.join()).not.toContain('alice');
});
