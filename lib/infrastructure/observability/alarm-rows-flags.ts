import type { IMetric } from 'aws-cdk-lib/aws-cloudwatch';
import { type RelayMetricName, type SharedAlarmId, sharedAlarms } from '../../monitoring/index.ts';
import { type AlarmRow, sharedRow } from './alarm-row.ts';
import { expression, relayMetric, tableMetric } from './metrics.ts';
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
    sharedRow(observed, 'data-stale'),
    sharedRow(observed, 'no-data'),
    sharedRow(observed, 'slow-propagation-to-streams'),
    sharedRow(observed, 'slow-propagation-to-table'),
    ...(observed.heartbeats ? [sharedRow(observed, 'heartbeats-overdue')] : []),
    // Only the relay that writes the table asks replicas.
    ...(observed.heartbeats?.replicas && observed.writes ? [sharedRow(observed, 'heartbeats-missed')] : []),
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

/** What may be wrong with an environment. */
const ENVIRONMENT_ALARMS = (Object.keys(sharedAlarms) as SharedAlarmId[]).filter((id) => sharedAlarms[id].each);

/** Of each environment, and of all together where some have no alarms of their own. */
function environmentRows(observed: Observed): AlarmRow[] {
  const { environments, otherEnvironments = false } = observed;
  const own = environments.length <= MAX_ENVIRONMENTS ? environments : [];
  const together = own.length === 0 || otherEnvironments;
  return ENVIRONMENT_ALARMS.flatMap((id): AlarmRow[] => {
    const { metric, statistic, says } = sharedAlarms[id];
    const row = sharedRow(observed, id);
    return [
      ...own.map((environment) => ({
        ...row,
        subject: environment,
        says: `${environment}: ${says}`,
        metric: relayMetric(observed, metric, statistic, { environment }),
      })),
      ...(together
        ? [
            {
              ...row,
              says: `At least one${own.length > 0 ? ' other' : ''} environment: ${says}`,
              metric: ofOthers(observed, metric, own),
            },
          ]
        : []),
    ];
  });
}

/** What is above 0 if an environment has the problem that is none of these. Every metric of `ENVIRONMENT_ALARMS` is a sum over environments. */
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
  const ids = [
    ...(observed.writes ? (['no-writer'] as const) : []),
    ...(['store-down', 'store-write-errors', 'replica-store-errors', 'store-differs', 'oversized-items'] as const),
    'key-source-down' as const,
  ];
  return ids.map((id) => sharedRow(observed, id));
}
