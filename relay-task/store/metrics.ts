import type { Registry } from 'prom-client';
import type { TableObserver } from './dynamodb-client.ts';
import { createMeasures } from './measures.ts';

/** What one store of one environment reports. */
export interface StoreMetrics extends TableObserver {
  /** Seconds from receipt of the first change to the head that names it. */
  published(seconds: number): void;
  /** Items that a comparison found to differ from memory. */
  differing(items: number): void;
  /** Takes the gauges away. */
  close(): void;
}

/** Read when metrics are scraped. */
export interface StoreGauges {
  held(): boolean;
  snapshotBytes(): number;
  epoch(): number;
  seq(): number;
  oversized(): number;
}

/** Registers the metrics once for each registry; stores of several environments differ by their labels. */
export function createStoreMetrics(
  registry: Registry | undefined,
  environment: { table: string; prefix: string },
  gauges: StoreGauges,
): StoreMetrics {
  if (!registry) return { wrote() {}, retried() {}, published() {}, differing() {}, close() {} };
  const labels = { ...environment };
  const { counter, histogram, gauge } = createMeasures(registry, labels);
  const writes = counter('store_writes_total', 'Writes to the flag table, by kind and outcome.', ['kind', 'outcome']);
  const retries = counter('store_retries_total', 'Requests to the flag table sent again after a throttle or a 5xx.');
  const differing = counter(
    'store_differing_items_total',
    'Items that did not stand in the flag table as memory has them.',
  );
  const latency = histogram(
    'store_publication_seconds',
    'From the receipt of a change to the head of the snapshot that names it.',
    [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  );

  const taken = [
    gauge('store_lease_held', 'Whether this relay writes the environment.', () => Number(gauges.held())),
    gauge('store_snapshot_bytes', 'Stored bytes of body and delta, as last written.', gauges.snapshotBytes),
    gauge('store_revision_epoch', 'Epoch of the published revision.', gauges.epoch),
    gauge('store_revision_seq', 'Sequence number of the published revision within its epoch.', gauges.seq),
    gauge('store_oversized_items', "Items too large for LaunchDarkly's own layout.", gauges.oversized),
  ];

  return {
    wrote: (kind, outcome) => writes.inc({ ...labels, kind, outcome }),
    retried: () => retries.inc(labels),
    published: (seconds) => latency.observe(labels, seconds),
    differing: (items) => differing.inc(labels, items),
    close() {
      for (const remove of taken) remove();
    },
  };
}
