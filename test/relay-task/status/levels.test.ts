import { createLevels, limitLog } from '../../../relay-task/status/levels.ts';
import { createLogRecorder } from '../../support/logs.ts';

const messages = (lines: readonly string[]) => lines.map((line) => line.replace(/ \{.*/, ''));

function start(configured: 'info' | 'none', debugMs?: number) {
  const { log, lines } = createLogRecorder();
  let time = Date.parse('2030-01-02T03:04:05Z');
  const now = () => time;
  const pass = (ms: number) => {
    time += ms;
  };
  const levels = createLevels({ configured, log, now, ...(debugMs !== undefined && { debugMs }) });
  return { levels, log: limitLog(log, levels.present), lines, pass };
}

test('debug is switched on while the relay runs, and off again, and the log says who did it', () => {
  const { levels, log, lines } = start('info');
  log.debug('before');
  levels.toggleDebug('SIGUSR2');
  log.debug('during');
  levels.toggleDebug('SIGUSR2');
  log.debug('after');
  log.info('still');
  expect(lines).toEqual([
    'Log level is debug until 2030-01-02T03:19:05.000Z, then info again {"by":"SIGUSR2"}',
    'during {}',
    'Log level is info again {"by":"SIGUSR2"}',
    'still {}',
  ]);
});

test('debug ends by itself', () => {
  jest.useFakeTimers();
  try {
    const { levels, log, lines } = start('none');
    levels.toggleDebug('SIGUSR2');
    jest.advanceTimersByTime(15 * 60_000 - 1);
    log.debug('during');
    jest.advanceTimersByTime(1);
    log.error('after');
    expect(messages(lines).slice(1)).toEqual(['during', 'Log level is none again']);
    expect(lines.at(-1)).toContain('"by":"the limit of 15 min"');
  } finally {
    jest.useRealTimers();
  }
});

test("an environment's own level counts until its time is over", () => {
  const { levels, pass } = start('info');
  const logLevelUntil = Date.parse('2030-01-02T04:04:05Z');
  expect(levels.of({ logLevel: undefined })).toBe('info');
  expect(levels.of({ logLevel: 'error' })).toBe('error');
  expect(levels.of({ logLevel: 'debug', logLevelUntil })).toBe('debug');
  pass(3_600_000);
  expect(levels.of({ logLevel: 'debug', logLevelUntil })).toBe('info');
  expect(levels.of({ logLevel: 'debug' })).toBe('debug');
  levels.toggleDebug('SIGUSR2');
  expect(levels.of({ logLevel: 'error' })).toBe('debug');
  levels.close();
});
