/** What preflight finds in an account, with a server that speaks AWS's protocols, and with moto where it is installed. */
import { readFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { createAws } from '../../bin/aws/ask.ts';
import { explainAwsError } from '../../bin/aws/explain.ts';
import { findLeftStacks, isStackOf } from '../../bin/aws/left-stacks.ts';
import { stacksIn } from '../../bin/aws/stacks.ts';
import { covers } from '../../bin/preflight/certificates.ts';
import { parseImage } from '../../bin/preflight/image-registry.ts';
import type { LookedAt } from '../../bin/preflight/looked-at.ts';
import { type PreflightOptions, runPreflight } from '../../bin/preflight/run.ts';
import { tableChecks } from '../../bin/preflight/table.ts';
import { synthesise } from '../../bin/preflight/templates.ts';
import { stageOf } from '../../bin/stage-of.ts';
import type { StackTemplate } from '../../lib/infrastructure/template.ts';
import { startTable, type TestTable } from '../support/dynalite.ts';
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts';
import { policyActions } from '../support/read-only-policy.ts';
import { type SsmServer, startSsmServer } from '../support/ssm-server.ts';

const account = '123456789012';
const arn = `arn:aws:acm:eu-west-1:${account}:certificate/12345678-1234-1234-1234-123456789012`;
const siteArn = arn.replace('eu-west-1', 'us-east-1');
const zone = { id: 'Z0123456789ABCDEFGHIJ', name: 'example.com' };
const edge = {
  ...{ prefix: 'production', flagKey: 'canary', defaultVariant: 'stable' },
  origins: { stable: { domainName: 'a.example.net' }, canary: { domainName: 'b.example.net' } },
};
const stage = {
  ...{ account, homeRegion: 'eu-west-1', replicaRegions: ['us-east-1'], tableName: 'flags-of-test', production: false },
  ...{ environments: ['production'], alarms: { emails: ['team@example.com'] } },
};

const stackNames = ['data', 'relay', 'region-us-east-1'];
const wanted: StackTemplate[] = [
  {
    ...{ stackName: 'edge-flag-relay-test-data', region: 'eu-west-1' },
    template: {
      Resources: { FlagTable: { Type: 'AWS::DynamoDB::GlobalTable', Properties: { TableName: 'flags-of-test' } } },
    },
  },
  {
    ...{ stackName: 'edge-flag-relay-test-relay', region: 'eu-west-1' },
    template: {
      Resources: {
        Cluster: { Type: 'AWS::ECS::Cluster', Properties: { ClusterName: 'edge-flag-relay-test' } },
        Log: { Type: 'AWS::Logs::LogGroup', Properties: { LogGroupName: '/edge-flag-relay/test/relay' } },
        Unnamed: { Type: 'AWS::Logs::LogGroup', Properties: { RetentionInDays: 14 } },
      },
    },
  },
  {
    ...{ stackName: 'edge-flag-relay-test-region-us-east-1', region: 'us-east-1' },
    template: {
      Resources: {
        Router: { Type: 'AWS::Lambda::Function', Properties: { FunctionName: 'edge-flag-relay-test-viewer-request' } },
        Alarms: { Type: 'AWS::SNS::Topic', Properties: { TopicName: 'edge-flag-relay-test-alarms' } },
      },
    },
  },
];

let ssm: SsmServer;
let table: TestTable;
let fake: FakeAws;
const before = { ...process.env };

beforeAll(async () => {
  table = await startTable();
});
afterAll(() => table.close());
beforeEach(async () => {
  [ssm, fake] = await Promise.all([startSsmServer(), startFakeAws()]);
  Object.assign(process.env, {
    ...{
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_MAX_ATTEMPTS: '2',
      AWS_ENDPOINT_URL: fake.endpoint,
    },
    ...{ AWS_ENDPOINT_URL_SSM: ssm.endpoint, AWS_ENDPOINT_URL_DYNAMODB: table.endpoint },
  });
  ssm.put('/cdk-bootstrap/hnb659fds/version', '33');
  ssm.put('/edge-flag-relay/test/environments/production/sdk-key', 'sdk-11111111-aaaa-4aaa-8aaa-00000000beef');
});
/** What was asked in all tests. */
const operations = new Set<string>();
afterEach(async () => {
  for (const one of fake.asked) operations.add(one.split(' ')[1] ?? '');
  await Promise.all([ssm.close(), fake.close()]);
  process.env = { ...before };
});

interface Result {
  readonly ok: boolean;
  readonly bad: number;
  readonly checks: readonly { state: string; name: string; value: string; what: string; advice?: string }[];
}

function signedAws(env: Readonly<Record<string, string | undefined>> = process.env) {
  const credentials = async () => ({ accessKeyId: 'test', secretAccessKey: 'test' });
  return createAws({ credentials, agents: undefined, env });
}

/** As `--json` prints it. */
async function preflight(
  changes: object = {},
  stacks: readonly StackTemplate[] = wanted,
  more: Partial<PreflightOptions> = {},
): Promise<Result> {
  let printed = '';
  const stages = { test: { ...stage, ...changes } };
  const options = {
    stage: 'test',
    offline: true,
    json: true,
    stages,
    synthesise: () => stacks,
    baseUri: 'http://127.0.0.1:9',
  };
  const exitCode = await runPreflight({ ...options, ...more }, (text) => {
    printed += text;
  });
  const result = JSON.parse(printed) as Result;
  expect(exitCode).toBe(result.ok ? 0 : 1);
  return result;
}

/** The findings of one kind that are not good, in words. */
async function findings(name: string, changes: object = {}, stacks?: readonly StackTemplate[]): Promise<string[]> {
  const { checks } = await preflight(changes, stacks);
  return checks.flatMap(({ name: kind, state, what, advice }) =>
    kind === name && state !== 'good' ? [[state, what, ...(advice === undefined ? [] : [advice])].join(' | ')] : [],
  );
}

const deploy = (change: object) => {
  fake.stacks = Object.fromEntries(
    stackNames.map((name) => [
      `edge-flag-relay-test-${name}`,
      { region: name === 'region-us-east-1' ? 'us-east-1' : 'eu-west-1', ...change },
    ]),
  );
};

test('an empty account is ready, and preflight only reads, in few requests @heavy', async () => {
  const { ok, checks } = await preflight();
  expect(checks.filter(({ state }) => state !== 'good')).toEqual([]);
  expect(ok).toBe(true);
  expect(fake.asked.filter((one) => !/ (Get|Describe|List)\w+$/.test(one))).toEqual([]);
  // One of them to each region where Lambda@Edge runs.
  expect(fake.asked.length).toBeLessThan(30);
});

test.each([
  ['ROLLBACK_COMPLETE', false, 'note', /the deployment deletes it first$/],
  [
    'ROLLBACK_COMPLETE',
    true,
    'bad',
    /protected .* \| aws cloudformation update-termination-protection .* && aws cloudformation delete-stack --region eu-west-1 --stack-name edge-flag-relay-test-relay$/,
  ],
  ['DELETE_FAILED', false, 'bad', /is DELETE_FAILED: in use \| aws cloudformation delete-stack/],
  ['UPDATE_ROLLBACK_FAILED', true, 'bad', /\| npx cdk rollback 'test\/\*' -c stage=test$/],
  ['REVIEW_IN_PROGRESS', false, 'note', /it is empty, and the deployment fills it$/],
  ['UPDATE_IN_PROGRESS', false, 'bad', /\| wait until it is done/],
  ['UPDATE_ROLLBACK_COMPLETE', false, 'note', /the last deployment failed and was undone$/],
  ['CREATE_FAILED', false, 'bad', /\| npx cdk rollback 'test\/\*' -c stage=test$/],
  ['UPDATE_FAILED', true, 'bad', /\| npx cdk rollback 'test\/\*' -c stage=test$/],
  ['DELETE_IN_PROGRESS', false, 'bad', /\| wait until it is done/],
  ['UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS', false, 'bad', /\| wait until it is done/],
  ['IMPORT_ROLLBACK_FAILED', false, 'bad', /\| in the CloudFormation console: continue update rollback/],
])('a stack in %s (protected: %s) is %s, with what to do', async (status, isProtected, state, words) => {
  fake.stacks = { 'edge-flag-relay-test-relay': { region: 'eu-west-1', status, isProtected, reason: 'in use' } };
  const [found = ''] = await findings('stack');
  expect(found.startsWith(`${state} | `)).toBe(true);
  expect(found).toContain(`edge-flag-relay-test-relay is ${status}: in use`);
  expect(found).toMatch(words);
});

test('a protected stage with a stack that does not exist yet is told to deploy without protection first @heavy', async () => {
  fake.stacks = { 'edge-flag-relay-test-data': { region: 'eu-west-1', status: 'CREATE_COMPLETE', isProtected: true } };
  expect((await findings('stack', { protected: true })).filter((one) => one.startsWith('bad'))).toEqual([
    expect.stringMatching(
      /^bad \| protected is true, but edge-flag-relay-test-relay, edge-flag-relay-test-region-us-east-1 do not exist yet: .* \| set protected: false and deploy;/,
    ),
  ]);
  expect((await findings('stack')).filter((one) => one.startsWith('bad'))).toEqual([]);
});

test('names that something else has are found, each with the command that frees it', async () => {
  fake.functions = ['us-east-1 edge-flag-relay-test-viewer-request', 'eu-west-1 edge-flag-relay-test-origin-request'];
  fake.clusters = ['eu-west-1 edge-flag-relay-test'];
  fake.logGroups = { 'eu-west-1 /edge-flag-relay/test/relay': 14, 'eu-west-1 /edge-flag-relay/test/relay-other': 14 };
  fake.topics = { [`arn:aws:sns:us-east-1:${account}:edge-flag-relay-test-alarms`]: { subscriptions: [] } };
  const found = await findings('name');
  expect(found.map((one) => one.split(' | ').at(-1))).toEqual([
    'aws ecs delete-cluster --region eu-west-1 --cluster edge-flag-relay-test',
    'aws logs delete-log-group --region eu-west-1 --log-group-name /edge-flag-relay/test/relay',
    'aws lambda delete-function --region us-east-1 --function-name edge-flag-relay-test-viewer-request',
    `aws sns delete-topic --region us-east-1 --topic-arn arn:aws:sns:us-east-1:${account}:edge-flag-relay-test-alarms`,
  ]);
});

describe('a name that a stack has which is not to be deployed', () => {
  const advised = async (stack: string) => {
    const resources = [
      ['Cluster', 'AWS::ECS::Cluster', 'edge-flag-relay-test'],
      ['Log', 'AWS::Logs::LogGroup', '/edge-flag-relay/test/relay'],
    ] as const;
    fake.stacks = { [stack]: { region: 'eu-west-1', resources } };
    fake.clusters = ['eu-west-1 edge-flag-relay-test'];
    fake.logGroups = { 'eu-west-1 /edge-flag-relay/test/relay': 14 };
    return findings('name');
  };

  test('is no reason to delete the relay of that region: the stack is named', async () => {
    const owner = 'edge-flag-relay-test-relay-eu-west-1';
    const rest = `and the stack ${owner} owns it: the deployment cannot create it | take away that stack first, by "Taking parts away" or "Moving home" in docs/deploying.md`;
    expect(await advised(owner)).toEqual([
      `bad | the cluster edge-flag-relay-test exists in eu-west-1, ${rest}`,
      `bad | the log group /edge-flag-relay/test/relay exists in eu-west-1, ${rest}`,
    ]);
  });

  test('may be that of another application', async () => {
    const [first] = await advised('shop');
    expect(first).toMatch(/and the stack shop owns it: .* \| give the stage another name, or delete that stack/);
  });

  test('is no reason to delete anything while nobody can say whose it is', async () => {
    fake.denied = ['DescribeStackResources'];
    const [first] = await advised('shop');
    expect(first).toMatch(/^bad \| .* \| find out what owns it before you delete it: AWS denied access/);
  });

  test('may be the table’s, which can be kept', async () => {
    const resources = [['FlagTable', 'AWS::DynamoDB::GlobalTable', table.tableName]] as const;
    fake.stacks = { shop: { region: 'eu-west-1', resources } };
    expect(await findings('table', { tableName: table.tableName })).toContainEqual(
      `bad | the table ${table.tableName} exists in eu-west-1, and another stack owns it, or may own it (shop): the deployment cannot create it | to keep it, set table: 'existing' in the stage file`,
    );
  });
});

describe('stacks that left the stage file', () => {
  test('are told, wherever the stage or its table is; those of other stages are not', async () => {
    deploy({});
    const region = 'us-east-1';
    for (const name of ['relay-us-east-1', 'edge', 'more-relay', 'network', 'relay-canary-data'])
      fake.stacks[`edge-flag-relay-test-${name}`] = { region };
    fake.stacks['edge-flag-relay-test-observability'] = { region, status: 'DELETE_COMPLETE' };
    fake.stacks['edge-flag-relay-test-region-eu-west-1'] = { region: 'eu-west-1' };
    const advice = 'put its part back into the stage file, or follow "Taking parts away" in docs/deploying.md';
    const words = (name: string, where: string) =>
      `note | the stack edge-flag-relay-test-${name} in ${where} is not in the stage file: the deployment leaves it running | ${advice}`;
    expect(await findings('stack', { replicaRegions: [] })).toEqual([
      words('edge', region),
      words('region-eu-west-1', 'eu-west-1'),
      words('relay-us-east-1', region),
    ]);
  });

  // CloudFormation API Reference, ListStacks: the values of StackStatusFilter.
  test('are told in every state but DELETE_COMPLETE', async () => {
    const ends = ['IN_PROGRESS', 'FAILED', 'COMPLETE'];
    const kinds = ['CREATE', 'ROLLBACK', 'UPDATE', 'UPDATE_ROLLBACK', 'DELETE', 'IMPORT_ROLLBACK'];
    const states = [
      ...kinds.flatMap((kind) => ends.map((end) => `${kind}_${end}`)),
      ...['UPDATE_COMPLETE_CLEANUP_IN_PROGRESS', 'UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS'],
      ...['REVIEW_IN_PROGRESS', 'IMPORT_IN_PROGRESS', 'IMPORT_COMPLETE'],
    ];
    fake.stacks = Object.fromEntries(states.map((status) => [status, { region: 'us-east-1', status }]));
    const listed = await stacksIn(signedAws(), 'us-east-1');
    expect(listed.map(({ status }) => status).sort()).toEqual(states.filter((one) => one !== 'DELETE_COMPLETE').sort());
  });

  test('are no longer told to be taken away while they are deleted', async () => {
    fake.stacks = { 'edge-flag-relay-test-edge': { region: 'us-east-1', status: 'DELETE_IN_PROGRESS' } };
    expect(await findings('stack')).toEqual([
      'note | the stack edge-flag-relay-test-edge in us-east-1 is not in the stage file: it is being deleted',
    ]);
  });

  test('are found where only the deployed table has a replica', async () => {
    fake.stacks = { 'edge-flag-relay-test-relay-ap-south-1': { region: 'ap-south-1' } };
    const answer = { Table: { Replicas: [{ RegionName: 'ap-south-1' }] } };
    const dynamoDB = () => ({ send: async () => answer }) as unknown as DynamoDBClient;
    const aws = signedAws();
    const { left, checks } = await findLeftStacks(stageOf('test', { test: stage }), { aws, dynamoDB }, wanted);
    expect(checks).toEqual([]);
    expect(left.map(({ stackName, region }) => `${region} ${stackName}`)).toEqual([
      'ap-south-1 edge-flag-relay-test-relay-ap-south-1',
    ]);
  });

  test('are found where edge functions may have been watched (edge.logRegions), and not missed where the account is barred', async () => {
    const stackName = 'edge-flag-relay-test-region-sa-east-1';
    fake.stacks = { [stackName]: { region: 'sa-east-1' } };
    fake.broken = ['eu-central-1 ListStacks'];
    expect(await findings('stack')).toEqual([
      expect.stringContaining(`note | the stack ${stackName} in sa-east-1 is not in the stage file`),
    ]);
  });

  test('are unknown where stacks cannot be listed', async () => {
    fake.broken = ['us-east-1 ListStacks'];
    expect(await findings('stack')).toEqual([
      expect.stringMatching(/^unknown \| cannot tell whether us-east-1 has stacks that left the stage \| .*broke/),
    ]);
  });
});

test('names that the stage’s own stacks have are not asked about, whatever page of the listing they are on', async () => {
  deploy({});
  const own = [
    ['A', 'AWS::EC2::VPC', 'vpc-1'],
    ['B', 'AWS::EC2::Subnet', 'subnet-1'],
    ['Router', 'AWS::Lambda::Function', 'edge-flag-relay-test-viewer-request'],
    ['C', 'AWS::EC2::Subnet', 'subnet-2'],
    ['Alarms', 'AWS::SNS::Topic', `arn:aws:sns:us-east-1:${account}:edge-flag-relay-test-alarms`],
  ] as const;
  fake.stacks['edge-flag-relay-test-region-us-east-1'] = { region: 'us-east-1', resources: own };
  fake.functions = ['us-east-1 edge-flag-relay-test-viewer-request'];
  expect(await findings('name')).toEqual([]);
  expect(fake.asked.filter((one) => /GetFunction|GetTopic/.test(one))).toEqual([]);
});

test('a table where a replica is to be is found', async () => {
  const home = createServer((_, response) => {
    const type = 'com.amazonaws.dynamodb.v20120810#ResourceNotFoundException';
    response.writeHead(400, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify({ __type: type }));
  });
  await new Promise<void>((resolve) => home.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(home.address() as AddressInfo).port}`;
  const clients = new Map([
    ['eu-west-1', new DynamoDBClient({ region: 'eu-west-1', endpoint })],
    ['us-east-1', new DynamoDBClient({ region: 'us-east-1', endpoint: table.endpoint })],
  ]);
  const { tableName } = table;
  const looked = {
    stage: stageOf('test', { test: { ...stage, tableName } }),
    owned: new Set(),
    unseen: new Set(),
  } as unknown as LookedAt;
  const checks = await tableChecks((region) => clients.get(region)!, looked);
  expect(checks.map(({ state, what }) => `${state} ${what}`)).toEqual([
    `bad the table ${tableName} exists in us-east-1, but not at home: no replica can be created there`,
  ]);
  for (const client of clients.values()) client.destroy();
  home.closeAllConnections();
  home.close();
});

describe('an update', () => {
  const [, relay] = wanted as [StackTemplate, StackTemplate];
  const subnet = (CidrBlock: string): StackTemplate => ({
    ...relay,
    template: { Resources: { Vpc: { Type: 'AWS::EC2::VPC', Properties: { CidrBlock } } } },
  });
  const update = (before: StackTemplate, after: StackTemplate) => {
    const resources = [['Vpc', 'AWS::EC2::VPC', 'vpc-1']] as const;
    fake.stacks = { [before.stackName]: { region: before.region, resources, template: before.template } };
    return findings('update', {}, [after]);
  };

  test('that replaces nothing is fine', async () => {
    expect(await update(subnet('10.0.0.0/16'), subnet('10.0.0.0/16'))).toEqual([]);
  });

  test('that replaces what has an address is a problem', async () => {
    expect((await update(subnet('10.0.0.0/16'), subnet('10.1.0.0/16'))).join()).toMatch(
      /^bad \| .*would be replaced|^bad \| .*cidr/,
    );
  });

  test('cannot move a stage to another home region', async () => {
    fake.stacks = { [relay.stackName]: { region: 'us-east-1' } };
    expect(await findings('update', {}, [relay])).toEqual([
      expect.stringMatching(/^bad \| homeRegion cannot change from us-east-1 to eu-west-1/),
    ]);
  });

  test('cannot leave the stack of the flag table behind', async () => {
    const template = { Resources: { Table: { Type: 'AWS::DynamoDB::GlobalTable' } } };
    fake.stacks = { 'edge-flag-relay-test-data': { region: 'eu-west-1', template } };
    expect(await findings('update', { table: 'existing' }, [relay])).toEqual([
      expect.stringMatching(/^bad \| table cannot become 'existing': .* stack edge-flag-relay-test-data/),
    ]);
  });

  test('of a stack whose template cannot be read is not checked', async () => {
    fake.denied = ['GetTemplate'];
    expect((await update(subnet('10.0.0.0/16'), subnet('10.1.0.0/16'))).join()).toMatch(
      /^unknown \| cannot compare the template of the stack edge-flag-relay-test-relay \| AWS denied access/,
    );
  });
});

describe('a certificate', () => {
  const of = (Certificate: object, changes: object = {}) => {
    fake.certificates = { [arn]: Certificate, [siteArn]: Certificate };
    return findings('certificate', {
      relay: { certificates: { 'eu-west-1': arn }, hostName: 'relay.example.com' },
      ...changes,
    });
  };
  const issued = { Status: 'ISSUED', SubjectAlternativeNames: ['*.example.com'], NotAfter: Date.now() / 1000 + 3e7 };

  test('that is issued for the name is fine', async () => {
    expect(await of(issued)).toEqual([]);
    expect(fake.asked).toContain('eu-west-1 DescribeCertificate');
  });

  test('that waits for its validation is a problem, with the record to make', async () => {
    const ResourceRecord = { Name: '_a.example.com.', Type: 'CNAME', Value: '_b.acm-validations.aws.' };
    const DomainValidationOptions = [{ ValidationStatus: 'PENDING_VALIDATION', ResourceRecord }];
    expect(await of({ ...issued, Status: 'PENDING_VALIDATION', DomainValidationOptions })).toEqual([
      `bad | the certificate ${arn} is PENDING_VALIDATION | create in DNS: _a.example.com. CNAME _b.acm-validations.aws.`,
    ]);
  });

  test('for another name is a problem, for the relay and for the site', async () => {
    const other = { ...issued, SubjectAlternativeNames: ['*.shop.example.com'] };
    const site = { ...edge, domainNames: ['www.example.com', 'a.shop.example.com'], certificateArn: siteArn };
    expect((await of(other, { edge: site })).map((one) => one.split(' | ')[1])).toEqual([
      `the certificate ${arn} is for *.shop.example.com, not for relay.example.com`,
      `the certificate ${siteArn} is for *.shop.example.com, not for www.example.com`,
    ]);
    expect(fake.asked).toContain('us-east-1 DescribeCertificate');
  });

  test('that was imported and expires soon is a note; one that does not exist is a problem @heavy', async () => {
    const [soon] = await of({ ...issued, Type: 'IMPORTED', NotAfter: Date.now() / 1000 + 86_400 });
    expect(soon).toMatch(/^note | .* expires on .* | import its successor/);
    fake.certificates = {};
    const relay = { certificates: { 'eu-west-1': arn } };
    expect(await findings('certificate', { relay })).toEqual([
      `bad | the certificate ${arn} does not exist | correct its ARN in the stage file`,
    ]);
  });

  test.each([
    ['*.example.com', 'relay.example.com', true],
    ['*.example.com', 'a.relay.example.com', false],
    ['*.example.com', 'example.com', false],
    ['example.com', 'example.com', true],
    ['*.example.com', '*.example.com', true],
  ])('for %s covers %s: %s', (pattern, name, covered) => {
    expect(covers(pattern, name)).toBe(covered);
  });
});

describe('what the stage file names and does not make', () => {
  const key = `arn:aws:kms:eu-west-1:${account}:key/12345678-1234-1234-1234-123456789012`;
  const secret = `arn:aws:secretsmanager:eu-west-1:${account}:secret:otlp-AbCdEf`;
  const topic = `arn:aws:sns:eu-west-1:${account}:chat`;
  const repository = `${account}.dkr.ecr.eu-west-1.amazonaws.com/relay`;
  const changes = {
    relay: {
      ...{
        image: `${repository}:1.2`,
        secrets: { REDIS_PASSWORD: '/mine/redis' },
        encryptionKeys: { 'eu-west-1': key },
      },
      agent: { otel: { endpoint: 'https://otlp.example.com', headers: { 'api-key': `${secret}:key` } } },
    },
    alarms: { topics: [topic] },
  };
  const kinds = ['secret', 'encryption-key', 'topic', 'image'];
  const found = async (more: object = changes) =>
    (await preflight(more)).checks
      .filter(({ name }) => kinds.includes(name))
      .map(({ state, what }) => `${state} ${what}`);

  test('is a problem where it does not exist', async () => {
    expect(await found()).toEqual([
      'bad relay.secrets.REDIS_PASSWORD: the parameter /mine/redis does not exist in eu-west-1',
      `bad relay.agent.otel.headers.api-key: the secret ${secret} does not exist in eu-west-1`,
      `bad relay.encryptionKeys.eu-west-1: the key ${key} does not exist in eu-west-1`,
      `bad alarms: the topic ${topic} does not exist in eu-west-1`,
      `bad relay.image: the image ${repository}:1.2 does not exist in eu-west-1`,
    ]);
  });

  const provide = () => {
    ssm.put('/mine/redis', 'x', { type: 'SecureString' });
    fake.secrets = { [secret]: {} };
    fake.keys = { [key]: { KeyState: 'Enabled', KeySpec: 'SYMMETRIC_DEFAULT' } };
    fake.topics = { [topic]: { subscriptions: [] } };
    fake.images = ['relay 1.2'];
  };

  test('is fine where it exists, and no value is read', async () => {
    provide();
    expect(await found()).toEqual([]);
    expect(
      ssm.calls.filter(({ operation, names }) => operation !== 'DescribeParameters' && names.includes('/mine/redis')),
    ).toEqual([]);
  });

  test('is a problem where it cannot be used, and unknown where it cannot be looked at', async () => {
    provide();
    fake.secrets = { [secret]: { DeletedDate: 1 } };
    fake.keys = { [key]: { KeyState: 'PendingDeletion' } };
    fake.images = ['relay 1.1'];
    fake.denied = ['GetTopicAttributes'];
    ssm.deny('DescribeParameters');
    expect(await found()).toEqual([
      'unknown cannot look at relay.secrets.REDIS_PASSWORD: the parameter /mine/redis in eu-west-1',
      `bad relay.agent.otel.headers.api-key: the secret ${secret} is to be deleted`,
      `bad relay.encryptionKeys.eu-west-1: the key ${key} is PendingDeletion`,
      `unknown cannot look at alarms: the topic ${topic} in eu-west-1`,
      `bad relay.image: the image ${repository}:1.2 does not exist in eu-west-1`,
    ]);
  });

  describe('a file system for events', () => {
    const [fileSystemId, accessPointId] = ['fs-0123456789abcdef0', 'fsap-0123456789abcdef0'];
    const existing = { 'eu-west-1': { fileSystemId, accessPointId, securityGroupId: 'sg-0123456789abcdef0' } };
    const problems = async (more: object = {}) =>
      (await preflight({ relay: { eventsSpool: { existing } }, ...more })).checks
        .filter(({ name }) => name === 'file-system')
        .map(({ state, what }) => `${state} ${what}`);
    const at = `bad relay.eventsSpool.existing.eu-west-1: the access point ${accessPointId}`;
    const zones = ['eu-west-1a', 'eu-west-1b', 'eu-west-1c'];
    const theirs = { fileSystem: fileSystemId, vpc: 'vpc-0123456789abcdef0', zones };
    const vpc = {
      ...{ vpcId: 'vpc-0123456789abcdef9', cidr: '10.20.0.0/16', zones: zones.slice(0, 2) },
      privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
    };

    test.each<[string, object, object, string[]]>([
      ['it is there', theirs, {}, []],
      ['it is another one’s', { ...theirs, fileSystem: 'fs-1' }, {}, [`${at} is one of fs-1, not of ${fileSystemId}`]],
      [
        'a zone is left out',
        { ...theirs, zones: ['eu-west-1a'] },
        {},
        [`${at} has no mount target in eu-west-1b, eu-west-1c, where tasks run, only in eu-west-1a`],
      ],
      [
        'it is in another VPC',
        theirs,
        { networks: { 'eu-west-1': { vpc } } },
        [`${at} is in the VPC ${theirs.vpc}, and tasks in ${vpc.vpcId}: a file system is in one VPC`],
      ],
    ])('%s', async (_, one, more, expected) => {
      fake.accessPoints = { [accessPointId]: one as typeof theirs };
      expect(await problems(more)).toEqual(expected);
    });

    test('does not exist, or cannot be looked at', async () => {
      expect(await problems()).toEqual([`${at} does not exist in eu-west-1`]);
      fake.denied = ['DescribeAccessPoints'];
      expect(await problems()).toEqual([expect.stringMatching(/^unknown cannot look at relay\.eventsSpool/)]);
    });
  });

  test('is a problem if tasks may not use the key of a parameter', async () => {
    const client = new SSMClient({ region: 'eu-west-1', endpoint: ssm.endpoint });
    const parameter = { Name: '/mine/redis', Value: 'x', Type: 'SecureString', KeyId: key } as const;
    await client.send(new PutParameterCommand(parameter));
    client.destroy();
    expect(await found({ relay: { secrets: { REDIS_PASSWORD: '/mine/redis' } } })).toEqual([
      `bad relay.secrets.REDIS_PASSWORD: the parameter /mine/redis is encrypted in eu-west-1 with ${key}, which tasks may not use: name that key in relay.encryptionKeys`,
    ]);
  });

  test('is a problem if a parameter’s key is not the one that tasks may use, whatever its name', async () => {
    const alias = `arn:aws:kms:eu-west-1:${account}:alias/mine`;
    const other = key.replace('key/1', 'key/2');
    const client = new SSMClient({ region: 'eu-west-1', endpoint: ssm.endpoint });
    await client.send(new PutParameterCommand({ Name: '/mine/redis', Value: 'x', Type: 'SecureString', KeyId: alias }));
    client.destroy();
    fake.keys = { [key]: {}, [other]: {}, [alias]: { Arn: other } };
    const relay = { secrets: { REDIS_PASSWORD: '/mine/redis' }, encryptionKeys: { 'eu-west-1': key } };
    expect(await found({ relay })).toEqual([
      `bad relay.secrets.REDIS_PASSWORD: the parameter /mine/redis is encrypted in eu-west-1 with ${alias}, and relay.encryptionKeys names ${key}: tasks may not use the former`,
    ]);
    fake.keys[alias] = { Arn: key };
    expect(await found({ relay })).toEqual([]);
  });

  test('is a problem if tasks may not use the key of an environment’s SDK key, though these credentials may', async () => {
    const client = new SSMClient({ region: 'eu-west-1', endpoint: ssm.endpoint });
    const Name = '/edge-flag-relay/test/environments/production/sdk-key';
    const Value = 'sdk-11111111-aaaa-4aaa-8aaa-00000000beef';
    await client.send(new PutParameterCommand({ Name, Value, Type: 'SecureString', KeyId: key, Overwrite: true }));
    client.destroy();
    expect(await findings('key')).toEqual([
      `bad | production/sdk-key is encrypted in eu-west-1 with ${key}, which tasks may not use: name that key in relay.encryptionKeys | put it again with npm run keys, which takes the key of the stage file`,
    ]);
    expect(await findings('key', { relay: { encryptionKeys: { 'eu-west-1': key } } })).toEqual([]);
  });

  describe('a secret with a field', () => {
    const relay = { secrets: { REDIS_PASSWORD: `${secret}:password` } };
    const asked = async (value: string, fields: boolean) => {
      fake.secrets = { [secret]: { value } };
      return (await preflight({ relay }, wanted, { fields })).checks
        .filter(({ name }) => name === 'secret')
        .map(({ what }) => what);
    };

    test('is not read unless that is asked for', async () => {
      expect(await asked('{}', false)).toEqual([]);
      expect(fake.asked.filter((one) => /GetSecretValue/.test(one))).toEqual([]);
    });

    test.each([
      [
        '{"user":"a","token":"s3cret"}',
        [`relay.secrets.REDIS_PASSWORD: the secret ${secret} has no field password, only user, token`],
      ],
      ['{}', [`relay.secrets.REDIS_PASSWORD: the secret ${secret} has no field password, only none`]],
      [
        's3cret',
        [`relay.secrets.REDIS_PASSWORD: the secret ${secret} is not a JSON object, so it has no field password`],
      ],
      ['{"password":"s3cret"}', []],
    ])('that holds %s', async (value, expected) => {
      const words = await asked(value, true);
      expect(words).toEqual(expected);
      expect(words.join()).not.toMatch('s3cret');
    });
  });

  describe('a KMS key of the stage', () => {
    const document = readFileSync(join(import.meta.dirname, '../../docs/deploying.md'), 'utf8');
    const [, example = ''] = /## KMS keys of your own[\s\S]*?```json\n([\s\S]*?)```/.exec(document) ?? [];
    const policy = JSON.parse(example) as { Statement: object[] };
    const keys = { 'eu-west-1': key, 'us-east-1': key.replace('eu-west-1', 'us-east-1') };
    const without = (index: number | undefined) => withPolicy(policy.Statement.filter((_, at) => at !== index));
    const withPolicy = async (Statement: readonly (object | undefined)[]) => {
      fake.keys = Object.fromEntries(Object.values(keys).map((one) => [one, {}]));
      fake.keyPolicies = { [key]: { ...policy, Statement } };
      return found({ encryptionKeys: keys });
    };
    const at = `bad encryptionKeys.eu-west-1: the key ${key}`;

    test('with the documented policy is fine', async () => {
      expect(await without(undefined)).toEqual([]);
    });

    test('that only the account’s services may use is a problem, since EventBridge does not tell for whom it asks', async () => {
      const [root, logs, alarms] = policy.Statement;
      const Condition = { StringEquals: { 'aws:SourceAccount': account } };
      const words = await withPolicy([root, logs, { ...alarms, Condition }]);
      expect(words).toEqual([`${at} cannot be used by events.amazonaws.com: alarms would reach nobody`]);
    });

    test('that may be denied by a condition that only the service can tell could not be checked', async () => {
      const Condition = { StringNotEquals: { 'aws:PrincipalOrgID': 'o-1' } };
      const denied = { Effect: 'Deny', Principal: '*', Action: 'kms:*', Condition };
      const unknown = `unknown cannot look at encryptionKeys.eu-west-1: the key ${key} in eu-west-1`;
      expect(await withPolicy([...policy.Statement, denied])).toEqual([unknown]);
      const [root] = policy.Statement;
      fake.keyPolicies = { [key]: { ...policy, Statement: [root, denied] } };
      const relay = { encryptionKeys: { 'eu-west-1': key } };
      expect(await found({ relay })).toEqual([unknown.replace('at enc', 'at relay.enc')]);
    });

    test.each([
      [
        0,
        `${at} leaves nothing to the IAM policies of account ${account}: its policy must allow kms:* to arn:aws:iam::${account}:root`,
      ],
      [1, `${at} cannot be used by logs.eu-west-1.amazonaws.com: no log group could be made`],
      [2, `${at} cannot be used by cloudwatch.amazonaws.com and events.amazonaws.com: alarms would reach nobody`],
    ])('without statement %i of it is a problem', async (index, words) => {
      expect(await without(index)).toEqual([words]);
    });
  });

  describe('a topic of the stage file', () => {
    const of = async (attributes: Record<string, string>, arn = topic) => {
      fake.topics = { [arn]: { subscriptions: [], attributes } };
      return found({ alarms: { topics: [arn] } });
    };
    const policy = (Principal: unknown, Condition?: object) =>
      JSON.stringify({ Statement: [{ Effect: 'Allow', Principal, Action: ['SNS:Publish'], Condition }] });
    // SNS Developer Guide: the policy of a topic that was made without one.
    const own = policy({ AWS: '*' }, { StringEquals: { 'AWS:SourceOwner': account } });
    const both = policy({ Service: ['cloudwatch.amazonaws.com', 'events.amazonaws.com'] });

    test('that both services may publish to is fine', async () => {
      expect(await of({ Policy: both })).toEqual([]);
    });

    test.each([
      ['its own policy of a new topic', own, 'events.amazonaws.com'],
      [
        'a condition on the account, which EventBridge does not tell',
        policy('*', { StringEquals: { 'aws:SourceAccount': account } }),
        'events.amazonaws.com',
      ],
      [
        'another account’s',
        policy('*', { StringEquals: { 'aws:SourceAccount': '999999999999' } }),
        'cloudwatch.amazonaws.com and events.amazonaws.com',
      ],
      [
        'one that denies',
        JSON.stringify({
          Statement: [
            { Effect: 'Allow', Principal: '*', Action: '*' },
            { Effect: 'Deny', Principal: '*', Action: 'sns:*' },
          ],
        }),
        'cloudwatch.amazonaws.com and events.amazonaws.com',
      ],
    ])('with %s is a problem', async (_, Policy, who) => {
      expect(await of({ Policy })).toEqual([
        `bad alarms: the topic ${topic} does not let ${who} publish (sns:Publish in its policy)`,
      ]);
    });

    // IAM User Guide: "AWS global condition context keys" and "IAM JSON policy elements: Condition operators".
    describe('that denies', () => {
      const both = 'cloudwatch.amazonaws.com and events.amazonaws.com';
      const denying = async (Condition: object, who: object = { Principal: '*' }) =>
        of({
          Policy: JSON.stringify({
            Statement: [
              { Effect: 'Allow', Principal: '*', Action: '*' },
              { Effect: 'Deny', Action: 'sns:*', Condition, ...who },
            ],
          }),
        });
      const words = (who: string) => [
        `bad alarms: the topic ${topic} does not let ${who} publish (sns:Publish in its policy)`,
      ];

      test.each<[string, object, string]>([
        ['its own account', { StringEquals: { 'aws:SourceAccount': account } }, 'cloudwatch.amazonaws.com'],
        [
          'who does not tell its account',
          { StringNotEquals: { 'aws:SourceAccount': [account] } },
          'events.amazonaws.com',
        ],
        ['all accounts but others', { StringNotLike: { 'AWS:SourceAccount': '9*' } }, both],
        ['who tells none', { Null: { 'aws:SourceAccount': 'true' } }, 'events.amazonaws.com'],
        ['services', { Bool: { 'aws:PrincipalIsAWSService': true } }, both],
        ['who uses TLS', { BoolIfExists: { 'aws:SecureTransport': ['true'] } }, both],
      ])('%s is a problem', async (_, Condition, who) => {
        expect(await denying(Condition)).toEqual(words(who));
      });

      test('everybody but another is a problem', async () => {
        const NotPrincipal = { AWS: `arn:aws:iam::${account}:root` };
        expect(await denying({}, { NotPrincipal })).toEqual(words(both));
        const others = { Principal: '*', Action: undefined, NotAction: 'sns:Subscribe' };
        expect(await denying({}, others)).toEqual(words(both));
        expect(await denying({}, { ...others, NotAction: ['sns:Pub*'] })).toEqual([]);
      });

      test.each<[string, object]>([
        ['who does not use TLS', { Bool: { 'aws:SecureTransport': 'false' } }],
        ['other accounts', { StringEquals: { 'aws:SourceAccount': '999999999999' } }],
        [
          'who is neither of the account nor a service',
          { StringNotEquals: { 'aws:PrincipalAccount': account }, Bool: { 'aws:PrincipalIsAWSService': 'false' } },
        ],
      ])('%s is fine', async (_, Condition) => {
        expect(await denying(Condition)).toEqual([]);
      });

      test.each<[string, object]>([
        ['aws:PrincipalOrgID', { StringNotEquals: { 'aws:PrincipalOrgID': 'o-1' } }],
        ['aws:SourceAccount', { 'ForAnyValue:StringEquals': { 'aws:SourceAccount': account } }],
      ])('by a condition on %s that only the service can tell could not be checked', async (key, Condition) => {
        expect(await denying(Condition)).toEqual([`unknown cannot look at alarms: the topic ${topic} in eu-west-1`]);
        const { checks } = await preflight({ alarms: { topics: [topic] } });
        expect(checks.find(({ name }) => name === 'topic')?.advice).toBe(
          `its policy denies sns:Publish to cloudwatch.amazonaws.com by a condition on ${key}: see whether it is met`,
        );
      });
    });

    test('of another account must let this one publish', async () => {
      const theirs = topic.replace(account, '999999999999');
      const Policy = policy({ Service: 'cloudwatch.amazonaws.com', AWS: `arn:aws:iam::${account}:root` });
      expect(await of({ Policy }, theirs)).toEqual([]);
      expect(await of({ Policy: both }, theirs)).toEqual([
        `bad alarms: the topic ${theirs} does not let ${account} publish (sns:Publish in its policy)`,
      ]);
    });

    test('must not be encrypted with a key that CloudWatch may not use', async () => {
      expect(await of({ Policy: both, KmsMasterKeyId: 'alias/aws/sns' })).toEqual([
        `bad alarms: the topic ${topic} is encrypted with alias/aws/sns, which CloudWatch may not use`,
      ]);
      fake.keys = { [key]: {} };
      fake.keyPolicies = { [key]: { Statement: [] } };
      expect(await of({ Policy: both, KmsMasterKeyId: key })).toEqual([
        `bad alarms: the topic ${topic} is encrypted with ${key}, which cannot be used by cloudwatch.amazonaws.com and events.amazonaws.com: alarms would reach nobody`,
      ]);
      fake.keyPolicies = {};
      expect(await of({ Policy: both, KmsMasterKeyId: key })).toEqual([]);
    });
  });

  describe('an image', () => {
    const x86 = { os: 'linux', architecture: 'amd64' };
    const of = (manifest: object, relay: object = {}) => {
      fake.images = ['relay 1.2'];
      fake.manifests = { 'relay 1.2': JSON.stringify(manifest) };
      return found({ relay: { image: `${repository}:1.2`, ...relay } });
    };
    const words = `bad relay.image: the image ${repository}:1.2 is for linux/amd64, and tasks run linux/arm64: build it with --platform linux/arm64, or set relay.architecture: 'x86_64'`;

    test('in ECR must be for the tasks’ processors, whatever attestations its index has', async () => {
      const index = { manifests: [{ platform: x86 }, { platform: { os: 'unknown', architecture: 'unknown' } }] };
      expect(await of(index)).toEqual([words]);
      expect(await of(index, { architecture: 'x86_64' })).toEqual([]);
    });

    test('in ECR without an index names its processor in its configuration', async () => {
      const layers = createServer((_, response) => response.end(JSON.stringify(x86)));
      await new Promise<void>((resolve) => layers.listen(0, '127.0.0.1', resolve));
      fake.layers = { 'sha256:c0': `http://127.0.0.1:${(layers.address() as AddressInfo).port}/layer` };
      expect(await of({ config: { digest: 'sha256:c0' } })).toEqual([words]);
      layers.closeAllConnections();
      layers.close();
    });

    // AWS General Reference: "Amazon ECR endpoints and quotas". China's second domain: cloud-provider-aws, ecr-credential-provider.
    describe.each([
      ['dkr.ecr-fips.us-east-2.amazonaws.com', 'us-east-2', 'amazonaws.com'],
      ['dkr-ecr.us-east-2.on.aws', 'us-east-2', 'amazonaws.com'],
      ['dkr-ecr-fips.us-east-2.on.aws', 'us-east-2', 'amazonaws.com'],
      ['dkr-ecr.cn-north-1.on.amazonwebservices.com.cn', 'cn-north-1', 'amazonaws.com.cn'],
    ])('in ECR by %s', (name, region, domain) => {
      const uri = `${account}.${name}/relay:1.2`;

      test('is looked for in ECR', async () => {
        const agent = { datadog: { apiKey: '/mine/datadog', image: uri } };
        ssm.put('/mine/datadog', 'x', { type: 'SecureString' });
        expect(await found({ relay: { agent } })).toEqual([
          `bad relay.agent: the image ${uri} does not exist in ${region}`,
        ]);
        fake.images = ['relay 1.2'];
        expect(await found({ relay: { agent } })).toEqual([]);
        expect(fake.asked).toContain(`${region} BatchGetImage`);
      });

      test('is a problem as the relay’s: the deployment lets tasks pull it by its usual name', async () => {
        fake.images = ['relay 1.2'];
        const usual = `${account}.dkr.ecr.${region}.${domain}/relay:1.2`;
        expect(await found({ relay: { image: uri } })).toEqual([
          `bad relay.image: the image ${uri} has a name of ECR’s by which tasks may not pull it: name it ${usual}`,
        ]);
        expect(await found({ relay: { image: usual } })).toEqual([]);
      });
    });

    test('in ECR with a tag and a digest is the one with the digest', async () => {
      const digest = `sha256:${'0a'.repeat(32)}`;
      fake.images = ['relay 1.2', `relay ${digest}`];
      const image = `${repository}:1.2@${digest}`;
      expect(await found({ relay: { image } })).toEqual([]);
      fake.images = ['relay 1.2'];
      expect(await found({ relay: { image } })).toEqual([
        `bad relay.image: the image ${image} does not exist in eu-west-1`,
      ]);
    });

    describe('in another registry', () => {
      let registry: Server;
      let host: string;
      const asked: string[] = [];
      let manifest: object;
      let isPublic: boolean;

      beforeEach(async () => {
        asked.length = 0;
        isPublic = true;
        manifest = { manifests: [{ platform: { os: 'linux', architecture: 'arm64' } }] };
        registry = createServer(({ url = '', headers }, response) => {
          asked.push(`${url} ${headers.authorization ?? ''}`.trim());
          if (url.startsWith('/token')) return void response.writeHead(isPublic ? 200 : 401).end('{"token":"t"}');
          if (url.startsWith('/stored')) return void response.end(JSON.stringify(x86));
          if (headers.authorization !== 'Bearer t') {
            const challenge = `Bearer realm="http://${host}/token",service="reg",scope="repository:me/relay:pull"`;
            return void response.writeHead(401, { 'www-authenticate': challenge }).end();
          }
          if (url === '/v2/me/relay/blobs/sha256:c0')
            return void response.writeHead(307, { location: '/stored' }).end();
          const isThere = url === '/v2/me/relay/manifests/1.2';
          response.writeHead(isThere ? 200 : 404).end(JSON.stringify(manifest));
        });
        await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
        host = `127.0.0.1:${(registry.address() as AddressInfo).port}`;
      });
      afterEach(() => {
        registry.closeAllConnections();
        registry.close();
      });
      const at = async (name: string, options: Partial<PreflightOptions> = { offline: false }) =>
        (await preflight({ relay: { image: `${host}/${name}` } }, wanted, options)).checks
          .filter(({ name: kind }) => kind === 'image')
          .map(({ state, what }) => `${state} ${what.replaceAll(host, 'HOST')}`);

      test('is fetched as tasks do, with a token for everybody', async () => {
        expect(await at('me/relay:1.2')).toEqual([]);
        expect(asked).toEqual([
          '/v2/me/relay/manifests/1.2',
          '/token?service=reg&scope=repository%3Ame%2Frelay%3Apull',
          '/v2/me/relay/manifests/1.2 Bearer t',
        ]);
      });

      test('is not asked for with --offline', async () => {
        expect(await at('me/relay:1.3', { offline: true })).toEqual([]);
        expect(asked).toEqual([]);
      });

      test('must exist, and be public', async () => {
        expect(await at('me/relay:1.3')).toEqual([
          'bad relay.image: the image HOST/me/relay:1.3 does not exist in HOST',
        ]);
        isPublic = false;
        expect(await at('me/relay:1.2')).toEqual([
          'bad relay.image: the image HOST/me/relay:1.2 does not exist in HOST, or needs credentials, which tasks have for ECR alone: push it to ECR',
        ]);
      });

      test('names its processor in its configuration, whose store does not get the token', async () => {
        manifest = { config: { digest: 'sha256:c0' } };
        expect((await at('me/relay:1.2')).join()).toMatch(/^bad .* is for linux\/amd64, and tasks run linux\/arm64/);
        expect(asked.at(-1)).toBe('/stored');
      });

      test('that answers nonsense is unknown', async () => {
        manifest = [];
        expect((await at('me/relay:1.2')).join()).toMatch(/^unknown cannot look at relay.image/);
      });

      test.each<[string, (response: ServerResponse) => void, string]>([
        [
          'a page',
          (response) => response.end('<html>'),
          'HOST answered with something that is not a registry’s: is a proxy or a login page in between? --offline leaves this out',
        ],
        [
          'that it is asked too often',
          (response) => response.writeHead(429).end(),
          'HOST answered 429: try again later. --offline leaves this out',
        ],
        [
          'nothing',
          (response) => response.destroy(),
          'HOST could not be reached: socket hang up: is HOST reachable from here, or does it need HTTPS_PROXY? --offline leaves this out',
        ],
      ])('that answers %s is named, and not taken for AWS', async (_, answer, words) => {
        registry.removeAllListeners('request');
        registry.on('request', (_request, response) => answer(response));
        const relay = { image: `${host}/me/relay:1.2` };
        const { checks } = await preflight({ relay }, wanted, { offline: false });
        const advice = checks.filter(({ name }) => name === 'image').map((one) => one.advice?.replaceAll(host, 'HOST'));
        expect(advice).toEqual([words]);
      });
    });

    // Docker's reference grammar: distribution/reference.
    test.each([
      ['relay', 'registry-1.docker.io library/relay latest'],
      ['me/relay:1.2', 'registry-1.docker.io me/relay 1.2'],
      ['docker.io/me/relay', 'registry-1.docker.io me/relay latest'],
      ['ghcr.io/me/deep/relay:1.2', 'ghcr.io me/deep/relay 1.2'],
      ['localhost:5000/relay', 'localhost:5000 relay latest'],
      ['ghcr.io/me/relay:1.2@sha256:ab', 'ghcr.io me/relay sha256:ab'],
    ])('named %s is %s', (name, expected) => {
      expect(Object.values(parseImage(name)).join(' ')).toBe(expected);
    });
  });

  test('is looked for in each region with a relay', async () => {
    const relay = { agent: { datadog: { apiKey: '/mine/datadog' } } };
    expect(await found({ relay, relayRegions: ['us-east-1'] })).toEqual([
      'bad relay.agent.datadog.apiKey: the parameter /mine/datadog does not exist in eu-west-1',
      'bad relay.agent.datadog.apiKey: the parameter /mine/datadog does not exist in us-east-1',
    ]);
  });
});

