import { backoffMs, createBackoff, jitter, spread } from '../../../relay-task/common/backoff.ts';

const times = { firstMs: 100, maxMs: 1_000 };

test('without jitter the delay doubles with each failure, up to the maximum', () => {
  const delays = [1, 2, 3, 4, 5, 6, 2_000].map((failures) => backoffMs(failures, times, () => 0));
  expect(delays).toEqual([100, 200, 400, 800, 1_000, 1_000, 1_000]);
});

test('jitter shortens a delay by at most half', () => {
  expect(jitter(100, () => 0)).toBe(100);
  expect(jitter(100, () => 0.5)).toBe(75);
  expect(jitter(100, () => 0.999_999)).toBeGreaterThanOrEqual(50);
  expect(backoffMs(3, times, () => 0.5)).toBe(300);
});

test('a backoff counts consecutive failures and starts over after a success', () => {
  const backoff = createBackoff(times, () => 0);
  expect([backoff.next(), backoff.next(), backoff.next()]).toEqual([100, 200, 400]);
  backoff.reset();
  expect([backoff.next(), backoff.next()]).toEqual([100, 200]);
});

test('a spread interval is longer or shorter by at most the given part', () => {
  expect([0, 0.5, 1].map((random) => spread(100, 0.2, () => random))).toEqual([80, 100, 120]);
  expect([0, 0.5, 1].map((random) => jitter(100, () => random, 0.2))).toEqual([100, 90, 80]);
});
