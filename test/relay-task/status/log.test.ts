import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { redactKeys } from '../../../relay-task/common/secrets.ts';
import type { LogFields } from '../../../relay-task/ports.ts';
import { createLog, type LogOptions } from '../../../relay-task/status/log.ts';

function lines(
  options: Partial<LogOptions>,
  write: (log: ReturnType<typeof createLog>) => void,
): Record<string, unknown>[] {
  const written: string[] = [];
  write(createLog({ level: 'debug', ...options, write: (line) => written.push(line) }));
  return written.map((line) => {
    expect(line).toMatch(/^[^\n]+\n$/);
    return JSON.parse(line);
  });
}

test('a log line is one JSON object with level, message, time, service and fields', () => {
  const [line] = lines({}, (log) => log.warn('upstream lost', { environment: 'a', tries: 3 }));
  expect(line).toMatchObject({
    level: 'WARN',
    message: 'upstream lost',
    service: 'edge-flag-relay',
    environment: 'a',
    tries: 3,
  });
  expect(new Date(line!.timestamp as string).getTime()).toBeGreaterThan(0);
});

test.each([
  ['debug', ['DEBUG', 'INFO', 'WARN', 'ERROR']],
  ['info', ['INFO', 'WARN', 'ERROR']],
  ['warn', ['WARN', 'ERROR']],
  ['error', ['ERROR']],
  ['none', []],
] as const)('the level %s writes %j', (level, expected) => {
  const written = lines({ level }, (log) => {
    log.debug('x');
    log.info('x');
    log.warn('x');
    log.error('x');
  });
  expect(written.map((line) => line.level)).toEqual(expected);
});

test("a field with the name of one of the log's own does not compile", () => {
  const fields: LogFields[] = [
    // @ts-expect-error: reserved
    { level: 1 },
    // @ts-expect-error: reserved
    { message: 'x' },
    // @ts-expect-error: reserved
    { sampling_rate: 1 },
    // @ts-expect-error: reserved
    { service: 'x' },
    // @ts-expect-error: reserved
    { timestamp: 'x' },
    { reason: 'x', nested: { message: 'fine' } },
  ];
  // Why: Powertools drops them.
  for (const one of fields.slice(0, -1)) {
    const [name = ''] = Object.keys(one);
    const [line] = lines({}, (log) => log.warn('said', one));
    expect(line?.[name]).not.toBe((one as Record<string, unknown>)[name]);
  }
});

test('no key is logged, in any part of a line', () => {
  const key = 'sdk-00000000-1111-2222-3333-444455556666';
  const written: string[] = [];
  const log = createLog({ level: 'debug', write: (line) => written.push(line) });
  const error = new Error(`refused ${key}`, { cause: new Error(`mob-${key.slice(4)}`) });
  log.error(`with ${key}`, {
    error,
    [key]: 1,
    nested: [{ url: `https://x/?auth=${key}&b` }],
    header: `api_key rel-${key.slice(4)}`,
  });
  log.info('short', { key: 'sdk-kex', other: 'the sdk-' });
  expect(written.join('')).not.toMatch(/0000|1111|2222|3333|4444|5555|6666|sdk-kex/);
  expect(written.join('')).toContain('sdk-…');
  expect(redactKeys('mask-sdk node-sdk-x')).toBe('mask-sdk node-sdk-x');
});

test('errors keep message, code, stack and cause, and cycles and big integers do not break the log', () => {
  const cycle: Record<string, unknown> = { big: 10n };
  cycle.self = cycle;
  const shared = { a: 1 };
  const error = Object.assign(new Error('outer', { cause: new TypeError('inner') }), { code: 'ECONNREFUSED' });
  const [line, last] = lines({}, (log) => {
    log.error('failed', { error, cycle, twice: [shared, shared] });
    log.info('odd', {
      toJSON: () => {
        throw new Error('no');
      },
      at: {
        toJSON: () => {
          throw new Error('no');
        },
      },
    });
  });
  expect(last!.message).toBeDefined();
  expect(line).toMatchObject({
    error: { name: 'Error', message: 'outer', code: 'ECONNREFUSED', cause: { name: 'TypeError', message: 'inner' } },
    cycle: { big: '10' },
    twice: [{ a: 1 }, { a: 1 }],
  });
});

test('outside Lambda all levels go to stdout @heavy', () => {
  const script = `
    import { createLog } from ${JSON.stringify(resolve('relay-task/status/log.ts'))};
    const log = createLog({ level: 'info' });
    log.info('one');
    log.error('two', { error: new Error('x') });`;
  const stdout = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
  }).toString();
  expect(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).message),
  ).toEqual(['one', 'two']);
});

test('long texts are cut, wherever they are, and no part of a key is left', () => {
  const long = 'x'.repeat(1_000_000);
  const error = new Error(long);
  const key = 'sdk-00000000-1111-2222-3333-444455556666';
  const [line] = lines({}, (log) =>
    log.warn(long, { reason: long, nested: [{ key: long }], error, end: `${long.slice(0, 980)} ${key}${long}` }),
  );
  const cut = `${'x'.repeat(1_000)}… (1000000 characters)`;
  expect(line).toMatchObject({ message: cut, reason: cut, nested: [{ key: cut }], error: { message: cut } });
  expect(JSON.stringify(line).length).toBeLessThan(12_000);
  expect(line?.end).toMatch(/^x{980} sdk-…… \(/);
});
