/** A stage's monitoring, with placeholders for what a real stage has in other stacks. */
import { type App, CfnWaitConditionHandle, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { SecurityGroup, Vpc } from 'aws-cdk-lib/aws-ec2';
import { LayerVersion } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { FlagTable } from '../../../../lib/infrastructure/flag-table.ts';
import {
  type AlarmOptions,
  dashboardAddress,
  EdgeAlarms,
  RegionAlarms,
} from '../../../../lib/infrastructure/observability/alarms.ts';
import { ObservabilityStack, observeTable } from '../../../../lib/infrastructure/observability/observability-stack.ts';
import { readStage } from '../../../../lib/infrastructure/parse-stage.ts';
import type { StageSettings } from '../../../../lib/infrastructure/stage-settings.ts';
import { createApp } from '../../../support/synthesise.ts';

const account = '123456789012';
export const tickets = `arn:aws:sns:eu-west-1:${account}:alarms`;
export const pages = `arn:aws:sns:eu-west-1:${account}:pages`;

const DASHBOARD = dashboardAddress('eu-west-1', 'edge-flag-relay-full');

export interface Observability {
  readonly app: App;
  readonly stack: ObservabilityStack;
  readonly home: Template;
  /** The template of a region with a replica and edge functions. */
  readonly region: (region: string) => Template;
  readonly edge: Template;
}

export function observe(settings: StageSettings, app = createApp()): Observability {
  const stage = readStage('full', { ...settings, account });
  const { homeRegion: region, replicaRegions, tableName, environments } = stage;
  const env = { account, region };
  const given = new Stack(app, 'Given', { env });
  // The validator rejects an empty stack.
  new CfnWaitConditionHandle(given, 'Something');
  const stack = new ObservabilityStack(app, 'Observability', {
    env,
    stage,
    relay: {
      clusterName: 'edge-flag-relay-full',
      serviceName: 'relay',
      logGroupName: '/edge-flag-relay/full/relay',
      loadBalancers: ['internal', 'public'].map((name) => ({
        name,
        fullName: `app/${name}/1`,
        targetGroupFullName: `targetgroup/${name}/1`,
      })),
    },
    alarms: () => ({
      topics: [Topic.fromTopicArn(given, 'Topic', tickets)],
      pages: [Topic.fromTopicArn(given, 'Pages', pages)],
      runbooks: stage.alarms.runbooks,
      thresholds: stage.alarms.thresholds,
      dashboard: DASHBOARD,
    }),
    canary: (scope) => ({
      environment: environments[0]!,
      relayUrl: 'https://relay.internal',
      loadBalancer: SecurityGroup.fromSecurityGroupId(scope, 'LoadBalancer', 'sg-0123456789abcdef0'),
      vpc: Vpc.fromVpcAttributes(scope, 'Vpc', {
        vpcId: 'vpc-0123456789abcdef0',
        availabilityZones: ['eu-west-1a', 'eu-west-1b'],
        privateSubnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
        privateSubnetRouteTableIds: ['rtb-0123456789abcdef0', 'rtb-0123456789abcdef1'],
      }),
      subnets: {},
      flagTable: FlagTable.fromExisting(tableName, { homeRegion: region, replicaRegions }),
      readerLayer: LayerVersion.fromLayerVersionArn(scope, 'Layer', `arn:aws:lambda:${region}:${account}:layer:r:1`),
    }),
  });
  const optionsOf = (scope: Stack): AlarmOptions => {
    const named = (kind: 'Topic' | 'Pages', arn: string) =>
      Topic.fromTopicArn(scope, kind, arn.replace('eu-west-1', scope.region));
    const { thresholds, runbooks } = stage.alarms;
    const told = { topics: [named('Topic', tickets)], pages: [named('Pages', pages)] };
    return { ...told, thresholds, runbooks, dashboard: DASHBOARD };
  };
  const regions = new Map<string, Stack>();
  /** Each in its own app, created on demand. */
  const regionOf = (name: string) => {
    const known = regions.get(name);
    if (known) return known;
    const scope = new Stack(createApp(), 'Region', { env: { account, region: name } });
    new RegionAlarms(scope, 'Alarms', { observed: observeTable(stage), region: name, ...optionsOf(scope) });
    regions.set(name, scope);
    return scope;
  };
  const edge = new Stack(createApp(), 'Edge', { env: { account, region: 'us-east-1' } });
  const certificateArn = `arn:aws:acm:us-east-1:${account}:certificate/12345678-1234-1234-1234-000000000003`;
  new EdgeAlarms(edge, 'Alarms', {
    stage: 'full',
    distributionId: 'E1',
    certificateArn,
    checked: true,
    ...optionsOf(edge),
  });
  const templates = new Map<Stack, Template>();
  const templateOf = (one: Stack) => {
    const template = templates.get(one) ?? Template.fromStack(one);
    templates.set(one, template);
    return template;
  };
  return {
    app,
    stack,
    // A getter, since this synthesises the app.
    get home() {
      return templateOf(stack);
    },
    region: (name) => templateOf(regionOf(name)),
    get edge() {
      return templateOf(edge);
    },
  };
}

export interface CfnAlarm {
  readonly AlarmName: string;
  readonly AlarmDescription: string;
  readonly AlarmActions: unknown[];
  readonly OKActions: unknown[];
  readonly TreatMissingData: string;
  readonly Threshold: number;
  readonly ComparisonOperator: string;
  readonly EvaluationPeriods: number;
  readonly DatapointsToAlarm: number;
  readonly Namespace?: string;
  readonly MetricName?: string;
  readonly Dimensions?: { readonly Name: string; readonly Value: string }[];
  readonly Period?: number;
  readonly Statistic?: string;
  readonly ExtendedStatistic?: string;
  readonly Metrics?: {
    readonly Expression?: string;
    readonly MetricStat?: {
      readonly Metric: {
        readonly Namespace: string;
        readonly MetricName: string;
        readonly Dimensions?: { readonly Name: string; readonly Value: string }[];
      };
      readonly Period: number;
      readonly Stat: string;
    };
  }[];
}

export function alarmsIn(template: Template): CfnAlarm[] {
  return Object.values(template.findResources('AWS::CloudWatch::Alarm')).map(({ Properties }) => Properties);
}

export interface NamedMetric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: readonly string[];
}

/** Every metric that an alarm uses. */
export function metricsOf(alarm: CfnAlarm): NamedMetric[] {
  const own = alarm.Namespace
    ? [{ Namespace: alarm.Namespace, MetricName: alarm.MetricName!, Dimensions: alarm.Dimensions ?? [] }]
    : [];
  const inMath = (alarm.Metrics ?? []).flatMap(({ MetricStat }) => (MetricStat ? [MetricStat.Metric] : []));
  return [...own, ...inMath].map(({ Namespace, MetricName, Dimensions = [] }) => ({
    namespace: Namespace,
    name: MetricName,
    dimensions: Dimensions.map(({ Name }) => Name),
  }));
}
