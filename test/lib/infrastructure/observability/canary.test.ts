import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { buildLayer, LAYER_PACKAGE } from '../../../../lib/infrastructure/layer-bundle.ts';
import { buildCanary } from '../../../../lib/infrastructure/observability/canary-bundle.ts';
import { checkedAddress, EdgeCheck } from '../../../../lib/infrastructure/observability/edge-check.ts';
import { itemsOf, putSnapshot } from '../../../lambda/edge-reader/table-writer.ts';
import { startTable } from '../../../support/dynalite.ts';
import { exampleEnvironment, exampleFile } from '../../../support/example-environment.ts';
import { runAsLambda } from '../../../support/run-as-lambda.ts';
import { startTestRelay } from '../../../support/start-relay.ts';
import { createApp, full } from '../../../support/synthesise.ts';
import { observe } from './observe.ts';

let home: Template;
beforeAll(() => {
  ({ home } = observe(full));
});

interface Statement {
  readonly Action: string | string[];
  readonly Resource: unknown;
}

/** A function's permissions: action, then resources. */
function allowed(name: 'Caller' | 'Reader'): [string, string][] {
  const policies = Object.entries(home.findResources('AWS::IAM::Policy')).filter(([id]) =>
    id.startsWith(`Canary${name}`),
  );
  return policies.flatMap(([, { Properties }]) =>
    (Properties.PolicyDocument.Statement as Statement[]).flatMap(({ Action, Resource }) =>
      [Action].flat().map((action): [string, string] => [action, JSON.stringify(Resource)]),
    ),
  );
}

test('the canary’s caller may only read one key and one prefix, invoke the reader, and write its log', () => {
  const may = allowed('Caller');
  expect(may.map(([action]) => action).sort()).toEqual([
    'lambda:InvokeFunction',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
    'ssm:GetParameters',
  ]);
  const [, parameters] = may.find(([action]) => action === 'ssm:GetParameters')!;
  expect(parameters.match(/parameter[^"]*/g)?.sort()).toEqual([
    'parameter/edge-flag-relay/full/environments/production/prefix',
    'parameter/edge-flag-relay/full/environments/production/sdk-key',
  ]);
});

test('the canary’s reader may read the table and run in the VPC, but not read keys', () => {
  const actions = allowed('Reader').map(([action]) => action);
  expect(actions.filter((action) => action.startsWith('dynamodb:')).sort()).toEqual([
    'dynamodb:BatchGetItem',
    'dynamodb:GetItem',
    'dynamodb:Query',
  ]);
  expect(actions.some((action) => /^(ssm|kms|lambda|cloudwatch):/.test(action))).toBe(false);
  expect(actions).toContain('ec2:CreateNetworkInterface');
});

test('the canary’s reader can connect to the relay and DynamoDB, and the load balancer accepts it', () => {
  home.hasResourceProperties('AWS::EC2::SecurityGroup', {
    SecurityGroupEgress: [{ CidrIp: '0.0.0.0/0', IpProtocol: 'tcp', FromPort: 443, ToPort: 443 }],
  });
  home.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    GroupId: 'sg-0123456789abcdef0',
    IpProtocol: 'tcp',
    FromPort: 443,
    ToPort: 443,
  });
});

test('the synthetic check runs once a minute without retries, and its logs have a retention', () => {
  home.hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: 'rate(1 minute)' });
  const [rule] = Object.values(
    home.findResources('AWS::Events::Rule', { Properties: { ScheduleExpression: 'rate(1 minute)' } }),
  );
  expect(rule!.Properties.Targets).toMatchObject([{ RetryPolicy: { MaximumRetryAttempts: 0 } }]);
  const groups = Object.values(home.findResources('AWS::Logs::LogGroup')).map(({ Properties }) => Properties);
  expect(groups.map(({ LogGroupName, RetentionInDays }) => [LogGroupName, RetentionInDays]).sort()).toEqual([
    ['/aws/lambda/edge-flag-relay-full-canary-caller', 90],
    ['/aws/lambda/edge-flag-relay-full-canary-reader', 90],
  ]);
});

