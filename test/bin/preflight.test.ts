/** The checks before a deployment, with a real SSM server, a real table and a real upstream. */
import { spawn } from 'node:child_process';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { differenceChecks, keyChecks } from '../../bin/preflight/keys.ts';
import { type PreflightOptions, runPreflight } from '../../bin/preflight/run.ts';
import type { Stage } from '../../lib/infrastructure/stages.ts';
import type { EnvironmentDescription } from '../../relay-task/ports.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts';
import { startFakeProxy } from '../support/fake-proxy.ts';
import { type SsmServer, startSsmServer } from '../support/ssm-server.ts';

const root = join(import.meta.dirname, '../..');
const path = '/edge-flag-relay/test/environments';
const sdkKey = 'sdk-11111111-aaaa-4aaa-8aaa-00000000beef';
const other = 'sdk-22222222-bbbb-4bbb-8bbb-00000000cafe';

const stage = {
  account: '123456789012',
  homeRegion: 'eu-west-1',
  replicaRegions: [],
  tableName: 'flags-of-test',
  production: false,
  environments: ['production'],
  alarms: { emails: ['team@example.com'] },
};

let ssm: SsmServer;
let fake: FakeAws;
let table: TestTable;
const before = { ...process.env };

beforeAll(async () => {
  table = await startTable();
});

afterAll(() => table.close());

beforeEach(async () => {
  [ssm, fake] = await Promise.all([startSsmServer(), startFakeAws()]);
  Object.assign(process.env, {
    ...{ AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_MAX_ATTEMPTS: '1' },
    ...{ AWS_ENDPOINT_URL_SSM: ssm.endpoint, AWS_ENDPOINT_URL_DYNAMODB: table.endpoint },
    AWS_ENDPOINT_URL: fake.endpoint,
  });
  ssm.put('/cdk-bootstrap/hnb659fds/version', '30');
  ssm.put(`${path}/production/sdk-key`, sdkKey);
});

afterEach(async () => {
  await Promise.all([ssm.close(), fake.close()]);
  process.env = { ...before };
});

async function preflight(changes: object = {}, options: Partial<PreflightOptions> = {}) {
  let printed = '';
  const exitCode = await runPreflight(
    {
      ...{ stage: 'test', offline: true, json: false, stages: { test: { ...stage, ...changes } } },
      ...{ synthesise: () => [], ...options },
    },
    (text) => {
      printed += text;
    },
  );
  expect(printed).not.toContain(sdkKey);
  expect(printed).not.toContain(other);
  return { exitCode, lines: printed.trimEnd().split('\n') };
}

test('preflight asks AWS through the proxy of the variables', async () => {
  const portOf = (endpoint: string) => Number(new URL(endpoint).port);
  const endpoints = new Map([
    ['ssm.example.test', ssm.endpoint],
    ['dynamodb.example.test', table.endpoint],
    ['aws.example.test', fake.endpoint],
  ]);
  const proxy = await startFakeProxy((host) => portOf(endpoints.get(host) ?? ''));
  Object.assign(process.env, {
    ...{ AWS_ENDPOINT_URL_SSM: 'http://ssm.example.test', AWS_ENDPOINT_URL_DYNAMODB: 'http://dynamodb.example.test' },
    ...{ AWS_ENDPOINT_URL: 'http://aws.example.test', HTTP_PROXY: proxy.uri },
  });
  expect((await preflight()).exitCode).toBe(0);
  expect(new Set(proxy.asked.map(({ what }) => what))).toEqual(
    new Set([...endpoints.keys()].map((host) => `POST http://${host}/`)),
  );
  await proxy.close();
});

test('an empty AWS_REGION is none: credentials are found', async () => {
  process.env.AWS_REGION = '';
  expect((await preflight()).exitCode).toBe(0);
});

test('preflight names an invalid proxy, without its password', async () => {
  process.env.HTTPS_PROXY = 'socks5://jane:s3cret@proxy';
  const { exitCode, lines } = await preflight();
  expect(exitCode).toBe(1);
  expect(lines.join()).toMatch('HTTPS_PROXY must be an http or https URL');
  expect(lines.join()).not.toMatch('s3cret');
});

