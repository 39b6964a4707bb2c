import { type SharedAlarmId, sharedAlarms } from './alarms.ts';
import { promises } from './promises.ts';
import type { Dimension, RelayMetricName, Statistic } from './relay-metrics.ts';

/** The questions that an operator asks, in order: the sections of every dashboard. */
export const sections = {
  up: '1. Is it up?',
  connected: '2. Who is connected?',
  fresh: '3. Is data fresh?',
  failing: '4. What is failing?',
  room: '5. Is there enough capacity?',
} as const;

export type Section = keyof typeof sections;

/** What one line of a graph shows, or one per value of a dimension. */
export interface Values {
  readonly metric: RelayMetricName;
  readonly statistic: Statistic;
  /** Not of lines by a dimension: its values name them. */
  readonly label?: string;
  readonly by?: Dimension;
  /** Relays report it only to CloudWatch. */
  readonly cloudWatchOnly?: true;
}

/** The share of what went well, in percent. Keys are names for metric math. */
export interface Share {
  readonly label: string;
  readonly bad: readonly [name: string, RelayMetricName];
  /** `bad` is a part of it … */
  readonly all?: readonly [name: string, RelayMetricName];
  /** … or comes on top of it. */
  readonly good?: readonly [name: string, RelayMetricName];
}

export type Line = Values | Share;

/** A graph of the relay's own metrics, on the dashboards of CloudWatch and Grafana. */
export interface Panel {
  readonly section: Section;
  readonly title: string;
  readonly unit?: Unit;
  readonly lines: readonly Line[];
  readonly stacked?: true;
  /** Shows only zeros while all is well. */
  readonly quiet?: true;
  /** The value now, as a number. */
  readonly now?: true;
  readonly max?: number;
  /** Minimum of the axis. @default 0; `auto`: chosen by the data */
  readonly from?: 'auto';
  readonly marks?: readonly Mark[];
  /** What it shows and what to look for; CloudWatch's graphs have no such text. */
  readonly tells: string;
  /** The alarms on what it shows, whose runbooks say what to do. */
  readonly alarms?: readonly SharedAlarmId[];
}

/** How axes are labelled. */
export type Unit =
  | '%'
  | 'bytes'
  | 'per minute'
  | 'relays'
  | 'seconds'
  | 'streams'
  | 'tasks'
  | '× the rate that 30 days allow';

/** A horizontal line: where an alarm fires, or a target. */
export interface Mark {
  readonly value: number;
  readonly label: string;
  /** Whose threshold it is. */
  readonly alarm?: SharedAlarmId;
}

function thresholdOf(alarm: SharedAlarmId, label: string): Mark {
  return { value: sharedAlarms[alarm].above!, label, alarm };
}

