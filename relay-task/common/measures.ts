/**
 * Every metric of the relay, one row each: modules register them from here, docs/metrics.md documents them, and CloudWatch,
 * dashboards and exporters refer to them by these names. Outside they are called `PREFIX_name`; the prefix is PROMETHEUS_PREFIX.
 * https://prometheus.io/docs/practices/naming/
 */
import { Counter, Gauge, Histogram, type MetricObjectWithValues, type MetricValue, Registry } from 'prom-client';

/** In the singular, as OpenTelemetry writes units: a counter counts these. `state` is 1 or 0, `timestamp` Unix seconds. */
type Unit =
  | 'second'
  | 'byte'
  | 'state'
  | 'timestamp'
  | 'connection'
  | 'environment'
  | 'event'
  | 'item'
  | 'key'
  | 'line'
  | 'number'
  | 'patch'
  | 'payload'
  | 'read'
  | 'request'
  | 'response'
  | 'stream'
  | 'write';

interface Row<Kind extends 'counter' | 'gauge' | 'histogram' = 'counter' | 'gauge' | 'histogram', Label = string> {
  readonly kind: Kind;
  readonly unit: Unit;
  /** One sentence. */
  readonly help: string;
  readonly labels: readonly Label[];
  /** Upper bounds, of histograms only. */
  readonly buckets?: readonly number[];
}

const counter = <Label extends string = never>(
  unit: Unit,
  help: string,
  ...labels: Label[]
): Row<'counter', Label> => ({
  kind: 'counter',
  unit,
  help,
  labels,
});
const gauge = <Label extends string = never>(unit: Unit, help: string, ...labels: Label[]): Row<'gauge', Label> => ({
  kind: 'gauge',
  unit,
  help,
  labels,
});
const histogram = <Label extends string = never>(
  unit: Unit,
  help: string,
  buckets: readonly number[],
  ...labels: Label[]
): Row<'histogram', Label> => ({ kind: 'histogram', unit, help, labels, buckets });

const client = ['platformCategory', 'userAgent', 'env'] as const;
const table = ['env', 'table', 'prefix'] as const;
const replica = ['env', 'database', 'prefix'] as const;

const replicaBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** DynamoDB takes longer: two round trips at least. */
const tableBuckets = replicaBuckets.slice(2);

