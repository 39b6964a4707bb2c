import { fallbackIn, type WaysState, waitForOther } from '../../../relay-task/upstream/other-way.ts';

const times = { fallbackMs: 120_000, firstFallbackMs: 5_000, recoveryMs: 300_000 };
const failing: WaysState = {
  inUse: 'first',
  isUp: false,
  hasDelivered: false,
  hasTried: false,
  isUrgent: false,
  legacyLeftMs: undefined,
};

test.each<[string, Partial<WaysState>, number | undefined]>([
  ['nothing has arrived yet', {}, 5_000],
  ['flags have arrived before', { hasDelivered: true }, 120_000],
  ['the way in use cannot work', { isUrgent: true }, 0],
  ['the way in use cannot work, and the other one has failed, too', { isUrgent: true, hasTried: true }, 60_000],
  ['both have failed, and there are flags', { hasTried: true, hasDelivered: true }, 1_000_000],
  ['the first way works', { isUp: true, hasDelivered: true }, undefined],
  ['the second way works', { inUse: 'second', isUp: true, hasDelivered: true }, 300_000],
  ['LaunchDarkly wants FDv1 for a while', { inUse: 'legacy', isUp: true, legacyLeftMs: 7_000 }, 7_000],
  ['LaunchDarkly wanted FDv1 until a moment ago', { inUse: 'legacy', isUp: true, legacyLeftMs: -3 }, 0],
  ['LaunchDarkly wants FDv1 for good', { inUse: 'legacy', isUp: true }, undefined],
  ['FDv1 does not work', { inUse: 'legacy', isUrgent: true }, 120_000],
])('the wait before another way is tried when %s', (_, state, expected) => {
  expect(waitForOther({ ...failing, ...state }, times, () => 1_000_000)).toBe(expected);
});

test('the wait between two attempts is at most an hour', () => {
  expect(waitForOther({ ...failing, hasTried: true, hasDelivered: true }, times, () => 9e9)).toBe(3_600_000);
});

test.each([
  [{}, undefined],
  [{ 'x-ld-fd-fallback': 'false', 'x-ld-fd-fallback-ttl': '60' }, undefined],
  [{ 'x-ld-fd-fallback': 'TRUE' }, 0],
  [{ 'x-ld-fd-fallback': 'true', 'x-ld-fd-fallback-ttl': '60' }, 60_000],
  [{ 'x-ld-fd-fallback': 'true', 'x-ld-fd-fallback-ttl': '-5' }, 0],
  [{ 'x-ld-fd-fallback': 'true', 'x-ld-fd-fallback-ttl': 'soon' }, 0],
])('the headers %j ask for FDv1 for %p ms', (headers, expected) => {
  expect(fallbackIn(headers)).toBe(expected);
});
