/** Made-up metrics of a stage for the last three hours; a metric's name always gives the same numbers. */

/** How many minutes are shown. */
export const MINUTES = 180;

/** One value per minute; null: nothing reported. */
export type Series = readonly (number | null)[];

export interface SampleMetric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
  readonly statistic: string;
  readonly region: string;
  /** The environment's share of the total, for metrics reported per environment. Default 1. */
  readonly share?: number;
}

/** LaunchDarkly unreachable for twelve minutes; the relays keep serving from memory. */
const OUTAGE = { from: 48, until: 60 };
/** A deployment: three tasks are replaced, one at a time, and the streams of each reconnect. */
const REPLACED = [118, 124, 130];
const TASKS = 3;

/** The value at a minute; `wobble` is random between -1 and 1, seeded per series. */
type Shape = (minute: number, wobble: number, metric: SampleMetric) => number | null;

const steady =
  (level: number, share = 0.06): Shape =>
  (_minute, wobble) =>
    level * (1 + share * wobble);
const none: Shape = () => 0;
/** Zero except for a few minutes. */
const seldom =
  (amount: number, above = 0.93): Shape =>
  (_minute, wobble) =>
    wobble > above ? Math.ceil(amount * (1 + wobble)) : 0;
const whole =
  (shape: Shape): Shape =>
  (...all) => {
    const value = shape(...all);
    return value === null ? null : Math.round(value);
  };
const inOutage = (minute: number) => minute >= OUTAGE.from && minute < OUTAGE.until;
const justReplaced = (minute: number) => REPLACED.includes(minute);
/** Traffic that rises over an afternoon. */
const daily = (minute: number) => 1 + 0.12 * Math.sin(((minute - 40) / MINUTES) * Math.PI);

const streams: Shape = (minute, wobble, { dimensions, statistic, share: ofAll = 1 }) => {
  const kinds: Record<string, number> = { all: 0.55, eval: 0.34, ping: 0.08, fdv2: 0.03 };
  const share = dimensions.Kind === undefined ? ofAll : (kinds[dimensions.Kind] ?? 0);
  const total = 4_300 * daily(minute) * share * (1 + 0.008 * wobble);
  if (statistic === 'Sum') return total;
  // A task that was just replaced has few streams.
  const skew = REPLACED.some((at) => minute >= at && minute < at + 12) ? 0.45 : 0.06;
  const lean = statistic === 'Maximum' ? skew : statistic === 'Minimum' ? -skew : 0;
  return (total / TASKS) * (1 + lean);
};

const age: Shape = (minute, wobble) =>
  inOutage(minute) ? (minute - OUTAGE.from + 1) * 60 : 14 + 10 * Math.abs(wobble);
const silentInOutage =
  (shape: Shape): Shape =>
  (minute, ...rest) =>
    inOutage(minute) || rest[0] < -0.55 ? null : shape(minute, ...rest);
/** Sent once a minute, whether or not anything else changes. */
const heartbeat =
  (level: number): Shape =>
  (minute, wobble, { statistic }) =>
    inOutage(minute) ? null : level * (statistic === 'p99' ? 1.8 : 1) * (1 + 0.25 * wobble);
const opened: Shape = (minute, wobble) => 60 * (1 + 0.3 * wobble) + (justReplaced(minute) ? 1_350 : 0);

const closed: Shape = (minute, wobble, { dimensions }) => {
  if (dimensions.Reason === 'client') return 55 * (1 + 0.3 * wobble) + (justReplaced(minute) ? 900 : 0);
  if (dimensions.Reason === 'shutdown') return justReplaced(minute) ? 450 : 0;
  return dimensions.Reason === 'slow' && wobble > 0.9 ? 1 : 0;
};

const readyTasks: Shape = (minute) => TASKS + (REPLACED.some((at) => minute >= at - 3 && minute < at) ? 1 : 0);

