/** Alert rules for Prometheus, from the table of which CloudWatch's alarms are made, too. */
import { stringify } from 'yaml';
import { settableThresholds } from '../../lib/infrastructure/observability/thresholds.ts';
import {
  BURN_RATE_RUNBOOK,
  type BurnRate,
  burnRates,
  describeBurnRate,
  failedPercentAt,
  LEAST_FAILURES,
  type SharedAlarm,
  type SharedAlarmId,
  sharedAlarms,
  spanOf,
} from '../../lib/monitoring/index.ts';
import { published } from '../../relay-task/status/published.ts';
import { type MonitoringOptions, thresholdIn } from './options.ts';
import { aggregated, queryOf, type Scope, selector, seriesOf } from './promql.ts';

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Alerts of several services are in one list, so their names say whose they are. */
const NAMES_START = 'EdgeFlagRelay';

/** `data-stale` → `EdgeFlagRelayDataStale`. */
export function alertName(id: string): string {
  return NAMES_START + id.replace(/(^|-)(\w)/g, (_, __, letter: string) => letter.toUpperCase());
}

export const ALL_ALERTS = `${NAMES_START}.+`;

/** Prometheus alone knows whom it asks for metrics. Its runbook is that of fewer relays than there should be. */
const UNREACHABLE = 'unreachable-relay';
const UNREACHABLE_RUNBOOK: SharedAlarmId = 'too-few-healthy-tasks';

/** The IDs of all alerts, in the order of the rules. */
export const alertIds: readonly string[] = [
  UNREACHABLE,
  ...Object.keys(sharedAlarms),
  ...burnRates.map(({ id }) => id),
];

export function alertRules(options: MonitoringOptions): AlertRule[] {
  const { matchers, prefix, relays, without } = options;
  const scope: Scope = { prefix, matchers: () => (matchers === '' ? [] : [matchers]) };
  const ids = (Object.keys(sharedAlarms) as SharedAlarmId[]).filter(
    (id) => relays > 1 || sharedAlarms[id].below !== 'relays',
  );
  const rules: [id: string, rule: AlertRule][] = [
    [UNREACHABLE, unreachable(scope, options)],
    ...ids.map((id): [string, AlertRule] => [id, sharedRule(scope, id, options)]),
    ...burnRates.map((row): [string, AlertRule] => [row.id, burnRule(scope, row, options)]),
  ];
  return rules.filter(([id]) => !without.includes(id)).map(([, rule]) => rule);
}

/** The file that Prometheus reads. */
export function rulesYaml(options: MonitoringOptions): string {
  const groups = [{ name: 'edge-flag-relay', rules: alertRules(options) }];
  return `# Alerts on edge-flag-relay, made by: edge-flag-relay dashboard --prometheus\n${stringify({ groups }, { lineWidth: 0 })}`;
}

function sharedRule(scope: Scope, id: SharedAlarmId, options: MonitoringOptions): AlertRule {
  const alarm: SharedAlarm = sharedAlarms[id];
  const { says, each, pages, datapoints, of = datapoints, period = 1, missing, metric, above } = alarm;
  const threshold = thresholdIn(options, id);
  const breach = `${above === undefined ? '<' : '>'} ${threshold}`;
  const query = queryOf(scope, alarm, { by: each ? ['job', 'env'] : ['job'], window: windowOf(period) });
  const limit = `${above === undefined ? 'below' : 'above'} ${threshold} ${unitOf(id, alarm)}`.trim();
  const text = says.replace('{threshold}', String(threshold));
  const common = { id, runbook: id, pages, says: each ? `{{ $labels.env }}: ${text}` : text, options };
  if (missing === 'breaching') {
    const none = `absent(${seriesOf(scope, fromOf(metric))})`;
    return ruleOf({
      ...common,
      expr: `(${query} ${breach}) or ${none}`,
      minutes: datapoints * period,
      more: `Fires when ${limit}, or without data, for ${spanOf(datapoints * period)}.`,
    });
  }
  if (of === datapoints) {
    return ruleOf({
      ...common,
      expr: `${query} ${breach}`,
      minutes: datapoints * period,
      more: `Job {{ $labels.job }}: {{ $value | humanize }}. Fires when ${limit} for ${spanOf(datapoints * period)}.`,
    });
  }
  // So many of the last periods, as CloudWatch counts them: a single one is no trend, and one without does not end it.
  return ruleOf({
    ...common,
    expr: `count_over_time((${query} ${breach})[${of * period}m:${period}m]) >= ${datapoints}`,
    more: `Job {{ $labels.job }}: in {{ $value }} of the last ${of} periods of ${spanOf(period)}. Fires when ${limit} in ${datapoints}.`,
  });
}

