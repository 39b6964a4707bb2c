/** The constructs in apps of others: what exists comes in as constructs, names are CloudFormation's, and others connect, grant and watch. */
import { Duration, Lazy, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { AttributeType, TableEncryptionV2, TableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { Peer, SecurityGroup, Subnet, SubnetType, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Cluster, ContainerImage, Secret } from 'aws-cdk-lib/aws-ecs';
import {
  ApplicationListener,
  ApplicationLoadBalancer,
  ListenerCondition,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { LayerVersion } from 'aws-cdk-lib/aws-lambda';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { HostedZone } from 'aws-cdk-lib/aws-route53';
import { Secret as StoredSecret } from 'aws-cdk-lib/aws-secretsmanager';
import { Topic } from 'aws-cdk-lib/aws-sns';
import {
  ExposureSender,
  FlagReaderLayer,
  FlagTable,
  type IRelayService,
  RelayAlarms,
  type RelayAlarmsProps,
  RelayCanary,
  RelayDashboard,
  RelayService,
  type RelayServiceProps,
} from '../../../lib/infrastructure/constructs.ts';
import { createApp } from '../../support/synthesise.ts';

const account = '123456789012';
const env = { account, region: 'eu-west-1' };
const balancers = `arn:aws:elasticloadbalancing:eu-west-1:${account}`;
const flags = FlagTable.fromExisting('flags', { homeRegion: 'eu-west-1', replicaRegions: ['us-east-1'] });
const image = ContainerImage.fromRegistry('public.ecr.aws/example/relay:1.2.3');

function vpcIn(stack: Stack) {
  return Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-0123456789abcdef0',
    availabilityZones: ['eu-west-1a', 'eu-west-1b'],
    privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
    privateSubnetRouteTableIds: ['rtb-0123456789abcdef0', 'rtb-0123456789abcdef0'],
    publicSubnetRouteTableIds: ['rtb-0123456789abcdef1', 'rtb-0123456789abcdef1'],
    publicSubnetIds: ['subnet-0123456789abcdef2', 'subnet-0123456789abcdef3'],
  });
}

function balancerIn(stack: Stack) {
  return ApplicationLoadBalancer.fromApplicationLoadBalancerAttributes(stack, 'Balancer', {
    loadBalancerArn: `${balancers}:loadbalancer/app/shop/0123456789abcdef`,
    loadBalancerDnsName: 'internal-shop-123.eu-west-1.elb.amazonaws.com',
    loadBalancerCanonicalHostedZoneId: 'Z32O12XQLNTSW2',
    securityGroupId: 'sg-0123456789abcdef0',
    vpc: vpcIn(stack),
  });
}

function listenerIn(stack: Stack) {
  return ApplicationListener.fromApplicationListenerAttributes(stack, 'Listener', {
    listenerArn: `${balancers}:listener/app/shop/0123456789abcdef/0123456789abcdef`,
    securityGroup: SecurityGroup.fromSecurityGroupId(stack, 'BalancerGroup', 'sg-0123456789abcdef0'),
  });
}

function certificateIn(stack: Stack) {
  const arn = `arn:aws:acm:eu-west-1:${account}:certificate/12345678-1234-1234-1234-123456789012`;
  return Certificate.fromCertificateArn(stack, 'Certificate', arn);
}

function relayIn(stack: Stack, props: Partial<RelayServiceProps> = {}) {
  return new RelayService(stack, 'Relay', { stage: 'mine', flagTable: flags, image, ...props });
}

function alarmsIn(stack: Stack, props: Partial<RelayAlarmsProps>) {
  const relay = RelayService.fromStage(stack, 'Theirs', { stage: 'prod', flagTable: flags });
  return new RelayAlarms(stack, 'Alarms', { relay, topics: [], ...props });
}

const newStack = (id = 'Mine') => new Stack(createApp(), id, { env });

describe('a relay of what exists already', () => {
  let template: Template;
  let relay: RelayService;
  beforeAll(() => {
    const stack = newStack();
    const loadBalancer = balancerIn(stack);
    relay = relayIn(stack, {
      cluster: Cluster.fromClusterAttributes(stack, 'Cluster', { clusterName: 'shop', vpc: loadBalancer.vpc! }),
      existingLoadBalancer: {
        ...{ loadBalancer, listener: listenerIn(stack), priority: 100 },
        conditions: [ListenerCondition.hostHeaders(['flags.example.com'])],
      },
      flagTable: FlagTable.fromTable(TableV2.fromTableName(stack, 'Table', 'ld-flags'), { homeRegion: 'eu-west-1' }),
      domainName: 'flags.example.com',
      domainZone: HostedZone.fromHostedZoneAttributes(stack, 'Zone', {
        hostedZoneId: 'Z0123456789ABCDEFGHIJ',
        zoneName: 'example.com',
      }),
      securityGroups: [SecurityGroup.fromSecurityGroupId(stack, 'Tasks', 'sg-0123456789abcdef1')],
      taskRole: Role.fromRoleArn(stack, 'TaskRole', `arn:aws:iam::${account}:role/relay`),
      executionRole: Role.fromRoleArn(stack, 'ExecutionRole', `arn:aws:iam::${account}:role/ecs`),
      encryptionKey: Key.fromKeyArn(stack, 'Key', `arn:aws:kms:eu-west-1:${account}:key/1234`),
      logRetention: RetentionDays.ONE_MONTH,
    });
    template = Template.fromStack(stack);
  });

  test('creates none of it a second time', () => {
    const types = Object.values(template.toJSON().Resources as Record<string, { Type: string }>).map(
      ({ Type }) => Type,
    );
    expect([...new Set(types)].sort()).toEqual([
      'AWS::ApplicationAutoScaling::ScalableTarget',
      'AWS::ApplicationAutoScaling::ScalingPolicy',
      'AWS::CloudWatch::Alarm',
      'AWS::EC2::SecurityGroupIngress',
      'AWS::ECS::Service',
      'AWS::ECS::TaskDefinition',
      'AWS::ElasticLoadBalancingV2::ListenerRule',
      'AWS::ElasticLoadBalancingV2::TargetGroup',
      'AWS::IAM::Policy',
      'AWS::Logs::LogGroup',
      'AWS::Route53::RecordSet',
    ]);
  });

  test('runs in the cluster, with the roles and the security group, behind a rule of the listener', () => {
    template.hasResourceProperties('AWS::ECS::Service', {
      Cluster: 'shop',
      NetworkConfiguration: { AwsvpcConfiguration: { SecurityGroups: ['sg-0123456789abcdef1'] } },
    });
    template.hasResourceProperties('AWS::ECS::TaskDefinition', {
      TaskRoleArn: `arn:aws:iam::${account}:role/relay`,
      ExecutionRoleArn: `arn:aws:iam::${account}:role/ecs`,
    });
    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::ListenerRule', {
      ListenerArn: `${balancers}:listener/app/shop/0123456789abcdef/0123456789abcdef`,
      Priority: 100,
      Conditions: [{ Field: 'host-header', HostHeaderConfig: { Values: ['flags.example.com'] } }],
      Actions: [Match.objectLike({ Type: 'forward' })],
    });
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      GroupId: 'sg-0123456789abcdef1',
      SourceSecurityGroupId: 'sg-0123456789abcdef0',
      FromPort: 8030,
    });
    template.hasResourceProperties('AWS::Route53::RecordSet', { Name: 'flags.example.com.', Type: 'A' });
    template.resourcePropertiesCountIs(
      'AWS::IAM::Policy',
      {
        PolicyDocument: {
          Statement: Match.arrayWith([
            Match.objectLike({ Action: 'kms:Decrypt', Resource: `arn:aws:kms:eu-west-1:${account}:key/1234` }),
          ]),
        },
      },
      2,
    );
  });

  test('is watched by the names of what exists', () => {
    expect(relay.observed({ environments: ['production'] })).toMatchObject({
      ...{ clusterName: 'shop', containerInsights: false, tableName: 'ld-flags', writes: true, canary: false },
      loadBalancers: [{ name: 'internal', fullName: 'app/shop/0123456789abcdef' }],
      environments: ['production'],
    });
    expect(relay.url).toBe('https://internal-shop-123.eu-west-1.elb.amazonaws.com');
  });
});

