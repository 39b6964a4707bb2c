import { Duration } from 'aws-cdk-lib';
import {
  GraphWidget,
  type GraphWidgetProps,
  type IMetric,
  type IWidget,
  LegendPosition,
  SingleValueWidget,
  TextWidget,
  TextWidgetBackground,
} from 'aws-cdk-lib/aws-cloudwatch';

/** A dashboard is 24 units wide. */
export const WIDTH = 24;

/** A question, and what to make of the answer. */
export function question(title: string, hint: string): IWidget {
  const markdown = `## ${title}\n${hint}`;
  return new TextWidget({ markdown, width: WIDTH, height: 2, background: TextWidgetBackground.TRANSPARENT });
}

export interface GraphOptions extends Pick<GraphWidgetProps, 'right' | 'stacked' | 'leftAnnotations' | 'region'> {
  readonly unit?: string;
  readonly rightUnit?: string;
  readonly width?: number;
  readonly height?: number;
  /** Of the left axis. */
  readonly max?: number;
  /** Where the left axis begins. Default 0; `auto`: where the lines do. */
  readonly from?: 'auto';
}

/** Lines from zero, a minute each: what tasks tell once a minute adds up by the minute only. */
export function graph(title: string, left: readonly IMetric[], options: GraphOptions = {}): IWidget {
  const { unit, rightUnit, width = 8, height = 6, max, from, ...more } = options;
  const axis = (label: string | undefined) => ({ min: 0, showUnits: false, ...(label && { label }) });
  return new GraphWidget({
    title,
    left: [...left],
    width,
    height,
    period: Duration.minutes(1),
    leftYAxis: { ...axis(unit), ...(max !== undefined && { max }), ...(from === 'auto' && { min: undefined }) },
    ...(more.right && { rightYAxis: axis(rightUnit) }),
    legendPosition: LegendPosition.BOTTOM,
    ...more,
  });
}

/** Numbers of this minute. */
export function numbers(title: string, metrics: readonly IMetric[], width = 8): IWidget {
  return new SingleValueWidget({
    title,
    metrics: [...metrics],
    width,
    height: 4,
    period: Duration.minutes(1),
    sparkline: true,
  });
}