/** In the order of docs/metrics.md. A name is never used for anything else later. */
export const measureRows = {
  // ld-relay's own, with its names and labels.
  connections: gauge('connection', 'Open streams.', ...client),
  newconnections: counter('connection', 'Streams opened.', ...client),
  requests: counter(
    'request',
    'Requests of an environment answered below 400, opened streams included.',
    ...client,
    'route',
    'method',
  ),

  up: gauge('state', '1 while the relay runs.'),
  version_info: gauge('state', '1, with the version, and on ECS the revision of the task definition.', 'version'),

  streams_open: gauge('stream', 'Open streams.', 'env', 'kind'),
  streams_opened_total: counter('stream', 'Streams opened.', 'env'),
  streams_closed_total: counter('stream', 'Streams closed, by reason.', 'env', 'reason'),
  streams_waiting: gauge('stream', 'Streams that wait until they may be sent their first payload.'),
  streams_starting: gauge(
    'stream',
    'Streams that hold one of the places for first payloads, since they are slow to read it.',
  ),
  streams_admitted_total: counter('stream', 'Streams that were let in to get their first payload.', 'env'),
  streams_unserved_total: counter(
    'stream',
    'Streams that ended while they waited for their first payload, by reason.',
    'env',
    'reason',
  ),
  streams_refused_total: counter('stream', 'Streams refused with 503, by reason.', 'env', 'reason'),
  stream_failures_total: counter('stream', 'Errors in the relay that closed streams.', 'env', 'kind'),
  stream_bytes_total: counter('byte', 'Bytes written to streams.'),
  stream_snapshots_total: counter('number', 'Full data sets built for streams.', 'env', 'kind'),
  broadcast_seconds: histogram(
    'second',
    'Seconds from the arrival of a change to its last write to a stream.',
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  ),

  requests_answered_total: counter(
    'request',
    'Requests of an environment answered below 400, opened streams included.',
    'env',
  ),
  http_answers_total: counter('response', 'Responses, including opened streams.', 'route', 'method', 'status'),
  http_failures_total: counter(
    'response',
    'Responses of 500 and above, including 503 before there is data and to refused streams.',
  ),
  http_answer_seconds: histogram(
    'second',
    'Seconds from the request headers to the end of the response, or to the opening of the stream.',
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
    'route',
  ),

  upstream_disconnected: gauge(
    'state',
    '1 from a break of the connection to LaunchDarkly, or a failed reading of the flags file, until flags arrive again; also before the first ones.',
    'env',
  ),
  upstream_refused: gauge(
    'state',
    "1 while LaunchDarkly answers an environment's connection with 401, 403 or another 4xx that needs someone to act.",
    'env',
  ),
  data_age_seconds: gauge(
    'second',
    'Seconds since the flags in memory were last confirmed current (or since the environment was created).',
    'env',
  ),
  environments_without_data: gauge('state', '1 while an environment has no data.', 'env'),
  unreadable_items: gauge('item', 'Flags and segments that are invalid and were ignored.', 'env'),
  failed_items: gauge(
    'item',
    'Flags and segments that could not be evaluated or sent; clients get them without a value.',
    'env',
  ),
  big_segments_stale: gauge('state', "1 while an environment's Big Segments may be out of date.", 'env'),

  key_problems: gauge(
    'state',
    '1 while an environment has a `keyProblem` in /status: its source cannot confirm a key, a new key does not work, or it cannot be set up.',
    'env',
  ),
  key_source_down: gauge(
    'state',
    '1 while the source of environments and keys fails after it has answered; the last known ones stay in use.',
  ),
  key_source_reads_total: counter('read', 'Readings of the keys in SSM, by outcome.', 'outcome'),
  key_source_complete_timestamp_seconds: gauge(
    'timestamp',
    'When the keys in SSM were last read completely, Unix time; 0: never.',
  ),
  key_source_unread_keys: gauge('key', 'Keys in SSM that could never be read.'),
  key_source_key_problems: gauge(
    'state',
    '1 while a key of the environment in SSM is missing, unreadable or invalid.',
    'env',
  ),

  store_down: gauge('state', '1 while a store does not answer, or refuses to be read or written.', 'env', 'database'),
  store_writes_total: counter('write', 'Writes to the flag table, by kind and outcome.', ...table, 'kind', 'outcome'),
  store_retries_total: counter('request', 'Requests to the flag table sent again after a throttle or a 5xx.', ...table),
  store_differing_items_total: counter(
    'item',
    'Items that differed between the flag table and memory when the table was read back, those of the first filling included.',
    ...table,
  ),
  store_publication_seconds: histogram(
    'second',
    'Seconds from the receipt of a change to the end of its publication in the flag table.',
    tableBuckets,
    ...table,
  ),
  store_lease_held: gauge('state', '1 while this relay writes the environment to the flag table.', ...table),
  store_snapshot_bytes: gauge('byte', 'Stored bytes of body and delta, as last written to the flag table.', ...table),
  store_revision_epoch: gauge('number', 'Epoch of the published revision.', ...table),
  store_revision_seq: gauge('number', 'Sequence number of the published revision within its epoch.', ...table),
  store_oversized_items: gauge('item', 'Items too large for the flag table.', ...table),
  store_replica_up: gauge(
    'state',
    '1 while Redis or Consul answers and accepts; 0 also before the first answer.',
    ...replica,
  ),
  store_replica_writes_total: counter('write', 'Writes to Redis or Consul, by outcome.', ...replica, 'outcome'),
  store_replica_failures_total: counter('request', 'Failed exchanges with Redis or Consul.', ...replica),
  store_replica_differing_items_total: counter(
    'item',
    'Items that differed between Redis or Consul and memory when the store was read back, those of the first filling included.',
    ...replica,
  ),
  store_replica_publication_seconds: histogram(
    'second',
    'Seconds from the receipt of a change to the end of its publication in Redis or Consul.',
    replicaBuckets,
    ...replica,
  ),
  store_replica_waiting_items: gauge('item', 'Items that wait to be written to Redis or Consul.', ...replica),
  store_replica_oversized_items: gauge('item', 'Items too large for Redis or Consul.', ...replica),
  big_segments_patches_total: counter(
    'patch',
    'Patches of Big Segments, by their outcome in the store.',
    ...replica,
    'outcome',
  ),

  heartbeat_seconds: histogram(
    'second',
    'Seconds from the sending of a heartbeat to LaunchDarkly until it came to this stage; clocks of two machines are compared.',
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300],
    'env',
    'stage',
    'region',
  ),
  heartbeats_ahead_total: counter(
    'number',
    "Heartbeats from the future, since the sender's clock is ahead; they count as 0 seconds.",
    'env',
    'stage',
  ),
  heartbeats_missed_total: counter(
    'number',
    'Heartbeats that a replica of the flag table did not have in time.',
    'env',
    'region',
  ),
  heartbeats_overdue: gauge(
    'state',
    '1 while no heartbeat of an environment has arrived for five times `HEARTBEAT_FLAG_INTERVAL`.',
    'env',
  ),
  heartbeats_sent_total: counter('number', "Heartbeats sent to LaunchDarkly's REST API, by outcome.", 'outcome'),

  events_received_total: counter(
    'event',
    'Analytics events received from SDKs, those dropped at once included; repeated payloads count once.',
    'env',
    'kind',
  ),
  events_forwarded_total: counter(
    'event',
    'Analytics events accepted by LaunchDarkly; where the relay summarises, its index and summary events count instead of evaluations.',
    'env',
    'kind',
  ),
  events_forwarded_bytes_total: counter(
    'byte',
    'Payloads of events accepted by LaunchDarkly, before compression.',
    'env',
  ),
  events_pending: gauge(
    'event',
    'Analytics events that wait to be sent to LaunchDarkly, or are being sent, with index events that the relay adds; counts of a summary are none yet.',
    'env',
  ),
  events_dropped_total: counter(
    'event',
    'Analytics and diagnostic events dropped, by reason, with those that the relay made.',
    'env',
    'reason',
  ),
  events_failed_total: counter(
    'event',
    "Of the dropped events those that were sent, by the status of LaunchDarkly's last response; empty: there was none.",
    'env',
    'status',
  ),
  event_payloads_repeated_total: counter('payload', 'Payloads that an SDK sent again, ignored as duplicates.', 'env'),
  event_retries_total: counter(
    'payload',
    'Attempts to send a payload again after a failure, also of diagnostic events and of those about the relay itself.',
    'env',
  ),
  events_queue_bytes: gauge('byte', 'Memory used by events that are queued or being sent.'),
  events_spooled_total: counter(
    'event',
    'Events left in the spool for another process, at shutdown or since it has taken them over.',
    'env',
  ),
  events_replayed_total: counter(
    'event',
    'Events that another process had left in the spool, taken to be sent.',
    'env',
  ),
  events_unspooled_total: counter(
    'event',
    'Events accepted that may not be in the spool, by reason: full, slow, failed.',
    'reason',
  ),
  events_spool_bytes: gauge(
    'byte',
    'Size of what this relay keeps in the spool, with what it has taken over from others.',
  ),
  events_spool_oldest_seconds: gauge(
    'second',
    'Age of the oldest events that this relay keeps in the spool or has taken over; 0: none.',
  ),

  connections_refused_total: counter(
    'connection',
    'Connections closed unanswered: the limit of open files, or the memory for connections, allows no more.',
    'reason',
  ),
  descriptors_exhausted: gauge('state', '1 while the process cannot open files or connections.'),
  client_memory_bytes: gauge('byte', 'What the relay holds in memory for clients, estimated, by part.', 'part'),
  client_memory_limit_bytes: gauge(
    'byte',
    'What each part may take at most, and all of clients together; beyond it new streams and requests get 503, and events are dropped.',
    'part',
  ),
  log_lines_lost_total: counter(
    'line',
    'Log lines that could not be written to stdout: its disk was full, or its reader had stopped.',
  ),
  environments_untold: gauge('environment', 'Environments without metrics of their own in CloudWatch.'),
} as const;

