import type { Item } from '../../lib/flag-table/index.ts';
import type { Budget } from '../common/budget.ts';
import { createSkippedLines } from '../common/paced-lines.ts';
import { sleep } from '../common/pause.ts';
import type { Log, LogFields, Store, StoredSet } from '../ports.ts';
import type { Database } from './database.ts';
import { startEngine } from './engine.ts';
import { createEngineStore, type EngineStoreOptions } from './engine-store.ts';
import { createGraves } from './graves.ts';
import { checkManifest, hasFlags } from './manifest.ts';
import { createReplicaMetrics } from './metrics.ts';
import { createReadMemory, whileReading } from './read-memory.ts';
import { createStoreState } from './store-state.ts';
import { type EngineTimings, replicaTimings, systemClock } from './timings.ts';

/** What every store without a lease needs to know. An empty prefix is `launchdarkly`. */
export interface ReplicaStoreOptions extends EngineStoreOptions {
  /** For tests. */
  readonly timings?: Partial<EngineTimings> | undefined;
}

/** A database that a store without a lease can use. */
export interface ReplicaDatabase extends Database {
  /** Where it is, for people; never with a password. */
  readonly server: string;
  glance: NonNullable<Database['glance']>;
  close(): Promise<void>;
}

/** LaunchDarkly's own default, for Redis and Consul alike. */
export const DEFAULT_PREFIX = 'launchdarkly';

/** A store on such a database. `connect` gets the function to call when the connection is a new one. */
export function createReplicaStore(
  options: ReplicaStoreOptions,
  connect: (onReconnected: () => void) => ReplicaDatabase,
): Store {
  const { log, writer, checkedNow, readMemory = createReadMemory() } = options;
  const prefix = options.prefix || DEFAULT_PREFIX;
  const timings: EngineTimings = { ...replicaTimings, ...options.timings };
  const graves = createGraves({ view: options.view, checkedNow, clock: systemClock, timings });
  const database = connect(() => engine.reconnected());
  const { name, server } = database;
  const where = { database: name, server, prefix };
  const state = createStoreState({
    clock: systemClock,
    log,
    where,
    describe: database.describe,
    serves: () => options.view.initialized,
  });
  const metrics = createReplicaMetrics(
    options.measures,
    { env: options.env ?? '', database: name, prefix },
    {
      up: () => Number(state.read().state === 'VALID'),
      waiting_items: () => engine.waiting(),
      oversized_items: () => engine.oversized().length,
    },
  );
  const tellSkipped = createSkippedLines((skipped) =>
    log.error('Items in the store are invalid and were left out', {
      ...where,
      ...skipped,
      runbook: 'operations.md#unreadable-items',
    }),
  );
  let eligible = false;
  let closed = false;
  const writing = () => writer === 'auto' && eligible && !closed;

  function report(part: 'read' | 'write', error: unknown): void {
    if (closed) return;
    if (error !== undefined) metrics.failed();
    state.report(part, error);
  }

  const engine = startEngine({
    database,
    graves,
    readMemory,
    source: options.source,
    checkedNow,
    permission: {
      granted: writing,
      expecting: writing,
      elsewhere: () => !writing(),
      contested: () => false,
    },
    clock: systemClock,
    timings,
    metrics,
    onWritten: options.onWritten,
    log,
    where,
    onOutcome: (error) => report('write', error),
  });

  return createEngineStore({
    engine,
    place: `${name} at ${server}`,
    describe: database.describe,
    readItems: () => readItems(database, { log, where, rereadMs: timings.rereadMs, readMemory, tellSkipped }),
    async readStamp() {
      const { inited, manifest } = await database.glance();
      return inited ? manifest : undefined;
    },
    onRead: (error) => report('read', error),
    setEligible(next) {
      if (next === eligible) return;
      eligible = next;
      engine.doubt();
    },
    status: () => ({ ...state.read(), database: name, dbServer: server, dbPrefix: prefix, writer: writing() }),
    async close() {
      closed = true;
      engine.stop();
      await engine.idle();
      metrics.close();
      await database.close();
    },
  });
}

/** The set, without unreadable items; undefined when it is not complete. If the manifest does not fit, the set is read once more. */
async function readItems(
  database: Database,
  options: {
    readonly log: Log;
    readonly where: LogFields;
    readonly rereadMs: number;
    readonly readMemory: Budget;
    tellSkipped(problems: readonly string[]): void;
  },
): Promise<StoredSet | undefined> {
  const { log, where, rereadMs, readMemory, tellSkipped } = options;
  for (let look = 1; ; look++) {
    const { rows, inited, manifest } = await whileReading(readMemory, database.readAll);
    if (!inited) return undefined;
    const items: Item[] = [];
    const problems: string[] = [];
    for (const { item } of [...rows.segments.values(), ...rows.features.values()]) {
      if ('problem' in item) problems.push(item.problem);
      else items.push(item);
    }
    tellSkipped(problems);
    const check = checkManifest(manifest, items);
    if (check.verdict === 'unverified') {
      if (!hasFlags(items)) {
        log.warn('The store is marked complete, but has no manifest and no flag; not using it', {
          ...where,
          runbook: 'operations.md#store-lost-items',
        });
        return undefined;
      }
      log.info('The store has no manifest; it is marked complete but cannot be verified', where);
    }
    if (check.verdict !== 'partial') return { items, source: check.source };
    if (look === 2) {
      log.warn('The set in the store is not complete; not using it', {
        ...where,
        reason: check.reason,
        runbook: 'operations.md#store-lost-items',
      });
      return undefined;
    }
    await sleep(rereadMs);
  }
}
