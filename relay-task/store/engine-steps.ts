/** What an engine does in one step. */
import { spread } from '../common/backoff.ts';
import type { Budget } from '../common/budget.ts';
import { inSlices } from '../common/slices.ts';
import type { Log, LogFields, WrittenWork } from '../ports.ts';
import { createApplier } from './apply.ts';
import type { Content, Database } from './database.ts';
import type { Graves } from './graves.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { createPlanner } from './planner.ts';
import { type TakeRead, whileReading } from './read-memory.ts';
import type { Clock, EngineTimings } from './timings.ts';
import type { TakenWork, WaitingItems } from './waiting.ts';

/** Whether this task writes the environment at present. Call the engine's `doubt` when that changes. */
export interface Permission {
  /** May it write at this moment? */
  granted(): boolean;
  /** Whether to remember changes: they are written now, or when a lapsed permission is renewed. */
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

/** The receipt of the oldest change in it, by `performance.now()`; undefined: a comparison found what it wrote. */
type Published = (since: number | undefined) => void;

interface EngineMetrics {
  /** One compare-and-set was answered. */
  readonly wroteItem?: ((written: boolean) => void) | undefined;
  /** Items that a comparison found to differ from memory. */
  differing(items: number): void;
  /** Seconds from the receipt of the first change to its being stored. */
  published(seconds: number): void;
}

export interface StepOptions {
  readonly database: Database;
  /** Memory, as far as the store has to hold it. */
  readonly graves: Graves;
  readonly permission: Permission;
  readonly publication?: Publication | undefined;
  /** Called when a publication begins; what it returns is called when that one is complete. Must not throw. */
  publishing?(): Published;
  /** Names where the data in memory comes from, such as one SDK key's stream. */
  readonly source?: (() => string | undefined) | undefined;
  /**
   * Monotonic ms when memory was last known to equal upstream, 0 before. With it, a row newer than memory is overruled only
   * once memory was confirmed later than the row was seen, so a relay whose stream has silently died reverts nothing
   * that another relay wrote. Absent where nothing ever confirms memory (files), or where a lease does.
   */
  readonly checkedNow?: (() => number) | undefined;
  readonly clock: Clock;
  readonly timings: EngineTimings;
  readonly metrics: EngineMetrics;
  /** Changes are stored. */
  readonly onWritten?: ((written: WrittenWork) => void) | undefined;
  readonly log: Log;
  /** For what is read. */
  readonly readMemory: Budget;
  /** For log lines: which store of which environment. */
  readonly where: LogFields;
}

/** A write was not attempted, since this task may not write now or for too short a time. */
export class PermissionLostError extends Error {
  constructor() {
    super('this task may not write the store');
    this.name = 'PermissionLostError';
  }
}

export function createSteps(options: StepOptions, waiting: WaitingItems, active: () => boolean) {
  const { database, graves, permission, publication, clock, timings, metrics, log, where } = options;
  const { view } = graves;
  const ledger = createLedger(view);
  const planner = createPlanner({ ...options, ledger });
  const applier = createApplier({ ...options, view, ledger, planner, wroteItem: metrics.wroteItem });
  /** The database has to be read before it can be written. */
  let unknown = true;
  /** Rises when what is being read becomes void. */
  let doubts = 0;
  /** The last publication was postponed or failed. */
  let behind = false;
  /** Something that others kept changing is left to the next comparison. */
  let contested = false;
  let glanceAt = database.glance ? Number.NEGATIVE_INFINITY : Infinity;
  let reconcileAt = Number.NEGATIVE_INFINITY;
  let lastPublicationAt = Number.NEGATIVE_INFINITY;

  const publicationDueAt = () => publication?.dueAt() ?? Infinity;

  /** Adds what differs between the database and memory to what waits. */
  async function reconcile(take: TakeRead): Promise<void> {
    const doubtsBefore = doubts;
    const mayChangeYet = unknown && permission.contested();
    const content = await database.readAll(take);
    await prepareAll(ledger, content);
    // No await from here to the end: memory changes at any time.
    const isWhole = applier.adopt(content);
    if (isWhole) graves.look([...ledger.all()].filter(({ deleted }) => deleted));
    const differing = planner.compare();
    waiting.addDiffering(differing);
    metrics.differing(differing.length);
    if (differing.length > 0) {
      const what = isEmpty(content) ? 'Filling the empty store' : 'The store is out of date; writing items';
      log.info(what, { ...where, items: differing.length });
    }
    contested = false;
    unknown = doubts !== doubtsBefore;
    // Up to 5 % sooner or later, so that relays that started together do not read together, and reads cost the same.
    const intervalMs = mayChangeYet ? timings.secondLookMs : spread(timings.reconcileMs, 0.05);
    reconcileAt = clock.now() + intervalMs;
  }

  async function publish(): Promise<void> {
    const work = waiting.take();
    lastPublicationAt = clock.now();
    behind = true;
    const tell = options.publishing?.();
    try {
      const { later, isContested } = await applier.apply(work.items, demandPermission);
      if (isContested) {
        contested = true;
        reconcileAt = Math.min(reconcileAt, clock.now() + timings.secondLookMs);
      }
      waiting.putBack({ items: later, since: undefined });
      const outcome = publication ? await publication.publish() : 'published';
      behind = outcome === 'postponed';
      // A change is published when the later publication is.
      if (outcome === 'postponed') waiting.putBack({ items: new Map(), since: work.since, until: work.until });
      if (outcome === 'published') {
        const written = writtenOf(work);
        const seconds = written && (performance.now() - written.since) / 1000;
        if (seconds !== undefined) metrics.published(seconds);
        tell?.(written?.since);
        if (written) options.onWritten?.(written);
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

  /** Compares, glances and writes, as far as each is due. After it rejected, call `doubt`. */
  async function step(): Promise<void> {
    if (active() && (unknown || clock.now() >= reconcileAt)) {
      await whileReading(options.readMemory, reconcile);
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

  return {
    step,
    /** Monotonic ms at which a step has something to do. `hurried`: changes do not wait for `publishGapMs`. */
    dueAt(hurried: boolean): number {
      if (!active()) return glanceAt;
      if (unknown) return Number.NEGATIVE_INFINITY;
      const writeAt = hurried ? Number.NEGATIVE_INFINITY : lastPublicationAt + timings.publishGapMs;
      const waitingAt = waiting.size > 0 ? writeAt : Infinity;
      return Math.min(waitingAt, glanceAt, reconcileAt, planner.nextLookAt(), publicationDueAt());
    },
    /** Whether the database has everything, as far as is known. */
    isDone: () => !unknown && !behind && !contested && waiting.size === 0,
    /** Everything believed of the database is void, with what is just being read. */
    doubt(): void {
      unknown = true;
      doubts += 1;
    },
    glanceSoon(): void {
      glanceAt = Math.min(glanceAt, clock.now());
    },
    oversized: planner.oversized,
  };
}

/** Undefined: a comparison found all of it. */
function writtenOf({ since, until = since, items }: TakenWork): WrittenWork | undefined {
  return since === undefined || until === undefined ? undefined : { since, until, items: items.size };
}

const isEmpty = ({ rows: { features, segments } }: Content) => features.size + segments.size === 0;

/** Comparing the texts of thousands of items takes long. A second pass finds what memory has changed during the first. */
async function prepareAll(ledger: Ledger, { rows: { features, segments } }: Content): Promise<void> {
  for (let pass = 1; pass <= 2; pass += 1) {
    for (const rows of [segments, features]) await inSlices(ledger.prepare(rows.values()));
  }
}
