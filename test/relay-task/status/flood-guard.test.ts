import { guardFloods } from '../../../relay-task/status/flood-guard.ts';
import { createLogRecorder } from '../../support/logs.ts';

function start() {
  const { log, lines } = createLogRecorder();
  let time = 0;
  const guarded = guardFloods(log, () => time);
  const pass = (ms: number) => {
    time += ms;
  };
  return { log: guarded, lines, pass };
}

test('of what repeats, twenty lines a minute are written, and the next one says how many were suppressed', () => {
  const { log, lines, pass } = start();
  for (let i = 0; i < 1_000; i += 1) log.warn(`Failed after ${i} ms`, { environment: 'a', reason: `r${i}` });
  expect(lines).toHaveLength(20);
  pass(60_000);
  log.warn('Failed after 5 ms', { environment: 'a', suppressed: 3 });
  expect(lines.at(-1)).toBe('Failed after 5 ms {"environment":"a","suppressed":983}');
  log.warn('Failed after 6 ms', { environment: 'a' });
  expect(lines.at(-1)).toBe('Failed after 6 ms {"environment":"a"}');
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

test('ever new messages take a bounded amount of memory: the oldest is forgotten', () => {
  const { log, lines } = start();
  for (let i = 0; i < 30; i += 1) log.info('Booted', { environment: 'first' });
  for (let i = 0; i < 10_000; i += 1) log.info('Booted', { environment: `e-${i}` });
  const before = lines.length;
  log.info('Booted', { environment: 'first' });
  expect(lines).toHaveLength(before + 1);
});