describe('a hosted zone', () => {
  const relay = { hostName: 'relay.example.com', hostedZone: zone };
  const record = (Name: string, Type: string, more: object = {}) => ({
    ...{ Type: 'AWS::Route53::RecordSet', Properties: { HostedZoneId: zone.id, Name: `${Name}.`, Type, ...more } },
  });
  const latency = (Region: string) =>
    record('relay.example.com', 'A', { Region, SetIdentifier: `edge-flag-relay ${Region}` });
  const stackOf = (region: string, Resources: StackTemplate['template']['Resources']): StackTemplate => ({
    ...{ stackName: `edge-flag-relay-test-relay${region === 'eu-west-1' ? '' : `-${region}`}`, region },
    template: { Resources },
  });
  const home = stackOf('eu-west-1', { Record: latency('eu-west-1') });
  const of = (found: FakeAws['zones'][string] | undefined, stacks: readonly StackTemplate[] = [home]) => {
    fake.zones = found ? { [zone.id]: found } : {};
    return findings('hosted-zone', { relay }, stacks);
  };
  const holding = (...records: NonNullable<FakeAws['zones'][string]['records']>) =>
    of({ name: 'example.com', records });
  const theirs = (region: string, setIdentifier: string) => ({
    ...{ name: 'relay.example.com.', type: 'A', region, setIdentifier, target: 'lb.example.net.' },
  });

  test('that contains the free name is fine', async () => {
    expect(await holding({ name: 'relay2.example.com.', type: 'A' })).toEqual([]);
  });

  test.each<[string, FakeAws['zones'][string] | undefined, RegExp]>([
    ['does not exist', undefined, /^bad \| relay.hostedZone: the hosted zone \w+ does not exist in this account/],
    ['has another name', { name: 'example.org' }, /is that of example.org, not of example.com/],
    ['is private', { name: 'example.com', isPrivate: true }, /is private \| set private: true, and give certificates/],
    [
      'has a record of that name',
      { name: 'example.com', records: [{ name: 'relay.example.com.', type: 'CNAME' }] },
      /relay.example.com already has a record of type CNAME, which no stack of the stage owns: the deployment cannot create its own \| delete that record first/,
    ],
  ])('that %s is a problem', async (_, found, words) => {
    expect((await of(found)).join()).toMatch(words);
  });

  test('that several parts of a stage share is named by the part whose record is in the way', async () => {
    fake.zones = {
      [zone.id]: {
        name: 'example.com',
        records: [{ name: 'flags.example.com.', type: 'A', target: 'lb.example.net.' }],
      },
    };
    const publicAccess = { hostName: 'flags.example.com', hostedZone: zone };
    const both = stackOf('eu-west-1', { Record: latency('eu-west-1'), Public: record('flags.example.com', 'A') });
    expect((await findings('hosted-zone', { relay: { ...relay, publicAccess } }, [both])).join()).toMatch(
      /^bad \| relay\.publicAccess\.hostedZone: flags\.example\.com already has a record of type A/,
    );
  });

  describe('that parts of a stage describe in several ways', () => {
    const described = async (first: object) => {
      fake.zones = { [zone.id]: { name: 'example.com', records: [{ name: 'relay.example.com.', type: 'CNAME' }] } };
      const publicAccess = { hostName: 'flags.example.com', hostedZone: zone };
      const settings = { ...relay, hostedZone: { ...zone, ...first }, publicAccess };
      const found = await findings('hosted-zone', { relay: settings }, [home]);
      expect(fake.asked.filter((one) => / GetHostedZone$/.test(one))).toHaveLength(1);
      return found.map((one) => one.split(' | ')[1]);
    };
    const inTheWay = expect.stringMatching(/^relay\.hostedZone: relay\.example\.com already has a record/);

    test('that mean the same is looked at once', async () => {
      expect(await described({ private: false })).toEqual([inTheWay]);
    });

    test('is told where it is described wrongly, and its records once', async () => {
      expect(await described({ private: true })).toEqual([
        `relay.hostedZone: the hosted zone ${zone.id} is public`,
        inTheWay,
      ]);
    });
  });

  // Route 53: "Values that are common for latency records".
  test('may hold latency records of other regions beside ours, and records of other types', async () => {
    const text = { name: 'relay.example.com.', type: 'TXT' };
    expect(await holding(theirs('ap-south-1', 'theirs'), text)).toEqual([]);
  });

  test.each([
    ['of the same region', theirs('eu-west-1', 'theirs')],
    ['with the same identifier', theirs('ap-south-1', 'edge-flag-relay eu-west-1')],
    [
      'of another routing policy',
      { name: 'relay.example.com.', type: 'A', setIdentifier: 'x', target: 'lb.example.net.' },
    ],
    ['without a routing policy', { name: 'relay.example.com.', type: 'A', target: 'lb.example.net.' }],
  ])('may hold no record %s: what it leads to is told', async (_, there) => {
    expect(await holding(there)).toEqual([
      expect.stringMatching(/^bad \| .* already has a record of type A \(lb.example.net.\), which no stack/),
    ]);
  });

  test('is read to the end of a name, however many records that has', async () => {
    const many = ['ap-south-1', 'ap-south-2', 'us-west-1', 'us-west-2', 'eu-west-1'];
    expect(await holding(...many.map((region) => theirs(region, `x ${region}`)))).toHaveLength(1);
  });

  test('may hold wildcards, which Route 53 writes in its own way', async () => {
    const stack = stackOf('eu-west-1', { Record: record('*.example.com', 'A') });
    const there = { name: '*.example.com.', type: 'A' };
    expect((await of({ name: 'example.com', records: [there] }, [stack])).join()).toMatch(/\*.example.com already has/);
    expect(await of({ name: 'example.com', records: [{ ...there, name: 'a.example.com.' }] }, [stack])).toEqual([]);
  });

  describe('with a record of the stage', () => {
    const owned = (region: string) => {
      const resources = [['Record', 'AWS::Route53::RecordSet', 'relay.example.com']] as const;
      fake.stacks['edge-flag-relay-test-relay'] = { region, resources };
    };

    test('is fine @heavy', async () => {
      owned('eu-west-1');
      expect(await holding(theirs('eu-west-1', 'edge-flag-relay eu-west-1'))).toEqual([]);
    });

    test('may still hold one in the way of another region’s, or of another type', async () => {
      owned('eu-west-1');
      const other = stackOf('us-west-2', { Record: latency('us-west-2') });
      const records = [theirs('eu-west-1', 'edge-flag-relay eu-west-1'), theirs('us-west-2', 'theirs')];
      expect(await of({ name: 'example.com', records }, [home, other])).toHaveLength(1);
      const more = stackOf('eu-west-1', { Record: latency('eu-west-1'), Six: record('relay.example.com', 'AAAA') });
      const six = { name: 'relay.example.com.', type: 'AAAA' };
      expect((await of({ name: 'example.com', records: [six] }, [more])).join()).toMatch(
        /a record of type AAAA, which/,
      );
    });
  });

  test.each([
    ['shop', 'choose another name in the stage file, or take the record out of that stack first'],
    [
      'edge-flag-relay-test-relay-ap-south-1',
      'take away that stack first, by "Taking parts away" in docs/deploying.md',
    ],
  ])('whose record the stack %s made is told with its name', async (stack, advice) => {
    const resources = [['Any', 'AWS::Route53::RecordSet', 'relay.example.com']] as const;
    fake.stacks = { [stack]: { region: 'eu-west-1', resources } };
    expect(await holding(theirs('eu-west-1', 'theirs'))).toEqual([
      `bad | relay.hostedZone: relay.example.com already has a record of type A (lb.example.net.), and the stack ${stack} in eu-west-1 owns it: the deployment cannot create its own | ${advice}`,
    ]);
  });
});

