/** The times are those of LaunchDarkly's SDKs: two minutes until another way is tried, five until the first is tried again. */
import { createSchedule } from '../../../relay-task/upstream/other-way.ts';
import type { Way } from '../../../relay-task/upstream/synchronizer.ts';
import { createWayInUse, type Member, type Ways } from '../../../relay-task/upstream/way-in-use.ts';
import { createLogRecorder } from '../../support/logs.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

const wayOf = (name: string): Way => ({ name, start: () => ({ close() {} }) });
const stream = wayOf('stream');
const polling = wayOf('polling');
const fdv1 = wayOf('FDv1');

const TRIED_AFTER_MS = 120_000;
const RECOVERED_AFTER_MS = 300_000;

/** `open`: the names of the ways that are open, in the order in which they were opened; each must be closed once. */
function start({ ways = [stream, polling], legacy }: Partial<Ways> = {}) {
  const open: Member[] = [];
  const opened: string[] = [];
  const { log, lines } = createLogRecorder();
  const schedule = createSchedule({ random: () => 0 });
  const onChanged = jest.fn();
  const inUse = createWayInUse({
    ...{ ways, legacy, schedule, log, onChanged },
    start(member) {
      open.push(member);
      opened.push(member.way.name);
      return {
        close() {
          expect(open).toContain(member);
          open.splice(open.indexOf(member), 1);
        },
      };
    },
  });
  return {
    ...{ inUse, schedule, lines, opened, onChanged },
    open: () => open.map(({ way }) => way.name),
    pass: (ms: number) => void jest.advanceTimersByTime(ms),
    /** As a data system does when the member has delivered everything. */
    deliver(member: Member | undefined) {
      if (!member) throw new Error('there is no such member');
      inUse.promote(member);
      member.isUp = true;
      schedule.delivered();
      inUse.plan();
    },
    /** As a data system does when the way in use fails after it has worked. */
    fail() {
      inUse.active.isUp = false;
      inUse.plan();
    },
  };
}

/** The first way has delivered, has then failed, and the second is tried beside it. */
function startTrying(options?: Partial<Ways>) {
  const started = start(options);
  started.deliver(started.inUse.active);
  started.fail();
  started.pass(TRIED_AFTER_MS);
  return started;
}

test('the first way is started at once, and as long as it works no other one is', () => {
  const { inUse, deliver, open, pass } = start();
  expect(open()).toEqual(['stream']);
  deliver(inUse.active);
  pass(10 * RECOVERED_AFTER_MS);
  expect(open()).toEqual(['stream']);
  expect(inUse.candidate).toBeUndefined();
});

test('a way that has never delivered stays open, and the other is tried beside it after five seconds', () => {
  const { inUse, open, pass } = start();
  pass(4_999);
  expect(open()).toEqual(['stream']);
  pass(1);
  expect(open()).toEqual(['stream', 'polling']);
  expect([inUse.active.way, inUse.candidate?.way]).toEqual([stream, polling]);
});

test('a way that worked and now fails stays open, and the other is tried beside it after two minutes', () => {
  const { inUse, deliver, fail, open, pass } = start();
  deliver(inUse.active);
  fail();
  pass(TRIED_AFTER_MS - 1);
  expect(open()).toEqual(['stream']);
  pass(1);
  expect(open()).toEqual(['stream', 'polling']);
});

test('the other one takes its place only by delivering, and is told and logged then, once', () => {
  const { inUse, deliver, open, onChanged, lines } = startTrying();
  const { candidate } = inUse;
  expect([open(), onChanged.mock.calls.length]).toEqual([['stream', 'polling'], 0]);
  deliver(candidate);
  expect(open()).toEqual(['polling']);
  expect(inUse.active).toBe(candidate);
  expect(inUse.candidate).toBeUndefined();
  inUse.promote(inUse.active);
  expect(onChanged).toHaveBeenCalledTimes(1);
  expect(lines).toEqual(['Changed the way flags are received from LaunchDarkly {"way":"polling","before":"stream"}']);
});

test('one that works again leaves the other one, which has not delivered', () => {
  const { inUse, deliver, open, pass, onChanged } = startTrying();
  deliver(inUse.active);
  expect([open(), inUse.candidate]).toEqual([['stream'], undefined]);
  pass(10 * RECOVERED_AFTER_MS);
  expect(open()).toEqual(['stream']);
  expect(onChanged).not.toHaveBeenCalled();
});