describe('a new relay with its monitoring', () => {
  let template: Template;
  let relay: RelayService;
  beforeAll(() => {
    const stack = newStack();
    const certificate = certificateIn(stack);
    relay = relayIn(stack, { vpc: vpcIn(stack), certificate, publicAccess: { certificate } });
    const readerLayer = LayerVersion.fromLayerVersionArn(
      stack,
      'Layer',
      `arn:aws:lambda:eu-west-1:${account}:layer:r:1`,
    );
    const canary = new RelayCanary(stack, 'Canary', { relay, environment: 'production', readerLayer });
    const watched = { relay, canary, environments: ['production'] };
    const { alarms, impaired } = new RelayAlarms(stack, 'Alarms', {
      ...{ ...watched, topics: [new Topic(stack, 'Topic')], thresholds: { cpu: 77 } },
    });
    new RelayDashboard(stack, 'Dashboard', { ...watched, alarms: [...alarms, impaired] });
    relay.connections.allowDefaultPortFrom(Peer.ipv4('10.9.0.0/16'));
    Key.fromKeyArn(stack, 'Key', `arn:aws:kms:eu-west-1:${account}:key/1234`).grantDecrypt(relay);
    template = Template.fromStack(stack);
  });

  test('has CloudFormation’s names', () => {
    const physical =
      /^(ClusterName|ServiceName|LogGroupName|FunctionName|AlarmName|DashboardName|RoleName|Name|TopicName)$/;
    type Resources = Record<string, { readonly Type: string; readonly Properties?: Record<string, unknown> }>;
    const named = Object.values(template.toJSON().Resources as Resources).flatMap(({ Type, Properties = {} }) =>
      Object.keys(Properties)
        // Others are references.
        .filter((name) => physical.test(name) && typeof Properties[name] === 'string')
        .map((name) => [Type, name, Properties[name]]),
    );
    // The CDK itself names composite alarms after their place in the app.
    const byCdk = named.filter(([type]) => type === 'AWS::CloudWatch::CompositeAlarm');
    expect(byCdk.every(([, , value]) => String(value).startsWith('MineAlarms'))).toBe(true);
    expect(named.filter((one) => !byCdk.includes(one))).toEqual([]);
    template.hasResourceProperties('AWS::ECS::TaskDefinition', { Family: Match.stringLikeRegexp('^MineRelay') });
  });

  test('is reached by the synthetic check, and by whom its connections let in', () => {
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      SecurityGroupIngress: Match.arrayWith([Match.objectLike({ CidrIp: '10.9.0.0/16', FromPort: 443, ToPort: 443 })]),
    });
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      FromPort: 443,
      GroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^RelayInternal'), 'GroupId'] },
      SourceSecurityGroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Canary'), 'GroupId'] },
    });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', { Threshold: 77, MetricName: 'CPUUtilization' });
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Action: 'kms:Decrypt' })]) },
      Roles: [{ Ref: Match.stringLikeRegexp('TaskRole') }],
    });
  });

  test('has metrics by every dimension by which relays report them, and no others', () => {
    expect(relay.metric('StreamsClosed', { dimensionsMap: { Reason: 'slow' } }).dimensions).toEqual({ Reason: 'slow' });
    expect(() => relay.metric('StreamsClosed')).toThrow(
      'dimensionsMap is invalid: relays report StreamsClosed by Reason, not by nothing',
    );
    expect(() => relay.metric('Answers5xx', { dimensionsMap: { Environment: 'production' } })).toThrow(
      'dimensionsMap is invalid: relays report Answers5xx by nothing, not by Environment',
    );
  });

  test('has metrics, by the minute unless asked otherwise', () => {
    const errors = relay.metricErrors();
    expect([errors.namespace, errors.metricName, errors.statistic, errors.period.toSeconds()]).toEqual([
      'EdgeFlagRelay/mine',
      'Answers5xx',
      'Sum',
      60,
    ]);
    expect(relay.metricStreams({ statistic: 'Maximum', period: Duration.minutes(5) })).toMatchObject({
      ...{ metricName: 'StreamsOpen', statistic: 'Maximum', period: Duration.minutes(5) },
    });
    expect(relay.metric('DataAge').metricName).toBe('DataAge');
    expect(relay.metricCpuUtilization().namespace).toBe('AWS/ECS');
  });
});

