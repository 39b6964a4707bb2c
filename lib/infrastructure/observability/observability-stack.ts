import { ArnFormat, Stack, type StackProps } from 'aws-cdk-lib';
import { Alarm, type IAlarm } from 'aws-cdk-lib/aws-cloudwatch';
import type { Construct } from 'constructs';
import { decisionMetricNames } from '../edge-configs.ts';
import { edgeFunctionNames } from '../edge-router.ts';
import { EDGE_REGION, edgeLogRegions } from '../regions.ts';
import { metricsNamespace } from '../relay-contract.ts';
import type { Stage } from '../stage.ts';
import { type AlarmOptions, impairedNames, RelayAlarms } from './alarms.ts';
import { RelayCanary, type RelayCanaryProps } from './canary.ts';
import { canaryPrefix } from './canary-function.ts';
import { dashboardName, RelayDashboard } from './dashboard.ts';
import { checkedAddress } from './edge-check.ts';
import { LogQueries } from './log-queries.ts';
import { heartbeatSecondsOf, heartbeatsOf, type Observed, type ObservedLoadBalancer } from './observed.ts';

/** Names that exist only after a stage's relay is created. */
export interface ObservedRelay {
  readonly clusterName: string;
  readonly serviceName: string;
  readonly logGroupName: string;
  /** Internal first. */
  readonly loadBalancers: readonly ObservedLoadBalancer[];
  /** Certificates that were made in a hosted zone. */
  readonly madeCertificateArns?: readonly string[] | undefined;
}

export interface ObservabilityStackProps extends StackProps {
  readonly stage: Stage;
  /** Literals, tokens of the same region, or created in this stack. */
  readonly relay: ObservedRelay | ((scope: Stack) => ObservedRelay);
  /** What alarms say, and to whom. */
  readonly alarms: (scope: Stack) => AlarmOptions;
  /** The inputs of the synthetic check, created in this stack. @default no synthetic check */
  readonly canary?: ((scope: Stack) => CanaryNeeds | undefined) | undefined;
}

export type CanaryNeeds = Omit<RelayCanaryProps, 'relay' | 'stage' | 'logRetention' | 'functionNamePrefix'>;

/** In the home region: a stage's dashboard, alarms, saved queries and synthetic check. */
export class ObservabilityStack extends Stack {
  readonly alarms: RelayAlarms;
  readonly dashboard: RelayDashboard;
  readonly canary?: RelayCanary;

  constructor(scope: Construct, id: string, all: ObservabilityStackProps) {
    const { stage, relay: given, alarms: alarmOptions, canary: needed, ...props } = all;
    super(scope, id, props);
    const relay = typeof given === 'function' ? given(this) : given;
    const canary = needed?.(this);
    const observed = observeStage(stage, relay, { canary: canary !== undefined });
    if (canary) {
      const { name, logRetentionDays } = stage;
      this.canary = new RelayCanary(this, 'Canary', {
        ...canary,
        stage: name,
        logRetention: logRetentionDays,
        functionNamePrefix: canaryPrefix(name),
      });
    }
    const options = alarmOptions(this);
    const { availabilityPercent } = stage.alarms;
    this.alarms = new RelayAlarms(this, 'Alarms', {
      ...{ relay: { observed: () => observed }, alarmNamePrefix: `edge-flag-relay-${stage.name}` },
      ...{ availabilityPercent, ...options },
    });
    new LogQueries(this, 'Queries', { stage: stage.name, logGroup: relay });
    const { runbooks } = options;
    this.dashboard = new RelayDashboard(this, 'Dashboard', {
      relay: { observed: () => observed },
      dashboardName: dashboardName(stage.name),
      ...{ availabilityPercent, runbooks, alarms: this.alarms.alarms },
      paging: [this.alarms.impaired, ...this.pagingElsewhere(stage, observed)],
      // Their load balancers' names are tokens of their stacks.
      elsewhere: stage.relayRegions.map((region) => ({
        observed: () => observeStage(stage, { ...relay, loadBalancers: [] }, { canary: false, region }),
      })),
    });
  }

  /** The alarms that page of other stacks, by name: those of other regions are not known here. */
  private pagingElsewhere({ name, relayRegions }: Stage, { edge }: Observed): IAlarm[] {
    const named: [region: string, alarm: string][] = [
      ...relayRegions.map((region): [string, string] => [region, impairedNames.relays(name)]),
      ...(edge?.regions ?? []).map((region): [string, string] => [region, impairedNames.edge(name, region)]),
      ...(edge?.checked ? [[EDGE_REGION, impairedNames.distribution(name)] as [string, string]] : []),
    ];
    const arnOf = (region: string, resourceName: string) =>
      this.formatArn({
        ...{ service: 'cloudwatch', region, resource: 'alarm', resourceName },
        arnFormat: ArnFormat.COLON_RESOURCE_NAME,
      });
    return named.map(([region, alarm]) => Alarm.fromAlarmArn(this, `${region} ${alarm}`, arnOf(region, alarm)));
  }
}

/** What to monitor in a stage. */
export function observeStage(
  stage: Stage,
  { madeCertificateArns = [], ...relay }: ObservedRelay,
  { canary, region = stage.homeRegion }: { readonly canary: boolean; readonly region?: string },
): Observed {
  const certificate = stage.relay.certificates[region];
  const publicCertificate = stage.relay.publicAccess?.certificates[region];
  return {
    ...relay,
    ...observeTable(stage),
    region,
    namespace: metricsNamespace(stage.name),
    environments: stage.environments,
    // SSM and auto-configuration may have more than the stage names.
    otherEnvironments: true,
    tasks: stage.relay.tasks,
    containerInsights: stage.production,
    certificateArns: [
      ...new Set([certificate, publicCertificate, ...madeCertificateArns].filter((arn) => arn !== undefined)),
    ],
    writes: region === stage.homeRegion,
    heartbeats: heartbeatsOf(stage.relay, stage.edge?.heartbeatFlag),
    canary,
  };
}

/** What the alarms of region stacks need. */
export function observeTable(
  stage: Stage,
): Pick<Observed, 'stage' | 'tableName' | 'homeRegion' | 'replicaRegions' | 'edge'> {
  const { name, tableName, homeRegion, replicaRegions, edge } = stage;
  return {
    stage: name,
    tableName,
    homeRegion,
    replicaRegions,
    ...(edge && {
      edge: {
        functionNames: edgeFunctionNames(name),
        regions: edgeLogRegions(stage),
        decisions: decisionMetricNames(edge),
        checked: checkedAddress(edge) !== undefined,
        exposures: edge.exposures !== undefined,
        heartbeatSeconds: heartbeatSecondsOf(edge),
      },
    }),
  };
}
