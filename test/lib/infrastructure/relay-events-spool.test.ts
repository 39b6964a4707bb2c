/** The disk for events: what a stage and an app of one's own get on EFS. The rules are those of AWS's documentation of EFS and ECS. */
import { Stack, Validations } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { SecurityGroup, Subnet, SubnetType, Vpc } from 'aws-cdk-lib/aws-ec2';
import { ContainerImage } from 'aws-cdk-lib/aws-ecs';
import { AccessPoint, FileSystem } from 'aws-cdk-lib/aws-efs';
import { Key } from 'aws-cdk-lib/aws-kms';
import { AwsSolutionsChecks } from 'cdk-nag';
import { FlagTable, RelayService, type RelayServiceProps } from '../../../lib/infrastructure/constructs.ts';
import { readStage } from '../../../lib/infrastructure/parse-stage.ts';
import type { RelaySettings, StageSettings } from '../../../lib/infrastructure/stage-settings.ts';
import { parseConfig } from '../../../relay-task/config/config.ts';
import { asStarted, propertiesOf, taskOf } from '../../support/relay-task.ts';
import { createApp, shipped, synthesise } from '../../support/synthesise.ts';

const account = '123456789012';
const keyArn = `arn:aws:kms:eu-west-1:${account}:key/12345678-1234-1234-1234-123456789012`;
const existing = {
  fileSystemId: 'fs-0123456789abcdef0',
  accessPointId: 'fsap-0123456789abcdef0',
  securityGroupId: 'sg-0123456789abcdef0',
};

/** A relay of an app of one's own, in a VPC with two private subnets in one zone and one in another. */
function relayWith(props: (stack: Stack) => Partial<RelayServiceProps>, vpcProps?: (stack: Stack) => Vpc) {
  const stack = new Stack(createApp(), 'Mine', { env: { account, region: 'eu-west-1' } });
  const vpc =
    vpcProps?.(stack) ??
    Vpc.fromVpcAttributes(stack, 'Vpc', {
      vpcId: 'vpc-0123456789abcdef0',
      availabilityZones: ['eu-west-1a', 'eu-west-1b'],
      privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
      isolatedSubnetIds: ['subnet-0123456789abcdef2', 'subnet-0123456789abcdef3'],
      privateSubnetRouteTableIds: ['rtb-0123456789abcdef0', 'rtb-0123456789abcdef0'],
      isolatedSubnetRouteTableIds: ['rtb-0123456789abcdef1', 'rtb-0123456789abcdef1'],
    });
  const relay = new RelayService(stack, 'Relay', {
    stage: 'mine',
    flagTable: FlagTable.fromExisting('flags', { homeRegion: 'eu-west-1', replicaRegions: [] }),
    image: ContainerImage.fromRegistry('public.ecr.aws/example/relay:1.2.3'),
    vpc,
    ...props(stack),
  });
  return { stack, relay, template: () => Template.fromStack(stack) };
}

const plain = () => relayWith(() => ({ eventsSpool: {} }));
let known: Template | undefined;
function plainTemplate(): Template {
  known ??= plain().template();
  return known;
}

const only = (template: Template, type: string) => {
  const found = Object.entries(template.findResources(type));
  expect(found).toHaveLength(1);
  return found[0]!;
};