test('the relay of a stage is watched by its names, and only what is used is read from SSM', () => {
  const stack = newStack();
  const relay = RelayService.fromStage(stack, 'Relay', { stage: 'prod', flagTable: flags });
  new RelayAlarms(stack, 'Alarms', { relay, topics: [], alarmNamePrefix: 'shop' });
  expect(relay.observed()).toMatchObject({
    ...{ clusterName: 'edge-flag-relay-prod', serviceName: 'relay', logGroupName: '/edge-flag-relay/prod/relay' },
    ...{ namespace: 'EdgeFlagRelay/prod', tasks: 3, replicaRegions: ['us-east-1'], otherEnvironments: true },
  });
  const template = Template.fromStack(stack);
  const read = Object.values(template.toJSON().Parameters as Record<string, { Default: string }>)
    .map(({ Default }) => Default)
    .filter((name) => name.startsWith('/edge-flag-relay/'));
  expect(read.sort()).toEqual([
    '/edge-flag-relay/prod/load-balancers/internal/full-name',
    '/edge-flag-relay/prod/load-balancers/internal/target-group',
  ]);
  template.hasResourceProperties('AWS::CloudWatch::Alarm', { AlarmName: 'shop-cpu' });
  const elsewhere = RelayService.fromStage(stack, 'Other', { stage: 'prod', flagTable: flags, region: 'us-east-1' });
  expect(elsewhere.observed()).toMatchObject({ region: 'us-east-1', writes: false, loadBalancers: [] });
});

test('the relay of a stage has the alarm on overdue heartbeats if it is told that there are some, and none on replicas', () => {
  const namesWith = (heartbeats: boolean | undefined) => {
    const stack = newStack();
    const relay = RelayService.fromStage(stack, 'Relay', {
      ...{ stage: 'prod', flagTable: flags },
      ...(heartbeats !== undefined && { heartbeats }),
    });
    new RelayAlarms(stack, 'Alarms', { relay, topics: [], alarmNamePrefix: 'shop' });
    return alarmsOf(stack).flatMap(({ AlarmName }) => (/heartbeats/.test(AlarmName) ? [AlarmName] : []));
  };
  expect(namesWith(true)).toEqual(['shop-heartbeats-overdue']);
  for (const heartbeats of [false, undefined]) expect(namesWith(heartbeats)).toEqual([]);
});

test('a table of the CDK’s own is granted with its key', () => {
  const stack = newStack();
  const table = new TableV2(stack, 'Table', {
    tableName: 'flags',
    partitionKey: { name: 'namespace', type: AttributeType.STRING },
    encryption: TableEncryptionV2.customerManagedKey(new Key(stack, 'Key')),
  });
  const role = new Role(stack, 'Role', { assumedBy: new ServicePrincipal('ecs-tasks.amazonaws.com') });
  FlagTable.fromTable(table).grantRead(role);
  Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: {
      Statement: [
        Match.objectLike({ Action: 'kms:Decrypt' }),
        Match.objectLike({ Action: ['dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query'] }),
      ],
    },
  });
});

/** The properties of the alarms, without those of their names. */
function alarmsOf(stack: Stack) {
  const found = Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm');
  return Object.entries(found).map(([id, { Properties }]) => ({ id, ...Properties }));
}