test('preflight lists every check and exits with 0 if everything is ready', async () => {
  expect(await preflight()).toEqual({
    exitCode: 0,
    lines: [
      '✓ stage test is valid',
      '✓ the credentials belong to account 123456789012, the stage’s account',
      '✓ environment production in eu-west-1: SDK key',
      '✓ no stack of the stage exists yet',
      '✓ the table flags-of-test does not exist in eu-west-1 yet; the deployment creates it',
      '✓ alarms are sent to team@example.com',
      '✓ eu-west-1: Fargate may run 6 vCPU on demand, and the relay uses 6 at most',
      '✓ eu-west-1 is bootstrapped for the CDK (version 30)',
      '',
      'Ready to deploy.',
    ],
  });
});

test('preflight names prefixes that the Redis Cluster of the stage cannot hold, or could not tell apart @heavy', async () => {
  ssm.put(`${path}/production/prefix`, '}x');
  ssm.put(`${path}/staging/sdk-key`, other);
  ssm.put(`${path}/staging/prefix`, '{shop}');
  ssm.put(`${path}/shop/sdk-key`, 'sdk-33333333-cccc-4ccc-8ccc-00000000cafe');
  const { exitCode, lines } = await preflight({ redis: { serverless: {} } });
  expect(exitCode).toBe(1);
  expect(lines.join('\n')).toContain(
    '✗ eu-west-1: the prefix "}x" must contain a hash tag in a Redis Cluster, such as "{x}"\n    → npm run keys -- put test production prefix',
  );
  expect(lines.join('\n')).toContain('✗ eu-west-1: staging/prefix would overwrite shop in the store');
  expect((await preflight()).exitCode).toBe(0);
});

test('preflight reports every problem at once, each with advice', async () => {
  ssm.delete('/cdk-bootstrap/hnb659fds/version');
  ssm.put(`${path}/staging/sdk-key`, 'two words');
  ssm.put(`${path}/staging/sdk_key`, 'x');
  ssm.put(`${path}/shop/sdk-key`, sdkKey);
  ssm.put(`${path}/shop/previous-sdk-key`, other);
  const { exitCode, lines } = await preflight({ environments: ['production', 'canary'] });
  expect(exitCode).toBe(1);
  for (const line of [
    '✗ environment canary has no key in eu-west-1',
    '    → npm run keys -- put test canary sdk-key',
    '✗ eu-west-1: staging/sdk-key is invalid: expected one word without spaces: the key and nothing else',
    '    → npm run keys -- put test staging sdk-key',
    '✗ eu-west-1: shop/sdk-key has the same value as production/sdk-key: give each environment its own',
    '✗ eu-west-1: shop/previous-sdk-key has no previous-sdk-key-until: it expires when the grace time after it was written is over',
    '    → npm run keys -- put test shop previous-sdk-key-until',
    '! eu-west-1: the relay ignores the parameter staging/sdk_key',
    '✗ eu-west-1 is not bootstrapped for the CDK',
    '    → npx cdk bootstrap aws://123456789012/eu-west-1',
    '5 problems to fix.',
  ]) {
    expect(lines).toContain(line);
  }
});

/** What does not need AWS, and everything else as not checked; no reason is repeated. */
const unasked = [
  '? AWS was not asked: what follows could be checked without it, or is marked with ?',
  '? cannot read the keys in eu-west-1',
  '? cannot describe the stack edge-flag-relay-test-data',
  '? cannot tell whether eu-west-1 has stacks that left the stage',
  '? cannot tell whether us-east-1 has stacks that left the stage',
  '? cannot describe the table flags-of-test',
  '? cannot tell whether the log group /aws/lambda/flags-of-test exists in eu-west-1',
  '✓ alarms are sent to team@example.com',
  '? eu-west-1: cannot look at zones, VPCs and subnets',
  '? eu-west-1: cannot read how many vCPU Fargate may run',
  '? cannot tell whether eu-west-1 is bootstrapped for the CDK',
];
const logGroup = { Type: 'AWS::Logs::LogGroup', Properties: { LogGroupName: '/aws/lambda/flags-of-test' } };
const synthesise = () => [
  { stackName: 'edge-flag-relay-test-data', region: 'eu-west-1', template: { Resources: { Logs: logGroup } } },
];

