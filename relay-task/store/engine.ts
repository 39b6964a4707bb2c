import type { Kind } from '../../lib/flag-table/index.ts';
import { backoffMs } from '../common/backoff.ts';
import { createPause, sleep } from '../common/pause.ts';
import type { Change, ItemView, Log } from '../ports.ts';
import type { Database, Outcome, Write } from './database.ts';
import { createLedger } from './ledger.ts';
import { createPlanner, type Waiting } from './planner.ts';
import { idOf } from './same-item.ts';
import { type Clock, type EngineTimings, retryTimes } from './timings.ts';

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
  wroteItem?(written: boolean): void;
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

/** An item that others keep changing is left to the next comparison after this many tries. */
const maxRounds = 5;

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
  const flushing = new Set<() => void>();
  let waiting = new Map<string, Waiting>();
  let waitingSince: number | undefined;
  /** What the database is known to have as its manifest; undefined: none, or no marker either. */
  let manifest: string | undefined;
  /** The database has to be read before it can be written. */
  let unknown = true;
  /** Rises when what is being read becomes void. */
  let doubts = 0;
  /** The last publication was postponed or failed. */
  let behind = false;
  let stopped = false;
  let busy = false;
  let hurried = false;
  let oddManifest = false;
  let failures = 0;
  let retryAt = Number.NEGATIVE_INFINITY;
  let glanceAt = database.glance ? Number.NEGATIVE_INFINITY : Infinity;
  let reconcileAt = Number.NEGATIVE_INFINITY;
  let lastPublicationAt = Number.NEGATIVE_INFINITY;

  const active = () => !stopped && view.initialized && permission.granted();
  const upToDate = () => permission.granted() && !unknown && !busy && !behind && waiting.size === 0;
  const settled = () => stopped || !view.initialized || permission.elsewhere() || upToDate();

  function settle(): void {
    if (settled()) for (const resolve of flushing) resolve();
  }

  /** Adds what differs between the database and memory to what waits. */
  async function reconcile(): Promise<void> {
    const doubtsBefore = doubts;
    const contested = unknown && permission.contested();
    const content = await database.readAll();
    // No await from here to the end: memory changes at any time.
    ledger.adopt(content);
    manifest = content.inited ? (content.manifest ?? (database.keepsManifest ? undefined : '')) : undefined;
    const differing = planner.compare();
    for (const one of differing) if (!waiting.has(idOf(one))) waiting.set(idOf(one), one);
    metrics.differing(differing.length);
    if (differing.length > 0)
      log.info('The store is out of date; writing items', { ...where, items: differing.length });
    oddManifest = false;
    unknown = doubts !== doubtsBefore;
    // Up to 5 % sooner or later, so that relays that started together do not read together, and reads cost the same.
    const intervalMs = contested ? timings.secondLookMs : timings.reconcileMs * (0.95 + Math.random() / 10);
    reconcileAt = clock.now() + intervalMs;
  }

  /** The writes that go together, taken off the queue. */
  function take(queue: Write[]): Write[] {
    let bytes = 0;
    let count = 0;
    for (const { item } of queue) {
      bytes += item === undefined ? 0 : Buffer.byteLength(item.json);
      if (count === database.limits.writes || (count > 0 && bytes > database.limits.bytes)) break;
      count += 1;
    }
    return queue.splice(0, count);
  }

  /** Takes over one outcome; returns what to write instead of a write that was not done. */
  function learn(write: Write, outcome: Outcome, work: Waiting): Write | undefined {
    metrics.wroteItem?.(outcome.written);
    if (outcome.written) ledger.wrote(write, outcome.token);
    else if ('problem' in outcome) {
      if (write.item) planner.refused(write.item, outcome.problem);
    } else {
      ledger.found(write.kind, write.key, outcome.row);
      return planner.plan(work);
    }
    return undefined;
  }

  async function apply(work: ReadonlyMap<string, Waiting>): Promise<void> {
    const order = (kind: Kind) => [...work.values()].filter((one) => one.kind === kind);
    const queue = [...order('segments'), ...order('features')].map(planner.plan).filter((one) => one !== undefined);
    const rounds = new Map<string, number>();
    for (;;) {
      // The permission may be renewed: what is not written yet must not count as done.
      if (!permission.granted()) throw new PermissionLostError();
      const chunk = take(queue);
      const wanted = queue.length === 0 ? (database.keepsManifest ? ledger.manifest(chunk) : '') : undefined;
      const finish = wanted === manifest ? undefined : wanted;
      if (chunk.length === 0 && finish === undefined) return;
      const outcomes = await database.apply(chunk, finish);
      for (const [index, write] of chunk.entries()) {
        const id = idOf(write);
        const [outcome, one] = [outcomes[index], work.get(id)];
        const again = outcome && one && learn(write, outcome, one);
        const round = (rounds.get(id) ?? 0) + 1;
        rounds.set(id, round);
        if (again && round < maxRounds) queue.push(again);
        else if (again) log.warn('Others keep changing an item; leaving it for later', { ...where, item: id });
      }
      if (finish !== undefined && outcomes.every(({ written }) => written)) manifest = finish;
    }
  }

  async function publish(): Promise<void> {
    const [work, since] = [waiting, waitingSince];
    [waiting, waitingSince] = [new Map(), undefined];
    lastPublicationAt = clock.now();
    behind = true;
    try {
      await apply(work);
      const outcome = publication ? await publication.publish() : 'published';
      behind = outcome === 'postponed';
      if (outcome === 'published' && since !== undefined) metrics.published((performance.now() - since) / 1000);
    } catch (error) {
      // What was notified meanwhile is as new or newer.
      for (const [id, one] of work) if (one.mode === 'replace' || !waiting.has(id)) waiting.set(id, one);
      waitingSince = since ?? waitingSince;
      throw error;
    }
  }

  async function glance(look: NonNullable<Database['glance']>): Promise<void> {
    const { inited, manifest: found, counts } = await look();
    glanceAt = clock.now() + timings.glanceMs;
    if (!active() || unknown) return;
    const fewer = counts.features < ledger.count('features') || counts.segments < ledger.count('segments');
    const gone = !inited || found === undefined || fewer;
    // Another relay may be a moment ahead or behind: a manifest that is not ours counts when it is seen twice.
    if (gone || (found !== manifest && oddManifest)) unknown = true;
    oddManifest = found !== manifest;
  }

  async function step(): Promise<void> {
    if (active() && (unknown || clock.now() >= reconcileAt)) {
      await reconcile();
      await publish();
    }
    if (database.glance && clock.now() >= glanceAt) await glance(database.glance);
    if (!active() || unknown) return;
    for (const one of planner.lookAgain()) waiting.set(idOf(one), one);
    if (waiting.size > 0 || clock.now() >= publicationDueAt()) await publish();
  }

  const publicationDueAt = () => publication?.dueAt() ?? Infinity;

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

  function wake(): void {
    pause.wake();
    settle();
  }

  return {
    notify(change) {
      if (!permission.expecting()) return;
      for (const { kind, key } of change.items) {
        const id = idOf({ kind, key });
        const fell = change.kind === 'put' || waiting.get(id)?.mode === 'replace';
        waiting.set(id, { kind, key, mode: fell ? 'replace' : 'newer' });
      }
      waitingSince ??= change.receivedAt;
      wake();
    },
    doubt() {
      waiting = new Map();
      waitingSince = undefined;
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
      const finished = () => done.abort();
      flushing.add(finished);
      await sleep(timeoutMs, done.signal);
      flushing.delete(finished);
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
