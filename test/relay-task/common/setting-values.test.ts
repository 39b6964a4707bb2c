/** The syntax of values, as https://pkg.go.dev/time#ParseDuration and ld-relay's documentation state it. */
import {
  boolean,
  bytes,
  durationFrom,
  durationMs,
  filledList,
  hostAndPort,
  hostsAndPorts,
  httpUrl,
  integer,
  list,
  logLevel,
  oneOf,
  type Reader,
} from '../../../relay-task/common/setting-values.ts';

const invalid = Symbol('invalid');
const redis = hostAndPort(6379);

const rows: readonly (readonly [name: string, read: Reader<unknown>, text: string, expected: unknown])[] = [
  ...['true', 'TRUE', '1', 'yes', 'Yes', 'on', 'ON'].map((text) => ['boolean', boolean, text, true] as const),
  ...['false', 'False', '0', 'no', 'off'].map((text) => ['boolean', boolean, text, false] as const),
  ...['', '2', 't', 'y', 'true '].map((text) => ['boolean', boolean, text, invalid] as const),
  ['integer', integer(1, 10), '1', 1],
  ['integer', integer(1, 10), '+10', 10],
  ['integer', integer(1, 10), '0', invalid],
  ['integer', integer(1, 10), '11', invalid],
  ['integer', integer(1, 10), '1.0', invalid],
  ['integer', integer(1, 10), '0x1', invalid],
  ['oneOf', oneOf('any', 'all'), 'ALL', 'all'],
  ['oneOf', oneOf('any', 'all'), 'none', invalid],
  ['logLevel', logLevel, 'Debug', 'debug'],
  ['logLevel', logLevel, 'trace', invalid],
  ['httpUrl', httpUrl, 'https://a.example/b//', 'https://a.example/b'],
  ['httpUrl', httpUrl, 'ftp://a.example', invalid],
  ['httpUrl', httpUrl, 'a.example', invalid],
  ['list', list, ' a, ,b ,', ['a', 'b']],
  ['filledList', filledList, ' a, b ', ['a', 'b']],
  ['filledList', filledList, 'a,,b', invalid],
  ['hostAndPort', redis, 'r', { host: 'r', port: 6379 }],
  ['hostAndPort', redis, 'r:1', { host: 'r', port: 1 }],
  ['hostAndPort', redis, '[::1]:7', { host: '::1', port: 7 }],
  ['hostAndPort', redis, 'r:65536', invalid],
  ['hostAndPort without a default', hostAndPort(), 'r', invalid],
  [
    'hostsAndPorts',
    hostsAndPorts(26_379),
    'a, b:1',
    [
      { host: 'a', port: 26_379 },
      { host: 'b', port: 1 },
    ],
  ],
  ['hostsAndPorts', hostsAndPorts(26_379), 'a, b c', invalid],
  ['hostsAndPorts', hostsAndPorts(26_379), ',', invalid],
  ['durationMs', durationMs, '0', 0],
  ['durationMs', durationMs, '1h2m3s4ms', 3_723_004],
  ['durationMs', durationMs, '1.5m', 90_000],
  ['durationMs', durationMs, '-.5s', -500],
  ['durationMs', durationMs, '2000us', 2],
  ['durationMs', durationMs, '2000\u00b5s', 2],
  ['durationMs', durationMs, '2000\u03bcs', 2],
  ['durationMs', durationMs, '30', invalid],
  ['durationMs', durationMs, '1d', invalid],
  ['durationMs', durationMs, '1 s', invalid],
  ['durationFrom', durationFrom(100, '100ms'), '100ms', 100],
  ['durationFrom', durationFrom(100, '100ms'), '99ms', invalid],
  ['bytes', bytes, '0', 0],
  ['bytes', bytes, '5MiB', 5_242_880],
  ['bytes', bytes, '512KB', 524_288],
  ['bytes', bytes, '1.5kib', 1536],
  ['bytes', bytes, '5', invalid],
  ['bytes', bytes, '9000EiB', invalid],
];

test.each(rows.map(([name, read, text, expected]) => ({ name, read, text, expected })))(
  '$name reads $text',
  ({ read, text, expected }) => {
    const result = read(text);
    expect('value' in result ? result.value : invalid).toEqual(expected);
    if ('wanted' in result) expect(result.wanted).toMatch(/^[a-z]/);
  },
);
