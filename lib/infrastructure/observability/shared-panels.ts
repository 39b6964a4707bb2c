import type { IMetric, IWidget } from 'aws-cdk-lib/aws-cloudwatch';
import { type Line, type PanelId, type Share, sharedPanels } from '../../monitoring/index.ts';
import { expression, relayMetric, relaySearch } from './metrics.ts';
import type { Observed } from './observed.ts';
import { type GraphOptions, graph } from './widgets.ts';

/** The height of graphs that show only zeros while all is well. */
const QUIET = 4;

type Place = Pick<Observed, 'namespace' | 'region'>;

interface PanelOptions extends Omit<GraphOptions, 'unit' | 'max' | 'from' | 'stacked'> {
  /** Default: the panel's. */
  readonly title?: string;
  /** Lines before the panel's own. */
  readonly before?: readonly IMetric[];
}

/** A panel that Grafana has too, as a widget. */
export function panelWidget(observed: Place, id: PanelId, options: PanelOptions = {}): IWidget {
  const { title: shownTitle, before = [], ...more } = options;
  const { title, unit, stacked, quiet, max, from, marks } = sharedPanels[id];
  return graph(shownTitle ?? title, [...before, ...panelLines(observed, id)], {
    ...(unit !== undefined && { unit }),
    ...(stacked && { stacked }),
    ...(quiet && { height: QUIET }),
    ...(max !== undefined && { max }),
    ...(from !== undefined && { from }),
    ...(marks && { leftAnnotations: marks.map(({ value, label }) => ({ value, label })) }),
    ...more,
  });
}

export function panelLines(observed: Place, id: PanelId): IMetric[] {
  return sharedPanels[id].lines.map((line) => lineOf(observed, line));
}

function lineOf(observed: Place, line: Line): IMetric {
  if ('bad' in line) return shareOf(observed, line);
  const { metric, statistic, by, label } = line;
  if (by !== undefined) return relaySearch(observed, metric, statistic, by);
  return relayMetric(observed, metric, statistic, label === undefined ? {} : { label });
}

function shareOf(observed: Place, { label, bad, all, good }: Share): IMetric {
  const of = (all ?? good)!;
  const whole = all ? all[0] : `(${of[0]} + FILL(${bad[0]}, 0))`;
  const metrics = [bad, of].map(([name, metric]) => [name, relayMetric(observed, metric, 'Sum')] as const);
  return expression(`100 * (1 - FILL(${bad[0]}, 0) / ${whole})`, Object.fromEntries(metrics), label);
}
