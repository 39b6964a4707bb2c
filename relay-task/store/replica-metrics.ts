import type { Registry } from 'prom-client';
import { createMeasures } from './measures.ts';

/** What one store without a lease reports of one environment. */
export interface ReplicaMetrics {
  /** One compare-and-set was answered. */
  wroteItem(written: boolean): void;
  /** Items that a comparison found to differ from memory. */
  differing(items: number): void;
  /** Seconds from receipt of the first change to its being stored. */
  published(seconds: number): void;
  /** The database failed. */
  failed(): void;
  /** Takes the gauges away. */
  close(): void;
}

/** Read when metrics are scraped. */
export interface ReplicaGauges {
  up(): boolean;
  waiting(): number;
  oversized(): number;
}

/** Registers the metrics once for each registry; stores and environments differ by their labels. */
export function createReplicaMetrics(
  registry: Registry | undefined,
  labels: { readonly database: string; readonly prefix: string },
  gauges: ReplicaGauges,
): ReplicaMetrics {
  if (!registry) return { wroteItem() {}, differing() {}, published() {}, failed() {}, close() {} };
  const { counter, histogram, gauge } = createMeasures(registry, labels);
  const writes = counter('store_replica_writes_total', 'Writes to Redis or Consul, by outcome.', ['outcome']);
  const failures = counter('store_replica_failures_total', 'Failed exchanges with Redis or Consul.');
  const differing = counter(
    'store_replica_differing_items_total',
    'Items that did not stand there as memory has them.',
  );
  const latency = histogram(
    'store_replica_publication_seconds',
    'From the receipt of a change to its being in Redis or Consul.',
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  );
  const taken = [
    gauge('store_replica_up', 'Whether Redis or Consul answers.', () => Number(gauges.up())),
    gauge('store_replica_waiting_items', 'Items that wait to be written.', gauges.waiting),
    gauge('store_replica_oversized_items', 'Items too large for the store.', gauges.oversized),
  ];
  return {
    wroteItem: (written) => writes.inc({ ...labels, outcome: written ? 'written' : 'refused' }),
    differing: (items) => differing.inc(labels, items),
    published: (seconds) => latency.observe(labels, seconds),
    failed: () => failures.inc(labels),
    close() {
      for (const remove of taken) remove();
    },
  };
}
