import { type AlarmRow, certificateRow } from './alarm-row.ts';
import { distributionMetric, edgeFunctionMetric, expression, tableMetric } from './metrics.ts';
import type { Observed } from './observed.ts';

/** What a region's alarms need. */
export type RegionObserved = Pick<Observed, 'stage' | 'tableName' | 'homeRegion' | 'replicaRegions' | 'edge'>;

export function regionRows(
  { tableName, homeRegion, replicaRegions, edge }: RegionObserved,
  region: string,
): AlarmRow[] {
  const table = { tableName };
  const throttle = (id: string, name: string, says: string): AlarmRow => ({
    id,
    says,
    datapoints: 3,
    of: 5,
    missing: 'fine',
    above: 0,
    metric: tableMetric(table, name, 'Sum'),
  });
  const holds = region === homeRegion || replicaRegions.includes(region);
  return [
    ...(holds ? [throttle('read-throttle', 'ReadThrottleEvents', 'Reads from the flag table are throttled.')] : []),
    ...(region === homeRegion
      ? [throttle('write-throttle', 'WriteThrottleEvents', 'Writes to the flag table are throttled.')]
      : []),
    ...(edge?.regions.includes(region) ? edge.functionNames : []).map(
      (functionName): AlarmRow => ({
        id: 'edge-errors',
        subject: functionName,
        datapoints: 3,
        of: 5,
        missing: 'fine',
        says: `More than 1 % of ${functionName} invocations in ${region} fail.`,
        metric: expression(
          'IF(errors >= 5, 100 * errors / calls, 0)',
          {
            errors: edgeFunctionMetric(functionName, 'Errors', 'Sum'),
            calls: edgeFunctionMetric(functionName, 'Invocations', 'Sum'),
          },
          'failed invocations, %',
        ),
        above: 1,
      }),
    ),
  ];
}

export function edgeRows(observed: {
  readonly distributionId: string;
  readonly certificateArn?: string | undefined;
}): AlarmRow[] {
  const { distributionId, certificateArn } = observed;
  return [
    {
      id: 'distribution-5xx',
      datapoints: 5,
      missing: 'fine',
      says: 'CloudFront returns 5xx for more than 5 % of requests.',
      metric: distributionMetric(distributionId, '5xxErrorRate', 'Average'),
      above: 5,
    },
    ...(certificateArn === undefined ? [] : [certificateRow(certificateArn)]),
  ];
}
