/** Everything published to CloudWatch comes from an existing metric and its labels. */
import type { Counter, Gauge, Histogram } from 'prom-client';
import { createEventMeter } from '../../../relay-task/events/metrics.ts';
import { startEmf } from '../../../relay-task/status/emf.ts';
import { createMetrics } from '../../../relay-task/status/metrics.ts';
import { dimensionLabels, published } from '../../../relay-task/status/published.ts';
import { tellVersion } from '../../../relay-task/status/version-metric.ts';
import { createStoreMetrics } from '../../../relay-task/store/metrics.ts';

const metrics = createMetrics();
afterAll(() => metrics.close());

/** All metrics of a relay with every kind of store. */
function registryOfEverything() {
  const { registry } = metrics;
  metrics.watch({ environments: () => [] });
  createEventMeter(registry);
  void tellVersion(registry, '1.2.3', undefined);
  void startEmf({ registry, namespace: 'test', write() {} }).close();
  const zero = () => 0;
  const tableGauges = { lease_held: zero, snapshot_bytes: zero, revision_epoch: zero, revision_seq: zero };
  createStoreMetrics(registry, { table: 'flags', prefix: '' }, { ...tableGauges, oversized_items: zero });
  const replicaGauges = { up: zero, waiting_items: zero, oversized_items: zero };
  createStoreMetrics(registry, { database: 'redis', prefix: '' }, replicaGauges);
  return registry;
}

const registry = registryOfEverything();
type Measure = (Counter | Gauge | Histogram) & { readonly labelNames: readonly string[] };

test.each(published.map((row) => [row.name, row] as const))(
  '%s comes from an existing metric and its labels',
  (_, row) => {
    const measure = registry.getSingleMetric(row.from) as Measure | undefined;
    expect(measure?.labelNames).toBeDefined();
    const labels = new Set(measure!.labelNames);
    const needed = [...row.by.flat().map((dimension) => dimensionLabels[dimension]), ...Object.keys(row.where ?? {})];
    expect(needed.filter((label) => !labels.has(label))).toEqual([]);
  },
);
