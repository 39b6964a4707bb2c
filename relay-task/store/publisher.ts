import type { Change, ItemView, Log } from '../ports.ts';
import type { Table } from './dynamodb-client.ts';
import type { Lease } from './lease.ts';
import type { StoreMetrics } from './metrics.ts';
import type { OfficialWriter, Work } from './official-writer.ts';
import { type Reconciler, readContent } from './reconcile.ts';
import { idOf } from './same-item.ts';
import type { SnapshotWriter } from './snapshot-writer.ts';
import { backoffMs, type Clock, createAlarm, sleep, type Timings } from './timings.ts';

/** Thrown by the guard of every write: the lease is not ours, or no longer long enough. */
export class NotHolderError extends Error {
  constructor() {
    super('this task does not hold the lease of the flag table');
    this.name = 'NotHolderError';
  }
}

/** Brings the table to what memory holds, one step at a time: publications and reconciliations never overlap. */
export interface Publisher {
  notify(change: Change): void;
  /** The lease changed, or memory may have become complete. */
  wake(): void;
  /** The lease was lost: everything believed of the table is void. */
  forget(): void;
  /** True when everything notified so far is in the table. */
  settled(): boolean;
  /** Unix ms when the table was last known to hold what upstream has; undefined: leave what stands there. */
  checkedAt(): number | undefined;
  /** Skips the pause between publications until `settled`. */
  hurry(): void;
  /** Resolves when nothing is under way, at the latest after `closeGraceMs`, when requests are cut off. */
  quiesce(): Promise<void>;
  stop(): void;
}

export function startPublisher(options: {
  table: Table;
  prefix: string;
  view: ItemView;
  lease: Lease;
  official: OfficialWriter;
  snapshot: SnapshotWriter;
  reconciler: Reconciler;
  /** Unix ms: when memory was last known to equal upstream. */
  memoryCheckedAt(): number;
  clock: Clock;
  timings: Timings;
  metrics: StoreMetrics;
  log: Log;
  /** A step ended, well (undefined) or not. */
  onOutcome(error: unknown): void;
}): Publisher {
  const { table, prefix, view, lease, official, snapshot, reconciler, clock, timings, metrics, log } = options;
  const alarm = createAlarm();
  /** What memory changed since the last publication; the newest version is looked up when it is written. */
  let waiting = new Map<string, Work>();
  let waitingSince: number | undefined;
  let snapshotBehind = false;
  /** The table has to be read before it can be written: a new term, or a write whose end nobody knows. */
  let unknown = true;
  let reconcileAt = Infinity;
  let lastPublicationAt = Number.NEGATIVE_INFINITY;
  let retryAt = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let busy = false;
  let stopped = false;
  let hurried = false;
  let lastCheckedAt: number | undefined;

  function settled(): boolean {
    return lease.held() && !unknown && !busy && waiting.size === 0 && !snapshotBehind;
  }

  async function reconcile(): Promise<void> {
    const term = lease.term();
    const content = await readContent(table, prefix);
    await snapshot.adopt(content.snapshot);
    // Nothing may wait between the comparison and the bookkeeping: memory changes at any time.
    const work = reconciler.compare(content);
    for (const one of work) {
      // A version that memory knows to have fallen needs no second look.
      if (waiting.get(idOf(one))?.mode !== 'replace') waiting.set(idOf(one), one);
    }
    if (work.length > 0) log.info('the flag table differs from memory', { prefix, items: work.length });
    metrics.differing(work.length);
    // Whoever held the lease until it ran out may have had a last write under way: look once more, soon.
    const first = unknown && term?.start === 'expired';
    reconcileAt = clock.now() + (first ? timings.secondLookMs : timings.reconcileMs);
    unknown = lease.term() !== term;
  }

  async function publish(): Promise<void> {
    const work = waiting;
    const since = waitingSince;
    waiting = new Map();
    waitingSince = undefined;
    snapshotBehind = true;
    lastPublicationAt = clock.now();
    const memoryCheckedAt = options.memoryCheckedAt();
    try {
      await official.write(work.values());
      await official.markInited();
      const outcome = await snapshot.publish(memoryCheckedAt);
      snapshotBehind = outcome === 'postponed';
      if (outcome !== 'postponed') lastCheckedAt = memoryCheckedAt;
      if (outcome === 'published' && since !== undefined) metrics.published((performance.now() - since) / 1000);
    } catch (error) {
      // Whatever was notified meanwhile is as new or newer.
      for (const [id, one] of work) {
        const later = waiting.get(id);
        if (!later || one.mode === 'replace') waiting.set(id, one);
      }
      waitingSince = since ?? waitingSince;
      throw error;
    }
  }

  async function step(): Promise<void> {
    if (unknown || clock.now() >= reconcileAt) {
      await reconcile();
      await publish();
      return;
    }
    if (clock.now() >= reconciler.nextLookAt()) {
      for (const one of await reconciler.lookAgain()) waiting.set(idOf(one), one);
    }
    if (waiting.size > 0 || snapshotBehind || clock.now() >= snapshot.dueAt()) await publish();
  }

  /** How long there is nothing to do, in ms. */
  function pauseMs(): number {
    if (!lease.held() || !view.initialized) return Infinity;
    const now = clock.now();
    if (now < retryAt) return retryAt - now;
    if (unknown) return 0;
    const gapMs = hurried ? 0 : Math.max(0, lastPublicationAt + timings.publishGapMs - now);
    const pending = waiting.size > 0 ? gapMs : Infinity;
    return Math.max(0, Math.min(pending, reconcileAt - now, reconciler.nextLookAt() - now, snapshot.dueAt() - now));
  }

  async function run(): Promise<void> {
    while (!stopped) {
      const pause = pauseMs();
      if (pause > 0) {
        await alarm.wait(pause);
        continue;
      }
      busy = true;
      try {
        await step();
        failures = 0;
        busy = false;
        if (waiting.size === 0) hurried = false;
        options.onOutcome(undefined);
      } catch (error) {
        busy = false;
        unknown = true;
        if (error instanceof NotHolderError || stopped || !lease.held()) continue;
        retryAt = clock.now() + timings.retryBaseMs + backoffMs(failures, timings);
        failures += 1;
        options.onOutcome(error);
      }
    }
  }
  void run();

  return {
    notify(change) {
      if (!lease.term()) return;
      for (const { kind, key } of change.items) {
        const id = idOf({ kind, key });
        const fell = change.kind === 'put' || waiting.get(id)?.mode === 'replace';
        waiting.set(id, { kind, key, mode: fell ? 'replace' : 'newer' });
      }
      waitingSince ??= change.receivedAt;
      alarm.wake();
    },
    wake: () => alarm.wake(),
    forget() {
      waiting = new Map();
      waitingSince = undefined;
      unknown = true;
      lastCheckedAt = undefined;
      if (failures > 0) options.onOutcome(undefined);
      failures = 0;
      alarm.wake();
    },
    settled,
    checkedAt() {
      if (settled()) lastCheckedAt = options.memoryCheckedAt();
      return lastCheckedAt;
    },
    hurry() {
      hurried = true;
      alarm.wake();
    },
    async quiesce() {
      const deadline = clock.now() + timings.closeGraceMs;
      while (busy && clock.now() < deadline) await sleep(Math.min(10, timings.closeGraceMs));
      if (busy) table.abort();
    },
    stop() {
      stopped = true;
      alarm.wake();
    },
  };
}
