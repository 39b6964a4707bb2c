import type { ItemView, Log } from '../ports.ts';
import type { Table } from './dynamodb-client.ts';
import { type Lease, startLease } from './lease.ts';
import type { StoreMetrics } from './metrics.ts';
import { createOfficialWriter, type OfficialWriter } from './official-writer.ts';
import { NotHolderError, type Publisher, startPublisher } from './publisher.ts';
import { createReconciler } from './reconcile.ts';
import { createSnapshotWriter, type SnapshotWriter } from './snapshot-writer.ts';
import type { Clock, Timings } from './timings.ts';

/** The writing side of a store: a lease, and what may be done while it is held. */
export interface Writer {
  readonly lease: Lease;
  readonly publisher: Publisher;
  readonly official: OfficialWriter;
  readonly snapshot: SnapshotWriter;
  /** Nothing is left to do for this task: all is written, or writing is somebody else's. */
  settled(): boolean;
  /** Stops writing and releases the lease. */
  close(): Promise<void>;
}

/** Introduces the lease and the publisher to each other; each write asks the lease first. */
export function startWriter(options: {
  table: Table;
  prefix: string;
  owner: string;
  view: ItemView;
  memoryCheckedAt(): number;
  clock: Clock;
  timings: Timings;
  metrics: StoreMetrics;
  log: Log;
  onOutcome(part: 'lease' | 'publication', error: unknown): void;
  /** `settled` may have become true. */
  onChange(): void;
}): Writer {
  const { table, onOutcome, onChange } = options;
  let publisher: Publisher | undefined;

  const lease: Lease = startLease({
    ...options,
    checkedAt: () => publisher?.checkedAt(),
    onChange() {
      if (lease.term()) publisher?.wake();
      else publisher?.forget();
      onChange();
    },
    quiesce: async () => publisher?.quiesce(),
    onOutcome: (error) => onOutcome('lease', error),
  });
  const guarded = table.guardedBy(() => {
    if (!lease.held()) throw new NotHolderError();
  });
  const shared = { ...options, table: guarded, lease };
  const official = createOfficialWriter(shared);
  const snapshot = createSnapshotWriter(shared);
  const reconciler = createReconciler({ ...shared, official });
  publisher = startPublisher({
    ...{ ...shared, official, snapshot, reconciler },
    onOutcome: (error) => onOutcome('publication', error),
  });
  const thePublisher = publisher;

  return {
    lease,
    publisher,
    official,
    snapshot,
    settled: () => lease.elsewhere() || thePublisher.settled(),
    async close() {
      thePublisher.stop();
      await lease.close();
    },
  };
}
