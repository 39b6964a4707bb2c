import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Template } from 'aws-cdk-lib/assertions';
import { metricUnits } from '../../../../lambda/canary/metrics.ts';
import { homeRows } from '../../../../lib/infrastructure/observability/alarm-rows.ts';
import { heartbeatsOf } from '../../../../lib/infrastructure/observability/observed.ts';
import { settableThresholds } from '../../../../lib/infrastructure/observability/thresholds.ts';
import { heartbeatSettings } from '../../../../relay-task/config/settings-heartbeat.ts';
import { published } from '../../../../relay-task/status/published.ts';
import { full } from '../../../support/synthesise.ts';
import { alarmsIn, type CfnAlarm, metricsOf, type Observability, observe, pages, tickets } from './observe.ts';

const page = readFileSync(join(import.meta.dirname, '../../../../docs/operations.md'), 'utf8');

const heartbeats = { HEARTBEAT_FLAG: 'relay-heartbeat', HEARTBEAT_REPLICAS: 'us-west-2' };

let all: Observability;
let templates: [region: string, Template][];
let everyAlarm: CfnAlarm[];
beforeAll(() => {
  all = observe({ ...full, relay: { ...full.relay, variables: { ...full.relay?.variables, ...heartbeats } } });
  templates = [
    ['eu-west-1', all.home],
    ...['eu-west-1', 'us-east-1', 'ap-northeast-1', 'us-west-2'].map((region): [string, Template] => [
      region,
      all.region(region),
    ]),
    ['us-east-1', all.edge],
  ];
  everyAlarm = templates.flatMap(([, template]) => alarmsIn(template));
});

