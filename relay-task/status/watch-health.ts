import { Gauge, type Registry } from 'prom-client';
import type { EnvironmentHealth } from './health.ts';
import type { Watched } from './metrics.ts';

interface Row {
  readonly name: string;
  readonly help: string;
  value(environment: EnvironmentHealth): number;
}

/** One gauge each, with the environment as its label. Every one is 0 when all is well, but for the age. */
const rows: readonly Row[] = [
  {
    name: 'relay_upstream_disconnected',
    help: '1 while what an environment holds is not current with LaunchDarkly',
    value: ({ upstream }) => Number(upstream === undefined || upstream.state !== 'VALID'),
  },
  {
    name: 'relay_upstream_refused',
    help: "1 while LaunchDarkly refuses an environment's SDK key",
    value: ({ upstream }) => Number(upstream?.refused ?? false),
  },
  {
    name: 'relay_data_age_seconds',
    help: 'since memory was last known to equal upstream; since the environment exists, before that',
    value: ({ upstream, createdAt }) => Math.max(0, Date.now() - (upstream?.checkedAt || createdAt)) / 1_000,
  },
  {
    name: 'relay_environments_without_data',
    help: '1 while an environment has nothing to serve',
    value: ({ initialized }) => Number(!initialized),
  },
  {
    name: 'relay_unreadable_items',
    help: 'flags and segments that were skipped because they could not be understood',
    value: ({ unreadable }) => unreadable.length,
  },
  {
    name: 'relay_key_problems',
    help: '1 while the source of keys cannot vouch for those of an environment',
    value: ({ keyProblem }) => Number(keyProblem !== undefined),
  },
  {
    name: 'relay_big_segments_stale',
    help: '1 while the Big Segments of an environment may be out of date',
    value: ({ bigSegments }) => Number(bigSegments?.potentiallyStale ?? false),
  },
];

/** Registers gauges that are computed from the relay's health whenever they are read. */
export function watchHealth(registry: Registry, { environments, source }: Watched): void {
  const registers = [registry];
  for (const { name, help, value } of rows) {
    new Gauge({
      ...{ name, help, labelNames: ['env'], registers },
      collect() {
        // Environments come and go.
        this.reset();
        for (const environment of environments()) this.set({ env: environment.name }, value(environment));
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
      for (const { name, stores } of environments()) {
        for (const { database, state } of stores) this.set({ env: name, database }, Number(state === 'INTERRUPTED'));
      }
    },
  });
  new Gauge({
    name: 'relay_key_source_down',
    help: '1 while the source of environments and keys does not answer; what it said last stays in force',
    registers,
    collect() {
      this.set(Number(source?.()?.state === 'INTERRUPTED'));
    },
  });
}
