/**
 * A registry in Prometheus's text format 0.0.4, as prom-client writes it, or in OpenMetrics 1.0. prom-client itself writes all lines in
 * one turn, and those of hundreds of environments take longer than a turn may; and in OpenMetrics it adds `_total` to ld-relay's
 * counters, whose names dashboards know without.
 * https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 * https://prometheus.io/docs/specs/om/open_metrics_spec/
 */
import type { MetricObject, MetricObjectWithValues, MetricValue, Registry } from 'prom-client';
import { inSlices, type SlicesOptions } from '../common/slices.ts';

type Measure = MetricObject & MetricObjectWithValues<MetricValue<string> & { readonly metricName?: string }>;

/** What scrapers may ask for, with the types that say so. */
export const metricsFormats = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openMetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
} as const;
export type MetricsFormat = keyof typeof metricsFormats;

/** The values are read in one turn, the text is written in slices. Resolves with the body. */
export async function prometheusText(
  registry: Registry,
  format: MetricsFormat = 'text',
  options?: SlicesOptions,
): Promise<string> {
  const measures = (await registry.getMetricsAsJSON()) as Measure[];
  return inSlices(format === 'text' ? textOf(measures) : openMetricsOf(measures), options);
}

/** Between two yields it writes about a millisecond's worth. */
const LINES_AT_ONCE = 200;

function* textOf(measures: readonly Measure[]): Generator<undefined, string> {
  const parts: string[] = [];
  for (const { name, help, type, values } of measures) {
    parts.push(`${parts.length > 0 ? '\n' : ''}# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n`);
    yield* addLines(parts, name, values, String);
  }
  return parts.join('');
}

function* openMetricsOf(measures: readonly Measure[]): Generator<undefined, string> {
  const parts: string[] = [];
  for (const { name, help, type, values } of measures) {
    const isCounter = String(type) === 'counter';
    // Every sample of a counter ends in `_total`, which its family's name has not. ld-relay's counters have no such end.
    const family = isCounter ? name.replace(/_total$/, '') : name;
    const kind = isCounter && family === name ? 'unknown' : type;
    parts.push(`# HELP ${family} ${quotable(help)}\n# TYPE ${family} ${kind}\n`);
    yield* addLines(parts, name, values, canonicalBound);
  }
  parts.push('# EOF\n');
  return parts.join('');
}

function* addLines(
  parts: string[],
  name: string,
  values: Measure['values'],
  bound: (le: string | number) => string,
): Generator<undefined, void> {
  for (let from = 0; from < values.length; from += LINES_AT_ONCE) {
    const some = values.slice(from, from + LINES_AT_ONCE);
    parts.push(some.map(({ metricName = name, ...value }) => lineOf(metricName, value, bound)).join(''));
    yield;
  }
}

function lineOf(name: string, { labels, value }: MetricValue<string>, bound: (le: string | number) => string): string {
  const pairs = Object.entries(labels).map(
    ([label, text]) => `${label}="${quotable(label === 'le' ? bound(text ?? '') : String(text))}"`,
  );
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${numberOf(value)}\n`;
}

/** The bound of a bucket as OpenMetrics writes it: `1.0`, `0.25`, `+Inf`. */
function canonicalBound(le: string | number): string {
  return typeof le === 'number' && Number.isInteger(le) ? le.toFixed(1) : String(le);
}

function quotable(text: string): string {
  return escaped(text).replaceAll('"', '\\"');
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function numberOf(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}
