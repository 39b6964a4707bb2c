import { Duration, Stack, Token } from 'aws-cdk-lib';
import {
  Alarm,
  AlarmRule,
  ComparisonOperator,
  CompositeAlarm,
  type IAlarm,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { type IRuleTarget, Rule, RuleTargetInput } from 'aws-cdk-lib/aws-events';
import { SnsTopic } from 'aws-cdk-lib/aws-events-targets';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import {
  AVAILABILITY_PERCENT,
  BURN_RATE_RUNBOOK,
  type BurnRate,
  burnRates,
  describeBurnRate,
  failedPercentAt,
} from '../../monitoring/index.ts';
import type { AlarmRow } from './alarm-row.ts';
import { homeRows } from './alarm-rows.ts';
import { edgeRows, type RegionObserved, regionRows } from './alarm-rows-region.ts';
import { failedRequests } from './burn-rates.ts';
import { type IObservedRelay, type Observed, type ObserveOptions, seenFrom } from './observed.ts';
import { letAlarmsPublish } from './publishers.ts';
import { settableObjective, settableThresholds, type ThresholdName, type Thresholds } from './thresholds.ts';

/** CloudWatch: actions for each state of an alarm; EventBridge: targets of a rule. */
const MAX_TOPICS = 5;

/** The page of runbooks, relative to the repository's root. */
const RUNBOOKS = 'docs/operations.md';

/** Who is told of alarms, and what they are told. */
export interface AlarmOptions {
  /** Are notified when any alarm fires and when it ends; at most five, all in the alarms' region. Those of this app get a policy that allows it. */
  readonly topics: readonly ITopic[];
  /** Are notified when the first alarm that affects users fires, and when the last one ends. @default the topics */
  readonly pages?: readonly ITopic[] | undefined;
  /** The address of the page of runbooks, without an anchor. @default its place in the repository, and the link of the dashboard */
  readonly runbooks?: string | undefined;
  /** The dashboard's address. @default none */
  readonly dashboard?: string | undefined;
  /** By alarm. @default those of docs/operations.md */
  readonly thresholds?: Thresholds | undefined;
}

export interface RelayAlarmsProps extends AlarmOptions, ObserveOptions {
  /** A `RelayService`, or `RelayService.fromStage`. */
  readonly relay: IObservedRelay;
  /** What alarms' names start with: `<prefix>-cpu`. @default CloudFormation's names */
  readonly alarmNamePrefix?: string | undefined;
  /** The share of requests that succeed in 30 days. @default 99.99 */
  readonly availabilityPercent?: number | undefined;
}

/**
 * The alarms of the relays of one region. Each tells the topics what is wrong and where its runbook is. Alarms that affect users are
 * combined into one alarm, the only one that pages.
 */
export class RelayAlarms extends Construct {
  readonly alarms: readonly IAlarm[];
  readonly impaired: CompositeAlarm;

  constructor(scope: Construct, id: string, props: RelayAlarmsProps) {
    super(scope, id);
    const { relay, alarmNamePrefix: prefix, availabilityPercent = AVAILABILITY_PERCENT, ...options } = props;
    const { environments, otherEnvironments, canary } = props;
    const observed = this.nearby(relay.observed({ environments, otherEnvironments, canary }));
    checkObjective(this, availabilityPercent);
    const { stage, clusterName, serviceName, loadBalancers } = observed;
    const made = alarmsOf(this, prefix, homeRows(observed), options);
    // Without a load balancer nothing counts requests.
    const budget = loadBalancers.length > 0 ? burnRates : [];
    const burning = budget.map((row) => ({
      row,
      alarm: this.burning(row, loadBalancers, { prefix, available: availabilityPercent, options }),
    }));
    this.alarms = [...made, ...burning].map(({ alarm }) => alarm);
    this.impaired = impairedOf(this, named(prefix, 'impaired'), [...burning, ...made], options)!;

    // No metric shows a rollback: it leaves a healthy service behind.
    new Rule(this, 'DeploymentFailed', {
      ...(prefix !== undefined && { ruleName: named(prefix, 'deployment-failed') }),
      description: 'ECS rolled back a deployment of the relay',
      eventPattern: {
        source: ['aws.ecs'],
        detailType: ['ECS Deployment State Change'],
        detail: { eventName: ['SERVICE_DEPLOYMENT_FAILED'] },
        resources: [{ suffix: `:service/${clusterName}/${serviceName}` }] as unknown as string[],
      },
      targets: options.topics.map((topic) =>
        toTopic(
          topic,
          describe(`A deployment of the relay of stage ${stage} was rolled back.`, 'deployment-failed', options),
        ),
      ),
    });
  }

  /** An alarm can only be in the region of its metrics. */
  private nearby(observed: Observed): Observed {
    const { region } = Stack.of(this);
    const seen = seenFrom(observed, region);
    if (seen.region === undefined) return seen;
    const place = Token.isUnresolved(region) ? 'a stack without a region' : region;
    throw new Error(`${this.node.path} is in ${place}, and its relay in ${seen.region}: put alarms into a stack there`);
  }

  /** Fires while both windows are above the rate; their own alarms notify nobody. */
  private burning(
    row: BurnRate,
    loadBalancers: Observed['loadBalancers'],
    {
      prefix,
      available,
      options,
    }: { readonly prefix: string | undefined; readonly available: number; readonly options: AlarmOptions },
  ): IAlarm {
    const windows = (['long', 'short'] as const).map(
      (window) =>
        new Alarm(this, `${row.id}-${window}`, {
          ...(prefix !== undefined && { alarmName: named(prefix, `${row.id}-${window}`) }),
          alarmDescription: describe(`One of the two windows of ${row.id}.`, BURN_RATE_RUNBOOK, options),
          metric: failedRequests(loadBalancers, Duration.minutes(row[window])),
          threshold: failedPercentAt(row.rate, available),
          comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
          evaluationPeriods: 1,
          treatMissingData: TreatMissingData.NOT_BREACHING,
        }),
    );
    const both = new CompositeAlarm(this, row.id, {
      ...(prefix !== undefined && { compositeAlarmName: named(prefix, row.id) }),
      alarmDescription: describe(describeBurnRate(row, available), BURN_RATE_RUNBOOK, options),
      alarmRule: AlarmRule.allOf(...windows),
    });
    notify(both, options.topics);
    return both;
  }
}

export interface RegionAlarmsProps extends AlarmOptions {
  readonly observed: RegionObserved;
  readonly region: string;
}

/** The alarms of a region with a replica or with edge functions: alarms cannot use metrics of other regions. */
export class RegionAlarms extends Construct {
  readonly alarms: readonly IAlarm[];
  /** Absent if nothing in this region affects users by itself. */
  readonly impaired?: CompositeAlarm;

  constructor(scope: Construct, id: string, { observed, region, ...options }: RegionAlarmsProps) {
    super(scope, id);
    // Fixed names: the dashboard, in another region, shows alarms by them.
    const prefix = `edge-flag-relay-${observed.stage}-${region}`;
    const made = alarmsOf(this, prefix, regionRows(observed, region), options);
    this.alarms = made.map(({ alarm }) => alarm);
    const impaired = impairedOf(this, impairedNames.edge(observed.stage, region), made, options);
    if (impaired) this.impaired = impaired;
  }
}

export interface EdgeAlarmsProps extends AlarmOptions {
  readonly stage: string;
  readonly distributionId: string;
  /** Distinguishes it from another distribution of the stage. @default none */
  readonly name?: string | undefined;
  readonly certificateArn?: string | undefined;
  /** Whether the synthetic check asks the distribution. @default false */
  readonly checked?: boolean | undefined;
}

/** The alarms of a distribution and its certificate, in us-east-1, where CloudFront reports metrics. */
export class EdgeAlarms extends Construct {
  readonly alarms: readonly IAlarm[];
  /** Absent without the synthetic check. */
  readonly impaired?: CompositeAlarm;

  constructor(scope: Construct, id: string, props: EdgeAlarmsProps) {
    super(scope, id);
    const { stage, distributionId, name, certificateArn, checked, ...options } = props;
    const made = alarmsOf(
      this,
      `edge-flag-relay-${stage}-edge`,
      edgeRows({ stage, distributionId, name, certificateArn, checked }),
      options,
    );
    this.alarms = made.map(({ alarm }) => alarm);
    const impaired = impairedOf(this, impairedNames.distribution(stage), made, options);
    if (impaired) this.impaired = impaired;
  }
}

/** The names of the alarms that page. */
export const impairedNames = {
  relays: (stage: string) => `edge-flag-relay-${stage}-impaired`,
  /** Of edge functions in one region. */
  edge: (stage: string, region: string) => `edge-flag-relay-${stage}-${region}-edge-impaired`,
  // With an underscore, which a stage's name cannot have: it is not the regional alarm of another stage.
  distribution: (stage: string) => `edge-flag-relay-${stage}_edge-impaired`,
};

/** The address of a dashboard in the console. */
export function dashboardAddress(region: string, name: string): string {
  const [, host = 'console.aws.amazon.com'] = CONSOLES.find(([prefix]) => region.startsWith(prefix)) ?? [];
  return `https://${host}/cloudwatch/home?region=${region}#dashboards/dashboard/${name}`;
}

/** Of partitions that have their own. */
const CONSOLES = [
  ['cn-', 'console.amazonaws.cn'],
  ['us-gov-', 'console.amazonaws-us-gov.com'],
] as const;

interface Made {
  readonly row: { readonly pages?: true };
  readonly alarm: IAlarm;
}

function named(prefix: string, name: string): string;
function named(prefix: string | undefined, name: string): string | undefined;
function named(prefix: string | undefined, name: string): string | undefined {
  return prefix === undefined ? undefined : `${prefix}-${name}`;
}

/** The objective must leave an error budget that can be measured. */
function checkObjective(scope: Construct, availabilityPercent: number): void {
  const { from, to } = settableObjective;
  if (availabilityPercent >= from && availabilityPercent <= to) return;
  throw new Error(
    `${scope.node.path}: availabilityPercent=${availabilityPercent} is invalid: expected from ${from} to ${to} (%)`,
  );
}

/** Throws an Error for a threshold that no alarm has, or that makes no sense. */
function checkThresholds(scope: Construct, thresholds: Thresholds = {}): void {
  for (const [name, value] of Object.entries(thresholds)) {
    const accepted = Object.hasOwn(settableThresholds, name) ? settableThresholds[name as ThresholdName] : undefined;
    const known = Object.keys(settableThresholds).join(', ');
    if (!accepted) throw new Error(`${scope.node.path}: thresholds.${name} is unknown: expected one of ${known}`);
    const { from, to, unit } = accepted;
    if (value >= from && value <= to) continue;
    throw new Error(
      `${scope.node.path}: thresholds.${name}=${value} is invalid: expected from ${from} to ${to} (${unit})`,
    );
  }
}

function alarmsOf(
  scope: Construct,
  prefix: string | undefined,
  rows: readonly AlarmRow[],
  options: AlarmOptions,
): Made[] {
  checkThresholds(scope, options.thresholds);
  return rows.map((row) => ({ row, alarm: alarmOf(scope, prefix, row, options) }));
}

function alarmOf(scope: Construct, prefix: string | undefined, row: AlarmRow, options: AlarmOptions): Alarm {
  const { id, subject, says, runbook, metric, above, below, datapoints, of = datapoints, missing } = row;
  const name = subject === undefined ? id : `${id}-${subject}`;
  const given = (options.thresholds as Readonly<Record<string, number | undefined>> | undefined)?.[id];
  const threshold = given ?? (above ?? below)!;
  const text = says.includes('{threshold}')
    ? says.replace('{threshold}', String(threshold))
    : given === undefined
      ? says
      : `${says} Threshold: ${threshold}.`;
  const alarm = new Alarm(scope, name, {
    ...(prefix !== undefined && { alarmName: named(prefix, name) }),
    alarmDescription: describe(text, runbook ?? id, options),
    metric,
    threshold,
    comparisonOperator:
      above === undefined ? ComparisonOperator.LESS_THAN_THRESHOLD : ComparisonOperator.GREATER_THAN_THRESHOLD,
    evaluationPeriods: of,
    datapointsToAlarm: datapoints,
    treatMissingData: missing === 'breaching' ? TreatMissingData.BREACHING : TreatMissingData.NOT_BREACHING,
  });
  notify(alarm, options.topics);
  return alarm;
}

/** One alarm of all that page; undefined if none does. */
function impairedOf(
  scope: Construct,
  name: string | undefined,
  made: readonly Made[],
  options: AlarmOptions,
): CompositeAlarm | undefined {
  const paging = made.filter(({ row }) => row.pages).map(({ alarm }) => alarm);
  if (paging.length === 0) return undefined;
  const impaired = new CompositeAlarm(scope, 'Impaired', {
    ...(name !== undefined && { compositeAlarmName: name }),
    alarmDescription: describe('Users are affected now or soon.', 'impaired', options),
    alarmRule: AlarmRule.anyOf(...paging),
  });
  notify(impaired, options.pages ?? options.topics);
  return impaired;
}

/**
 * Has a rule publish to a topic of its region, of any account. The CDK's target names the topic as a resource: it would warn where one of the two
 * accounts is unknown, and make event buses in the topic's account where they differ. EventBridge publishes there with a role of the
 * rule's account. AWS: "Sending events to an AWS service in another account".
 */
function toTopic(topic: ITopic, text: string): IRuleTarget {
  return {
    bind: (rule) => {
      const here = Stack.of(rule).account;
      const { account } = topic.env;
      const elsewhere = !Token.isUnresolved(here) && !Token.isUnresolved(account) && account !== here;
      const message = RuleTargetInput.fromText(text);
      const target = new SnsTopic(topic, { message, ...(elsewhere && { authorizeUsingRole: true }) }).bind(rule);
      return { ...target, targetResource: undefined };
    },
  };
}

function notify(alarm: Alarm | CompositeAlarm, topics: readonly ITopic[]): void {
  if (topics.length > MAX_TOPICS) {
    throw new Error(
      `${alarm.node.path}: ${topics.length} topics are too many: an alarm notifies at most ${MAX_TOPICS}`,
    );
  }
  for (const topic of topics) letAlarmsPublish(topic, Stack.of(alarm).account);
  const actions = topics.map((topic) => new SnsAction(topic));
  alarm.addAlarmAction(...actions);
  alarm.addOkAction(...actions);
}

function describe(says: string, anchor: string, { runbooks, dashboard }: AlarmOptions): string {
  if (runbooks !== undefined) return `${says} Runbook: ${runbooks}#${anchor}`;
  const link = dashboard === undefined ? '' : ` Dashboard: ${dashboard}`;
  return `${says} Runbook: ${RUNBOOKS}#${anchor}${link}`;
}
