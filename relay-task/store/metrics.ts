import type { Registry } from 'prom-client';
import type { TableObserver } from './dynamodb-client.ts';
import { createMeasures } from './measures.ts';

/** What one store of one environment reports. */
interface StoreMetrics extends TableObserver {
  /** Redis or Consul answered a compare-and-set. */
  wroteItem(written: boolean): void;
  /** Seconds from receipt of the first change to the end of its publication. */
  published(seconds: number): void;
  /** Items that a comparison found to differ from memory. */
  differing(items: number): void;
  /** An exchange with the database failed. */
  failed(): void;
  /** Takes the gauges away. */
  close(): void;
}

/** Gauges by the end of their names, with their help. */
const gaugeHelp = {
  lease_held: 'Whether this relay writes the environment.',
  snapshot_bytes: 'Stored bytes of body and delta, as last written.',
  revision_epoch: 'Epoch of the published revision.',
  revision_seq: 'Sequence number of the published revision within its epoch.',
  oversized_items: 'Items too large for the store.',
  up: 'Whether Redis or Consul answers.',
  waiting_items: 'Items that wait to be written.',
} as const;

/** What to read when metrics are scraped. */
type StoreGauges = { readonly [Name in keyof typeof gaugeHelp]?: () => number };

const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** DynamoDB takes longer: two round trips at least. */
const tableBuckets = buckets.slice(2);

/**
 * Registers the metrics once for each registry; stores and environments differ by their labels. The flag table's names
 * begin with `store_`, those of Redis and Consul with `store_replica_`.
 */
export function createStoreMetrics(
  registry: Registry | undefined,
  store: { readonly table: string; readonly prefix: string } | { readonly database: string; readonly prefix: string },
  gauges: StoreGauges,
): StoreMetrics {
  const none = () => {};
  if (!registry) {
    return { wroteItem: none, wrote: none, retried: none, published: none, differing: none, failed: none, close: none };
  }
  const labels = { ...store };
  const isTable = 'table' in store;
  const stem = isTable ? 'store' : 'store_replica';
  const { counter, histogram, gauge } = createMeasures(registry, labels);
  const writes = isTable
    ? counter('store_writes_total', 'Writes to the flag table, by kind and outcome.', ['kind', 'outcome'])
    : counter('store_replica_writes_total', 'Writes to Redis or Consul, by outcome.', ['outcome']);
  const troubles = isTable
    ? counter('store_retries_total', 'Requests to the flag table sent again after a throttle or a 5xx.')
    : counter('store_replica_failures_total', 'Failed exchanges with Redis or Consul.');
  const differing = counter(`${stem}_differing_items_total`, 'Items in the store that differed from memory.');
  const latency = histogram(
    `${stem}_publication_seconds`,
    'Seconds from the receipt of a change to the end of its publication.',
    isTable ? tableBuckets : buckets,
  );
  const names = Object.keys(gauges) as (keyof typeof gaugeHelp)[];
  const taken = names.map((name) => gauge(`${stem}_${name}`, gaugeHelp[name], () => gauges[name]?.() ?? 0));
  return {
    wroteItem(written) {
      // The flag table counts requests.
      if (!isTable) writes.inc({ ...labels, outcome: written ? 'written' : 'refused' });
    },
    wrote: (kind, outcome) => writes.inc({ ...labels, kind, outcome }),
    retried: () => troubles.inc(labels),
    failed() {
      if (!isTable) troubles.inc(labels);
    },
    published: (seconds) => latency.observe(labels, seconds),
    differing: (items) => differing.inc(labels, items),
    close() {
      for (const remove of taken) remove();
    },
  };
}