const rows = {
  now: {
    section: 'up',
    title: 'Now',
    now: true,
    lines: [
      { metric: 'Up', statistic: 'Sum', label: 'relays' },
      { metric: 'StreamsOpen', statistic: 'Sum', label: 'streams' },
      { metric: 'DataAge', statistic: 'Minimum', label: 'oldest data, s' },
    ],
    tells:
      'Relays that report metrics, their open streams, and how long ago the oldest flags of the best relay were confirmed current.',
    alarms: ['no-metrics', 'too-few-healthy-tasks', 'data-stale'],
  },
  availability: {
    section: 'up',
    title: 'Availability',
    unit: '%',
    max: 100,
    from: 'auto',
    lines: [
      { label: 'non-5xx responses, %', bad: ['failed', 'Answers5xx'], all: ['answers', 'Answers'] },
      { label: 'streams accepted, %', bad: ['refused', 'StreamsRefused'], good: ['opened', 'StreamsOpened'] },
    ],
    tells: 'The share of requests that relays answered without a 5xx, and of streams that they accepted.',
    alarms: ['streams-refused'],
  },
  ready: {
    section: 'up',
    title: 'Relays ready',
    unit: 'tasks',
    lines: [{ metric: 'Up', statistic: 'Sum', label: 'relays reporting metrics' }],
    tells: 'Relays that report metrics.',
    alarms: ['too-few-healthy-tasks', 'no-metrics'],
  },
  versions: {
    section: 'up',
    title: 'Relays by version',
    unit: 'relays',
    stacked: true,
    lines: [{ metric: 'RelaysByVersion', statistic: 'Sum', by: 'Version' }],
    tells: 'Where one version gives way to the next, a deployment happened.',
  },
  streamsByKind: {
    section: 'connected',
    title: 'Open streams by kind',
    unit: 'streams',
    stacked: true,
    lines: [{ metric: 'StreamsOpen', statistic: 'Sum', by: 'Kind' }],
    tells: 'all, flags, fdv2: server SDKs; eval, ping: browsers and mobile devices.',
  },
  streamsByEnvironment: {
    section: 'connected',
    title: 'Open streams by environment',
    unit: 'streams',
    stacked: true,
    lines: [{ metric: 'StreamsOpen', statistic: 'Sum', by: 'Environment' }],
    tells: 'Open streams of all SDKs.',
  },
  openings: {
    section: 'connected',
    title: 'Streams opened and rejected',
    unit: 'per minute',
    lines: [
      { metric: 'StreamsOpened', statistic: 'Sum', label: 'opened' },
      { metric: 'StreamsRefused', statistic: 'Sum', label: 'rejected' },
    ],
    tells: 'Many at once are SDKs that reconnect after a disconnect. Rejected ones got 503 and come again.',
    alarms: ['streams-refused'],
  },
  closings: {
    section: 'connected',
    title: 'Streams closed, by reason',
    unit: 'per minute',
    stacked: true,
    lines: [{ metric: 'StreamsClosed', statistic: 'Sum', by: 'Reason' }],
    tells:
      'slow: the client fell more than 8 MiB or 30 s behind; shutdown: the relay was replaced; memory: there was no room for the stream.',
  },
  requests: {
    section: 'connected',
    title: 'Requests by environment',
    unit: 'per minute',
    stacked: true,
    lines: [{ metric: 'Requests', statistic: 'Sum', by: 'Environment' }],
    tells: 'Requests answered below 400, opened streams included.',
  },
  disconnected: {
    section: 'fresh',
    title: 'Relays disconnected from LaunchDarkly',
    unit: 'relays',
    lines: [{ metric: 'UpstreamDisconnected', statistic: 'Sum', by: 'Environment' }],
    tells: 'They serve what memory holds, and follow a store that others write.',
    alarms: ['upstream-disconnected'],
  },
  dataAge: {
    section: 'fresh',
    title: 'Data age, oldest relay',
    unit: 'seconds',
    lines: [{ metric: 'DataAge', statistic: 'Maximum', by: 'Environment' }],
    marks: [thresholdOf('data-stale', 'alarm, if every relay is above')],
    tells: 'How long ago the flags in memory were last confirmed current with LaunchDarkly.',
    alarms: ['data-stale'],
  },
  toStreams: {
    section: 'fresh',
    title: 'From the relay to streams',
    unit: 'seconds',
    lines: [
      { metric: 'PropagationToStreams', statistic: 'p50', label: 'p50' },
      { metric: 'PropagationToStreams', statistic: 'p99', label: 'p99' },
    ],
    marks: [{ value: promises.streams, label: 'promise, p99' }],
    tells: 'From the arrival of a change to its last write to a stream.',
    alarms: ['slow-propagation-to-streams'],
  },
  toStores: {
    section: 'fresh',
    title: 'From the relay to stores',
    unit: 'seconds',
    lines: [
      { metric: 'PropagationToTable', statistic: 'p50', label: 'flag table, p50' },
      { metric: 'PropagationToTable', statistic: 'p99', label: 'flag table, p99' },
      { metric: 'PropagationToReplicas', statistic: 'p99', label: 'Redis and Consul, p99' },
    ],
    marks: [{ value: promises.table, label: 'promise, p99' }],
    tells: 'From the receipt of a change to the end of its publication in a store.',
    alarms: ['slow-propagation-to-table'],
  },
  heartbeats: {
    section: 'fresh',
    title: 'From LaunchDarkly on, by heartbeats: p99',
    unit: 'seconds',
    lines: [
      { metric: 'HeartbeatToRelay', statistic: 'p99', label: 'to the relay' },
      { metric: 'HeartbeatToStreams', statistic: 'p99', label: 'to streams' },
      { metric: 'HeartbeatToTable', statistic: 'p99', label: 'to the flag table' },
      { metric: 'HeartbeatsOverdue', statistic: 'Maximum', label: 'environments without heartbeats' },
    ],
    tells: "The whole way of a heartbeat flag's change, with LaunchDarkly's part; empty without a heartbeat flag.",
    alarms: ['heartbeats-overdue'],
  },
  heartbeatsToReplicas: {
    section: 'fresh',
    title: 'From LaunchDarkly to replicas, by heartbeats: p99',
    unit: 'seconds',
    lines: [
      { metric: 'HeartbeatToReplicas', statistic: 'p99', by: 'Region' },
      { metric: 'HeartbeatsMissed', statistic: 'Sum', label: 'not seen in time, per minute' },
    ],
    tells: "When a heartbeat could be read in another region's replica of the flag table.",
    alarms: ['heartbeats-missed'],
  },
  writing: {
    section: 'fresh',
    title: 'Writing to the flag table',
    lines: [
      { metric: 'LeasesHeld', statistic: 'Sum', label: 'leases held' },
      { metric: 'StoreDown', statistic: 'Maximum', label: 'stores down' },
      { metric: 'StoreDifferingItems', statistic: 'Sum', label: 'items repaired' },
    ],
    tells: 'One relay at a time holds the lease of an environment and writes it.',
    alarms: ['no-writer', 'store-down', 'store-differs'],
  },
  keys: {
    section: 'fresh',
    title: 'Keys',
    quiet: true,
    lines: [
      { metric: 'KeyProblems', statistic: 'Maximum', label: 'environments with unconfirmed keys' },
      { metric: 'KeySourceDown', statistic: 'Maximum', label: 'key source down' },
      {
        metric: 'EnvironmentsUntold',
        statistic: 'Maximum',
        label: 'environments without own metrics',
        cloudWatchOnly: true,
      },
    ],
    tells:
      'Of the relay that has most problems. Environments without own metrics are those beyond the 200 of CloudWatch.',
    alarms: ['key-problem', 'key-source-down'],
  },
  refused: {
    section: 'fresh',
    title: 'Rejected by LaunchDarkly',
    quiet: true,
    lines: [{ metric: 'UpstreamRefused', statistic: 'Maximum', by: 'Environment' }],
    tells: '1 while LaunchDarkly rejects the SDK key of the environment.',
    alarms: ['upstream-refused'],
  },
  unreadable: {
    section: 'fresh',
    title: 'Invalid flags and segments',
    quiet: true,
    lines: [{ metric: 'UnreadableItems', statistic: 'Maximum', by: 'Environment' }],
    tells: 'Their previous versions are served; /status lists them with the reason.',
    alarms: ['unreadable-items'],
  },
  stores: {
    section: 'failing',
    title: 'Stores',
    lines: [
      { metric: 'StoreWriteErrors', statistic: 'Sum', label: 'failed writes' },
      { metric: 'StoreRetries', statistic: 'Sum', label: 'retries' },
      { metric: 'StoreOversizedItems', statistic: 'Maximum', label: 'oversized items' },
      { metric: 'ReplicaStoreErrors', statistic: 'Sum', by: 'Database' },
    ],
    tells:
      'Failed writes and retries of the flag table per minute, items too large for it, and failed exchanges with Redis and Consul.',
    alarms: ['store-write-errors', 'replica-store-errors', 'oversized-items'],
  },
  events: {
    section: 'failing',
    title: 'Analytics events',
    unit: 'per minute',
    lines: [
      { metric: 'EventsReceived', statistic: 'Sum', label: 'received' },
      { metric: 'EventsForwarded', statistic: 'Sum', label: 'forwarded' },
    ],
    tells: 'As SDKs sent them, and as LaunchDarkly accepted them: summaries make them fewer.',
    alarms: ['events-dropped'],
  },
  eventsLost: {
    section: 'failing',
    title: 'Events lost, by reason',
    unit: 'per minute',
    stacked: true,
    lines: [{ metric: 'EventsDropped', statistic: 'Sum', by: 'Reason' }],
    tells: 'The runbook explains each reason. Flags are not affected.',
    alarms: ['events-dropped'],
  },
  eventsWaiting: {
    section: 'failing',
    title: 'Oldest event in the spool',
    unit: 'seconds',
    lines: [{ metric: 'EventsSpoolAge', statistic: 'Maximum', label: 'oldest' }],
    tells: 'How long the oldest event that is not delivered has waited, where relays have a directory for events.',
    alarms: ['events-waiting'],
  },
  bigSegments: {
    section: 'failing',
    title: 'Big Segments out of date',
    lines: [{ metric: 'BigSegmentsStale', statistic: 'Maximum', by: 'Environment' }],
    tells: '1 while the Big Segments of the environment may be out of date.',
    alarms: ['big-segments-stale'],
  },
  memory: {
    section: 'room',
    title: 'Memory',
    unit: 'bytes',
    lines: [{ metric: 'MemoryBytes', statistic: 'Maximum', label: 'memory, largest relay' }],
    tells: 'Memory that only grows means streams that never end, or a leak.',
  },
  streamsPerRelay: {
    section: 'room',
    title: 'Streams per task',
    unit: 'streams',
    lines: [
      { metric: 'StreamsOpen', statistic: 'Average', label: 'average' },
      { metric: 'StreamsOpen', statistic: 'Maximum', label: 'fullest' },
      { metric: 'StreamsOpen', statistic: 'Minimum', label: 'emptiest' },
    ],
    tells: 'Uneven after a deployment, until clients reconnect.',
  },
  eventLoop: {
    section: 'room',
    title: 'Longest event loop delay',
    unit: 'seconds',
    lines: [{ metric: 'EventLoopDelay', statistic: 'Maximum', label: 'slowest task' }],
    tells: 'How long nothing else could be done, in the slowest relay.',
    alarms: ['event-loop'],
  },
  snapshot: {
    section: 'room',
    title: 'Snapshot size',
    unit: 'bytes',
    lines: [{ metric: 'SnapshotBytes', statistic: 'Maximum', label: 'largest environment, bytes' }],
    tells: 'What readers of the flag table get at once.',
  },
} as const satisfies Readonly<Record<string, Panel>>;

export type PanelId = keyof typeof rows;

/** In the order of the sections. */
export const sharedPanels: Readonly<Record<PanelId, Panel>> = rows;
