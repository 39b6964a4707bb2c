import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Template } from 'aws-cdk-lib/assertions';
import { metricUnits } from '../../../../lambda/canary/metrics.ts';
import { published } from '../../../../relay-task/status/published.ts';
import { createApp, full } from '../../../support/synthesise.ts';
import { alarmsIn, type CfnAlarm, metricsOf, type Observability, observe, pages, tickets } from './observe.ts';

const page = readFileSync(join(import.meta.dirname, '../../../../docs/operations.md'), 'utf8');

let all: Observability;
let templates: [region: string, Template][];
let everyAlarm: CfnAlarm[];
beforeAll(() => {
  all = observe(full);
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
const anchorOf = (text: string) => /Runbook: docs\/operations\.md#([\w-]+)$/.exec(text)?.[1];

const ids = (template: Template) =>
  alarmsIn(template).map(({ AlarmName }) => AlarmName.replace(/^edge-flag-relay-full-/, ''));

test('every alarm notifies its topic when it starts and ends, and defines how missing data is treated', () => {
  expect(everyAlarm.length).toBeGreaterThan(40);
  for (const [region, template] of templates) {
    for (const alarm of alarmsIn(template)) {
      const topic = tickets.replace('eu-west-1', region);
      expect(alarm).toMatchObject({ AlarmActions: [topic], OKActions: [topic] });
      expect(['breaching', 'notBreaching']).toContain(alarm.TreatMissingData);
      const periods = [alarm.Period, ...(alarm.Metrics ?? []).map(({ MetricStat }) => MetricStat?.Period)];
      // CloudWatch: 10, 20, 30 or whole minutes, and at most one day in total.
      for (const period of periods.filter((one) => one !== undefined)) {
        expect(period % 60).toBe(0);
        expect(period * alarm.EvaluationPeriods).toBeLessThanOrEqual(86_400);
      }
      expect(alarm.DatapointsToAlarm).toBeLessThanOrEqual(alarm.EvaluationPeriods);
    }
  }
});

test('alarm names are unique, and no alarm uses metrics of another region', () => {
  // Names contain the region or the word edge, since a region may have three stacks.
  expect(new Set(everyAlarm.map(({ AlarmName }) => AlarmName)).size).toBe(everyAlarm.length);
  for (const [, template] of templates) expect(JSON.stringify(alarmsIn(template))).not.toContain('"Region":"');
});

test('every alarm has a runbook, and every runbook an alarm', () => {
  const [composite] = Object.values(all.home.findResources('AWS::CloudWatch::CompositeAlarm'));
  const [rule] = Object.values(all.home.findResources('AWS::Events::Rule')).filter(
    ({ Properties }) => Properties.EventPattern,
  );
  const message = JSON.stringify(rule!.Properties.Targets[0].InputTemplate ?? rule!.Properties.Targets[0].Input);
  const anchors = [
    ...everyAlarm.map(({ AlarmDescription }) => anchorOf(AlarmDescription)),
    anchorOf(composite!.Properties.AlarmDescription),
    /Runbook: docs\/operations\.md#([\w-]+)/.exec(message)?.[1],
  ];
  expect([...new Set(anchors)].sort()).toEqual(runbooks().sort());
});

test('runbooks link to runbooks that exist', () => {
  const known = new Set(runbooks());
  const links = [...page.matchAll(/\]\(#([\w-]+)\)/g)].map(([, anchor]) => anchor!);
  expect(links.length).toBeGreaterThan(20);
  expect(links.filter((anchor) => !known.has(anchor))).toEqual([]);
});

test('alarms link to runbooks on another page if one is given @heavy', () => {
  const elsewhere = 'https://wiki.example.com/relay';
  const found = alarmsIn(observe(full, createApp(), elsewhere).home);
  expect(found.length).toBeGreaterThan(20);
  for (const { AlarmDescription } of found)
    expect(AlarmDescription).toMatch(/Runbook: https:\/\/wiki\.example\.com\/relay#[\w-]+$/);
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
  const [composite] = Object.values(all.home.findResources('AWS::CloudWatch::CompositeAlarm'));
  expect(composite!.Properties).toMatchObject({
    AlarmName: 'edge-flag-relay-full-impaired',
    AlarmActions: [pages],
    OKActions: [pages],
  });
  const names = new Map(
    Object.entries(all.home.findResources('AWS::CloudWatch::Alarm')).map(([id, { Properties }]) => [
      id,
      Properties.AlarmName,
    ]),
  );
  const rule = JSON.stringify(composite!.Properties.AlarmRule);
  const paging = [...rule.matchAll(/"Fn::GetAtt":\["(\w+)","Arn"\]/g)].map(([, id]) => names.get(id!));
  expect(paging.map((name) => name.replace('edge-flag-relay-full-', '')).sort()).toEqual([
    'canary',
    'data-stale',
    'load-balancer-5xx-internal',
    'load-balancer-5xx-public',
    'no-data',
    'no-writer',
    'relay-5xx-internal',
    'relay-5xx-public',
    'too-few-healthy-tasks-internal',
    'too-few-healthy-tasks-public',
  ]);
  const marked = [...page.matchAll(/^### ([\w-]+)\n\n\*Pages\.\*/gm)].map(([, anchor]) => anchor);
  const expected = new Set(paging.map((name) => name.replace(/^edge-flag-relay-full-|-internal$|-public$/g, '')));
  expect(new Set(marked)).toEqual(new Set([...expected, 'impaired']));
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

test('each environment has its own alarms', () => {
  const kinds = ['upstream-disconnected', 'upstream-refused', 'key-problem', 'unreadable-items', 'big-segments-stale'];
  for (const kind of kinds) {
    expect(ids(all.home).filter((id) => id.startsWith(kind))).toEqual([`${kind}-production`, `${kind}-staging`]);
  }
});

test('a stage with more than 50 environments has alarms for the whole stage instead @heavy', () => {
  for (const environments of [['a'], Array.from({ length: 51 }, (_, index) => `e${index}`)]) {
    const found = ids(observe({ ...full, environments, edge: undefined }).home);
    const whole = environments.length > 50;
    expect(found.includes('upstream-disconnected')).toBe(whole);
    expect(found.includes('key-problem')).toBe(whole);
    expect(found.filter((id) => id.startsWith('upstream-refused'))).toHaveLength(whole ? 0 : 1);
  }
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
    'eu-west-1-exposures-lost',
  ]);
  expect(ids(all.region('us-east-1'))).toEqual([
    'us-east-1-read-throttle',
    ...edge('us-east-1'),
    'us-east-1-edge-fallbacks',
    'us-east-1-edge-old-data',
    'us-east-1-exposures-lost',
  ]);
  const [errors] = alarmsIn(all.region('us-east-1')).filter(({ AlarmName }) => AlarmName.includes('viewer-request'));
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
