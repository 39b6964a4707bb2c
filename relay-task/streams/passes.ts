/**
 * Visits all subjects after a change, in slices of a few milliseconds, so that ten thousand contexts do not block everything
 * else. Changes in the meantime are left to the next pass.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { createFairQueue } from '../common/fair-queue.ts';
import { inNextTurn, sliceEnd } from '../common/slices.ts';
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
  /** In which order they are visited: as they come, or so that the addresses of their clients take turns. */
  readonly order: 'any' | 'by address';
  affected(items: readonly Item[]): Affected;
  /** Awaited before a pass begins: what every visit needs. */
  ready(): Promise<unknown> | undefined;
  /** Awaited before the visit; never rejects. */
  prepare(subject: Subject, work: Affected): Promise<unknown> | undefined;
  /** In steps of less than a millisecond. No other visit begins before it is over. */
  visit(subject: Subject, work: Affected): Generator<void, void>;
  /** Work for these subjects threw. The pass goes on with the others. */
  failed(subjects: readonly Subject[], error: unknown): void;
  /** After each slice. */
  paused(): void;
  /** All were visited. `since`: when the oldest change of the pass arrived. */
  finished(work: Affected, since: number): void;
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
  /** Subjects that still have their turn. */
  readonly rest: Rest;
  preparing: number;
  /** Those whose preparation is over. */
  readonly prepared: Subject[];
  visiting: { readonly subject: Subject; readonly steps: Generator<void, void> } | undefined;
  scheduled: boolean;
  over: boolean;
}

interface Rest {
  readonly size: number;
  shift(): Subject | undefined;
}

/** From the end to the beginning, so that none is missed when one leaves. */
function backwards(subjects: readonly Subject[]): Rest {
  let cursor = subjects.length;
  return {
    get size() {
      cursor = Math.min(cursor, subjects.length);
      return cursor;
    },
    shift() {
      cursor = Math.min(cursor, subjects.length);
      return cursor > 0 ? subjects[--cursor] : undefined;
    },
  };
}

function byAddress(subjects: readonly Subject[]): Rest {
  const queue = createFairQueue<Subject>();
  for (const subject of subjects) queue.push(['', subject.connections[0]?.address ?? ''], subject);
  return queue;
}

export function createPasses(options: PassesOptions): Passes {
  const { subjects, affected, ready, prepare, visit, failed, paused, finished } = options;
  let running = false;
  // What no pass includes yet.
  let changed = new Map<string, Item>();
  let refreshed = new Set<string>();
  let waitingSince = 0;
  let generation = 0;

  const schedule = (since: number) => {
    generation++;
    if (waitingSince === 0) waitingSince = since;
    if (running) return;
    running = true;
    inNextTurn(begin);
  };
  const begin = (): void => {
    const waits = ready();
    if (waits) waits.then(begin, start);
    else start();
  };
  const start = (): void => {
    let found: Affected = { flagKeys: [], bigSegments: false };
    try {
      if (subjects.length > 0) found = affected([...changed.values()]);
    } catch (error) {
      failed([...subjects], error);
    }
    const { flagKeys, bigSegments } = found;
    const work: Affected = {
      flagKeys: [...new Set([...flagKeys, ...refreshed])],
      bigSegments: bigSegments || refreshed.size > 0,
    };
    const pass: Pass = {
      ...{ work, since: waitingSince, preparing: 0, prepared: [] },
      rest: options.order === 'any' ? backwards(subjects) : byAddress(subjects),
      ...{ visiting: undefined, scheduled: false, over: false },
    };
    changed = new Map();
    refreshed = new Set();
    waitingSince = 0;
    slice(pass);
  };
  const slice = (pass: Pass): void => {
    pass.scheduled = false;
    const until = sliceEnd();
    do {
      if (!pass.visiting && !next(pass)) break;
      if (pass.visiting) advance(pass, until);
    } while (performance.now() < until);
    paused();
    continueWith(pass);
  };
  /** Begins the next visit, or a preparation. False: at present there is nothing to begin. */
  const next = (pass: Pass): boolean => {
    const prepared = pass.prepared.pop();
    const subject = prepared ?? (pass.preparing < MAX_PREPARING ? pass.rest.shift() : undefined);
    if (!subject) return false;
    try {
      const preparation = prepared ? undefined : prepare(subject, pass.work);
      if (preparation) prepareFirst(pass, subject, preparation);
      else if (subject.connections.length > 0) pass.visiting = { subject, steps: visit(subject, pass.work) };
    } catch (error) {
      failed([subject], error);
    }
    return true;
  };
  const prepareFirst = (pass: Pass, subject: Subject, preparation: Promise<unknown>): void => {
    pass.preparing++;
    const go = () => {
      pass.preparing--;
      pass.prepared.push(subject);
      continueWith(pass);
    };
    preparation.then(go, go);
  };
  /** Visits until the time is over or the visit is. */
  const advance = (pass: Pass, until: number): void => {
    const { visiting } = pass;
    if (!visiting) return;
    try {
      while (!visiting.steps.next().done) if (performance.now() >= until) return;
    } catch (error) {
      failed([visiting.subject], error);
    }
    pass.visiting = undefined;
  };
  const continueWith = (pass: Pass): void => {
    if (pass.scheduled || pass.over) return;
    const mayBegin = pass.rest.size > 0 && pass.preparing < MAX_PREPARING;
    if (pass.visiting || pass.prepared.length > 0 || mayBegin) {
      pass.scheduled = true;
      inNextTurn(() => slice(pass));
    } else if (pass.preparing === 0) finish(pass);
  };
  const finish = (pass: Pass): void => {
    pass.over = true;
    if (waitingSince === 0) running = false;
    else inNextTurn(begin);
    finished(pass.work, pass.since);
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
