/**
 * Publishes the registry as CloudWatch metrics: JSON lines on stdout that CloudWatch Logs turns into metrics.
 * Source: AWS, "Specification: Embedded metric format" (at most 100 metrics per line and 100 values per metric).
 */
import type { MetricObject, MetricObjectWithValues, MetricValue } from 'prom-client';
import type { Measures } from '../common/measures.ts';
import { bucketValue, createIncreases, type Increases } from '../common/registry-reading.ts';
import type { Log } from '../ports.ts';
import { writeToStdout } from './output.ts';
import { type Dimension, dimensionLabels, type PublishedMetric, published } from './published.ts';

interface EmfOptions {
  readonly measures: Measures;
  readonly namespace: string;
  /** 60,000 by default, CloudWatch's resolution. */
  readonly intervalMs?: number;
  /** Added to each line for searches; not dimensions. */
  readonly properties?: Readonly<Record<string, string>>;
  readonly rows?: readonly PublishedMetric[];
  /** Names the environments without metrics of their own. */
  readonly log?: Log;
  /** Receives each line with its line feed; stdout by default. */
  write?(line: string): void;
  /** Unix ms. */
  now?(): number;
}

export interface Emf {
  /** Writes one line per combination of dimensions that has values, for the first 200 environments by name. Never rejects. */
  emit(): Promise<void>;
  /** Emits the last interval and stops. */
  close(): Promise<void>;
}

type Measure = MetricObjectWithValues<MetricValue<string> & { metricName?: string }>;
/** By the names in the registry. */
type Read = ReadonlyMap<string, Measure>;

/** The values of one combination of dimensions. */
interface Line {
  readonly dimensions: Record<string, string>;
  readonly values: Map<PublishedMetric, Value>;
}

const MAX_VALUES = 100;
/** Each environment's metrics are billed. The others are included in those of the whole relay. */
const MAX_ENVIRONMENTS = 200;
const NAMED_IN_LOG = 10;

export function startEmf(options: EmfOptions): Emf {
  const { measures, namespace, intervalMs = 60_000, properties = {}, now = Date.now } = options;
  const rows = (options.rows ?? published).map((row) => ({ ...row, from: measures.fullName(row.from) }));
  const write = options.write ?? writeToStdout;
  const increases = createIncreases();
  const untoldGauge = measures.gauge('environments_untold');
  const warn = createUntoldWarning(options.log);
  let emitting: Promise<void> = Promise.resolve();

  async function emitOnce(): Promise<void> {
    const all = (await measures.registry.getMetricsAsJSON()) as (MetricObject & Measure)[];
    const read = new Map<string, Measure>(all.map((measure) => [measure.name, measure]));
    // By name, so that all relays publish the same environments and their sums are right.
    const untold = environmentsIn(read, rows).sort().slice(MAX_ENVIRONMENTS);
    warn(untold);
    untoldGauge.set(untold.length);
    read.set(measures.fullName('environments_untold'), await untoldGauge.get());
    const lines = linesOf(read, rows, increases, new Set(untold.map(dimensionValue)));
    increases.next();
    for (const line of lines) {
      const document = documentOf(line, namespace, now(), properties);
      if (document) write(`${JSON.stringify(document)}\n`);
    }
  }

  const emit = () => {
    emitting = emitting.then(emitOnce).catch(() => {});
    return emitting;
  };
  const timer = setInterval(emit, intervalMs);
  timer.unref();
  return {
    emit,
    async close() {
      clearInterval(timer);
      await emit();
    },
  };
}

/** Logs the environments without metrics of their own whenever they change. */
function createUntoldWarning(log: Log | undefined): (untold: readonly string[]) => void {
  let before = '';
  return (untold) => {
    const names = untold.join();
    if (names !== '' && names !== before) {
      log?.warn(
        'Some environments have no metrics of their own in CloudWatch; they are included in those of the whole relay',
        {
          environments: untold.slice(0, NAMED_IN_LOG),
          ...(untold.length > NAMED_IN_LOG && { more: untold.length - NAMED_IN_LOG }),
          limit: MAX_ENVIRONMENTS,
          runbook: 'operations.md#the-dashboard',
        },
      );
    }
    before = names;
  };
}

function environmentsIn(read: Read, rows: readonly PublishedMetric[]): string[] {
  const names = new Set<string>();
  for (const { from, by } of rows) {
    if (!by.flat().includes('Environment')) continue;
    for (const { labels } of read.get(from)?.values ?? []) names.add(String(labels[dimensionLabels.Environment] ?? ''));
  }
  names.delete('');
  return [...names];
}

/** One for each combination of dimensions that has values. */
function linesOf(
  read: Read,
  rows: readonly PublishedMetric[],
  increases: Increases,
  untold: ReadonlySet<string>,
): Iterable<Line> {
  const lines = new Map<string, Line>();
  for (const row of rows) {
    const measure = read.get(row.from);
    if (!measure) continue;
    for (const [labels, value] of readings(measure, increases)) {
      if (!Object.entries(row.where ?? {}).every(([label, wanted]) => labels[label] === wanted)) continue;
      for (const by of row.by) {
        const dimensions = dimensionsOf(by, labels);
        if (!dimensions || untold.has(dimensions.Environment ?? '')) continue;
        const id = JSON.stringify(dimensions);
        const line = lines.get(id) ?? { dimensions, values: new Map() };
        lines.set(id, line);
        line.values.set(row, join(line.values.get(row), value, row.combine));
      }
    }
  }
  return lines.values();
}

