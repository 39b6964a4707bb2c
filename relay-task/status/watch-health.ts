import type { MeasureName, Measures } from '../common/measures.ts';
import type { MemoryUsage } from '../ports.ts';
import type { EnvironmentHealth, Watched } from './health.ts';

/** Gauges with the environment as label. All are 0 when all is well, except the age. */
const ofEnvironments = {
  upstream_disconnected: ({ upstream }) => Number(upstream === undefined || upstream.state !== 'VALID'),
  upstream_refused: ({ upstream }) => Number(upstream?.refused ?? false),
  data_age_seconds: ({ upstream, createdNow }) => (performance.now() - (upstream?.checkedNow || createdNow)) / 1_000,
  environments_without_data: ({ initialized }) => Number(!initialized),
  unreadable_items: ({ unreadable }) => unreadable.length,
  failed_items: ({ failedItems }) => failedItems.length,
  key_problems: ({ keyProblem }) => Number(keyProblem !== undefined),
  big_segments_stale: ({ bigSegments }) => Number(bigSegments?.potentiallyStale ?? false),
} as const satisfies Partial<Record<MeasureName, (environment: EnvironmentHealth) => number>>;

/** Registers gauges that are computed from the relay's health whenever metrics are read. */
export function watchHealth(measures: Measures, { environments, source, memory, logLinesLost }: Watched): void {
  const present = oncePerReading(environments);
  for (const [name, value] of Object.entries(ofEnvironments) as [
    keyof typeof ofEnvironments,
    (environment: EnvironmentHealth) => number,
  ][]) {
    measures.gauge(name, (gauge) => {
      // Environments come and go.
      gauge.reset();
      for (const environment of present()) gauge.set({ env: environment.name }, value(environment));
    });
  }
  measures.gauge('store_down', (gauge) => {
    gauge.reset();
    for (const { name, stores } of present()) {
      for (const { database, state } of stores) gauge.set({ env: name, database }, Number(state === 'INTERRUPTED'));
    }
  });
  measures.counter('log_lines_lost_total', (lost) => {
    lost.reset();
    lost.inc(logLinesLost?.() ?? 0);
  });
  measures.gauge('key_source_down', (gauge) => gauge.set(Number(source?.()?.state === 'INTERRUPTED')));
  if (memory) watchMemory(measures, memory);
}

function watchMemory(measures: Measures, memory: () => MemoryUsage): void {
  measures.gauge('client_memory_bytes', (gauge) => {
    for (const [part, bytes] of Object.entries(memory().usedBytes)) gauge.set({ part }, bytes);
  });
  measures.gauge('client_memory_limit_bytes', (gauge) => {
    const { maxBytes, budgetBytes } = memory();
    for (const [part, bytes] of Object.entries(maxBytes)) gauge.set({ part }, bytes);
    gauge.set({ part: 'all' }, budgetBytes);
  });
}

/** All gauges are collected in one turn, and what they show of thousands of environments is looked up once for all of them. */
function oncePerReading(environments: Watched['environments']): () => readonly EnvironmentHealth[] {
  let found: readonly EnvironmentHealth[] | undefined;
  return () => {
    if (found === undefined) {
      found = [...environments()];
      queueMicrotask(() => {
        found = undefined;
      });
    }
    return found;
  };
}
