/**
 * Sends the registry to Datadog's agent by DogStatsD, with ld-relay's names, kinds and tags for the metrics that ld-relay has.
 * Sources: Datadog, "Datagram Format and Shell Usage"; ld-relay 8.10.1 with opencensus-go-exporter-datadog (2022-06) and datadog-go
 * 4.8.3, whose lines are in `test/fixtures/datadog/ld-relay-8.10.1.txt`.
 */
import { lookup } from 'node:dns/promises';
import { getSystemErrorName } from 'node:util';
import type { StatsD } from 'hot-shots';
import type { MetricObjectWithValues, MetricValue } from 'prom-client';
import { labelValue } from '../common/client-labels.ts';
import { errorText } from '../common/error-text.ts';
import type { Measures } from '../common/measures.ts';
import { sleep } from '../common/pause.ts';
import { bucketValue, createIncreases, type Increases } from '../common/registry-reading.ts';
import { inSlices } from '../common/slices.ts';
import { statsAddressText } from '../common/stats-address.ts';
import type { Log, StatsAddress } from '../ports.ts';

interface DogstatsdOptions {
  readonly measures: Pick<Measures, 'registry' | 'prefix'>;
  readonly statsAddr: StatsAddress;
  /** As configured. */
  readonly prefix: string;
  /** In front of those of each metric. */
  readonly tags: readonly string[];
  /** DD_SERVICE, DD_VERSION and DD_ENTITY_ID. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly log: Log;
  /** 10,000 by default, as in ld-relay. */
  readonly intervalMs?: number | undefined;
  /** For tests: the addresses of a host. */
  lookup?(host: string): Promise<readonly { readonly address: string; readonly family: number }[]>;
}

export interface Dogstatsd {
  /** Sends all metrics. Never rejects. */
  emit(): Promise<void>;
  /** Sends the last interval and stops. */
  close(): Promise<void>;
}

/** A gauge, a count since the last report, or some observations of one value. */
interface Line {
  readonly name: string;
  readonly text: string;
  readonly tags: readonly string[];
}

type Measure = MetricObjectWithValues<MetricValue<string> & { metricName?: string }>;
type Labels = Readonly<Partial<Record<string, string | number>>>;

/** What a report found out that is told once. */
type Problem = 'unreachable' | 'too-long';

const NATIVE_PACKAGE = 'unix-dgram';
/** Counters that ld-relay reports as gauges: totals since the start. */
const TOTALS = new Set(['newconnections']);
/** What fits into one packet of Ethernet, as Datadog recommends for UDP; and into one datagram for the agent's socket. */
const UDP_BYTES = 1_432;
const SOCKET_BYTES = 8_192;
/** Names resolve slowly where DNS is down. */
const LAST_REPORT_MS = 2_000;
/**
 * As datadog-go adds them. It adds `env` from DD_ENV too; here that is left to Datadog's agent, since `env` is the environment of
 * LaunchDarkly, and a metric with two of them counts twice in sums by `env`.
 */
const DATADOG_TAGS = { DD_ENTITY_ID: 'dd.internal.entity_id', DD_SERVICE: 'service', DD_VERSION: 'version' };

/** Never rejects: where metrics cannot be sent, a line of the log says why. Loads the client library. */
export async function startDogstatsd(options: DogstatsdOptions): Promise<Dogstatsd> {
  const { measures, statsAddr, log } = options;
  const setting = `DATADOG_STATS_ADDR=${statsAddressText(statsAddr)}`;
  const missing = 'path' in statsAddr ? await nativeProblem() : undefined;
  if (missing !== undefined) {
    log.error(
      `${setting} cannot be used: Unix datagram sockets need the npm package ${NATIVE_PACKAGE} beside the relay. No metrics are sent to Datadog; install the package (docs/datadog.md says how, for the image too), or let the agent listen on UDP and set DATADOG_STATS_ADDR=host:8125`,
      { reason: missing, runbook: 'operations.md#metrics-not-sent' },
    );
    return { emit: async () => {}, close: async () => {} };
  }
  const problems = createProblems(setting, log);
  const transport = createTransport(options);
  const prefix = `${sanitized(options.prefix.replaceAll(' ', ''))}.`;
  const ownTags = [...datadogTags(options.env ?? {}), ...options.tags];
  const increases = createIncreases();

  async function report(): Promise<void> {
    const all = (await measures.registry.getMetricsAsJSON()) as Measure[];
    const sender = await transport.open();
    if (typeof sender === 'string') return problems.tell('unreachable', sender);
    const tooLong = await inSlices(send(all, sender));
    const failure = await sender.sent();
    // What was not sent counts in the next report. Of a report that failed on its way, a part may have arrived.
    increases.next();
    problems.tell('unreachable', failure);
    problems.tell('too-long', tooLong && `${tooLong.name} with the tags ${tooLong.tags.join(',').slice(0, 200)}`);
  }

  /** Returns the first line that does not fit into a datagram. */
  function* send(all: readonly Measure[], sender: Sender): Generator<void, Line | undefined> {
    let tooLong: Line | undefined;
    for (const measure of all) {
      for (const { name, text, tags } of linesOf(measure, nameIn(measures.prefix, measure.name), increases)) {
        const line = { name: prefix + name, text, tags: [...ownTags, ...tags] };
        if (!sender.send(line)) tooLong ??= line;
        yield;
      }
    }
    return tooLong;
  }

  let reporting: Promise<void> | undefined;
  const emit = () => {
    // A report that takes longer than the interval, since a name resolves slowly, is not repeated behind itself.
    reporting ??= report()
      .catch((error: unknown) => problems.tell('unreachable', socketErrorText(error)))
      .finally(() => {
        reporting = undefined;
      });
    return reporting;
  };
  const timer = setInterval(emit, options.intervalMs ?? 10_000);
  timer.unref();
  return {
    emit,
    async close() {
      clearInterval(timer);
      const over = new AbortController();
      const last = async () => {
        await reporting;
        await emit();
        over.abort();
      };
      await Promise.race([last(), sleep(LAST_REPORT_MS, over.signal)]);
      await transport.close();
    },
  };
}

