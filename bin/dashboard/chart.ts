import { type EChartsOption, init, type LineSeriesOption, type YAXisComponentOption } from 'echarts';
import type { Axis, WidgetProperties } from './body.ts';
import type { Line } from './lines.ts';
import { MINUTES } from './sample.ts';

export const COLOURS = [
  '#1f77b4',
  '#e07b00',
  '#2a9d4a',
  '#c23b3b',
  '#7e57c2',
  '#8c6d4f',
  '#d05aa5',
  '#6b7785',
  '#a8a313',
  '#109fb0',
];
const TEXT = '#687078';
const ALARM = '#d13212';

interface Size {
  readonly width: number;
  readonly height: number;
}

const axisBase = { type: 'category', boundaryGap: false, data: Array.from({ length: MINUTES }, (_, i) => i) } as const;
const seriesBase = { type: 'line', silent: true, symbol: 'none', showAllSymbol: true } as const;

/** Lines or stacked areas with the thresholds of alarms, as an SVG. */
export function chartOf(properties: WidgetProperties, lines: readonly Line[], size: Size): string {
  const { yAxis, annotations, stacked, start } = properties;
  const hasRight = lines.some(({ axis }) => axis === 'right');
  const thresholds = annotations?.horizontal ?? [];
  const splitNumber = size.height < 130 ? 2 : 5;
  const left = valueAxis('left', yAxis?.left, splitNumber);
  return render(size, {
    grid: { outerBoundsMode: 'none', left: 52, right: hasRight ? 48 : 12, top: 20, bottom: 22 },
    xAxis: {
      ...axisBase,
      axisLine: { show: false },
      axisTick: { show: false },
      axisLabel: {
        color: TEXT,
        fontSize: 11,
        interval: isHalfHour,
        formatter: (minute: string) => timeLabel(Number(minute), start),
      },
    },
    yAxis: hasRight ? [left, valueAxis('right', yAxis?.right, splitNumber)] : left,
    series: [
      ...lines.map((line, index) => lineSeries(line, index, stacked)),
      ...thresholds.map(({ value, label = '' }) => thresholdSeries(value, label)),
    ],
  });
}

/** A small line without axes, for the corner of a number. */
export function sparklineOf({ values }: Line, size: Size, colour: string): string {
  return render(size, {
    grid: { outerBoundsMode: 'none', left: 0, right: 0, top: 2, bottom: 2 },
    xAxis: { ...axisBase, show: false },
    yAxis: { type: 'value', show: false },
    series: [{ ...seriesBase, data: dataOf(values), color: colour, lineStyle: { width: 1.6 } }],
  });
}

function render({ width, height }: Size, option: EChartsOption): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ animation: false, ...option });
    // The library numbers the clip paths and styles of its charts: the page needs neither, and would differ every time.
    return chart
      .renderToSVGString()
      .replace('<svg ', '<svg role="img" ')
      .replace(/<(style|defs)\b.*?<\/\1>\s*/gs, '')
      .replace(/ (class|clip-path|ecmeta_\w+)="[^"]*"/g, '');
  } finally {
    chart.dispose();
  }
}

function lineSeries({ axis, values }: Line, index: number, stacked: boolean | undefined): LineSeriesOption {
  const series: LineSeriesOption = { ...seriesBase, color: COLOURS[index % COLOURS.length] };
  if (axis === 'right')
    return { ...series, yAxisIndex: 1, data: dataOf(values), lineStyle: { width: 1.2, type: [4, 2] } };
  if (stacked) {
    const data = values.map((value) => value ?? 0);
    return { ...series, stack: 'all', data, lineStyle: { width: 0 }, areaStyle: { opacity: 0.75 } };
  }
  // Where lines overlap, the first one is on top.
  return { ...series, data: dataOf(values), z: 100 - index, lineStyle: { width: 1.6 } };
}

/** A value between two missing ones would not be visible as a line, so it gets a dot. */
function dataOf(values: Line['values']): LineSeriesOption['data'] {
  return values.map((value, minute) => {
    const isAlone = value !== null && (values[minute - 1] ?? null) === null && (values[minute + 1] ?? null) === null;
    return isAlone ? { value, symbol: 'circle', symbolSize: 2 } : value;
  });
}

/** A series, not a mark: the axis must reach up to it. */
function thresholdSeries(value: number, label: string): LineSeriesOption {
  return {
    ...seriesBase,
    data: Array.from({ length: MINUTES }, () => value),
    color: ALARM,
    z: 200,
    lineStyle: { width: 1, type: [5, 4] },
    endLabel: {
      show: true,
      formatter: `${label} ${short(value)}`,
      color: ALARM,
      fontSize: 10.5,
      align: 'right',
      verticalAlign: 'bottom',
      distance: 0,
      offset: [-4, -2],
    },
  };
}

function valueAxis(position: 'left' | 'right', axis: Axis | undefined, splitNumber: number): YAXisComponentOption {
  const { label, min, max } = axis ?? {};
  return {
    type: 'value',
    position,
    // The library starts at zero anyway; if told to, it picks worse steps.
    min: min === 0 ? undefined : min,
    max,
    // A ratio close to its maximum would be a flat line if the axis began at zero.
    scale: max !== undefined && min === undefined,
    splitNumber,
    // The library's own steps would not end at a fixed maximum.
    ...(min !== undefined && max !== undefined && { interval: (max - min) / splitNumber }),
    splitLine: { show: position === 'left', lineStyle: { color: '#eaeded' } },
    axisLabel: { color: TEXT, fontSize: 11, formatter: short },
    name: label,
    nameGap: 8,
    nameTextStyle: {
      color: TEXT,
      fontSize: 11,
      align: position,
      padding: position === 'left' ? [0, 0, 0, -46] : [0, -42, 0, 0],
    },
  };
}

function isHalfHour(minute: number): boolean {
  return minute % 30 === 0 || minute === MINUTES - 1;
}

function timeLabel(minute: number, start: string | undefined): string {
  if (minute === MINUTES - 1) return 'now';
  const ago = MINUTES - minute;
  const [, days] = /^-P(\d+)D$/.exec(start ?? '') ?? [];
  if (days !== undefined) return `-${Math.round((Number(days) * ago) / MINUTES)} d`;
  return `-${Math.floor(ago / 60)}:${String(ago % 60).padStart(2, '0')}`;
}

/** 1234567 as 1.23M, 0.05 as 0.05. */
export function short(value: number): string {
  const size = Math.abs(value);
  const [divisor, suffix] = size >= 1e9 ? [1e9, 'G'] : size >= 1e6 ? [1e6, 'M'] : size >= 1e4 ? [1e3, 'k'] : [1, ''];
  return `${Number((value / divisor).toPrecision(divisor === 1 && size >= 1_000 ? 4 : size >= 99 && size < 100 ? 4 : 3))}${suffix}`;
}

export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
