import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import type { Widget } from '../../../../bin/dashboard/body.ts';
import { dashboardOf } from '../../../../bin/dashboard/template.ts';
import { metricUnits } from '../../../../lambda/canary/metrics.ts';
import { reportUnits } from '../../../../lambda/edge-reader/report.ts';
import { RelayDashboard } from '../../../../lib/infrastructure/observability/dashboard.ts';
import { logQueries } from '../../../../lib/infrastructure/observability/log-queries.ts';
import { canaryMetrics, relayMetric, relaySearch } from '../../../../lib/infrastructure/observability/metrics.ts';
import { howAreOthers } from '../../../../lib/infrastructure/observability/questions-elsewhere.ts';
import { isItUp } from '../../../../lib/infrastructure/observability/questions-of-flags.ts';
import { readStage } from '../../../../lib/infrastructure/parse-stage.ts';
import { relayMetrics } from '../../../../lib/monitoring/index.ts';
import { published } from '../../../../relay-task/status/published.ts';
import { createApp, full } from '../../../support/synthesise.ts';
import { alarmsIn, metricsOf, observe } from './observe.ts';

const root = join(import.meta.dirname, '../../../..');

let widgets: readonly Widget[];
let home: Template;
beforeAll(() => {
  ({ home } = observe(full));
  ({ widgets } = dashboardOf(readStage('full', full)));
});

interface Asked {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: readonly string[];
}

/** Every metric that a widget shows, by name or by search. */
const asked = (): Asked[] =>
  widgets.flatMap(({ properties }) =>
    (properties.metrics ?? []).flatMap((row): Asked[] => {
      const path = row.filter((part): part is string => typeof part === 'string');
      const { expression = '' } = (row.at(-1) ?? {}) as { expression?: string };
      const search = /^SEARCH\('\{"?([^",]+)"?,([\w,]+)\} MetricName="(\w+)"', '\w+', 60\)$/.exec(expression);
      if (search) return [{ namespace: search[1]!, name: search[3]!, dimensions: search[2]!.split(',') }];
      if (path.length === 0) return [];
      const [namespace, name, ...pairs] = path as [string, string, ...string[]];
      return [{ namespace, name, dimensions: pairs.filter((_, index) => index % 2 === 0) }];
    }),
  );

