import type { SummaryEvent } from '../../../lambda/edge-events/events.ts';
import { payloadsOf } from '../../../lambda/edge-events/payloads.ts';

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
