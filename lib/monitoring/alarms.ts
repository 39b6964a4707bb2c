import { promises } from './promises.ts';
import type { RelayMetricName, Statistic } from './relay-metrics.ts';

/** An alarm on a metric of the relay, in CloudWatch and in Prometheus. Its ID is also the anchor of its runbook. */
export interface SharedAlarm {
  /** `{threshold}` stands for the threshold in force. Of an alarm on each environment: what follows its name. */
  readonly says: string;
  readonly metric: RelayMetricName;
  readonly statistic: Statistic;
  /** The period of the metric, in minutes. @default 1 */
  readonly period?: number;
  /** Whether it is on each environment by itself. */
  readonly each?: true;
  /** The alarm fires above this … */
  readonly above?: number;
  /** … or below this; the number of relays that should always run is not known here. */
  readonly below?: number | 'relays';
  /** How many breaching periods … */
  readonly datapoints: number;
  /** … out of how many. @default `datapoints` */
  readonly of?: number;
  /** `fine`: no data means no activity. `breaching`: missing data is the problem. */
  readonly missing: 'fine' | 'breaching';
  /** Whether it affects users now or soon, and so pages. */
  readonly pages?: true;
}

const rows = {
  'too-few-healthy-tasks': {
    pages: true,
    datapoints: 3,
    missing: 'breaching',
    says: 'Fewer than {threshold} relays report metrics.',
    metric: 'Up',
    statistic: 'Sum',
    below: 'relays',
  },
  'no-metrics': {
    datapoints: 5,
    missing: 'breaching',
    says: 'No metrics have arrived from any relay for 5 minutes: metric-based alarms are blind.',
    metric: 'Up',
    statistic: 'Sum',
    below: 1,
  },
  'event-loop': {
    datapoints: 3,
    of: 5,
    missing: 'fine',
    says: "A relay's event loop was blocked for more than {threshold} s.",
    metric: 'EventLoopDelay',
    statistic: 'Maximum',
    above: 1,
  },
  'data-stale': {
    pages: true,
    datapoints: 3,
    missing: 'fine',
    says: 'No relay has confirmed an environment as current with LaunchDarkly for {threshold} s: changes reach no SDK.',
    // Each task reports its oldest environment. The minimum, since another alarm covers a single disconnected task.
    metric: 'DataAge',
    statistic: 'Minimum',
    above: 600,
  },
  'no-data': {
    pages: true,
    datapoints: 5,
    missing: 'fine',
    says: 'No relay has data for an environment: its SDKs get 503.',
    metric: 'EnvironmentsWithoutData',
    statistic: 'Minimum',
    above: 0,
  },
  'slow-propagation-to-streams': {
    datapoints: 3,
    of: 5,
    missing: 'fine',
    says: 'Changes take more than {threshold} s from their arrival at a relay to the last stream (p99).',
    metric: 'PropagationToStreams',
    statistic: 'p99',
    above: promises.streams,
  },
  'slow-propagation-to-table': {
    datapoints: 3,
    of: 5,
    missing: 'fine',
    says: 'Changes take more than {threshold} s from their arrival at a relay to the flag table (p99).',
    metric: 'PropagationToTable',
    statistic: 'p99',
    above: promises.table,
  },
  'heartbeats-overdue': {
    datapoints: 3,
    missing: 'fine',
    says: 'No heartbeat of an environment has arrived for five times HEARTBEAT_FLAG_INTERVAL: how long changes take from LaunchDarkly on is not known.',
    metric: 'HeartbeatsOverdue',
    statistic: 'Maximum',
    above: 0,
  },
  // One heartbeat a minute: a replica that was late once is in one period, and at its border in two.
  'heartbeats-missed': {
    datapoints: 3,
    of: 5,
    period: 5,
    missing: 'fine',
    says: 'A replica of the flag table keeps missing heartbeats: readers there have flags that are a minute old or older.',
    metric: 'HeartbeatsMissed',
    statistic: 'Sum',
    above: 0,
  },
  // Of each environment every task reports 0 while all is well, so the maximum shows whether any task has the problem.
  'upstream-disconnected': {
    each: true,
    datapoints: 5,
    missing: 'fine',
    says: 'a relay has had no connection to LaunchDarkly for 5 minutes.',
    metric: 'UpstreamDisconnected',
    statistic: 'Maximum',
    above: 0,
  },
  'upstream-refused': {
    each: true,
    datapoints: 2,
    missing: 'fine',
    says: 'LaunchDarkly rejects the SDK key.',
    metric: 'UpstreamRefused',
    statistic: 'Maximum',
    above: 0,
  },
  'key-problem': {
    each: true,
    datapoints: 3,
    missing: 'fine',
    says: 'the keys are missing from SSM or cannot be read.',
    metric: 'KeyProblems',
    statistic: 'Maximum',
    above: 0,
  },
  'unreadable-items': {
    each: true,
    datapoints: 2,
    missing: 'fine',
    says: 'some flags or segments are invalid.',
    metric: 'UnreadableItems',
    statistic: 'Maximum',
    above: 0,
  },
  'big-segments-stale': {
    each: true,
    datapoints: 5,
    missing: 'fine',
    says: 'Big Segments may be out of date.',
    metric: 'BigSegmentsStale',
    statistic: 'Maximum',
    above: 0,
  },
  'no-writer': {
    pages: true,
    datapoints: 3,
    missing: 'fine',
    says: 'No relay writes to the flag table: table readers and the edge keep old flags.',
    metric: 'LeasesHeld',
    statistic: 'Maximum',
    below: 1,
  },
  'store-down': {
    datapoints: 3,
    missing: 'fine',
    says: 'A relay gets no response from a store.',
    metric: 'StoreDown',
    statistic: 'Maximum',
    above: 0,
  },
  'store-write-errors': {
    datapoints: 3,
    of: 5,
    missing: 'fine',
    says: 'Writes to the flag table are failing.',
    metric: 'StoreWriteErrors',
    statistic: 'Sum',
    above: 0,
  },
  'replica-store-errors': {
    datapoints: 3,
    of: 5,
    missing: 'fine',
    says: 'Operations on Redis or Consul are failing.',
    metric: 'ReplicaStoreErrors',
    statistic: 'Sum',
    above: 0,
  },
  'store-differs': {
    datapoints: 2,
    of: 3,
    period: 15,
    missing: 'fine',
    says: 'Something else keeps changing the flag table: its items repeatedly differed from memory.',
    metric: 'StoreDifferingItems',
    statistic: 'Sum',
    above: 0,
  },
  'oversized-items': {
    datapoints: 5,
    missing: 'fine',
    says: "Items are too large for LaunchDarkly's own layout of the table.",
    metric: 'StoreOversizedItems',
    statistic: 'Maximum',
    above: 0,
  },
  'key-source-down': {
    datapoints: 5,
    missing: 'fine',
    says: 'The source of environments and keys does not respond; relays keep using its last values.',
    metric: 'KeySourceDown',
    statistic: 'Maximum',
    above: 0,
  },
  'streams-refused': {
    datapoints: 3,
    of: 5,
    missing: 'fine',
    says: 'Relays reject streams with 503: too many are waiting for their first payload.',
    metric: 'StreamsRefused',
    statistic: 'Sum',
    above: 0,
  },
  'events-dropped': {
    datapoints: 3,
    of: 5,
    missing: 'fine',
    says: 'Analytics events are being lost.',
    metric: 'EventsDropped',
    statistic: 'Sum',
    above: 0,
  },
  'events-waiting': {
    datapoints: 5,
    missing: 'fine',
    says: 'Events have waited in the spool for more than {threshold} s.',
    // Young while events are delivered, since what is delivered leaves the spool.
    metric: 'EventsSpoolAge',
    statistic: 'Maximum',
    above: 600,
  },
} as const satisfies Readonly<Record<string, SharedAlarm>>;

export type SharedAlarmId = keyof typeof rows;

/** By ID, in the order in which Prometheus's rules have them: the CloudWatch alarms with these IDs have the order of their own tables. */
export const sharedAlarms: Readonly<Record<SharedAlarmId, SharedAlarm>> = rows;