type Rows = typeof measureRows;
export type MeasureName = keyof Rows;
type NamesOf<Kind> = { [Name in MeasureName]: Rows[Name] extends { kind: Kind } ? Name : never }[MeasureName];
type LabelOf<Name extends MeasureName> = Rows[Name]['labels'][number];

/** All labels of the row, or nothing where it has none. */
type Labels<Label extends string> = [Label] extends [never] ? [] : [labels: Readonly<Record<Label, string>>];

interface CounterOf<Label extends string> {
  inc(...args: [...Labels<Label>, by?: number]): void;
  reset(): void;
}

export interface GaugeOf<Label extends string> {
  inc(...args: [...Labels<Label>, by?: number]): void;
  dec(...args: [...Labels<Label>, by?: number]): void;
  set(...args: [...Labels<Label>, value: number]): void;
  reset(): void;
  get(): Promise<MetricObjectWithValues<MetricValue<string>>>;
}

interface HistogramOf<Label extends string> {
  observe(...args: [...Labels<Label>, value: number]): void;
}

/** Registers metrics of the table, each once: who asks for one again gets the same. */
export interface Measures {
  /** For readers: all values, under their full names. */
  readonly registry: Registry;
  readonly prefix: string;
  /** `collect` is called before each reading. */
  counter<Name extends NamesOf<'counter'>>(
    name: Name,
    collect?: (counter: CounterOf<LabelOf<Name>>) => void,
  ): CounterOf<LabelOf<Name>>;
  gauge<Name extends NamesOf<'gauge'>>(
    name: Name,
    collect?: (gauge: GaugeOf<LabelOf<Name>>) => void,
  ): GaugeOf<LabelOf<Name>>;
  histogram<Name extends NamesOf<'histogram'>>(name: Name): HistogramOf<LabelOf<Name>>;
  /** Removes all series with one of these values of the label. What happens to one later begins at 0. */
  forget(label: string, values: ReadonlySet<string>): Promise<void>;
  /** `PREFIX_name`; names that are not in the table, as Node's own, stay. */
  fullName(name: string): string;
}

