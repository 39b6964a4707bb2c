/** Expected shapes: AWS, "Specification: Embedded metric format". */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { createMeasures, type Measures } from '../../../relay-task/common/measures.ts';
import { type Emf, startEmf } from '../../../relay-task/status/emf.ts';
import { createMetrics } from '../../../relay-task/status/metrics.ts';
import { createPropagation } from '../../../relay-task/status/propagation.ts';
import { type PublishedMetric, published } from '../../../relay-task/status/published.ts';

interface Line {
  readonly _aws: {
    readonly Timestamp: number;
    readonly CloudWatchMetrics: readonly {
      readonly Namespace: string;
      readonly Dimensions: readonly (readonly string[])[];
      readonly Metrics: readonly { readonly Name: string; readonly Unit: string }[];
    }[];
  };
  readonly [name: string]: unknown;
}

let measures: Measures;
let registry: Registry;
let written: string[];
let logged: unknown[][];
let emf: Emf;

function start(rows?: readonly PublishedMetric[]): Emf {
  return startEmf({
    measures,
    namespace: 'EdgeFlagRelay/test',
    properties: { TaskId: 'task-1' },
    now: () => 1_760_000_000_000,
    write: (line) => written.push(line),
    log: { debug() {}, info() {}, error() {}, warn: (...all) => void logged.push(all) },
    ...(rows && { rows }),
  });
}

async function tell(): Promise<Line[]> {
  written = [];
  await emf.emit();
  return written.map((line) => JSON.parse(line) as Line);
}

beforeEach(() => {
  measures = createMeasures();
  registry = measures.registry;
  written = [];
  logged = [];
});
afterEach(() => emf.close());

test('dimensions are what CloudWatch takes: ASCII, nothing that controls, at most 1,024 characters, and different ones stay different', async () => {
  const open = new Gauge({ name: 'open', help: '-', labelNames: ['env'], registers: [registry] });
  const names = [
    'Größe',
    'Gro\u0308ße',
    '生产',
    'a🚀b',
    'two\nlines',
    '\x1b[31mred',
    'plain (EU) 100%',
    `${'é'.repeat(3_000)}`,
  ];
  for (const env of names) open.set({ env }, 1);
  open.set({ env: '  ' }, 1);
  emf = start([{ name: 'Open', unit: 'Count', from: 'open', by: [['Environment']] }]);
  const told = (await tell()).map(({ Environment }) => Environment as string);
  expect(new Set(told).size).toBe(names.length);
  for (const name of told) expect(name).toMatch(/^[\x20-\x7e]{1,1024}$/);
  expect(told.slice(0, 6)).toEqual([
    'Gr%C3%B6%C3%9Fe',
    'Gro%CC%88%C3%9Fe',
    '%E7%94%9F%E4%BA%A7',
    'a%F0%9F%9A%80b',
    'two%0Alines',
    '%1B[31mred',
  ]);
  expect(told).toContain('plain (EU) 100%');
});

test('what is no number is left out, and the other metrics of its line are written', async () => {
  const gauge = (name: string) => new Gauge({ name, help: '-', registers: [registry] });
  gauge('none').set(Number.NaN);
  gauge('endless').set(Number.POSITIVE_INFINITY);
  gauge('fine').set(1);
  emf = start(['none', 'endless', 'fine'].map((from) => ({ name: from, unit: 'Count', from, by: [[]] })));
  const [line] = await tell();
  expect(line).toMatchObject({ fine: 1, _aws: { CloudWatchMetrics: [{ Metrics: [{ Name: 'fine' }] }] } });
  expect(Object.keys(line!)).not.toContain('none');
});

test('a line has its metrics, dimensions and properties as the specification requires', async () => {
  const open = new Gauge({ name: 'open', help: '-', labelNames: ['env', 'kind'], registers: [registry] });
  open.set({ env: 'production', kind: 'all' }, 3);
  open.set({ env: 'production', kind: 'eval' }, 4);
  open.set({ env: 'staging', kind: 'all' }, 5);
  emf = start([{ name: 'Open', unit: 'Count', from: 'open', by: [[], ['Environment'], ['Kind']] }]);
  const lines = await tell();
  expect(written.every((line) => line.endsWith('}\n') && !line.slice(0, -1).includes('\n'))).toBe(true);
  expect(lines[0]).toEqual({
    _aws: {
      Timestamp: 1_760_000_000_000,
      CloudWatchMetrics: [
        { Namespace: 'EdgeFlagRelay/test', Dimensions: [[]], Metrics: [{ Name: 'Open', Unit: 'Count' }] },
      ],
    },
    TaskId: 'task-1',
    Open: 12,
  });
  expect(lines.slice(1).map(({ Environment, Kind, Open }) => [Environment ?? Kind, Open])).toEqual([
    ['production', 7],
    ['all', 8],
    ['eval', 4],
    ['staging', 5],
  ]);
  expect(lines[1]?._aws.CloudWatchMetrics[0]?.Dimensions).toEqual([['Environment']]);
});