/** A minute is too short for a rate where Prometheus asks once a minute. */
const windowOf = (period: number) => `${Math.max(period, 2)}m`;

const fromOf = (metric: SharedAlarm['metric']) => published.find(({ name }) => name === metric)!.from;

function unitOf(id: SharedAlarmId, { metric }: SharedAlarm): string {
  if (Object.hasOwn(settableThresholds, id)) return settableThresholds[id as keyof typeof settableThresholds].unit;
  return published.find(({ name }) => name === metric)?.unit === 'Seconds' ? 's' : '';
}

/** Of a job that had a relay within the last hour; otherwise any service could be meant. */
function unreachable(scope: Scope, options: MonitoringOptions): AlertRule {
  const asked = selector('up', scope.matchers([]));
  return ruleOf({
    id: UNREACHABLE,
    runbook: UNREACHABLE_RUNBOOK,
    pages: undefined,
    says: 'A relay does not answer Prometheus: {{ $labels.instance }}.',
    expr: `${asked} == 0 and on (job) last_over_time(${seriesOf(scope, 'up')}[1h])`,
    minutes: 3,
    more: 'Job {{ $labels.job }}. Fires after 3 minutes.',
    options,
  });
}

/** Fires while both windows are above the rate. */
function burnRule(scope: Scope, row: BurnRate, options: MonitoringOptions): AlertRule {
  const { availabilityPercent } = options;
  const [failures, answers] = [seriesOf(scope, 'http_failures_total'), seriesOf(scope, 'http_answers_total')];
  const over = (series: string, how: string, minutes: number) =>
    aggregated('sum', ['job'], `${how}(${series}[${minutes}m])`);
  const windows = [row.long, row.short].map(
    (minutes) =>
      `100 * ${over(failures, 'rate', minutes)} / ${over(answers, 'rate', minutes)} > ${failedPercentAt(row.rate, availabilityPercent)} ` +
      `and ${over(failures, 'increase', minutes)} >= ${LEAST_FAILURES}`,
  );
  return ruleOf({
    id: row.id,
    runbook: BURN_RATE_RUNBOOK,
    pages: row.pages,
    says: describeBurnRate(row, availabilityPercent),
    expr: windows.join(' and '),
    more: `Job {{ $labels.job }}: {{ $value | humanize }} % over ${spanOf(row.long)}.`,
    options,
  });
}

interface RuleParts {
  readonly id: string;
  readonly runbook: string;
  readonly pages: true | undefined;
  readonly says: string;
  readonly expr: string;
  /** How long it must be so. */
  readonly minutes?: number;
  readonly more: string;
  readonly options: MonitoringOptions;
}

function ruleOf({ id, runbook, pages, says, expr, minutes, more, options }: RuleParts): AlertRule {
  return {
    alert: alertName(id),
    expr,
    ...(minutes !== undefined && { for: `${minutes}m` }),
    labels: { severity: pages ? 'critical' : 'warning', service: 'edge-flag-relay' },
    annotations: { summary: says, description: more, runbook_url: `${options.runbooks}#${runbook}` },
  };
}
