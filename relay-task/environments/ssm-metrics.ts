import type { Measures } from '../common/measures.ts';

type ReadOutcome = 'complete' | 'throttled' | 'failed';

/** Read when metrics are scraped. */
interface SsmGauges {
  /** Unix ms; 0: never. */
  completeAt(): number;
  /** Names of environments with a key problem. */
  troubled(): readonly string[];
  /** Keys in SSM that could never be read. */
  unread(): number;
}

/** Metrics of the source of keys. */
export function createSsmMetrics(measures: Measures | undefined, gauges: SsmGauges) {
  if (!measures) return { read(_outcome: ReadOutcome): void {} };
  const reads = measures.counter('key_source_reads_total');
  measures.gauge('key_source_complete_timestamp_seconds', (gauge) => gauge.set(gauges.completeAt() / 1000));
  measures.gauge('key_source_unread_keys', (gauge) => gauge.set(gauges.unread()));
  measures.gauge('key_source_key_problems', (gauge) => {
    gauge.reset();
    for (const env of gauges.troubled()) gauge.set({ env }, 1);
  });
  return { read: (outcome: ReadOutcome): void => reads.inc({ outcome }) };
}
