import { backoffMs } from '../common/backoff.ts';
import { createPause, sleep } from '../common/pause.ts';
import type { Change } from '../ports.ts';
import { createSteps, PermissionLostError, type StepOptions } from './engine-steps.ts';
import { retryTimes } from './timings.ts';
import { createWaitingItems } from './waiting.ts';

/** Keeps one database equal to memory, with writes behind the changes. */
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

interface EngineOptions extends StepOptions {
  /** A step ended, well (undefined) or not. */
  onOutcome(error: unknown): void;
}

/**
 * Starts at once, and writes as soon as the permission is granted and memory has data. Only the newest version of each item
 * is ever written, segments before flags. After a failure everything is read back, since it is unknown which writes were
 * done, and only what differs is written. Every write is a compare-and-set on what was last seen, so tasks with the same
 * memory agree even when several write.
 */
export function startEngine(options: EngineOptions): Engine {
  const { permission, clock, timings } = options;
  const { view } = options.graves;
  const pause = createPause();
  const waiting = createWaitingItems();
  const flushing = new Set<() => void>();
  let stopped = false;
  let busy = false;
  let hurried = false;
  let failures = 0;
  let retryAt = Number.NEGATIVE_INFINITY;

  const steps = createSteps(options, waiting, () => !stopped && view.initialized && permission.granted());
  const upToDate = () => permission.granted() && !busy && steps.isDone();
  const settled = () => stopped || !view.initialized || permission.elsewhere() || upToDate();

  /** Something may have ended that a flush waits for. */
  function settle(): void {
    if (settled()) for (const resolve of flushing) resolve();
  }

  function wake(): void {
    pause.wake();
    settle();
  }

  async function run(): Promise<void> {
    while (!stopped) {
      const now = clock.now();
      const dueAt = now < retryAt ? retryAt : steps.dueAt(hurried);
      if (now < dueAt) {
        await pause.wait(dueAt - now);
        continue;
      }
      busy = true;
      let problem: unknown;
      try {
        await steps.step();
        failures = 0;
      } catch (error) {
        problem = error;
        steps.doubt();
      }
      busy = false;
      // Losing the permission is no failure of the database.
      if (!(problem instanceof PermissionLostError)) {
        if (problem !== undefined) {
          failures += 1;
          retryAt = clock.now() + timings.retryBaseMs + backoffMs(failures, retryTimes(timings));
        }
        if (waiting.size === 0) hurried = false;
        if (!stopped) options.onOutcome(problem);
      }
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
      steps.doubt();
      failures = 0;
      retryAt = Number.NEGATIVE_INFINITY;
      wake();
    },
    wake,
    reconnected() {
      steps.glanceSoon();
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
    oversized: steps.oversized,
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