describe('alarms and dashboards in another region than the relay', () => {
  const elsewhere = () => new Stack(createApp(), 'Theirs', { env: { account, region: 'us-east-1' } });
  const relayOf = (stack: Stack) =>
    RelayService.fromStage(stack, 'Relay', { stage: 'prod', flagTable: flags, region: 'eu-west-1' });

  test('are refused: an alarm reads the metrics of its own region', () => {
    const stack = elsewhere();
    const relay = relayOf(stack);
    expect(() => new RelayAlarms(stack, 'Alarms', { relay, topics: [] })).toThrow(
      'Theirs/Alarms is in us-east-1, and its relay in eu-west-1: put alarms into a stack there',
    );
    const home = newStack();
    for (const [id, one] of Object.entries({ Theirs: relay, Mine: relayIn(home, { vpc: vpcIn(home) }) })) {
      const alarm = () => new Alarm(stack, id, { metric: one.metricErrors(), threshold: 1, evaluationPeriods: 1 });
      expect(alarm).toThrow(/Cannot create an Alarm in region 'us-east-1' based on metric 'Answers5xx' in 'eu-west-1'/);
    }
  });

  test('read the relay’s region @heavy', () => {
    const stack = elsewhere();
    const names = { fullName: 'app/relay/1', targetGroupFullName: 'targetgroup/relay/1' };
    const observed = { ...relayOf(stack).observed(), loadBalancers: [{ name: 'internal', ...names }] };
    new RelayDashboard(stack, 'Dashboard', { relay: { observed: () => observed } });
    const [{ Properties }] = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Dashboard')) as [
      { Properties: { DashboardBody: { 'Fn::Join': [string, unknown[]] } } },
    ];
    const [, parts] = Properties.DashboardBody['Fn::Join'];
    const text = parts.map((part) => (typeof part === 'string' ? part : 'us-east-1')).join('');
    const { widgets } = JSON.parse(text) as {
      widgets: { type: string; properties: { region?: string; metrics?: unknown[][] } }[];
    };
    const regions = widgets.flatMap(({ type, properties }) =>
      type === 'log'
        ? [properties.region]
        : (properties.metrics ?? [])
            .map((row) => [row, row.at(-1) as { region?: string; expression?: string }] as const)
            // Math has the region of its metrics.
            .filter(([row, { expression = 'SEARCH' }]) => expression.startsWith('SEARCH') && row[0] !== 'AWS/DynamoDB')
            .map(([, { region }]) => region),
    );
    expect(regions.length).toBeGreaterThan(40);
    expect(new Set(regions)).toEqual(new Set(['eu-west-1']));
  });
});

test('the log widget of a relay that only reads is of its own region @heavy', () => {
  const stack = new Stack(createApp(), 'Theirs', { env: { account, region: 'us-east-1' } });
  new RelayDashboard(stack, 'Dashboard', {
    relay: RelayService.fromStage(stack, 'Relay', { stage: 'prod', flagTable: flags, loadBalancers: [] }),
  });
  const body = JSON.stringify(Template.fromStack(stack).findResources('AWS::CloudWatch::Dashboard'));
  const [, log] = body.split('Recent errors and warnings');
  expect(log).toMatch(/^\W+region\W+us-east-1/);
});

test('a relay without a load balancer whose tasks are all gone pages @heavy', () => {
  const stack = newStack();
  const relay = relayIn(stack, { vpc: vpcIn(stack), loadBalancer: false });
  new RelayAlarms(stack, 'Alarms', { relay, topics: [] });
  const [gone] = alarmsOf(stack).filter(({ AlarmDescription }) => AlarmDescription.startsWith('Fewer than 3 relays'));
  expect(gone).toMatchObject({
    ...{ MetricName: 'Up', Statistic: 'Sum', Threshold: 3, ComparisonOperator: 'LessThanThreshold' },
    TreatMissingData: 'breaching',
  });
  const [impaired] = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::CompositeAlarm'));
  expect(JSON.stringify(impaired!.Properties.AlarmRule)).toContain(gone!.id);
});

test.each([undefined, true, false])('what a load balancer refuses counts unless it is shared: %s @heavy', (shared) => {
  const stack = newStack();
  const relay = relayIn(stack, {
    vpc: vpcIn(stack),
    existingLoadBalancer: {
      ...{ loadBalancer: balancerIn(new Stack(stack, 'Theirs', { env })), listener: listenerIn(stack), priority: 1 },
      ...(shared !== undefined && { shared }),
    },
  });
  new RelayAlarms(stack, 'Alarms', { relay, topics: [] });
  const budget = alarmsOf(stack).filter(({ AlarmDescription }) => AlarmDescription.includes('error-budget'));
  expect(budget.length).toBe(6);
  for (const alarm of budget) {
    const names = alarm.Metrics.flatMap(({ MetricStat }: { MetricStat?: { Metric: { MetricName: string } } }) =>
      MetricStat ? [MetricStat.Metric.MetricName] : [],
    );
    // AWS: HTTPCode_ELB_5XX_Count has no dimension of a target group.
    expect([...names].sort()).toEqual([
      ...(shared === false ? ['HTTPCode_ELB_5XX_Count'] : []),
      ...['HTTPCode_Target_5XX_Count', 'RequestCount'],
    ]);
    expect(alarm.Metrics[0].Expression.includes('refused')).toBe(shared === false);
  }
});

test('the alarms of a synthetic check that runs every five minutes look at five minutes @heavy', () => {
  const stack = newStack();
  const relay = relayIn(stack, { vpc: vpcIn(stack) });
  const readerLayer = LayerVersion.fromLayerVersionArn(stack, 'Layer', 'arn:aws:lambda:eu-west-1:1:layer:r:1');
  const about = { relay, environment: 'production', readerLayer };
  const canary = new RelayCanary(stack, 'Canary', { ...about, every: Duration.minutes(5) });
  new RelayAlarms(stack, 'Alarms', { relay, canary, topics: [] });
  const own = alarmsOf(stack).filter(({ Namespace }) => Namespace === 'EdgeFlagRelayCanary/mine');
  expect(own.map(({ MetricName, Period }) => [MetricName, Period])).toEqual([
    ['Success', 300],
    ['DifferingFlags', 300],
  ]);
  const { namespace, metricName, statistic, period } = canary.metric('TableLatency', { statistic: 'p99' });
  expect([namespace, metricName, statistic, period.toSeconds()]).toEqual([
    ...['EdgeFlagRelayCanary/mine', 'TableLatency', 'p99', 300],
  ]);
});

