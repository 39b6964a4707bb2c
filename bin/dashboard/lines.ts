import type { WidgetProperties } from './body.ts';
import { compute } from './expression.ts';
import { dimensionValues, MINUTES, type SampleMetric, type Series, sampleSeries } from './sample.ts';

/** One line of a chart. */
export interface Line {
  readonly label: string;
  readonly axis: 'left' | 'right';
  readonly values: Series;
}

interface Rendering {
  readonly id?: string;
  readonly label?: string;
  readonly expression?: string;
  readonly visible?: boolean;
  readonly stat?: string;
  readonly region?: string;
  readonly yAxis?: 'left' | 'right';
}

const SEARCH = /^SEARCH\('\{"?([^",]+)"?,([^}]+)\} MetricName="([^"]+)"', '(\w+)', \d+\)$/;

/** The lines that a widget shows, with sample data. */
export function linesOf({ metrics = [], region = '' }: WidgetProperties, environments: readonly string[]): Line[] {
  const rows = metrics.map(parse);
  const named: Record<string, Series> = {};
  for (const { rendering, path } of rows) {
    if (path.length > 0 && rendering.id) named[rendering.id] = sampleSeries(metricOf(path, rendering, region));
  }
  return rows
    .filter(({ rendering }) => rendering.visible !== false)
    .flatMap(({ path, rendering }) => {
      const { expression, label = path[1] ?? '', yAxis: axis = 'left' } = rendering;
      if (expression === undefined) return [{ label, axis, values: sampleSeries(metricOf(path, rendering, region)) }];
      const [, namespace, by, name, statistic] = SEARCH.exec(expression) ?? [];
      if (!namespace || !by || !name || !statistic) {
        return [{ label, axis, values: compute(expression, named, MINUTES) }];
      }
      const [dimension = ''] = by.split(',');
      const found = dimensionValues(name, dimension, environments);
      return found.map((value, index) => {
        // The first environment has most of the traffic.
        const share = found.length === 1 ? 1 : index === 0 ? 0.8 : 0.2 / (found.length - 1);
        const metric = { namespace, name, statistic, dimensions: { [dimension]: value }, region, share };
        return { label: label.replace(/\$\{PROP\('Dim\.\w+'\)\}/, value), axis, values: sampleSeries(metric) };
      });
    });
}

/** A row is `[namespace, name, dimension, value, …, rendering]`. */
function parse(row: readonly unknown[]): { readonly path: readonly string[]; readonly rendering: Rendering } {
  const last = row.at(-1);
  const rendering = typeof last === 'object' && last !== null ? (last as Rendering) : {};
  return { path: row.filter((part) => typeof part === 'string'), rendering };
}

function metricOf(path: readonly string[], { stat = 'Average', region }: Rendering, home: string): SampleMetric {
  const [namespace = '', name = '', ...pairs] = path;
  const dimensions: Record<string, string> = {};
  for (const [index, value] of pairs.entries()) {
    if (index % 2 === 1) dimensions[pairs[index - 1] ?? ''] = value;
  }
  return { namespace, name, dimensions, statistic: stat, region: region ?? home };
}
