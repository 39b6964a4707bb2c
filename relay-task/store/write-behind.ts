import type { Kind } from '../../lib/flag-table/index.ts';
import type { Change, ItemView, Log } from '../ports.ts';
import { createLedger, type Planned } from './ledger.ts';
import { createPlanner, type Waiting } from './planner.ts';
import type { ReplicaDatabase, ReplicaTimings } from './replica.ts';
import type { ReplicaMetrics } from './replica-metrics.ts';
import { idOf } from './same-item.ts';
import { backoffMs, createAlarm, sleep } from './timings.ts';

/** Brings one database to what memory holds; the writing side of a store that has neither lease nor snapshot. */
export interface WriteBehind {
  notify(change: Change): void;
  setEligible(eligible: boolean): void;
  /** The connection is a new one: what stands there may be another server's word. */
  reconnected(): void;
  /** Whether this relay writes. */
  writing(): boolean;
  /** True when there is nothing to write, or nothing that this relay may write. */
  settled(): boolean;
  /** Skips the pause between publications until settled. */
  hurry(): void;
  /** Items that the layout cannot hold, each with the reason. */
  oversized(): readonly string[];
  /** How many items wait to be written. */
  waiting(): number;
  /** Writes nothing any more; waits a moment for what is under way. */
  close(): Promise<void>;
}

/** An item that others keep changing under our hands is left to the next comparison after so many tries. */
const maxRounds = 5;

/**
 * Starts at once: glances at the database, and writes as soon as this relay is eligible and memory has data. Only the
 * newest version of each item is ever written, segments before flags. After a failure everything is read back, since
 * nobody knows which writes were done, and only what differs is written. Several relays may do this to one database:
 * every write is a compare-and-set on what was last seen, so equal writers agree.
 */