describe('alarms that nobody hears of', () => {
  const topic = `arn:aws:sns:eu-west-1:${account}:edge-flag-relay-test-alarms`;
  beforeEach(() => {
    fake.stacks = {
      'edge-flag-relay-test-relay': { region: 'eu-west-1', resources: [['Alarms', 'AWS::SNS::Topic', topic]] },
    };
  });

  test('are a note', async () => {
    fake.topics = { [topic]: { subscriptions: [] } };
    expect(await findings('recipients', { alarms: undefined })).toEqual([
      'note | nobody is notified of alarms: set alarms.emails or alarms.topics | or subscribe to the topics of the stage in SNS',
    ]);
  });

  test('are none if somebody subscribed to the topic elsewhere', async () => {
    fake.topics = { [topic]: { subscriptions: [['https://chat.example.com', `${topic}:1`]] } };
    expect(await findings('recipients', { alarms: undefined })).toEqual([]);
  });
});

describe('quotas', () => {
  const big = { relay: { cpu: 4096, memoryMiB: 8192 } };

  test('below what the relay needs are a problem, below its maximum a note @heavy', async () => {
    expect((await findings('quota', big)).join()).toMatch(
      /^bad \| eu-west-1: Fargate may run 6 vCPU on demand, and the relay needs 24: a deployment runs 6 tasks, old and new/,
    );
    fake.quotas = { 'L-3032A538': 24 };
    expect((await findings('quota', big)).join()).toMatch(
      /^note \| .* a deployment of relay.maxTasks tasks would use 96 \| request at least 96/,
    );
  });

  test('of production are those of a deployment by quarters', async () => {
    fake.quotas = { 'L-3032A538': 60 };
    const relay = { tasks: 12, maxTasks: 12, certificates: { 'eu-west-1': arn } };
    expect((await findings('quota', { production: true, relay })).join()).toMatch(
      /^bad \| .* the relay needs 64: a deployment runs 16 tasks, old and new/,
    );
  });

  test('of addresses count those in use, and those that a deployment adds to a network @heavy', async () => {
    fake.addresses = 3;
    const of = (...ids: readonly string[]): StackTemplate => ({
      ...{ stackName: 'edge-flag-relay-test-relay', region: 'eu-west-1' },
      template: { Resources: Object.fromEntries(ids.map((id) => [id, { Type: 'AWS::EC2::EIP' }])) },
    });
    const perZone = of('ZoneA', 'ZoneB', 'ZoneC', 'ZoneD');
    const words = (needed: number, least: number) =>
      `bad | eu-west-1: 3 of 5 elastic IP addresses are in use, and new NAT gateways need ${needed} | request at least ${least}, or set networks['eu-west-1'].nat to 'one'`;
    expect(await findings('quota', {}, [perZone])).toEqual([words(4, 7)]);
    const resources = [['ZoneA', 'AWS::EC2::EIP', '192.0.2.1']] as const;
    fake.stacks = { 'edge-flag-relay-test-relay': { region: 'eu-west-1', resources } };
    expect(await findings('quota', {}, [perZone])).toEqual([words(3, 6)]);
    expect(await findings('quota', {}, [of('ZoneA')])).toEqual([]);
    fake.denied = ['ListStackResources'];
    expect((await findings('quota', {}, [perZone])).join()).toMatch(/^unknown \| .* the deployment adds \|/);
  });
});

