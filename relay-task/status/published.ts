import type { MeasureName } from '../common/measures.ts';

/**
 * The metrics published to CloudWatch: the name there and the relay's own, without its prefix. CloudWatch bills each name and
 * combination of dimensions, so only what dashboards and alarms use is published.
 */
export interface PublishedMetric {
  readonly name: string;
  readonly unit: 'Count' | 'Seconds' | 'Bytes';
  /** A row of the relay's metrics, or one of Node's. A counter is published as its increase since the previous emit. */
  readonly from: string;
  /** Only label sets with these values. */
  readonly where?: Readonly<Record<string, string>>;
  /** The combinations of dimensions to publish; [] is the whole relay. */
  readonly by: readonly (readonly Dimension[])[];
  /** How label sets of one combination are merged; `sum` by default. */
  readonly combine?: 'sum' | 'max';
}

type NodeMetric = 'nodejs_eventloop_lag_max_seconds' | 'process_resident_memory_bytes';

export type Dimension = 'Environment' | 'Kind' | 'Reason' | 'Database' | 'Version' | 'Region';

/** The label that holds each dimension. */
export const dimensionLabels: Readonly<Record<Dimension, string>> = {
  Environment: 'env',
  Kind: 'kind',
  Reason: 'reason',
  Database: 'database',
  Version: 'version',
  Region: 'region',
};

const WHOLE = [[]] as const;
const BOTH = [[], ['Environment']] as const;

export const published: readonly (PublishedMetric & { readonly from: MeasureName | NodeMetric })[] = [
  { name: 'StreamsOpen', unit: 'Count', from: 'streams_open', by: [[], ['Environment'], ['Kind']] },
  { name: 'StreamsOpened', unit: 'Count', from: 'streams_opened_total', by: WHOLE },
  { name: 'StreamsClosed', unit: 'Count', from: 'streams_closed_total', by: [['Reason']] },
  { name: 'StreamsRefused', unit: 'Count', from: 'streams_refused_total', by: WHOLE },
  { name: 'Requests', unit: 'Count', from: 'requests_answered_total', by: BOTH },
  { name: 'Answers', unit: 'Count', from: 'http_answers_total', by: WHOLE },
  { name: 'Answers5xx', unit: 'Count', from: 'http_failures_total', by: WHOLE },
  { name: 'UpstreamDisconnected', unit: 'Count', from: 'upstream_disconnected', by: BOTH },
  { name: 'UpstreamRefused', unit: 'Count', from: 'upstream_refused', by: BOTH },
  { name: 'DataAge', unit: 'Seconds', from: 'data_age_seconds', by: BOTH, combine: 'max' },
  { name: 'EnvironmentsWithoutData', unit: 'Count', from: 'environments_without_data', by: WHOLE },
  { name: 'UnreadableItems', unit: 'Count', from: 'unreadable_items', by: BOTH },
  { name: 'PropagationToStreams', unit: 'Seconds', from: 'broadcast_seconds', by: WHOLE },
  { name: 'PropagationToTable', unit: 'Seconds', from: 'store_publication_seconds', by: WHOLE },
  { name: 'StoreDown', unit: 'Count', from: 'store_down', by: [[], ['Environment', 'Database']] },
  {
    name: 'StoreWriteErrors',
    unit: 'Count',
    from: 'store_writes_total',
    where: { outcome: 'failed' },
    by: WHOLE,
  },
  { name: 'ReplicaStoreErrors', unit: 'Count', from: 'store_replica_failures_total', by: [[], ['Database']] },
  { name: 'PropagationToReplicas', unit: 'Seconds', from: 'store_replica_publication_seconds', by: WHOLE },
  {
    name: 'HeartbeatToRelay',
    unit: 'Seconds',
    from: 'heartbeat_seconds',
    where: { stage: 'relay' },
    by: WHOLE,
  },
  {
    name: 'HeartbeatToStreams',
    unit: 'Seconds',
    from: 'heartbeat_seconds',
    where: { stage: 'stream' },
    by: WHOLE,
  },
  {
    name: 'HeartbeatToTable',
    unit: 'Seconds',
    from: 'heartbeat_seconds',
    where: { stage: 'table' },
    by: WHOLE,
  },
  {
    name: 'HeartbeatToReplicas',
    unit: 'Seconds',
    from: 'heartbeat_seconds',
    where: { stage: 'replica' },
    by: [[], ['Region']],
  },
  { name: 'HeartbeatsMissed', unit: 'Count', from: 'heartbeats_missed_total', by: WHOLE },
  { name: 'HeartbeatsOverdue', unit: 'Count', from: 'heartbeats_overdue', by: WHOLE },
  { name: 'StoreRetries', unit: 'Count', from: 'store_retries_total', by: WHOLE },
  { name: 'StoreDifferingItems', unit: 'Count', from: 'store_differing_items_total', by: WHOLE },
  { name: 'StoreOversizedItems', unit: 'Count', from: 'store_oversized_items', by: WHOLE },
  { name: 'SnapshotBytes', unit: 'Bytes', from: 'store_snapshot_bytes', by: WHOLE, combine: 'max' },
  { name: 'LeasesHeld', unit: 'Count', from: 'store_lease_held', by: WHOLE },
  { name: 'KeyProblems', unit: 'Count', from: 'key_problems', by: BOTH },
  { name: 'KeySourceDown', unit: 'Count', from: 'key_source_down', by: WHOLE },
  { name: 'BigSegmentsStale', unit: 'Count', from: 'big_segments_stale', by: BOTH },
  { name: 'EventsReceived', unit: 'Count', from: 'events_received_total', by: WHOLE },
  { name: 'EventsForwarded', unit: 'Count', from: 'events_forwarded_total', by: WHOLE },
  { name: 'EventsDropped', unit: 'Count', from: 'events_dropped_total', by: [[], ['Reason']] },
  { name: 'EventsSpoolAge', unit: 'Seconds', from: 'events_spool_oldest_seconds', by: WHOLE, combine: 'max' },
  { name: 'EventLoopDelay', unit: 'Seconds', from: 'nodejs_eventloop_lag_max_seconds', by: WHOLE, combine: 'max' },
  { name: 'MemoryBytes', unit: 'Bytes', from: 'process_resident_memory_bytes', by: WHOLE, combine: 'max' },
  { name: 'EnvironmentsUntold', unit: 'Count', from: 'environments_untold', by: WHOLE },
  { name: 'Up', unit: 'Count', from: 'up', by: WHOLE },
  { name: 'RelaysByVersion', unit: 'Count', from: 'version_info', by: [['Version']] },
];
