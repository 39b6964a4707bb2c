import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { redactKeys } from '../../../relay-task/common/secrets.ts';
import type { LogFields } from '../../../relay-task/ports.ts';
import { createLog, type LogOptions } from '../../../relay-task/status/log.ts';

/** The names that Powertools reserves, as its source lists them. */
const constants = readFileSync(
  join(resolve('node_modules/@aws-lambda-powertools/logger'), 'lib/esm/constants.js'),
  'utf8',
);
const ReservedKeys = [...(/const ReservedKeys = \[([^\]]+)\]/.exec(constants)?.[1] ?? '').matchAll(/'(\w+)'/g)].map(
  ([, name]) => name,
);

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

test('a log line is one JSON object with level, message, time and fields, and nothing else', () => {
  const [line] = lines({}, (log) => log.warn('upstream lost', { environment: 'a', tries: 3 }));
  expect(line).toEqual({
    level: 'WARN',
    message: 'upstream lost',
    timestamp: expect.any(String),
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

test("a field with the name of one of the log's own does not compile, and is not lost either", () => {
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
  expect(fields.slice(0, -1).flatMap((one) => Object.keys(one))).toEqual([...ReservedKeys]);
  for (const one of fields.slice(0, -1)) {
    const [[name, value] = ['', undefined]] = Object.entries(one);
    const written = lines({}, (log) => log.warn('said', one));
    // Powertools would drop the field, and write a second line about it.
    expect(written).toEqual([expect.objectContaining({ level: 'WARN', message: 'said', [`${name}_`]: value })]);
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

test.each(['json', 'text'] as const)(
  'as %s, no key and no password of an address is logged behind a line feed, a tab or an escape',
  (format) => {
    const secret = '00000000-1111-2222-3333-444455556666';
    const written: string[] = [];
    const log = createLog({ level: 'debug', format, write: (line) => written.push(line) });
    for (const before of ['\n', '\t', '\r', '\x1b', '\u2028', '"']) {
      for (const prefix of ['sdk', 'mob', 'rel', 'api']) {
        const said = `it said${before}${prefix}-${secret}`;
        log.error(said, { reason: said, error: new Error(said), list: [said], more: { deep: { said, [said]: 1 } } });
        log.error('with names', { [said]: 1, list: [{ [said]: 1 }] });
      }
    }
    log.warn('cannot reach it', {
      proxy: 'http://user:1111-2222@proxy:3128',
      error: new Error('at redis://:3333@db:6379/0'),
    });
    expect(written.join('')).not.toMatch(/0000|1111|2222|3333|4444|5555|6666/);
    expect(written.join('')).toMatch(/http:\/\/…@proxy:3128.*\n?.*redis:\/\/…@db:6379/);
  },
);

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

describe('what others send', () => {
  /** By the Unicode standard, whichever characters these are: controls, formats, separators of lines, half pairs. */
  const moving = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Bidi_Control}]/u;
  /** All of them are in these three planes. */
  const planes = [0x0000, 0x10000, 0xe0000].flatMap((first) => Array.from({ length: 0x10000 }, (_, at) => first + at));
  const isHalf = (code: number) => code >= 0xd800 && code <= 0xdfff;
  const all = planes.filter((code) => moving.test(String.fromCodePoint(code)) && (!isHalf(code) || code === 0xd800));
  const hostile = `a${all.map((code) => String.fromCodePoint(code)).join('b')}c`;
  const lineOf = (format: 'json' | 'text') => {
    const written: string[] = [];
    const log = createLog({ level: 'info', format, write: (line) => written.push(line) });
    log.warn(`said ${hostile}`, {
      environment: hostile,
      reason: hostile,
      [hostile]: [hostile, { [hostile]: hostile }],
    });
    return written.join('');
  };

  test.each(['json', 'text'] as const)('cannot begin a line or move the terminal in %s', (format) => {
    const line = lineOf(format);
    expect(line.slice(-1)).toBe('\n');
    expect(line.slice(0, -1)).not.toMatch(moving);
    // The twelve that turn the direction of writing, by Unicode's PropList.txt (Bidi_Control).
    const turning = '061c 200e 200f 202a 202b 202c 202d 202e 2066 2067 2068 2069'.split(' ');
    for (const code of turning) expect(line).toContain(`\\u${code}b`);
  });

  test('is the same again when the JSON is parsed', () => {
    expect(JSON.parse(lineOf('json'))).toMatchObject({ reason: hostile, [hostile]: [hostile, { [hostile]: hostile }] });
  });
});

describe('text', () => {
  const textOf = (colour: boolean, write: (log: ReturnType<typeof createLog>) => void) => {
    const written: string[] = [];
    write(createLog({ level: 'debug', format: 'text', colour, write: (line) => written.push(line) }));
    return written.map((line) => line.replace(/^(\S*?)\d{4}-\d\d-\d\dT[\d:.]+Z/, '$1TIME'));
  };

  test('is aligned, names the environment first and the runbook last, and quotes what has spaces', () => {
    const written = textOf(false, (log) => {
      log.info('Relay listening', { port: 8030, stores: ['redis', 'consul'], environments: [] });
      log.error('Store "x" is down', {
        runbook: 'operations.md#store-down',
        environment: 'prod',
        reason: 'no "route"',
      });
      log.debug('done');
    });
    expect(written).toEqual([
      'TIME INFO  Relay listening port=8030 stores=redis,consul environments=""\n',
      'TIME ERROR [prod] Store "x" is down reason="no \\"route\\"" see docs/operations.md#store-down\n',
      'TIME DEBUG done\n',
    ]);
  });

  test('is coloured by severity only if asked', () => {
    const [line] = textOf(true, (log) => log.warn('odd', { a: 1 }));
    expect(line).toBe('\x1b[2mTIME\x1b[0m \x1b[33mWARN \x1b[0m odd \x1b[2ma=1\x1b[0m\n');
  });

  test('of an error is its message, with the stack indented, so that no line of it looks like another log line', () => {
    const error = new TypeError('one\n2026-01-01T00:00:00.000Z ERROR forged');
    error.stack = `TypeError: ${error.message}\n    at x (y.ts:1:2)`;
    const [text] = textOf(false, (log) => log.error('failed', { error }));
    expect(text).toBe(
      'TIME ERROR failed error="TypeError: one\\n2026-01-01T00:00:00.000Z ERROR forged"\n' +
        '    TypeError: one\n    2026-01-01T00:00:00.000Z ERROR forged\n    at x (y.ts:1:2)\n',
    );
  });

  test('shows no key', () => {
    const [line] = textOf(false, (log) => log.error('bad', { key: 'sdk-00000000-1111-2222-3333-444455556666' }));
    expect(line).toBe('TIME ERROR bad key=sdk-…\n');
  });
});
