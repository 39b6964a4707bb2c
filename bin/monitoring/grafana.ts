/** A dashboard for Grafana, from the table of which CloudWatch's is made, too: dashboard JSON of schema version 42. */
import {
  BURN_RATE_RUNBOOK,
  burnRates,
  errorBudgetPercent,
  type Line,
  type Panel,
  type Section,
  type Share,
  type SharedAlarmId,
  sections,
  sharedPanels,
  spanOf,
  type Unit,
} from '../../lib/monitoring/index.ts';
import { type MonitoringOptions, thresholdIn } from './options.ts';
import { aggregated, labelOf, type Measured, ofRelays, queryOf, type Scope, selector, seriesOf } from './promql.ts';
import { ALL_ALERTS } from './rules.ts';

/** A series of a panel. */
interface Target {
  readonly expr: string;
  readonly legend: string;
}

interface GrafanaPanel {
  readonly section: Section;
  readonly title: string;
  readonly tells: string;
  readonly unit: string;
  readonly targets: readonly Target[];
  readonly kind?: 'stat' | 'state-timeline';
  readonly stacked?: boolean;
  readonly max?: number;
  readonly min?: number;
  /** Lines at these values. */
  readonly marks?: readonly { readonly value: number; readonly alarm: boolean }[];
  readonly runbooks?: readonly string[];
}

/** The window that Grafana computes from the range shown and from how often Prometheus asks. */
const WINDOW = '$__rate_interval';

/** Grafana's names of units. */
const units: Readonly<Record<Unit, string>> = {
  '%': 'percent',
  bytes: 'bytes',
  'per minute': 'cpm',
  relays: 'short',
  seconds: 's',
  streams: 'short',
  tasks: 'short',
  '× the rate that 30 days allow': 'short',
};

const WIDTH = 24;
const PANEL = { w: 8, h: 8 };
// biome-ignore lint/suspicious/noTemplateCurlyInString: the variable of the dashboard.
const datasource = { type: 'prometheus', uid: '${datasource}' };

export function grafanaDashboard(options: MonitoringOptions) {
  const { prefix, matchers, runbooks } = options;
  const given = matchers === '' ? [] : [matchers];
  const here: Scope = {
    prefix,
    matchers: (labels) => [
      ...given,
      'job=~"$job"',
      'instance=~"$instance"',
      ...(labels.includes('env') ? ['env=~"$env"'] : []),
    ],
  };
  const all: Scope = { prefix, matchers: () => given };
  const inJob: Scope = { prefix, matchers: () => [...given, 'job=~"$job"'] };
  const panels = [
    ...Object.values(sharedPanels).map((panel) => sharedPanel(here, panel, options)),
    ...ownPanels(here, options),
  ];
  return {
    uid: 'edge-flag-relay',
    title: 'edge-flag-relay',
    description: `LaunchDarkly relays. Runbooks: ${runbooks}`,
    tags: ['edge-flag-relay', 'feature-flags'],
    schemaVersion: 42,
    version: 1,
    editable: true,
    graphTooltip: 1,
    fiscalYearStartMonth: 0,
    timezone: 'browser',
    refresh: '1m',
    time: { from: 'now-3h', to: 'now' },
    timepicker: {},
    annotations: { list: [] },
    links: [linkTo('Runbooks', runbooks)],
    templating: {
      list: [
        {
          name: 'datasource',
          label: 'Data source',
          type: 'datasource',
          query: 'prometheus',
          hide: 0,
          includeAll: false,
          multi: false,
          refresh: 1,
          regex: '',
        },
        valuesOf('job', 'Job', seriesOf(all, 'up')),
        valuesOf('env', 'Environment', seriesOf(inJob, 'data_age_seconds')),
        valuesOf('instance', 'Relay', seriesOf(inJob, 'up')),
      ],
    },
    panels: placed(panels, options),
  };
}

/** A variable with all values of a label, of which several can be chosen. */
function valuesOf(name: string, label: string, series: string) {
  const query = `label_values(${series}, ${name})`;
  return {
    name,
    label,
    type: 'query',
    datasource,
    definition: query,
    query: { qryType: 1, query, refId: 'PrometheusVariableQueryEditor-VariableQuery' },
    current: { text: 'All', value: '$__all' },
    // Series without the label are wanted, too.
    allValue: '.*',
    hide: 0,
    includeAll: true,
    multi: true,
    options: [],
    // When the range changes.
    refresh: 2,
    regex: '',
    sort: 1,
  };
}

