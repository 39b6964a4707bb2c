/** How long changes take, in `/status` and in metrics. The tests move the clock. */
import { createMeasures, type Measures } from '../../../relay-task/common/measures.ts';
import { createPropagation } from '../../../relay-task/status/propagation.ts';

const MINUTE_MS = 60_000;
let clock: number;
let measures: Measures;

function start() {
  clock = 1_000_000;
  measures = createMeasures({ prefix: 'x' });
  return createPropagation({ measures, now: () => clock });
}

test('percentiles are values that were measured: of 1 to 100 the 50th and the 99th', () => {
  const propagation = start();
  for (let ms = 100; ms >= 1; ms--) propagation.took('stream', ms);
  propagation.took('table', 12.34);
  expect(propagation.read()).toEqual({
    windowMs: 15 * MINUTE_MS,
    stream: { p50Ms: 50, p99Ms: 99, count: 100 },
    table: { p50Ms: 12.3, p99Ms: 12.3, count: 1 },
  });
});

test('what is older than the window does not count', () => {
  const propagation = start();
  propagation.took('stream', 900);
  clock += 14 * MINUTE_MS;
  propagation.took('stream', 1);
  expect(propagation.read().stream).toEqual({ p50Ms: 1, p99Ms: 900, count: 2 });
  clock += MINUTE_MS;
  expect(propagation.read().stream).toEqual({ p50Ms: 1, p99Ms: 1, count: 1 });
  clock += 15 * MINUTE_MS;
  expect(propagation.read()).toEqual({ windowMs: 15 * MINUTE_MS });
});

test('of very many changes the last thousand count', () => {
  const propagation = start();
  for (let change = 0; change < 5_000; change++) propagation.took('stream', 5_000);
  for (let change = 0; change < 1_000; change++) propagation.took('stream', 2);
  expect(propagation.read().stream).toEqual({ p50Ms: 2, p99Ms: 2, count: 1_000 });
});

test('heartbeats are told by stage and region, and one from the future counts as 0 and is counted', async () => {
  const propagation = start();
  propagation.beat('shop', 'relay', 80);
  propagation.beat('shop', 'relay', -40);
  propagation.beat('shop', 'replica', 700, 'eu-west-1');
  propagation.missed('shop', 'ap-south-1');
  propagation.sought('shop', 'eu-west-1');
  expect(propagation.read().heartbeat).toEqual({
    relay: { p50Ms: 0, p99Ms: 80, count: 2 },
    replicas: { 'eu-west-1': { p50Ms: 700, p99Ms: 700, count: 1 } },
  });
  const text = await measures.registry.metrics();
  expect(text).toContain('x_heartbeat_seconds_sum{env="shop",stage="relay",region=""} 0.08');
  expect(text).toContain('x_heartbeat_seconds_count{env="shop",stage="relay",region=""} 2');
  expect(text).toContain('x_heartbeat_seconds_bucket{le="1",env="shop",stage="replica",region="eu-west-1"} 1');
  expect(text).toContain('x_heartbeat_seconds_bucket{le="0.5",env="shop",stage="replica",region="eu-west-1"} 0');
  expect(text).toContain('x_heartbeats_ahead_total{env="shop",stage="relay"} 1');
  expect(text).toContain('x_heartbeats_missed_total{env="shop",region="ap-south-1"} 1');
  // So that the first miss counts in `rate()`.
  expect(text).toContain('x_heartbeats_missed_total{env="shop",region="eu-west-1"} 0');
  expect(text).toContain('x_heartbeats_missed_total{env="shop",region="ap-south-1"} 1');
});
