import { guardFloods } from '../../../relay-task/status/flood-guard.ts';
import { createLogRecorder } from '../../support/logs.ts';

function start() {
  const { log, lines } = createLogRecorder();
  let time = 0;
  const timers: { readonly at: number; readonly call: () => void }[] = [];
  const guarded = guardFloods(log, {
    now: () => time,
    after: (ms, call) => void timers.push({ at: time + ms, call }),
  });
  /** Later, and the timers that are due by then have fired. */
  const pass = (ms: number) => {
    const until = time + ms;
    for (;;) {
      const next = timers.findIndex(({ at }) => at <= until);
      const [due] = next < 0 ? [] : timers.splice(next, 1);
      if (!due) break;
      time = Math.max(time, due.at);
      due.call();
    }
    time = until;
  };
  return { log: guarded, lines, pass, timers };
}

test('of what repeats, twenty lines a minute are written, and the next one says how many were suppressed', () => {
  const { log, lines, pass, timers } = start();
  for (let i = 0; i < 1_000; i += 1) log.warn(`Failed after ${i} ms`, { environment: 'a', reason: `r${i}` });
  expect(lines).toHaveLength(20);
  // The timer is late.
  timers.length = 0;
  pass(60_000);
  log.warn('Failed after 5 ms', { environment: 'a', suppressed: 3 });
  expect(lines.at(-1)).toBe('Failed after 5 ms {"environment":"a","suppressed":983}');
  log.warn('Failed after 6 ms', { environment: 'a' });
  expect(lines.at(-1)).toBe('Failed after 6 ms {"environment":"a"}');
});

const LEFT_OUT = 'Repeated lines of the log were left out';

test('when a flood has ended, a line says how many were suppressed, and of what', () => {
  const { log, lines, pass, timers } = start();
  const flood = (message: string, environment: string, lines: number) => {
    for (let i = 0; i < lines; i += 1)
      log.error(`${message} after ${i} ms`, {
        ...{ environment, database: 'redis', prefix: 'p', reason: 'long '.repeat(10_000), suppressed: 1 },
        runbook: 'operations.md#store-down',
      });
  };
  flood('Failed', 'a', 50);
  pass(30_000);
  flood('Failed', 'b', 21);
  expect(timers).toHaveLength(1);
  pass(29_999);
  expect(lines).toHaveLength(40);
  pass(1);
  const of = (environment: string, suppressed: number, line: string) =>
    `${LEFT_OUT} ${JSON.stringify({ environment, database: 'redis', prefix: 'p', line, suppressed, runbook: 'operations.md#store-down' })}`;
  // Each of the thirty stands for one more, which it says itself.
  expect(lines.slice(40)).toEqual([of('a', 60, 'Failed after 20 ms')]);
  pass(30_000);
  expect(lines.slice(41)).toEqual([of('b', 2, 'Failed after 20 ms')]);
  pass(600_000);
  expect(lines).toHaveLength(42);
  expect(timers).toHaveLength(0);
});

test('a flood that goes on has its count every minute', () => {
  const { log, lines, pass } = start();
  for (let second = 0; second < 180; second += 1) {
    for (let i = 0; i < 10; i += 1) log.info('Again');
    pass(1_000);
  }
  const counted = lines.map((line) => JSON.parse(line.slice(line.indexOf('{'))).suppressed ?? 0);
  pass(60_000);
  const rest = lines.slice(counted.length).map((line) => JSON.parse(line.slice(line.indexOf('{'))).suppressed);
  const written = lines.filter((line) => line.startsWith('Again')).length;
  const suppressed = [...counted, ...rest].reduce((sum, lines) => sum + lines, 0);
  expect(written + suppressed).toBe(1_800);
  expect(written).toBeLessThanOrEqual(80);
  expect(lines.length - written).toBeLessThanOrEqual(4);
});

test('what was suppressed is told at the end of the process, once', () => {
  const { log, lines, pass } = start();
  for (let i = 0; i < 30; i += 1) log.info('Booted', { environment: 'a' });
  log.tellSuppressed();
  expect(lines.slice(20)).toEqual([`${LEFT_OUT} {"environment":"a","line":"Booted","suppressed":10}`]);
  log.tellSuppressed();
  pass(600_000);
  expect(lines).toHaveLength(21);
});

test('others are not affected: another environment, store, level or message, and what was asked for', () => {
  const { log, lines } = start();
  for (let i = 0; i < 100; i += 1) log.warn('Failed', { environment: 'a', database: 'redis' });
  const before = lines.length;
  log.warn('Failed', { environment: 'b', database: 'redis' });
  log.warn('Failed', { environment: 'a', database: 'consul' });
  log.error('Failed', { environment: 'a', database: 'redis' });
  log.warn('Failed otherwise', { environment: 'a', database: 'redis' });
  expect(lines.length - before).toBe(4);
  for (let i = 0; i < 100; i += 1) log.debug('GET / 200');
  expect(lines.length - before).toBe(104);
});

test('a line about each of thousands of environments is written', () => {
  const { log, lines } = start();
  for (let i = 0; i < 5_000; i += 1) log.info('Booted', { environment: `e-${i}` });
  expect(lines).toHaveLength(5_000);
});

test('ever new messages take a bounded amount of memory: the oldest is forgotten, and told', () => {
  const { log, lines } = start();
  for (let i = 0; i < 30; i += 1) log.info('Booted', { environment: 'first' });
  for (let i = 0; i < 10_000; i += 1) log.info('Booted', { environment: `e-${i}` });
  const before = lines.length;
  expect(lines[before - 2]).toBe(`${LEFT_OUT} {"environment":"first","line":"Booted","suppressed":10}`);
  log.info('Booted', { environment: 'first' });
  expect(lines).toHaveLength(before + 1);
});

test('a flood of an environment with a long name holds back no other line about it', () => {
  const { log, lines } = start();
  const environment = 'a'.repeat(300);
  for (let i = 0; i < 50; i += 1) log.warn('Again', { environment });
  log.warn('Something else', { environment });
  expect(lines).toHaveLength(21);
  expect(lines.at(-1)).toMatch(/^Something else/);
});
