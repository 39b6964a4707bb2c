import { Duration } from 'aws-cdk-lib';
import { Rule, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import type { Function as LambdaFunctionResource } from 'aws-cdk-lib/aws-lambda';
import type { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { DECISION_HEADER } from '../../../lambda/edge-router/config.ts';
import type { EdgeSettings } from '../stage-settings.ts';
import { canaryFunction, canaryPrefix } from './canary-function.ts';
import { canaryNamespace } from './observed.ts';

export interface EdgeCheckProps {
  readonly stage: string;
  /** `https://…`, with a path for which the origin answers below 400. */
  readonly url: string;
  /** @default 14 */
  readonly logRetentionDays?: RetentionDays;
  /** @default once a minute */
  readonly every?: Duration;
}

/** What the check of a stage requests: a path of its distribution, or an address. Undefined: nothing. */
export function checkedAddress({ check, distributionId }: EdgeSettings): string | undefined {
  if (check === undefined) return distributionId === undefined ? '/' : undefined;
  return check === false ? undefined : check;
}

/**
 * A synthetic check of a distribution with the router: requests a page as a viewer does and reports to CloudWatch whether the flag decided.
 * Metrics: `EdgeSuccess` and `EdgeLatency` in the namespace of the stage's synthetic check.
 */
export class EdgeCheck extends Construct {
  readonly function: LambdaFunctionResource;

  constructor(scope: Construct, id: string, props: EdgeCheckProps) {
    super(scope, id);
    const { stage, url, logRetentionDays = 14, every = Duration.minutes(1) } = props;
    this.function = canaryFunction(this, 'edge', {
      stage,
      functionNamePrefix: canaryPrefix(stage),
      logRetentionDays,
      timeout: Duration.seconds(20),
      memorySize: 256,
      environment: {
        CHECK_URL: url,
        DECISION_HEADER,
        METRICS_NAMESPACE: canaryNamespace(stage),
      },
    });
    new Rule(this, 'Schedule', {
      description: `edge-flag-relay: the synthetic check of the distribution of stage ${stage}`,
      schedule: Schedule.rate(every),
      // A failed check has already been reported; the next one runs in a minute.
      targets: [new LambdaFunction(this.function, { retryAttempts: 0, maxEventAge: Duration.minutes(1) })],
    });
  }
}