/** Undefined if datagrams can be sent to Unix sockets. */
async function nativeProblem(): Promise<string | undefined> {
  try {
    // As a variable, so that bundlers leave it to run time.
    await import(NATIVE_PACKAGE);
    return undefined;
  } catch (error) {
    return errorText(error).split('\n', 1)[0];
  }
}

/** One line when a problem begins, and one when it is over. */
function createProblems(setting: string, log: Log) {
  const present = new Set<Problem>();
  const begins: Record<Problem, string> = {
    unreachable: `Cannot send metrics to Datadog's agent at ${setting}; trying again at every report`,
    'too-long': 'A metric is too long for one datagram to Datadog and is not sent; shorten DATADOG_TAG_<name>',
  };
  const ends: Record<Problem, string> = {
    unreachable: `Metrics reach Datadog's agent at ${setting} again`,
    'too-long': 'All metrics fit into datagrams to Datadog again',
  };
  return {
    tell(problem: Problem, reason: string | undefined): void {
      if ((reason !== undefined) === present.has(problem)) return;
      if (reason === undefined) {
        present.delete(problem);
        log.info(ends[problem]);
      } else {
        present.add(problem);
        log.warn(begins[problem], { reason, runbook: 'operations.md#metrics-not-sent' });
      }
    },
  };
}

interface Sender {
  /** False if the line does not fit into a datagram. */
  send(line: Line): boolean;
  /** Resolves when everything was handed over to the system, with the first error. */
  sent(): Promise<string | undefined>;
}

/** What the library has and its types lack. Its own methods would drop lines with a sample rate at random. */
interface Client extends Pick<StatsD, 'close'> {
  send(message: string, tags: string[]): void;
  flush(callback: (error?: Error | null) => void): void;
}

function createTransport({ statsAddr, lookup: find = (host) => lookup(host, { all: true }) }: DogstatsdOptions) {
  let present: { readonly id: string; readonly client: Client; readonly errors: string[] } | undefined;
  const maxBytes = 'path' in statsAddr ? SOCKET_BYTES : UDP_BYTES;

  async function drop(): Promise<void> {
    const client = present?.client;
    present = undefined;
    if (client) await new Promise<void>((resolve) => client.close(() => resolve()));
  }

  /** Looked up for each report: agents move, and may not be there yet. */
  async function target() {
    if ('path' in statsAddr) return { id: statsAddr.path, protocol: 'uds' as const, path: statsAddr.path };
    const { host, port } = statsAddr;
    const addresses = await find(host);
    // As in Go, IPv4 first: an agent on `localhost` listens there.
    const { address } = addresses.find(({ family }) => family === 4) ?? addresses[0] ?? {};
    if (address === undefined) throw new Error(`${host} has no address`);
    return { id: address, protocol: 'udp' as const, host: address, port };
  }

  return {
    /** Or why there is none. */
    async open(): Promise<Sender | string> {
      let wanted: Awaited<ReturnType<typeof target>>;
      try {
        wanted = await target();
      } catch (error) {
        return errorText(error);
      }
      const { id, ...where } = wanted;
      if (present?.id !== id) {
        await drop();
        const { StatsD: Library } = await import('hot-shots');
        const errors: string[] = [];
        const client = new Library({
          ...where,
          maxBufferSize: maxBytes,
          errorHandler: (error) => void errors.push(socketErrorText(error)),
          // They are read by the relay, which tells hosts from environments.
          includeDataDogTags: false,
          // It would send the library's own metrics, and the container's ID behind the tags.
          datadog: false,
          closingFlushInterval: 5,
        }) as unknown as Client;
        present = { id, client, errors };
      }
      const { client, errors } = present;
      if (errors.length > 0) {
        const [first] = errors;
        await drop();
        return first as string;
      }
      return {
        send({ name, text, tags }) {
          const message = `${name}:${text}`;
          if (Buffer.byteLength(message) + Buffer.byteLength(tags.join()) + '|#'.length > maxBytes) return false;
          client.send(message, [...tags]);
          return true;
        },
        async sent() {
          await new Promise<void>((resolve) =>
            client.flush((error) => {
              if (error) errors.push(socketErrorText(error));
              resolve();
            }),
          );
          const [first] = errors.splice(0);
          // A socket may have been made anew by an agent that was started again.
          if (first !== undefined) await drop();
          return first;
        },
      };
    },
    close: drop,
  };
}