function sharedPanel(scope: Scope, panel: Panel, options: MonitoringOptions): GrafanaPanel {
  const { section, title, unit, lines, stacked, now, max, from, marks = [], tells, alarms = [] } = panel;
  const shown = marks.map(({ value, label, alarm }) => ({
    value: alarm === undefined ? value : thresholdIn(options, alarm),
    label,
    alarm: alarm !== undefined,
  }));
  const lineTexts = shown.map(({ value, label }) => ` Line at ${value}: ${label}.`);
  return {
    section,
    title,
    tells: tells + lineTexts.join(''),
    unit: unit === undefined ? 'short' : units[unit],
    targets: lines.filter((line) => 'bad' in line || !line.cloudWatchOnly).map((line) => targetOf(scope, line)),
    ...(now && { kind: 'stat' }),
    ...(stacked && { stacked }),
    ...(max !== undefined && { max }),
    ...(from !== 'auto' && { min: 0 }),
    marks: shown,
    runbooks: alarms.filter((id) => isMade(options, id)),
  };
}

function isMade({ without }: MonitoringOptions, id: SharedAlarmId): boolean {
  return !without.includes(id);
}

function targetOf(scope: Scope, line: Line): Target {
  if ('bad' in line) return { expr: shareOf(scope, line), legend: line.label };
  const { by, label } = line;
  if (by === undefined) return { expr: queryOf(scope, line, { window: WINDOW }), legend: label ?? line.metric };
  const kept = labelOf(by);
  return { expr: queryOf(scope, line, { by: [kept], window: WINDOW }), legend: `{{${kept}}}` };
}

function shareOf(scope: Scope, { bad, all, good }: Share): string {
  const sum = (metric: Share['bad'][1]) => queryOf(scope, { metric, statistic: 'Sum' }, { window: WINDOW });
  // Labels of counters that have counted nothing yet do not exist.
  const failed = `(${sum(bad[1])} or vector(0))`;
  const whole = all ? sum(all[1]) : `(${sum(good![1])} + ${failed})`;
  return `100 * (1 - ${failed} / ${whole})`;
}

/** What only Prometheus knows, or knows without a load balancer and ECS. */
function ownPanels(scope: Scope, { availabilityPercent }: MonitoringOptions): GrafanaPanel[] {
  const rate = (name: Measured, window = WINDOW) => `rate(${seriesOf(scope, name)}[${window}])`;
  const budget = Number((errorBudgetPercent(availabilityPercent) / 100).toPrecision(6));
  const burning = (window: string) =>
    `${aggregated('sum', [], rate('http_failures_total', window))} / ${aggregated('sum', [], rate('http_answers_total', window))} / ${budget}`;
  const pages = burnRates.filter((row) => row.pages);
  return [
    {
      section: 'up',
      title: 'Alerts that fire',
      tells: 'From the rules in prometheus-rules.yaml. Each alert has a link to its runbook.',
      kind: 'state-timeline',
      unit: 'short',
      targets: [
        {
          expr: `sum by (alertname, env) (${selector('ALERTS', [`alertname=~"${ALL_ALERTS}"`, 'alertstate="firing"'])})`,
          legend: '{{alertname}} {{env}}',
        },
      ],
    },
    {
      section: 'up',
      title: 'Error budget: burn rate',
      tells: `1 uses up the ${errorBudgetPercent(availabilityPercent)} % of requests that may fail in exactly 30 days. ${pages
        .map(({ rate: limit, long, short }) => `Pages above ${limit} over ${spanOf(long)} and ${spanOf(short)}.`)
        .join(' ')}`,
      unit: 'short',
      min: 0,
      targets: [
        { expr: burning('5m'), legend: 'over 5 minutes' },
        { expr: burning('1h'), legend: 'over an hour' },
      ],
      marks: pages.map(({ rate: value }) => ({ value, alarm: true })),
      runbooks: [BURN_RATE_RUNBOOK],
    },
    {
      section: 'connected',
      title: 'Time to answer, p99',
      tells: 'From the request headers to the response, by route; of streams to their opening.',
      unit: 's',
      min: 0,
      targets: [
        {
          expr: `histogram_quantile(0.99, ${aggregated('sum', ['route', 'le'], `rate(${seriesOf(scope, 'http_answer_seconds', { suffix: '_bucket' })}[${WINDOW}])`)})`,
          legend: '{{route}}',
        },
      ],
    },
    {
      section: 'room',
      title: 'CPU',
      tells: 'Of each relay; 100 % is one core. Requests are handled by one thread.',
      unit: 'percentunit',
      min: 0,
      targets: [
        {
          expr: aggregated(
            'max',
            ['instance'],
            ofRelays(scope, 'process_cpu_seconds_total', rate('process_cpu_seconds_total')),
          ),
          legend: '{{instance}}',
        },
      ],
      runbooks: ['cpu'],
    },
    {
      section: 'room',
      title: 'Memory held for clients, by part',
      tells:
        'In the fullest relay, with the limit of all parts together. Beyond a limit new streams and requests get 503.',
      unit: 'bytes',
      min: 0,
      targets: [
        { expr: aggregated('max', ['part'], seriesOf(scope, 'client_memory_bytes')), legend: '{{part}}' },
        {
          expr: aggregated('min', [], seriesOf(scope, 'client_memory_limit_bytes', { own: { part: 'all' } })),
          legend: 'limit of clients',
        },
      ],
      runbooks: ['memory', 'streams-refused'],
    },
    {
      section: 'room',
      title: 'Connections refused',
      tells: 'Closed unanswered: the limit of open files, or the memory for connections, allows no more.',
      unit: 'cpm',
      min: 0,
      targets: [
        { expr: `60 * ${aggregated('sum', ['reason'], rate('connections_refused_total'))}`, legend: '{{reason}}' },
      ],
      runbooks: ['memory'],
    },
  ];
}

