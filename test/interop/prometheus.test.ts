/** Prometheus's own tool on the alert rules: they are valid, and each alert fires when it must and not when it must not. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { grafanaDashboard } from '../../bin/monitoring/grafana.ts';
import { defaultOptions } from '../../bin/monitoring/options.ts';
import { type AlertRule, alertIds, alertName, alertRules, rulesYaml } from '../../bin/monitoring/rules.ts';
import { metricsOfRelay } from '../support/monitored-relay.ts';
import { closeAfterEach } from '../support/opened.ts';
import { type AlertCase, cases, type Series } from './prometheus-cases.ts';

const { opened } = closeAfterEach();
const root = join(import.meta.dirname, '../..');
const promtool = join(root, '.cache/interop/promtool');
const grafanaSchema = join(root, '.cache/interop/grafana-schema');
const options = { ...defaultOptions, relays: 2 };

const directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-rules-'));
afterAll(() => rmSync(directory, { recursive: true }));

interface Ended {
  readonly code: number;
  readonly output: string;
}

/** Runs promtool in the directory of the files. */
async function run(...args: string[]): Promise<Ended> {
  try {
    const { stdout, stderr } = await promisify(execFile)(promtool, args, { cwd: directory });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, output: stdout + stderr };
  }
}
const write = (name: string, content: unknown) => {
  writeFileSync(join(directory, name), typeof content === 'string' ? content : stringify(content, { lineWidth: 0 }));
  return name;
};

test('every alert has series on which it must fire, and series on which it must not', () => {
  expect(Object.keys(cases).sort()).toEqual([...alertIds].sort());
  for (const [id, { quiet }] of Object.entries(cases)) expect([id, quiet.length > 0]).toEqual([id, true]);
});

/** A test file of promtool on one rule; the texts have a test of their own. */
function testFile(id: string, { fires, labels = {}, at, notYet, quiet, interval = '30s' }: AlertCase): string {
  const { annotations: _, ...rule } = ruleOf(id);
  write(`${id}.rules.yaml`, { groups: [{ name: 'one', rules: [rule] }] });
  const expected = [{ exp_labels: { ...rule.labels, ...labels } }];
  const seriesOf = (series: Series) => Object.entries(series).map(([name, values]) => ({ series: name, values }));
  const asked = (time: string, alerts: readonly unknown[]) => ({
    eval_time: time,
    alertname: rule.alert,
    exp_alerts: alerts,
  });
  const minutes = Number.parseInt(at, 10);
  const looks = [minutes / 4, minutes / 2, minutes - 5, minutes - 1, minutes].map((one) => `${Math.floor(one)}m`);
  return write(`${id}.test.yaml`, {
    rule_files: [`${id}.rules.yaml`],
    evaluation_interval: '1m',
    tests: [
      {
        name: `${id} fires`,
        interval,
        input_series: seriesOf(fires),
        alert_rule_test: [asked(at, expected), ...(notYet === undefined ? [] : [asked(notYet, [])])],
      },
      ...quiet.map((series, index) => ({
        name: `${id} is quiet ${index + 1}`,
        interval,
        input_series: seriesOf(series),
        alert_rule_test: looks.map((time) => asked(time, [])),
      })),
    ],
  });
}

/** A relay's metrics as Prometheus would have them if they stayed like this. */
function seriesIn(metrics: string): { series: string; values: string }[] {
  const samples = [...metrics.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)];
  return samples.map(([, name, labels, value]) => ({
    series: `${name}{${[labels, 'job="relay"', 'instance="a"'].filter(Boolean).join(', ')}}`,
    values: `${value}+0x40`,
  }));
}

/** With the variables of the dashboard set to all. */
const panelQueries = (): string[] => {
  const panels = grafanaDashboard(options).panels as { readonly targets?: readonly { readonly expr: string }[] }[];
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  return expressions.map((expr) => expr.replaceAll('$__rate_interval', '1m').replace(/\$(job|env|instance)\b/g, '.*'));
};

function ruleOf(id: string): AlertRule {
  return alertRules(options).find(({ alert }) => alert === alertName(id))!;
}