/** The package for Unix sockets gives the system's number only: `connect -2`. */
function socketErrorText(error: unknown): string {
  const { code } = Object(error) as { readonly code?: unknown };
  const text = errorText(error);
  return typeof code === 'number' && code < 0 ? text.replace(String(code), getSystemErrorName(code)) : text;
}

/** The name that Datadog shows, without its prefix. */
function nameIn(prefix: string, name: string): string {
  return sanitized(name.startsWith(`${prefix}_`) ? name.slice(prefix.length + 1) : name);
}

/** As opencensus-go-exporter-datadog does it, `sanitizeString`. */
const sanitized = (name: string) => name.replace(/[^a-zA-Z0-9]+/g, '_');

function datadogTags(env: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(DATADOG_TAGS).flatMap(([variable, tag]) => {
    const value = env[variable];
    return value ? [`${tag}:${value}`] : [];
  });
}

function* linesOf(measure: Measure, name: string, increases: Increases): Generator<Line, void> {
  const since = (of: string, labels: Labels, value: number) => increases.of(`${of} ${JSON.stringify(labels)}`, value);
  const kind = String(measure.type);
  const buckets = new Map<string, { readonly tags: readonly string[]; readonly counts: Map<number, number> }>();
  for (const { labels, value, metricName = measure.name } of measure.values) {
    if (!Number.isFinite(value)) continue;
    const { le, ...own } = labels as Labels;
    const tags = tagsOf(own);
    if (metricName === `${measure.name}_bucket`) {
      const id = JSON.stringify(own);
      const known = buckets.get(id) ?? { tags, counts: new Map() };
      buckets.set(id, known);
      known.counts.set(le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le), since(metricName, labels, value));
    } else if (kind === 'histogram' || kind === 'summary') {
      const part = metricName.slice(measure.name.length + 1);
      if (part !== '') yield { name: `${name}.${part}`, text: `${since(metricName, labels, value)}|c`, tags };
    } else if (kind === 'counter' && !TOTALS.has(name)) {
      yield { name, text: `${since(metricName, labels, value)}|c`, tags };
    } else {
      yield { name, text: `${value}|g`, tags };
    }
  }
  for (const { tags, counts } of buckets.values()) {
    for (const text of observationsIn(counts)) yield { name, text, tags };
  }
}

/**
 * A distribution, from whose values Datadog computes percentiles over all relays: each observation as the upper bound of its bucket. The
 * last bucket has no bound and counts as twice the one before, as in the metrics for CloudWatch. `cumulative`: observations since the
 * last report by the bound that they do not exceed.
 */
function* observationsIn(cumulative: ReadonlyMap<number, number>): Generator<string, void> {
  const bounds = [...cumulative.keys()].sort((a, b) => a - b);
  let below = 0;
  for (const [index, bound] of bounds.entries()) {
    const upTo = cumulative.get(bound) ?? 0;
    const count = upTo - below;
    below = upTo;
    if (count <= 0) continue;
    const value = bucketValue(bounds, index);
    yield count === 1 ? `${value}|d` : `${value}|d|@${rateFor(count)}`;
  }
}

/** The sample rate that makes one value count this often: the agent truncates 1 / rate (datadog-agent, `quantile.Agent.Insert`). */
function rateFor(count: number): number {
  let rate = 1 / count;
  while (Math.floor(1 / rate) < count) rate *= 1 - Number.EPSILON;
  return rate;
}

/** By name, as OpenCensus sorts them, and with values as ld-relay writes them: no slashes, never empty. */
function tagsOf(labels: Labels): string[] {
  const names = Object.keys(labels).sort();
  return names.map((name) => `${name}:${labelValue(String(labels[name]).trim())}`);
}