/** The anchors of the runbooks' headings. */
const runbooks = () => {
  const from = page.indexOf('\n## Alarms\n');
  const until = page.indexOf('\n## ', from + 4);
  return [...page.slice(from, until).matchAll(/^### ([\w-]+)$/gm)].map(([, anchor]) => anchor!);
};
const anchorOf = (text: string) =>
  /Runbook: docs\/operations\.md#([\w-]+) Dashboard: https:\/\/console\.aws\.amazon\.com\/cloudwatch\/home\?region=eu-west-1#dashboards\/dashboard\/edge-flag-relay-full$/.exec(
    text,
  )?.[1];
const compositesIn = (template: Template) =>
  Object.values(template.findResources('AWS::CloudWatch::CompositeAlarm')).map(({ Properties }) => Properties);
/** The windows of burn rates notify nobody, but the alarms on both of them do. */
const isWindow = ({ AlarmName }: CfnAlarm) => /-error-budget-\d+[hd]-(long|short)$/.test(AlarmName);

const ids = (template: Template) =>
  alarmsIn(template).map(({ AlarmName }) => AlarmName.replace(/^edge-flag-relay-full-/, ''));

test('every alarm notifies its topic when it starts and ends, and defines how missing data is treated', () => {
  expect(everyAlarm.length).toBeGreaterThan(40);
  for (const [region, template] of templates) {
    const topic = tickets.replace('eu-west-1', region);
    for (const one of compositesIn(template)) {
      const told = one.AlarmName.endsWith('impaired') ? pages.replace('eu-west-1', region) : topic;
      expect(one).toMatchObject({ AlarmActions: [told], OKActions: [told] });
    }
    for (const alarm of alarmsIn(template)) {
      const actions = isWindow(alarm) ? undefined : [topic];
      expect(alarm).toMatchObject({ ...(actions && { AlarmActions: actions, OKActions: actions }) });
      expect(alarm.AlarmActions).toEqual(actions);
      expect(['breaching', 'notBreaching']).toContain(alarm.TreatMissingData);
      const periods = [alarm.Period, ...(alarm.Metrics ?? []).map(({ MetricStat }) => MetricStat?.Period)];
      // CloudWatch: 10, 20, 30 or whole minutes, and at most one day in total.
      for (const period of periods.filter((one) => one !== undefined)) {
        expect(period % 60).toBe(0);
        expect(period * alarm.EvaluationPeriods).toBeLessThanOrEqual(86_400);
      }
      expect(alarm.DatapointsToAlarm ?? 1).toBeLessThanOrEqual(alarm.EvaluationPeriods);
    }
  }
});

test('alarm names are unique, and no alarm uses metrics of another region', () => {
  // Names contain the region or the word edge, since a region may have three stacks.
  const all = [...everyAlarm, ...templates.flatMap(([, template]) => compositesIn(template))];
  expect(new Set(all.map(({ AlarmName }) => AlarmName)).size).toBe(all.length);
  for (const [, template] of templates) expect(JSON.stringify(alarmsIn(template))).not.toContain('"Region":"');
});

test('every alarm has a runbook, and every runbook an alarm', () => {
  const composites = templates.flatMap(([, template]) => compositesIn(template));
  const [rule] = Object.values(all.home.findResources('AWS::Events::Rule')).filter(
    ({ Properties }) => Properties.EventPattern,
  );
  const message = JSON.stringify(rule!.Properties.Targets[0].InputTemplate ?? rule!.Properties.Targets[0].Input);
  const anchors = [
    ...everyAlarm.map(({ AlarmDescription }) => anchorOf(AlarmDescription)),
    ...composites.map(({ AlarmDescription }) => anchorOf(AlarmDescription)),
    /Runbook: docs\/operations\.md#([\w-]+)/.exec(message)?.[1],
  ];
  expect([...new Set(anchors)].sort()).toEqual(runbooks().sort());
});

test('runbooks link to parts of the page that exist', () => {
  const headings = [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading!.toLowerCase().replaceAll(' ', '-'));
  const known = new Set([...runbooks(), ...headings]);
  const links = [...page.matchAll(/\]\(#([\w-]+)\)/g)].map(([, anchor]) => anchor!);
  expect(links.length).toBeGreaterThan(20);
  expect(links.filter((anchor) => !known.has(anchor))).toEqual([]);
});

test('every relay metric in an alarm is published by relays with exactly these dimensions', () => {
  const asked = everyAlarm.flatMap(metricsOf).filter(({ namespace }) => namespace === 'EdgeFlagRelay/full');
  expect(new Set(asked.map(({ name }) => name)).size).toBeGreaterThan(15);
  const tells = ({ name, dimensions }: { name: string; dimensions: readonly string[] }) =>
    published.some((row) => row.name === name && row.by.some((by) => by.join() === dimensions.join()));
  expect(asked.filter((one) => !tells(one))).toEqual([]);
});

test('every metric of the synthetic check in an alarm is published by it', () => {
  const asked = everyAlarm.flatMap(metricsOf).filter(({ namespace }) => namespace === 'EdgeFlagRelayCanary/full');
  expect(asked.map(({ name }) => name).sort()).toEqual(['DifferingFlags', 'EdgeSuccess', 'Success']);
  for (const { name, dimensions } of asked)
    expect([Object.keys(metricUnits).includes(name), dimensions]).toEqual([true, []]);
});

// AWS: the dimensions of each service's metrics; any other combination has no data.
const dimensionsOfAws: Readonly<Record<string, readonly string[]>> = {
  HealthyHostCount: ['LoadBalancer', 'TargetGroup'],
  UnHealthyHostCount: ['LoadBalancer', 'TargetGroup'],
  RequestCount: ['LoadBalancer', 'TargetGroup'],
  HTTPCode_Target_5XX_Count: ['LoadBalancer', 'TargetGroup'],
  HTTPCode_ELB_5XX_Count: ['LoadBalancer'],
  RejectedConnectionCount: ['LoadBalancer'],
  CPUUtilization: ['ClusterName', 'ServiceName'],
  MemoryUtilization: ['ClusterName', 'ServiceName'],
  RunningTaskCount: ['ClusterName', 'ServiceName'],
  DesiredTaskCount: ['ClusterName', 'ServiceName'],
  ReplicationLatency: ['ReceivingRegion', 'TableName'],
  ReadThrottleEvents: ['TableName'],
  WriteThrottleEvents: ['TableName'],
  Errors: ['FunctionName'],
  Invocations: ['FunctionName'],
  '5xxErrorRate': ['DistributionId', 'Region'],
  DaysToExpiry: ['CertificateArn'],
};

test('every AWS metric in an alarm has the dimensions with which AWS publishes it', () => {
  const asked = everyAlarm.flatMap(metricsOf).filter(({ namespace }) => !namespace.startsWith('EdgeFlagRelay'));
  for (const { name, dimensions } of asked)
    expect([name, [...dimensions].sort()]).toEqual([name, dimensionsOfAws[name]]);
  expect(new Set(asked.map(({ name }) => name))).toEqual(new Set(Object.keys(dimensionsOfAws)));
});

test('alarms that affect users page through one alarm, and the others do not', () => {
  const paging = partsOf(all.home, 'edge-flag-relay-full-impaired');
  expect(paging.map((name) => name.replace('edge-flag-relay-full-', '')).sort()).toEqual([
    'canary',
    'data-stale',
    'error-budget-1h',
    'error-budget-6h',
    'no-data',
    'no-writer',
    'too-few-healthy-tasks-internal',
    'too-few-healthy-tasks-public',
  ]);
  const atEdge = partsOf(all.edge, 'edge-flag-relay-full_edge-impaired');
  expect(atEdge).toEqual(['edge-flag-relay-full-edge-edge-check']);
  const inRegion = partsOf(all.region('us-west-2'), 'edge-flag-relay-full-us-west-2-edge-impaired');
  expect(inRegion.map((name) => name.replace('edge-flag-relay-full-us-west-2-', ''))).toEqual([
    ...['viewer-request', 'origin-request', 'viewer-response'].map(
      (kind) => `edge-errors-edge-flag-relay-full-${kind}`,
    ),
    'edge-fallbacks',
  ]);
  const marked = [...page.matchAll(/^### ([\w-]+)\n\n\*Pages\.\*/gm)].map(([, anchor]) => anchor!);
  const names = [...paging, ...atEdge, ...inRegion].join(' ');
  // One runbook for all burn rates.
  expect(marked.filter((anchor) => anchor !== 'impaired' && !names.includes(anchor))).toEqual([]);
  for (const name of names.split(' ')) expect(marked.some((anchor) => name.includes(anchor))).toBe(true);
});

/** The names of the alarms that a composite alarm combines. */
function partsOf(template: Template, name: string): string[] {
  const alarms = { ...template.findResources('AWS::CloudWatch::Alarm') };
  const composites = template.findResources('AWS::CloudWatch::CompositeAlarm');
  const [composite] = Object.values(composites).filter(({ Properties }) => Properties.AlarmName === name);
  const rule = JSON.stringify(composite?.Properties.AlarmRule ?? '');
  return [...rule.matchAll(/"Fn::GetAtt":\["(\w+)","Arn"\]/g)].map(
    ([, id]) => (alarms[id!] ?? composites[id!])!.Properties.AlarmName,
  );
}

test('burn rates of the error budget are those of the SRE workbook, with both windows', () => {
  const [home] = templates;
  const composites = compositesIn(home![1]).filter(({ AlarmName }) => AlarmName.includes('error-budget'));
  // Google, The Site Reliability Workbook, chapter 5: 2 % of the budget in an hour, 5 % in six, 10 % in a day; the short window is a twelfth.
  const expected = [
    ['1h', 3_600, 0.02],
    ['6h', 21_600, 0.05],
    ['1d', 86_400, 0.1],
  ] as const;
  expect(composites.map(({ AlarmName }) => AlarmName)).toEqual(
    expected.map(([name]) => `edge-flag-relay-full-error-budget-${name}`),
  );
  for (const [name, seconds, share] of expected) {
    const id = `edge-flag-relay-full-error-budget-${name}`;
    const windows = alarmsIn(home![1]).filter(({ AlarmName }) => AlarmName.startsWith(id));
    const threshold = (share * 30 * 86_400 * 0.01) / seconds;
    expect(windows.map((one) => [one.AlarmName, one.Metrics?.[1]?.MetricStat?.Period])).toEqual([
      [`${id}-long`, seconds],
      [`${id}-short`, seconds / 12],
    ]);
    for (const { Threshold, Metrics } of windows) {
      expect(Threshold).toBeCloseTo(threshold, 9);
      const [{ Expression } = {}] = Metrics ?? [];
      const failed = '(FILL(refused0, 0) + FILL(refused1, 0) + FILL(failed0, 0) + FILL(failed1, 0))';
      const asked = '(FILL(requests0, 0) + FILL(requests1, 0) + FILL(refused0, 0) + FILL(refused1, 0))';
      expect(Expression).toBe(`IF(${failed} >= 10, 100 * ${failed} / ${asked}, 0)`);
    }
    expect(partsOf(home![1], id)).toEqual(windows.map(({ AlarmName }) => AlarmName));
    expect(page).toContain(`= ${Number(threshold.toFixed(6))} % |`);
  }
});

/** Metric math of an alarm on one value per metric; what is absent has no data. AWS: "Using metric math". */
function resultOf({ Metrics }: CfnAlarm, values: Readonly<Record<string, number>>): number {
  const [{ Expression = '' } = {}] = Metrics ?? [];
  const script = Expression.replaceAll(/FILL\((\w+), 0\)/g, '(values.$1 ?? 0)').replace(
    /^IF\((.*), (.*), 0\)$/,
    '($1) ? $2 : 0',
  );
  return new Function('values', `return ${script}`)(values);
}

test.each<[string, Record<string, number>, boolean]>([
  ['0.15 % of requests fail', { requests0: 400_000, requests1: 200_000, failed0: 500, refused1: 400 }, true],
  ['0.14 % of requests fail', { requests0: 400_000, requests1: 200_000, failed0: 500, refused1: 340 }, false],
  ['nine of twenty requests fail', { requests0: 20, failed0: 9 }, false],
  ['ten of twenty requests fail', { requests0: 20, failed0: 10 }, true],
  ['the load balancer has no relay for any request', { refused0: 50 }, true],
  ['nothing is requested', {}, false],
])('the fastest burn rate: %s', (_, values, fires) => {
  const windows = alarmsIn(all.home).filter(({ AlarmName }) => AlarmName.includes('error-budget-1h-'));
  expect(windows.map((one) => resultOf(one, values) > one.Threshold)).toEqual([fires, fires]);
});

describe('a stage with settings of its own', () => {
  const value = 7;
  const runbooks = 'https://wiki.example.com/relay';
  const idOf = ({ AlarmDescription }: CfnAlarm) => AlarmDescription.split(`${runbooks}#`)[1];
  let found: CfnAlarm[];
  beforeAll(() => {
    const thresholds = Object.fromEntries(Object.keys(settableThresholds).map((name) => [name, value]));
    const stage = observe({ ...full, alarms: { ...full.alarms, thresholds, runbooks, availabilityPercent: 99.9 } });
    found = [stage.home, stage.region('eu-west-1'), stage.region('us-east-1'), stage.edge].flatMap(alarmsIn);
  });

  test('has alarms that link to its own page of runbooks @heavy', () => {
    for (const { AlarmDescription } of found) {
      expect(AlarmDescription).toMatch(/Runbook: https:\/\/wiki\.example\.com\/relay#[\w-]+$/);
    }
  });

  test('has the burn rates of its own objective @heavy', () => {
    expect(found.filter(isWindow).map(({ Threshold }) => Threshold)).toEqual([1.44, 1.44, 0.6, 0.6, 0.3, 0.3]);
  });

  test.each(Object.keys(settableThresholds).filter((name) => name !== 'deployment-5xx'))(
    'has its own threshold of %s, and the alarm says which one is in force @heavy',
    (name) => {
      const own = found.filter((alarm) => idOf(alarm) === name);
      expect(own.length).toBeGreaterThan(0);
      for (const { Threshold, AlarmDescription } of own) {
        expect(Threshold).toBe(value);
        expect(AlarmDescription).toMatch(/\b7\b/);
      }
    },
  );

  test('has the default thresholds of alarms that it does not name, and no alarm has a placeholder in its text @heavy', () => {
    for (const { AlarmName, AlarmDescription } of [...everyAlarm, ...found]) {
      expect([AlarmName, AlarmDescription]).toEqual([AlarmName, expect.not.stringContaining('{')]);
    }
    const unnamed = (alarm: CfnAlarm) => !isWindow(alarm) && !Object.hasOwn(settableThresholds, idOf(alarm) ?? '');
    const before = new Map(everyAlarm.map(({ AlarmName, Threshold }) => [AlarmName, Threshold]));
    const kept = found.filter(unnamed);
    expect(kept.length).toBeGreaterThan(10);
    for (const { AlarmName, Threshold } of kept)
      expect([AlarmName, Threshold]).toEqual([AlarmName, before.get(AlarmName)]);
  });
});

test('only alarms that treat missing data as a failure fire when data is missing', () => {
  const breaching = alarmsIn(all.home).filter(({ TreatMissingData }) => TreatMissingData === 'breaching');
  expect(breaching.map(({ AlarmName }) => AlarmName.replace('edge-flag-relay-full-', '')).sort()).toEqual([
    'canary',
    'no-metrics',
    'too-few-healthy-tasks-internal',
    'too-few-healthy-tasks-public',
  ]);
});

test('too-few-healthy-tasks fires when fewer relays are ready than always run', () => {
  const tasks = all.home.findResources('AWS::CloudWatch::Alarm', {
    Properties: { AlarmName: 'edge-flag-relay-full-too-few-healthy-tasks-internal' },
  });
  const [{ Properties }] = Object.values(tasks) as [{ Properties: CfnAlarm }];
  // 20,000 expected streams, provisioned for twice as many at 5,000 a task.
  expect(Properties).toMatchObject({ Threshold: 8, ComparisonOperator: 'LessThanThreshold', Statistic: 'Minimum' });
});

const kinds = ['upstream-disconnected', 'upstream-refused', 'key-problem', 'unreadable-items', 'big-segments-stale'];

test('each environment has its own alarms', () => {
  for (const kind of kinds) {
    // And those that auto-configuration brings, together.
    const found = ids(all.home).filter((id) => id.startsWith(kind));
    expect(found).toEqual([`${kind}-production`, `${kind}-staging`, kind]);
  }
});

test('environments without alarms of their own, such as one that is only in SSM, have alarms together', () => {
  const { relay, ...stage } = full;
  const { secrets: _, ...plain } = relay!;
  const { home } = observe({ ...stage, relay: plain, edge: undefined });
  for (const kind of kinds) {
    const [alarm] = alarmsIn(home).filter(({ AlarmName }) => AlarmName === `edge-flag-relay-full-${kind}`);
    expect(alarm!.AlarmDescription).toMatch(/^At least one other environment: /);
    const fires = (values: Record<string, number>) => resultOf(alarm!, values) > alarm!.Threshold;
    // Two relays with a problem of both environments that have alarms, and then a third environment.
    expect(fires({ all: 4, own0: 2, own1: 2 })).toBe(false);
    expect(fires({ all: 5, own0: 2, own1: 2 })).toBe(true);
    expect(fires({ all: 1, own0: 0, own1: 0 })).toBe(true);
    // CloudWatch is told of 200 environments: one beyond them has no metric.
    expect(fires({ all: 1 })).toBe(true);
    expect(fires({})).toBe(false);
    for (const { MetricStat } of alarm!.Metrics!) expect(MetricStat?.Stat ?? 'Sum').toBe('Sum');
  }
});

test.each([1, 9, 10, 50, 51])(
  '%d environments have alarms of their own and others together, and no alarm more than ten metrics @heavy',
  (count) => {
    const environments = Array.from({ length: count }, (_, index) => `e${index}`);
    const { home } = observe({ ...full, environments, edge: undefined });
    for (const kind of kinds) {
      const own = count > 50 ? [] : environments.map((name) => `${kind}-${name}`);
      expect(ids(home).filter((id) => id.startsWith(kind))).toEqual([...own, kind]);
    }
    // AWS: "Using metric math": an alarm on an expression has at most ten metrics.
    const most = alarmsIn(home).map(({ Metrics = [] }) => Metrics.filter(({ MetricStat }) => MetricStat).length);
    expect(Math.max(...most)).toBeLessThanOrEqual(10);
  },
);

test.each<[string, Parameters<typeof heartbeatsOf>, readonly string[]]>([
  // HEARTBEAT_INTERVAL is about comments on streams.
  ['no setting of heartbeats', [{ variables: { HEARTBEAT_INTERVAL: '30s' }, secrets: { AUTO_CONFIG_KEY: '/k' } }], []],
  ['a flag for all environments', [{ variables: { HEARTBEAT_FLAG: 'beat' } }], ['overdue']],
  ['flags in SSM, and a token', [{ secrets: { HEARTBEAT_API_TOKEN: '/token' } }], ['overdue']],
  ['flags in SSM, and a job that sends less often', [{ variables: { HEARTBEAT_FLAG_INTERVAL: '5m' } }], ['overdue']],
  ['an edge with a flag', [{}, 'beat'], ['overdue']],
  ['replicas', [{ variables: { HEARTBEAT_FLAG: 'beat', HEARTBEAT_REPLICAS: 'us-west-2' } }], ['overdue', 'missed']],
])('alarms on heartbeats exist with %s', (_, given, kinds) => {
  const observed = {
    ...{ stage: 's', namespace: 'n', environments: [], tableName: 't', tasks: 1, clusterName: 'c', serviceName: 's' },
    ...{ logGroupName: '/l', homeRegion: 'eu-west-1', replicaRegions: [], containerInsights: false, loadBalancers: [] },
    ...{ certificateArns: [], canary: false, heartbeats: heartbeatsOf(...given) },
  };
  const idsOf = (writes: boolean) =>
    homeRows({ ...observed, writes }).flatMap(({ id }) => (id.startsWith('heartbeats-') ? [id.slice(11)] : []));
  expect(idsOf(true)).toEqual(kinds);
  expect(idsOf(false)).toEqual(kinds.filter((kind) => kind !== 'missed'));
});

test('each setting of heartbeats tells that there are some', () => {
  const names = Object.values(heartbeatSettings.heartbeat).map(({ env }) => env);
  expect(names).toContain('HEARTBEAT_API_TOKEN');
  for (const name of names)
    expect([name, heartbeatsOf({ variables: { [name]: 'x' } })]).toEqual([name, expect.anything()]);
});

test('alarms on replicas are in their regions, on writes in the home region, on edge functions where they run', () => {
  const functions = ['viewer-request', 'origin-request', 'viewer-response'];
  const edge = (region: string) => functions.map((kind) => `${region}-edge-errors-edge-flag-relay-full-${kind}`);
  expect(ids(all.region('eu-west-1'))).toEqual([
    'eu-west-1-read-throttle',
    'eu-west-1-write-throttle',
    ...edge('eu-west-1'),
    'eu-west-1-edge-fallbacks',
    'eu-west-1-edge-old-data',
    'eu-west-1-slow-propagation-to-edge',
    'eu-west-1-exposures-lost',
  ]);
  expect(ids(all.region('us-east-1'))).toEqual([
    'us-east-1-read-throttle',
    ...edge('us-east-1'),
    'us-east-1-edge-fallbacks',
    'us-east-1-edge-old-data',
    'us-east-1-slow-propagation-to-edge',
    'us-east-1-exposures-lost',
  ]);
  const [errors] = alarmsIn(all.region('us-east-1')).filter(({ AlarmName }) => AlarmName.includes('viewer-request'));
  // docs/propagation.md: 2 s and the refresh interval, which is 5 s in this stage.
  const [edgeDelay] = alarmsIn(all.region('us-east-1')).filter(({ AlarmName }) => AlarmName.includes('-to-edge'));
  expect(edgeDelay).toMatchObject({ Threshold: 7, ExtendedStatistic: 'p99', MetricName: 'HeartbeatToEdge' });
  // Where they run, edge functions have their home region in their name.
  expect(errors!.Metrics!.flatMap(({ MetricStat }) => MetricStat?.Metric.Dimensions ?? [])).toContainEqual({
    Name: 'FunctionName',
    Value: 'us-east-1.edge-flag-relay-full-viewer-request',
  });
  expect(ids(all.edge)).toEqual(['edge-edge-check', 'edge-distribution-5xx', 'edge-certificate-expiry']);
});

test('a rolled-back deployment sends a notification', () => {
  all.home.hasResourceProperties('AWS::Events::Rule', {
    EventPattern: {
      source: ['aws.ecs'],
      'detail-type': ['ECS Deployment State Change'],
      detail: { eventName: ['SERVICE_DEPLOYMENT_FAILED'] },
      resources: [{ suffix: ':service/edge-flag-relay-full/relay' }],
    },
  });
});
