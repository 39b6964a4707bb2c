/**
 * Visits all subjects after a change, in slices of a few milliseconds, so that ten thousand contexts do not block everything
 * else. The addresses of their clients take turns, and a change does not wait until all were visited after the one before:
 * each subject is visited for all changes since its last visit.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { createFairQueue } from '../common/fair-queue.ts';
import { inNextTurn, sliceEnd } from '../common/slices.ts';
import type { Change } from '../ports.ts';
import { type Subject, swapRemove } from './connection.ts';

/** Which answers a change can affect: what a visit evaluates. */
export interface Affected {
  readonly flagKeys: readonly string[];
  /** Whether memberships in Big Segments must be loaded before these flags are evaluated. */
  readonly bigSegments: boolean;
}

/** What a visit is about. */
export interface Work extends Affected {
  /** The last change that it includes. */
  readonly generation: number;
}

export interface PassesOptions {
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
  /** All were visited for a round of changes, if there are any subjects. `since`: when the oldest of the changes arrived. */
  finished(since: number): void;
  /** All were visited after the last changes that affect these flags. */
  settled(flagKeys: readonly string[]): void;
}

export interface Passes {
  /** Rises with every change. */
  readonly generation: number;
  /** All subjects were visited after the last change. */
  readonly idle: boolean;
  /** From now on it is visited after changes. What changed before is in the answers that it gets first. */
  join(subject: Subject, address: string): void;
  leave(subject: Subject): void;
  publish(change: Change): void;
  refresh(flagKeys: readonly string[]): void;
  /** Whether some subject may not have been visited yet after the last change that affects the flag. */
  concerns(flagKey: string): boolean;
}

/** Contexts whose memberships are loaded at the same time. */
const MAX_PREPARING = 64;
/** Visits in progress. More than one, since one of them may take long; of an address only those that were prepared. */
const MAX_VISITING = 4;

/** The subjects of an address. They are walked from the end to the beginning, so that none is missed when one leaves. */
class Lane {
  readonly address: string;
  readonly subjects: Subject[];
  /** Subjects below it still have their turn in this walk. */
  cursor = 0;
  /** The round in which this walk began. */
  walk: number;
  /** All its subjects were visited for this round and those before. */
  visited: number;
  /** Visits that have begun, with their preparation, and those of them that are in progress. */
  begun = 0;
  visiting = 0;
  /** Whether it waits for its turn, and which one is next. */
  isWaiting = false;
  next: Lane | undefined = undefined;

  constructor(address: string, first: Subject, round: number) {
    this.address = address;
    // Most have one.
    this.subjects = [first];
    this.walk = round;
    this.visited = round;
  }
}

/** All subjects are to be visited. It is named by the last change that it includes. */
interface Round {
  readonly since: number;
  /** Lanes that were last visited as a whole for this one. */
  lanes: number;
}

interface Visit {
  readonly lane: Lane;
  readonly subject: Subject;
  readonly work: Work;
}

interface OpenVisit extends Visit {
  readonly steps: Generator<void, void>;
}

