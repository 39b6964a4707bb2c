import { createPacing } from '../../../relay-task/environments/ssm-pacing.ts';

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
    const throttled = { complete: false, throttled: true, unconfirmed: false };
    expect([1, 2, 3, 4, 5].map(() => pacing.next(throttled))).toEqual([60_000, 120_000, 240_000, 300_000, 300_000]);
    expect(pacing.next({ ...throttled, complete: true })).toBe(300_000);
    expect(pacing.next(complete)).toBe(30_000);
  });

  test('is short after a failure, at startup and later, and after a partial change', () => {
    const pacing = createPacing(intervals, () => 0.5);
    const failed = { complete: false, throttled: false, unconfirmed: false };
    const waits = [1, 2, 3, 4, 5, 6, 7].map(() => pacing.next(failed));
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(pacing.next({ ...complete, unconfirmed: true })).toBe(5_000);
    expect(pacing.next(failed)).toBe(1_000);
  });
});
