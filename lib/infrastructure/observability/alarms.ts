import { Alarm, AlarmRule, ComparisonOperator, CompositeAlarm, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Rule, RuleTargetInput } from 'aws-cdk-lib/aws-events';
import { SnsTopic } from 'aws-cdk-lib/aws-events-targets';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import type { AlarmRow } from './alarm-row.ts';
import { homeRows } from './alarm-rows.ts';
import { edgeRows, type RegionObserved, regionRows } from './alarm-rows-region.ts';
import type { Observed } from './observed.ts';

/** The default page of runbooks, relative to the repository's root. */
const RUNBOOKS = 'docs/operations.md';

export interface AlarmsProps {
  readonly observed: Observed;
  /** Is notified when any alarm fires and when it ends. */
  readonly topic: ITopic;
  /** The address of the page of runbooks, without an anchor. @default docs/operations.md */
  readonly runbooks?: string | undefined;
}

export interface HomeAlarmsProps extends AlarmsProps {
  /** Is notified once, when the first alarm that affects users fires. @default the topic */
  readonly pages?: ITopic | undefined;
}

/**
 * The alarms of the relay's region. Each tells the topic what is wrong and where its runbook is. Alarms that affect users are
 * combined into one alarm, the only one that pages.
 */
export class RelayAlarms extends Construct {
  readonly alarms: readonly Alarm[];
  readonly impaired: CompositeAlarm;

  constructor(scope: Construct, id: string, { observed, topic, pages = topic, runbooks }: HomeAlarmsProps) {
    super(scope, id);
    const { stage, clusterName, serviceName } = observed;
    const rows = homeRows(observed);
    const made = rows.map((row) => ({ row, alarm: alarmOf(this, stage, row, topic, runbooks) }));
    this.alarms = made.map(({ alarm }) => alarm);
    this.impaired = new CompositeAlarm(this, 'Impaired', {
      compositeAlarmName: `edge-flag-relay-${stage}-impaired`,
      alarmDescription: describe('Users are affected now or soon.', 'impaired', runbooks),
      alarmRule: AlarmRule.anyOf(...made.filter(({ row }) => row.pages).map(({ alarm }) => alarm)),
    });
    this.impaired.addAlarmAction(new SnsAction(pages));
    this.impaired.addOkAction(new SnsAction(pages));

    // No metric shows a rollback: it leaves a healthy service behind.
    new Rule(this, 'DeploymentFailed', {
      ruleName: `edge-flag-relay-${stage}-deployment-failed`,
      description: 'ECS rolled back a deployment of the relay',
      eventPattern: {
        source: ['aws.ecs'],
        detailType: ['ECS Deployment State Change'],
        detail: { eventName: ['SERVICE_DEPLOYMENT_FAILED'] },
        resources: [{ suffix: `:service/${clusterName}/${serviceName}` }] as unknown as string[],
      },
      targets: [
        new SnsTopic(topic, {
          message: RuleTargetInput.fromText(
            describe(`A deployment of the relay of stage ${stage} was rolled back.`, 'deployment-failed', runbooks),
          ),
        }),
      ],
    });
  }
}

export interface RegionAlarmsProps extends Omit<AlarmsProps, 'observed'> {
  readonly observed: RegionObserved;
  readonly region: string;
}

/** The alarms of a region with a replica or with edge functions: alarms cannot use metrics of other regions. */
export class RegionAlarms extends Construct {
  readonly alarms: readonly Alarm[];

  constructor(scope: Construct, id: string, { observed, topic, runbooks, region }: RegionAlarmsProps) {
    super(scope, id);
    this.alarms = regionRows(observed, region).map((row) =>
      alarmOf(this, `${observed.stage}-${region}`, row, topic, runbooks),
    );
  }
}

/** The alarms of a distribution and its certificate, in us-east-1, where CloudFront reports metrics. */
export class EdgeAlarms extends Construct {
  readonly alarms: readonly Alarm[];

  constructor(
    scope: Construct,
    id: string,
    {
      stage,
      topic,
      runbooks,
      ...observed
    }: Pick<AlarmsProps, 'topic' | 'runbooks'> & {
      readonly stage: string;
      readonly distributionId: string;
      readonly certificateArn?: string | undefined;
      /** Whether the synthetic check asks the distribution. @default false */
      readonly checked?: boolean | undefined;
    },
  ) {
    super(scope, id);
    this.alarms = edgeRows({ stage, ...observed }).map((row) => alarmOf(this, `${stage}-edge`, row, topic, runbooks));
  }
}

function alarmOf(scope: Construct, prefix: string, row: AlarmRow, topic: ITopic, runbooks: string | undefined): Alarm {
  const { id, subject, says, runbook, metric, above, below, datapoints, of = datapoints, missing } = row;
  const name = subject === undefined ? id : `${id}-${subject}`;
  const alarm = new Alarm(scope, name, {
    alarmName: `edge-flag-relay-${prefix}-${name}`,
    alarmDescription: describe(says, runbook ?? id, runbooks),
    metric,
    threshold: (above ?? below)!,
    comparisonOperator:
      above === undefined ? ComparisonOperator.LESS_THAN_THRESHOLD : ComparisonOperator.GREATER_THAN_THRESHOLD,
    evaluationPeriods: of,
    datapointsToAlarm: datapoints,
    treatMissingData: missing === 'breaching' ? TreatMissingData.BREACHING : TreatMissingData.NOT_BREACHING,
  });
  alarm.addAlarmAction(new SnsAction(topic));
  alarm.addOkAction(new SnsAction(topic));
  return alarm;
}

function describe(says: string, anchor: string, runbooks = RUNBOOKS): string {
  return `${says} Runbook: ${runbooks}#${anchor}`;
}
