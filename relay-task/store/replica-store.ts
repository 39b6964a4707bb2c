import type { Registry } from 'prom-client';
import type { Item } from '../../lib/flag-table/index.ts';
import { RelayError } from '../errors.ts';
import type { ItemView, Log, Store, StoreStatus } from '../ports.ts';
import { decodeRow } from './ledger.ts';
import { checkManifest } from './manifest.ts';
import { type ReplicaDatabase, type ReplicaTimings, replicaTimings } from './replica.ts';
import { createReplicaMetrics } from './replica-metrics.ts';
import { sleep } from './timings.ts';
import { startWriteBehind } from './write-behind.ts';

/** What every store of this kind is told about its environment. */
export interface ReplicaStoreOptions {
  /** Of the keys; '': `launchdarkly`. No two environments may share one in a database. */
  readonly prefix: string;
  /** The environment's memory, which the database follows. */
  readonly view: ItemView;
  /** `auto`: writes while eligible. `never`: only reads. */
  readonly writer: 'auto' | 'never';
  /**
   * Unix ms when memory was last known to equal upstream, 0 before. With it, what stands in the store and is newer than
   * memory is overruled only once memory was confirmed later than it was seen: a relay whose stream has silently died
   * then takes nothing back that another relay wrote. Leave it out where nothing ever confirms (files).
   */
  readonly checkedAt?: (() => number) | undefined;
  readonly log: Log;
  readonly registry?: Registry | undefined;
  /** For tests. */
  readonly timings?: Partial<ReplicaTimings> | undefined;
}

/** LaunchDarkly's own default, for Redis and Consul alike. */
export const DEFAULT_PREFIX = 'launchdarkly';

/** A store on such a database. `connect` is given what to call when the connection is a new one. */
export function createReplicaStore(
  options: ReplicaStoreOptions,
  connect: (onReconnected: () => void) => ReplicaDatabase,
): Store {
  const { view, log, registry, checkedAt, writer } = options;
  const prefix = options.prefix || DEFAULT_PREFIX;
  const timings: ReplicaTimings = { ...replicaTimings, ...options.timings };
  const waiters = new Set<() => unknown>();
  let state: StoreStatus['state'] = 'INITIALIZING';
  let stateSince = Date.now();
  let lastError: StoreStatus['lastError'];
  let closing: Promise<void> | undefined;

  const database = connect(() => writeBehind.reconnected());
  const where = { database: database.database, server: database.server, prefix };
  const metrics = createReplicaMetrics(
    registry,
    { database: database.database, prefix },
    {
      up: () => state === 'VALID',
      waiting: () => writeBehind.waiting(),
      oversized: () => writeBehind.oversized().length,
    },
  );

  function report(error: unknown): void {
    if (closing) return;
    const next = error === undefined ? 'VALID' : 'INTERRUPTED';
    if (error !== undefined) {
      metrics.failed();
      lastError = { time: Date.now(), message: database.describe(error) };
      if (state !== 'INTERRUPTED') {
        log.warn('a store fails; memory goes on serving', { ...where, message: lastError.message });
      }
    } else if (state === 'INTERRUPTED') log.info('the store answers again', where);
    if (next !== state) [state, stateSince] = [next, Date.now()];
  }

  /** The readable items, undefined when there is no complete set; a manifest that does not fit is worth a second look. */
  async function readItems(): Promise<readonly Item[] | undefined> {
    for (let look = 1; ; look++) {
      const { rows, inited, manifest } = await database.readAll();
      if (!inited) return undefined;
      const items: Item[] = [];
      for (const kind of ['segments', 'features'] as const) {
        for (const [key, { text }] of rows[kind]) {
          const item = decodeRow(kind, key, text);
          if ('problem' in item) log.error('an item of the store is skipped', { ...where, problem: item.problem });
          else items.push(item);
        }
      }
      const check = checkManifest(manifest, items);
      if (check.verdict === 'unverified') {
        log.info('the store has no manifest: its set is complete by its marker, but unverified', where);
      }
      if (check.verdict !== 'partial') return items;
      if (look === 2) {
        log.warn('the store holds no complete set', { ...where, reason: check.reason });
        return undefined;
      }
      await sleep(timings.rereadMs);
    }
  }

  const writeBehind = startWriteBehind({
    ...{ database, prefix, view, checkedAt, timings, metrics, log },
    mayWrite: writer === 'auto',
    onOutcome: report,
    onChange() {
      for (const look of waiters) look();
    },
  });

  return {
    async read() {
      try {
        const items = await readItems();
        report(undefined);
        return items;
      } catch (error) {
        report(error);
        const message = `${database.database} at ${database.server}: ${database.describe(error)}`;
        throw new RelayError('STORE_UNAVAILABLE', message, { cause: error });
      }
    },
    notify: writeBehind.notify,
    setEligible: writeBehind.setEligible,
    status() {
      const oversized = writeBehind.oversized();
      return {
        ...{ state, stateSince, database: database.database, dbServer: database.server, dbPrefix: prefix },
        writer: writeBehind.writing(),
        ...(lastError && { lastError }),
        ...(oversized.length > 0 && { oversized }),
      };
    },
    async flush(timeoutMs) {
      if (writeBehind.settled()) return;
      writeBehind.hurry();
      await new Promise<void>((resolve) => {
        const end = () => {
          clearTimeout(timer);
          waiters.delete(look);
          resolve();
        };
        const look = () => writeBehind.settled() && end();
        const timer = setTimeout(end, timeoutMs);
        waiters.add(look);
      });
    },
    close() {
      closing ??= (async () => {
        await writeBehind.close();
        metrics.close();
        await database.close();
      })();
      return closing;
    },
  };
}