describe('a network', () => {
  const vpcOf = (cidr: string): StackTemplate => ({
    ...{ stackName: 'edge-flag-relay-test-relay', region: 'eu-west-1' },
    template: { Resources: { Vpc: { Type: 'AWS::EC2::VPC', Properties: { CidrBlock: cidr } } } },
  });

  test('of zones that the account does not have is a problem', async () => {
    fake.zoneLetters = 'ac';
    expect(await findings('network')).toEqual([
      "bad | eu-west-1: the account has no zone eu-west-1b, only eu-west-1a, eu-west-1c | set networks['eu-west-1'].zones to some of those",
    ]);
  });

  test('that would be one VPC more than the account may have is a problem, unless the stage has it already', async () => {
    fake.vpcs = Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`vpc-${index}`, { cidr: '10.1.0.0/16' }]));
    expect(await findings('quota', {}, [vpcOf('10.0.0.0/16')])).toEqual([
      "bad | eu-west-1: 5 of 5 VPCs are in use, and the deployment makes another | request at least 6, or give an existing VPC in networks['eu-west-1'].vpc",
    ]);
    const resources = [['Vpc', 'AWS::EC2::VPC', 'vpc-1']] as const;
    const { template } = vpcOf('10.0.0.0/16');
    fake.stacks = { 'edge-flag-relay-test-relay': { region: 'eu-west-1', resources, template } };
    expect(await findings('quota', {}, [vpcOf('10.0.0.0/16')])).toEqual([]);
  });

  const given = {
    ...{ vpcId: 'vpc-0123456789abcdef0', cidr: '10.0.0.0/16', zones: ['eu-west-1a', 'eu-west-1b'] },
    privateSubnetIds: ['subnet-0000000000000000a', 'subnet-0000000000000000b'],
  };
  const [first, second] = given.privateSubnetIds as [string, string];
  const right = { cidr: given.cidr, subnets: { [first]: 'eu-west-1a', [second]: 'eu-west-1b' } };

  test.each<[string, FakeAws['vpcs'][string] | undefined, readonly RegExp[]]>([
    ['fits', right, []],
    ['does not exist', undefined, [/the VPC vpc-0123456789abcdef0 does not exist in eu-west-1 \| correct/]],
    ['has other addresses', { ...right, cidr: '10.9.0.0/16' }, [/has the addresses 10.9.0.0\/16, not 10.0.0.0\/16/]],
    ['lacks a subnet', { ...right, subnets: { [first]: 'eu-west-1a' } }, [/has no subnet subnet-0000000000000000b/]],
    [
      'has its subnets in other zones',
      { ...right, subnets: { [first]: 'eu-west-1b', [second]: 'eu-west-1a' } },
      [/subnet-0000000000000000a is in eu-west-1b, not in eu-west-1a/, /subnet-0000000000000000b is in eu-west-1a/],
    ],
  ])('of the stage file that %s', async (_, vpc, words) => {
    fake.vpcs = vpc ? { [given.vpcId]: vpc } : {};
    const found = await findings('network', { networks: { 'eu-west-1': { vpc: given } } });
    expect(found).toEqual(words.map((one) => expect.stringMatching(one)));
  });
});

