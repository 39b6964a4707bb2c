import { Duration } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { AlarmBehavior, type FargateService } from 'aws-cdk-lib/aws-ecs';
import type { Construct } from 'constructs';
import { failedByRelays } from './burn-rates.ts';
import type { ObservedLoadBalancer } from './observed.ts';

export interface DeploymentAlarmProps {
  /** @default CloudFormation's */
  readonly alarmName?: string | undefined;
  readonly service: FargateService;
  /** At least one. */
  readonly loadBalancers: readonly ObservedLoadBalancer[];
  /** @default 10 */
  readonly failedPercent?: number | undefined;
}

/**
 * Has ECS roll a deployment back while relays answer many requests with 5xx, which the circuit breaker does not see: their health
 * checks pass. Only relays' own answers count, since a load balancer whose first tasks are still starting answers 503, and missing data is fine:
 * a first deployment has no requests, and nothing to roll back to. AWS: "How CloudWatch alarms detect Amazon ECS deployment failures".
 */
export function rollBackOnFailures(scope: Construct, id: string, props: DeploymentAlarmProps): Alarm {
  const { alarmName, service, loadBalancers, failedPercent = 10 } = props;
  // Notifies nobody: the rollback does, and burn rates tell of errors at other times.
  const alarm = new Alarm(scope, id, {
    ...(alarmName !== undefined && { alarmName }),
    alarmDescription: `During a deployment relays answered more than ${failedPercent} % of requests with 5xx: ECS rolls it back.`,
    metric: failedByRelays(loadBalancers, Duration.minutes(1)),
    threshold: failedPercent,
    comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
    evaluationPeriods: 5,
    datapointsToAlarm: 3,
    treatMissingData: TreatMissingData.NOT_BREACHING,
  });
  service.enableDeploymentAlarms([alarmName ?? alarm.alarmName], { behavior: AlarmBehavior.ROLLBACK_ON_ALARM });
  // ECS looks the alarm up by its name.
  service.node.addDependency(alarm);
  return alarm;
}
