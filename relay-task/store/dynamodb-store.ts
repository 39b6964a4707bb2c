import { DynamoDBClient, type DynamoDBClientConfig } from '@aws-sdk/client-dynamodb';
import type { Registry } from 'prom-client';
import { RelayError } from '../errors.ts';
import type { ItemView, Log, Store, StoreStatus } from '../ports.ts';
import { createTable, describeError } from './dynamodb-client.ts';
import { createStoreMetrics } from './metrics.ts';
import { readItems } from './read-items.ts';
import { type Clock, defaultTimings, systemClock, type Timings } from './timings.ts';
import { startWriter, type Writer } from './writer.ts';

export interface DynamoDBStoreOptions {
  readonly tableName: string;
  /** '' for none. No two environments may share one in a table. */
  readonly prefix: string;
  /** The environment's memory, which the table follows. */
  readonly view: ItemView;
  /** Unix ms when memory was last known to equal upstream, 0 before: `UpstreamStatus.checkedAt`. */
  checkedAt(): number;
  /** `auto`: writes while it holds the lease. `never`: only reads, as relays outside the home region must. */
  readonly writer: 'auto' | 'never';
  /** Names this process and no other one, ever: a host name is not enough, add something random. Shown in the table. */
  readonly owner: string;
  readonly log: Log;
  readonly registry?: Registry;
  /** A client of the caller's, who also closes it; else one is made of the next three. */
  readonly client?: DynamoDBClient;
  readonly region?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly credentials?: DynamoDBClientConfig['credentials'];
  /** For tests. */
  readonly clock?: Clock;
  /** For tests. */
  readonly timings?: Partial<Timings>;
}

/**
 * The DynamoDB flag table as a replica of one environment's memory: LaunchDarkly's own layout, and the snapshot beside it.
 * Looks after its lease from the start; it is taken once `setEligible(true)` was called. Nothing rejects but `read`,
 * with `STORE_UNAVAILABLE`. `flush` resolves at once on a task that does not hold the lease: the holder writes.
 */
export function createDynamoDBStore(options: DynamoDBStoreOptions): Store {
  const { tableName, prefix, view, log, owner, clock = systemClock } = options;
  const timings: Timings = { ...defaultTimings, ...options.timings };
  const client = options.client ?? createDynamoDBClient(options);
  /** What fails at present. */
  const troubles = new Set<string>();
  const waiters = new Set<() => unknown>();
  let state: StoreStatus['state'] = 'INITIALIZING';
  let stateSince = clock.wall();
  let lastError: StoreStatus['lastError'];
  let writer: Writer | undefined;

  const metrics = createStoreMetrics(
    options.registry,
    { table: tableName, prefix },
    {
      held: () => writer?.lease.held() ?? false,
      snapshotBytes: () => writer?.snapshot.figures().bytes ?? 0,
      epoch: () => writer?.snapshot.figures().rev?.epoch ?? 0,
      seq: () => writer?.snapshot.figures().rev?.seq ?? 0,
      oversized: () => writer?.official.oversized().length ?? 0,
    },
  );
  const table = createTable({ client, tableName, timings, observer: metrics });

  function report(part: 'read' | 'lease' | 'publication', error: unknown): void {
    if (error === undefined) {
      troubles.delete(part);
      troubles.delete('read');
    } else {
      const message = describeError(error, tableName);
      if (!troubles.has(part))
        log.warn('the flag table fails; memory goes on serving', { tableName, prefix, part, message });
      troubles.add(part);
      lastError = { time: clock.wall(), message };
    }
    const next = troubles.size > 0 ? 'INTERRUPTED' : 'VALID';
    if (next !== state) {
      if (state === 'INTERRUPTED') log.info('the flag table answers again', { tableName, prefix });
      [state, stateSince] = [next, clock.wall()];
    }
    wakeWaiters();
  }

  function wakeWaiters(): void {
    for (const look of waiters) look();
  }

  if (options.writer === 'auto') {
    writer = startWriter({
      ...{ table, prefix, owner, view, clock, timings, metrics, log },
      memoryCheckedAt: options.checkedAt,
      onOutcome: report,
      onChange: wakeWaiters,
    });
  }

  return {
    async read() {
      try {
        const items = await readItems({ table, prefix, log });
        report('read', undefined);
        return items;
      } catch (error) {
        report('read', error);
        throw new RelayError('STORE_UNAVAILABLE', `flag table: ${describeError(error, tableName)}`, { cause: error });
      }
    },
    notify: (change) => writer?.publisher.notify(change),
    setEligible: (eligible) => writer?.lease.setEligible(eligible),
    status() {
      const oversized = writer?.official.oversized() ?? [];
      return {
        ...{ state, stateSince, database: 'dynamodb' as const, dbTable: tableName },
        dbServer: options.endpoint ?? options.region,
        ...(prefix !== '' && { dbPrefix: prefix }),
        writer: writer?.lease.held() ?? false,
        ...(lastError && { lastError }),
        ...(oversized.length > 0 && { oversized }),
      };
    },
    async flush(timeoutMs) {
      if (!writer || writer.settled()) return;
      writer.publisher.hurry();
      const { settled } = writer;
      await new Promise<void>((resolve) => {
        const end = () => {
          clearTimeout(timer);
          waiters.delete(look);
          resolve();
        };
        const look = () => settled() && end();
        const timer = setTimeout(end, timeoutMs);
        waiters.add(look);
      });
    },
    async close() {
      await writer?.close();
      table.abort();
      if (!options.client) client.destroy();
    },
  };
}

/** A client for any number of stores. */
export function createDynamoDBClient({
  region,
  endpoint,
  credentials,
}: Pick<DynamoDBStoreOptions, 'region' | 'endpoint' | 'credentials'>): DynamoDBClient {
  return new DynamoDBClient({
    // Retries are ours: the lease decides how long a write may still be tried.
    maxAttempts: 1,
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials !== undefined && { credentials }),
  });
}