describe('answers that lack what AWS always says', () => {
  test.each<[string, () => void, object, string]>([
    [
      'a certificate',
      () => Object.assign(fake, { certificates: { [arn]: {} } }),
      { relay: { certificates: { 'eu-west-1': arn } } },
      'certificate',
    ],
    ['a quota', () => Object.assign(fake, { quotas: { 'L-3032A538': null } }), {}, 'quota'],
  ])('of %s are unknown', async (_, prepare, changes, name) => {
    prepare();
    expect((await findings(name, changes)).join()).toMatch(/^unknown \| .*something that is not AWS’s/);
  });
});

test('what AWS denies is not checked, and does not stop the rest', async () => {
  fake.denied = ['DescribeStacks', 'GetServiceQuota'];
  fake.certificates = {};
  const { ok, checks } = await preflight({ relay: { certificates: { 'eu-west-1': arn } } });
  expect(ok).toBe(false);
  const open = checks.filter(({ state }) => state === 'unknown');
  expect(open.map(({ name, value }) => `${name} ${value}`)).toEqual([
    ...stackNames.map((name) => `stack edge-flag-relay-test-${name}`),
    'quota eu-west-1',
  ]);
  expect(open[0]?.advice).toMatch(/^AWS denied access; .*not authorized to perform DescribeStacks/);
  expect(checks.find(({ state }) => state === 'bad')?.value).toBe(arn);
});