test('an attempt that delivers nothing for two minutes is given up, and made again later', () => {
  const { inUse, open, opened, pass } = startTrying();
  const { candidate } = inUse;
  pass(TRIED_AFTER_MS);
  expect([open(), inUse.candidate]).toEqual([['stream'], undefined]);
  while (!inUse.candidate) pass(60_000);
  expect(opened).toEqual(['stream', 'polling', 'polling']);
  // What ended earlier has no say in what is tried now.
  const present = inUse.candidate;
  if (candidate) inUse.giveUp(candidate);
  expect([open(), inUse.candidate]).toEqual([['stream', 'polling'], present]);
});

test('a failure of the way in use does not disturb the one that is tried beside it', () => {
  const { inUse, fail, open, opened } = startTrying();
  const { candidate } = inUse;
  fail();
  expect(inUse.candidate).toBe(candidate);
  expect([open(), opened]).toEqual([
    ['stream', 'polling'],
    ['stream', 'polling'],
  ]);
});

test('five minutes after the second way has taken over, the first is tried beside it, and takes over by delivering', () => {
  const { inUse, deliver, open, pass } = startTrying();
  deliver(inUse.candidate);
  pass(RECOVERED_AFTER_MS - 1);
  expect(open()).toEqual(['polling']);
  pass(1);
  expect(open()).toEqual(['polling', 'stream']);
  deliver(inUse.candidate);
  expect(open()).toEqual(['stream']);
});

test('with one way there is nothing else to try', () => {
  const { fail, open, pass } = start({ ways: [stream] });
  fail();
  pass(10 * RECOVERED_AFTER_MS);
  expect(open()).toEqual(['stream']);
});

describe('when LaunchDarkly asks for FDv1', () => {
  test('for good, it takes the place of both at once, with a warning, and stays', () => {
    const { inUse, deliver, open, pass, lines } = startTrying({ legacy: fdv1 });
    inUse.useLegacy(inUse.active, 0);
    expect([open(), inUse.candidate]).toEqual([['FDv1'], undefined]);
    deliver(inUse.active);
    pass(24 * 3_600_000);
    expect(open()).toEqual(['FDv1']);
    expect(lines).toEqual([
      'LaunchDarkly asks for FDv1 for good; changing to it {"way":"stream","runbook":"operations.md#how-flags-come-from-launchdarkly"}',
    ]);
  });

  test('for a while, the first way is tried when that is over', () => {
    const { inUse, deliver, open, pass, lines } = start({ legacy: fdv1 });
    inUse.useLegacy(inUse.active, 7_000);
    deliver(inUse.active);
    pass(6_999);
    expect(open()).toEqual(['FDv1']);
    expect(lines[0]).toMatch(/^LaunchDarkly asks for FDv1; changing to it .*"forMs":7000/);
    pass(1);
    expect(open()).toEqual(['FDv1', 'stream']);
    deliver(inUse.candidate);
    expect(open()).toEqual(['stream']);
  });

  test('once more while the first way is tried, FDv1 goes on without being opened again', () => {
    const { inUse, deliver, open, opened, pass, lines } = start({ legacy: fdv1 });
    inUse.useLegacy(inUse.active, 7_000);
    deliver(inUse.active);
    pass(7_000);
    if (inUse.candidate) inUse.useLegacy(inUse.candidate, 9_000);
    expect([open(), opened]).toEqual([['FDv1'], ['stream', 'FDv1', 'stream']]);
    expect(lines).toHaveLength(1);
    pass(8_999);
    expect(open()).toEqual(['FDv1']);
    pass(1);
    expect(open()).toEqual(['FDv1', 'stream']);
  });

  test('and the first way does not work afterwards, FDv1 is in use for at least as long again', () => {
    const { inUse, deliver, open, pass } = start({ legacy: fdv1 });
    inUse.useLegacy(inUse.active, 7_000);
    deliver(inUse.active);
    pass(7_000);
    if (inUse.candidate) inUse.giveUp(inUse.candidate);
    expect(open()).toEqual(['FDv1']);
    pass(6_999);
    expect(open()).toEqual(['FDv1']);
    pass(3_600_000);
    expect(open()[0]).toBe('FDv1');
    expect(inUse.active.way).toBe(fdv1);
  });

  test('a relay that has no FDv1 goes on as it was', () => {
    const { inUse, open, lines } = start();
    inUse.useLegacy(inUse.active, 0);
    expect([open(), lines]).toEqual([['stream'], []]);
  });
});

test('closing closes all, and nothing is tried afterwards', () => {
  const { inUse, open, pass } = startTrying();
  expect(open()).toHaveLength(2);
  inUse.close();
  pass(3_600_000);
  expect(open()).toEqual([]);
  expect(jest.getTimerCount()).toBe(0);
});