describe('the file system', () => {
  test('is encrypted, grows and shrinks its throughput by itself, and has neither backups nor storage classes', () => {
    const [, { Properties }] = only(plainTemplate(), 'AWS::EFS::FileSystem');
    const { FileSystemPolicy: _, ...properties } = Properties;
    expect(properties).toEqual({
      Encrypted: true,
      PerformanceMode: 'generalPurpose',
      ThroughputMode: 'elastic',
      BackupPolicy: { Status: 'DISABLED' },
    });
  });

  test('refuses clients without TLS and root, and with its policy whoever has no permission', () => {
    const [, { Properties }] = only(plainTemplate(), 'AWS::EFS::FileSystem');
    expect(Properties.FileSystemPolicy.Statement).toEqual([
      {
        Effect: 'Deny',
        Principal: { AWS: '*' },
        Action: ['Mount', 'RootAccess', 'Write'].map((name) => `elasticfilesystem:Client${name}`),
        Condition: { Bool: { 'aws:SecureTransport': 'false' } },
      },
      { Effect: 'Deny', Principal: { AWS: '*' }, Action: 'elasticfilesystem:ClientRootAccess' },
    ]);
  });

  test.each([
    [{}, 'RetainExceptOnCreate', 'Retain'],
    [{ production: false }, 'Delete', 'Delete'],
    [{ eventsSpool: { retain: false } }, 'Delete', 'Delete'],
    [{ production: false, eventsSpool: { retain: true } }, 'RetainExceptOnCreate', 'Retain'],
  ])('of a relay with %j: DeletionPolicy %s, when replaced %s', (props, DeletionPolicy, UpdateReplacePolicy) => {
    const template = relayWith(() => ({ eventsSpool: {}, ...props })).template();
    expect(only(template, 'AWS::EFS::FileSystem')[1]).toMatchObject({ DeletionPolicy, UpdateReplacePolicy });
  });

  test('takes a key of yours', () => {
    const encryptionKey = (stack: Stack) => Key.fromKeyArn(stack, 'Key', keyArn);
    const { template } = relayWith((stack) => ({ eventsSpool: { encryptionKey: encryptionKey(stack) } }));
    expect(only(template(), 'AWS::EFS::FileSystem')[1].Properties).toMatchObject({ Encrypted: true, KmsKeyId: keyArn });
  });

  test('lets in nobody but the tasks, on NFS’s port', () => {
    const template = plainTemplate();
    const rules = propertiesOf(template, 'AWS::EC2::SecurityGroupIngress').filter(({ FromPort }) => FromPort === 2049);
    expect(rules).toEqual([
      expect.objectContaining({
        IpProtocol: 'tcp',
        ToPort: 2049,
        GroupId: { 'Fn::GetAtt': [expect.stringMatching(/^RelayEventsSpoolSecurityGroup/), 'GroupId'] },
        SourceSecurityGroupId: { 'Fn::GetAtt': [expect.stringMatching(/^RelayServiceSecurityGroup/), 'GroupId'] },
      }),
    ]);
    const groups = Object.entries(template.findResources('AWS::EC2::SecurityGroup'));
    const [, group] = groups.find(([id]) => id.startsWith('RelayEventsSpool'))!;
    expect(group.Properties).not.toHaveProperty('SecurityGroupIngress');
    for (const { SecurityGroups } of propertiesOf(template, 'AWS::EFS::MountTarget')) {
      expect(SecurityGroups).toEqual([rules[0]!.GroupId]);
    }
  });
});

describe('its access point', () => {
  test('makes every task the user of the image, and a directory that nobody else may read', () => {
    const [, { Properties }] = only(plainTemplate(), 'AWS::EFS::AccessPoint');
    const [uid, gid] = taskUser(plainTemplate());
    expect(Properties).toMatchObject({
      PosixUser: { Uid: uid, Gid: gid },
      RootDirectory: { Path: '/events', CreationInfo: { OwnerUid: uid, OwnerGid: gid, Permissions: '0700' } },
    });
  });
});

function taskUser(template: Template): string[] {
  const [, { Properties }] = only(template, 'AWS::ECS::TaskDefinition');
  return Properties.ContainerDefinitions[0].User.split(':');
}