test('a counter is published as its increase since the last line, for every row that reads it', async () => {
  const closed = new Counter({ name: 'closed', help: '-', labelNames: ['reason'], registers: [registry] });
  emf = start([
    { name: 'Closed', unit: 'Count', from: 'closed', by: [[]] },
    { name: 'Slow', unit: 'Count', from: 'closed', where: { reason: 'slow' }, by: [[]] },
  ]);
  closed.inc({ reason: 'slow' }, 2);
  closed.inc({ reason: 'client' }, 5);
  expect(await tell()).toMatchObject([{ Closed: 7, Slow: 2 }]);
  closed.inc({ reason: 'client' }, 1);
  expect(await tell()).toMatchObject([{ Closed: 1, Slow: 0 }]);
});

test('a histogram is published as at most 100 values with the same distribution, including the slowest', async () => {
  const seconds = new Histogram({ name: 'seconds', help: '-', buckets: [0.1, 1, 10], registers: [registry] });
  emf = start([{ name: 'Seconds', unit: 'Seconds', from: 'seconds', by: [[]] }]);
  for (const value of [0.05, 0.5, 0.6, 99]) seconds.observe(value);
  expect(await tell()).toMatchObject([{ Seconds: [0.1, 1, 1, 20] }]);
  for (let i = 0; i < 5_000; i++) seconds.observe(0.05);
  seconds.observe(5);
  const [line] = await tell();
  const values = line?.Seconds as number[];
  expect(values).toHaveLength(100);
  expect(new Set(values)).toEqual(new Set([0.1, 10]));
  expect(values.at(-1)).toBe(10);
  // Nothing was observed, so nothing is published.
  expect(await tell()).toEqual([]);
});

test('the maximum of several environments is published where a sum would be meaningless', async () => {
  const age = new Gauge({ name: 'age', help: '-', labelNames: ['env'], registers: [registry] });
  age.set({ env: 'a' }, 5);
  age.set({ env: 'b' }, 50);
  emf = start([{ name: 'Age', unit: 'Seconds', from: 'age', by: [[]], combine: 'max' }]);
  expect(await tell()).toMatchObject([{ Age: 50 }]);
});

describe('with more environments than CloudWatch is told of', () => {
  const rows: readonly PublishedMetric[] = [
    { name: 'Open', unit: 'Count', from: 'open', by: [[], ['Environment'], ['Kind']] },
    { name: 'EnvironmentsUntold', unit: 'Count', from: 'environments_untold', by: [[]] },
  ];
  const nameOf = (index: number) => `e${String(index).padStart(3, '0')}`;
  let open: Gauge<'env' | 'kind'>;
  beforeEach(() => {
    open = new Gauge({ name: 'open', help: '-', labelNames: ['env', 'kind'], registers: [registry] });
  });
  const fill = (indices: Iterable<number>) => {
    for (const index of indices) open.set({ env: nameOf(index), kind: index % 2 === 0 ? 'all' : 'eval' }, 1);
  };
  const first = (count: number) => Array.from({ length: count }, (_, index) => index);

  test('the whole relay and each kind count all, and one metric and one log line say which have none of their own', async () => {
    fill(first(250));
    emf = start(rows);
    const lines = await tell();
    expect(lines[0]).toMatchObject({ Open: 250, EnvironmentsUntold: 50 });
    expect(lines.filter(({ Kind }) => Kind).map(({ Kind, Open }) => [Kind, Open])).toEqual([
      ['all', 125],
      ['eval', 125],
    ]);
    const told = lines.flatMap(({ Environment }) => Environment ?? []);
    expect(told).toEqual(first(200).map(nameOf));
    expect(await registry.getSingleMetricAsString('launchdarkly_relay_environments_untold')).toContain(
      'launchdarkly_relay_environments_untold 50',
    );
    const environments = first(210).slice(200).map(nameOf);
    expect(logged).toEqual([
      [
        'Some environments have no metrics of their own in CloudWatch; they are included in those of the whole relay',
        { environments, more: 40, limit: 200, runbook: 'operations.md#the-dashboard' },
      ],
    ]);
    // Nothing new, no further line.
    await tell();
    expect(logged).toHaveLength(1);
  });

  test('every relay tells of the same ones, in whatever order they came', async () => {
    fill(first(250).reverse());
    emf = start(rows);
    expect((await tell()).flatMap(({ Environment }) => Environment ?? []).sort()).toEqual(first(200).map(nameOf));
  });

  test('up to the limit each has its own, and nothing is said', async () => {
    fill(first(200));
    emf = start(rows);
    const lines = await tell();
    expect(lines[0]).toMatchObject({ EnvironmentsUntold: 0 });
    expect(lines.filter(({ Environment }) => Environment)).toHaveLength(200);
    expect(logged).toEqual([]);
  });
});

