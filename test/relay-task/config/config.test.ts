/** The configuration that a file and variables give together, and its warnings. */
import { parseConfig, type Variables } from '../../../relay-task/config/config.ts';
import { locateOption } from '../../../relay-task/config/names.ts';
import { environmentSettings, filterSettings, settings, settingsIn } from '../../../relay-task/config/settings.ts';
import { RelayError } from '../../../relay-task/errors.ts';
import { problemsOf } from '../../support/config-rows.ts';

const one = { LD_ENV_Production: 'sdk-1' };
const parse = (text: string, variables: Variables = {}) => parseConfig(variables, { path: 'relay.conf', text });

test('settings that are not set have the defaults that ld-relay documents', () => {
  const { config, warnings } = parseConfig(one);
  expect(warnings).toEqual([]);
  expect(config).toMatchObject({
    ...{ port: 8030, streamUri: 'https://stream.launchdarkly.com', baseUri: 'https://sdk.launchdarkly.com' },
    ...{ clientSideBaseUri: 'https://clientsdk.launchdarkly.com', initTimeoutMs: 10_000, heartbeatIntervalMs: 180_000 },
    ...{ disconnectedStatusTimeMs: 60_000, maxClientConnectionTimeMs: 0, logLevel: 'info', exitOnError: false },
    ...{ exitAlways: false, ignoreConnectionErrors: false },
    ...{ maxClientRequestBodyBytes: 262_144, gracefulShutdownTimeoutMs: 30_000, prometheus: undefined },
    ...{ dynamoDB: undefined, redis: undefined, consul: undefined, tls: undefined, autoConfig: undefined },
    bigSegments: { staleAsDegraded: false, staleThresholdMs: 300_000 },
    events: { enabled: false, uri: 'https://events.launchdarkly.com', flushIntervalMs: 5000, capacity: 1000 },
  });
  expect(config.environments).toMatchObject([{ name: 'Production', sdkKey: 'sdk-1', prefix: '', secureMode: false }]);
});

test('all problems are reported together, in one RelayError', () => {
  const variables = { PORT: 'x', LOG_LEVEL: 'y' };
  expect(() => parse('[Main]\nprot = 1', variables)).toThrow(RelayError);
  expect(problemsOf(() => parse('[Main]\nprot = 1', variables))).toEqual([
    'relay.conf:2: [Main] prot is not an option: did you mean port?',
    'PORT=x is invalid: expected an integer from 0 to 65535',
    'LOG_LEVEL=y is invalid: expected one of debug, info, warn, error, none',
    expect.stringMatching(/^no environments: /),
  ]);
});

test('a section of filters without keys is one problem, which names its line and what to do', () => {
  const problemOf = (section: string) =>
    problemsOf(() => parse(`[Environment "a"]\nsdkKey = sdk-a\nprojKey = shop\n${section}`));
  const remedy = 'list the keys in [Filters "shop"] or LD_FILTER_KEYS_shop, or remove them';
  const emptyAt5 = `relay.conf:5: [Filters "shop"] keys is empty; ${remedy}`;
  expect(problemOf('[Filters "shop"]\nkeys =')).toEqual([emptyAt5]);
  expect(problemOf('[Filters "shop"]\nkeys = ""')).toEqual([emptyAt5]);
  expect(problemOf('[Filters "shop"]')).toEqual([`filters of project shop: no keys; ${remedy}`]);
  expect(problemOf('[Filters "shop"]\nkeys = " "')).toEqual([
    'relay.conf:5: [Filters "shop"] keys =   is invalid: expected comma-separated keys, none of them empty',
  ]);
  expect(problemOf('[Filters "shop"]\nkeys')).toEqual([
    'relay.conf:5: [Filters "shop"] keys has no value: write keys = <value>',
  ]);
});

