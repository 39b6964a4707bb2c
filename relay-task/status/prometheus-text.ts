/**
 * A registry in Prometheus's text format 0.0.4, as prom-client writes it. prom-client itself writes all lines in one turn, and
 * those of hundreds of environments take longer than a turn may.
 * https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */
import type { MetricObject, MetricObjectWithValues, MetricValue, Registry } from 'prom-client';
import { inSlices, type SlicesOptions } from '../common/slices.ts';

type Measure = MetricObject & MetricObjectWithValues<MetricValue<string> & { readonly metricName?: string }>;

/** The values are read in one turn, the text is written in slices. Resolves with the body. */
export async function prometheusText(registry: Registry, options?: SlicesOptions): Promise<string> {
  return inSlices(textOf((await registry.getMetricsAsJSON()) as Measure[]), options);
}

/** Between two yields it writes about a millisecond's worth. */
const LINES_AT_ONCE = 200;

function* textOf(measures: readonly Measure[]): Generator<undefined, string> {
  const parts: string[] = [];
  for (const { name, help, type, values } of measures) {
    parts.push(`${parts.length > 0 ? '\n' : ''}# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n`);
    for (let from = 0; from < values.length; from += LINES_AT_ONCE) {
      const some = values.slice(from, from + LINES_AT_ONCE);
      parts.push(some.map(({ metricName = name, ...value }) => lineOf(metricName, value)).join(''));
      yield;
    }
  }
  return parts.join('');
}

function lineOf(name: string, { labels, value }: MetricValue<string>): string {
  const pairs = Object.entries(labels).map(
    ([label, text]) => `${label}="${escaped(String(text)).replaceAll('"', '\\"')}"`,
  );
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${numberOf(value)}\n`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function numberOf(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}