describe('topics of yours', () => {
  function told(stack: Stack, account: string) {
    const topic = Topic.fromTopicArn(stack, 'Topic', `arn:aws:sns:eu-west-1:${account}:chat`);
    const relay = RelayService.fromStage(stack, 'Theirs', { stage: 'prod', flagTable: flags });
    new RelayAlarms(stack, 'Alarms', { relay, topics: [topic] });
    return topic.topicArn;
  }

  test('made by the app let alarms and rules publish, and use their key @heavy', () => {
    const stack = newStack();
    const topic = new Topic(stack, 'Topic', { enforceSSL: true, masterKey: new Key(stack, 'Key') });
    const relay = RelayService.fromStage(stack, 'Theirs', { stage: 'prod', flagTable: flags });
    new RelayAlarms(stack, 'Alarms', { relay, topics: [topic] });
    const template = Template.fromStack(stack);
    const services = ({ Principal }: { Principal?: { Service?: string | string[] } }) => Principal?.Service ?? [];
    const [{ Properties: policy }] = Object.values(template.findResources('AWS::SNS::TopicPolicy')) as [
      {
        Properties: {
          PolicyDocument: { Statement: { Condition?: object; Principal?: { Service?: string | string[] } }[] };
        };
      },
    ];
    const { Statement } = policy.PolicyDocument;
    // Amazon SNS: CloudWatch gives its account; EventBridge does not, and would be refused by a condition on it.
    expect(Statement.filter((one) => services(one).includes('cloudwatch.amazonaws.com'))).toMatchObject([
      {
        ...{ Action: 'sns:Publish', Effect: 'Allow' },
        Condition: { StringEquals: { 'aws:SourceAccount': account } },
      },
    ]);
    const rules = Statement.filter((one) => services(one).includes('events.amazonaws.com'));
    expect(rules.some(({ Condition }) => Condition === undefined)).toBe(true);
    // Amazon SNS, "Enable compatibility between event sources from AWS services and encrypted topics".
    template.hasResourceProperties('AWS::KMS::Key', {
      KeyPolicy: {
        Statement: Match.arrayWith([
          Match.objectLike({
            ...{ Action: ['kms:Decrypt', 'kms:GenerateDataKey*'], Effect: 'Allow', Condition: Match.absent() },
            Principal: { Service: Match.arrayWith(['cloudwatch.amazonaws.com']) },
          }),
        ]),
      },
    });
  });

  test('are at most five: CloudWatch takes no more actions', () => {
    const stack = newStack();
    const relay = RelayService.fromStage(stack, 'Theirs', { stage: 'prod', flagTable: flags });
    const topics = Array.from({ length: 6 }, (_, index) => new Topic(stack, `Topic${index}`));
    expect(() => new RelayAlarms(stack, 'Alarms', { relay, topics })).toThrow(
      /^Mine\/Alarms\/[\w-]+: 6 topics are too many: an alarm notifies at most 5$/,
    );
  });

  test('cause no warning in a stack whose account is decided at deployment @heavy', () => {
    const stack = new Stack(createApp(), 'Mine', { env: { region: 'eu-west-1' } });
    const Arn = told(stack, account);
    expect(Annotations.fromStack(stack).findWarning('*', Match.anyValue())).toEqual([]);
    Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', {
      Targets: [{ Arn, RoleArn: Match.absent() }],
    });
  });

  test('may belong to another account: EventBridge publishes there with a role @heavy', () => {
    const stack = newStack();
    const Arn = told(stack, '210987654321');
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Events::Rule', { Targets: [{ Arn, RoleArn: Match.anyValue() }] });
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: { Statement: [{ Action: 'sns:Publish', Effect: 'Allow', Resource: Arn }] },
    });
  });
});

test('an existing load balancer without a listener gets one of the relay’s own', () => {
  const stack = newStack();
  const relay = relayIn(stack, {
    ...{ vpc: vpcIn(stack), allowedCidrs: ['10.0.0.0/8'], accessLogs: false },
    existingLoadBalancer: { loadBalancer: balancerIn(new Stack(stack, 'Theirs', { env })), port: 8443 },
    certificate: certificateIn(stack),
  });
  expect(relay.url).toMatch(/^https:.*:8443$/);
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::ElasticLoadBalancingV2::Listener', {
    LoadBalancerArn: `${balancers}:loadbalancer/app/shop/0123456789abcdef`,
    ...{ Port: 8443, Protocol: 'HTTPS' },
  });
  template.resourceCountIs('AWS::ElasticLoadBalancingV2::LoadBalancer', 0);
});