test.each(['DescribeStacks', 'ListStackResources'])(
  'while %s fails for stacks that exist, nobody is told to delete what they may own',
  async (operation) => {
    deploy({});
    fake.denied = [operation];
    fake.clusters = ['eu-west-1 edge-flag-relay-test'];
    fake.logGroups = { 'eu-west-1 /edge-flag-relay/test/relay': 14 };
    fake.functions = ['us-east-1 edge-flag-relay-test-viewer-request'];
    fake.zones = { [zone.id]: { name: 'example.com', records: [{ name: 'relay.example.com.', type: 'A' }] } };
    const relay = { hostName: 'relay.example.com', hostedZone: zone };
    const Properties = { HostedZoneId: zone.id, Name: 'relay.example.com.', Type: 'A' };
    const [data, { template, ...place }, ...others] = wanted as [StackTemplate, StackTemplate];
    const Resources = { ...template.Resources, Record: { Type: 'AWS::Route53::RecordSet', Properties } };
    const stacks = [data, { ...place, template: { Resources } }, ...others];
    const { ok, checks } = await preflight({ tableName: table.tableName, relay, alarms: undefined }, stacks);
    expect(ok).toBe(true);
    const open = checks.filter(({ what }) => /not known whether a stack of the stage owns it$/.test(what));
    expect(open.map(({ state, name, value }) => `${state} ${name} ${value}`)).toEqual([
      `unknown table ${table.tableName}`,
      'unknown name edge-flag-relay-test',
      'unknown name /edge-flag-relay/test/relay',
      'unknown name edge-flag-relay-test-viewer-request',
      'unknown hosted-zone relay.example.com',
    ]);
    expect(checks.filter(({ advice }) => /delete/.test(advice ?? ''))).toEqual([]);
    expect(checks.filter(({ name }) => name === 'recipients').map(({ state }) => state)).toEqual(['unknown']);
  },
);

