import type { Measures } from '../common/measures.ts';
import type { TableObserver } from './dynamodb-client.ts';
import { addToGauge, type ReplicaGauge, type TableGauge } from './measures.ts';

/** What one store of one environment reports. */
interface StoreMetrics {
  /** Seconds from receipt of the first change to the end of its publication. */
  published(seconds: number): void;
  /** Items that a comparison found to differ from memory. */
  differing(items: number): void;
  /** Takes the gauges away. */
  close(): void;
}

interface TableMetrics extends StoreMetrics, TableObserver {}

interface ReplicaMetrics extends StoreMetrics {
  /** Redis or Consul answered a compare-and-set. */
  wroteItem(written: boolean): void;
  /** An exchange with the database failed. */
  failed(): void;
}

/** What to read when metrics are scraped. */
type Gauges<Name extends string> = Readonly<Record<Name, () => number>>;

const none = () => {};

/** The flag table's metrics; environments differ by their labels. */
export function createTableMetrics(
  measures: Measures | undefined,
  labels: { readonly env: string; readonly table: string; readonly prefix: string },
  gauges: Gauges<TableGauge>,
): TableMetrics {
  if (!measures) return { wrote: none, retried: none, published: none, differing: none, close: none };
  const writes = measures.counter('store_writes_total');
  const retries = measures.counter('store_retries_total');
  const differing = measures.counter('store_differing_items_total');
  const latency = measures.histogram('store_publication_seconds');
  const names = Object.keys(gauges) as TableGauge[];
  const taken = names.map((name) => addToGauge(measures, `store_${name}`, labels, gauges[name]));
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

/** The metrics of Redis and Consul; databases and environments differ by their labels. */
export function createReplicaMetrics(
  measures: Measures | undefined,
  labels: { readonly env: string; readonly database: string; readonly prefix: string },
  gauges: Gauges<ReplicaGauge>,
): ReplicaMetrics {
  if (!measures) return { wroteItem: none, failed: none, published: none, differing: none, close: none };
  const writes = measures.counter('store_replica_writes_total');
  const failures = measures.counter('store_replica_failures_total');
  const differing = measures.counter('store_replica_differing_items_total');
  const latency = measures.histogram('store_replica_publication_seconds');
  const names = Object.keys(gauges) as ReplicaGauge[];
  const taken = names.map((name) => addToGauge(measures, `store_replica_${name}`, labels, gauges[name]));
  return {
    wroteItem: (written) => writes.inc({ ...labels, outcome: written ? 'written' : 'refused' }),
    failed: () => failures.inc(labels),
    published: (seconds) => latency.observe(labels, seconds),
    differing: (items) => differing.inc(labels, items),
    close() {
      for (const remove of taken) remove();
    },
  };
}