/** Every metric that a widget may show. */
const shapes: Readonly<Record<string, Shape>> = {
  StreamsOpen: whole(streams),
  StreamsOpened: whole(opened),
  StreamsClosed: whole(closed),
  StreamsRefused: (minute) => (minute === REPLACED[1] ? 12 : 0),
  Requests: whole((minute, wobble, { share = 1 }) => 2_400 * daily(minute) * share * (1 + 0.05 * wobble)),
  Answers: whole((minute, wobble) => 2_600 * daily(minute) * (1 + 0.05 * wobble)),
  Answers5xx: (minute) => (minute === REPLACED[1] ? 12 : 0),
  UpstreamDisconnected: (minute) => (inOutage(minute) ? TASKS : 0),
  UpstreamRefused: none,
  DataAge: age,
  EnvironmentsWithoutData: none,
  UnreadableItems: none,
  PropagationToStreams: silentInOutage(
    (_minute, wobble, { statistic }) => (statistic === 'p99' ? 0.05 : 0.005) * (1 + 0.5 * wobble),
  ),
  PropagationToTable: silentInOutage(
    (_minute, wobble, { statistic }) => (statistic === 'p99' ? 0.5 : 0.1) * (1 + 0.4 * wobble),
  ),
  StoreDown: none,
  StoreWriteErrors: none,
  ReplicaStoreErrors: none,
  PropagationToReplicas: silentInOutage((_minute, wobble) => 0.03 * (1 + 0.4 * wobble)),
  HeartbeatToRelay: heartbeat(0.16),
  HeartbeatToStreams: heartbeat(0.17),
  HeartbeatToTable: heartbeat(0.24),
  HeartbeatToReplicas: heartbeat(1.05),
  HeartbeatsMissed: none,
  HeartbeatsOverdue: (minute) => (inOutage(minute) && minute >= OUTAGE.from + 5 ? 1 : 0),
  StoreRetries: seldom(2),
  StoreDifferingItems: none,
  StoreOversizedItems: none,
  SnapshotBytes: steady(412_000, 0),
  LeasesHeld: () => 1,
  KeyProblems: none,
  KeySourceDown: none,
  EnvironmentsUntold: none,
  BigSegmentsStale: none,
  EventsReceived: whole((minute, wobble) => 900 * daily(minute) * (1 + 0.1 * wobble)),
  EventsForwarded: whole((minute, wobble) => 890 * daily(minute) * (1 + 0.1 * wobble) * (inOutage(minute) ? 0.1 : 1)),
  EventsDropped: (minute, wobble) => (inOutage(minute) && minute > OUTAGE.from + 6 ? Math.round(40 * (1 + wobble)) : 0),
  EventsSpoolAge: (minute, wobble) => (inOutage(minute) ? (minute - OUTAGE.from + 1) * 60 : 0.4 * (1 + wobble)),
  EventLoopDelay: (minute, wobble) => (justReplaced(minute) ? 0.11 : 0.02 * (1 + 0.4 * wobble)),
  MemoryBytes: steady(640_000_000, 0.02),
  Up: whole(readyTasks),
  RelaysByVersion: (minute, _wobble, { dimensions }) => {
    const replaced = REPLACED.filter((at) => minute >= at - 3).length;
    const gone = REPLACED.filter((at) => minute >= at).length;
    return (dimensions.Version?.includes('42') ? replaced : TASKS - gone) || null;
  },
  Success: () => 1,
  StreamLatency: steady(34, 0.25),
  TableLatency: steady(21, 0.3),
  DifferingFlags: none,
  EdgeSuccess: () => 1,
  EdgeLatency: steady(58, 0.3),
  HealthyHostCount: whole(readyTasks),
  RunningTaskCount: whole(readyTasks),
  DesiredTaskCount: () => TASKS,
  CPUUtilization: (minute, wobble, { statistic }) => {
    const load = (statistic === 'Maximum' ? 17 : 12) * daily(minute) * (1 + 0.12 * wobble);
    return load + (justReplaced(minute) ? 19 : 0);
  },
  MemoryUtilization: steady(23, 0.02),
  NetworkTxBytes: (minute, wobble, { statistic }) =>
    (statistic === 'Maximum' ? 1.3 : 1) *
    (90_000 * daily(minute) * (1 + 0.1 * wobble) + (justReplaced(minute) ? 2_400_000 : 0)),
  ProcessedBytes: (minute, wobble) =>
    60 * (310_000 * daily(minute) * (1 + 0.08 * wobble) + (justReplaced(minute) ? 7_500_000 : 0)),
  ActiveConnectionCount: whole((minute, wobble) => 8_650 * daily(minute) * (1 + 0.01 * wobble)),
  NewConnectionCount: whole((minute, wobble, metric) => 380 + (opened(minute, wobble, metric) ?? 0)),
  ReplicationLatency: (_minute, wobble, { dimensions }) =>
    (dimensions.ReceivingRegion?.startsWith('ap-') ? 1_150 : 780) * (1 + 0.12 * wobble),
  HTTPCode_ELB_5XX_Count: (minute) => (justReplaced(minute) ? 3 : 0),
  HTTPCode_Target_5XX_Count: (minute) => (minute === REPLACED[1] ? 12 : 0),
  HTTPCode_ELB_502_Count: (minute) => (justReplaced(minute) ? 3 : 0),
  HTTPCode_ELB_503_Count: none,
  HTTPCode_ELB_504_Count: none,
  RequestCount: whole((minute, wobble) => 2_600 * daily(minute) * (1 + 0.05 * wobble)),
  RejectedConnectionCount: none,
  TargetConnectionErrorCount: (minute) => (justReplaced(minute) ? 2 : 0),
  Errors: seldom(1, 0.985),
  '5xxErrorRate': (_minute, wobble) => Math.max(0, 0.02 * wobble),
  '4xxErrorRate': steady(1.4, 0.2),
  ConsumedReadCapacityUnits: whole((minute, wobble, { region }) => {
    return (
      (region.startsWith('us-') ? 5_200 : region.startsWith('ap-') ? 2_100 : 3_600) *
      daily(minute) *
      (1 + 0.05 * wobble)
    );
  }),
  ReadThrottleEvents: none,
  WriteThrottleEvents: none,
  ConsumedLCUs: (minute, wobble) => 0.031 * daily(minute) * (1 + 0.05 * wobble),
};

