import { exposuresFunctionName } from '../exposures.ts';
import { type AlarmRow, certificateRow } from './alarm-row.ts';
import {
  canaryMetric,
  decisionMetric,
  distributionMetric,
  edgeFunctionMetric,
  expression,
  functionMetric,
  tableMetric,
} from './metrics.ts';
import type { Observed } from './observed.ts';

/** What a region's alarms need. */
export type RegionObserved = Pick<Observed, 'stage' | 'tableName' | 'homeRegion' | 'replicaRegions' | 'edge'>;

export function regionRows(
  { stage, tableName, homeRegion, replicaRegions, edge }: RegionObserved,
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
        pages: true,
        datapoints: 3,
        of: 5,
        missing: 'fine',
        says: `More than {threshold} % of ${functionName} invocations in ${region} fail.`,
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
    ...(edge?.regions.includes(region) ? decisionRows(stage, region) : []),
    ...(edge?.heartbeatSeconds !== undefined && edge.regions.includes(region)
      ? [heartbeatRow(stage, region, edge.heartbeatSeconds)]
      : []),
    ...(edge?.exposures && edge.regions.includes(region) ? [exposuresRow(stage, region)] : []),
  ];
}

function heartbeatRow(stage: string, region: string, above: number): AlarmRow {
  return {
    id: 'slow-propagation-to-edge',
    datapoints: 3,
    of: 5,
    missing: 'fine',
    says: `Changes take more than {threshold} s from LaunchDarkly to edge functions in ${region} (p99).`,
    metric: decisionMetric({ stage }, 'HeartbeatToEdge', 'p99'),
    above,
  };
}

function exposuresRow(stage: string, region: string): AlarmRow {
  return {
    id: 'exposures-lost',
    datapoints: 3,
    of: 5,
    missing: 'fine',
    says: `What edge functions in ${region} decided does not reach the relay.`,
    metric: functionMetric(exposuresFunctionName(stage, 'collector'), 'Errors', 'Sum'),
    above: 0,
  };
}

function decisionRows(stage: string, region: string): AlarmRow[] {
  const of = (name: 'Decisions' | 'Fallbacks') => decisionMetric({ stage }, name, 'Sum');
  return [
    {
      id: 'edge-fallbacks',
      pages: true,
      datapoints: 3,
      of: 5,
      missing: 'fine',
      says: `More than {threshold} % of viewers in ${region} get the default variant because the flag cannot be evaluated.`,
      metric: expression(
        'IF(fallbacks >= 5, 100 * fallbacks / decisions, 0)',
        { fallbacks: of('Fallbacks'), decisions: of('Decisions') },
        'fallbacks, %',
      ),
      above: 1,
    },
    {
      id: 'edge-old-data',
      datapoints: 3,
      of: 5,
      missing: 'fine',
      // Where data is fresh, some process always says so.
      says: `Every edge function in ${region} decides with flags that are more than {threshold} s old.`,
      metric: decisionMetric({ stage }, 'DataAge', 'Minimum'),
      above: 120,
    },
  ];
}

export function edgeRows(observed: {
  readonly stage: string;
  readonly distributionId: string;
  readonly name?: string | undefined;
  readonly certificateArn?: string | undefined;
  readonly checked?: boolean | undefined;
}): AlarmRow[] {
  const { stage, distributionId, name: subject, certificateArn, checked } = observed;
  const check: AlarmRow = {
    id: 'edge-check',
    pages: true,
    datapoints: 3,
    of: 5,
    missing: 'breaching',
    says: 'The synthetic check gets no decision from the distribution.',
    metric: canaryMetric({ stage }, 'EdgeSuccess', 'Minimum'),
    below: 1,
  };
  return [
    ...(checked ? [check] : []),
    {
      id: 'distribution-5xx',
      ...(subject !== undefined && { subject }),
      datapoints: 5,
      missing: 'fine',
      says: 'CloudFront returns 5xx for more than {threshold} % of requests.',
      metric: distributionMetric(distributionId, '5xxErrorRate', 'Average'),
      above: 5,
    },
    ...(certificateArn === undefined ? [] : [certificateRow(certificateArn, subject)]),
  ];
}