describe('subnets', () => {
  const zones = { availabilityZones: ['eu-west-1a', 'eu-west-1b'] };
  const vpcOf = (stack: Stack, ...types: SubnetType[]) =>
    new Vpc(stack, 'Own', {
      ...zones,
      subnetConfiguration: types.map((subnetType, index) => ({ name: `group${index}`, subnetType })),
    });
  const { PUBLIC, PRIVATE_WITH_EGRESS, PRIVATE_ISOLATED } = SubnetType;

  // Elastic Load Balancing: "You can specify only one subnet per Availability Zone".
  test('of a load balancer are one of each zone, whatever groups the VPC has @heavy', () => {
    const stack = newStack();
    const vpc = vpcOf(stack, PUBLIC, PUBLIC, PRIVATE_WITH_EGRESS, PRIVATE_WITH_EGRESS);
    const certificate = certificateIn(stack);
    relayIn(stack, { vpc, certificate, publicAccess: { certificate } });
    const template = Template.fromStack(stack);
    const balancers = Object.values(template.findResources('AWS::ElasticLoadBalancingV2::LoadBalancer'));
    expect(balancers.map(({ Properties }) => Properties.Subnets.length)).toEqual([2, 2]);
    // Tasks may be in all of them.
    const [service] = Object.values(template.findResources('AWS::ECS::Service'));
    expect(service!.Properties.NetworkConfiguration.AwsvpcConfiguration.Subnets).toHaveLength(4);
  });

  test('that are named stay as they are, for a public load balancer, too @heavy', () => {
    const stack = newStack();
    const named = (...ids: string[]) => ({
      subnets: ids.map((id) => Subnet.fromSubnetAttributes(stack, id, { subnetId: id, routeTableId: 'rtb-1' })),
    });
    const certificate = certificateIn(stack);
    relayIn(stack, {
      ...{ vpc: vpcIn(stack), certificate, taskSubnets: named('subnet-1', 'subnet-2') },
      publicAccess: { certificate, subnets: named('subnet-3', 'subnet-4') },
    });
    const balancers = Object.values(
      Template.fromStack(stack).findResources('AWS::ElasticLoadBalancingV2::LoadBalancer'),
    );
    expect(balancers.map(({ Properties }) => Properties.Subnets)).toEqual([
      ['subnet-1', 'subnet-2'],
      ['subnet-3', 'subnet-4'],
    ]);
  });

  test.each([PRIVATE_ISOLATED, PUBLIC])(
    'of a relay are those of its synthetic check and of what sends it exposures: %s @heavy',
    (subnetType) => {
      const stack = newStack();
      const vpc = vpcOf(stack, subnetType);
      const relay = relayIn(stack, { vpc, taskSubnets: { subnetType }, assignPublicIp: subnetType === PUBLIC });
      const readerLayer = LayerVersion.fromLayerVersionArn(stack, 'Layer', 'arn:aws:lambda:eu-west-1:1:layer:r:1');
      new RelayCanary(stack, 'Canary', { relay, environment: 'production', readerLayer });
      new ExposureSender(stack, 'Sender', { relay });
      const template = Template.fromStack(stack);
      const [service] = Object.values(template.findResources('AWS::ECS::Service'));
      const { Subnets } = service!.Properties.NetworkConfiguration.AwsvpcConfiguration;
      expect(Subnets).toHaveLength(2);
      const inVpc = Object.values(template.findResources('AWS::Lambda::Function')).flatMap(({ Properties }) =>
        Properties.VpcConfig ? [Properties.VpcConfig.SubnetIds] : [],
      );
      expect(inVpc).toEqual([Subnets, Subnets]);
    },
  );
});

test('what sends exposures takes its relay: its address, its name, and the way in @heavy', () => {
  const stack = newStack();
  const relay = relayIn(stack, {
    vpc: vpcIn(stack),
    certificate: certificateIn(stack),
    domainName: 'flags.example.com',
  });
  new ExposureSender(stack, 'Sender', { relay });
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Lambda::Function', {
    FunctionName: 'edge-flag-relay-mine-exposures-sender',
    Environment: {
      Variables: {
        RELAY_URL: { 'Fn::Join': ['', ['https://', { 'Fn::GetAtt': [Match.stringLikeRegexp('^Relay'), 'DNSName'] }]] },
        RELAY_SERVER_NAME: 'flags.example.com',
      },
    },
  });
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    FromPort: 443,
    GroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^RelayInternal'), 'GroupId'] },
    SourceSecurityGroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Sender'), 'GroupId'] },
  });
});

test('secrets of the CDK’s are taken for agents and for Redis @heavy', () => {
  const stack = newStack();
  const secret = (name: string) => Secret.fromSecretsManager(new StoredSecret(stack, name), 'key');
  relayIn(stack, {
    ...{ vpc: vpcIn(stack), redis: { url: secret('Redis'), cluster: true } },
    agent: { otel: { endpoint: 'https://otel.example.com', headers: { 'api-key': secret('Agent') } } },
  });
  const [task] = Object.values(Template.fromStack(stack).findResources('AWS::ECS::TaskDefinition'));
  const [relay, agent] = task!.Properties.ContainerDefinitions;
  const from = (name: string) => ({ 'Fn::Join': ['', [{ Ref: expect.stringMatching(`^${name}`) }, ':key::']] });
  expect(relay.Secrets).toEqual([{ Name: 'REDIS_URL', ValueFrom: from('Redis') }]);
  const variables = Object.fromEntries(
    relay.Environment.map(({ Name, Value }: { Name: string; Value: string }) => [Name, Value]),
  );
  expect(variables).toMatchObject({ USE_REDIS: 'true', REDIS_CLUSTER: 'true' });
  expect(variables).not.toHaveProperty('REDIS_URL');
  expect(agent.Secrets).toEqual([{ Name: 'HEADER_API_KEY', ValueFrom: from('Agent') }]);
});

