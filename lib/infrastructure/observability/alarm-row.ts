import type { IMetric } from 'aws-cdk-lib/aws-cloudwatch';
import { certificateMetric } from './metrics.ts';

/** One alarm. Its id is the anchor of its runbook unless told. */
export interface AlarmRow {
  readonly id: string;
  /** Which of several of a kind. */
  readonly subject?: string;
  readonly says: string;
  readonly runbook?: string;
  readonly metric: IMetric;
  /** Goes off above this … */
  readonly above?: number;
  /** … or below this. */
  readonly below?: number;
  /** So many periods (a minute each, unless the metric's is longer) … */
  readonly datapoints: number;
  /** … of the last so many. Default: of as many. */
  readonly of?: number;
  /** `fine`: there is none where nothing happens. `breaching`: its absence is the matter. */
  readonly missing: 'fine' | 'breaching';
  /** Whether readers feel it, now or soon. */
  readonly pages?: true;
}

export function certificateRow(arn: string, subject?: string): AlarmRow {
  return {
    ...{ id: 'certificate-expiry', datapoints: 1, missing: 'fine', ...(subject !== undefined && { subject }) },
    // ACM renews 60 days before, and tries for 15.
    says: 'A certificate expires within 44 days and has not been renewed.',
    metric: certificateMetric(arn),
    below: 45,
  };
}
