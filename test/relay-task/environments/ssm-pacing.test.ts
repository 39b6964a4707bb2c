import { createPacing, createRequestPace } from '../../../relay-task/environments/ssm-pacing.ts';

describe('the interval between SSM reads', () => {
  const intervals = { intervalMs: 30_000, slowestMs: 300_000, retryMs: 1_000, confirmMs: 5_000 };
  const complete = { complete: true, throttled: false, unconfirmed: false };

  test.each([
    [0, 24_000],
    [0.5, 30_000],
    [0.999999, 36_000],
  ])('is spread: random %d gives %d ms', (random, ms) => {
    expect(Math.round(createPacing(intervals, () => random).next(complete))).toBe(ms);
  });

  test('doubles with each throttled read up to five minutes, then resets with the first unthrottled one', () => {
    const pacing = createPacing(intervals, () => 0.5);
    pacing.next(complete);
    const throttled = { complete: true, throttled: true, unconfirmed: false };
    expect([1, 2, 3, 4, 5].map(() => pacing.next(throttled))).toEqual([60_000, 120_000, 240_000, 300_000, 300_000]);
    expect(pacing.next(complete)).toBe(30_000);
  });

  test('is short after a read that throttling cut off, since it continues where it stopped', () => {
    const pacing = createPacing(intervals, () => 0);
    expect(pacing.next({ complete: false, throttled: true, unconfirmed: false })).toBe(1_000);
  });

  test.each([
    [0, 1_000],
    [0.5, 750],
    [0.999999, 500],
  ])('has the jitter of every other retry after a failure: random %d gives %d ms', (random, ms) => {
    const pacing = createPacing(intervals, () => random);
    expect(Math.round(pacing.next({ ...complete, complete: false }))).toBe(ms);
  });

  test('is short after a failure, at startup and later, and after a partial change', () => {
    const pacing = createPacing(intervals, () => 0);
    const failed = { complete: false, throttled: false, unconfirmed: false };
    const waits = [1, 2, 3, 4, 5, 6, 7].map(() => pacing.next(failed));
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(pacing.next({ ...complete, unconfirmed: true })).toBe(5_000);
    expect(pacing.next(failed)).toBe(1_000);
  });
});

describe('the pace of SSM requests', () => {
  /** A pace whose waits pass at once, and a way to see its waits. */
  function start(spacingMs: number) {
    let now = 0;
    const pace = createRequestPace(
      spacingMs,
      () => now,
      () => 0.5,
    );
    const wait = () => {
      const ms = pace.next();
      now += ms;
      return Math.round(ms);
    };
    const rest = (ms: number) => {
      now += ms;
    };
    return { pace, wait, rest };
  }

  test('lets a burst of ten through, then one request per interval', () => {
    const { wait, rest } = start(100);
    const waits = () => Array.from({ length: 12 }, wait);
    expect(waits()).toEqual([...Array(10).fill(0), 100, 100]);
    rest(60_000);
    expect(waits()).toEqual([...Array(10).fill(0), 100, 100]);
  });

  test('halves the rate with each throttled request, down to one in two seconds, and regains it step by step', () => {
    const { pace, wait, rest } = start(100);
    Array.from({ length: 11 }, wait);
    pace.throttled();
    expect(wait()).toBe(200);
    for (let i = 0; i < 20; i++) pace.throttled();
    expect(wait()).toBe(2_000);
    // After a rest there is no burst while SSM throttles.
    rest(60_000);
    expect(wait()).toBeGreaterThan(500);
    const waits = Array.from({ length: 120 }, wait);
    expect(waits).toEqual([...waits].sort((a, b) => b - a));
    expect(waits.at(-1)).toBe(100);
  });
});
