import { backoffMs } from '../common/backoff.ts';
import { createPause, sleep } from '../common/pause.ts';
import type { Change, ItemView, Log } from '../ports.ts';
import { createApplier } from './apply.ts';
import type { Database } from './database.ts';
import { createLedger } from './ledger.ts';
import { createPlanner } from './planner.ts';
import { type Clock, type EngineTimings, retryTimes } from './timings.ts';
import { createWaitingItems } from './waiting.ts';

/** Whether this task writes the environment at present. Call the engine's `doubt` when that changes. */
export interface Permission {
  /** May it write at this moment? */
  granted(): boolean;
  /** Whether changes have to be remembered, to be written now or when the permission, which lapsed, is renewed. */
  expecting(): boolean;
  /** True when another task writes, or none: nothing to wait for. */
  elsewhere(): boolean;
  /** Whether a task that wrote before may still have a write in progress. */
  contested(): boolean;
}

/** What follows a write of items, such as the snapshot beside them. */
export interface Publication {
  /** `postponed`: it is too early, see `dueAt`. */
  publish(): Promise<'published' | 'unchanged' | 'postponed'>;
  /** Monotonic ms at which `publish` has something to do although nothing changes; Infinity: never. */
  dueAt(): number;
}

/** Keeps one database at what memory holds, written behind. */
export interface Engine {
  notify(change: Change): void;
  /** The permission changed: everything believed of the database is void. */
  doubt(): void;
  /** Something else changed that the loop waits for: a lease was renewed, memory became complete. */
  wake(): void;
  /** The connection is new: the database may be another server. */
  reconnected(): void;
  /** True when this task writes, and the database has everything notified so far. */
  upToDate(): boolean;
  /** Resolves when the database has everything notified so far, when another task writes, or when the time is over. */
  flush(timeoutMs: number): Promise<void>;
  /** Items that the layout cannot hold, each with the reason. */
  oversized(): readonly string[];
  /** How many items wait to be written. */
  waiting(): number;
  /** Resolves when no step is in progress (true), or after `closeGraceMs` (false). */
  idle(): Promise<boolean>;
  /** No step begins from now on. */
  stop(): void;
}

export interface EngineMetrics {
  /** One compare-and-set was answered. */
  readonly wroteItem?: ((written: boolean) => void) | undefined;
  /** Items that a comparison found to differ from memory. */
  differing(items: number): void;
  /** Seconds from the receipt of the first change to its being stored. */
  published(seconds: number): void;
}

export interface EngineOptions {
  readonly database: Database;
  readonly view: ItemView;
  readonly permission: Permission;
  readonly publication?: Publication | undefined;
  /**
   * Unix ms when memory was last known to equal upstream, 0 before. With it, a row newer than memory is overruled only
   * once memory was confirmed later than the row was seen, so a relay whose stream has silently died takes nothing back
   * that another relay wrote. Absent where nothing ever confirms memory (files), or where a lease does.
   */
  readonly checkedAt?: (() => number) | undefined;
  readonly clock: Clock;
  readonly timings: EngineTimings;
  readonly metrics: EngineMetrics;
  readonly log: Log;
  /** For log lines: which store of which environment. */
  readonly where: Readonly<Record<string, unknown>>;
  /** A step ended, well (undefined) or not. */
  onOutcome(error: unknown): void;
}

/** A write was not attempted, since this task may not write now or for too short a time. */
export class PermissionLostError extends Error {
  constructor() {
    super('this task may not write the store');
    this.name = 'PermissionLostError';
  }
}

/**
 * Starts at once, and writes as soon as the permission is granted and memory has data. Only the newest version of each item
 * is ever written, segments before flags. After a failure everything is read back, since nobody knows which writes were
 * done, and only what differs is written. Every write is a compare-and-set on what was last seen, so tasks with the same
 * memory agree even when several write.
 */