describe('its mount targets', () => {
  const targets = (template: Template) =>
    propertiesOf(template, 'AWS::EFS::MountTarget').map(({ SubnetId }) => SubnetId);

  test('are one in each zone of the tasks, whatever kind their subnets are', () => {
    expect(targets(plainTemplate())).toEqual(['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1']);
    const isolated = { subnetType: SubnetType.PRIVATE_ISOLATED };
    const inside = relayWith(() => ({ eventsSpool: {}, taskSubnets: isolated, internalSubnets: isolated }));
    expect(targets(inside.template())).toEqual(['subnet-0123456789abcdef2', 'subnet-0123456789abcdef3']);
  });

  test('are where `subnets` says, one in each zone', () => {
    const both = (stack: Stack) =>
      ['a', 'b', 'a'].map((zone, index) =>
        Subnet.fromSubnetAttributes(stack, `Subnet${index}`, {
          subnetId: `subnet-0123456789abcde${index}`,
          availabilityZone: `eu-west-1${zone}`,
        }),
      );
    const { template } = relayWith((stack) => ({ eventsSpool: { subnets: { subnets: both(stack) } } }));
    expect(targets(template())).toEqual(['subnet-0123456789abcde0', 'subnet-0123456789abcde1']);
  });

  test('may be in subnets that are known by their IDs alone', () => {
    const ids = ['subnet-0123456789abcdef4', 'subnet-0123456789abcdef5'];
    const subnets = (stack: Stack) => ids.map((id) => Subnet.fromSubnetId(stack, id, id));
    const { template } = relayWith((stack) => ({ eventsSpool: { subnets: { subnets: subnets(stack) } } }));
    expect(targets(template())).toEqual(ids);
  });

  test('are in a VPC of the same app, too, whose zones only the deployment knows', () => {
    const stack = new Stack(createApp(), 'Anywhere', { env: { region: 'eu-west-1' } });
    const vpc = new Vpc(stack, 'Vpc', { natGateways: 1 });
    new RelayService(stack, 'Relay', {
      stage: 'mine',
      flagTable: FlagTable.fromExisting('flags', { homeRegion: 'eu-west-1', replicaRegions: [] }),
      image: ContainerImage.fromRegistry('public.ecr.aws/example/relay:1.2.3'),
      vpc,
      eventsSpool: {},
    });
    expect(targets(Template.fromStack(stack))).toEqual(
      vpc.privateSubnets.map(() => ({ Ref: expect.stringMatching(/^VpcPrivateSubnet\dSubnet/) })),
    );
  });
});

describe('a task', () => {
  test('mounts it with TLS and its role, and can still write nothing else', () => {
    const [, { Properties }] = only(plainTemplate(), 'AWS::ECS::TaskDefinition');
    const [fileSystem] = only(plainTemplate(), 'AWS::EFS::FileSystem');
    const [accessPoint] = only(plainTemplate(), 'AWS::EFS::AccessPoint');
    expect(Properties.Volumes).toEqual([
      {
        Name: 'events-spool',
        EFSVolumeConfiguration: {
          FilesystemId: { Ref: fileSystem },
          TransitEncryption: 'ENABLED',
          AuthorizationConfig: { AccessPointId: { Ref: accessPoint }, IAM: 'ENABLED' },
        },
      },
    ]);
    expect(Properties.ContainerDefinitions[0]).toMatchObject({
      MountPoints: [{ SourceVolume: 'events-spool', ContainerPath: '/spool', ReadOnly: false }],
      ReadonlyRootFilesystem: true,
    });
  });

  test('may mount and write by this access point alone, and not as root', () => {
    const statements = propertiesOf(plainTemplate(), 'AWS::IAM::Policy')
      .flatMap(({ PolicyDocument }) => (PolicyDocument as { Statement: { Action: string | string[] }[] }).Statement)
      .filter(({ Action }) => JSON.stringify(Action).includes('elasticfilesystem'));
    expect(statements).toEqual([
      {
        Effect: 'Allow',
        Action: ['elasticfilesystem:ClientMount', 'elasticfilesystem:ClientWrite'],
        Resource: arnOf('file-system', only(plainTemplate(), 'AWS::EFS::FileSystem')[0]),
        Condition: {
          StringEquals: {
            'elasticfilesystem:AccessPointArn': arnOf(
              'access-point',
              only(plainTemplate(), 'AWS::EFS::AccessPoint')[0],
            ),
          },
        },
      },
    ]);
  });

  function arnOf(kind: string, id: string) {
    return { 'Fn::Join': ['', [`arn:aws:elasticfilesystem:eu-west-1:${account}:${kind}/`, { Ref: id }]] };
  }

  test('starts only when it can mount it', () => {
    const template = plainTemplate();
    const [, { DependsOn }] = only(template, 'AWS::ECS::Service');
    for (const type of ['AWS::EFS::MountTarget', 'AWS::EFS::AccessPoint']) {
      expect(DependsOn).toEqual(expect.arrayContaining(Object.keys(template.findResources(type))));
    }
    const rules = Object.keys(template.findResources('AWS::EC2::SecurityGroupIngress'));
    expect(DependsOn).toEqual(expect.arrayContaining(rules.filter((id) => id.startsWith('RelayEventsSpool'))));
    expect(rules.filter((id) => id.startsWith('RelayEventsSpool'))).toHaveLength(1);
  });

  test('runs where EFS works: on the latest platform version, 1.4.0 or later', () => {
    const [, { Properties }] = only(plainTemplate(), 'AWS::ECS::Service');
    expect(Properties.PlatformVersion ?? 'LATEST').toBe('LATEST');
  });

  test('has variables that the relay takes: the directory, its size, and events that are forwarded', () => {
    const { environment } = taskOf(relayWith(() => ({ eventsSpool: { maxMiB: 512 } })).template());
    expect(environment).toMatchObject({
      EVENTS_SPOOL_DIR: '/spool',
      EVENTS_SPOOL_MAX_BYTES: '512MiB',
      USE_EVENTS: 'true',
    });
    const { config, warnings } = parseConfig(asStarted(environment));
    expect(warnings).toEqual([]);
    expect(config.events).toMatchObject({ enabled: true, spoolDir: '/spool', spoolMaxBytes: 512 * 1024 * 1024 });
    expect(taskOf(plainTemplate()).environment).toMatchObject({ EVENTS_SPOOL_MAX_BYTES: '256MiB' });
  });

  test('has nothing of it without the option', () => {
    const template = relayWith(() => ({})).template();
    expect(JSON.stringify(template.toJSON())).not.toMatch(/EFS|elasticfilesystem|SPOOL|USE_EVENTS/);
  });
});