export function createPasses(options: PassesOptions): Passes {
  const { affected, ready, prepare, visit, failed, paused } = options;
  const lanes = new Map<string, Lane>();
  const waiting = createWaitingLanes();
  const rounds = createRounds(options);
  const prepared = createFairQueue<Visit>();
  const open: OpenVisit[] = [];
  let preparing = 0;
  let scheduled = false;
  /** Whether the next round is about to begin. */
  let isDue = false;
  // What no round includes yet.
  let changed = new Map<string, Item>();
  let refreshed = new Set<string>();
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
      if (lanes.size > 0) found = affected([...changed.values()]);
    } catch (error) {
      failed(
        [...lanes.values()].flatMap(({ subjects }) => subjects),
        error,
      );
    }
    const work = {
      flagKeys: [...new Set([...found.flagKeys, ...refreshed])],
      bigSegments: found.bigSegments || refreshed.size > 0,
      generation,
    };
    changed = new Map();
    refreshed = new Set();
    isDue = false;
    rounds.begin(work, waitingSince);
    for (const lane of lanes.values()) if (lane.visiting === 0) waiting.push(lane);
    if (!scheduled) slice();
  };
  const slice = (): void => {
    scheduled = false;
    const until = sliceEnd();
    while (proceed(until) && performance.now() < until);
    paused();
    goOn();
  };
  const goOn = (): void => {
    const mayBegin = prepared.size > 0 || (waiting.any && preparing < MAX_PREPARING);
    if (scheduled || (open.length === 0 && !mayBegin)) return;
    scheduled = true;
    inNextTurn(slice);
  };
  /** Begins a visit or a preparation if there is a place, and goes on with the next visit. False: at present there is nothing to do. */
  const proceed = (until: number): boolean => {
    const hasBegun = open.length < MAX_VISITING && beginNext();
    const next = open.shift();
    if (!next) return hasBegun;
    if (advance(next, until)) end(next);
    else open.push(next);
    return true;
  };
  const beginNext = (): boolean => {
    const next = prepared.shift();
    if (next) {
      enter(next);
      return true;
    }
    const lane = preparing < MAX_PREPARING ? waiting.shift() : undefined;
    if (!lane) return false;
    const subject = nextOf(lane);
    if (subject) beginWith(lane, subject);
    else proceedWith(lane);
    return true;
  };
  const nextOf = (lane: Lane): Subject | undefined => {
    if (isThrough(lane) && lane.walk < rounds.last) {
      lane.walk = rounds.last;
      lane.cursor = lane.subjects.length;
    }
    while (lane.cursor > 0) {
      const subject = lane.subjects[--lane.cursor];
      if (subject && subject.round < rounds.last && !subject.underway) return subject;
    }
    return undefined;
  };
  const beginWith = (lane: Lane, subject: Subject): void => {
    const next = { lane, subject, work: rounds.workSince(subject.round) };
    lane.begun++;
    subject.underway = true;
    let preparation: Promise<unknown> | undefined;
    try {
      preparation = prepare(subject, next.work);
    } catch (error) {
      failed([subject], error);
    }
    if (preparation) prepareFirst(next, preparation);
    else enter(next);
  };
  const prepareFirst = (next: Visit, preparation: Promise<unknown>): void => {
    preparing++;
    waiting.push(next.lane);
    const go = () => {
      preparing--;
      prepared.push(['', next.lane.address], next);
      goOn();
    };
    preparation.then(go, go);
  };
  const enter = ({ lane, subject, work }: Visit): void => {
    lane.visiting++;
    open.push({ lane, subject, work, steps: visit(subject, work) });
  };
  /** Visits until the time is over or the visit is. Returns whether the visit is over. */
  const advance = ({ subject, steps }: OpenVisit, until: number): boolean => {
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
  const end = ({ lane, subject, work }: Visit): void => {
    subject.round = work.generation;
    subject.underway = false;
    lane.visiting--;
    lane.begun--;
    proceedWith(lane);
  };
  const proceedWith = (lane: Lane): void => {
    if (lane.subjects.length === 0) return;
    if (isThrough(lane)) rounds.visited(lane);
    if (lane.cursor > 0 || (isThrough(lane) && lane.walk < rounds.last)) waiting.push(lane);
  };

  return {
    get generation() {
      return generation;
    },
    get idle() {
      return rounds.settled === generation;
    },
    join(subject, address) {
      subject.round = rounds.last;
      subject.address = address;
      subject.index = 0;
      const known = lanes.get(address);
      if (known) subject.index = known.subjects.push(subject) - 1;
      else {
        const lane = new Lane(address, subject, rounds.last);
        lanes.set(address, lane);
        rounds.add(lane);
      }
    },
    leave(subject) {
      const lane = lanes.get(subject.address);
      if (!lane) return;
      swapRemove(lane.subjects, subject.index, (moved, index) => {
        moved.index = index;
      });
      subject.index = -1;
      lane.cursor = Math.min(lane.cursor, lane.subjects.length);
      if (lane.subjects.length > 0) return;
      lanes.delete(lane.address);
      rounds.remove(lane);
    },
    publish(change) {
      for (const item of change.items) changed.set(nameOf(item), item);
      schedule(change.receivedAt);
    },
    refresh(flagKeys) {
      for (const key of flagKeys) refreshed.add(key);
      schedule(performance.now());
    },
    concerns: (key) => rounds.concerns(key) || refreshed.has(key) || changed.has(nameOf({ kind: 'features', key })),
  };
}

