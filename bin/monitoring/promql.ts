import type { Dimension, RelayMetricName, Statistic } from '../../lib/monitoring/index.ts';
import { type MeasureName, measureRows } from '../../relay-task/common/measures.ts';
import { dimensionLabels, type PublishedMetric, published } from '../../relay-task/status/published.ts';

/** Where queries look. */
export interface Scope {
  /** PROMETHEUS_PREFIX of the relays. */
  readonly prefix: string;
  /** Matchers of a metric with these labels: `job="relay"`. */
  matchers(labels: readonly string[]): readonly string[];
}

/** Node's own metrics that relays report, which have no prefix. */
const nodeMetrics = {
  nodejs_eventloop_lag_max_seconds: 'gauge',
  process_resident_memory_bytes: 'gauge',
  process_cpu_seconds_total: 'counter',
} as const;

export type Measured = MeasureName | keyof typeof nodeMetrics;

/** The series of a metric, with matchers of its own before those of the scope. */
export function seriesOf(scope: Scope, name: Measured, { own = {}, suffix = '' }: SeriesOptions = {}): string {
  const { labels, full } = describe(scope, name);
  const more = Object.entries(own).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return selector(full + suffix, [...more, ...scope.matchers(labels)]);
}

export function selector(name: string, matchers: readonly string[]): string {
  return matchers.length > 0 ? `${name}{${matchers.join(', ')}}` : name;
}

interface SeriesOptions {
  readonly own?: Readonly<Record<string, string>>;
  readonly suffix?: '' | '_bucket';
}

function describe({ prefix }: Scope, name: Measured) {
  if (name in nodeMetrics)
    return { full: name, kind: nodeMetrics[name as keyof typeof nodeMetrics], labels: [] as readonly string[] };
  const { kind, labels } = measureRows[name as MeasureName];
  return { full: `${prefix}_${name}`, kind, labels: labels as readonly string[] };
}

/** `sum by (job) (…)`. */
export function aggregated(how: string, by: readonly string[], inner: string): string {
  return by.length > 0 ? `${how} by (${by.join(', ')}) (${inner})` : `${how}(${inner})`;
}

export const labelOf = (dimension: Dimension): string => dimensionLabels[dimension];

interface QueryOptions {
  /** The labels that the result keeps. */
  readonly by?: readonly string[];
  /** Over which rates are taken. */
  readonly window: string;
}

/**
 * What CloudWatch shows of the metric with this statistic: there a relay reports one value a minute, a sum or maximum over its label sets,
 * and counters per minute; statistics are over relays.
 */
export function queryOf(
  scope: Scope,
  { metric, statistic }: { readonly metric: RelayMetricName; readonly statistic: Statistic },
  { by = [], window }: QueryOptions,
): string {
  const row = published.find(({ name }) => name === metric);
  if (!row) throw new Error(`relays do not report ${metric}`);
  const { kind, labels } = describe(scope, row.from);
  const own = row.where ?? {};
  const { from } = row;
  if (kind === 'histogram') {
    const buckets = seriesOf(scope, from, { own, suffix: '_bucket' });
    const summed = aggregated('sum', [...by, 'le'], `rate(${buckets}[${window}])`);
    return `histogram_quantile(${quantileOf(statistic)}, ${summed})`;
  }
  const series = seriesOf(scope, from, { own });
  if (kind === 'counter') {
    if (statistic !== 'Sum')
      throw new Error(`${metric} is a counter, of which only the Sum is known, not the ${statistic}`);
    return `60 * ${aggregated('sum', by, ofRelays(scope, from, `rate(${series}[${window}])`))}`;
  }
  return overRelays(ofRelays(scope, from, series), {
    row,
    statistic,
    by,
    kept: labels.every((label) => by.includes(label)),
  });
}

/** Node's own metrics are those of any service that runs on Node: only where a relay is. */
export function ofRelays(scope: Scope, name: Measured, values: string): string {
  return name in nodeMetrics ? `${values} and on (job, instance) ${seriesOf(scope, 'up')}` : values;
}

interface Gauge {
  readonly row: PublishedMetric;
  readonly statistic: Statistic;
  readonly by: readonly string[];
  /** Whether each relay has one series for each result. */
  readonly kept: boolean;
}

function overRelays(series: string, { row, statistic, by, kept }: Gauge): string {
  const outer = overall[statistic];
  if (outer === undefined) throw new Error(`${row.name} is a gauge, of which there is no ${statistic}`);
  const combine = row.combine ?? 'sum';
  const each = kept || outer === combine ? series : aggregated(combine, [...by, 'instance'], series);
  return aggregated(outer, by, each);
}

const overall: Partial<Readonly<Record<Statistic, string>>> = {
  Sum: 'sum',
  Average: 'avg',
  Minimum: 'min',
  Maximum: 'max',
};

function quantileOf(statistic: Statistic): number {
  const [, percent] = /^p(\d+)$/.exec(statistic) ?? [];
  if (percent === undefined) throw new Error(`a histogram has percentiles, no ${statistic}`);
  return Number(percent) / 100;
}
