/** The answers that subjects hold, and what their connections are sent when these change. */
import { createMemo } from '../../lib/evaluation/index.ts';
import { type EvaluationLines, type EvaluationPlace, evaluationLanes } from '../common/evaluation-lines.ts';
import { createPace } from '../common/evaluation-pace.ts';
import type { FairTurns } from '../common/fair-turns.ts';
import { inSlices, resultOf } from '../common/slices.ts';
import { unlessVoid } from '../common/void-steps.ts';
import type { ClientView, EvaluatedFlag } from '../ports.ts';
import type { Connection, Subject } from './connection.ts';
import type { EvaluatedEvents } from './evaluated-events.ts';
import { inPieces } from './framing.ts';
import type { Passes } from './passes.ts';
import type { ChannelBasics, Readers } from './readers.ts';
import type { Work } from './rounds.ts';
import { createSubjectTurns, waitFor } from './subject-turns.ts';

interface AnswersOptions extends Pick<ChannelBasics, 'environment' | 'view' | 'late' | 'limit' | 'failed'> {
  readonly turns: FairTurns;
  readonly evaluations: EvaluationLines;
  readonly clientView: ClientView;
}

interface EvaluatedAnswers {
  /** A connection joined the subject, and starts. */
  begin(connection: Connection, subject: Subject): void;
  /** Loads the memberships that the work needs; undefined if nothing is to be awaited. */
  prepare(subject: Subject, work: Work): Promise<unknown> | undefined;
  /** Evaluates what the work is about, and sends what changed. */
  update(subject: Subject, work: Work): Generator<void, void>;
  /** No connection of the subject is left. */
  abandon(subject: Subject): void;
  /** Work for these subjects threw: their connections are closed. */
  failed(subjects: readonly Subject[], error: unknown): void;
  /** Whether there is such a flag. */
  isLive(flagKey: string): boolean;
}

/** How often first answers are begun again because a change arrived meanwhile. Then they are sent, and evaluated again. */
const MOST_RESTARTS = 2;

