/** A setting of an environment means the same in a variable and in an SSM parameter. */
import { parseConfig } from '../../../relay-task/config/config.ts';
import { settingReaders } from '../../../relay-task/environments/ssm-settings.ts';
import { problemsOf } from '../../support/config-rows.ts';

type Row = readonly [variable: string, field: string, parameter: keyof typeof settingReaders, spellings: Spellings];
/** `undefined`: rejected. */
type Spellings = readonly (readonly [text: string, value: unknown])[];

const rows: readonly Row[] = [
  [
    'LD_SECURE_MODE_a',
    'secureMode',
    'secure-mode',
    [
      ...['true', 'TRUE', 'yes', 'Yes', 'on', 'ON', '1'].map((text) => [text, true] as const),
      ...['false', 'False', 'no', 'off', 'OFF', '0'].map((text) => [text, false] as const),
      ...['maybe', '2', 'y'].map((text) => [text, undefined] as const),
    ],
  ],
  [
    'LD_TTL_a',
    'ttlMs',
    'ttl',
    [
      ['0', 0],
      ['+0', 0],
      ['30s', 30_000],
      ['+30s', 30_000],
      ['1m30s', 90_000],
      ['1.5h', 5_400_000],
      ['.5s', 500],
      ['-1s', -1000],
      ['2000\u00b5s', 2],
      ['2000\u03bcs', 2],
      ['30', undefined],
      ['1d', undefined],
      ['5 s', undefined],
    ],
  ],
  [
    'LD_LOG_LEVEL_a',
    'logLevel',
    'log-level',
    [
      ['debug', 'debug'],
      ['WARN', 'warn'],
      ['None', 'none'],
      ['loud', undefined],
    ],
  ],
  [
    'LD_ALLOWED_ORIGIN_a',
    'allowedOrigins',
    'allowed-origins',
    [
      ['https://a', ['https://a']],
      ['https://a, https://b,', ['https://a', 'https://b']],
    ],
  ],
  ['LD_ALLOWED_HEADER_a', 'allowedHeaders', 'allowed-headers', [['X-A ,X-B', ['X-A', 'X-B']]]],
  ['LD_PREFIX_a', 'prefix', 'prefix', [['{shop}', '{shop}']]],
  ['LD_TABLE_NAME_a', 'tableName', 'table-name', [['flags-2.eu_1', 'flags-2.eu_1']]],
  ['LD_PROJ_KEY_a', 'projKey', 'project-key', [['shop', 'shop']]],
  ['LD_HEARTBEAT_FLAG_a', 'heartbeatFlag', 'heartbeat-flag', [['relay-heartbeat', 'relay-heartbeat']]],
  ['LD_FLAGS_FILE_a', 'flagsFile', 'flags-file', [['my flags.yaml', 'my flags.yaml']]],
];

test.each([
  ['web', ['web']],
  ['web, ios', ['web', 'ios']],
  ['web,,ios', undefined],
  ['web,', undefined],
])('LD_FILTER_KEYS_shop=%s means the same in the SSM parameter filters', (text, value) => {
  const parse = () =>
    parseConfig({ LD_ENV_a: 'sdk-a', LD_PROJ_KEY_a: 'shop', LD_PREFIX_a: 'a', LD_FILTER_KEYS_shop: text });
  const result = settingReaders.filters(text);
  if (value === undefined) {
    expect(problemsOf(parse)).toHaveLength(1);
    expect(result).not.toHaveProperty('value');
  } else {
    expect(parse().config.environments[0]).toHaveProperty('filters', value);
    expect(result).toEqual({ value });
  }
});

test.each(
  rows.flatMap(([variable, field, parameter, spellings]) =>
    spellings.map(([text, value]) => ({ variable, field, parameter, text, value })),
  ),
)('$variable=$text means the same in the SSM parameter $parameter', ({ variable, field, parameter, text, value }) => {
  const parse = () => parseConfig({ LD_ENV_a: 'sdk-a', [variable]: text });
  const result = settingReaders[parameter](text);
  if (value === undefined) {
    expect(problemsOf(parse)).toHaveLength(1);
    expect(result).not.toHaveProperty('value');
  } else {
    expect(parse().config.environments[0]).toHaveProperty(field, value);
    expect(result).toEqual({ value });
  }
});
