/** Alert rules for Prometheus and the dashboard for Grafana. test/interop/prometheus.test.ts gives them to Prometheus's own tool. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { runDashboard } from '../../bin/dashboard/run.ts';
import { grafanaDashboard } from '../../bin/monitoring/grafana.ts';
import { defaultOptions, type MonitoringOptions } from '../../bin/monitoring/options.ts';
import { alertName, alertRules } from '../../bin/monitoring/rules.ts';
import { monitoringFiles, readOptions } from '../../bin/monitoring/run.ts';
import { sharedAlarms } from '../../lib/monitoring/index.ts';
import { measureRows } from '../../relay-task/common/measures.ts';
import { metricsOfRelay } from '../support/monitored-relay.ts';
import { closeAfterEach } from '../support/opened.ts';

const { opened } = closeAfterEach();
const root = join(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');

interface Panel {
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
  readonly links?: readonly { readonly url: string }[];
}

const panelsOf = (options: MonitoringOptions) => grafanaDashboard(options).panels as Panel[];
const expressionsOf = (options: MonitoringOptions): string[] => [
  ...alertRules(options).map(({ expr }) => expr),
  ...panelsOf(options).flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
];
const severities = () => new Map(alertRules(defaultOptions).map(({ alert, labels }) => [alert, labels.severity]));

test.each(Object.entries(monitoringFiles(defaultOptions)))(
  'examples/prometheus/%s is what the command writes: npm run dashboard -- --prometheus --out examples/prometheus',
  (name, text) => {
    expect(readFileSync(join(root, 'examples/prometheus', name), 'utf8')).toBe(text);
  },
);

test('every link to a runbook leads to a heading of docs/operations.md', () => {
  const headings = new Set([...page.matchAll(/^#+ ([\w-]+)$/gm)].map(([, heading]) => heading!.toLowerCase()));
  const links = [
    ...alertRules({ ...defaultOptions, relays: 2 }).map(({ annotations }) => annotations.runbook_url!),
    ...panelsOf(defaultOptions).flatMap(({ links: own = [] }) => own.map(({ url }) => url)),
  ];
  expect(links.length).toBeGreaterThan(40);
  expect(links.filter((url) => !headings.has(url.split(`${defaultOptions.runbooks}#`)[1] ?? ''))).toEqual([]);
});

test('alerts are critical if their runbook says that they page', () => {
  const paging = [...page.matchAll(/^### ([\w-]+)\n\n\*Pages\.\*/gm)].map(([, anchor]) => anchor!);
  const ids = Object.keys(sharedAlarms);
  const expected = ids.map((id) => [id, paging.includes(id) ? 'critical' : 'warning']);
  const made = new Map(
    alertRules({ ...defaultOptions, relays: 2 }).map(({ alert, labels }) => [alert, labels.severity]),
  );
  expect(ids.map((id) => [id, made.get(alertName(id))])).toEqual(expected);
  // docs/operations.md: the slowest burn rate only notifies.
  expect(['1h', '6h', '1d'].map((span) => severities().get(alertName(`error-budget-${span}`)))).toEqual([
    'critical',
    'critical',
    'warning',
  ]);
});