test('closing publishes what was counted in the last interval', async () => {
  const added = new Counter({ name: 'added', help: '-', registers: [registry] });
  emf = start([{ name: 'Added', unit: 'Count', from: 'added', by: [[]] }]);
  await emf.emit();
  added.inc(3);
  written = [];
  await emf.close();
  expect(JSON.parse(written[0] ?? '{}')).toMatchObject({ Added: 3 });
});

test("the relay's own metrics give valid lines: at most 100 metrics, known units, unique names", async () => {
  const metrics = createMetrics();
  measures = metrics.measures;
  metrics.streams.opened('production', 'all', 'NodeJSClient/9');
  metrics.streams.broadcast(12);
  emf = start();
  const lines = await tell();
  for (const { _aws, ...members } of lines) {
    const [directive] = _aws.CloudWatchMetrics;
    expect(directive?.Metrics.length).toBeGreaterThan(0);
    expect(directive?.Metrics.length).toBeLessThanOrEqual(100);
    for (const { Name } of directive?.Metrics ?? []) expect(members).toHaveProperty(Name);
    for (const dimension of directive?.Dimensions.flat() ?? []) expect(typeof members[dimension]).toBe('string');
  }
  expect(lines.find((line) => line.PropagationToStreams)).toMatchObject({ Up: 1, PropagationToStreams: [0.025] });
  expect(lines).toContainEqual(expect.objectContaining({ Environment: 'production', StreamsOpen: 1 }));
  expect(new Set(published.map(({ name }) => name)).size).toBe(published.length);
  metrics.close();
});

test('heartbeats have the names, units and dimensions of docs/propagation.md, and one value for each', async () => {
  const propagation = createPropagation({ measures });
  emf = start();
  // A counter is published as its increase.
  for (const outcome of ['written', 'failed'] as const) propagation.wrote(outcome);
  propagation.beat('shop', 'relay', 40);
  propagation.beat('shop', 'stream', 90);
  propagation.beat('shop', 'table', 700);
  propagation.beat('shop', 'replica', 1_500, 'eu-west-1');
  propagation.beat('docs', 'replica', 4_000, 'ap-south-1');
  propagation.missed('docs', 'ap-south-1');
  const told = (await tell()).flatMap(({ _aws, ...values }) =>
    _aws.CloudWatchMetrics.flatMap(({ Dimensions: [dimensions = []], Metrics }) =>
      Metrics.filter(({ Name }) => Name.startsWith('Heartbeat')).map(({ Name, Unit }) => [
        Name,
        Unit,
        dimensions.map((dimension) => `${dimension}=${values[dimension]}`).join(),
        values[Name],
      ]),
    ),
  );
  // Durations are those of the bucket that they are in.
  expect(told.sort()).toEqual([
    ['HeartbeatToRelay', 'Seconds', '', [0.05]],
    ['HeartbeatToReplicas', 'Seconds', '', [2, 5]],
    ['HeartbeatToReplicas', 'Seconds', 'Region=ap-south-1', [5]],
    ['HeartbeatToReplicas', 'Seconds', 'Region=eu-west-1', [2]],
    ['HeartbeatToStreams', 'Seconds', '', [0.1]],
    ['HeartbeatToTable', 'Seconds', '', [1]],
    ['HeartbeatsMissed', 'Count', '', 1],
  ]);
});