describe('a file system of yours', () => {
  test('is mounted and not changed, but that its security group lets tasks in', () => {
    const accessPoint = (stack: Stack) =>
      AccessPoint.fromAccessPointAttributes(stack, 'Theirs', {
        accessPointId: existing.accessPointId,
        fileSystem: FileSystem.fromFileSystemAttributes(stack, 'Files', {
          fileSystemId: existing.fileSystemId,
          securityGroup: SecurityGroup.fromSecurityGroupId(stack, 'Group', existing.securityGroupId),
        }),
      });
    expectMounted(relayWith((stack) => ({ eventsSpool: { accessPoint: accessPoint(stack) } })).template());
  });

  test('may be of the same app: tasks wait for its mount targets', () => {
    const { template } = relayWith((stack) => {
      const vpc = Vpc.fromVpcAttributes(stack, 'Other', {
        vpcId: 'vpc-0123456789abcdef0',
        availabilityZones: ['eu-west-1a'],
        privateSubnetIds: ['subnet-0123456789abcdef0'],
      });
      const posixUser = { uid: '65532', gid: '65532' };
      return {
        eventsSpool: { accessPoint: new FileSystem(stack, 'Files', { vpc }).addAccessPoint('A', { posixUser }) },
      };
    });
    const [target] = only(template(), 'AWS::EFS::MountTarget');
    expect(only(template(), 'AWS::ECS::Service')[1].DependsOn).toContain(target);
  });

  test('of a stage is that of the region, and other regions get new ones @heavy', () => {
    const made = synthesise('x', {
      ...shipped.dev,
      edge: undefined,
      replicaRegions: ['us-east-1'],
      relayRegions: ['us-east-1'],
      relay: { eventsSpool: { existing: { 'eu-west-1': existing } } },
    });
    expectMounted(made.template('Relay'));
    made.template('Relay-us-east-1').resourceCountIs('AWS::EFS::FileSystem', 1);
  });

  function expectMounted(template: Template) {
    for (const type of ['FileSystem', 'MountTarget', 'AccessPoint']) template.resourceCountIs(`AWS::EFS::${type}`, 0);
    template.hasResourceProperties('AWS::ECS::TaskDefinition', {
      Volumes: [
        {
          EFSVolumeConfiguration: {
            FilesystemId: existing.fileSystemId,
            TransitEncryption: 'ENABLED',
            AuthorizationConfig: { AccessPointId: existing.accessPointId, IAM: 'ENABLED' },
          },
        },
      ],
    });
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      GroupId: existing.securityGroupId,
      FromPort: 2049,
      ToPort: 2049,
      SourceSecurityGroupId: Match.anyValue(),
    });
  }
});

