import { Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { FlagTable } from '../../../lib/infrastructure/flag-table.ts';
import { createApp } from '../../support/synthesise.ts';

const home = { env: { region: 'eu-west-1' } };

function templateOf(
  props: { retain?: boolean; deletionProtection?: boolean; replicaRegions?: string[] } = {},
): Template {
  const stack = new Stack(createApp(), 'Data', home);
  new FlagTable(stack, 'FlagTable', { tableName: 'flags', replicaRegions: ['us-east-1'], ...props });
  return Template.fromStack(stack);
}

describe('the flag table', () => {
  test('has the key schema that LaunchDarkly SDKs read in daemon mode @heavy', () => {
    templateOf().hasResourceProperties('AWS::DynamoDB::GlobalTable', {
      TableName: 'flags',
      KeySchema: [
        { AttributeName: 'namespace', KeyType: 'HASH' },
        { AttributeName: 'key', KeyType: 'RANGE' },
      ],
      BillingMode: 'PAY_PER_REQUEST',
      TimeToLiveSpecification: { AttributeName: 'expiresAt', Enabled: true },
    });
  });

  test('is in the home region and in each replica region, with point-in-time recovery', () => {
    const [table] = Object.values(templateOf().findResources('AWS::DynamoDB::GlobalTable'));
    const replicas = table?.Properties.Replicas as Record<string, unknown>[];
    expect(replicas.map(({ Region }) => Region).sort()).toEqual(['eu-west-1', 'us-east-1']);
    for (const replica of replicas) {
      expect(replica).toMatchObject({
        DeletionProtectionEnabled: false,
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
        ContributorInsightsSpecification: { Enabled: true, Mode: 'THROTTLED_KEYS' },
      });
    }
  });

  test('can be protected from deletion in the home region, and then a replica can still be removed', () => {
    const [table] = Object.values(templateOf({ deletionProtection: true }).findResources('AWS::DynamoDB::GlobalTable'));
    const replicas = table?.Properties.Replicas as { Region: string; DeletionProtectionEnabled: boolean }[];
    expect(
      Object.fromEntries(replicas.map(({ Region, DeletionProtectionEnabled }) => [Region, DeletionProtectionEnabled])),
    ).toEqual({ 'eu-west-1': true, 'us-east-1': false });
  });

  test('comes to be retained by a deployment of its own, for which its deletion policies are not enough', () => {
    const policies = ['DeletionPolicy', 'UpdateReplacePolicy'];
    const without = (retain: boolean) =>
      JSON.stringify(templateOf({ retain }).toJSON(), (name, value) => (policies.includes(name) ? undefined : value));
    expect(without(true)).not.toBe(without(false));
    const properties = (retain: boolean) => {
      const [table] = Object.values(templateOf({ retain }).findResources('AWS::DynamoDB::GlobalTable'));
      return table?.Properties;
    };
    expect(properties(true)).toEqual(properties(false));
  });

  test('replicates asynchronously, since multi-region strong consistency does not support TTL and transactions', () => {
    templateOf().hasResourceProperties('AWS::DynamoDB::GlobalTable', { MultiRegionConsistency: Match.absent() });
  });

  test('has its stream with and without replicas, since DynamoDB does not switch it off while it takes the last replica away', () => {
    for (const replicaRegions of [['us-east-1'], []]) {
      templateOf({ replicaRegions }).hasResourceProperties('AWS::DynamoDB::GlobalTable', {
        StreamSpecification: { StreamViewType: 'NEW_AND_OLD_IMAGES' },
      });
    }
  });

  test('is retained when its stack is deleted in production, but not when its creation fails, and deleted with it elsewhere', () => {
    templateOf().hasResource('AWS::DynamoDB::GlobalTable', { DeletionPolicy: 'RetainExceptOnCreate' });
    templateOf({ retain: false }).hasResource('AWS::DynamoDB::GlobalTable', { DeletionPolicy: 'Delete' });
  });

  test('rejects a stack without a region, which could not tell home from replicas', () => {
    const stack = new Stack(createApp(), 'Data');
    expect(() => new FlagTable(stack, 'FlagTable', { tableName: 'flags', replicaRegions: [] })).toThrow(
      'a flag table needs a stack with a region: give Data an env.region',
    );
  });
});

describe('an existing flag table', () => {
  const table = FlagTable.fromExisting('ld-flags', { homeRegion: 'eu-west-1', replicaRegions: ['us-east-1'] });

  function statementsFor(grant: (role: Role) => unknown): unknown[] {
    const stack = new Stack(createApp(), 'Mine', { env: { region: 'ap-northeast-1' } });
    grant(new Role(stack, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') }));
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::DynamoDB::GlobalTable', 0);
    const [policy] = Object.values(template.findResources('AWS::IAM::Policy'));
    return policy?.Properties.PolicyDocument.Statement;
  }
  const arn = (region: string) => ({
    'Fn::Join': [
      '',
      ['arn:', { Ref: 'AWS::Partition' }, `:dynamodb:${region}:`, { Ref: 'AWS::AccountId' }, ':table/ld-flags'],
    ],
  });
  const reads = ['dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query'];

  test('grants a reader read access in every region with a replica, and no write access', () => {
    expect(statementsFor((role) => table.grantRead(role))).toEqual([
      { Effect: 'Allow', Action: reads, Resource: [arn('eu-west-1'), arn('us-east-1')] },
    ]);
  });

  test('can limit a reader to one region and one environment', () => {
    expect(statementsFor((role) => table.grantRead(role, { regions: ['us-east-1'], prefix: 'prod' }))).toEqual([
      {
        Effect: 'Allow',
        Action: reads,
        Resource: arn('us-east-1'),
        Condition: { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': ['prod:*'] } },
      },
    ]);
  });

  test('grants a relay write access in the home region only', () => {
    expect(statementsFor((role) => table.grantWrite(role))).toEqual([
      {
        Effect: 'Allow',
        Action: [
          'dynamodb:BatchGetItem',
          'dynamodb:DeleteItem',
          'dynamodb:GetItem',
          'dynamodb:PutItem',
          'dynamodb:Query',
          'dynamodb:UpdateItem',
        ],
        Resource: arn('eu-west-1'),
      },
    ]);
  });

  test('rejects a reader in a region without a replica', () => {
    expect(() => statementsFor((role) => table.grantRead(role, { regions: ['sa-east-1'] }))).toThrow(
      'flag table ld-flags has no replica in sa-east-1',
    );
  });
});