/** What edge functions write; the names of the others are `<flag>=<variation>`. */
const atEdge: Readonly<Record<string, Shape>> = {
  Fallbacks: none,
  DataAge: (_minute, wobble) => 8.6 + 0.9 * wobble,
  HeartbeatToEdge: (minute, wobble) => (inOutage(minute) ? null : 7.8 + 2.4 * wobble),
  DecisionTime: (_minute, wobble) => 24 * (1 + 0.4 * wobble),
};
const decided: Shape = (minute, wobble, { name, region }) => {
  if (name.endsWith('=fallback')) return 0;
  const share = region.startsWith('us-') ? 0.5 : 0.3;
  return Math.round(950 * daily(minute) * share * (1 + 0.05 * wobble));
};

/** The values that a SEARCH finds for a dimension. */
export function dimensionValues(name: string, dimension: string, environments: readonly string[]): readonly string[] {
  if (dimension === 'Environment') return environments.length > 0 ? environments : ['production', 'staging'];
  if (dimension === 'Kind') return ['all', 'eval', 'ping', 'fdv2'];
  if (dimension === 'Database') return ['redis'];
  if (dimension === 'Region') return ['eu-west-1', 'ap-northeast-1'];
  if (dimension === 'Version') return ['0.1.0 (revision 41)', '0.1.0 (revision 42)'];
  if (dimension === 'Reason') return name === 'EventsDropped' ? ['capacity'] : ['client', 'shutdown', 'slow'];
  return ['E1EXAMPLE'];
}

/** Throws an Error for a metric without sample data. */
export function sampleSeries(metric: SampleMetric): Series {
  const isEdge = metric.namespace.startsWith('EdgeFlagRelayEdge/');
  const shape = isEdge ? (atEdge[metric.name] ?? decided) : shapes[metric.name];
  if (!shape)
    throw new Error(`no sample data for metric ${metric.namespace} ${metric.name}; add it to bin/dashboard/sample.ts`);
  const random = randomOf(JSON.stringify(metric));
  return Array.from({ length: MINUTES }, (_, minute) => shape(minute, 2 * random() - 1, metric));
}

/** Mulberry32, seeded by a hash (FNV-1a) of the text. */
function randomOf(text: string): () => number {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
