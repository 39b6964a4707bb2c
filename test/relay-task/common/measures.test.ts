/** https://prometheus.io/docs/practices/naming/ and, for clashes, https://prometheus.io/docs/specs/om/open_metrics_spec/ */
import { createMeasures, measureRows } from '../../../relay-task/common/measures.ts';

const rows = Object.entries(measureRows);
/** ld-relay's names. */
const given = new Set(['connections', 'newconnections', 'requests']);
const own = rows.filter(([name]) => !given.has(name));

test.each(own)('%s is named as Prometheus asks', (name, { kind, unit }) => {
  expect(name).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
  expect(name.endsWith('_total')).toBe(kind === 'counter');
  const withoutTotal = name.replace(/_total$/, '');
  expect(withoutTotal.endsWith('_seconds')).toBe(unit === 'second' || unit === 'timestamp');
  expect(withoutTotal.endsWith('_timestamp_seconds')).toBe(unit === 'timestamp');
  expect(withoutTotal.endsWith('_bytes')).toBe(unit === 'byte');
});

test.each(rows)('%s has one sentence of help, labels without repeats, and buckets if it is a histogram', (_, row) => {
  const { help, labels, kind, buckets } = row;
  expect(help).toMatch(/^[A-Z0-9][^\n]*[^.]\.$/);
  expect(help).not.toMatch(/\. /);
  expect(new Set(labels).size).toBe(labels.length);
  expect(labels.filter((label) => !/^[a-z][a-zA-Z]{2,}$/.test(label))).toEqual([]);
  expect(buckets !== undefined).toBe(kind === 'histogram');
  expect(buckets?.toSorted((a, b) => a - b) ?? []).toEqual(buckets ?? []);
});

test('no two metrics have samples of the same name, in whatever format', () => {
  const samples = rows.flatMap(([name, { kind }]) => {
    if (kind === 'histogram') return ['', '_bucket', '_sum', '_count', '_created'].map((end) => `${name}${end}`);
    // OpenMetrics names the family of a counter without its end.
    return kind === 'counter' && name.endsWith('_total')
      ? ['', '_total', '_created'].map((end) => name.replace(/_total$/, end))
      : [name];
  });
  expect(samples.filter((name, index) => samples.indexOf(name) !== index)).toEqual([]);
});

test('a metric is registered once, under its prefix, and read by what collects it', async () => {
  const measures = createMeasures({ prefix: 'shop' });
  expect(measures.counter('streams_opened_total')).toBe(measures.counter('streams_opened_total'));
  measures.counter('streams_opened_total').inc({ env: 'a' }, 2);
  measures.counter('streams_opened_total').inc({ env: 'a' });
  let state = 0;
  measures.gauge('up', (gauge) => gauge.set(state));
  state = 1;
  const text = await measures.registry.metrics();
  expect(text).toContain('\nshop_streams_opened_total{env="a"} 3\n');
  expect(text).toContain('\nshop_up 1\n');
  expect(() => measures.gauge('up', (gauge) => gauge.set(0))).toThrow('metric up is collected twice');
});

test('labels, names and kinds are those of the table, or the relay does not compile', () => {
  const measures = createMeasures();
  // @ts-expect-error: no such metric.
  expect(() => measures.counter('streams_total')).toThrow();
  // @ts-expect-error: a gauge.
  measures.counter('up');
  // @ts-expect-error: its label is missing.
  measures.counter('streams_opened_total').inc();
  // @ts-expect-error: one of its labels is missing.
  measures.gauge('streams_open').set({ env: 'a' }, 1);
  // @ts-expect-error: no label of it.
  expect(() => measures.counter('streams_opened_total').inc({ env: 'a', kind: 'all' })).toThrow();
  // @ts-expect-error: it has no labels.
  expect(() => measures.gauge('events_queue_bytes').set({ env: 'a' }, 1)).toThrow();
});