describe('a stage', () => {
  const withSpool: StageSettings = {
    ...shipped.dev,
    edge: undefined,
    readerLayer: false,
    environments: [],
    replicaRegions: [],
    relay: { eventsSpool: {} },
    encryptionKeys: { 'eu-west-1': keyArn },
    tags: { team: 'flags' },
  };

  test('has it in the zones of its tasks, with its key and tags, by names that depend on the zone alone; cdk-nag accepts it @heavy', () => {
    const app = createApp();
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
    const made = synthesise('x', withSpool, app);
    const template = made.template('Relay');
    const [, { Properties, DeletionPolicy }] = only(template, 'AWS::EFS::FileSystem');
    expect(Properties.KmsKeyId).toBe(keyArn);
    expect(DeletionPolicy).toBe('Delete');
    expect(Properties.FileSystemTags).toEqual(
      expect.arrayContaining([
        { Key: 'stage', Value: 'x' },
        { Key: 'team', Value: 'flags' },
      ]),
    );
    expect(Object.keys(template.findResources('AWS::EFS::MountTarget'))).toEqual(
      ['a', 'b', 'c'].map((zone) => expect.stringMatching(`^RelayEventsSpoolMountTargeteuwest1${zone}`)),
    );
    const { environment } = taskOf(template);
    expect(parseConfig(asStarted(environment)).warnings).toEqual([]);
  });

  const relay = (settings: RelaySettings): object => ({ relay: settings });
  test.each<[object, string]>([
    [
      relay({ eventsSpool: { maxMiB: 4 } }),
      'relay.eventsSpool.maxMiB=4 is invalid: expected an integer from 8 to 1048576 (MiB)',
    ],
    [{ relay: { eventsSpool: { size: 1 } } }, 'relay.eventsSpool.size is unknown: expected one of maxMiB, existing'],
    [
      { relay: { eventsSpool: { existing } } },
      'relay.eventsSpool.existing has the invalid name "fileSystemId": expected a map of regions to file systems',
    ],
    [
      { relay: { eventsSpool: { existing: { 'eu-west-1': { ...existing, accessPointId: undefined } } } } },
      'relay.eventsSpool.existing.eu-west-1.accessPointId is missing',
    ],
    [
      relay({ eventsSpool: { existing: { 'eu-west-1': { ...existing, fileSystemId: 'fsap-0123456789abcdef0' } } } }),
      'relay.eventsSpool.existing.eu-west-1.fileSystemId="fsap-0123456789abcdef0" is invalid: expected the ID of a file system, such as fs-0123456789abcdef0',
    ],
    [
      relay({ eventsSpool: { existing: { 'us-west-2': existing } } }),
      'relay.eventsSpool.existing.us-west-2 has no effect: there is no relay in that region',
    ],
    [
      relay({ eventsSpool: {}, variables: { USE_EVENTS: 'false' } }),
      'relay.variables.USE_EVENTS must be true, or left out: relay.eventsSpool keeps events that the relay forwards',
    ],
    [
      relay({ eventsSpool: {}, variables: { EVENTS_SPOOL_DIR: '/tmp' } }),
      'relay.variables.EVENTS_SPOOL_DIR is set by the app: set relay.eventsSpool',
    ],
    [
      relay({ eventsSpool: {}, variables: { EVENTS_SPOOL_MAX_BYTES: '8MiB' } }),
      'relay.variables.EVENTS_SPOOL_MAX_BYTES is set by the app: set relay.eventsSpool',
    ],
    [relay({ eventsSpool: {}, loadBalancer: false }), 'relay.eventsSpool has no effect: relay.loadBalancer is false'],
  ])('with %j is refused: %s', (changes, message) => {
    expect(() => readStage('x', { ...withSpool, ...changes })).toThrow(message);
  });

  test('may have a directory elsewhere by the variable, where the option does not decide it', () => {
    const variables = { USE_EVENTS: 'true', EVENTS_SPOOL_DIR: '/mine' };
    expect(readStage('x', { ...withSpool, relay: { variables } }).relay.variables).toEqual(variables);
  });
});

test.each<[Partial<RelayServiceProps>, string]>([
  [
    { eventsSpool: { maxMiB: 7 } },
    'Mine/Relay: eventsSpool.maxMiB=7 is invalid: expected an integer from 8 to 1048576',
  ],
  [{ eventsSpool: {}, variables: { USE_EVENTS: 'no' } }, 'Mine/Relay: variables.USE_EVENTS must be true, or left out'],
  [
    { eventsSpool: {}, variables: { EVENTS_SPOOL_DIR: '/x' } },
    'Mine/Relay: variables.EVENTS_SPOOL_DIR is set by the construct: set eventsSpool',
  ],
])('a RelayService with %j is refused: %s', (props, message) => {
  expect(() => relayWith(() => props)).toThrow(message);
});
