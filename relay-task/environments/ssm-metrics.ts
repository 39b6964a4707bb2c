import { Counter, Gauge, type Registry } from 'prom-client';

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

/** Metrics of the source of keys; an alarm watches `environment_key_problem`. */
export function createSsmMetrics(registry: Registry | undefined, gauges: SsmGauges) {
  if (!registry) return { read(_outcome: ReadOutcome): void {} };
  const registers = [registry];
  const reads = new Counter({
    name: 'key_source_reads_total',
    help: 'Readings of the keys in SSM, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  new Gauge({
    name: 'key_source_complete_timestamp_seconds',
    help: 'When the keys in SSM were last read completely, Unix time; 0: never.',
    registers,
    collect() {
      this.set(gauges.completeAt() / 1000);
    },
  });
  new Gauge({
    name: 'key_source_unread_keys',
    help: 'Keys in SSM that could never be read.',
    registers,
    collect() {
      this.set(gauges.unread());
    },
  });
  new Gauge({
    name: 'environment_key_problem',
    help: '1 while a key of the environment is missing, unreadable or invalid.',
    labelNames: ['environment'],
    registers,
    collect() {
      this.reset();
      for (const environment of gauges.troubled()) this.set({ environment }, 1);
    },
  });
  return { read: (outcome: ReadOutcome): void => reads.inc({ outcome }) };
}