export function createEvaluatedAnswers(
  options: AnswersOptions,
  events: EvaluatedEvents,
  readers: Readers,
  passesOf: (subject: Subject) => Passes,
): EvaluatedAnswers {
  const { environment, view, clientView, turns } = options;
  const { prepare, isPrepared } = createPreparation(clientView);
  const isLive = (key: string) => view.get('features', key)?.deleted === false;
  /** The connection that `start` is working on, which gets its first answers from there. */
  let starting: Connection | undefined;
  const send = createSender({
    readers,
    events,
    late: options.late,
    isStarting: (connection) => connection === starting,
  });

  /**
   * Evaluates the flags for a subject that holds answers, and sends what changed. Nothing else does so meanwhile. `generation`: the last
   * change that its answers include then.
   */
  function* visitOf(
    subject: Subject,
    held: (EvaluatedFlag | undefined)[],
    flagKeys: Iterable<string>,
    generation: number,
  ) {
    subject.visiting = true;
    try {
      const changes = yield* changesOf(subject, held, flagKeys, { view, clientView, events });
      subject.generation = Math.max(subject.generation, generation);
      yield* send(subject, changes);
    } finally {
      subject.visiting = false;
    }
  }

  /** Whether the subject has been evaluated since the last change. */
  const isCurrent = (subject: Subject) => {
    const { idle, generation } = passesOf(subject);
    return subject.held !== undefined && (idle || subject.generation === generation);
  };

  const failed = (subjects: readonly Subject[], error: unknown): void => {
    for (const subject of subjects) subject.arriving = false;
    options.failed(
      subjects.flatMap(({ connections }) => connections),
      error,
    );
  };
  const { guarded, step, inTurns } = createSubjectTurns({
    environment,
    turns,
    failed: (subject, error) => failed([subject], error),
  });

  /** Evaluates everything for the subject, with new memberships, if there is data and nothing else does so. */
  const arrive = (subject: Subject, restarts = 0): void => {
    if (subject.arriving || !view.initialized) return;
    subject.arriving = true;
    const { generation } = passesOf(subject);
    const preparation = prepare(subject);
    // Memberships may have changed since they were asked for.
    const asked = preparation && generation;
    const enter = () => {
      if (subject.connections.length === 0) return;
      const address = subject.connections[0]?.address ?? '';
      const line = options.evaluations[subject.options.audience];
      const lanes = evaluationLanes(environment, address);
      const begin = (place: EvaluationPlace) => {
        const visit = { subject, asked, restarts, place };
        step(visit, () => answer(visit));
      };
      // How many may wait is limited where streams are accepted.
      waitFor<EvaluationPlace>(subject, (enterNow) => line.enter(lanes, enterNow, 0), begin);
    };
    if (!preparation) {
      enter();
      return;
    }
    void preparation.then((isReady) => guarded(subject, isReady ? enter : () => giveUp(subject)));
  };
  const finish = (visit: Visit, generation: number): void => {
    const { subject, asked, place } = visit;
    subject.arriving = false;
    subject.generation = asked ?? generation;
    admit(subject);
    inTurns(visit, send(subject, []), () => {
      if (subject.outdated) {
        subject.outdated = false;
        arrive(subject);
      }
      readers.countBytes();
      place.leave();
    });
  };
  /** Once it has its place. */
  const answer = (visit: Visit): void => {
    const { subject, asked, restarts, place } = visit;
    const { held, connections } = subject;
    if (subject.visiting) {
      // A pass is in the middle of it.
      step(visit, () => answer(visit), true);
      return;
    }
    // Many may have opened streams before the first of them were sent anything.
    options.limit(connections.filter(({ awaitsAnswers }) => awaitsAnswers));
    const isAwaited = connections.some(({ reason }) => !reason);
    const isLast = restarts >= MOST_RESTARTS;
    // A change arrived meanwhile, or a Big Segment of another context kind. Others continue while flags are compiled.
    if (!isAwaited || !isPrepared(subject) || (!isLast && clientView.compile())) {
      subject.arriving = false;
      if (isAwaited) arrive(subject, restarts + 1);
      place.leave();
      return;
    }
    const { generation } = passesOf(subject);
    if (held) {
      const all = Array.from(view.items('features'), ({ key }) => key);
      inTurns(visit, visitOf(subject, held, all, asked ?? generation), () => finish(visit, generation));
      return;
    }
    const hasChanged = () => passesOf(subject).generation !== generation;
    const steps = clientView.evaluateInSteps(subject.context.read(), subject.options, subject.memberships);
    const isVoid = () => connections.length === 0 || (hasChanged() && !isLast) || !isPrepared(subject);
    inTurns(visit, unlessVoid(steps, isVoid), (answers) => {
      // The answers should be those of one state of the environment.
      if (!answers) return answer({ ...visit, restarts: restarts + 1 });
      hold(subject, answers, hasChanged());
      finish(visit, passesOf(subject).generation);
    });
  };
  const hold = (subject: Subject, answers: readonly EvaluatedFlag[], isMixed: boolean): void => {
    // Passes have left out this subject. What they would have sent is sent next.
    subject.outdated ||= isMixed;
    subject.held = events.place(isMixed ? answers.filter(({ key }) => isLive(key)) : answers);
  };
  /** Connections that have just joined get what the subject's others were sent, who cannot have more either. */
  const giveUp = (subject: Subject): void => {
    subject.arriving = false;
    admit(subject);
    inSlices(send(subject, [])).then(readers.countBytes, (error: unknown) => failed([subject], error));
  };

  return {
    begin(connection, subject) {
      if (isCurrent(subject)) return;
      connection.awaitsAnswers = true;
      starting = connection;
      arrive(subject);
      starting = undefined;
    },
    prepare: (subject, { bigSegments }) =>
      subject.held && (bigSegments || !isPrepared(subject)) ? prepare(subject) : undefined,
    *update(subject, { flagKeys, bigSegments, generation }) {
      const { held } = subject;
      if (held && isPrepared(subject) && !subject.visiting) {
        yield* visitOf(subject, held, flagKeys, generation);
        return;
      }
      if (subject.visiting || (subject.arriving && bigSegments)) subject.outdated = true;
      arrive(subject);
      // The slots of flags that are gone are freed after the pass.
      if (!held) return;
      const gone = flagKeys.filter((key) => !isLive(key));
      yield* send(subject, resultOf(changesOf(subject, held, gone, { view, clientView, events })));
    },
    abandon(subject) {
      subject.giveUp?.();
      subject.giveUp = undefined;
    },
    failed,
    isLive,
  };
}

/** One evaluation of everything for a subject. */
interface Visit {
  readonly subject: Subject;
  /** The last change when memberships were asked for, if any were. */
  readonly asked: number | undefined;
  /** How often it was begun again because a change arrived meanwhile. */
  readonly restarts: number;
  /** In the line. */
  readonly place: EvaluationPlace;
}

/** The memberships in Big Segments that subjects need. */
function createPreparation(clientView: ClientView) {
  let lookups = 0;
  /** Loads the subject's memberships in Big Segments; undefined if it needs none. Resolves with false if none can be had. */
  const prepare = (subject: Subject): Promise<boolean> | undefined => {
    const compiling = clientView.compile();
    return compiling ? compiling.then(() => load(subject) ?? true) : load(subject);
  };
  const load = (subject: Subject): Promise<boolean> | undefined => {
    const lookup = ++lookups;
    return clientView
      .prepare(subject.context.read(), { patient: true, known: subject.memberships })
      ?.then((memberships) => {
        // Lookups may be answered in another order.
        if (memberships && lookup > subject.lookup) {
          subject.lookup = lookup;
          subject.memberships = memberships;
        }
        return memberships !== undefined;
      });
  };
  const isPrepared = (subject: Subject) => clientView.isPrepared(subject.context.read(), subject.memberships);
  return { prepare, isPrepared };
}