/** The names of metrics in a query, but for Prometheus's own. */
const namesIn = (expr: string) =>
  [...expr.replace(/"[^"]*"/g, '""').matchAll(/\b(?:launchdarkly_relay|nodejs|process)_\w+/g)].map(([name]) => name);
/** The labels that a query groups by or that a selector asks for. */
const labelsIn = (expr: string) => [
  ...[...expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(', ')),
  ...[...expr.matchAll(/[{,] ?(\w+)(?:=~|=)"/g)].map(([, label]) => label!),
];

test('a relay with stores reports every metric that rules and dashboard use, with these labels @heavy', async () => {
  const reported = await metricsOfRelay({ opened });
  const known = new Set(
    [...reported.matchAll(/^# TYPE (\w+) (\w+)$/gm)].flatMap(([, name, kind]) =>
      kind === 'histogram' ? [`${name}_bucket`] : [name!],
    ),
  );
  const rows: Readonly<Record<string, { readonly labels: readonly string[] }>> = measureRows;
  /** As the relay writes them now; of what has not happened yet, as its table says. */
  const labelsOf = (name: string) => {
    const [, sample] = new RegExp(`^${name}\\{(.*)\\} `, 'm').exec(reported) ?? [];
    const row = rows[name.replace(/^launchdarkly_relay_|_bucket$/g, '')];
    return sample === undefined
      ? [...(row?.labels ?? []), ...(name.endsWith('_bucket') ? ['le'] : [])]
      : [...sample.matchAll(/(\w+)="/g)].map(([, label]) => label!);
  };
  const expressions = expressionsOf({ ...defaultOptions, relays: 2 });
  expect(new Set(expressions.flatMap(namesIn)).size).toBeGreaterThan(30);
  for (const expr of expressions) {
    const names = namesIn(expr);
    expect({ expr, unknown: names.filter((name) => !known.has(name)) }).toEqual({ expr, unknown: [] });
    // Prometheus adds job and instance; ALERTS is its own.
    const has = new Set([
      'job',
      'instance',
      ...names.flatMap(labelsOf),
      ...(expr.includes('ALERTS') ? ['alertname', 'alertstate', 'env'] : []),
    ]);
    expect({ expr, unknown: labelsIn(expr).filter((label) => !has.has(label)) }).toEqual({ expr, unknown: [] });
  }
});

test('prefix and matchers are in every query, and Node’s metrics are only those of relays', () => {
  const options = { ...defaultOptions, prefix: 'flags', matchers: 'stage="prod"' };
  for (const expr of expressionsOf(options)) {
    expect(expr).not.toContain('launchdarkly_relay');
    for (const [selector] of expr.matchAll(/\b(?:flags|nodejs|process)_\w+(\{[^}]*\})?|\bup\{[^}]*\}/g)) {
      expect([expr, selector]).toEqual([expr, expect.stringContaining('stage="prod"')]);
    }
    if (/nodejs_|process_/.test(expr)) expect(expr).toMatch(/and on \(job, instance\) flags_up/);
  }
  const variables = JSON.stringify(grafanaDashboard(options).templating);
  expect(variables).toContain('label_values(flags_up{stage=\\"prod\\"}, job)');
  expect(variables).not.toContain('launchdarkly_relay');
});

test('a threshold of one’s own is in the rule, its text and the dashboard', () => {
  const options = readOptions({ threshold: ['data-stale=1200'] });
  const rule = alertRules(options).find(({ alert }) => alert === alertName('data-stale'))!;
  expect(rule.expr).toMatch(/ > 1200$/);
  expect(rule.annotations.summary).toContain('for 1200 s');
  const panel = JSON.stringify(panelsOf(options).find(({ title }) => title === 'Data age, oldest relay'));
  expect(panel).toContain('"color":"red","value":1200');
  expect(panel).toContain('Line at 1200: ');
});

test('an alert can be left out, and so are links to its runbook; other objectives have other burn rates', () => {
  const options = readOptions({ without: ['no-writer'], availability: '99.9', relays: '3' });
  const rules = alertRules(options);
  expect(rules.map(({ alert }) => alert)).not.toContain(alertName('no-writer'));
  expect(JSON.stringify(panelsOf(options))).not.toContain('#no-writer');
  expect(rules.find(({ alert }) => alert.endsWith('Budget1h'))!.expr).toContain(' > 1.44 ');
  expect(rules.find(({ alert }) => alert === alertName('too-few-healthy-tasks'))!.expr).toContain(' < 3)');
  expect(alertRules(defaultOptions).map(({ alert }) => alert)).not.toContain(alertName('too-few-healthy-tasks'));
});

test('panels have a text each, fill the grid from the left and do not overlap', () => {
  const panels = panelsOf(defaultOptions);
  const taken = new Set<string>();
  for (const { type, title, description, gridPos, targets } of panels) {
    expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        expect([title, taken.has(`${x}.${y}`)]).toEqual([title, false]);
        taken.add(`${x}.${y}`);
      }
    }
    if (type === 'row') continue;
    expect([title, (description ?? '').length > 10, (targets ?? []).length > 0]).toEqual([title, true, true]);
  }
  expect(panels.filter(({ type }) => type === 'row').map(({ title }) => title)).toEqual(
    [...page.matchAll(/^\| ([A-Z][^|]*\?) \|/gm)].slice(0, 5).map(([, text], index) => `${index + 1}. ${text}`),
  );
});

describe('the command', () => {
  const directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-monitoring-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  test('writes both files and prints their paths', async () => {
    const printed = await runDashboard([
      '--prometheus',
      '--out',
      directory,
      '--prefix',
      'my.flags',
      '--matchers',
      'job="relay"',
    ]);
    const names = ['prometheus-rules.yaml', 'grafana-dashboard.json'];
    expect(printed).toBe(names.map((name) => `${join(directory, name)}\n`).join(''));
    expect(readdirSync(directory).sort()).toEqual([...names].sort());
    // As relays read PROMETHEUS_PREFIX.
    const { groups } = parse(readFileSync(join(directory, 'prometheus-rules.yaml'), 'utf8'));
    expect(groups[0].rules[1].expr).toContain('absent(my_flags_up{job="relay"})');
  });

  test.each([
    [['--prometheus', 'prod'], '--prometheus takes no stage'],
    [['--prefix', 'x'], '--prefix needs --prometheus'],
    [['--prometheus', '--threshold', 'data-stael=3'], 'Unknown threshold data-stael: did you mean data-stale?'],
    [['--prometheus', '--threshold', 'data-stale'], '--threshold data-stale= is invalid: expected from 0 to 86400 (s)'],
    [['--prometheus', '--threshold', 'data-stale=-1'], '--threshold data-stale=-1 is invalid'],
    [['--prometheus', '--without', 'no-wirter'], 'Unknown alert no-wirter: did you mean no-writer?'],
    [['--prometheus', '--relays', '1.5'], '--relays=1.5 is invalid: expected a whole number from 1 to 1000'],
    [['--prometheus', '--availability', '100'], '--availability=100 is invalid'],
    [['--prometheus', '--matchers', 'job=relay'], '--matchers job=relay is invalid'],
    [['--prometheus', '--matchers', 'job="a"} or up{job="b"'], 'is invalid: expected matchers'],
    [['--prometheus', '--runbooks', 'wiki'], '--runbooks wiki is invalid'],
  ])('refuses %j', async (args, problem) => {
    await expect(runDashboard([...args, '--out', directory])).rejects.toThrow(problem);
  });
});