if (existsSync(promtool)) {
  describe("Prometheus's promtool", () => {
    test('finds the rules valid, for defaults and for other settings @heavy', async () => {
      const other = { ...options, prefix: 'my_flags', matchers: 'job="relay", stage=~"prod|test"' };
      for (const text of [rulesYaml(defaultOptions), rulesYaml(other)]) {
        const { code, output } = await run('check', 'rules', '--lint=all', '--lint-fatal', write('rules.yaml', text));
        expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining('SUCCESS') });
      }
      const broken = rulesYaml(defaultOptions).replace('sum by (job) (', 'sum by (job) ((');
      expect((await run('check', 'rules', write('broken.yaml', broken))).code).not.toBe(0);
    });

    test('parses every query of the dashboard @heavy', async () => {
      const rules = panelQueries().map((expr, index) => ({ record: `query_${index}`, expr }));
      expect(rules.length).toBeGreaterThan(35);
      const file = write('dashboard.yaml', { groups: [{ name: 'dashboard', rules }] });
      const { code, output } = await run('check', 'rules', file);
      expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining(`${rules.length} rules found`) });
    });

    test.each(Object.entries(cases))('%s fires when it must, and not otherwise @heavy', async (id, one) => {
      const { code, output } = await run('test', 'rules', testFile(id, one));
      expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining('SUCCESS') });
    });

    test('raises no alert on a relay that is well, and shows its metrics on the dashboard @heavy', async () => {
      const metrics = await metricsOfRelay({ opened });
      // How long the event loop is blocked is the machine's doing.
      const series = seriesIn(metrics).map((one) =>
        one.series.startsWith('nodejs_eventloop_lag_') ? { ...one, values: '0.01x80' } : one,
      );
      expect(series.length).toBeGreaterThan(100);
      write('well.rules.yaml', rulesYaml(defaultOptions));
      const names = alertRules(defaultOptions).map(({ alert }) => alert);
      const reported = new Set(series.map((one) => one.series.replace(/\{.*/, '')));
      // A counter with labels has no values before something happened, such as a failure.
      const shown = panelQueries().filter((expr) => {
        const used = expr.replace(/"[^"]*"/g, '').match(/\b(launchdarkly_relay|nodejs|process|ALERTS)\w*/g) ?? [];
        const asked = [...expr.matchAll(/\w+="\w+"/g)].map(([matcher]) => matcher);
        return used.every((name) => reported.has(name)) && asked.every((matcher) => metrics.includes(matcher));
      });
      expect(shown.length).toBeGreaterThan(20);
      const file = write('well.test.yaml', {
        rule_files: ['well.rules.yaml'],
        evaluation_interval: '1m',
        tests: [
          {
            interval: '30s',
            input_series: series,
            alert_rule_test: names.map((alertname) => ({ eval_time: '19m', alertname, exp_alerts: [] })),
            promql_expr_test: shown.map((expr) => ({
              expr: `count(${expr}) > bool 0`,
              eval_time: '19m',
              exp_samples: [{ labels: '{}', value: 1 }],
            })),
          },
        ],
      });
      const { code, output } = await run('test', 'rules', file);
      expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining('SUCCESS') });
    });

    test('fills in the texts of an alert @heavy', async () => {
      write('texts.rules.yaml', rulesYaml(options));
      const { fires, at } = cases['upstream-refused'];
      const expected = {
        exp_labels: { severity: 'warning', service: 'edge-flag-relay', job: 'relay', env: 'shop' },
        exp_annotations: {
          summary: 'shop: LaunchDarkly rejects the SDK key.',
          description: 'Job relay: 1. Fires when above 0 for 2 minutes.',
          runbook_url: `${options.runbooks}#upstream-refused`,
        },
      };
      const file = write('texts.test.yaml', {
        rule_files: ['texts.rules.yaml'],
        evaluation_interval: '1m',
        tests: [
          {
            interval: '30s',
            input_series: Object.entries(fires).map(([series, values]) => ({ series, values })),
            alert_rule_test: [{ eval_time: at, alertname: alertName('upstream-refused'), exp_alerts: [expected] }],
          },
        ],
      });
      const { code, output } = await run('test', 'rules', file);
      expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining('SUCCESS') });
    });
  });
} else
  test.skip("Prometheus's promtool on the rules (needs promtool: PROMTOOL=1 bash test/interop/install.sh)", () => {});

if (existsSync(grafanaSchema)) {
  test("the dashboard is valid by Grafana's schemas of dashboards, panels and queries @heavy", async () => {
    const right = grafanaDashboard(options);
    const found = (documents: object) => {
      const child = promisify(execFile)(grafanaSchema);
      child.child.stdin?.end(JSON.stringify(documents));
      return child.then(({ stdout }) => JSON.parse(stdout));
    };
    const wrong = JSON.parse(JSON.stringify(right).replace('"drawStyle":"line"', '"drawstyle":"line"'));
    expect(await found({ right, wrong })).toEqual({ right: '', wrong: expect.stringContaining("'drawstyle'") });
  });
} else test.skip("Grafana's schemas on the dashboard (needs what test/interop/install.sh builds)", () => {});
