import { Duration } from 'aws-cdk-lib';
import type { IMetric } from 'aws-cdk-lib/aws-cloudwatch';
import type { AlarmRow } from './alarm-row.ts';
import {
  expression,
  type MetricOptions,
  type RelayMetricName,
  relayMetric,
  type Statistic,
  tableMetric,
} from './metrics.ts';
import type { Observed } from './observed.ts';

/** A stage with more environments than this has shared alarms: a stack is limited to 500 resources. */
const MAX_ENVIRONMENTS = 50;

/** AWS: "Using metric math", metrics of an alarm. */
const MAX_METRICS = 10;

/** Alarms on fresh, valid and stored flags. */
export function flagRows(observed: Observed): AlarmRow[] {
  return [...freshnessRows(observed), ...environmentRows(observed), ...storeRows(observed)];
}

function freshnessRows(observed: Observed): AlarmRow[] {
  return [
    {
      id: 'data-stale',
      pages: true,
      datapoints: 3,
      missing: 'fine',
      says: 'No relay has confirmed an environment as current with LaunchDarkly for {threshold} s: changes reach no SDK.',
      // Each task reports its oldest environment. The minimum, since another alarm covers a single disconnected task.
      metric: relayMetric(observed, 'DataAge', 'Minimum'),
      above: 600,
    },
    {
      id: 'no-data',
      pages: true,
      datapoints: 5,
      missing: 'fine',
      says: 'No relay has data for an environment: its SDKs get 503.',
      metric: relayMetric(observed, 'EnvironmentsWithoutData', 'Minimum'),
      above: 0,
    },
    {
      id: 'slow-propagation-to-streams',
      datapoints: 3,
      of: 5,
      missing: 'fine',
      says: 'Changes take more than {threshold} s from LaunchDarkly to the last stream (p99; target 0.1 s).',
      metric: relayMetric(observed, 'PropagationToStreams', 'p99'),
      above: 0.5,
    },
    {
      id: 'slow-propagation-to-table',
      datapoints: 3,
      of: 5,
      missing: 'fine',
      says: 'Changes take more than {threshold} s from LaunchDarkly to the flag table (p99; target 1 s).',
      metric: relayMetric(observed, 'PropagationToTable', 'p99'),
      above: 5,
    },
    ...observed.replicaRegions.map(
      (region): AlarmRow => ({
        id: 'replication-latency',
        subject: region,
        datapoints: 5,
        missing: 'fine',
        says: `Writes take more than {threshold} ms to replicate to ${region}.`,
        metric: tableMetric(observed, 'ReplicationLatency', 'Average', { receivingRegion: region }),
        above: 10_000,
      }),
    ),
  ];
}

/** What may be wrong with an environment. Each task reports 0 while all is well, so the maximum shows whether any task has the problem. */
const ENVIRONMENT_ROWS: readonly (Pick<AlarmRow, 'id' | 'datapoints' | 'says'> & { readonly name: RelayMetricName })[] =
  [
    {
      id: 'upstream-disconnected',
      datapoints: 5,
      says: 'a relay has had no connection to LaunchDarkly for 5 minutes.',
      name: 'UpstreamDisconnected',
    },
    { id: 'upstream-refused', datapoints: 2, says: 'LaunchDarkly rejects the SDK key.', name: 'UpstreamRefused' },
    {
      id: 'key-problem',
      datapoints: 3,
      says: 'the keys are missing from SSM or cannot be read.',
      name: 'KeyProblems',
    },
    { id: 'unreadable-items', datapoints: 2, says: 'some flags or segments are invalid.', name: 'UnreadableItems' },
    { id: 'big-segments-stale', datapoints: 5, says: 'Big Segments may be out of date.', name: 'BigSegmentsStale' },
  ];

/** Of each environment, and of all together where some have no alarms of their own. */
function environmentRows(observed: Observed): AlarmRow[] {
  const { environments, otherEnvironments = false } = observed;
  const own = environments.length <= MAX_ENVIRONMENTS ? environments : [];
  const together = own.length === 0 || otherEnvironments;
  return ENVIRONMENT_ROWS.flatMap(({ name, says, ...row }): AlarmRow[] => {
    const fires = { ...row, above: 0, missing: 'fine' } as const;
    return [
      ...own.map((environment) => ({
        ...fires,
        subject: environment,
        says: `${environment}: ${says}`,
        metric: relayMetric(observed, name, 'Maximum', { environment }),
      })),
      ...(together
        ? [
            {
              ...fires,
              says: `At least one${own.length > 0 ? ' other' : ''} environment: ${says}`,
              metric: ofOthers(observed, name, own),
            },
          ]
        : []),
    ];
  });
}

/** What is above 0 if an environment has the problem that is none of these. Every metric of `ENVIRONMENT_ROWS` is a sum over environments. */
function ofOthers(observed: Observed, name: RelayMetricName, own: readonly string[]): IMetric {
  // With more, the alarm is on all environments, and fires besides that of the one that has the problem.
  if (own.length === 0 || own.length >= MAX_METRICS) return relayMetric(observed, name, 'Maximum');
  const known = own.map(
    (environment, index) => [`own${index}`, relayMetric(observed, name, 'Sum', { environment })] as const,
  );
  // An environment beyond the limit of CloudWatch's environments has no metric, and counts with the others.
  const without = known.map(([id]) => ` - FILL(${id}, 0)`).join('');
  const metrics = { all: relayMetric(observed, name, 'Sum'), ...Object.fromEntries(known) };
  return expression(`FILL(all, 0)${without}`, metrics, 'relays and other environments with the problem');
}

function storeRows(observed: Observed): AlarmRow[] {
  const of = (name: RelayMetricName, statistic: Statistic, options?: MetricOptions) =>
    relayMetric(observed, name, statistic, options);
  const writer: AlarmRow = {
    id: 'no-writer',
    pages: true,
    datapoints: 3,
    missing: 'fine',
    says: 'No relay writes to the flag table: table readers and the edge keep old flags.',
    metric: of('LeasesHeld', 'Maximum'),
    below: 1,
  };
  return [
    ...(observed.writes ? [writer] : []),
    {
      id: 'store-down',
      datapoints: 3,
      missing: 'fine',
      says: 'A relay gets no response from a store.',
      metric: of('StoreDown', 'Maximum'),
      above: 0,
    },
    {
      id: 'store-write-errors',
      datapoints: 3,
      of: 5,
      missing: 'fine',
      says: 'Writes to the flag table are failing.',
      metric: of('StoreWriteErrors', 'Sum'),
      above: 0,
    },
    {
      id: 'replica-store-errors',
      datapoints: 3,
      of: 5,
      missing: 'fine',
      says: 'Operations on Redis or Consul are failing.',
      metric: of('ReplicaStoreErrors', 'Sum'),
      above: 0,
    },
    {
      id: 'store-differs',
      datapoints: 2,
      of: 3,
      missing: 'fine',
      says: 'Something else keeps changing the flag table: its items repeatedly differed from memory.',
      metric: of('StoreDifferingItems', 'Sum', { period: Duration.minutes(15) }),
      above: 0,
    },
    {
      id: 'oversized-items',
      datapoints: 5,
      missing: 'fine',
      says: "Items are too large for LaunchDarkly's own layout of the table.",
      metric: of('StoreOversizedItems', 'Maximum'),
      above: 0,
    },
    {
      id: 'key-source-down',
      datapoints: 5,
      missing: 'fine',
      says: 'The source of environments and keys does not respond; relays keep using its last values.',
      metric: of('KeySourceDown', 'Maximum'),
      above: 0,
    },
  ];
}
