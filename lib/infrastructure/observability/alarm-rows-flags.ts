import { Duration } from 'aws-cdk-lib';
import type { AlarmRow } from './alarm-row.ts';
import { type MetricOptions, type RelayMetricName, relayMetric, type Statistic, tableMetric } from './metrics.ts';
import type { Observed } from './observed.ts';

/** Above so many environments those of a stage share an alarm: a stack holds 500 resources. */
const MAX_ENVIRONMENTS = 50;

/** Whether flags are fresh, readable and stored. */
export function flagRows(observed: Observed): AlarmRow[] {
  return [...freshnessRows(observed), ...environmentRows(observed), ...storeRows(observed)];
}

function freshnessRows(observed: Observed): AlarmRow[] {
  return [
    {
      ...{ id: 'data-stale', pages: true, datapoints: 3, missing: 'fine' },
      says: 'No relay knows an environment to be current with LaunchDarkly, for 10 minutes: changes reach nobody.',
      // Each task tells its oldest environment; the lowest of them, since one task that is cut off is another alarm's matter.
      metric: relayMetric(observed, 'DataAge', 'Minimum'),
      above: 600,
    },
    {
      ...{ id: 'no-data', pages: true, datapoints: 5, missing: 'fine' },
      says: 'An environment has nothing to serve in any relay: its SDKs get 503.',
      metric: relayMetric(observed, 'EnvironmentsWithoutData', 'Minimum'),
      above: 0,
    },
    {
      ...{ id: 'slow-propagation-to-streams', datapoints: 3, of: 5, missing: 'fine' },
      says: 'Changes take more than half a second from LaunchDarkly to the last stream (p99; 0.1 s is promised).',
      metric: relayMetric(observed, 'PropagationToStreams', 'p99'),
      above: 0.5,
    },
    {
      ...{ id: 'slow-propagation-to-table', datapoints: 3, of: 5, missing: 'fine' },
      says: 'Changes take more than 5 s from LaunchDarkly to the flag table (p99; 1 s is promised).',
      metric: relayMetric(observed, 'PropagationToTable', 'p99'),
      above: 5,
    },
    ...observed.replicaRegions.map(
      (region): AlarmRow => ({
        ...{ id: 'replication-latency', subject: region, datapoints: 5, missing: 'fine' },
        says: `Writes take more than 10 s to the replica in ${region}.`,
        metric: tableMetric(observed, 'ReplicationLatency', 'Average', { receivingRegion: region }),
        above: 10_000,
      }),
    ),
  ];
}

/** Each task tells 0 while all is well, so the highest of a minute says whether one of them has the matter. */
function environmentRows(observed: Observed): AlarmRow[] {
  const { environments } = observed;
  const own = environments.length <= MAX_ENVIRONMENTS ? environments : [];
  const each = (row: Omit<AlarmRow, 'metric' | 'missing'>, name: RelayMetricName): AlarmRow[] =>
    own.map((environment) => ({
      ...row,
      missing: 'fine',
      subject: environment,
      says: `${environment}: ${row.says}`,
      metric: relayMetric(observed, name, 'Maximum', { environment }),
    }));
  const eachOrWhole = (row: Omit<AlarmRow, 'metric' | 'missing'>, name: RelayMetricName): AlarmRow[] =>
    own.length > 0 ? each(row, name) : [{ ...row, missing: 'fine', metric: relayMetric(observed, name, 'Maximum') }];
  return [
    ...eachOrWhole(
      {
        ...{ id: 'upstream-disconnected', above: 0, datapoints: 5 },
        says: 'a relay has had no connection to LaunchDarkly for 5 minutes.',
      },
      'UpstreamDisconnected',
    ),
    ...each(
      { ...{ id: 'upstream-refused', above: 0, datapoints: 2 }, says: 'LaunchDarkly refuses its SDK key.' },
      'UpstreamRefused',
    ),
    ...eachOrWhole(
      { ...{ id: 'key-problem', above: 0, datapoints: 3 }, says: 'its keys are gone from SSM or cannot be read.' },
      'KeyProblems',
    ),
    ...each(
      { ...{ id: 'unreadable-items', above: 0, datapoints: 2 }, says: 'flags or segments could not be understood.' },
      'UnreadableItems',
    ),
    ...each(
      { ...{ id: 'big-segments-stale', above: 0, datapoints: 5 }, says: 'Big Segments may be out of date.' },
      'BigSegmentsStale',
    ),
  ];
}

function storeRows(observed: Observed): AlarmRow[] {
  const of = (name: RelayMetricName, statistic: Statistic, options?: MetricOptions) =>
    relayMetric(observed, name, statistic, options);
  const writer: AlarmRow = {
    ...{ id: 'no-writer', pages: true, datapoints: 3, missing: 'fine' },
    says: 'No relay writes the flag table: readers of the table and the edge keep old flags.',
    metric: of('LeasesHeld', 'Maximum'),
    below: 1,
  };
  return [
    ...(observed.writes ? [writer] : []),
    {
      ...{ id: 'store-down', datapoints: 3, missing: 'fine' },
      says: 'A store does not answer a relay.',
      metric: of('StoreDown', 'Maximum'),
      above: 0,
    },
    {
      ...{ id: 'store-write-errors', datapoints: 3, of: 5, missing: 'fine' },
      says: 'Writes to the flag table fail.',
      metric: of('StoreWriteErrors', 'Sum'),
      above: 0,
    },
    {
      ...{ id: 'replica-store-errors', datapoints: 3, of: 5, missing: 'fine' },
      says: 'Redis or Consul fails.',
      metric: of('ReplicaStoreErrors', 'Sum'),
      above: 0,
    },
    {
      ...{ id: 'store-differs', datapoints: 2, of: 3, missing: 'fine' },
      says: 'Somebody else changes the flag table: what stood there differed from memory, again and again.',
      metric: of('StoreDifferingItems', 'Sum', { period: Duration.minutes(15) }),
      above: 0,
    },
    {
      ...{ id: 'oversized-items', datapoints: 5, missing: 'fine' },
      says: "Items are too large for LaunchDarkly's own layout of the table.",
      metric: of('StoreOversizedItems', 'Maximum'),
      above: 0,
    },
    {
      ...{ id: 'key-source-down', datapoints: 5, missing: 'fine' },
      says: 'The source of environments and keys does not answer; what it said last stays in force.',
      metric: of('KeySourceDown', 'Maximum'),
      above: 0,
    },
  ];
}
