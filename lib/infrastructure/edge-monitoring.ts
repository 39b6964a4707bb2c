import { Stack, Stage } from 'aws-cdk-lib';
import type { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import type { IDistribution } from 'aws-cdk-lib/aws-cloudfront';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import type { IFlagTable } from './flag-table.ts';
import { type AlarmOptions, dashboardAddress, EdgeAlarms, RegionAlarms } from './observability/alarms.ts';
import { EdgeDashboard, edgeDashboardName } from './observability/edge-dashboard.ts';
import type { Thresholds } from './observability/thresholds.ts';
import { RegionStack, topicsFor } from './region-stack.ts';
import { EDGE_REGION } from './regions.ts';

export interface EdgeMonitoringOptions {
  /** Where functions get alarms, and their logs can be subscribed to: near your viewers. @default the regions of the table, and us-east-1 */
  readonly regions?: readonly string[];
  /** @default three months */
  readonly logRetention?: RetentionDays;
  /** Who is notified of alarms. @default nobody: subscribe to the topics */
  readonly emails?: readonly string[];
  /** Who is paged. @default `emails` */
  readonly pageEmails?: readonly string[];
  /** Existing topics, imported by ARN, that alarms of their regions notify too. @default none */
  readonly topics?: readonly ITopic[];
  /** The same for pages. @default `topics` */
  readonly pageTopics?: readonly ITopic[];
  /** The address of the page of runbooks. @default its place in this repository, and a link to the dashboard */
  readonly runbooks?: string;
  /** By alarm. @default those of docs/operations.md */
  readonly thresholds?: Thresholds;
}

export interface EdgeMonitoringProps extends EdgeMonitoringOptions {
  readonly stage: string;
  readonly flagTable: Pick<IFlagTable, 'homeRegion' | 'replicaRegions'>;
  readonly functionNames: readonly string[];
  /** The metrics that count decisions by variation. */
  readonly decisions: readonly string[];
}

/**
 * What a router needs beside its functions: log groups with a retention wherever they run; in each of these regions a stack with an alarm
 * topic and alarms, since alarms must be in the region of their metrics; and a dashboard in us-east-1.
 */
export class EdgeMonitoring extends Construct {
  /** By region: topic and alarms. Deployed before the functions, the one in us-east-1 first. */
  readonly regions: ReadonlyMap<string, RegionStack>;
  readonly dashboard: EdgeDashboard;
  private readonly props: EdgeMonitoringProps;

  constructor(scope: Construct, id: string, props: EdgeMonitoringProps) {
    super(scope, id);
    this.props = props;
    const { stage, flagTable, functionNames, decisions, emails = [], runbooks } = props;
    const { logRetention: logRetentionDays = RetentionDays.THREE_MONTHS } = props;
    const { pageEmails = emails } = props;
    const stack = Stack.of(this);
    const places = props.regions ?? [flagTable.homeRegion, ...flagTable.replicaRegions];
    const regions = [...new Set([...places, EDGE_REGION])];
    this.regions = new Map(
      regions.map((region) => {
        const name = `${stack.stackName}-edge-${region}`;
        const one = new RegionStack(Stage.of(this) ?? (this.node.root as Construct), name, {
          stackName: name,
          description: `edge-flag-relay: edge logs and alarms of ${stage}`,
          env: { account: stack.account, region },
          stage,
          edgeFunctionNames: functionNames,
          edgeLogs: region === EDGE_REGION ? { functionNames, regions } : undefined,
          readerLayer: false,
          logRetentionDays,
          emails,
          pageEmails,
        });
        // The table has alarms of its own, in the app that deployed it.
        const edge = { functionNames, regions, decisions, checked: false };
        const observed = { stage, tableName: '', homeRegion: '', replicaRegions: [], edge };
        new RegionAlarms(one, 'RegionAlarms', { observed, region, ...this.alarmOptions(one) });
        // Log groups first: a function would create them without a retention.
        stack.addStackDependency(one);
        return [region, one];
      }),
    );
    const first = this.regions.get(EDGE_REGION);
    for (const one of this.regions.values()) if (first && one !== first) one.addStackDependency(first);
    this.dashboard = new EdgeDashboard(this, 'Dashboard', { stage, functionNames, regions, decisions, runbooks });
  }

  /** Adds alarms on a distribution and its certificate, and its errors to the dashboard. */
  watch(distribution: IDistribution, { certificate }: { readonly certificate?: ICertificate } = {}): void {
    const { stage } = this.props;
    const { distributionId } = distribution;
    const certificateArn = certificate?.certificateArn;
    const options = this.alarmOptions(this);
    new EdgeAlarms(this, 'Distribution', { stage, distributionId, certificateArn, ...options });
    this.dashboard.addDistribution(distributionId);
  }

  private alarmOptions(scope: Construct): AlarmOptions {
    const { stage, runbooks, thresholds, topics = [], pageTopics = topics } = this.props;
    const dashboard = dashboardAddress(EDGE_REGION, edgeDashboardName(stage));
    const arns = (given: readonly ITopic[]) => given.map(({ topicArn }) => topicArn);
    const told = { stage, topics: arns(topics), pageTopics: arns(pageTopics) };
    return { ...topicsFor(scope, told), runbooks, thresholds, dashboard };
  }
}
