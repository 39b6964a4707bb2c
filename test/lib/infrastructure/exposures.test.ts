import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { SecurityGroup, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { ExposureCollector, ExposureSender } from '../../../lib/infrastructure/exposures.ts';
import { buildFunction } from '../../../lib/infrastructure/function-bundle.ts';
import { startEventsRecorder } from '../../interop/events-recorder.ts';
import { runAsLambda } from '../../support/run-as-lambda.ts';
import { createApp } from '../../support/synthesise.ts';

const account = '123456789012';

function collector({ keyArn, ...more }: { readonly keyArn?: string } = {}): Template {
  const stack = new Stack(createApp(), 'Region', { env: { account, region: 'us-east-1' } });
  new ExposureCollector(stack, 'Exposures', {
    ...{ stage: 'shop', environment: 'production', homeRegion: 'eu-west-1' },
    logGroups: ['/aws/lambda/one', '/aws/lambda/two'].map((name) => LogGroup.fromLogGroupName(stack, name, name)),
    ...(keyArn !== undefined && { encryptionKey: Key.fromKeyArn(stack, 'Key', keyArn) }),
    ...more,
  });
  return Template.fromStack(stack);
}

function sender(more: object = {}): Template {
  const stack = new Stack(createApp(), 'Home', { env: { account, region: 'eu-west-1' } });
  new ExposureSender(stack, 'Exposures', {
    ...{ stage: 'shop', relayUrl: 'https://relay.internal', serverName: 'relay.example.com', subnets: {} },
    vpc: Vpc.fromVpcAttributes(stack, 'Vpc', {
      vpcId: 'vpc-0123456789abcdef0',
      availabilityZones: ['eu-west-1a'],
      privateSubnetIds: ['subnet-0123456789abcdef0'],
      privateSubnetRouteTableIds: ['rtb-0123456789abcdef0'],
    }),
    loadBalancer: SecurityGroup.fromSecurityGroupId(stack, 'Balancer', 'sg-0123456789abcdef0'),
    ...more,
  });
  return Template.fromStack(stack);
}

/** Every action that roles may take, with its resources. */
function allowed(template: Template): [string, string][] {
  return Object.values(template.findResources('AWS::IAM::Policy')).flatMap(({ Properties }) =>
    (Properties.PolicyDocument.Statement as { Action: string | string[]; Resource: unknown }[]).flatMap(
      ({ Action, Resource }) => [Action].flat().map((action): [string, string] => [action, JSON.stringify(Resource)]),
    ),
  );
}

test('a collector gets the lines with exposures of each log, and only these logs may call it @heavy', () => {
  const template = collector();
  const filters = Object.values(template.findResources('AWS::Logs::SubscriptionFilter')).map(
    ({ Properties }) => Properties,
  );
  expect(filters.map(({ LogGroupName }) => LogGroupName).sort()).toEqual(['/aws/lambda/one', '/aws/lambda/two']);
  for (const { FilterPattern } of filters) expect(FilterPattern).toBe('"edgeFlagExposures"');
  const permissions = Object.values(template.findResources('AWS::Lambda::Permission')).map(
    ({ Properties }) => Properties,
  );
  expect(permissions).toHaveLength(2);
  for (const { Principal, SourceArn } of permissions) {
    expect(Principal).toBe('logs.amazonaws.com');
    expect(JSON.stringify(SourceArn)).toMatch(/log-group:\/aws\/lambda\/(one|two):\*/);
  }
});

test('a collector may only read the key of its environment, call the sender in the home region, and write its log @heavy', () => {
  const may = new Map(allowed(collector()));
  expect([...may.keys()].sort()).toEqual([
    'lambda:InvokeFunction',
    'logs:CreateLogStream',
    'logs:PutLogEvents',
    'ssm:GetParameters',
  ]);
  expect(may.get('ssm:GetParameters')).toContain(
    ':ssm:eu-west-1:123456789012:parameter/edge-flag-relay/shop/environments/production/sdk-key"',
  );
  expect(may.get('lambda:InvokeFunction')).toContain(
    ':lambda:eu-west-1:123456789012:function:edge-flag-relay-shop-exposures-sender"',
  );
  const key = 'arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012';
  expect(new Map(allowed(collector({ keyArn: key }))).get('kms:Decrypt')).toBe(JSON.stringify(key));
});

test('what fails is tried twice more within an hour', () => {
  collector().hasResourceProperties('AWS::Lambda::EventInvokeConfig', {
    MaximumRetryAttempts: 2,
    MaximumEventAgeInSeconds: 3_600,
  });
});

test('the sender reaches the relay and nothing else, and may do nothing but that @heavy', () => {
  const template = sender();
  const rules = Object.values(template.findResources('AWS::EC2::SecurityGroupEgress')).map(
    ({ Properties }) => Properties,
  );
  expect(rules).toEqual([
    expect.objectContaining({ FromPort: 443, ToPort: 443, DestinationSecurityGroupId: 'sg-0123456789abcdef0' }),
  ]);
  expect(allowed(template).filter(([action]) => !/^(ec2|logs):/.test(action))).toEqual([]);
  template.hasResourceProperties('AWS::Lambda::Function', {
    FunctionName: 'edge-flag-relay-shop-exposures-sender',
    Environment: { Variables: { RELAY_URL: 'https://relay.internal', RELAY_SERVER_NAME: 'relay.example.com' } },
  });
  sender({ relayUrl: 'http://relay.internal:8030' }).hasResourceProperties('AWS::EC2::SecurityGroupEgress', {
    FromPort: 8030,
  });
});

describe('the bundles', () => {
  const directory = mkdtempSync(join(tmpdir(), 'exposures-bundles-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const built = (which: string) =>
    buildFunction(join(import.meta.dirname, `../../../lambda/edge-events/${which}.entry.ts`), join(directory, which));

  test('contain neither the AWS SDK nor the edge reader', () => {
    for (const which of ['collector', 'sender'])
      expect(readFileSync(built(which), 'utf8')).not.toMatch(/smithy|dynamodb|evaluateFlag/i);
  });

  test('post what they are given as an SDK does @heavy', async () => {
    const recorder = await startEventsRecorder();
    const delivery = { id: 'p1', body: '[{"kind":"index"}]', sdkKey: 'sdk-bundled-0123456789' };
    const answer = await runAsLambda(built('sender'), 'return await require(file).handler(input);', delivery, {
      RELAY_URL: recorder.uri,
    });
    await recorder.close();
    expect(answer).toEqual({ ok: true });
    expect(recorder.requests).toMatchObject([
      {
        path: '/bulk',
        events: [{ kind: 'index' }],
        headers: { authorization: delivery.sdkKey, 'x-launchdarkly-payload-id': 'p1' },
      },
    ]);
  });
});
