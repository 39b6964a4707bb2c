import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { SLICE_MS } from '../../../relay-task/common/slices.ts';
import { prometheusText } from '../../../relay-task/status/prometheus-text.ts';

function createExample(environments: number): Registry {
  const registry = new Registry();
  const registers = [registry];
  const labelNames = ['env', 'kind'];
  const counter = new Counter({ name: 'requests_total', help: 'Requests, \\ and\nmore', labelNames, registers });
  const gauge = new Gauge({ name: 'open', help: 'Open', labelNames, registers });
  const histogram = new Histogram({ name: 'seconds', help: 'Seconds', labelNames, registers, buckets: [0.1, 1] });
  new Gauge({ name: 'without_labels', help: 'One value', registers }).set(0.1 + 0.2);
  new Counter({ name: 'never_total', help: 'No values', labelNames, registers });
  for (let i = 0; i < environments; i++) {
    const labels = { env: `environment ${i}`, kind: 'a "quoted" \\ text\nwith lines' };
    counter.inc(labels, i);
    gauge.set(labels, [Infinity, -Infinity, -1.5e-9][i % 3]!);
    histogram.observe(labels, i / 10);
  }
  return registry;
}

test("the text is that of prom-client's own @heavy", async () => {
  const registry = createExample(700);
  expect(await prometheusText(registry)).toBe(await registry.metrics());
});

test('an empty registry is an empty text', async () => {
  expect(await prometheusText(new Registry())).toBe('');
});

test('other work runs while the lines of many environments are written @heavy', async () => {
  let pauses = 0;
  const pause = async () => {
    pauses += 1;
  };
  let now = 0;
  // Each look at the clock finds half a slice gone, so at most two pieces of work come between two pauses.
  const clock = jest.spyOn(performance, 'now').mockImplementation(() => (now += SLICE_MS / 2));
  await prometheusText(createExample(2_000), 'text', { pause });
  clock.mockRestore();
  // 2,000 lines of a counter, as many of a gauge, five times as many of a histogram: 70 pieces of 200 lines.
  expect(pauses).toBeGreaterThanOrEqual(70 / 2 - 1);
});