describe('the file sets options of something that is not switched on:', () => {
  const environment = '[Environment "a"]\nsdkKey = sdk-a';
  test.each([
    ['DynamoDB', 'tableName = t\nurl = http://d:1', 'tableName', ['tableName', 'url'], '[DynamoDB] enabled is not set'],
    ['Redis', 'tls = true\npassword = p', 'tls', ['tls', 'password'], 'no address of Redis is set'],
    ['Consul', 'token = t', 'token', ['token'], 'no address of Consul is set'],
    ['Prometheus', 'port = 9', 'port', ['port'], '[Prometheus] enabled is not set'],
    ['Datadog', 'prefix = p\ntag = a:b', 'prefix', ['prefix', 'tag'], '[Datadog] enabled is not set'],
  ])('[%s] is reported option by option, and is not in force', (section, given, option, options, why) => {
    const { config, warnings, effective } = parse(`${environment}\n[${section}]\n${given}`);
    expect(config).toMatchObject({ dynamoDB: undefined, redis: undefined, consul: undefined, prometheus: undefined });
    expect(warnings).toEqual(
      options.map((name, index) => `relay.conf:${4 + index}: [${section}] ${name} has no effect: ${why}`),
    );
    const row = effective.find(({ setting }) => setting.section === section && setting.option === option);
    expect(row?.places ?? []).toEqual([]);
  });

  test.each([
    ['api', 'an API access token'],
    ['sdk', 'an SDK key'],
    ['mob', 'a mobile key'],
    ['rel', 'an auto-configuration key'],
  ])('a client-side ID that begins with %s- is reported as %s, without its value', (prefix, kind) => {
    const { config, warnings } = parse(`${environment}\nenvId = ${prefix}-4cf4ef0b-9a4d`);
    expect(config.environments[0]?.environmentId).toBe(`${prefix}-4cf4ef0b-9a4d`);
    expect(warnings).toEqual([expect.stringContaining(`LD_CLIENT_SIDE_ID_a is ${kind}, not a client-side ID`)]);
    expect(warnings.join()).not.toContain('4cf4');
  });

  test('a certificate without TLS is reported', () => {
    expect(parse(`${environment}\n[Main]\ntlsCert = c\ntlsKey = k`).warnings).toEqual([
      'relay.conf:4: [Main] tlsCert has no effect: [Main] tlsEnabled is not set',
      'relay.conf:5: [Main] tlsKey has no effect: [Main] tlsEnabled is not set',
    ]);
  });

  test('there is no warning about what is switched off explicitly or left empty', () => {
    expect(parse(`${environment}\n[DynamoDB]\nenabled = false\ntableName = t`).warnings).toEqual([]);
    expect(parse(`${environment}\n[DynamoDB]\ntableName = t`, { USE_DYNAMODB: 'false' }).warnings).toEqual([]);
    expect(parse(`${environment}\n[DynamoDB]\ntableName =`).warnings).toEqual([]);
    expect(
      parse(environment, { USE_DYNAMODB: '0', DYNAMODB_TABLE: 't', USE_REDIS: 'no', REDIS_HOST: 'r' }).warnings,
    ).toEqual([]);
  });

  test('a variable that switches it on puts the options in force', () => {
    const { config, warnings } = parse(`${environment}\n[DynamoDB]\ntableName = t`, { USE_DYNAMODB: '1' });
    expect(config.dynamoDB).toMatchObject({ tableName: 't' });
    expect(warnings).toEqual(['LD_PREFIX_a is not set: a second environment will need one']);
  });

  test('the region of DynamoDB is used by SSM too, so it is in force', () => {
    expect(parse(`${environment}\n[DynamoDB]\nregion = eu-west-1`)).toMatchObject({
      config: { awsRegion: 'eu-west-1' },
      warnings: [],
    });
  });
});