test('a stack that cannot be described says nothing of what its region has not: names elsewhere are still problems', async () => {
  fake.functions = ['us-east-1 edge-flag-relay-test-viewer-request'];
  fake.broken = ['eu-west-1 DescribeStacks'];
  expect(await findings('name')).toEqual([
    expect.stringMatching(/^bad \| the function .* no stack of the stage owns it/),
  ]);
});

describe('an error of AWS', () => {
  const error = (name: string, message = 'words') => Object.assign(new Error(message), { name });

  test.each([
    [
      'UnrecognizedClientException',
      /^Either ap-east-1 is not enabled in the account \(aws account enable-region --region-name ap-east-1\), or the credentials have expired/,
    ],
    ['AuthFailure', /^Either ap-east-1 is not enabled/],
    ['RequestTimeTooSkewed', /^The clock of this machine \(\S+Z\) is more than five minutes wrong/],
    ['SignatureDoesNotMatch', /^The secret access key does not belong to the access key/],
    ['ThrottlingException', /^AWS was asked too often in this account: try again in a minute/],
    ['ExpiredToken', /^AWS rejected the credentials as invalid or expired: sign in again/],
    ['ValidationError', /^ValidationError: words$/],
  ])('%s is told with what to do', (name, words) => {
    expect(explainAwsError(error(name), 'ap-east-1')).toMatch(words);
  });

  test('tells a wrong clock from a wrong key', () => {
    const message = 'Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z';
    expect(explainAwsError(error('InvalidSignatureException', message), 'eu-west-1')).toMatch(/^The clock/);
  });

  test('at the first question is more likely that of the credentials', () => {
    expect(explainAwsError(error('InvalidClientTokenId'), 'eu-south-1', { signingIn: true })).toMatch(
      /^AWS rejected the credentials as invalid or expired: sign in again. Or eu-south-1 is not enabled/,
    );
  });

  test('that is a page of something else is told with its status', async () => {
    const server = createServer((_, response) => response.writeHead(403, { 'content-type': 'text/html' }).end('<p>No'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const asked = signedAws({ AWS_ENDPOINT_URL: endpoint }).query('sns', 'eu-west-1', 'GetTopicAttributes');
    await expect(asked).rejects.toThrow('sns in eu-west-1 answered 403');
    server.closeAllConnections();
    server.close();
  });
});

describe('answers that are not AWS’s', () => {
  test.each(['<html><body>Sign in</body></html>', '<html>', '', '{"a":1}', 'null', '[]'])(
    '%p is an error',
    async (page) => {
      fake.instead = page;
      const aws = signedAws();
      const about = /answered with something that is not AWS’s .*: is a proxy or a login page in between\?$/;
      await expect(aws.query('cloudformation', 'eu-west-1', 'DescribeStacks')).rejects.toThrow(about);
      await expect(
        aws.getXml('route53', 'eu-west-1', '/2013-04-01/hostedzone/Z', 'GetHostedZoneResponse'),
      ).rejects.toThrow(about);
      // Any object might be an answer.
      if (page === '{"a":1}') return;
      await expect(aws.json('acm', 'eu-west-1', 'DescribeCertificate', {})).rejects.toThrow(about);
      await expect(aws.getJson('lambda', 'eu-west-1', '/x')).rejects.toThrow(about);
    },
  );
});

test('AWS_MAX_ATTEMPTS that is no number leaves three attempts', async () => {
  fake.failures = 99;
  await expect(
    signedAws({ ...process.env, AWS_MAX_ATTEMPTS: 'many' }).query('sns', 'eu-west-1', 'GetTopicAttributes'),
  ).rejects.toThrow();
  expect(fake.asked).toHaveLength(3);
});

test('an answer of 503 is asked for again', async () => {
  fake.failures = 1;
  expect((await preflight()).ok).toBe(true);
  expect(fake.asked.slice(0, 2)).toEqual(['eu-west-1 GetCallerIdentity', 'eu-west-1 GetCallerIdentity']);
});

test('a stage that cannot be synthesised is a problem, and nobody is told to delete its table', async () => {
  const stages = { test: { ...stage, tableName: table.tableName, networks: {} } };
  let printed = '';
  const failing = () => {
    throw new Error('Validation failed: something');
  };
  const options = { stage: 'test', offline: true, json: false, stages, synthesise: failing };
  const exitCode = await runPreflight(options, (text) => {
    printed += text;
  });
  expect(exitCode).toBe(1);
  expect(printed).toContain('✗ the stage cannot be synthesised: Validation failed: something\n');
  expect(printed).toContain('? not checked, since synthesis failed: stacks, updates, names, quotas\n');
  expect(printed).not.toMatch(/or delete/);
});

test('preflight synthesises what the CDK app does: the same stacks in the same regions, with names to look for @heavy', () => {
  const made = synthesise(stageOf('dev'));
  expect(made.map(({ stackName, region }) => `${region} ${stackName}`).sort()).toEqual([
    'eu-west-1 edge-flag-relay-dev-data',
    'eu-west-1 edge-flag-relay-dev-observability',
    'eu-west-1 edge-flag-relay-dev-region-eu-west-1',
    'eu-west-1 edge-flag-relay-dev-relay',
    'us-east-1 edge-flag-relay-dev-edge',
    'us-east-1 edge-flag-relay-dev-edge-functions',
    'us-east-1 edge-flag-relay-dev-region-us-east-1',
  ]);
  expect(made.filter(({ stackName }) => !isStackOf('dev', stackName))).toEqual([]);
  const types = new Set(
    made.flatMap(({ template }) => Object.values(template.Resources ?? {}).map(({ Type }) => Type)),
  );
  expect([...types]).toEqual(expect.arrayContaining(['AWS::DynamoDB::GlobalTable', 'AWS::Lambda::Function']));
});

// Of what all tests of this file have asked.
test('the policy in docs/deploying.md allows what preflight asks and, with what verify asks, no more @heavy', () => {
  // SSM and DynamoDB are not asked through the fake.
  const others = policyActions().filter(([service]) => service !== 'ssm' && service !== 'dynamodb');
  const ofVerify = ['DescribeAlarms', 'GetMetricData', 'DescribeServices', 'DescribeTargetHealth'];
  // Everybody may ask who they are. --fields needs more than the policy has.
  operations.delete('GetCallerIdentity');
  operations.delete('GetSecretValue');
  expect(others.map(([, operation]) => operation).sort()).toEqual([...operations, ...ofVerify].sort());
});
