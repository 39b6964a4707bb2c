import type { Line } from './lines.ts';
import { MINUTES } from './sample.ts';
import type { WidgetProperties } from './template.ts';

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

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Lines, or areas on top of each other, as an SVG. */
export function chartOf(properties: WidgetProperties, lines: readonly Line[], { width, height }: Size): string {
  const { yAxis, annotations, stacked } = properties;
  const right = lines.filter(({ axis }) => axis === 'right');
  const left = lines.filter(({ axis }) => axis === 'left');
  const marks = annotations?.horizontal ?? [];
  const box = { left: 52, right: width - (right.length > 0 ? 48 : 12), top: 20, bottom: height - 22 };

  const stacks = stacked ? stackOf(left) : left.map(({ values }) => ({ from: undefined, to: values }));
  const range = scaleOf([...stacks.map(({ to }) => to), marks.map(({ value }) => value)], yAxis?.left);
  const rightRange = scaleOf(
    right.map(({ values }) => values),
    yAxis?.right,
  );
  const x = (minute: number) => box.left + (minute / (MINUTES - 1)) * (box.right - box.left);
  const y = (value: number, { low, high }: Scale) =>
    box.bottom - ((Math.min(high, Math.max(low, value)) - low) / (high - low)) * (box.bottom - box.top);

  const parts: string[] = [];
  for (const tick of range.ticks) {
    const at = round(y(tick, range));
    parts.push(`<line x1="${box.left}" x2="${box.right}" y1="${at}" y2="${at}" class="grid"/>`);
    parts.push(`<text x="${box.left - 6}" y="${at + 4}" class="tick end">${short(tick)}</text>`);
  }
  if (right.length > 0) {
    for (const tick of rightRange.ticks) {
      parts.push(`<text x="${box.right + 6}" y="${round(y(tick, rightRange)) + 4}" class="tick">${short(tick)}</text>`);
    }
  }
  for (let hour = 0; hour <= 6; hour += 1) {
    const minute = Math.min(MINUTES - 1, hour * 30);
    const minutesAgo = MINUTES - hour * 30;
    const label =
      minutesAgo === 0 ? 'now' : `-${Math.floor(minutesAgo / 60)}:${String(minutesAgo % 60).padStart(2, '0')}`;
    parts.push(
      `<text x="${round(x(minute))}" y="${height - 5}" class="tick ${hour === 6 ? 'end' : 'middle'}">${label}</text>`,
    );
  }
  parts.push(`<text x="4" y="11" class="unit">${escapeHtml(yAxis?.left?.label ?? '')}</text>`);
  if (right.length > 0)
    parts.push(`<text x="${width - 4}" y="11" class="unit end">${escapeHtml(yAxis?.right?.label ?? '')}</text>`);

  // The top of a stack first, so that those below are drawn over it.
  const drawn = stacks.map(({ from, to }, index) => {
    const colour = COLOURS[index % COLOURS.length];
    if (!from) return `<path d="${pathOf(to, x, (value) => y(value, range))}" stroke="${colour}" class="line"/>`;
    const upper = to.map((value, minute) => `${round(x(minute))},${round(y(value ?? 0, range))}`);
    const lower = from.map((value, minute) => `${round(x(minute))},${round(y(value ?? 0, range))}`).reverse();
    return `<polygon points="${[...upper, ...lower].join(' ')}" fill="${colour}" class="area"/>`;
  });
  // Where lines cover each other, the first of them is seen.
  parts.push(...drawn.reverse());
  for (const [index, { values }] of right.entries()) {
    const colour = COLOURS[(left.length + index) % COLOURS.length];
    parts.push(
      `<path d="${pathOf(values, x, (value) => y(value, rightRange))}" stroke="${colour}" class="line right"/>`,
    );
  }
  for (const { value, label = '' } of marks) {
    const at = round(y(value, range));
    parts.push(`<line x1="${box.left}" x2="${box.right}" y1="${at}" y2="${at}" class="mark"/>`);
    parts.push(
      `<text x="${box.right - 4}" y="${at - 4}" class="mark-label end">${escapeHtml(label)} ${short(value)}</text>`,
    );
  }
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">${parts.join('')}</svg>`;
}

/** A line that fits into a corner. */
export function sparklineOf({ values }: Line, { width, height }: Size, colour: string): string {
  const { low, high } = scaleOf([values], undefined);
  const x = (minute: number) => (minute / (MINUTES - 1)) * width;
  const y = (value: number) => height - 2 - ((value - low) / (high - low)) * (height - 4);
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"><path d="${pathOf(values, x, y)}" stroke="${colour}" class="line"/></svg>`;
}

interface Scale {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
}

/** Four steps or so, of 1, 2, 2.5 or 5 times a power of ten. */
function scaleOf(all: readonly (readonly (number | null)[])[], axis: WidgetAxis): Scale {
  const present = all.flat().filter((value) => value !== null);
  const bottom =
    axis?.min ?? (axis?.max === undefined ? Math.min(0, ...present) : Math.min(...present, axis.max - 1e-3));
  const top = Math.max(axis?.max ?? Math.max(...present, 0), bottom);
  // Nothing but zeros: a line on the ground, below a one that says how far away it is.
  if (top <= bottom && bottom === 0) return { low: 0, high: 1, ticks: [0, 1] };
  const span = top > bottom ? top - bottom : 1;
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => span / one <= 4.5) ?? span;
  const low = Math.floor(bottom / step + 1e-9) * step;
  const high = Math.max(low + step, Math.ceil(top / step - 1e-9) * step);
  const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, index) => low + index * step);
  return { low, high, ticks };
}
type WidgetAxis = NonNullable<WidgetProperties['yAxis']>['left'];

function stackOf(lines: readonly Line[]): { from: (number | null)[]; to: (number | null)[] }[] {
  let below: (number | null)[] = Array.from({ length: MINUTES }, () => 0);
  return lines.map(({ values }) => {
    const from = below;
    below = from.map((value, minute) => (value ?? 0) + (values[minute] ?? 0));
    return { from, to: below };
  });
}

/** Broken where nothing was told; a lone value is a dot. */
function pathOf(
  values: readonly (number | null)[],
  x: (minute: number) => number,
  y: (value: number) => number,
): string {
  let path = '';
  let pen = false;
  for (const [minute, value] of values.entries()) {
    if (value !== null) {
      const point = `${round(x(minute))} ${round(y(value))}`;
      path += pen ? `L${point}` : `M${point}h.01`;
      if (!pen) path += `M${point}`;
    }
    pen = value !== null;
  }
  return path;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
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