export function startEngine(options: EngineOptions): Engine {
  const { database, view, permission, publication, clock, timings, metrics, log, where } = options;
  const pause = createPause();
  const ledger = createLedger(view);
  const planner = createPlanner({ ...options, ledger });
  const applier = createApplier({ database, ledger, planner, log, where, wroteItem: metrics.wroteItem });
  const waiting = createWaitingItems();
  const flushing = new Set<() => void>();
  /** The database has to be read before it can be written. */
  let unknown = true;
  /** Rises when what is being read becomes void. */
  let doubts = 0;
  /** The last publication was postponed or failed. */
  let behind = false;
  let stopped = false;
  let busy = false;
  let hurried = false;
  let failures = 0;
  let retryAt = Number.NEGATIVE_INFINITY;
  let glanceAt = database.glance ? Number.NEGATIVE_INFINITY : Infinity;
  let reconcileAt = Number.NEGATIVE_INFINITY;
  let lastPublicationAt = Number.NEGATIVE_INFINITY;

  const active = () => !stopped && view.initialized && permission.granted();
  const upToDate = () => permission.granted() && !unknown && !busy && !behind && waiting.size === 0;
  const settled = () => stopped || !view.initialized || permission.elsewhere() || upToDate();
  const publicationDueAt = () => publication?.dueAt() ?? Infinity;

  /** Something may have ended that a flush waits for. */
  function settle(): void {
    if (settled()) for (const resolve of flushing) resolve();
  }

  function wake(): void {
    pause.wake();
    settle();
  }

  /** Adds what differs between the database and memory to what waits. */
  async function reconcile(): Promise<void> {
    const doubtsBefore = doubts;
    const contested = unknown && permission.contested();
    const content = await database.readAll();
    // No await from here to the end: memory changes at any time.
    applier.adopt(content);
    const differing = planner.compare();
    waiting.addDiffering(differing);
    metrics.differing(differing.length);
    if (differing.length > 0) {
      log.info('The store is out of date; writing items', { ...where, items: differing.length });
    }
    unknown = doubts !== doubtsBefore;
    // Up to 5 % sooner or later, so that relays that started together do not read together, and reads cost the same.
    const intervalMs = contested ? timings.secondLookMs : timings.reconcileMs * (0.95 + Math.random() / 10);
    reconcileAt = clock.now() + intervalMs;
  }

  async function publish(): Promise<void> {
    const work = waiting.take();
    lastPublicationAt = clock.now();
    behind = true;
    try {
      await applier.apply(work.items, demandPermission);
      const outcome = publication ? await publication.publish() : 'published';
      behind = outcome === 'postponed';
      if (outcome === 'published' && work.since !== undefined) {
        metrics.published((performance.now() - work.since) / 1000);
      }
    } catch (error) {
      waiting.putBack(work);
      throw error;
    }
  }

  /** The permission may be renewed later: what is not written yet must not count as done. */
  function demandPermission(): void {
    if (!permission.granted()) throw new PermissionLostError();
  }

  async function step(): Promise<void> {
    if (active() && (unknown || clock.now() >= reconcileAt)) {
      await reconcile();
      await publish();
    }
    if (database.glance && clock.now() >= glanceAt) {
      const glance = await database.glance();
      glanceAt = clock.now() + timings.glanceMs;
      if (active() && !unknown) unknown = applier.isSuspicious(glance);
    }
    if (!active() || unknown) return;
    waiting.addOverruling(planner.lookAgain());
    if (waiting.size > 0 || clock.now() >= publicationDueAt()) await publish();
  }

  /** How long there is nothing to do, in ms. */
  function pauseMs(): number {
    const time = clock.now();
    if (time < retryAt) return retryAt - time;
    if (!active()) return glanceAt - time;
    if (unknown) return 0;
    const gapMs = hurried ? 0 : Math.max(0, lastPublicationAt + timings.publishGapMs - time);
    const dueAt = Math.min(glanceAt, reconcileAt, planner.nextLookAt(), publicationDueAt());
    return Math.min(waiting.size > 0 ? gapMs : Infinity, dueAt - time);
  }

  async function run(): Promise<void> {
    while (!stopped) {
      const ms = pauseMs();
      if (ms > 0) {
        await pause.wait(ms);
        continue;
      }
      busy = true;
      let problem: unknown;
      try {
        await step();
        failures = 0;
      } catch (error) {
        problem = error;
        unknown = true;
      }
      busy = false;
      // Losing the permission is no failure of the database.
      if (problem instanceof PermissionLostError) {
        settle();
        continue;
      }
      if (problem !== undefined) {
        failures += 1;
        retryAt = clock.now() + timings.retryBaseMs + backoffMs(failures, retryTimes(timings));
      }
      if (waiting.size === 0) hurried = false;
      if (!stopped) options.onOutcome(problem);
      settle();
    }
  }
  void run();

  return {
    notify(change) {
      if (!permission.expecting()) return;
      waiting.notify(change);
      wake();
    },
    doubt() {
      waiting.clear();
      unknown = true;
      doubts += 1;
      failures = 0;
      retryAt = Number.NEGATIVE_INFINITY;
      wake();
    },
    wake,
    reconnected() {
      glanceAt = Math.min(glanceAt, clock.now());
      wake();
    },
    upToDate,
    async flush(timeoutMs) {
      if (settled()) return;
      hurried = true;
      wake();
      const done = new AbortController();
      const finish = () => done.abort();
      flushing.add(finish);
      await sleep(timeoutMs, done.signal);
      flushing.delete(finish);
    },
    oversized: planner.oversized,
    waiting: () => waiting.size,
    async idle() {
      const deadline = clock.now() + timings.closeGraceMs;
      while (busy && clock.now() < deadline) await sleep(Math.min(10, timings.closeGraceMs));
      return !busy;
    },
    stop() {
      stopped = true;
      wake();
    },
  };
}
