/**
 * Visits all subjects after a change, in slices of a few milliseconds, so that ten thousand contexts do not block everything
 * else. The addresses of their clients take turns, and a change does not wait until all were visited after the one before:
 * each subject is visited for all changes since its last visit.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { createFairQueue } from '../common/fair-queue.ts';
import { inNextTurn, sliceEnd } from '../common/slices.ts';
import type { Change } from '../ports.ts';
import type { Subject } from './connection.ts';
import { createLanes, type Lane, type Lanes } from './lanes.ts';
import { type Affected, createRounds, type Rounds, type RoundsOptions, type Work } from './rounds.ts';

export interface PassesOptions extends RoundsOptions {
  affected(items: readonly Item[]): Affected;
  /** Awaited before subjects are visited for a change: what every visit needs. */
  ready(): Promise<unknown> | undefined;
  /** Awaited before the visit; never rejects. */
  prepare(subject: Subject, work: Work): Promise<unknown> | undefined;
  /** In steps of less than a millisecond. Visits of other subjects continue meanwhile. */
  visit(subject: Subject, work: Work): Generator<void, void>;
  /** Work for these subjects threw. The others are still visited. */
  failed(subjects: readonly Subject[], error: unknown): void;
  /** After each slice. */
  paused(): void;
}

/** Contexts whose memberships are loaded at the same time. */
const MAX_PREPARING = 64;
/** Visits in progress. More than one, since one of them may take long; of an address only those that were prepared. */
const MAX_VISITING = 4;

export type Passes = ReturnType<typeof createPasses>;

export function createPasses(options: PassesOptions) {
  const { affected, ready, failed, paused } = options;
  const rounds = createRounds(options);
  const lanes = createLanes(rounds);
  const pending = createPending();
  let scheduled = false;
  /** Whether the next round is about to begin. */
  let isDue = false;
  let waitingSince = 0;
  let generation = 0;

  const schedule = (since: number) => {
    generation++;
    if (isDue) return;
    isDue = true;
    waitingSince = since;
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
      if (lanes.any) found = affected(pending.items());
    } catch (error) {
      failed(lanes.subjects(), error);
    }
    isDue = false;
    rounds.begin({ ...pending.take(found), generation }, waitingSince);
    lanes.begin();
    if (!scheduled) slice();
  };
  const slice = (): void => {
    scheduled = false;
    const until = sliceEnd();
    while (visits.proceed(until) && performance.now() < until);
    paused();
    goOn();
  };
  const goOn = (): void => {
    if (scheduled || !visits.any) return;
    scheduled = true;
    inNextTurn(slice);
  };
  const visits = createVisits(options, rounds, lanes, goOn);

  return {
    /** Rises with every change. */
    get generation() {
      return generation;
    },
    /** All subjects were visited after the last change. */
    get idle() {
      return rounds.settled === generation;
    },
    /** From now on it is visited after changes. What changed before is in the answers that it gets first. */
    join: lanes.join,
    leave: lanes.leave,
    publish(change: Change): void {
      pending.add(change.items);
      schedule(change.receivedAt);
    },
    refresh(flagKeys: readonly string[]): void {
      pending.refresh(flagKeys);
      schedule(performance.now());
    },
    /** Whether some subject may not have been visited yet after the last change that affects the flag. */
    concerns: (key: string) => rounds.concerns(key) || pending.concerns(key),
  };
}

/** What no round includes yet. */
function createPending() {
  let changed = new Map<string, Item>();
  let refreshed = new Set<string>();
  const nameOf = ({ kind, key }: Pick<Item, 'kind' | 'key'>) => `${kind}/${key}`;
  return {
    items: () => [...changed.values()],
    add(items: readonly Item[]): void {
      for (const item of items) changed.set(nameOf(item), item);
    },
    refresh(flagKeys: readonly string[]): void {
      for (const key of flagKeys) refreshed.add(key);
    },
    concerns: (key: string) => refreshed.has(key) || changed.has(nameOf({ kind: 'features', key })),
    /** Everything for one round. `found`: what the items affect. */
    take({ flagKeys, bigSegments }: Affected): Affected {
      const all = {
        flagKeys: [...new Set([...flagKeys, ...refreshed])],
        bigSegments: bigSegments || refreshed.size > 0,
      };
      changed = new Map();
      refreshed = new Set();
      return all;
    },
  };
}

interface Visit {
  readonly lane: Lane;
  readonly subject: Subject;
  readonly work: Work;
  /** They begin when it is entered. */
  readonly steps: Generator<void, void>;
}

/** Visits that are being prepared, that wait, and that are in progress. `goOn`: there may be something to do again. */
function createVisits(options: PassesOptions, rounds: Rounds, lanes: Lanes, goOn: () => void) {
  const { prepare, failed } = options;
  const prepared = createFairQueue<Visit>();
  const open: Visit[] = [];
  let preparing = 0;

  const begin = (lane: Lane, subject: Subject): void => {
    const work = rounds.workSince(subject.round);
    const visit = { lane, subject, work, steps: options.visit(subject, work) };
    let preparation: Promise<unknown> | undefined;
    try {
      preparation = prepare(subject, work);
    } catch (error) {
      failed([subject], error);
    }
    if (!preparation) {
      enter(visit);
      return;
    }
    preparing++;
    lanes.wait(lane);
    const go = () => {
      preparing--;
      prepared.push(['', subject.address], visit);
      goOn();
    };
    preparation.then(go, go);
  };
  const enter = (visit: Visit): void => {
    lanes.enter(visit.lane);
    open.push(visit);
  };
  const beginNext = (): boolean => {
    const next = prepared.shift();
    if (next) enter(next);
    return next !== undefined || (preparing < MAX_PREPARING && lanes.turn(begin));
  };
  /** Visits until the time is over or the visit is. Returns whether the visit is over. */
  const advance = ({ subject, steps }: Visit, until: number): boolean => {
    try {
      while (subject.connections.length > 0) {
        if (steps.next().done) return true;
        if (performance.now() >= until) return false;
      }
      steps.return();
    } catch (error) {
      failed([subject], error);
    }
    return true;
  };

  return {
    get any() {
      return open.length > 0 || prepared.size > 0 || (lanes.waiting && preparing < MAX_PREPARING);
    },
    /** Begins a visit or a preparation if there is a place, and continues the next visit. False: there is nothing to do at present. */
    proceed(until: number): boolean {
      const hasBegun = open.length < MAX_VISITING && beginNext();
      const next = open.shift();
      if (!next) return hasBegun;
      if (advance(next, until)) lanes.end(next.lane, next.subject, next.work.generation);
      else open.push(next);
      return true;
    },
  };
}
