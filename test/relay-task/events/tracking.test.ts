import type { Item } from '../../../lib/flag-table/index.ts';
import { trackingInSlices, trackingOf } from '../../../relay-task/events/tracking.ts';
import { flag, tombstone } from '../../support/items.ts';

const names = Object.fromEntries(Array.from({ length: 20_000 }, (_, at) => [`name-${at}`, at]));

test('the event settings of a large flag are read in steps, once, and what is large is never parsed @heavy', () => {
  const rules = Array.from({ length: 2_000 }, (_, at) => ({ id: `r${at}`, trackEvents: at % 2 === 1, names: { at } }));
  const item = flag('big', 2, { variations: [names, { small: 1 }], rules, names, trackEvents: true, samplingRatio: 4 });
  const parse = jest.spyOn(JSON, 'parse');
  try {
    let steps = 0;
    for (const _ of trackingInSlices(item)) steps += 1;
    expect(steps).toBeGreaterThan(20);
    expect(Math.max(...parse.mock.calls.map(([text]) => text.length))).toBeLessThan(1_000);
    expect([...trackingInSlices(item)]).toEqual([]);
  } finally {
    parse.mockRestore();
  }
  const tracking = trackingOf(item)!;
  expect(tracking).toMatchObject({ trackEvents: true, samplingRatio: 4, excludeFromSummaries: false });
  expect(tracking.variationOf({ small: 1 })).toBe(1);
  expect(tracking.variationOf(names)).toBeUndefined();
  const isTracked = (ruleIndex: number) => tracking.isExperiment({ kind: 'RULE_MATCH', ruleIndex });
  expect([0, 1, 1_999, 2_000].map(isTracked)).toEqual([false, true, true, false]);
});

test.each<[string, Item | undefined]>([
  ['no flag', undefined],
  ['a deleted flag', tombstone('features', 'a', 2)],
  ['a flag that is not JSON', { ...flag('a', 1), json: '{"rules":[' }],
])('there are no event settings for %s', (_what, item) => {
  expect(trackingOf(item)).toBeUndefined();
});

test('fields of another type are ignored', () => {
  const json =
    '{"key":"a","trackEvents":1,"debugEventsUntilDate":"x","samplingRatio":1e999,"rules":[null,[],{"trackEvents":1}],"variations":{}}';
  const tracking = trackingOf({ ...flag('a', 1), json })!;
  expect(tracking).toMatchObject({ trackEvents: false, debugEventsUntilDate: undefined, samplingRatio: undefined });
  expect([0, 1, 2].some((ruleIndex) => tracking.isExperiment({ kind: 'RULE_MATCH', ruleIndex }))).toBe(false);
  expect(tracking.variationOf(undefined)).toBeUndefined();
});
