import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { RelayStage } from '../../../lib/infrastructure/relay-stage.ts';
import { parseStage, type StageSettings, stages } from '../../../lib/infrastructure/stages.ts';

const settings: StageSettings = {
  homeRegion: 'eu-west-1',
  replicaRegions: ['us-east-1'],
  tableName: 'flags',
  production: true,
};

function templateOf(overrides: Partial<StageSettings> = {}): Template {
  const stage = new RelayStage(new App(), 'test', { ...settings, ...overrides });
  return Template.fromStack(stage.flagTable.table.stack);
}

describe('the flag table', () => {
  test('has the key schema that LaunchDarkly SDKs read in daemon mode', () => {
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

  test('stands in the home region and in each replica region, each protected and recoverable', () => {
    const [table] = Object.values(templateOf().findResources('AWS::DynamoDB::GlobalTable'));
    const replicas = table?.Properties.Replicas as Record<string, unknown>[];
    expect(replicas.map(({ Region }) => Region).sort()).toEqual(['eu-west-1', 'us-east-1']);
    for (const replica of replicas) {
      expect(replica).toMatchObject({
        DeletionProtectionEnabled: true,
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
        ContributorInsightsSpecification: { Enabled: true, Mode: 'THROTTLED_KEYS' },
      });
    }
  });

  test('outlives its stack in production and dies with it elsewhere', () => {
    templateOf().hasResource('AWS::DynamoDB::GlobalTable', { DeletionPolicy: 'Retain' });
    templateOf({ production: false }).hasResource('AWS::DynamoDB::GlobalTable', { DeletionPolicy: 'Delete' });
  });
});

describe('a stage file', () => {
  test('that we ship is accepted', () => {
    for (const name of Object.keys(stages)) expect(parseStage(name)).toBe(stages[name]);
  });

  test.each<[string, Partial<StageSettings>, string]>([
    ['an account that is not twelve digits', { account: '123' }, 'stage x: account 123 must be twelve digits'],
    ['a region that is none', { homeRegion: 'Ireland' }, 'stage x: region Ireland must look like eu-west-1'],
    [
      'a replica at home',
      { replicaRegions: ['eu-west-1'] },
      'stage x: replicaRegions must not contain the home region eu-west-1',
    ],
    [
      'a replica twice',
      { replicaRegions: ['us-east-1', 'us-east-1'] },
      'stage x: replicaRegions must name each region once',
    ],
    [
      'a table name with a space',
      { tableName: 'my flags' },
      'stage x: tableName my flags must be 3 to 255 of a-z A-Z 0-9 _ - .',
    ],
  ])('with %s is refused by name', (_, overrides, message) => {
    expect(() => parseStage('x', { x: { ...settings, ...overrides } })).toThrow(message);
  });

  test.each(['staging', undefined, 'constructor'])(
    'that is not there (%s) is refused with the names that are',
    (name) => {
      expect(() => parseStage(name)).toThrow('is not known: use -c stage=dev or prod');
    },
  );
});
