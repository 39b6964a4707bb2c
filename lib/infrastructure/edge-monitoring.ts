import { DefaultStackSynthesizer, type IReusableStackSynthesizer, Stack, Token } from 'aws-cdk-lib';
import type { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import type { IDistribution } from 'aws-cdk-lib/aws-cloudfront';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct, type IConstruct } from 'constructs';
import type { IFlagTable } from './flag-table.ts';
import { type AlarmOptions, dashboardAddress, EdgeAlarms, RegionAlarms } from './observability/alarms.ts';
import { EdgeDashboard, edgeDashboardName } from './observability/edge-dashboard.ts';
import type { Thresholds } from './observability/thresholds.ts';
import { ownTopics, RegionStack } from './region-stack.ts';
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
  /** Topics that alarms of their regions notify too. Not of the router's stack, which is deployed after the alarms' stacks. @default none */
  readonly topics?: readonly ITopic[];
  /** The same for pages. @default `topics` */
  readonly pageTopics?: readonly ITopic[];
  /** The address of the page of runbooks. @default its place in this repository, and a link to the dashboard */
  readonly runbooks?: string;
  /** By alarm. @default those of docs/operations.md */
  readonly thresholds?: Thresholds;
  /** How the regions of the added stacks are bootstrapped. @default the app's, with the qualifier of the router's stack */
  readonly synthesizer?: IReusableStackSynthesizer;
}

export interface EdgeMonitoringProps extends EdgeMonitoringOptions {
  readonly stage: string;
  readonly flagTable: Pick<IFlagTable, 'homeRegion' | 'replicaRegions'>;
  readonly functionNames: readonly string[];
  /** The metrics that count decisions by variation. */
  readonly decisions: readonly string[];
  /** `ObservedEdge.heartbeatSeconds` */
  readonly heartbeatSeconds?: number | undefined;
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
  private watched: IDistribution | undefined;

  constructor(scope: Construct, id: string, props: EdgeMonitoringProps) {
    super(scope, id);
    this.props = props;
    const { stage, flagTable, functionNames, decisions, heartbeatSeconds, emails = [], runbooks } = props;
    const { logRetention: logRetentionDays = RetentionDays.THREE_MONTHS } = props;
    const { pageEmails = emails } = props;
    if (logRetentionDays === RetentionDays.INFINITE) {
      throw new Error(
        `${this.node.path}: logRetention is invalid: expected a number of days, such as RetentionDays.TEN_YEARS`,
      );
    }
    const stack = deployedStack(this);
    const places = props.regions ?? [flagTable.homeRegion, ...flagTable.replicaRegions];
    const regions = [...new Set([...places, EDGE_REGION])];
    this.regions = new Map(
      regions.map((region) => {
        // Within the router, so that its aspects and tags are those of these stacks too. With the stage: a stack may have several routers.
        const one = new RegionStack(this, region, {
          stackName: `${stack.stackName}-${stage}-edge-${region}`,
          synthesizer: props.synthesizer ?? synthesizerLike(stack),
          tags: stack.tags.tagValues(),
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
        const edge = { functionNames, regions, decisions, heartbeatSeconds, checked: false };
        const observed = { stage, tableName: '', homeRegion: '', replicaRegions: [], edge };
        new RegionAlarms(one, 'RegionAlarms', { observed, region, ...this.alarmOptions(one) });
        // Log groups first: a function would create them without a retention.
        stack.addStackDependency(one);
        return [region, one];
      }),
    );
    const first = this.regions.get(EDGE_REGION);
    for (const one of this.regions.values()) if (first && one !== first) one.addStackDependency(first);
    this.dashboard = new EdgeDashboard(this, 'Dashboard', {
      stage,
      functionNames,
      regions,
      decisions,
      heartbeatSeconds,
      runbooks,
    });
  }

  /**
   * Adds alarms on a distribution and its certificate, and its errors to the dashboard.
   *
   * @param options `name` distinguishes the alarms of a second distribution from those of the first, which has none.
   */
  watch(
    distribution: IDistribution,
    { certificate, name }: { readonly certificate?: ICertificate; readonly name?: string } = {},
  ): void {
    const { stage } = this.props;
    if (this.watched && name === undefined) {
      throw new Error(
        `${this.node.path}: name is missing: ${this.watched.node.path} is watched already, so give ${distribution.node.path} a name for its alarms`,
      );
    }
    this.watched ??= distribution;
    const { distributionId } = distribution;
    const scope = name === undefined ? this : new Construct(this, `Watched-${name}`);
    new EdgeAlarms(scope, 'Distribution', {
      ...{ stage, distributionId, name, certificateArn: certificate?.certificateArn },
      ...this.alarmOptions(scope),
    });
    this.dashboard.addDistribution(distributionId, name);
  }

  private alarmOptions(scope: Construct): AlarmOptions {
    const { stage, runbooks, thresholds, topics = [], pageTopics = topics } = this.props;
    const dashboard = dashboardAddress(EDGE_REGION, edgeDashboardName(stage));
    const own = ownTopics(scope, stage);
    return {
      topics: [...own.topics, ...this.topicsOf(scope, topics)],
      pages: [...own.pages, ...this.topicsOf(scope, pageTopics)],
      ...{ runbooks, thresholds, dashboard },
    };
  }

  /** Those of the region of these alarms. */
  private topicsOf(scope: Construct, topics: readonly ITopic[]): ITopic[] {
    const { region } = Stack.of(scope);
    const router = deployedStack(this);
    return topics.filter((topic) => {
      if (Token.isUnresolved(topic.topicArn) && deployedStack(topic) === router) {
        throw new Error(
          `${topic.node.path} cannot be a topic of ${this.node.path}: stack ${router.stackName} is deployed after the alarms, so make the topic in another stack`,
        );
      }
      return topic.env.region === region;
    });
  }
}

/** The stack that is deployed with a construct: a nested stack has neither a name nor dependencies of its own. */
function deployedStack(scope: IConstruct): Stack {
  const stack = Stack.of(scope);
  return stack.nestedStackParent ? deployedStack(stack.nestedStackParent) : stack;
}

/** One with the qualifier with which this stack's region is bootstrapped, unless it is the app's. */
function synthesizerLike({ synthesizer, node }: Stack): IReusableStackSynthesizer | undefined {
  const qualifier = synthesizer.bootstrapQualifier;
  const usual = node.tryGetContext('@aws-cdk/core:bootstrapQualifier') ?? DefaultStackSynthesizer.DEFAULT_QUALIFIER;
  return qualifier === undefined || qualifier === usual ? undefined : new DefaultStackSynthesizer({ qualifier });
}
