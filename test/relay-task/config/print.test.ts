/** What `--check` prints: the effective configuration and where each value came from, without secrets. */
import { parseConfig } from '../../../relay-task/config/config.ts';
import { loadConfig } from '../../../relay-task/config/load.ts';
import { describeConfig } from '../../../relay-task/config/print.ts';

const file = `[Main]
port = 8333
[Environment "the \\"first\\" one"]
sdkKey = sdk-00000000-1111-2222-3333-444455556666
mobileKey = mob-short
prefix = "a; b"
allowedOrigin = https://one
[Redis]
url = rediss://me:hunter2@redis:6380/2
`;
const variables = {
  ...{ INIT_TIMEOUT: '1m', REDIS_PASSWORD: 'correct horse battery staple', PROXY_URL: 'http://me:hunter3@proxy:3128' },
  ...{
    'LD_ENV_the "first" one': 'sdk-99999999-1111-2222-3333-444455557777',
    'LD_ALLOWED_ORIGIN_the "first" one': 'https://two',
  },
};

function check(...more: string[]) {
  const loaded = loadConfig(['--check', ...more, '--config', 'x.conf', '--from-env'], variables, {
    readFile: () => file,
  });
  if (loaded.command !== 'check') throw new Error('nothing was checked');
  return loaded;
}

test('each value is printed with its source', () => {
  const lines = check('--defaults')
    .report.split('\n')
    .map((line) => line.replace(/ +#/, ' #'));
  expect(lines).toEqual(
    expect.arrayContaining([
      '[Main]',
      'port = 8333 # x.conf:2',
      'initTimeout = 1m # INIT_TIMEOUT',
      '; heartbeatInterval = 3m # default',
      '[Environment "the \\"first\\" one"]',
      'sdkKey = sdk-********7777 # LD_ENV_the "first" one',
      'mobileKey = mob-******** # x.conf:5',
      'prefix = "a; b" # x.conf:6',
      'allowedOrigin = https://one,https://two # x.conf:7, LD_ALLOWED_ORIGIN_the "first" one',
      'url = rediss://…@redis:6380/2 # x.conf:9',
      'password = ******** # REDIS_PASSWORD',
      'url = http://…@proxy:3128 # PROXY_URL',
    ]),
  );
});

test('without --defaults only what is set is printed', () => {
  const { report } = check();
  expect(report).toContain('port = 8333');
  expect(report).not.toContain('# default');
});

describe('the last line of a check', () => {
  const lastLine = (variables: Record<string, string>) => {
    const loaded = loadConfig(['--check', '--from-env'], variables);
    return loaded.command === 'check' && loaded.report.trimEnd().split('\n').at(-1);
  };
  const many = Object.fromEntries(Array.from('abcdefg', (name) => [`LD_ENV_${name}`, `sdk-${name}`]));

  test.each<[string, Record<string, string>, string]>([
    ['one environment', { LD_ENV_a: 'sdk-a' }, '# OK: 1 environment (a); no store; no warnings'],
    [
      'stores and warnings',
      { LD_ENV_a: 'sdk-a', LD_ENV_b: 'sdk-b', LD_PREFIX_b: 'b', LD_X: '1', USE_REDIS: '1', USE_CONSUL: '1' },
      '# OK: 2 environments (a, b); stores redis, consul; 1 warning',
    ],
    ['many environments', many, '# OK: 7 environments (a, b, c, d, e and 2 more); no store; no warnings'],
    [
      'environments from LaunchDarkly',
      { AUTO_CONFIG_KEY: 'rel-1' },
      '# OK: environments from AUTO_CONFIG_KEY; no store; no warnings',
    ],
  ])('sums up %s', (_, variables, expected) => expect(lastLine(variables)).toBe(expected));

  test('is a comment: the whole is still a valid file', () => {
    const { report } = check();
    const text = report.replace('rediss://…@', 'rediss://').replace('http://…@', 'http://');
    expect(parseConfig({}, { path: 'printed.conf', text }).config.port).toBe(8333);
  });
});

test('no secret is printed', () => {
  const { report, warnings } = check();
  for (const secret of ['hunter', 'staple', '00000000-1111', '99999999-1111', 'mob-short']) {
    expect(report + warnings.join()).not.toContain(secret);
  }
});

test('the printed configuration is a valid file with the same meaning', () => {
  const plain = parseConfig({
    ...{ LD_FLAGS_FILE_a: 'my flags.yaml', LD_PREFIX_a: 'x"y\\z', LD_TTL_a: '5m', LD_PROJ_KEY_a: 'shop' },
    ...{
      LD_FILTER_KEYS_shop: 'web,ios',
      PORT: '9',
      USE_DYNAMODB: '1',
      DYNAMODB_TABLE: 't',
      USE_CONSUL: '1',
      CONSUL_HOST: 'c',
    },
    ...{
      LD_ALLOWED_HEADER_a: 'A, B',
      HEARTBEAT_INTERVAL: '15',
      USE_EVENTS: 'yes',
      MAX_CLIENT_REQUEST_BODY_SIZE: '1KiB',
    },
  });
  const printed = describeConfig(plain.effective);
  expect(parseConfig({}, { path: 'printed.conf', text: printed }).config).toEqual(plain.config);
});