test('only the canary’s reader runs in the VPC and uses the layer', () => {
  const functions = Object.values(home.findResources('AWS::Lambda::Function')).map(({ Properties }) => Properties);
  const [reader] = functions.filter(({ FunctionName }) => FunctionName.endsWith('-reader'));
  const [caller] = functions.filter(({ FunctionName }) => FunctionName.endsWith('-caller'));
  expect(reader).toMatchObject({
    Layers: ['arn:aws:lambda:eu-west-1:123456789012:layer:r:1'],
    Environment: { Variables: { RELAY_URL: 'https://relay.internal', TABLE_NAME: 'flags' } },
    VpcConfig: { SubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'] },
  });
  // This region first, then the nearest: Ireland, Virginia, Oregon, Tokyo.
  expect(JSON.parse(reader!.Environment.Variables.REPLICAS)).toEqual({
    default: ['eu-west-1', 'us-east-1', 'us-west-2', 'ap-northeast-1'],
  });
  expect(caller!.VpcConfig).toBeUndefined();
  expect(caller!.Layers).toBeUndefined();
  expect(caller!.Environment.Variables).toMatchObject({
    PARAMETERS: '/edge-flag-relay/full/environments/production',
    METRICS_NAMESPACE: 'EdgeFlagRelayCanary/full',
  });
  expect(JSON.stringify(home.toJSON())).not.toMatch(/sdk-[0-9a-f]{8}-/);
});

describe('the canary’s built reader', () => {
  const directories: string[] = [];
  const directory = () => {
    const made = mkdtempSync(join(tmpdir(), 'canary-'));
    directories.push(made);
    return made;
  };
  afterAll(() => {
    for (const one of directories) rmSync(one, { recursive: true, force: true });
  });

  test('requires the layer and contains none of its code', () => {
    const outdir = directory();
    buildCanary('reader', outdir);
    const code = readFileSync(join(outdir, 'index.cjs'), 'utf8');
    expect(code.split(`require("${LAYER_PACKAGE}")`)).toHaveLength(2);
    expect(code.length).toBeLessThan(8_000);
  });

  test('opens a stream to a relay and finds the same flags in the table @heavy', async () => {
    const [bundle, layer] = [directory(), directory()];
    buildCanary('reader', bundle);
    buildLayer(layer);
    const table = await startTable();
    const relay = await startTestRelay({ LD_ENV_shop: 'sdk-canary', LD_FLAGS_FILE_shop: exampleFile });
    try {
      await putSnapshot(table, 'production', itemsOf(exampleEnvironment()), { epoch: 1, seq: 1 });
      const script = `
        const { handler } = require(file);
        return await handler(input);`;
      const answer = await runAsLambda(
        join(bundle, 'index.cjs'),
        script,
        { sdkKey: 'sdk-canary', prefix: 'production' },
        {
          NODE_PATH: join(layer, 'nodejs/node_modules'),
          RELAY_URL: relay.uri,
          TABLE_NAME: table.tableName,
          AWS_ENDPOINT_URL_DYNAMODB: table.endpoint,
          REPLICAS: JSON.stringify({ default: ['eu-west-1'] }),
        },
      );
      expect(answer).toMatchObject({ stream: { ok: true }, table: { ok: true }, differing: 0 });
    } finally {
      await relay.close();
      await table.close();
    }
  });
});

test.each([
  [{}, '/'],
  [{ check: '/health' }, '/health'],
  [{ check: false }, undefined],
  [{ distributionId: 'EDFDVBD6EXAMPLE' }, undefined],
  [{ distributionId: 'EDFDVBD6EXAMPLE', check: 'https://shop.example.com/' }, 'https://shop.example.com/'],
] as const)('with %j the distribution’s check asks %p', (more, address) => {
  expect(checkedAddress({ ...full.edge!, ...more })).toBe(address);
});

test('the distribution’s check runs once a minute in no VPC, may do nothing but log, and asks the page', () => {
  const stack = new Stack(createApp(), 'Edge', { env: { account: '123456789012', region: 'us-east-1' } });
  new EdgeCheck(stack, 'EdgeCheck', { stage: 'full', url: 'https://d1.cloudfront.net/health' });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: 'rate(1 minute)' });
  template.hasResourceProperties('AWS::Logs::LogGroup', {
    LogGroupName: '/aws/lambda/edge-flag-relay-full-canary-edge',
    RetentionInDays: 14,
  });
  const [{ Properties }] = Object.values(template.findResources('AWS::Lambda::Function')) as [{ Properties: object }];
  expect(Properties).toMatchObject({
    FunctionName: 'edge-flag-relay-full-canary-edge',
    Environment: {
      Variables: {
        CHECK_URL: 'https://d1.cloudfront.net/health',
        DECISION_HEADER: 'x-flag-decision',
        METRICS_NAMESPACE: 'EdgeFlagRelayCanary/full',
      },
    },
  });
  expect(Properties).not.toHaveProperty('VpcConfig');
  const actions = Object.values(template.findResources('AWS::IAM::Policy')).flatMap(
    ({ Properties: { PolicyDocument } }) =>
      PolicyDocument.Statement.flatMap(({ Action }: { Action: string | string[] }) => Action),
  );
  expect(actions.sort()).toEqual(['logs:CreateLogStream', 'logs:PutLogEvents']);
});