/** Whether all its subjects were visited in this walk. */
function isThrough({ cursor, begun }: Lane): boolean {
  return cursor === 0 && begun === 0;
}

function nameOf({ kind, key }: Pick<Item, 'kind' | 'key'>): string {
  return `${kind}/${key}`;
}

/** Lanes that have something to do, in the order in which they take turns. */
function createWaitingLanes() {
  let first: Lane | undefined;
  let last: Lane | undefined;
  return {
    get any() {
      return first !== undefined;
    },
    push(lane: Lane): void {
      if (lane.isWaiting) return;
      lane.isWaiting = true;
      if (last) last.next = lane;
      else first = lane;
      last = lane;
    },
    shift(): Lane | undefined {
      const lane = first;
      if (!lane) return undefined;
      first = lane.next;
      if (!first) last = undefined;
      lane.next = undefined;
      lane.isWaiting = false;
      return lane;
    },
  };
}

/** The rounds that are not over, and what changed in them. */
function createRounds(options: Pick<PassesOptions, 'finished' | 'settled'>) {
  /** By generation, the oldest first: the last one that is over, and those that are not. */
  const rounds = new Map<number, Round>([[0, { since: 0, lanes: 0 }]]);
  /** Of each flag, the last one of these rounds that affects it, in their order. */
  const lastOf = new Map<string, number>();
  let last = 0;
  let settled = 0;
  let lanes = 0;
  let lastBigSegments = 0;
  const works = new Map<number, Work>();

  const count = (generation: number, change: number) => {
    const round = rounds.get(generation);
    if (round) round.lanes += change;
  };
  const forgetUntil = (generation: number): string[] => {
    const flagKeys: string[] = [];
    for (const [key, affecting] of lastOf) {
      if (affecting > generation) break;
      flagKeys.push(key);
      lastOf.delete(key);
    }
    return flagKeys;
  };
  /** Ends the rounds for which all lanes were visited. */
  const settle = (): void => {
    for (const [generation, round] of rounds) {
      if (generation > settled) {
        settled = generation;
        options.settled(forgetUntil(generation));
        if (lanes > 0) options.finished(round.since);
      }
      if (round.lanes > 0 || generation === last) return;
      rounds.delete(generation);
    }
  };
  return {
    get last() {
      return last;
    },
    get settled() {
      return settled;
    },
    begin({ generation, flagKeys, bigSegments }: Work, since: number): void {
      last = generation;
      if (bigSegments) lastBigSegments = generation;
      for (const key of flagKeys) {
        lastOf.delete(key);
        lastOf.set(key, generation);
      }
      works.clear();
      rounds.set(generation, { since, lanes: 0 });
      settle();
    },
    /** What changed in the rounds after this one. */
    workSince(generation: number): Work {
      let work = works.get(generation);
      if (!work) {
        const flagKeys: string[] = [];
        for (const [key, affecting] of lastOf) if (affecting > generation) flagKeys.push(key);
        work = { flagKeys, bigSegments: lastBigSegments > generation, generation: last };
        works.set(generation, work);
      }
      return work;
    },
    concerns: (key: string) => lastOf.has(key),
    add(lane: Lane): void {
      lanes++;
      count(lane.visited, 1);
    },
    remove(lane: Lane): void {
      lanes--;
      count(lane.visited, -1);
      settle();
    },
    /** All subjects of the lane, in this walk. */
    visited(lane: Lane): void {
      if (lane.visited === lane.walk) return;
      count(lane.visited, -1);
      lane.visited = lane.walk;
      count(lane.visited, 1);
      settle();
    },
  };
}