describe('with a file and variables,', () => {
  test('a variable overrides an option unless it is empty', () => {
    const { config } = parse('[Main]\nport = 1\nlogLevel = warn\n[Environment "a"]\nsdkKey = sdk-a', {
      PORT: '2',
      LOG_LEVEL: '',
    });
    expect(config).toMatchObject({ port: 2, logLevel: 'warn' });
  });

  test('variables complete an environment that is incomplete in the file', () => {
    const { config } = parse('[Environment "a"]\nprefix = p\nallowedOrigin = https://a', {
      ...{ LD_ENV_a: 'sdk-a', LD_MOBILE_KEY_a: 'mob-a', LD_ALLOWED_ORIGIN_a: 'https://b' },
    });
    expect(config.environments).toMatchObject([
      { name: 'a', sdkKey: 'sdk-a', mobileKey: 'mob-a', prefix: 'p', allowedOrigins: ['https://a', 'https://b'] },
    ]);
  });

  test('environments of the file and of variables are combined', () => {
    const { config } = parse('[Environment "a"]\nsdkKey = sdk-a', { LD_ENV_b: 'sdk-b' });
    expect(config.environments.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  test('as with ld-relay, variables change an environment of the file only if its LD_ENV_ variable is set', () => {
    const { config, warnings } = parse('[Environment "a"]\nsdkKey = sdk-a\nprefix = p', { LD_PREFIX_a: 'q' });
    expect(config.environments[0]?.prefix).toBe('p');
    expect(warnings[0]).toBe(
      'LD_PREFIX_a has no effect: environment a is defined only in relay.conf; set it there, or set LD_ENV_a too',
    );
  });

  test('an empty LD_ENV_ variable does not change an environment of the file or remove its key', () => {
    const { config } = parse('[Environment "a"]\nsdkKey = sdk-a\nprefix = p', { LD_ENV_a: '', LD_PREFIX_a: 'q' });
    expect(config.environments).toMatchObject([{ name: 'a', sdkKey: 'sdk-a', prefix: 'p' }]);
  });

  test('a valid variable replaces an invalid option', () => {
    expect(parse('[Main]\nport = x\n[Environment "a"]\nsdkKey = sdk-a', { PORT: '2' }).config.port).toBe(2);
  });

  test('USE_DYNAMODB=false disables DynamoDB although the file enables it', () => {
    const text = '[DynamoDB]\nenabled = true\ntableName = t\n[Environment "a"]\nsdkKey = sdk-a';
    expect(parse(text, { USE_DYNAMODB: 'false' }).config.dynamoDB).toBeUndefined();
  });

  test('an address in the file is enough for Redis variables to take effect', () => {
    const { config } = parse('[Redis]\nhost = r\n[Environment "a"]\nsdkKey = sdk-a', {
      ...{ REDIS_PASSWORD: 'pw', REDIS_TLS: '1', REDIS_PORT: '7000' },
    });
    expect(config.redis).toMatchObject({ host: 'r', port: 7000, password: 'pw', tls: true });
  });

  test('REDIS_URL overrides the host and port in the file', () => {
    const { config } = parse('[Redis]\nhost = r\nport = 1\n[Environment "a"]\nsdkKey = sdk-a', {
      REDIS_URL: 'redis://other:2',
    });
    expect(config.redis).toMatchObject({ host: 'other', port: 2 });
  });

  test('a linked container does not override the address in the file', () => {
    const { config, warnings } = parse('[Redis]\nhost = r\n[Environment "a"]\nsdkKey = sdk-a', {
      REDIS_PORT: 'tcp://10.0.0.1:6379',
    });
    expect(config.redis).toMatchObject({ host: 'r', port: 6379 });
    expect(warnings).toContainEqual(
      'REDIS_PORT has no effect: the address of Redis is set by relay.conf:2: [Redis] host',
    );
  });

  test.each([{ REDIS_URL: 'redis://r' }, { REDIS_SENTINELS: 's1', REDIS_SENTINEL_MASTER: 'm' }, { REDIS_HOST: 'r' }])(
    'a linked container does not override %j',
    (address) => {
      const { config, warnings } = parseConfig({
        ...one,
        ...address,
        USE_REDIS: '1',
        REDIS_PORT: 'tcp://10.0.0.1:6379',
      });
      expect(config.redis?.host).not.toBe('10.0.0.1');
      expect(warnings[0]).toBe(`REDIS_PORT has no effect: the address of Redis is set by ${Object.keys(address)[0]}`);
    },
  );

  test('USE_REDIS=false does not disable Redis if the file has an address, and a warning says so', () => {
    const { config, warnings } = parse('[Redis]\nhost = r\n[Environment "a"]\nsdkKey = sdk-a', { USE_REDIS: 'false' });
    expect(config.redis).toMatchObject({ host: 'r' });
    expect(warnings[0]).toBe('USE_REDIS does not switch Redis off: its address is set by relay.conf:2: [Redis] host');
  });

  test('as with ld-relay, USE_CONSUL alone means localhost', () => {
    const { config, warnings } = parse('[Consul]\nhost = c\n[Environment "a"]\nsdkKey = sdk-a', { USE_CONSUL: '1' });
    expect(config.consul?.address).toBe('http://localhost:8500');
    expect(warnings[0]).toMatch(/^relay.conf:2: \[Consul\] host has no effect/);
  });
});

describe('warnings', () => {
  test.each<[string, Variables, string]>([
    ['an environment that is not defined', { LD_PREFIX_x: 'x' }, 'LD_PREFIX_x has no effect: LD_ENV_x is not set'],
    ['an unknown LD_ variable', { LD_FOO: 'x' }, 'LD_FOO has no effect: no such setting'],
    ...(
      [
        ['LD_MOBILE_KY_P', 'LD_MOBILE_KEY_P'],
        ['LD_EVN_production', 'LD_ENV_production'],
        ['LD_ENVV', 'LD_ENV_<name>'],
        ['ld_env_production', 'LD_ENV_production'],
        ['AUTO_CONFIG_KY', 'AUTO_CONFIG_KEY'],
        ['AUTOCONFIG_KEY', 'AUTO_CONFIG_KEY'],
        ['KEYS_FORM_SSM', 'KEYS_FROM_SSM'],
        ['HEARTBEAT_INTERVALL', 'HEARTBEAT_INTERVAL'],
        ['redis_url', 'REDIS_URL'],
        ['BASE_URL', 'BASE_URI'],
        // Of old versions of ld-relay, and without effect.
        ['USE_DATADOGG', 'USE_DATADOG'],
      ] as const
    ).map(([variable, meant]): [string, Variables, string] => [
      `${variable}, which looks like a setting`,
      { [variable]: 'x' },
      `${variable} has no effect: no such setting; did you mean ${meant}?`,
    ]),
    ['a store that is off', { REDIS_HOST: 'r' }, 'REDIS_HOST has no effect: USE_REDIS is not set'],
    [
      'traces for Datadog',
      { USE_DATADOG: 'true', DATADOG_TRACE_ADDR: 'agent:8126', DATADOG_TAG_a: 'b' },
      "DATADOG_TRACE_ADDR has no effect: traces are sent by OTLP: set USE_OTLP=true, and OTEL_EXPORTER_OTLP_ENDPOINT to the agent's OTLP port, such as http://localhost:4318",
    ],
    [
      'Stackdriver, once for all its settings',
      { USE_STACKDRIVER: 'true', STACKDRIVER_PROJECT_ID: 'x' },
      'USE_STACKDRIVER, STACKDRIVER_PROJECT_ID have no effect: Stackdriver is not supported: set USE_OTLP=true to send metrics and traces to an OpenTelemetry collector, which exports to Google Cloud',
    ],
    [
      'how often expired keys are dropped',
      { EXPIRED_CREDENTIAL_CLEANUP_INTERVAL: '1m' },
      'EXPIRED_CREDENTIAL_CLEANUP_INTERVAL has no effect: an expired key is refused at once',
    ],
    ['inline users', { EVENTS_INLINE_USERS: '1' }, 'EVENTS_INLINE_USERS has no effect: ld-relay ignores it too'],
    [
      'a number without its unit',
      { HEARTBEAT_INTERVAL: '90' },
      'HEARTBEAT_INTERVAL=90 has no unit and is read as seconds: write 90s',
    ],
    [
      'an old variable',
      { LD_TTL_MINUTES_Production: '3' },
      'LD_TTL_MINUTES_Production is an old name: write LD_TTL_Production=3m',
    ],
    [
      'a number of seconds of events',
      { EVENTS_FLUSH_INTERVAL: '5' },
      'EVENTS_FLUSH_INTERVAL=5 has no unit and is read as seconds: write 5s',
    ],
    [
      'how long stores are cached',
      { REDIS_TTL: '30000', CACHE_TTL: '30000' },
      'REDIS_TTL, CACHE_TTL have no effect: all data is in memory; the store is read at startup and while LaunchDarkly cannot be reached',
    ],
    [
      'a context larger than any may be',
      { MAX_CLIENT_REQUEST_BODY_SIZE: '1048577B' },
      'MAX_CLIENT_REQUEST_BODY_SIZE: above the maximum; 1MiB is used',
    ],
    ['an idle token', { STATUS_TOKEN: 'x' }, 'STATUS_TOKEN: no effect while STATUS_ACCESS is public'],
    ['an idle proxy user', { PROXY_AUTH_USER: 'x' }, 'PROXY_AUTH_USER: no effect without PROXY_URL'],
    [
      'one environment in a store without a prefix',
      { USE_REDIS: '1' },
      'LD_PREFIX_Production is not set: a second environment will need one',
    ],
  ])('are given for %s', (_, variables, warning) => {
    expect(parseConfig({ ...one, ...variables }).warnings).toEqual([warning]);
  });

  test.each<[string, Variables]>([
    [
      'what belongs to other programs',
      {
        ...{
          PATH: '/bin',
          HOME: '/root',
          TERM: 'xterm',
          POST: '1',
          SHORT: '1',
          HTTP_PROXY: 'http://p',
          CACHE_URL: 'x',
        },
        ...{
          REDIS_POOL: '5',
          CONSUL_PORT: '8500',
          CONSUL_HTTP_TOKEN: 'x',
          AWS_DEFAULT_REGION: 'eu-west-1',
          DD_TAGS: 'x',
          DD_ENV: 'prod',
          DD_SERVICE: 'shop',
        },
        ...{ PROXY_PORT: '1', PROXY_SERVICE_HOST: '10.0.0.1', npm_config_registry: 'x', NODE_ENV: 'production' },
      },
    ],
    ['a name like that of a setting that is set', { BASE_URL: 'https://my.site', BASE_URI: 'https://a.example' }],
    ["the dynamic linker's own variables", { LD_LIBRARY_PATH: '/lib', LD_PRELOAD: 'x' }],
    ['a service called redis in Kubernetes', { REDIS_PORT: 'tcp://10.0.0.1:6379', REDIS_SERVICE_HOST: '10.0.0.1' }],
    ['settings that are explicitly off', { USE_REDIS: 'false', TLS_ENABLED: '0', USE_DATADOG: 'no' }],
    ['empty variables', { LD_PREFIX_x: '', LD_FOO: '', REDIS_HOST: '', PORT: ' ' }],
  ])('are not given for %s', (_, variables) => {
    expect(parseConfig({ ...one, ...variables }).warnings).toEqual([]);
  });

  test('are given instead of an error for an archive without $CID', () => {
    const { warnings } = parseConfig({ FILE_DATA_SOURCE: 'a', USE_REDIS: '1' });
    expect(warnings).toEqual([
      'two environments of the archive would overwrite each other in the store: put $CID in ENV_DATASTORE_PREFIX',
    ]);
  });
});

describe('a file', () => {
  const problems = (text: string) => problemsOf(() => parse(`${text}\n[Environment "a"]\nsdkKey = sdk-a`));

  test.each([
    ['[Mian]\nport = 1', 'relay.conf:2: [Mian] is not a section: did you mean [Main]?'],
    ['[Redis]\npasword = x', 'relay.conf:2: [Redis] pasword is not an option: did you mean password?'],
    ['[Consul]\nport = 1', 'relay.conf:2: [Consul] port is not an option: did you mean host?'],
    ['[Main]\nport', 'relay.conf:2: [Main] port has no value: write port = <value>'],
    ['[Main "x"]', 'relay.conf:1: [Main] takes no name: remove the quoted part'],
    ['[Environment]\nsdkKey = sdk-b', 'relay.conf:1: [Environment] needs a name: write [Environment "name"]'],
    ['[Filters ""]\nkeys = a', 'relay.conf:1: [Filters] needs a name: write [Filters "name"]'],
  ])('with %j gets one problem with its file and line', (text, problem) => expect(problems(text)).toEqual([problem]));

  test('of version 5 that turns off the checks of certificates is refused', () => {
    const [problem, ...others] = problems('[Main]\ninsecureSkipVerify = true');
    expect(problem).toMatch(/^relay\.conf:2: \[Main\] insecureSkipVerify is not an option: /);
    expect(others).toEqual([]);
  });

  test('may repeat a section and an option, whose last value wins', () => {
    const { config } = parse('[Main]\nport = 1\nport = 2\n[main]\nPORT = 3\n[environment "a"]\nSDKKEY = sdk-a');
    expect(config).toMatchObject({ port: 3, environments: [{ name: 'a', sdkKey: 'sdk-a' }] });
  });
});

test('no message, warning or printed value contains a key', () => {
  const secret = 'sdk-00000000-1111-2222-3333-444455556666';
  const wrongPlaces: Variables[] = [...settingsIn(settings), ...Object.values(environmentSettings)].map(({ env }) => ({
    USE_REDIS: '1',
    USE_CONSUL: '1',
    USE_DYNAMODB: '1',
    [env.endsWith('_') ? `${env}x` : env]: secret,
  }));
  for (const variables of wrongPlaces) {
    let said = '';
    try {
      said = JSON.stringify(parseConfig({ LD_ENV_x: 'sdk-x', ...variables }).warnings);
    } catch (error) {
      said = (error as Error).message;
    }
    expect({ variables: Object.keys(variables).at(-1), leaked: said.includes('444455556666') }).toEqual({
      variables: Object.keys(variables).at(-1),
      leaked: false,
    });
  }
});

test('each setting has its own option, its own variable and a description', () => {
  const tables = { relay: settings, environment: environmentSettings, filters: filterSettings };
  const rows = Object.entries(tables).flatMap(([table, table2]) => settingsIn(table2).map((row) => ({ table, row })));
  expect(new Set(rows.map(({ row }) => row.env)).size).toBe(rows.length);
  for (const { table, row } of rows) {
    if (row.option !== undefined) expect(locateOption(row.section, row.option)).toMatchObject({ table, row });
    expect(row.says.length).toBeGreaterThan(5);
  }
});