function admit({ connections }: Subject): void {
  for (const connection of connections) connection.awaitsAnswers = false;
}

interface SenderOptions {
  readonly readers: Readers;
  readonly events: EvaluatedEvents;
  readonly late: ChannelBasics['late'];
  /** Whether it gets everything without being sent it. */
  isStarting(connection: Connection): boolean;
}

/** Sends changes to the connections of a subject, or everything to those that lack it: a step for each, since there may be thousands. */
function createSender({ readers, events, late, isStarting }: SenderOptions) {
  return function* send(subject: Subject, changes: readonly Buffer[] | 'everything'): Generator<void, void> {
    if (changes.length > 0) subject.sends++;
    const { sends } = subject;
    // Connections that join from now on get everything, these changes included.
    const lacking: Connection[] = [];
    const others: Connection[] = [];
    for (const connection of subject.connections) {
      if (isStarting(connection)) continue;
      if (changes === 'everything' || (connection.lateSince > 0 && changes.length > 0)) connection.next = -1;
      if (connection.lateSince > 0) continue;
      if (connection.next < 0) lacking.push(connection);
      else if (changes.length > 0) others.push(connection);
    }
    let whole = { stamp: -1, pieces: [] as readonly Buffer[] };
    const sendEverything = (connection: Connection): void => {
      if (connection.lateSince > 0 || connection.next >= 0) return;
      if (!connection.snapshot && subject.held && !connection.awaitsAnswers) {
        // Kept here, since other subjects are sent theirs in between.
        if (whole.stamp !== subject.stamp) whole = { stamp: subject.stamp, pieces: events.put(subject) };
        connection.snapshot = whole.pieces;
        connection.next = 0;
      }
      readers.send(connection);
      // Its first payload has been sent.
      if (connection.lateSince === 0 && connection.next >= 0) connection.needsPlace = false;
    };
    for (const connection of lacking) {
      if (connection.subject === subject) sendEverything(connection);
      yield;
    }
    const pieces = changes === 'everything' ? [] : others.length > 1 ? inPieces(changes) : changes;
    for (const connection of others) {
      if (connection.subject !== subject) continue;
      // In between it may have stopped reading, or others may have been sent what changed later.
      if (connection.lateSince > 0 || subject.sends !== sends) connection.next = -1;
      if (connection.next < 0) sendEverything(connection);
      else if (!writeAll(readers, connection, pieces)) late(connection);
      yield;
    }
  };
}

/** Several pieces leave in one system call. False: the socket accepts no more. */
function writeAll({ write }: Readers, connection: Connection, pieces: readonly Buffer[]): boolean {
  const { socket } = connection;
  let takesMore = true;
  if (pieces.length > 1) socket.cork();
  for (const bytes of pieces) takesMore = write(connection, bytes);
  if (pieces.length === 1) return takesMore;
  socket.uncork();
  return socket.writableLength === 0;
}

interface Evaluation extends Pick<AnswersOptions, 'view' | 'clientView'> {
  readonly events: EvaluatedEvents;
}

/** Evaluates the flags again, updates what the subject holds, and returns the events for its connections. */
function* changesOf(
  subject: Subject,
  held: (EvaluatedFlag | undefined)[],
  flagKeys: Iterable<string>,
  { view, clientView, events }: Evaluation,
): Generator<void, readonly Buffer[] | 'everything'> {
  const context = subject.context.read();
  let everything = false;
  const changes: Buffer[] = [];
  let memo = createMemo();
  let isDue = createPace(memo);
  let evaluated = false;
  for (const key of flagKeys) {
    if (evaluated && isDue()) {
      yield;
      // The environment may have changed; then another pass follows.
      memo = createMemo();
      isDue = createPace(memo);
    }
    evaluated = true;
    const after = clientView.evaluateOne(key, context, subject.options, subject.memberships, memo);
    const slot = after ? events.slotOf(key) : events.knownSlot(key);
    if (slot === undefined) continue;
    const before = held[slot];
    if (before === after) continue;
    while (held.length < slot) held.push(undefined);
    held[slot] = after;
    subject.stamp++;
    if (events.saysTheSame(before, after)) continue;
    const version = after?.version ?? view.get('features', key)?.version ?? 0;
    // Clients ignore an event about a single flag whose version is not above the one that they hold, a deletion's included.
    if (version <= (before?.version ?? events.removedVersion(key))) everything = true;
    else changes.push(after ? events.patch(after) : events.remove(key, version));
  }
  return everything ? 'everything' : changes;
}
