/**
 * Visits all subjects after a change, in slices of a few milliseconds, so that ten thousand contexts do not block everything
 * else. Changes in the meantime are left to the next pass.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { SLICE_MS } from '../common/slices.ts';
import type { Change } from '../ports.ts';
import type { Subject } from './connection.ts';

/** Which answers a change can affect: what a pass evaluates. */
export interface Affected {
  readonly flagKeys: readonly string[];
  /** Whether memberships in Big Segments must be loaded before these flags are evaluated. */
  readonly bigSegments: boolean;
}

export interface PassesOptions {
  readonly subjects: readonly Subject[];
  affected(items: readonly Item[]): Affected;
  /** Awaited before the visit; never rejects. */
  prepare(subject: Subject, work: Affected): Promise<unknown> | undefined;
  visit(subject: Subject, work: Affected): void;
  /** Work for these subjects threw. The pass goes on with the others. */
  failed(subjects: readonly Subject[], error: unknown): void;
  /** After each slice, and each visit that had to wait. */
  paused(): void;
  /** All were visited. `idle`: nothing has changed since the pass began. `since`: when its oldest change arrived. */
  finished(work: Affected, idle: boolean, since: number): void;
}

export interface Passes {
  /** Rises with every change. */
  readonly generation: number;
  /** All subjects were visited after the last change. */
  readonly idle: boolean;
  publish(change: Change): void;
  refresh(flagKeys: readonly string[]): void;
}

/** Contexts whose memberships are loaded at the same time. */
const MAX_PREPARING = 64;

interface Pass {
  readonly work: Affected;
  readonly since: number;
  /** Subjects below it still have their turn; from the end to the beginning, so that none is missed when one leaves. */
  cursor: number;
  preparing: number;
  over: boolean;
}

export function createPasses({ subjects, affected, prepare, visit, failed, paused, finished }: PassesOptions): Passes {
  let running = false;
  // What no pass includes yet.
  let changed = new Map<string, Item>();
  let refreshed = new Set<string>();
  let waitingSince = 0;
  let generation = 0;

  const guarded = (subject: Subject, work: () => void): void => {
    try {
      work();
    } catch (error) {
      failed([subject], error);
    }
  };
  const schedule = (since: number) => {
    generation++;
    if (waitingSince === 0) waitingSince = since;
    if (running) return;
    running = true;
    setImmediate(begin);
  };
  const begin = (): void => {
    let found: Affected = { flagKeys: [], bigSegments: false };
    try {
      found = affected([...changed.values()]);
    } catch (error) {
      failed([...subjects], error);
    }
    const { flagKeys, bigSegments } = found;
    const work: Affected = {
      flagKeys: [...new Set([...flagKeys, ...refreshed])],
      bigSegments: bigSegments || refreshed.size > 0,
    };
    const pass: Pass = { work, since: waitingSince, cursor: subjects.length, preparing: 0, over: false };
    changed = new Map();
    refreshed = new Set();
    waitingSince = 0;
    slice(pass);
  };
  const slice = (pass: Pass): void => {
    const until = performance.now() + SLICE_MS;
    pass.cursor = Math.min(pass.cursor, subjects.length);
    while (pass.cursor > 0 && pass.preparing < MAX_PREPARING) {
      const subject = subjects[--pass.cursor];
      if (!subject) continue;
      guarded(subject, () => {
        const preparation = prepare(subject, pass.work);
        if (preparation) visitAfter(preparation, subject, pass);
        else visit(subject, pass.work);
      });
      if (performance.now() >= until) break;
    }
    paused();
    // If all places are taken, the first to become free continues.
    if (pass.preparing >= MAX_PREPARING) return;
    if (pass.cursor > 0) setImmediate(slice, pass);
    else finishIfDone(pass);
  };
  const visitAfter = (preparation: Promise<unknown>, subject: Subject, pass: Pass): void => {
    pass.preparing++;
    const go = () => {
      const full = pass.preparing-- === MAX_PREPARING;
      if (subject.connections.length > 0) guarded(subject, () => visit(subject, pass.work));
      paused();
      if (full) setImmediate(slice, pass);
      else finishIfDone(pass);
    };
    preparation.then(go, go);
  };
  const finishIfDone = (pass: Pass): void => {
    if (pass.over || pass.preparing > 0 || pass.cursor > 0) return;
    pass.over = true;
    const idle = waitingSince === 0;
    finished(pass.work, idle, pass.since);
    if (idle) running = false;
    else setImmediate(begin);
  };

  return {
    get generation() {
      return generation;
    },
    get idle() {
      return !running;
    },
    publish(change) {
      for (const item of change.items) changed.set(`${item.kind}/${item.key}`, item);
      schedule(change.receivedAt);
    },
    refresh(flagKeys) {
      for (const key of flagKeys) refreshed.add(key);
      schedule(performance.now());
    },
  };
}