const DEFAULT_PREFIX = 'launchdarkly_relay';

export function createMeasures({ prefix = DEFAULT_PREFIX }: { readonly prefix?: string | undefined } = {}): Measures {
  const registry = new Registry();
  const registers = [registry];
  const fullName = (name: string) => (Object.hasOwn(measureRows, name) ? `${prefix}_${name}` : name);

  function registered<Kept>(
    name: MeasureName,
    collect: ((metric: never) => void) | undefined,
    create: (options: Options) => object,
  ): Kept {
    const { help, labels } = measureRows[name];
    const held = registry.getSingleMetric(fullName(name));
    if (held !== undefined && collect !== undefined) throw new Error(`metric ${name} is collected twice`);
    if (held !== undefined) return held as Kept;
    const options: Options = { name: fullName(name), help, labelNames: [...labels], registers };
    const metric = create({ ...options, ...(collect && { collect: () => collect(metric as never) }) });
    return metric as Kept;
  }

  return {
    registry,
    prefix,
    counter: (name, collect) => registered(name, collect, (options) => new Counter(options)),
    gauge: (name, collect) => registered(name, collect, (options) => new Gauge(options)),
    histogram: (name) =>
      registered(
        name,
        undefined,
        (options) => new Histogram({ ...options, buckets: [...(measureRows[name].buckets ?? [])] }),
      ),
    async forget(label, values) {
      for (const metric of registry.getMetricsAsArray() as unknown as Kept[]) {
        if (!metric.labelNames.includes(label)) continue;
        for (const { labels } of (await metric.get()).values) {
          if (!values.has(String(labels[label]))) continue;
          // A histogram has one series for all its buckets.
          const { le: _, ...own } = labels;
          metric.remove(own);
        }
      }
    },
    fullName,
  };
}

/** What prom-client's metrics have in common. */
interface Kept {
  readonly labelNames: readonly string[];
  get(): Promise<{ readonly values: readonly { readonly labels: Readonly<Record<string, string | number>> }[] }>;
  remove(labels: Readonly<Record<string, string | number>>): void;
}

interface Options {
  readonly name: string;
  readonly help: string;
  readonly labelNames: string[];
  readonly registers: Registry[];
  readonly collect?: () => void;
}
