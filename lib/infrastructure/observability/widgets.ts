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

/** A question and how to read the answer. */
export function question(title: string, hint: string): IWidget {
  const markdown = `## ${title}\n${hint}`;
  return new TextWidget({ markdown, width: WIDTH, height: 2, background: TextWidgetBackground.TRANSPARENT });
}

export interface GraphOptions
  extends Pick<GraphWidgetProps, 'right' | 'stacked' | 'leftAnnotations' | 'region' | 'period' | 'start'> {
  readonly unit?: string;
  readonly rightUnit?: string;
  readonly width?: number;
  readonly height?: number;
  /** Maximum of the left axis. */
  readonly max?: number;
  /** Minimum of the left axis. Default 0; `auto`: chosen by the data. */
  readonly from?: 'auto';
}

/** Lines from zero with a period of one minute: tasks report once a minute, so sums are only meaningful per minute. */
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

/** Numbers of the current minute. */
export function numbers(title: string, metrics: readonly IMetric[], width = 8, height = 4): IWidget {
  return new SingleValueWidget({
    title,
    metrics: [...metrics],
    width,
    height,
    period: Duration.minutes(1),
    sparkline: true,
  });
}
