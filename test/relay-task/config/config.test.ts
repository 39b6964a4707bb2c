import { parseConfig, type Variables } from '../../../relay-task/config/config.ts';
import { settings } from '../../../relay-task/config/settings.ts';
import { RelayError } from '../../../relay-task/errors.ts';

const one = { LD_ENV_Production: 'sdk-1' };

function problemsOf(variables: Variables): string {
  try {
    parseConfig(variables);
  } catch (error) {
    expect(error).toBeInstanceOf(RelayError);
    expect((error as RelayError).code).toBe('CONFIG_INVALID');
    return (error as RelayError).message;
  }
  throw new Error('the configuration was accepted');
}

describe('what is not set', () => {
  test('has the default that ld-relay documents', () => {
    const { config } = parseConfig(one);
    expect(config).toMatchObject({
      port: 8030,
      streamUri: 'https://stream.launchdarkly.com',
      initTimeoutMs: 10_000,
      heartbeatIntervalMs: 180_000,
      disconnectedStatusTimeMs: 60_000,
      maxClientConnectionTimeMs: 0,
      logLevel: 'info',
      useDynamoDB: false,
      dynamoDBTable: undefined,
    });
    expect(config.environments).toEqual([
      {
        name: 'Production',
        sdkKey: 'sdk-1',
        mobileKey: undefined,
        environmentId: undefined,
        prefix: '',
        tableName: undefined,
        flagsFile: undefined,
      },
    ]);
  });

  test('and what is set but empty counts as not set', () => {
    expect(parseConfig({ ...one, PORT: '', LD_PREFIX_Production: '' }).config.port).toBe(8030);
  });
});

describe('durations are read as Go writes them', () => {
  test.each([
    ['5s', 5000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
    ['0', 0],
    ['-1s', -1000],
    ['.5s', 500],
  ])('%s is %d ms', (text, ms) => {
    expect(parseConfig({ ...one, HEARTBEAT_INTERVAL: text }).config.heartbeatIntervalMs).toBe(ms);
  });

  test.each(['5', '5 s', 's', '5x', '1m-3s'])('%s is refused', (text) => {
    expect(problemsOf({ ...one, HEARTBEAT_INTERVAL: text })).toBe(
      `HEARTBEAT_INTERVAL=${text} is not understood: it must be a duration with its unit, such as 30s, 1m30s or 250ms`,
    );
  });
});

test('every problem is reported at once, each with its variable, its value and what would do', () => {
  const message = problemsOf({
    PORT: '99999',
    USE_DYNAMODB: 'maybe',
    STREAM_URI: 'stream',
    READY_REQUIRES: 'some',
    LD_ENV_A: ' ',
  });
  expect(message.split('; ')).toEqual([
    'LD_ENV_A is empty: it must be the SDK key of environment A',
    'PORT=99999 is not understood: it must be a whole number from 0 to 65535',
    'STREAM_URI=stream is not understood: it must be an absolute address that begins with http:// or https://',
    'READY_REQUIRES=some is not understood: it must be one of any, all',
    'USE_DYNAMODB=maybe is not understood: it must be true or false',
  ]);
});

test('a configuration without an environment is refused', () => {
  expect(problemsOf({})).toBe('no environment: set LD_ENV_<name> to its SDK key');
});

test("a misspelt LD_ variable is refused, and the dynamic linker's own are left alone", () => {
  expect(problemsOf({ ...one, LD_MOBILE_KY_Production: 'x', LD_LIBRARY_PATH: '/lib' })).toMatch(
    /^LD_MOBILE_KY_Production is not a setting/,
  );
});

test('a setting of an environment that is not defined is named in a warning', () => {
  const { warnings } = parseConfig({ ...one, LD_PREFIX_Staging: 'x' });
  expect(warnings).toEqual(['LD_PREFIX_Staging has no effect: there is no LD_ENV_Staging']);
});

test('what ld-relay knows and this version does not is refused or named', () => {
  expect(problemsOf({ ...one, USE_REDIS: 'true' })).toBe('USE_REDIS is not supported by this version: unset it');
  expect(parseConfig({ ...one, USE_EVENTS: 'true' }).warnings).toEqual(['USE_EVENTS: no effect in this version']);
});

test('what is switched off in words is not refused', () => {
  expect(parseConfig({ ...one, USE_REDIS: 'false', TLS_ENABLED: '0' }).warnings).toEqual([]);
});

test('a key pasted into the wrong variable is not repeated', () => {
  expect(problemsOf({ ...one, PORT: 'sdk-1234' })).toMatch(/^PORT=sdk-… is not understood/);
});

test('two environments may not share a credential, and the message does not repeat it', () => {
  const message = problemsOf({ LD_ENV_A: 'sdk-same', LD_ENV_B: 'sdk-same' });
  expect(message).toBe('LD_ENV_A and LD_ENV_B hold the same value: each environment needs its own');
});

describe('a DynamoDB store', () => {
  const base = { LD_ENV_A: 'sdk-a', LD_ENV_B: 'sdk-b', USE_DYNAMODB: 'true' };

  test('needs a table', () => {
    expect(problemsOf({ LD_ENV_A: 'sdk-a', USE_DYNAMODB: '1' })).toBe(
      'USE_DYNAMODB is set, but no table: set DYNAMODB_TABLE or LD_TABLE_NAME_A',
    );
  });

  test('needs a place of its own for each environment', () => {
    expect(problemsOf({ ...base, DYNAMODB_TABLE: 't' })).toMatch(/^environments A and B would write over each other/);
    expect(parseConfig({ ...base, DYNAMODB_TABLE: 't', LD_PREFIX_A: 'a' }).config.environments[0]?.prefix).toBe('a');
    expect(parseConfig({ ...base, DYNAMODB_TABLE: 't', LD_TABLE_NAME_A: 'u' }).config.environments[0]?.tableName).toBe(
      'u',
    );
  });
});

test('a setting is documented in its table by one sentence of what it is for', () => {
  for (const { says } of Object.values(settings)) expect(says.length).toBeGreaterThan(10);
});
