import type { GaugeOf, Measures } from '../common/measures.ts';

type Series = Map<string, { readonly labels: Readonly<Record<string, string>>; readonly read: () => number }>;

/** For each gauge: what to read of each store when it is scraped. */
const seriesOf = new WeakMap<Measures, Map<string, Series>>();

/** Adds one store to a gauge that all stores share; it is read whenever metrics are. Answers how to take it away. */
export function addToGauge<Name extends GaugeName>(
  measures: Measures,
  name: Name,
  labels: LabelsOf<Name>,
  read: () => number,
): () => void {
  const gauges = seriesOf.get(measures) ?? new Map<string, Series>();
  seriesOf.set(measures, gauges);
  const series: Series = gauges.get(name) ?? new Map();
  if (!gauges.has(name)) {
    gauges.set(name, series);
    measures.gauge<GaugeName>(name, (gauge) => {
      gauge.reset();
      for (const source of series.values()) (gauge as GaugeOf<string>).set(source.labels, source.read());
    });
  }
  const id = Object.values(labels).join(' ');
  const source = { labels, read };
  series.set(id, source);
  return () => {
    if (series.get(id) === source) series.delete(id);
  };
}

/** The ends of the names of the flag table's gauges. */
export type TableGauge = 'lease_held' | 'snapshot_bytes' | 'revision_epoch' | 'revision_seq' | 'oversized_items';
/** The ends of the names of Redis' and Consul's gauges. */
export type ReplicaGauge = 'up' | 'waiting_items' | 'oversized_items';
type GaugeName = `store_${TableGauge}` | `store_replica_${ReplicaGauge}`;
type LabelsOf<Name extends GaugeName> = Readonly<
  Record<'env' | 'prefix' | (Name extends `store_replica_${string}` ? 'database' : 'table'), string>
>;
