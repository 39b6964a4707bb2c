/** When heartbeats count as overdue. The tests move the clock. */
import type { LogFields } from '../../../relay-task/ports.ts';
import { type Expected, startOverdue } from '../../../relay-task/wiring/overdue-heartbeats.ts';
import { until } from '../../support/eventually.ts';
import { silentLog } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { behind } = closeAfterEach();
const LIMIT_MS = 300_000;

function start(expected: Expected[]) {
  const clock = { now: 5_000 };
  const states = new Map<string, boolean | undefined>();
  const lines: string[] = [];
  let looks = 0;
  const say = (message: string, fields: LogFields = {}) =>
    void lines.push(`${message.split(';')[0]}: ${fields.environment} ${fields.flag}`);
  const overdue = startOverdue({
    *expected() {
      looks += 1;
      yield* expected;
    },
    limitMs: LIMIT_MS,
    tell: (environment, isOverdue) => void states.set(environment, isOverdue),
    log: { ...silentLog, warn: say, info: say },
    timings: { lookMs: 1, monotonic: () => clock.now },
  });
  behind(async () => overdue.close());
  /** So much time passes, and it is looked at what is overdue. */
  const pass = async (ms: number) => {
    clock.now += ms;
    const before = looks;
    await until('it was looked at', () => looks > before + 1);
  };
  return { overdue, states, lines, pass };
}

test('an environment has the whole time from when its flag is expected, and from each heartbeat', async () => {
  const { overdue, states, lines, pass } = start([{ environment: 'shop', flag: 'beat' }]);
  expect(states.get('shop')).toBe(false);
  await pass(LIMIT_MS);
  overdue.arrived('shop');
  await pass(LIMIT_MS);
  expect(states.get('shop')).toBe(false);
  expect(lines).toEqual([]);
  await pass(1);
  await pass(LIMIT_MS);
  expect(states.get('shop')).toBe(true);
  overdue.arrived('shop');
  expect(states.get('shop')).toBe(false);
  expect(lines).toEqual(['Heartbeats do not arrive: shop beat', 'Heartbeats arrive again: shop beat']);
});

test('another flag has the whole time too, and without a flag nothing is overdue', async () => {
  const expected: Expected[] = [{ environment: 'shop', flag: 'beat' }];
  const { states, lines, pass } = start(expected);
  await pass(LIMIT_MS + 1);
  expect(states.get('shop')).toBe(true);
  expected.splice(0, 1, { environment: 'shop', flag: 'other' });
  await pass(0);
  expect(states.get('shop')).toBe(false);
  await pass(LIMIT_MS + 1);
  expect(states.get('shop')).toBe(true);
  expected.length = 0;
  await pass(0);
  expect(states.get('shop')).toBeUndefined();
  expect(lines).toHaveLength(2);
});

test('a heartbeat of an environment that has none changes nothing', async () => {
  const { overdue, states } = start([]);
  overdue.arrived('shop');
  expect(states.size).toBe(0);
});