test.each(['Datadog', 'OpenTelemetry'])('an image of %s in a private ECR repository may be pulled @heavy', (agent) => {
  const stack = newStack();
  const image = '210987654321.dkr.ecr.eu-west-1.amazonaws.com/agents/mine:1.2.3';
  const settings = {
    Datadog: { datadog: { apiKey: '/key', image } },
    OpenTelemetry: { otel: { config: '{}', image } },
  };
  relayIn(stack, { vpc: vpcIn(stack), agent: settings[agent as keyof typeof settings] });
  const template = Template.fromStack(stack);
  const [task] = Object.values(template.findResources('AWS::ECS::TaskDefinition'));
  const [, container] = task!.Properties.ContainerDefinitions;
  expect(JSON.stringify(container.Image)).toMatch(/210987654321\.dkr\.ecr\.eu-west-1\..*\/agents\/mine:1\.2\.3/);
  // AWS: "Amazon ECS task execution IAM role".
  template.hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({
          Action: ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
          Resource: {
            'Fn::Join': ['', Match.arrayWith([Match.stringLikeRegexp(':210987654321:repository/agents/mine$')])],
          },
        }),
      ]),
    },
  });
});

describe('keys of environments', () => {
  const statementsFor = (grant: (relay: IRelayService, role: Role) => void, ours = true) => {
    const stack = newStack();
    const role = new Role(stack, 'App', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
    const key = Key.fromKeyArn(stack, 'Key', `arn:aws:kms:eu-west-1:${account}:key/1234`);
    grant(
      ours
        ? relayIn(stack, { vpc: vpcIn(stack), encryptionKey: key })
        : RelayService.fromStage(stack, 'Theirs', { stage: 'prod', flagTable: flags }),
      role,
    );
    const policies = Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy'));
    const own = policies.find(({ Properties }) => Properties.Roles[0].Ref?.startsWith('App'));
    return own!.Properties.PolicyDocument.Statement;
  };
  const arn = (name: string) => `arn:aws:ssm:eu-west-1:${account}:parameter/edge-flag-relay/${name}`;

  test('can be read by what connects to the relay, with their key @heavy', () => {
    expect(statementsFor((relay, role) => relay.grantReadKeys(role, { environment: 'production' }))).toMatchObject([
      {
        Action: ['ssm:GetParameter', 'ssm:GetParameters', 'ssm:GetParametersByPath'],
        Resource: [arn('mine/environments/production'), arn('mine/environments/production/*')],
      },
      { Action: 'kms:Decrypt', Resource: `arn:aws:kms:eu-west-1:${account}:key/1234` },
    ]);
  });

  // docs/keys.md, what npm run keys needs.
  test('can be managed by what runs npm run keys @heavy', () => {
    expect(statementsFor((relay, role) => relay.grantManageKeys(role), false)).toMatchObject([
      {
        Action: ['ssm:DeleteParameters', 'ssm:GetParameters', 'ssm:GetParametersByPath', 'ssm:PutParameter'],
        Resource: [arn('prod/environments'), arn('prod/environments/*')],
      },
    ]);
  });
});

describe('a flag table is not granted to another account', () => {
  const other = '999999999999';
  test('by a role of it', () => {
    const stack = newStack();
    const role = Role.fromRoleArn(stack, 'Role', `arn:aws:iam::${other}:role/app`);
    for (const grant of [() => flags.grantRead(role), () => flags.grantWrite(role)]) {
      expect(grant).toThrow(
        `Mine/Role is of account ${other}, flag table flags of ${account}: only its own account may use it`,
      );
    }
  });

  test('in a stack of it', () => {
    const app = createApp();
    const table = new FlagTable(new Stack(app, 'Data', { env }), 'Flags', { tableName: 'flags', replicaRegions: [] });
    const stack = new Stack(app, 'Theirs', { env: { ...env, account: other } });
    const role = new Role(stack, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
    expect(() => table.grantRead(role)).toThrow(`Theirs/Role is of account ${other}, flag table flags of ${account}`);
    const agnostic = new Role(new Stack(app, 'Any', { env: { region: 'eu-west-1' } }), 'Role', {
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
    });
    expect(table.grantRead(agnostic).success).toBe(true);
  });
});

test.each<[string, Partial<RelayServiceProps>, string]>([
  ['no streams', { streamsPerTask: 0 }, 'streamsPerTask=0 is invalid: expected an integer from 100 to 100000'],
  ['no tasks', { tasks: 0 }, 'tasks=0 is invalid: expected an integer from 1 to 1000'],
  [
    'fewer tasks at most',
    { maxTasks: 2 },
    'maxTasks=2 is invalid: expected at least 3, the number of tasks that always run',
  ],
  [
    'a token',
    { tasks: Lazy.number({ produce: () => 3 }) },
    'tasks must be a literal, since other properties follow from it',
  ],
  [
    'the port of SDKs for metrics',
    { prometheus: { port: 8030 } },
    'prometheus.port=8030 is invalid: expected another port than 8030, on which the relay serves SDKs',
  ],
  [
    'a setting of the construct',
    { variables: { PORT: '1' } },
    'variables.PORT is set by the construct: load balancer and health check use 8030',
  ],
  [
    'a setting of the construct as a secret',
    { secrets: { HEARTBEAT_INTERVAL: {} as Secret } },
    'secrets.HEARTBEAT_INTERVAL is set by the construct: set heartbeat',
  ],
  [
    'a setting of redis',
    { redis: { url: 'rediss://example.com' }, variables: { USE_REDIS: 'false' } },
    'variables.USE_REDIS is set by the construct: set redis',
  ],
  [
    'a setting twice',
    { variables: { BASE_URI: 'https://a.example.com' }, secrets: { BASE_URI: {} as Secret } },
    'secrets.BASE_URI is also in variables: remove one of them',
  ],
  [
    'two sources of environments',
    { variables: { FILE_DATA_SOURCE: '/a' }, secrets: { AUTO_CONFIG_KEY: {} as Secret } },
    'AUTO_CONFIG_KEY and FILE_DATA_SOURCE: a relay has one source of environments',
  ],
  ['an agent that sends nowhere', { agent: { otel: {} } }, 'agent.otel needs either endpoint or config'],
  [
    'a size of no task',
    { cpu: 256, memoryMiB: 4096 },
    'memoryMiB=4096 is invalid: expected 512, 1024, 2048 with a CPU of 256',
  ],
])('a relay with %s is refused by the name of the property', (_, props, message) => {
  const stack = newStack();
  expect(() => relayIn(stack, { vpc: vpcIn(stack), ...props })).toThrow(`Mine/Relay: ${message}`);
});

test.each(['My Stage', '', 'a'.repeat(25), 'shop-edge', 'a.b'])('%j is no stage of a construct', (stage) => {
  const stack = newStack();
  const message = `stage ${JSON.stringify(stage)} must ${stage === 'shop-edge' ? 'not end with -edge' : 'be 1 to 24 characters'}`;
  for (const [id, build] of Object.entries({
    Relay: () => relayIn(stack, { vpc: vpcIn(stack), stage }),
    Theirs: () => RelayService.fromStage(stack, 'Theirs', { stage, flagTable: flags }),
    Layer: () => new FlagReaderLayer(stack, 'Layer', { stage }),
    Sender: () =>
      new ExposureSender(stack, 'Sender', { stage, relayUrl: 'https://a', vpc: vpcIn(new Stack(stack, 'S')) }),
  })) {
    expect(build).toThrow(`Mine/${id}: ${message}`);
  }
});

test.each<[string, (stack: Stack) => unknown, string]>([
  [
    'a cluster in another VPC',
    (stack) => {
      const own = new Vpc(stack, 'Own', { availabilityZones: ['eu-west-1a', 'eu-west-1b'] });
      return relayIn(stack, { vpc: vpcIn(stack), cluster: new Cluster(stack, 'Cluster', { vpc: own }) });
    },
    'Mine/Relay: vpc is not that of cluster, in which tasks run: leave vpc out',
  ],
  [
    'exposures without a relay',
    (stack) => new ExposureSender(stack, 'Sender', { stage: 'mine', vpc: vpcIn(stack) }),
    'Mine/Sender: relayUrl is missing: give it, or a relay that has it',
  ],
  [
    'an address without a scheme, such as a token',
    (stack) => new ExposureSender(stack, 'Sender', { stage: 'mine', vpc: vpcIn(stack), relayUrl: 'relay.example.com' }),
    'relayUrl=relay.example.com is invalid: expected http:// or https://, and a host',
  ],
  ['no VPC', (stack) => relayIn(stack), 'Mine/Relay: vpc is missing: give vpc, or cluster, whose VPC is used then'],
  [
    'a zone without a name',
    (stack) =>
      relayIn(stack, {
        vpc: vpcIn(stack),
        domainZone: HostedZone.fromHostedZoneAttributes(stack, 'Zone', { hostedZoneId: 'Z1', zoneName: 'example.com' }),
      }),
    'Mine/Relay: domainName is missing: give the name that gets a record in domainZone',
  ],
  [
    'a listener without a priority',
    (stack) =>
      relayIn(stack, {
        vpc: vpcIn(stack),
        existingLoadBalancer: { loadBalancer: balancerIn(new Stack(stack, 'Theirs')), listener: listenerIn(stack) },
      }),
    'Mine/Relay/Internal: priority is missing: give a number that no other rule of the existing listener has',
  ],
  [
    'public access without a certificate',
    (stack) => relayIn(stack, { vpc: vpcIn(stack), publicAccess: {} }),
    'Mine/Relay/Public: publicAccess.certificate is missing: a public load balancer needs a certificate',
  ],
  [
    'a canary without a relay',
    (stack) =>
      new RelayCanary(stack, 'Canary', {
        environment: 'production',
        readerLayer: LayerVersion.fromLayerVersionArn(stack, 'Layer', 'arn:aws:lambda:eu-west-1:1:layer:r:1'),
      }),
    'Mine/Canary: stage is missing: give it, or a relay that has it',
  ],
  [
    'an objective that leaves no error budget',
    (stack) => alarmsIn(stack, { availabilityPercent: 100 }),
    'Mine/Alarms: availabilityPercent=100 is invalid: expected from 95 to 99.999 (%)',
  ],
  [
    'an objective whose fastest burn rate is more than all requests',
    (stack) => alarmsIn(stack, { availabilityPercent: 90 }),
    'Mine/Alarms: availabilityPercent=90 is invalid: expected from 95 to 99.999 (%)',
  ],
  [
    'a threshold above all values',
    (stack) => alarmsIn(stack, { thresholds: { cpu: 700 } }),
    'Mine/Alarms: thresholds.cpu=700 is invalid: expected from 0 to 100 (%)',
  ],
  [
    'a threshold of no alarm',
    (stack) => alarmsIn(stack, { thresholds: { cpus: 70 } as never }),
    'Mine/Alarms: thresholds.cpus is unknown: expected one of cpu, memory, ',
  ],
])('%s is refused with the construct’s path and what to do', (_, build, message) => {
  expect(() => build(newStack())).toThrow(message);
});
