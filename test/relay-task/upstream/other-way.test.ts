import { createSchedule, fallbackIn, type WaysState, waitForOther } from '../../../relay-task/upstream/other-way.ts';

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

describe('the schedule', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  const failed = { inUse: 'first', isUp: false, isUrgent: false } as const;
  const legacy = { inUse: 'legacy', isUp: true, isUrgent: false } as const;
  /** With the times of LaunchDarkly's SDKs, after flags have arrived. */
  function start() {
    const schedule = createSchedule({ random: () => 0 });
    schedule.delivered();
    const attempt = jest.fn();
    return { ...schedule, attempt, pass: (ms: number) => void jest.advanceTimersByTime(ms) };
  }

  test('tries the other way no later than it was planned before, unless that plan was cleared', () => {
    const { plan, clear, attempt, pass } = start();
    plan(failed, attempt);
    pass(60_000);
    plan(failed, attempt);
    pass(60_000);
    expect(attempt).toHaveBeenCalledTimes(1);
    clear();
    plan(failed, attempt);
    pass(119_999);
    expect(attempt).toHaveBeenCalledTimes(1);
    pass(1);
    expect(attempt).toHaveBeenCalledTimes(2);
  });

  test('gives the other way two minutes, then waits longer each time until flags arrive', () => {
    const { plan, tried, delivered, clear, attempt, pass } = start();
    const giveUp = jest.fn();
    for (const waitMs of [120_000, 240_000]) {
      tried(giveUp);
      pass(120_000);
      plan(failed, attempt);
      pass(waitMs - 1);
      expect(attempt).not.toHaveBeenCalled();
      pass(1);
      expect(attempt).toHaveBeenCalledTimes(1);
      attempt.mockClear();
    }
    expect(giveUp).toHaveBeenCalledTimes(2);
    delivered();
    clear();
    plan(failed, attempt);
    pass(120_000);
    expect(attempt).toHaveBeenCalledTimes(1);
  });

  test('is urgent after a rejection, or before there are flags, until the other way is tried without success', () => {
    const { isUrgent, tried, delivered } = start();
    expect([isUrgent(true), isUrgent(false)]).toEqual([true, false]);
    expect(createSchedule({}).isUrgent(false)).toBe(true);
    tried(() => {});
    expect(isUrgent(true)).toBe(false);
    delivered();
    expect(isUrgent(true)).toBe(true);
  });

  test('stays with FDv1 for the time that LaunchDarkly asks for, and for as long again after a failed attempt', () => {
    const { plan, tried, legacyAsked, legacyStays, attempt, pass } = start();
    legacyAsked(200_000);
    plan(legacy, attempt);
    pass(199_999);
    expect(attempt).not.toHaveBeenCalled();
    pass(1);
    expect(attempt).toHaveBeenCalledTimes(1);
    tried(() => {});
    legacyStays();
    plan(legacy, attempt);
    pass(199_999);
    expect(attempt).toHaveBeenCalledTimes(1);
    pass(1);
    expect(attempt).toHaveBeenCalledTimes(2);
  });

  test('stays with FDv1 for good if LaunchDarkly names no time', () => {
    const { plan, legacyAsked, attempt, pass } = start();
    plan(failed, attempt);
    legacyAsked(0);
    plan(legacy, attempt);
    pass(10_000_000);
    expect(attempt).not.toHaveBeenCalled();
  });
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