/** Rows of three panels below the question that they answer. */
function placed(panels: readonly GrafanaPanel[], options: MonitoringOptions): object[] {
  const result: object[] = [];
  let y = 0;
  for (const [section, title] of Object.entries(sections)) {
    const own = panels.filter((panel) => panel.section === section);
    result.push({
      id: result.length + 1,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { x: 0, y, w: WIDTH, h: 1 },
      panels: [],
    });
    y += 1;
    for (const [index, panel] of own.entries()) {
      const column = index % (WIDTH / PANEL.w);
      const gridPos = { x: column * PANEL.w, y: y + Math.floor((index * PANEL.w) / WIDTH) * PANEL.h, ...PANEL };
      result.push({ id: result.length + 1, gridPos, ...panelJson(panel, options) });
    }
    y += Math.ceil((own.length * PANEL.w) / WIDTH) * PANEL.h;
  }
  return result;
}

function panelJson(panel: GrafanaPanel, { runbooks: page }: MonitoringOptions) {
  const { title, tells, targets, unit, max, min, kind = 'timeseries', marks = [], runbooks = [] } = panel;
  const steps = [
    { color: 'green', value: null },
    ...marks.map(({ value, alarm }) => ({ color: alarm ? 'red' : 'orange', value })).sort((a, b) => a.value - b.value),
  ];
  return {
    type: kind,
    title,
    description: tells,
    datasource,
    targets: targets.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + index),
      datasource,
      editorMode: 'code',
      expr,
      legendFormat: legend,
      range: true,
    })),
    fieldConfig: {
      defaults: {
        unit,
        ...(min !== undefined && { min }),
        ...(max !== undefined && { max }),
        color: { mode: kind === 'timeseries' ? 'palette-classic' : 'thresholds' },
        thresholds: { mode: 'absolute', steps },
        custom: customOf(panel, marks.length > 0),
      },
      overrides: targets
        .filter(({ legend }) => kind === 'stat' && legend.endsWith(', s'))
        .map(({ legend }) => ({
          matcher: { id: 'byName', options: legend },
          properties: [{ id: 'unit', value: 's' }],
        })),
    },
    options: optionsOf[kind],
    links: runbooks.map((anchor) => linkTo(`Runbook: ${anchor}`, `${page}#${anchor}`)),
  };
}

function customOf({ kind, stacked = false }: GrafanaPanel, marked: boolean) {
  if (kind === 'stat') return {};
  if (kind === 'state-timeline') return { lineWidth: 0, fillOpacity: 70 };
  return {
    drawStyle: 'line',
    lineWidth: 1,
    fillOpacity: stacked ? 30 : 0,
    showPoints: 'never',
    spanNulls: false,
    stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
    thresholdsStyle: { mode: marked ? 'line' : 'off' },
  };
}

const optionsOf = {
  timeseries: {
    legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
    tooltip: { mode: 'multi', sort: 'desc' },
  },
  stat: {
    reduceOptions: { values: false, calcs: ['lastNotNull'], fields: '' },
    orientation: 'auto',
    textMode: 'auto',
    colorMode: 'value',
    graphMode: 'area',
    justifyMode: 'auto',
    wideLayout: true,
    showPercentChange: false,
    percentChangeColorMode: 'standard',
  },
  'state-timeline': {
    showValue: 'never',
    rowHeight: 0.9,
    legend: { displayMode: 'list', placement: 'bottom', showLegend: false, calcs: [] },
    tooltip: { mode: 'single', sort: 'none' },
  },
} as const;

function linkTo(title: string, url: string) {
  return {
    title,
    url,
    type: 'link',
    icon: 'doc',
    tooltip: '',
    tags: [],
    asDropdown: false,
    includeVars: false,
    keepTime: false,
    targetBlank: true,
  };
}
