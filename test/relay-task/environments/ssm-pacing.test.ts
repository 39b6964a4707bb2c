import { createPacing } from '../../../relay-task/environments/ssm-pacing.ts';

describe('the pace of readings', () => {
  const intervals = { intervalMs: 30_000, slowestMs: 300_000, retryMs: 1_000, confirmMs: 5_000 };
  const complete = { complete: true, throttled: false, unconfirmed: false };

  test.each([
    [0, 24_000],
    [0.5, 30_000],
    [0.999999, 36_000],
  ])('spreads the interval: random %d makes %d ms', (random, ms) => {
    expect(Math.round(createPacing(intervals, () => random).next(complete))).toBe(ms);
  });

  test('doubles with each throttled reading up to five minutes, and returns with the first that is not', () => {
    const pacing = createPacing(intervals, () => 0.5);
    pacing.next(complete);
    const throttled = { complete: false, throttled: true, unconfirmed: false };
    expect([1, 2, 3, 4, 5].map(() => pacing.next(throttled))).toEqual([60_000, 120_000, 240_000, 300_000, 300_000]);
    expect(pacing.next({ ...throttled, complete: true })).toBe(300_000);
    expect(pacing.next(complete)).toBe(30_000);
  });

  test('comes back soon after a failure, at boot and later, and soon after half of a change', () => {
    const pacing = createPacing(intervals, () => 0.5);
    const failed = { complete: false, throttled: false, unconfirmed: false };
    const waits = [1, 2, 3, 4, 5, 6, 7].map(() => pacing.next(failed));
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(pacing.next({ ...complete, unconfirmed: true })).toBe(5_000);
    expect(pacing.next(failed)).toBe(1_000);
  });
});