test('the dashboard’s sections are the questions of docs/operations.md, in order', () => {
  const headings = widgets.flatMap(({ properties }) => /^## (.*)$/m.exec(properties.markdown ?? '')?.[1] ?? []);
  expect(headings).toEqual([
    '1. Is it up?',
    '2. Who is connected?',
    '3. Is data fresh?',
    '4. What is failing?',
    '5. Is there enough capacity?',
    '6. What is in the log?',
    '7. How are relays in other regions?',
  ]);
  const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');
  for (const heading of headings) expect(page).toContain(`| ${heading.replace(/^\d\. /, '')} |`);
});

test('every relay metric in a widget is published by relays with exactly these dimensions', () => {
  const own = asked().filter(({ namespace }) => namespace === 'EdgeFlagRelay/full');
  expect(own.length).toBeGreaterThan(35);
  const tells = ({ name, dimensions }: Asked) =>
    published.some((row) => row.name === name && row.by.some((by) => by.join() === dimensions.join()));
  expect(own.filter((one) => !tells(one))).toEqual([]);
});

test('the infrastructure’s tables of metrics match what relays and the synthetic check publish', () => {
  const combinations = (by: readonly (readonly string[])[]) => by.map((one) => one.join()).sort();
  expect(Object.entries(relayMetrics).map(([name, by]) => [name, combinations(by)])).toEqual(
    Object.keys(relayMetrics).map((name) => [name, combinations(published.find((row) => row.name === name)?.by ?? [])]),
  );
  expect(Object.keys(metricUnits)).toEqual([...canaryMetrics]);
  const shown = asked().filter(({ namespace }) => namespace === 'EdgeFlagRelayCanary/full');
  expect(shown.map(({ name, dimensions }) => [name, dimensions])).toEqual([
    ['Success', []],
    ['StreamLatency', []],
    ['TableLatency', []],
    ['EdgeSuccess', []],
    ['EdgeLatency', []],
  ]);
});

test('every metric that edge functions write is in a widget or an alarm, and no other @heavy', () => {
  const isEdge = ({ namespace }: { namespace: string }) => namespace === 'EdgeFlagRelayEdge/full';
  const alarms = alarmsIn(observe(full).region('us-east-1')).flatMap(metricsOf);
  const looked = new Set([...asked(), ...alarms].filter(isEdge).map(({ name }) => name));
  const { flagKey, origins } = full.edge!;
  const variations = [...Object.keys(origins), 'fallback'].map((variant) => `${flagKey}=${variant}`);
  // The longest decision is shown where there is no synthetic check.
  const { DecisionTime: _, ...shown } = reportUnits;
  expect([...looked].sort()).toEqual([...Object.keys(shown), 'HeartbeatToEdge', ...variations].sort());
  const without = dashboardOf(readStage('full', { ...full, edge: { ...full.edge!, check: false } }));
  expect(JSON.stringify(without)).toContain('DecisionTime');
  expect(JSON.stringify(without)).not.toContain('EdgeSuccess');
});

test('every metric that relays publish is in a widget or an alarm', () => {
  const alarms = alarmsIn(home).flatMap(metricsOf);
  const looked = new Set([...asked(), ...alarms].map(({ name }) => name));
  expect(published.map(({ name }) => name).filter((name) => !looked.has(name))).toEqual([]);
});

test('a metric that relays do not publish with these dimensions fails synthesis', () => {
  const observed = { namespace: 'EdgeFlagRelay/x' };
  expect(() => relayMetric(observed, 'StreamsClosed', 'Sum')).toThrow('does not report StreamsClosed by nothing');
  expect(() => relayMetric(observed, 'LeasesHeld', 'Sum', { environment: 'a' })).toThrow('LeasesHeld by Environment');
  expect(() => relaySearch(observed, 'Up', 'Sum', 'Kind')).toThrow('does not report Up by Kind');
});

test('widgets fill rows of 24 and do not overlap @heavy', () => {
  const cells = new Set<string>();
  for (const { x, y, width, height } of widgets) {
    expect(x + width).toBeLessThanOrEqual(24);
    for (let column = x; column < x + width; column += 1) {
      for (let row = y; row < y + height; row += 1) {
        expect(cells.has(`${column} ${row}`)).toBe(false);
        cells.add(`${column} ${row}`);
      }
    }
  }
});

test('widgets read the metrics of other regions from those regions', () => {
  const regionsOf = (name: string) =>
    widgets.flatMap(({ properties }) =>
      (properties.metrics ?? []).flatMap((row) =>
        row[1] === name ? [(row.at(-1) as { region?: string }).region ?? properties.region] : [],
      ),
    );
  const replicas = ['eu-west-1', 'us-east-1', 'ap-northeast-1', 'us-west-2'];
  expect(regionsOf('ConsumedReadCapacityUnits')).toEqual(replicas);
  expect(new Set(regionsOf('Errors'))).toEqual(new Set(replicas));
  const cloudFront = widgets.find(({ properties }) => properties.title?.startsWith('CloudFront'));
  expect(JSON.stringify(cloudFront?.properties.metrics)).toContain('"region":"us-east-1"');
});

test('sums over tasks use a period of one minute, whatever time range is shown', () => {
  const [dashboard] = Object.values(home.findResources('AWS::CloudWatch::Dashboard'));
  expect(JSON.stringify(dashboard!.Properties.DashboardBody)).toContain('\\"periodOverride\\":\\"inherit\\"');
  expect(dashboard!.Properties.DashboardName).toBe('edge-flag-relay-full');
  for (const { properties, type } of widgets) {
    if (type !== 'metric') continue;
    for (const row of properties.metrics ?? []) {
      const [namespace] = row;
      const { expression = '', period } = row.at(-1) as { expression?: string; period?: number };
      // Load balancers report sums: the error budget has windows of its own.
      const ofBudget = namespace === 'AWS/ApplicationELB' || expression.includes('FILL(refused0, 0)');
      if (!ofBudget) expect([properties.title, period]).toEqual([properties.title, 60]);
    }
  }
});

describe('relays in other regions', () => {
  const own = () => widgets.filter(({ properties }) => properties.title?.startsWith('us-west-2: '));

  test('have widgets that read everything in their region', () => {
    expect(own().map(({ properties }) => properties.title?.replace('us-west-2: ', ''))).toEqual([
      'now',
      'availability',
      'relays by version',
      'open streams by kind',
      'data age, oldest relay',
      'what is wrong',
      'CPU, memory, network',
      'recent errors and warnings',
    ]);
    for (const { type, properties } of own()) {
      if (type === 'log') expect(properties.region).toBe('us-west-2');
      for (const row of properties.metrics ?? []) {
        expect([properties.title, row.at(-1)]).toEqual([
          properties.title,
          // Math on metrics of that region has none itself.
          expect.objectContaining(
            properties.title?.endsWith('availability') && row.length === 1 ? {} : { region: 'us-west-2' },
          ),
        ]);
      }
    }
  });

  test('and the edge have their paging alarms at the top, by their ARNs', () => {
    const { properties } = widgets.find(({ properties: { title } }) => title === 'Alarms that page')!;
    const named = (region: string, name: string) =>
      `arn:aws:cloudwatch:${region}:123456789012:alarm:edge-flag-relay-full${name}`;
    expect(properties.alarms).toEqual([
      'edge-flag-relay-full-impaired',
      named('us-west-2', '-impaired'),
      ...['eu-west-1', 'us-east-1', 'ap-northeast-1', 'us-west-2'].map((region) =>
        named(region, `-${region}-edge-impaired`),
      ),
      named('us-east-1', '_edge-impaired'),
    ]);
  });

  test('are left out where there are none', () => {
    expect(howAreOthers([])).toEqual([]);
  });
});

test('the error budget is computed from all load balancers, for 5 minutes and for 30 days', () => {
  const of = (title: string) => widgets.find(({ properties }) => properties.title === `Error budget: ${title}`)!;
  const { metrics: now = [], ...rate } = of('burn rate').properties as unknown as Budget;
  expect(rate).toMatchObject({ period: 300 });
  expect(rate.annotations.horizontal.map(({ value }) => value)).toEqual([14.4, 6]);
  const failed = '(FILL(refused0, 0) + FILL(refused1, 0) + FILL(failed0, 0) + FILL(failed1, 0))';
  const all = '(FILL(requests0, 0) + FILL(requests1, 0) + FILL(refused0, 0) + FILL(refused1, 0))';
  expect(now[0]?.at(-1)).toMatchObject({ expression: `${failed} / ${all} / 0.0001` });
  const { metrics: month = [], ...used } = of('used in the last 30 days').properties as unknown as Budget;
  expect(used).toMatchObject({ start: '-P30D' });
  expect(month[0]?.at(-1)).toMatchObject({
    expression: `100 * RUNNING_SUM(${failed}) / (0.0001 * SUM(${all}))`,
    period: 86_400,
  });
});

interface Budget {
  readonly metrics?: readonly (readonly unknown[])[];
  readonly annotations: { readonly horizontal: readonly { readonly value: number }[] };
}

test('the network panel has what load balancers pass on and what each relay sends', () => {
  const { properties } = widgets.find(({ properties: { title } }) => title === 'Network')!;
  const rows = properties.metrics ?? [];
  expect(rows.flatMap((row) => (row.length > 1 ? [row.slice(0, 2).join(' ')] : []))).toEqual([
    'AWS/ApplicationELB ProcessedBytes',
    'AWS/ApplicationELB ProcessedBytes',
    'ECS/ContainerInsights NetworkTxBytes',
    'ECS/ContainerInsights NetworkTxBytes',
  ]);
  expect(rows.flatMap((row) => (row.at(-1) as { expression?: string }).expression ?? [])).toEqual([
    'bytes0 / 60',
    'bytes1 / 60',
  ]);
});

test('a router with many rules stays within CloudWatch’s limits: 500 metrics of a widget, 2,500 of a dashboard @heavy', () => {
  const rules = Array.from({ length: 100 }, (_, index) => ({
    name: `rule-${index}`,
    ...{ flagKey: `flag-${index}`, when: { path: `/${index}/*` } },
    variations: { on: { headers: { 'x-a': 'b' } }, off: {} },
  }));
  const stage = { ...full, edge: { ...full.edge!, logRegions: 'all' as const } };
  const known = readStage('full', stage);
  const { widgets: many } = dashboardOf({ ...known, edge: { ...known.edge!, rules: rules as never } });
  const counts = many.map(({ properties }) => properties.metrics?.length ?? 0);
  const decided = many.filter(({ properties }) => properties.title?.startsWith('Edge: decisions by variation'));
  expect(decided.length).toBeGreaterThan(1);
  expect(decided[0]!.properties.title).toMatch(/, 1 of 3, \d+ more in Metrics$/);
  expect(Math.max(...counts)).toBeLessThanOrEqual(500);
  expect(Math.max(...counts)).toBeGreaterThan(400);
  expect(counts.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(2_500);
  expect(many.length).toBeLessThanOrEqual(500);
});

test('more alarms than a widget can show are shown in several', () => {
  const stack = new Stack(createApp(), 'Many', { env: { region: 'eu-west-1' } });
  const alarms = Array.from({ length: 205 }, (_, index) =>
    Alarm.fromAlarmArn(stack, `A${index}`, `arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a${index}`),
  );
  const rows = isItUp({ ...ALONE, alarms });
  const shown = rows
    .flat()
    .flatMap((widget) => widget.toJson() as { type: string; properties: { alarms?: string[] } }[]);
  const counts = shown.filter(({ type }) => type === 'alarm').map(({ properties }) => properties.alarms?.length);
  // AWS: at most 100 alarms in a widget.
  expect(counts).toEqual([100, 100, 5]);
});

/** A relay without load balancers, insights, replicas and edge. */
const ALONE = {
  ...{ stage: 'alone', namespace: 'EdgeFlagRelay/alone', environments: [], tableName: 'flags', tasks: 1 },
  ...{ clusterName: 'c', serviceName: 's', logGroupName: '/l', homeRegion: 'eu-west-1', replicaRegions: [] },
  ...{ containerInsights: false, loadBalancers: [], certificateArns: [], writes: false, canary: false },
};

test('the dashboard of a relay without load balancers, insights, replicas and edge omits them', () => {
  const stack = new Stack(createApp(), 'Alone', { env: { region: 'eu-west-1' } });
  new RelayDashboard(stack, 'Dashboard', { relay: { observed: () => ALONE } });
  const body = JSON.stringify(Template.fromStack(stack).toJSON());
  for (const absent of [
    'ApplicationELB',
    'ContainerInsights',
    'ReplicationLatency',
    'CloudFront',
    'Canary',
    'LeasesHeld',
  ]) {
    expect(body).not.toContain(absent);
  }
  expect(body).toContain('StreamsOpen');
});

describe('the saved queries', () => {
  const sources = readdirSync(join(root, 'relay-task'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => readFileSync(join(root, 'relay-task', path), 'utf8'))
    .join('\n');

  test.each(logQueries.map(({ name, lines }) => [name, lines] as const))(
    'match messages and fields that relays log: %s',
    (_, lines) => {
      const text = lines.join('\n');
      for (const [, pattern] of text.matchAll(/message like \/([^/]+)\//g)) {
        for (const part of pattern!.split('|')) expect(sources).toContain(part);
      }
      for (const field of ['environment', 'reason', 'prefix', 'why', 'item', 'items', 'host'].filter((one) =>
        text.includes(one),
      )) {
        expect(sources).toMatch(new RegExp(`\\b${field}\\b`));
      }
    },
  );

  test('are saved for the log group of the stage', () => {
    const queries = Object.values(home.findResources('AWS::Logs::QueryDefinition'));
    expect(queries.map(({ Properties }) => Properties.Name)).toEqual(
      logQueries.map(({ name }) => `edge-flag-relay/full/${name}`),
    );
    for (const { Properties } of queries) expect(Properties.LogGroupNames).toEqual(['/edge-flag-relay/full/relay']);
  });
});
