import type { LaunchDarklyEvent, SummaryEvent } from '../../../lambda/edge-events/events.ts';
import { mergeSummaries } from '../../../lambda/edge-events/merge.ts';
import { payloadsOf as allPayloadsOf } from '../../../lambda/edge-events/payloads.ts';

const payloadsOf = (sources: readonly string[], events: readonly LaunchDarklyEvent[]) =>
  allPayloadsOf(sources, events).payloads;

const at = 1_700_000_000_000;
const index = (key: string, about = '') =>
  ({ kind: 'index', creationDate: at, context: { kind: 'user', key, about } }) as const;
const summary = (flag: string, value: unknown, count = 1): SummaryEvent => ({
  ...{ kind: 'summary', startDate: at, endDate: at },
  features: {
    [flag]: { default: 'old', contextKinds: ['user'], counters: [{ value, variation: 1, version: 7, count }] },
  },
});

test('the same lines always make the same payloads, and other lines have other ids', () => {
  const events = [index('alice'), summary('checkout', 'new', 3)];
  const once = payloadsOf(['e1', 'e2'], events);
  expect(payloadsOf(['e1', 'e2'], events)).toEqual(once);
  expect(once).toHaveLength(1);
  expect(once[0]?.id).toMatch(/^[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  const ids = [['e1'], ['e2', 'e1'], ['e1', 'e2', 'e3'], ['e1,e2']].map(
    (sources) => payloadsOf(sources, events)[0]?.id,
  );
  expect(new Set([...ids, once[0]?.id]).size).toBe(5);
});

test('payloads have at most a megabyte, none shares an id, and nothing is left out', () => {
  const events = Array.from({ length: 30 }, (_, i) => index(`k${i}`, 'é'.repeat(50_000)));
  const summaries = Array.from({ length: 300 }, (_, i) => summary(`flag-${i}`, 'x'.repeat(3_000)));
  const payloads = payloadsOf(['e1'], [...events, ...summaries]);
  expect(payloads.length).toBeGreaterThan(3);
  expect(Math.max(...payloads.map(({ body }) => Buffer.byteLength(body)))).toBeLessThanOrEqual(1_000_001);
  expect(new Set(payloads.map(({ id }) => id)).size).toBe(payloads.length);
  const all = payloads.flatMap(({ body }) => JSON.parse(body) as { kind: string; features?: object }[]);
  expect(all.filter(({ kind }) => kind === 'index')).toHaveLength(30);
  expect(all.flatMap(({ features }) => Object.keys(features ?? {}))).toHaveLength(300);
  expect(Math.max(...all.filter(({ features }) => features).map((one) => JSON.stringify(one).length))).toBeLessThan(
    250_000,
  );
});

test('payloads have at most 400 events, fewer than a relay queues', () => {
  const payloads = payloadsOf(
    ['e1'],
    Array.from({ length: 1_000 }, (_, i) => index(`k${i}`)),
  );
  expect(payloads.map(({ body }) => JSON.parse(body).length)).toEqual([400, 400, 200]);
});

test('counters of one variation with different values stay apart', () => {
  const [payload] = payloadsOf(
    ['e1'],
    [summary('checkout', 'new', 1), summary('checkout', 'newer', 2), summary('checkout', 'new', 3)],
  );
  expect(JSON.parse(payload?.body ?? '')).toMatchObject([
    {
      features: {
        checkout: {
          counters: [
            { value: 'new', count: 4 },
            { value: 'newer', count: 2 },
          ],
        },
      },
    },
  ]);
});

test('a flag with the name of an inherited property is a flag like any other', () => {
  const odd = JSON.parse(JSON.stringify(summary('x', 1)).replace('"x"', '"__proto__"')) as SummaryEvent;
  const [payload] = payloadsOf(['e1'], [odd, odd, summary('constructor', 1)]);
  expect(payload?.body).toContain('"__proto__":{"default":"old"');
  expect(payload?.body).toContain('"count":2');
  expect(payload?.body).toContain('"constructor"');
});

describe('of a flag with many fallbacks', () => {
  const withFallback = (fallback: unknown, counter: object): SummaryEvent => ({
    ...{ kind: 'summary', startDate: at, endDate: at },
    features: { checkout: { default: fallback, contextKinds: ['user'], counters: [counter as never] } },
  });
  const gone = (value: unknown) => withFallback(value, { value, unknown: true, count: 1 });

  test('100 different fallbacks of a flag are distinguished, and all evaluations are counted', () => {
    const values = Array.from({ length: 150 }, (_, index) => ({ index }));
    const { summaries, folded } = mergeSummaries([...values, ...values].map(gone));
    expect(folded).toBe(100);
    expect(summaries).toHaveLength(100);
    expect(summaries.map(({ features }) => features.checkout?.default)).toEqual(values.slice(0, 100));
    const counters = summaries.map(({ features }) => features.checkout?.counters);
    expect(counters.slice(0, 99)).toEqual(values.slice(0, 99).map((value) => [{ value, unknown: true, count: 2 }]));
    // As an SDK has it: one counter for what does not exist, with the value that came first.
    expect(counters[99]).toEqual([
      { value: { index: 99 }, unknown: true, count: 2 },
      { value: { index: 100 }, unknown: true, count: 100 },
    ]);
    expect(mergeSummaries(values.slice(0, 100).map(gone)).folded).toBe(0);
  });

  test('a fallback is written once for each summary that has it', () => {
    let written = 0;
    const one = (index: number) => ({
      toJSON: () => {
        written += 1;
        return index;
      },
    });
    const counter = { value: 1, variation: 0, version: 1, count: 1 };
    mergeSummaries(Array.from({ length: 300 }, (_, index) => withFallback(one(index), counter)));
    // And once more for the size of each summary that is made.
    expect(written).toBe(400);
  });
});
