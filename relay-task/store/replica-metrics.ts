import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What one store without a lease reports of one environment. */
export interface ReplicaMetrics {
  /** One compare-and-set was answered. */
  wrote(written: boolean): void;
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

const labelNames = ['database', 'prefix'] as const;
type Labels = Record<(typeof labelNames)[number], string>;

/** Registers the metrics once for each registry; stores and environments differ by their labels. */
export function createReplicaMetrics(
  registry: Registry | undefined,
  labels: Labels,
  gauges: ReplicaGauges,
): ReplicaMetrics {
  if (!registry) return { wrote() {}, differing() {}, published() {}, failed() {}, close() {} };
  const counter = (name: string, help: string, more: string[] = []) =>
    (registry.getSingleMetric(name) as Counter | undefined) ??
    new Counter({ name, help, labelNames: [...labelNames, ...more], registers: [registry] });
  const writes = counter('store_replica_writes_total', 'Writes to Redis or Consul, by outcome.', ['outcome']);
  const failures = counter('store_replica_failures_total', 'Failed exchanges with Redis or Consul.');
  const differing = counter(
    'store_replica_differing_items_total',
    'Items that did not stand there as memory has them.',
  );
  const latencyName = 'store_replica_publication_seconds';
  const latency =
    (registry.getSingleMetric(latencyName) as Histogram | undefined) ??
    new Histogram({
      name: latencyName,
      help: 'From the receipt of a change to its being in Redis or Consul.',
      labelNames,
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers: [registry],
    });
  const taken = [
    gauge(registry, labels, 'store_replica_up', 'Whether Redis or Consul answers.', () => Number(gauges.up())),
    gauge(registry, labels, 'store_replica_waiting_items', 'Items that wait to be written.', gauges.waiting),
    gauge(registry, labels, 'store_replica_oversized_items', 'Items too large for the store.', gauges.oversized),
  ];
  return {
    wrote: (written) => writes.inc({ ...labels, outcome: written ? 'written' : 'refused' }),
    differing: (items) => differing.inc(labels, items),
    published: (seconds) => latency.observe(labels, seconds),
    failed: () => failures.inc(labels),
    close() {
      for (const remove of taken) remove();
    },
  };
}

/** For each gauge: what to read when it is scraped. */
const sources = new WeakMap<Gauge, Map<string, { labels: Labels; read: () => number }>>();

/** Answers how to take the series away. */
function gauge(registry: Registry, labels: Labels, name: string, help: string, read: () => number): () => void {
  let found = registry.getSingleMetric(name) as Gauge | undefined;
  if (!found) {
    found = new Gauge({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset();
        for (const source of sources.get(this as Gauge)?.values() ?? []) this.set(source.labels, source.read());
      },
    });
    sources.set(found, new Map());
  }
  const series = sources.get(found);
  const id = `${labels.database} ${labels.prefix}`;
  const source = { labels, read };
  series?.set(id, source);
  return () => {
    if (series?.get(id) === source) series.delete(id);
  };
}
