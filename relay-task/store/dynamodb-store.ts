import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { namespaces, type Rev } from '../../lib/flag-table/index.ts';
import { createSkippedLines } from '../common/paced-lines.ts';
import type { Store } from '../ports.ts';
import {
  createDynamoDBClient,
  createTable,
  type DynamoDBClientOptions,
  describeDynamoDBError,
  textOf,
} from './dynamodb-client.ts';
import { createDynamoDBDatabase } from './dynamodb-database.ts';
import { type Engine, startEngine } from './engine.ts';
import { type Permission, PermissionLostError, type Publication } from './engine-steps.ts';
import { createEngineStore, type EngineStoreOptions } from './engine-store.ts';
import { createGraves } from './graves.ts';
import { type Lease, startLease } from './lease.ts';
import { createTableMetrics } from './metrics.ts';
import { readItems } from './read-items.ts';
import { createReadMemory, whileReading } from './read-memory.ts';
import { createSnapshotWriter } from './snapshot-writer.ts';
import { createStoreState } from './store-state.ts';
import { type Clock, defaultTimings, systemClock, type Timings } from './timings.ts';

/** An empty prefix is none. A task writes while it holds the lease. */
export interface DynamoDBStoreOptions extends DynamoDBClientOptions, EngineStoreOptions {
  readonly tableName: string;
  /** Unix ms when memory was last known to equal upstream, 0 before: `UpstreamStatus.checkedAt`. */
  checkedAt(): number;
  /** Names this process and no other one, ever: a host name is not enough, add something random. Shown in the table. */
  readonly owner: string;
  /** As `StepOptions.publishing`, with the revision that was published. */
  publishing?(): (since: number | undefined, rev: Rev | undefined) => void;
  /** The caller's client, which the caller also closes. Default: a client of its own. */
  readonly client?: DynamoDBClient;
  /** For tests. */
  readonly clock?: Clock;
  /** For tests. */
  readonly timings?: Partial<Timings>;
}

/**
 * The DynamoDB flag table as a replica of one environment's memory: LaunchDarkly's own layout, and the snapshot beside it.
 * Competes for the lease from the start, once `setEligible(true)` was called. Nothing rejects but `read`, with
 * `STORE_UNAVAILABLE`. `flush` resolves at once on a task that does not hold the lease: the holder writes.
 */
export function createDynamoDBStore(options: DynamoDBStoreOptions): Store {
  const { tableName, prefix, log, clock = systemClock, readMemory = createReadMemory() } = options;
  const timings: Timings = { ...defaultTimings, ...options.timings };
  const graves = createGraves({ ...options, clock, timings });
  const { view } = graves;
  const client = options.client ?? createDynamoDBClient(options);
  const where = { database: 'dynamodb', tableName, prefix };
  const describe = (error: unknown) => describeDynamoDBError(error, tableName);
  const state = createStoreState({ clock, log, where, describe, serves: () => options.view.initialized });
  const metrics = createTableMetrics(
    options.measures,
    { env: options.env ?? '', table: tableName, prefix },
    {
      lease_held: () => Number(lease?.held() ?? false),
      snapshot_bytes: () => snapshot.figures().bytes,
      revision_epoch: () => snapshot.figures().rev?.epoch ?? 0,
      revision_seq: () => snapshot.figures().rev?.seq ?? 0,
      oversized_items: () => engine.oversized().length,
    },
  );
  const table = createTable({ client, tableName, timings, observer: metrics });
  const guarded = table.guardedBy(() => {
    if (!lease?.held()) throw new PermissionLostError();
  });
  /** Unix ms when the table was last known to hold what upstream has; undefined: leave what the head says. */
  let checkedAt: number | undefined;

  const lease: Lease | undefined =
    options.writer === 'never'
      ? undefined
      : startLease({
          ...options,
          table,
          clock,
          timings,
          checkedAt() {
            if (engine.upToDate()) checkedAt = options.checkedAt();
            return checkedAt;
          },
          onChange() {
            if (lease?.term()) return engine.wake();
            checkedAt = undefined;
            engine.doubt();
            state.report('write', undefined);
          },
          async quiesce() {
            if (!(await engine.idle())) table.abort();
          },
          onOutcome: (error) => state.report('lease', error),
        });
  const tellSkipped = createSkippedLines((skipped) =>
    log.error('Items in the flag table are invalid and were left out', {
      prefix,
      ...skipped,
      runbook: 'operations.md#unreadable-items',
    }),
  );
  const snapshot = createSnapshotWriter({ ...options, table: guarded, view, lease, clock, timings });
  const publication: Publication = {
    async publish() {
      const confirmedAt = options.checkedAt();
      const outcome = await snapshot.publish(confirmedAt);
      if (outcome !== 'postponed') checkedAt = confirmedAt;
      return outcome;
    },
    dueAt: snapshot.dueAt,
  };
  const engine: Engine = startEngine({
    database: createDynamoDBDatabase({ table: guarded, tableName, prefix, clock, onSnapshot: snapshot.adopt }),
    graves,
    readMemory,
    permission: permissionOf(lease),
    publication,
    publishing() {
      const tell = options.publishing?.();
      return (since) => tell?.(since, snapshot.figures().rev);
    },
    clock,
    timings,
    metrics,
    onWritten: options.onWritten,
    log,
    where,
    onOutcome(error) {
      // Without the lease nothing is written, and an aborted write says nothing about the table.
      if (error === undefined || lease?.held()) state.report('write', error);
    },
  });
  return createEngineStore({
    engine,
    place: 'flag table',
    describe,
    readItems: () => whileReading(readMemory, (take) => readItems({ table, prefix, log, take, tellSkipped })),
    async readStamp() {
      const head = await table.get({ namespace: namespaces(prefix).snapshot, key: 'head' }, { consistent: false });
      return (head && textOf(head, 'rev')) || undefined;
    },
    onRead: (error) => state.report('read', error),
    setEligible: (eligible) => lease?.setEligible(eligible),
    status: () => ({
      ...state.read(),
      database: 'dynamodb',
      dbTable: tableName,
      dbServer: options.endpoint ?? options.region,
      ...(prefix !== '' && { dbPrefix: prefix }),
      writer: lease?.held() ?? false,
    }),
    async close() {
      engine.stop();
      await lease?.close();
      table.abort();
      metrics.close();
      if (!options.client) client.destroy();
    },
  });
}

/** Undefined: this task never writes. */
function permissionOf(lease: Lease | undefined): Permission {
  return {
    granted: () => lease?.held() ?? false,
    expecting: () => lease?.term() !== undefined,
    elsewhere: () => lease?.elsewhere() ?? true,
    contested: () => lease?.term()?.start === 'expired',
  };
}