/** Undefined: nothing was observed. */
function documentOf(
  { dimensions, values }: Line,
  namespace: string,
  time: number,
  properties: Readonly<Record<string, string>>,
): object | undefined {
  const told = [...values].flatMap(([{ name, unit }, value]) => {
    const plain = typeof value === 'number' ? value : valuesOf(value);
    const isNothing = Array.isArray(plain) ? plain.length === 0 : !Number.isFinite(plain);
    return isNothing ? [] : [{ name, unit, plain }];
  });
  if (told.length === 0) return undefined;
  const metrics = told.map(({ name, unit }) => ({ Name: name, Unit: unit }));
  return {
    _aws: {
      Timestamp: time,
      CloudWatchMetrics: [{ Namespace: namespace, Dimensions: [Object.keys(dimensions)], Metrics: metrics }],
    },
    ...properties,
    ...dimensions,
    ...Object.fromEntries(told.map(({ name, plain }) => [name, plain])),
  };
}

/** A number, or the cumulative count of observations per bucket bound. */
type Value = number | Map<number, number>;

/** Each label set of a measure with its value, for counters and histograms since the previous emit. */
function* readings(measure: Measure, increases: Increases): Iterable<[Record<string, string>, Value]> {
  if (String(measure.type) === 'histogram') {
    const histograms = new Map<string, { labels: Record<string, string>; counts: Map<number, number> }>();
    for (const { labels, value, metricName } of measure.values) {
      if (metricName !== `${measure.name}_bucket`) continue;
      const { le, ...own } = labels as Record<string, string | number>;
      const id = JSON.stringify(own);
      const histogram = histograms.get(id) ?? { labels: textsOf(own), counts: new Map() };
      histograms.set(id, histogram);
      const bound = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
      histogram.counts.set(bound, increases.of(idOf(measure.name, labels), value));
    }
    for (const { labels, counts } of histograms.values()) yield [labels, counts];
    return;
  }
  for (const { labels, value } of measure.values) {
    const told = String(measure.type) === 'counter' ? increases.of(idOf(measure.name, labels), value) : value;
    yield [textsOf(labels as Record<string, string | number>), told];
  }
}

function idOf(name: string, labels: object): string {
  return `${name} ${JSON.stringify(labels)}`;
}

function textsOf(labels: Readonly<Record<string, string | number>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}

function dimensionsOf(by: readonly Dimension[], labels: Record<string, string>): Record<string, string> | undefined {
  const pairs = by.map((dimension) => [dimension, dimensionValue(labels[dimensionLabels[dimension]] ?? '')] as const);
  return pairs.some(([, value]) => value === '') ? undefined : Object.fromEntries(pairs);
}

const LONGEST_DIMENSION = 1_024;

/**
 * As CloudWatch takes it. AWS, "Dimension": up to 1,024 characters, only ASCII and none that controls, at least one that is no space. Other
 * characters are encoded as in URLs, so that names stay different.
 */
function dimensionValue(text: string): string {
  if (text.trim() === '') return '';
  const ascii = text.replace(/[^\x20-\x7e]+/g, (others) =>
    Buffer.from(others).toString('hex').toUpperCase().replace(/../g, '%$&'),
  );
  return ascii.slice(0, LONGEST_DIMENSION);
}

function join(held: Value | undefined, more: Value, combine: PublishedMetric['combine']): Value {
  if (held === undefined) return more;
  if (typeof held === 'number' && typeof more === 'number')
    return combine === 'max' ? Math.max(held, more) : held + more;
  if (typeof held === 'number' || typeof more === 'number') return held;
  return new Map([...more].map(([bound, count]) => [bound, count + (held.get(bound) ?? 0)]));
}

/**
 * At most 100 values with the distribution of the observations, each rounded up to its bucket's bound, so that CloudWatch
 * can compute percentiles over all tasks. The last bucket has no bound and is reported as twice the previous one.
 */
function valuesOf(cumulative: ReadonlyMap<number, number>): number[] {
  const bounds = [...cumulative.keys()].sort((a, b) => a - b);
  const total = cumulative.get(Number.POSITIVE_INFINITY) ?? 0;
  const scale = Math.max(1, total / MAX_VALUES);
  const values: number[] = [];
  for (const [i, bound] of bounds.entries()) {
    const value = bucketValue(bounds, i);
    // Rounded down except for the last bucket, so that a single slow observation is not lost.
    const until = (cumulative.get(bound) === total ? Math.ceil : Math.floor)((cumulative.get(bound) ?? 0) / scale);
    while (values.length < until && values.length < MAX_VALUES) values.push(value);
  }
  return values;
}
