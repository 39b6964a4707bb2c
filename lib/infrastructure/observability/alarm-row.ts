import { Duration } from 'aws-cdk-lib';
import type { IMetric } from 'aws-cdk-lib/aws-cloudwatch';
import { type SharedAlarmId, sharedAlarms } from '../../monitoring/index.ts';
import { certificateMetric, relayMetric } from './metrics.ts';
import type { Observed } from './observed.ts';

/** One alarm. `id` is also the anchor of its runbook, unless `runbook` is given. */
export interface AlarmRow {
  readonly id: string;
  /** Distinguishes alarms with the same `id`. */
  readonly subject?: string;
  /** `{threshold}` stands for the threshold in force. */
  readonly says: string;
  readonly runbook?: string;
  readonly metric: IMetric;
  /** The alarm fires above this … */
  readonly above?: number;
  /** … or below this. */
  readonly below?: number;
  /** How many breaching periods (of a minute, unless the metric's is longer) … */
  readonly datapoints: number;
  /** … out of how many. Default: `datapoints`. */
  readonly of?: number;
  /** `fine`: no data means no activity. `breaching`: missing data is the problem. */
  readonly missing: 'fine' | 'breaching';
  /** Whether it affects users now or soon, and so pages. */
  readonly pages?: true;
}

/** An alarm that Prometheus has too. */
export function sharedRow(observed: Pick<Observed, 'namespace' | 'region' | 'tasks'>, id: SharedAlarmId): AlarmRow {
  const { metric, statistic, period, each: _, below, ...row } = sharedAlarms[id];
  return {
    id,
    ...row,
    ...(below !== undefined && { below: below === 'relays' ? observed.tasks : below }),
    metric: relayMetric(observed, metric, statistic, period === undefined ? {} : { period: Duration.minutes(period) }),
  };
}

export function certificateRow(arn: string, subject?: string): AlarmRow {
  return {
    id: 'certificate-expiry',
    ...(subject !== undefined && { subject }),
    datapoints: 1,
    missing: 'fine',
    // ACM starts to renew 60 days before expiry and retries for 15.
    says: 'A certificate expires in less than {threshold} days and has not been renewed.',
    metric: certificateMetric(arn),
    below: 45,
  };
}
