import { Counter, Gauge, type Registry } from 'prom-client';
import type { MemoryUsage } from '../ports.ts';
import type { EnvironmentHealth, Watched } from './health.ts';

interface Row {
  readonly name: string;
  readonly help: string;
  value(environment: EnvironmentHealth): number;
}

/** Gauges with the environment as label. All are 0 when all is well, except the age. */
const rows: readonly Row[] = [
  {
    name: 'relay_upstream_disconnected',
    help: '1 while an environment is not connected to LaunchDarkly',
    value: ({ upstream }) => Number(upstream === undefined || upstream.state !== 'VALID'),
  },
  {
    name: 'relay_upstream_refused',
    help: "1 while LaunchDarkly rejects an environment's SDK key",
    value: ({ upstream }) => Number(upstream?.refused ?? false),
  },
  {
    name: 'relay_data_age_seconds',
    help: 'Seconds since the flags in memory were last confirmed current (or since the environment was created)',
    value: ({ upstream, createdAt }) => Math.max(0, Date.now() - (upstream?.checkedAt || createdAt)) / 1_000,
  },
  {
    name: 'relay_environments_without_data',
    help: '1 while an environment has no data',
    value: ({ initialized }) => Number(!initialized),
  },
  {
    name: 'relay_unreadable_items',
    help: 'Flags and segments that are invalid and were ignored',
    value: ({ unreadable }) => unreadable.length,
  },
  {
    name: 'relay_failed_items',
    help: 'Flags and segments that could not be evaluated or sent; clients get them without a value',
    value: ({ failedItems }) => failedItems.length,
  },
  {
    name: 'relay_key_problems',
    help: "1 while an environment's keys could not be confirmed by their source",
    value: ({ keyProblem }) => Number(keyProblem !== undefined),
  },
  {
    name: 'relay_big_segments_stale',
    help: "1 while an environment's Big Segments may be out of date",
    value: ({ bigSegments }) => Number(bigSegments?.potentiallyStale ?? false),
  },
];

/** Registers gauges that are computed from the relay's health whenever metrics are read. */
export function watchHealth(registry: Registry, { environments, source, memory, logLinesLost }: Watched): void {
  const registers = [registry];
  const present = oncePerReading(environments);
  for (const { name, help, value } of rows) {
    new Gauge({
      name,
      help,
      labelNames: ['env'],
      registers,
      collect() {
        // Environments come and go.
        this.reset();
        for (const environment of present()) this.set({ env: environment.name }, value(environment));
      },
    });
  }
  new Gauge({
    name: 'relay_store_down',
    help: '1 while a store does not answer',
    labelNames: ['env', 'database'],
    registers,
    collect() {
      this.reset();
      for (const { name, stores } of present()) {
        for (const { database, state } of stores) this.set({ env: name, database }, Number(state === 'INTERRUPTED'));
      }
    },
  });
  const lost = new Counter({
    name: 'relay_log_lines_lost_total',
    help: 'Log lines that stdout did not take: the disk was full, or nobody read',
    registers,
    collect() {
      lost.reset();
      lost.inc(logLinesLost?.() ?? 0);
    },
  });
  new Gauge({
    name: 'relay_key_source_down',
    help: '1 while the source of environments and keys does not answer; the last known ones stay in use',
    registers,
    collect() {
      this.set(Number(source?.()?.state === 'INTERRUPTED'));
    },
  });
  if (memory) watchMemory(registers, memory);
}

function watchMemory(registers: Registry[], memory: () => MemoryUsage): void {
  new Gauge({
    name: 'relay_client_memory_bytes',
    help: 'What the relay holds in memory for clients, estimated, by part: connections, bodies, events, streams; received: what LaunchDarkly has not sent to its end',
    labelNames: ['part'],
    registers,
    collect() {
      for (const [part, bytes] of Object.entries(memory().usedBytes)) this.set({ part }, bytes);
    },
  });
  new Gauge({
    name: 'relay_client_memory_limit_bytes',
    help: 'What each part may take at most, and all of clients together; beyond it new streams and requests get 503',
    labelNames: ['part'],
    registers,
    collect() {
      const { maxBytes, budgetBytes } = memory();
      for (const [part, bytes] of Object.entries(maxBytes)) this.set({ part }, bytes);
      this.set({ part: 'all' }, budgetBytes);
    },
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