export function startWriteBehind(options: {
  database: ReplicaDatabase;
  prefix: string;
  view: ItemView;
  /** False: only glances. */
  mayWrite: boolean;
  /** Unix ms when memory was last known to equal upstream; absent: always. */
  checkedAt?: (() => number) | undefined;
  timings: ReplicaTimings;
  metrics: ReplicaMetrics;
  log: Log;
  /** A step ended, well (undefined) or not. */
  onOutcome(error: unknown): void;
  /** `settled` may have changed. */
  onChange(): void;
}): WriteBehind {
  const { database, prefix, view, timings, metrics, log } = options;
  const where = { database: database.database, prefix };
  const alarm = createAlarm();
  const ledger = createLedger(view);
  const planner = createPlanner({ ...options, ledger });
  let waiting = new Map<string, Waiting>();
  let waitingSince: number | undefined;
  /** The manifest that stands in the database; undefined: none, or no marker either. */
  let manifest: string | undefined;
  /** The database has to be read before it can be written. */
  let unknown = true;
  let eligible = false;
  let stopped = false;
  let busy = false;
  let hurried = false;
  let odd = false;
  let failures = 0;
  let retryAt = 0;
  let glanceAt = 0;
  let reconcileAt = 0;
  let lastPublicationAt = Number.NEGATIVE_INFINITY;

  const now = () => performance.now();
  const writing = () => options.mayWrite && eligible && !stopped;
  const active = () => writing() && view.initialized;
  const settled = () => !active() || (!unknown && !busy && waiting.size === 0);

  /** Adds what differs between the database and memory to what waits. */
  async function reconcile(): Promise<void> {
    const content = await database.readAll();
    // Nothing may wait from here to the end: memory changes at any time.
    ledger.adopt(content);
    manifest = content.inited ? content.manifest : undefined;
    const differing = planner.compare();
    for (const one of differing) if (!waiting.has(idOf(one))) waiting.set(idOf(one), one);
    metrics.differing(differing.length);
    if (differing.length > 0) log.info('the store differs from memory', { ...where, items: differing.length });
    odd = false;
    unknown = false;
    // A little earlier now and then: relays that started together need not read together.
    reconcileAt = now() + timings.reconcileMs * (1 - Math.random() / 10);
  }

  function take(queue: Planned[]): Planned[] {
    let bytes = 0;
    let count = 0;
    for (const { write } of queue) {
      bytes += write.text === undefined ? 0 : Buffer.byteLength(write.text);
      if (count === database.limits.writes || (count > 0 && bytes > database.limits.bytes)) break;
      count += 1;
    }
    return queue.splice(0, count);
  }

  async function apply(work: Map<string, Waiting>): Promise<void> {
    const order = (kind: Kind) => [...work.values()].filter((one) => one.kind === kind);
    const queue = [...order('segments'), ...order('features')].map(planner.plan).filter((one) => one !== undefined);
    const tries = new Map<string, number>();
    for (;;) {
      if (!writing()) return;
      const chunk = take(queue);
      const wanted = queue.length === 0 ? ledger.manifest(chunk) : undefined;
      const finish = wanted === manifest ? undefined : wanted;
      if (chunk.length === 0 && finish === undefined) return;
      const outcomes = await database.apply(
        chunk.map(({ write }) => write),
        finish,
      );
      for (const [index, outcome] of outcomes.entries()) {
        const planned = chunk[index]!;
        const { kind, key } = planned.write;
        const id = idOf(planned.write);
        metrics.wrote(outcome.written);
        if (outcome.written) {
          ledger.wrote(planned, outcome.token);
          continue;
        }
        ledger.found(kind, key, outcome.row);
        const again = planner.plan(work.get(id)!);
        const tried = (tries.get(id) ?? 0) + 1;
        tries.set(id, tried);
        if (again && tried < maxRounds) queue.push(again);
        else if (again)
          log.warn('an item keeps being changed by others; it is looked at later', { ...where, item: id });
      }
      if (finish !== undefined && outcomes.every(({ written }) => written)) manifest = finish;
    }
  }

  async function publish(): Promise<void> {
    const [work, since] = [waiting, waitingSince];
    [waiting, waitingSince] = [new Map(), undefined];
    lastPublicationAt = now();
    try {
      await apply(work);
      if (since !== undefined) metrics.published((now() - since) / 1000);
    } catch (error) {
      // Whatever was notified meanwhile is as new or newer.
      for (const [id, one] of work) if (one.mode === 'replace' || !waiting.has(id)) waiting.set(id, one);
      waitingSince = since ?? waitingSince;
      throw error;
    }
  }

  async function glance(): Promise<void> {
    const { inited, manifest: found, counts } = await database.glance();
    glanceAt = now() + timings.glanceMs;
    if (!active() || unknown) return;
    const fewer = counts.features < ledger.count('features') || counts.segments < ledger.count('segments');
    const gone = !inited || found === undefined || fewer;
    // Another relay may be a moment ahead or behind: a manifest that is not ours counts when it is seen twice.
    if (gone || (found !== manifest && odd)) unknown = true;
    odd = found !== manifest;
  }

  async function step(): Promise<void> {
    if (active() && (unknown || now() >= reconcileAt)) {
      await reconcile();
      await publish();
    }
    if (now() >= glanceAt) await glance();
    if (!active() || unknown) return;
    for (const one of planner.lookAgain()) waiting.set(idOf(one), one);
    if (waiting.size > 0) await publish();
  }

  /** How long there is nothing to do, in ms. */
  function pauseMs(): number {
    const time = now();
    if (time < retryAt) return retryAt - time;
    if (!active()) return glanceAt - time;
    if (unknown) return 0;
    const gapMs = hurried ? 0 : Math.max(0, lastPublicationAt + timings.publishGapMs - time);
    const others = [glanceAt, reconcileAt, planner.nextLookAt()].map((at) => at - time);
    return Math.min(waiting.size > 0 ? gapMs : Infinity, ...others);
  }

  async function run(): Promise<void> {
    while (!stopped) {
      const pause = pauseMs();
      if (pause > 0) {
        await alarm.wait(pause);
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
        retryAt = now() + timings.retryBaseMs + backoffMs(failures, timings);
        failures += 1;
      }
      busy = false;
      if (waiting.size === 0) hurried = false;
      if (!stopped) options.onOutcome(problem);
      options.onChange();
    }
  }
  void run();

  return {
    notify(change) {
      if (!writing()) return;
      for (const { kind, key } of change.items) {
        const id = idOf({ kind, key });
        const fell = change.kind === 'put' || waiting.get(id)?.mode === 'replace';
        waiting.set(id, { kind, key, mode: fell ? 'replace' : 'newer' });
      }
      waitingSince ??= change.receivedAt;
      alarm.wake();
    },
    setEligible(next) {
      if (next === eligible) return;
      eligible = next;
      unknown = true;
      if (!next) waiting = new Map();
      alarm.wake();
      options.onChange();
    },
    reconnected() {
      glanceAt = 0;
      alarm.wake();
    },
    writing,
    settled,
    hurry() {
      hurried = true;
      alarm.wake();
    },
    oversized: planner.oversized,
    waiting: () => waiting.size,
    async close() {
      stopped = true;
      alarm.wake();
      const deadline = now() + timings.closeGraceMs;
      while (busy && now() < deadline) await sleep(10);
    },
  };
}
