/**
 * The relay's metrics that alarms and dashboards use, by their names in CloudWatch, and their dimensions there. CloudWatch reports no error for a metric that does not exist, so a test
 * compares this with the table of metrics that the relay reports.
 */
export const relayMetrics = {
  StreamsOpen: [[], ['Environment'], ['Kind']],
  StreamsOpened: [[]],
  StreamsClosed: [['Reason']],
  StreamsRefused: [[]],
  Answers: [[]],
  Answers5xx: [[]],
  Requests: [[], ['Environment']],
  UpstreamDisconnected: [[], ['Environment']],
  UpstreamRefused: [[], ['Environment']],
  DataAge: [[], ['Environment']],
  EnvironmentsWithoutData: [[]],
  UnreadableItems: [[], ['Environment']],
  PropagationToStreams: [[]],
  PropagationToTable: [[]],
  StoreDown: [[], ['Environment', 'Database']],
  StoreWriteErrors: [[]],
  ReplicaStoreErrors: [[], ['Database']],
  PropagationToReplicas: [[]],
  HeartbeatToRelay: [[]],
  HeartbeatToStreams: [[]],
  HeartbeatToTable: [[]],
  HeartbeatToReplicas: [[], ['Region']],
  HeartbeatsMissed: [[]],
  HeartbeatsOverdue: [[]],
  StoreRetries: [[]],
  StoreDifferingItems: [[]],
  StoreOversizedItems: [[]],
  SnapshotBytes: [[]],
  LeasesHeld: [[]],
  KeyProblems: [[], ['Environment']],
  KeySourceDown: [[]],
  EnvironmentsUntold: [[]],
  BigSegmentsStale: [[], ['Environment']],
  EventsReceived: [[]],
  EventsForwarded: [[]],
  EventsDropped: [[], ['Reason']],
  EventsSpoolAge: [[]],
  EventLoopDelay: [[]],
  MemoryBytes: [[]],
  Up: [[]],
  RelaysByVersion: [['Version']],
} as const satisfies Readonly<Record<string, readonly (readonly string[])[]>>;

export type RelayMetricName = keyof typeof relayMetrics;

export type Dimension = 'Environment' | 'Kind' | 'Reason' | 'Database' | 'Version' | 'Region';

/** What is made of the values of all relays. */
export type Statistic = 'Sum' | 'Average' | 'Minimum' | 'Maximum' | 'SampleCount' | 'p50' | 'p95' | 'p99';