test('signed out, everything is listed, and what needs AWS is marked as not checked', async () => {
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', AWS_EC2_METADATA_DISABLED: 'true' });
  Object.assign(process.env, { HOME: '/nowhere', AWS_PROFILE: '' });
  const { exitCode, lines } = await preflight({}, { synthesise, offline: false });
  expect(exitCode).toBe(1);
  expect(lines).toEqual([
    '✓ stage test is valid',
    '✗ not signed in to AWS',
    expect.stringMatching(/^ {4}→ No AWS credentials found: sign in/),
    ...unasked,
    '? LaunchDarkly was not asked about the SDK keys: they are not known',
    '',
    '1 problem to fix. 11 things could not be checked (?).',
  ]);
  expect([...ssm.calls, ...fake.asked]).toEqual([]);
});

test('in another account nothing else is asked, and nobody is told to put keys or a bootstrap there', async () => {
  const { exitCode, lines } = await preflight({ account: '999999999999', environments: ['canary'] }, { synthesise });
  expect(exitCode).toBe(1);
  expect(lines.slice(1)).toEqual([
    '✗ the credentials belong to account 123456789012, but the stage’s account is 999999999999',
    '    → sign in to 999999999999 (AWS_PROFILE), or correct account in the stage file',
    ...unasked,
    '',
    '1 problem to fix. 10 things could not be checked (?).',
  ]);
  expect([...ssm.calls, ...fake.asked]).toEqual(['eu-west-1 GetCallerIdentity']);
});

test('a stage without an account is told to name it', async () => {
  const { exitCode, lines } = await preflight({ account: undefined });
  expect(lines.slice(1, 3)).toEqual([
    '! the stage names no account; the credentials belong to 123456789012',
    "    → set account: '123456789012' in the stage file, so that no other is deployed to",
  ]);
  expect(exitCode).toBe(0);
});

test.each([
  ['5', 1, '✗ eu-west-1 is bootstrapped for the CDK by version "5", and the CDK needs version 6 or later'],
  ['x', 1, '✗ eu-west-1 is bootstrapped for the CDK by version "x", and the CDK needs version 6 or later'],
  [
    '22',
    0,
    '! eu-west-1 is bootstrapped for the CDK by version 22: a failed update could not be undone by cdk rollback, which needs version 23',
  ],
  ['23', 0, '✓ eu-west-1 is bootstrapped for the CDK (version 23)'],
])('a bootstrap of version %s ends with %i', async (version, code, line) => {
  ssm.put('/cdk-bootstrap/hnb659fds/version', version);
  const { exitCode, lines } = await preflight();
  expect(lines).toContain(line);
  expect(exitCode).toBe(code);
});

test.each([
  ['AUTO_CONFIG_KEY', { secrets: { AUTO_CONFIG_KEY: '/mine/auto-config' } }],
  ['FILE_DATA_SOURCE', { variables: { FILE_DATA_SOURCE: '/flags.tar.gz' } }],
])('a stage whose environments come from %s needs no keys in SSM', async (source, relay) => {
  ssm.delete(`${path}/production/sdk-key`);
  ssm.put('/mine/auto-config', 'rel-1', { type: 'SecureString' });
  const { exitCode, lines } = await preflight({ environments: [], relay });
  expect(lines).toContain(`! environments come from ${source} instead of SSM: preflight cannot look at their keys`);
  expect(exitCode).toBe(0);
});

