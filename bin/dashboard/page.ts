import type { DashboardBody, Widget } from './body.ts';
import { COLOURS, chartOf, escapeHtml, short, sparklineOf } from './chart.ts';
import { type Line, linesOf } from './lines.ts';

/** CloudWatch's unit of width and height, in pixels, less the gap. */
const COLUMN = 60;
const ROW = 44;
const GAP = 8;
const PAGE = 24 * COLUMN;

export interface PageOptions {
  readonly stage: string;
  /** The environments that a widget's SEARCH finds. */
  readonly environments: readonly string[];
}

/** The dashboard as one HTML page: no scripts, nothing loaded from elsewhere. */
export function pageOf({ widgets }: DashboardBody, { stage, environments }: PageOptions): string {
  const shown = widgets.map((widget) => {
    const { x, y, width, height } = widget;
    const place = `grid-column:${x + 1}/span ${width};grid-row:${y + 1}/span ${height}`;
    return `<section class="${widget.type}" style="${place}">${contentOf(widget, environments)}</section>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>edge-flag-relay-${escapeHtml(stage)} (sample data)</title>
<style>${STYLE}</style>
</head>
<body>
<p class="note">A preview of the CloudWatch dashboard <b>edge-flag-relay-${escapeHtml(stage)}</b>: its widgets as they are deployed, with made-up numbers. In these three hours LaunchDarkly was unreachable for twelve minutes, and later the three relays were replaced one at a time.</p>
<main>
${shown.join('\n')}
</main>
</body>
</html>
`;
}

function contentOf(widget: Widget, environments: readonly string[]): string {
  const { properties } = widget;
  const size = { width: widget.width * COLUMN - GAP - 2, height: widget.height * ROW - GAP - 2 };
  const title = `<h3>${escapeHtml(properties.title ?? '')}</h3>`;
  switch (widget.type) {
    case 'text':
      return markdown(properties.markdown ?? '');
    case 'alarm':
      return `${title}<ul class="alarms">${(properties.alarms ?? []).map(alarmOf).join('')}</ul>`;
    case 'log':
      return `${title}${logOf(properties.query ?? '')}`;
    case 'metric': {
      const lines = linesOf(properties, environments);
      if (properties.view === 'singleValue')
        return `${title}<div class="numbers">${lines.map(numberOf).join('')}</div>`;
      const rows = legendRows(lines, size.width);
      const chart = chartOf(properties, lines, { ...size, height: size.height - 30 - rows * 16 });
      return `${title}${chart}<p class="legend">${lines.map(legendOf).join('')}</p>`;
    }
    default:
      throw new Error(`no preview for widgets of type ${widget.type}`);
  }
}

/** By its name, or by its ARN if it is in another region. */
function alarmOf(alarm: string): string {
  const [, region, name] = /^arn:[^:]+:cloudwatch:([^:]+):\d+:alarm:(.+)$/.exec(alarm) ?? [];
  const text = escapeHtml(name === undefined ? alarm : `${region}: ${name}`);
  return `<li title="${text}">${text}</li>`;
}

function numberOf(line: Line, index: number): string {
  const colour = COLOURS[index % COLOURS.length]!;
  const last = line.values.findLast((value) => value !== null) ?? 0;
  return `<div><b>${short(last)}</b><span>${escapeHtml(line.label)}</span>${sparklineOf(line, { width: 150, height: 34 }, colour)}</div>`;
}

function legendOf({ label, axis }: Line, index: number): string {
  return `<span><i style="background:${COLOURS[index % COLOURS.length]}"></i>${escapeHtml(label)}${axis === 'right' ? ' →' : ''}</span>`;
}

/** How many rows the legend takes, at about six pixels a letter. */
function legendRows(lines: readonly Line[], width: number): number {
  let rows = 1;
  let used = 0;
  for (const { label, axis } of lines) {
    const needed = 26 + 6.2 * (label.length + (axis === 'right' ? 2 : 0));
    if (used > 0 && used + needed > width - 20) {
      rows += 1;
      used = 0;
    }
    used += needed;
  }
  return rows;
}

/** Sample log lines, in the columns that the query displays. */
function logOf(query: string): string {
  const columns = (/\| display ([^|]+)/.exec(query)?.[1] ?? /fields ([^|]+)/.exec(query)?.[1] ?? '')
    .split(',')
    .map((column) => column.trim());
  const rows = SAMPLE_LOG.map(
    (row) => `<tr>${columns.map((column) => `<td>${escapeHtml(row[column] ?? '')}</td>`).join('')}</tr>`,
  );
  return `<table><tr>${columns.map((column) => `<th>${escapeHtml(column)}</th>`).join('')}</tr>${rows.join('')}</table>`;
}

const SAMPLE_LOG: readonly Readonly<Record<string, string>>[] = [
  { '@timestamp': '14:09:41', level: 'WARN', message: 'Lost the write lease of the flag table', prefix: 'production' },
  {
    '@timestamp': '13:01:12',
    level: 'WARN',
    message: 'Events were dropped',
    environment: 'production',
    reason: 'capacity',
  },
  ...[
    { '@timestamp': '12:58:03', reason: 'answered 503' },
    { '@timestamp': '12:57:31', reason: 'connection reset' },
  ].map((row) => ({
    level: 'WARN',
    message: 'LaunchDarkly stream disconnected; reconnecting',
    environment: 'production',
    ...row,
  })),
];

/** The parts of Markdown that our text widgets use: headings, paragraphs, links. */
function markdown(text: string): string {
  return text
    .split('\n')
    .map((line) => {
      const [, marks, heading] = /^(#+) (.*)$/.exec(line) ?? [];
      const inner = escapeHtml(heading ?? line).replace(/\[([^\]]+)\]\((https:\/\/[^)\s]+)\)/g, '<a href="$2">$1</a>');
      return marks ? `<h${marks.length}>${inner}</h${marks.length}>` : `<p>${inner}</p>`;
    })
    .join('');
}

const STYLE = `
:root { color: #16191f; background: #f2f3f3; font: 13px/1.35 system-ui, "Helvetica Neue", Arial, sans-serif; }
body { margin: 16px auto; width: ${PAGE}px; }
.note { margin: 0 0 12px; color: #545b64; }
main { display: grid; grid-template-columns: repeat(24, ${COLUMN - GAP}px); grid-auto-rows: ${ROW - GAP}px; gap: ${GAP}px; }
section { background: #fff; border: 1px solid #d5dbdb; border-radius: 4px; overflow: hidden; min-width: 0; }
section.text { background: none; border: 0; align-self: end; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 18px; margin: 0; } h3 { font-size: 13px; margin: 0; padding: 8px 10px 2px; }
section.text p { margin: 2px 0 0; color: #545b64; }
svg { display: block; }
.legend { margin: 0; padding: 0 10px; line-height: 16px; font-size: 11.5px; color: #3b4148; }
.legend span { margin-right: 12px; white-space: nowrap; } .legend i { display: inline-block; width: 9px; height: 9px; margin-right: 5px; border-radius: 2px; }
.numbers { display: flex; height: calc(100% - 28px); align-items: center; }
.numbers div { flex: 1; padding: 0 14px; } .numbers b { font-size: 28px; font-weight: 600; display: block; line-height: 1.1; }
.numbers span { color: #545b64; display: block; margin-bottom: 4px; }
.alarms { list-style: none; margin: 4px 8px; padding: 0; display: grid; grid-template-columns: repeat(4, 1fr); gap: 4px; }
.alarms li { border-left: 4px solid #1d8102; background: #f4fbf2; padding: 2px 6px; font-size: 11.5px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
table { border-collapse: collapse; width: 100%; font: 12px ui-monospace, Menlo, Consolas, monospace; }
th { text-align: left; color: #545b64; } th, td { padding: 4px 10px; border-bottom: 1px solid #eaeded; }
`;
