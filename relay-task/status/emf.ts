/**
 * The registry as CloudWatch metrics: lines of JSON on standard output, from which CloudWatch Logs makes metrics.
 * Source: AWS, "Specification: Embedded metric format" (at most 100 metrics a line and 100 values a metric).
 */
import type { MetricObject, MetricObjectWithValues, MetricValue, Registry } from 'prom-client';
import { type Dimension, dimensionLabels, type PublishedMetric, published } from './published.ts';

export interface EmfOptions {
  readonly registry: Registry;
  readonly namespace: string;
  /** How often; 60,000 ms unless told, as CloudWatch keeps minutes. */
  readonly intervalMs?: number;
  /** Beside the metrics in each line, to search by; not a dimension. */
  readonly properties?: Readonly<Record<string, string>>;
  readonly rows?: readonly PublishedMetric[];
  /** Where lines go, line feed included; standard output unless told. */
  write?(line: string): void;
  /** Unix ms. */
  now?(): number;
}

export interface Emf {
  /** Writes one line for each combination of dimensions that has something to tell. Never rejects. */
  emit(): Promise<void>;
  /** Tells the last interval and stops. */
  close(): Promise<void>;
}

type Measure = MetricObjectWithValues<MetricValue<string> & { metricName?: string }>;

const MAX_VALUES = 100;
/** More combinations than that are somebody's mistake, and each is billed. */
const MAX_LINES = 200;

export function startEmf(options: EmfOptions): Emf {
  const { registry, namespace, intervalMs = 60_000, properties = {}, rows = published, now = Date.now } = options;
  const write = options.write ?? ((line: string) => void process.stdout.write(line));
  /** What counters and buckets stood at last time. */
  const before = new Map<string, number>();
  let emitting: Promise<void> = Promise.resolve();

  async function tell(): Promise<void> {
    const measures = new Map(
      ((await registry.getMetricsAsJSON()) as (MetricObject & Measure)[]).map((measure) => [measure.name, measure]),
    );
    const lines = new Map<string, { dimensions: Record<string, string>; values: Map<PublishedMetric, Value> }>();
    for (const row of rows) {
      const measure = measures.get(row.from);
      if (!measure) continue;
      for (const [labels, value] of readings(measure, before)) {
        if (!Object.entries(row.where ?? {}).every(([label, wanted]) => labels[label] === wanted)) continue;
        for (const by of row.by) {
          const dimensions = dimensionsOf(by, labels);
          if (!dimensions) continue;
          const id = JSON.stringify(dimensions);
          const line = lines.get(id) ?? { dimensions, values: new Map() };
          lines.set(id, line);
          line.values.set(row, join(line.values.get(row), value, row.combine));
        }
      }
    }
    // Only now: two rows may read one counter.
    for (const [id, value] of standings(measures.values())) before.set(id, value);
    for (const { dimensions, values } of [...lines.values()].slice(0, MAX_LINES)) {
      const text = lineOf(dimensions, values);
      if (text) write(text);
    }
  }

  function lineOf(dimensions: Record<string, string>, values: Map<PublishedMetric, Value>): string | undefined {
    const told = [...values].flatMap(([{ name, unit }, value]) => {
      const plain = typeof value === 'number' ? value : valuesOf(value);
      return Array.isArray(plain) && plain.length === 0 ? [] : [{ name, unit, plain }];
    });
    if (told.length === 0) return undefined;
    const document = {
      _aws: {
        Timestamp: now(),
        CloudWatchMetrics: [
          {
            Namespace: namespace,
            Dimensions: [Object.keys(dimensions)],
            Metrics: told.map(({ name, unit }) => ({ Name: name, Unit: unit })),
          },
        ],
      },
      ...properties,
      ...dimensions,
      ...Object.fromEntries(told.map(({ name, plain }) => [name, plain])),
    };
    return `${JSON.stringify(document)}\n`;
  }

  const emit = () => {
    emitting = emitting.then(tell).catch(() => {});
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

/** A number, or how many observations fell below each bound. */
type Value = number | Map<number, number>;

/** Each label set of a measure with what it has to tell since the last time. */
function* readings(measure: Measure, before: Map<string, number>): Iterable<[Record<string, string>, Value]> {
  if (String(measure.type) === 'histogram') {
    const histograms = new Map<string, { labels: Record<string, string>; counts: Map<number, number> }>();
    for (const { labels, value, metricName } of measure.values) {
      if (metricName !== `${measure.name}_bucket`) continue;
      const { le, ...own } = labels as Record<string, string | number>;
      const id = JSON.stringify(own);
      const histogram = histograms.get(id) ?? { labels: textsOf(own), counts: new Map() };
      histograms.set(id, histogram);
      const bound = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
      histogram.counts.set(bound, value - (before.get(idOf(measure.name, labels)) ?? 0));
    }
    for (const { labels, counts } of histograms.values()) yield [labels, counts];
    return;
  }
  for (const { labels, value } of measure.values) {
    const since = String(measure.type) === 'counter' ? (before.get(idOf(measure.name, labels)) ?? 0) : 0;
    yield [textsOf(labels as Record<string, string | number>), value - since];
  }
}

function* standings(measures: Iterable<Measure>): Iterable<[string, number]> {
  for (const { name, type, values } of measures) {
    if (String(type) !== 'counter' && String(type) !== 'histogram') continue;
    for (const { labels, value } of values) yield [idOf(name, labels), value];
  }
}

function idOf(name: string, labels: object): string {
  return `${name} ${JSON.stringify(labels)}`;
}

function textsOf(labels: Readonly<Record<string, string | number>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}

function dimensionsOf(by: readonly Dimension[], labels: Record<string, string>): Record<string, string> | undefined {
  const pairs = by.map((dimension) => [dimension, labels[dimensionLabels[dimension]] ?? ''] as const);
  return pairs.some(([, value]) => value === '') ? undefined : Object.fromEntries(pairs);
}

function join(held: Value | undefined, more: Value, combine: PublishedMetric['combine']): Value {
  if (held === undefined) return more;
  if (typeof held === 'number' && typeof more === 'number')
    return combine === 'max' ? Math.max(held, more) : held + more;
  if (typeof held === 'number' || typeof more === 'number') return held;
  return new Map([...more].map(([bound, count]) => [bound, count + (held.get(bound) ?? 0)]));
}

/**
 * At most 100 values that are distributed as the observations were, each rounded up to its bucket's bound, so that
 * CloudWatch can tell percentiles over all tasks. The last bucket has no bound and is told as twice the one before.
 */
function valuesOf(cumulative: ReadonlyMap<number, number>): number[] {
  const bounds = [...cumulative.keys()].sort((a, b) => a - b);
  const total = cumulative.get(Number.POSITIVE_INFINITY) ?? 0;
  const scale = Math.max(1, total / MAX_VALUES);
  const values: number[] = [];
  for (const [i, bound] of bounds.entries()) {
    const value = Number.isFinite(bound) ? bound : 2 * (bounds[i - 1] ?? 1);
    // Rounded down below the last one, so that a lone slow observation is not lost in the crowd.
    const until = (cumulative.get(bound) === total ? Math.ceil : Math.floor)((cumulative.get(bound) ?? 0) / scale);
    while (values.length < until && values.length < MAX_VALUES) values.push(value);
  }
  return values;
}