describe('everything ends in time', () => {
  const times = { timeoutMs: 200, deadlineMs: 60_000 };

  test('where SSM and DynamoDB never answer', async () => {
    const sockets: Socket[] = [];
    const silent = createNetServer((socket) => void sockets.push(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    Object.assign(process.env, { AWS_ENDPOINT_URL_SSM: endpoint, AWS_ENDPOINT_URL_DYNAMODB: endpoint });
    const relay = { secrets: { REDIS_PASSWORD: '/mine/redis' } };
    const { lines } = await preflight({ relay }, { times });
    const why = (service: string) =>
      `    → Cannot reach AWS in eu-west-1: no answer from ${service} in eu-west-1 within 200 ms: is HTTPS_PROXY or a VPN needed?`;
    for (const [what, service] of [
      ['? cannot read the keys in eu-west-1', 'SSM'],
      ['? cannot describe the table flags-of-test', 'DynamoDB'],
      ['? cannot look at relay.secrets.REDIS_PASSWORD: the parameter /mine/redis in eu-west-1', 'SSM'],
      ['? cannot tell whether eu-west-1 is bootstrapped for the CDK', 'SSM'],
    ] as const)
      expect(lines[lines.indexOf(what) + 1]).toBe(why(service));
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });

  test('when the time for everything is over', async () => {
    ssm.hang('GetParametersByPath');
    const { exitCode, lines } = await preflight({}, { times: { deadlineMs: 300 } });
    expect(exitCode).toBe(0);
    expect(lines).toContain('    → not asked: the 0.3 s that all questions may take are over');
    expect(lines).toContain('? cannot describe the table flags-of-test');
  });
});

test('a login page in place of AWS is not taken for an answer', async () => {
  fake.instead = '<html><body>Sign in to the hotel</body></html>';
  const { exitCode, lines } = await preflight();
  expect(exitCode).toBe(1);
  expect(lines.slice(1, 3)).toEqual([
    '✗ AWS does not say whose the credentials are',
    '    → sts in eu-west-1 answered with something that is not AWS’s (not one GetCallerIdentityResponse): is a proxy or a login page in between?',
  ]);
});

test.each([
  ['AWS_ENDPOINT_URL', 'localhost:4566'],
  ['AWS_ENDPOINT_URL_SSM', 'here'],
])('%s=%s is named as invalid', async (name, value) => {
  process.env[name] = value;
  const { exitCode, lines } = await preflight();
  expect(lines[1]).toBe(`✗ ${name}=${value} is invalid: expected a URL such as http://127.0.0.1:4566`);
  expect(exitCode).toBe(1);
});

test('an invalid stage stops the checks with a message that lists its problems', async () => {
  const { exitCode, lines } = await preflight({ homeRegion: 'Dublin', tableName: 'x' });
  expect(exitCode).toBe(1);
  expect(lines[0]).toBe('✗ stage test: 2 problems:');
  expect(lines.slice(1).join(' ')).toMatch(/homeRegion.*Dublin.*tableName/);
  expect(ssm.calls).toEqual([]);
});

test('an environment that the stage does not name is only a note', async () => {
  ssm.put(`${path}/staging/sdk-key`, other);
  const { exitCode, lines } = await preflight();
  expect(lines).toContain('! environment staging in eu-west-1 is served, but the stage file does not name it');
  expect(exitCode).toBe(0);
});

test('a previous key with a long grace period, one of an unusual form and one that is not encrypted are notes', async () => {
  ssm.put(`${path}/production/previous-sdk-key`, 'of-another-form', { type: 'String' });
  ssm.put(`${path}/production/previous-sdk-key-until`, '2199-01-01T00:00:00Z');
  const { exitCode, lines } = await preflight();
  expect(lines).toContain('! eu-west-1: the previous SDK key of production works until 2199-01-01T00:00:00.000Z');
  expect(lines.join()).toMatch(/! eu-west-1: production: previous-sdk-key does not begin with sdk-/);
  expect(lines.join()).toMatch(/! eu-west-1: production\/previous-sdk-key is stored unencrypted, as a String/);
  expect(exitCode).toBe(0);
});

describe('a table', () => {
  test('that a stack of the stage owns passes @heavy', async () => {
    const resources = [['FlagTable', 'AWS::DynamoDB::GlobalTable', table.tableName]] as const;
    fake.stacks = { data: { region: 'eu-west-1', resources } };
    const wanted = [{ stackName: 'data', region: 'eu-west-1', template: {} }];
    const { lines, exitCode } = await preflight({ tableName: table.tableName }, { synthesise: () => wanted });
    expect(exitCode).toBe(0);
    expect(lines).toContain(`✓ the table ${table.tableName} exists in eu-west-1`);
  });

  test('that exists without a stack is a problem with two ways out @heavy', async () => {
    const { lines, exitCode } = await preflight({ tableName: table.tableName });
    expect(exitCode).toBe(1);
    expect(lines).toContain(
      `✗ the table ${table.tableName} exists in eu-west-1, and no stack of the stage owns it: the deployment cannot create it`,
    );
    expect(lines).toContain(
      "    → to keep it, set table: 'existing' in the stage file; or delete it with its replicas (deletion protection first)",
    );
    const kept = await preflight({ tableName: table.tableName, table: 'existing' });
    expect(kept.exitCode).toBe(0);
  });

  test('managed elsewhere must exist, with its replicas @heavy', async () => {
    const absent = await preflight({ table: 'existing' });
    expect(absent.lines).toContain('✗ the table flags-of-test does not exist in eu-west-1');
    const alone = await preflight({
      ...{ table: 'existing', tableName: table.tableName, replicaRegions: ['us-east-1'] },
    });
    expect(alone.lines).toContain(`✗ the table ${table.tableName} has no replica in us-east-1`);
    expect(alone.exitCode).toBe(1);
  });

  test('that cannot be described is reported as not checked', async () => {
    process.env.AWS_ENDPOINT_URL_DYNAMODB = 'http://127.0.0.1:9';
    const { exitCode, lines } = await preflight();
    expect(lines).toContain('? cannot describe the table flags-of-test');
    expect(lines.at(-1)).toBe('No problem found. 1 thing could not be checked (?).');
    expect(exitCode).toBe(0);
  });
});

test('every region that gets a stack must be bootstrapped for the CDK', async () => {
  const { lines } = await preflight({ replicaRegions: ['ap-northeast-1'] });
  expect(lines).toContain('✓ ap-northeast-1 is bootstrapped for the CDK (version 30)');
});

test('the edge must read an existing environment @heavy', async () => {
  const origins = { stable: { domainName: 'a.example.net' }, canary: { domainName: 'b.example.net' } };
  const edge = { prefix: 'shop', flagKey: 'canary', origins, defaultVariant: 'stable' };
  const { lines } = await preflight({ edge });
  expect(lines).toContain('✗ the edge reads the prefix shop, which no environment has');
  expect(lines).toContain('    → set edge.prefix to one of these: production');
  expect(lines).toContain('✓ us-east-1 is bootstrapped for the CDK (version 30)');
  const right = await preflight({ edge: { ...edge, prefix: 'production' } });
  expect(right.exitCode).toBe(0);
});

test('the heartbeat flag of the edge is that of the environment in SSM, or of all environments', () => {
  const told = (
    flag: string | undefined,
    variables: Record<string, string>,
    edge: object = { heartbeatFlag: 'beat' },
  ) =>
    keyChecks(
      {
        ...{ name: 'test', homeRegion: 'eu-west-1', environments: [], relay: { variables } },
        edge: { prefix: 'shop', ...edge },
      } as unknown as Stage,
      'eu-west-1',
      {
        descriptions: [{ id: 'shop', prefix: 'shop', credentials: [], heartbeatFlag: flag }] as never,
        ...{ remarks: new Map(), unknown: [], arn: undefined },
      },
    ).filter(({ name }) => name === 'heartbeat-flag');
  expect(told('beat', { HEARTBEAT_FLAG: 'other' })).toEqual([]);
  expect(told(undefined, { HEARTBEAT_FLAG: 'beat' })).toEqual([]);
  expect(told(undefined, {}, {})).toEqual([]);
  expect(told('other', { HEARTBEAT_FLAG: 'beat' })).toMatchObject([
    { state: 'note', value: 'shop', advice: 'npm run keys -- put test shop heartbeat-flag, with beat' },
  ]);
  expect(told(undefined, {})[0]?.what).toMatch(/heartbeat flag of shop is none/);
});

test('relays in several regions must have the same keys', () => {
  const view = (key: string) => ({
    descriptions: [{ id: 'production', sdkKey: key }] as unknown as EnvironmentDescription[],
    ...{ remarks: new Map(), unknown: [], arn: undefined },
  });
  expect(differenceChecks(view(sdkKey), 'us-east-1', view(sdkKey))).toEqual([]);
  expect(differenceChecks(view(sdkKey), 'us-east-1', view(other))).toEqual([
    {
      ...{ state: 'bad', name: 'key', value: 'production' },
      what: 'environment production has another SDK key in us-east-1 than at home',
      advice: 'put or rotate the same key in both',
    },
  ]);
});

test.each([
  ['denied', () => ssm.deny(), /→ AWS denied access/],
  ['unreachable', () => ssm.down(), /→ Cannot reach AWS in eu-west-1/],
])('SSM that is %s is no problem of the stage: what it would tell could not be checked', async (_, fault, advice) => {
  fault();
  const { exitCode, lines } = await preflight();
  expect(lines).toContain('? cannot read the keys in eu-west-1');
  expect(lines.join('\n')).toMatch(advice);
  expect(lines.at(-1)).toMatch(/^No problem found. \d things could not be checked/);
  expect(exitCode).toBe(0);
});

describe('preflight without --offline', () => {
  let launchDarkly: Server;
  let baseUri: string;
  const asked: (string | undefined)[] = [];
  let answer: RequestListener;

  beforeEach(async () => {
    asked.length = 0;
    answer = ({ headers }, response) =>
      response
        .writeHead(headers.authorization === sdkKey ? 200 : 401, { 'content-type': 'application/json; charset=utf-8' })
        .end('{}');
    launchDarkly = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      answer(request, response);
    });
    await new Promise<void>((resolve) => launchDarkly.listen(0, '127.0.0.1', resolve));
    baseUri = `http://127.0.0.1:${(launchDarkly.address() as AddressInfo).port}`;
  });

  afterEach(() => {
    launchDarkly.closeAllConnections();
    launchDarkly.close();
  });

  test('asks LaunchDarkly whether it accepts the SDK keys', async () => {
    ssm.put(`${path}/staging/sdk-key`, other);
    const { exitCode, lines } = await preflight({}, { offline: false, baseUri });
    expect(lines).toContain('✓ LaunchDarkly accepts the SDK key of production');
    expect(lines).toContain('✗ LaunchDarkly rejected the SDK key of staging (401): no task would become ready');
    expect(asked).toEqual(['GET /sdk/latest-all', 'GET /sdk/latest-all']);
    expect(exitCode).toBe(1);
  });

  test('asks LaunchDarkly through the proxy of the variables', async () => {
    const proxy = await startFakeProxy(Number(new URL(baseUri).port));
    Object.assign(process.env, { HTTP_PROXY: proxy.uri, NO_PROXY: '127.0.0.1' });
    const { lines } = await preflight({}, { offline: false, baseUri: 'http://sdk.example.test' });
    expect(lines).toContain('✓ LaunchDarkly accepts the SDK key of production');
    expect(proxy.asked.map(({ what }) => what)).toEqual(['GET http://sdk.example.test/sdk/latest-all']);
    await proxy.close();
  });

  test.each<[string, RequestListener]>([
    ['200', (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>Sign in')],
    ['302', (_, response) => response.writeHead(302, { location: '/login' }).end()],
    ['407', (_, response) => response.writeHead(407).end()],
  ])('does not take a login page or a proxy that answers %s for LaunchDarkly', async (status, page) => {
    answer = page;
    const { lines } = await preflight({}, { offline: false, baseUri });
    const { host } = new URL(baseUri);
    expect(lines).toContain(`? ${host} answered ${status} for production, which LaunchDarkly does not`);
    expect(asked).toEqual(['GET /sdk/latest-all']);
  });

  test('names an address of the stage that is none', async () => {
    const { lines } = await preflight({}, { offline: false, baseUri: 'sdk.example.com' });
    expect(lines).toContain('✗ LaunchDarkly’s address "sdk.example.com" is not a URL');
  });

  test('only notes that LaunchDarkly is unreachable', async () => {
    const { exitCode, lines } = await preflight({}, { offline: false, baseUri: 'http://127.0.0.1:9' });
    expect(lines.join('\n')).toMatch(/\? could not ask LaunchDarkly about production/);
    expect(exitCode).toBe(0);
  });
});

test.each([
  ['without a stage', [], 2, /^expected one stage/],
  ['with an address that is none', ['dev', '--base-uri', 'x'], 2, /^--base-uri x is invalid: expected a URL/],
  ['with an unknown option', ['dev', '--frobnicate'], 2, /^Unknown option --frobnicate: expected one of --offline, /],
  ['for an unknown stage', ['nope', '--json'], 2, /^stage "nope" is unknown: expected dev or prod\n\nFinds what/],
  ['without credentials', ['dev'], 1, /✗ not signed in to AWS\n {4}→ No AWS credentials found: sign in/],
])('npm run preflight %s prints the error and exits with its code @heavy', async (_, args, expected, message) => {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, ['--import', 'tsx', 'bin/preflight.ts', ...args], {
    ...{ cwd: root, stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] },
    env: { PATH, HOME: '/nowhere', AWS_EC2_METADATA_DISABLED: 'true', AWS_ENDPOINT_URL_SSM: ssm.endpoint },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const exitCode = await new Promise((resolve) => child.once('close', resolve));
  expect(output).toMatch(message);
  expect(exitCode).toBe(expected);
});
