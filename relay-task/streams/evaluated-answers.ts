/** The answers that subjects hold, and what their connections are sent when these change. */
import type { ClientView, EvaluatedFlag } from '../ports.ts';
import type { Connection, Subject } from './connection.ts';
import type { EvaluatedEvents } from './evaluated-events.ts';
import type { Work } from './passes.ts';
import type { ChannelBasics, Readers } from './readers.ts';
import { createTurns } from './turns.ts';

export interface AnswersOptions extends Pick<ChannelBasics, 'view' | 'late'> {
  readonly clientView: ClientView;
}

export interface EvaluatedAnswers {
  /** A connection joined the subject, and starts. */
  begin(connection: Connection, subject: Subject): void;
  /** Loads the memberships that the work needs; undefined if nothing is to be awaited. */
  prepare(subject: Subject, work: Work): Promise<unknown> | undefined;
  /** Evaluates what the work is about, and sends what changed. */
  update(subject: Subject, work: Work): void;
  /** Whether there is such a flag. */
  isLive(flagKey: string): boolean;
}

export function createEvaluatedAnswers(
  options: AnswersOptions,
  events: EvaluatedEvents,
  readers: Readers,
): EvaluatedAnswers {
  const { view, clientView, late } = options;
  const turns = createTurns();
  const { prepare, isPrepared } = createPreparation(clientView);
  const { sendEverything, sendChanges } = createSender(readers, late);
  const isLive = (key: string) => view.get('features', key)?.deleted === false;
  /** The connection that `start` is working on, which gets its first answers from there. */
  let starting: Connection | undefined;

  /** Evaluates a subject's first answers, if there is data and nothing else does so. */
  const arrive = (subject: Subject): void => {
    if (subject.held || subject.arriving || !view.initialized) return;
    subject.arriving = true;
    const answer = () => {
      subject.arriving = false;
      if (subject.connections.length > 0) {
        // A Big Segment of another context kind arrived meanwhile.
        if (!isPrepared(subject)) return arrive(subject);
        subject.held = events.place(clientView.evaluateAll(subject.context, subject.options, subject.memberships));
        for (const connection of subject.connections) {
          if (connection !== starting && connection.lateSince === 0) readers.send(connection);
        }
        catchUp(subject);
      }
      readers.countBytes();
    };
    const preparation = prepare(subject);
    if (preparation) {
      void preparation.then((isReady) => {
        if (isReady) turns.run(answer);
        else subject.arriving = false;
      });
    } else turns.run(answer);
  };
  const update = (subject: Subject, work: Work): void => {
    const { held } = subject;
    if (!held) {
      if (subject.arriving && work.bigSegments) miss(subject, work);
      arrive(subject);
      return;
    }
    let { flagKeys } = work;
    if (!isPrepared(subject)) {
      miss(subject, { ...work, flagKeys: flagKeys.filter(isLive) });
      catchUp(subject);
      // The slots of flags that are gone are freed after the pass.
      flagKeys = flagKeys.filter((key) => !isLive(key));
    }
    const changes = changesOf(subject, held, { ...work, flagKeys }, { view, clientView, events });
    if (changes === 'everything') sendEverything(subject);
    else if (changes.length > 0) sendChanges(subject, changes);
  };
  /** Evaluates what the subject missed, with new memberships. */
  const catchUp = (subject: Subject): void => {
    const { missed } = subject;
    if (!missed) return;
    subject.missed = undefined;
    const again = () => {
      if (subject.connections.length === 0) return;
      // The pass about a deletion has come by itself.
      update(subject, { flagKeys: missed.flagKeys.filter(isLive), bigSegments: true, whole: missed.whole });
      readers.countBytes();
    };
    const preparation = prepare(subject);
    if (preparation) void preparation.then((isReady) => isReady && turns.run(again));
    else again();
  };

  return {
    begin(connection, subject) {
      starting = connection;
      arrive(subject);
      starting = undefined;
    },
    prepare: (subject, { bigSegments }) =>
      subject.held && (bigSegments || !isPrepared(subject)) ? prepare(subject) : undefined,
    update,
    isLive,
  };
}

/** The memberships in Big Segments that subjects need. */
function createPreparation(clientView: ClientView) {
  /** Loads the subject's memberships in Big Segments; undefined if it needs none. Resolves with false if none can be had. */
  const prepare = (subject: Subject): Promise<boolean> | undefined =>
    clientView.prepare(subject.context, { patient: true, known: subject.memberships })?.then((memberships) => {
      if (memberships) subject.memberships = memberships;
      return memberships !== undefined;
    });
  const isPrepared = (subject: Subject) => clientView.isPrepared(subject.context, subject.memberships);
  return { prepare, isPrepared };
}

function miss(subject: Subject, { flagKeys, whole }: Work): void {
  const { missed } = subject;
  subject.missed = missed
    ? { flagKeys: [...new Set([...missed.flagKeys, ...flagKeys])], whole: missed.whole || whole }
    : { flagKeys, whole };
}

/** Sends to all connections of a subject. */
function createSender(readers: Readers, late: ChannelBasics['late']) {
  const sendEverything = (subject: Subject) => {
    for (const connection of subject.connections) {
      connection.next = -1;
      if (connection.lateSince === 0) readers.send(connection);
    }
  };
  const sendChanges = ({ connections }: Subject, changes: readonly Buffer[]) => {
    for (const connection of connections) {
      if (connection.lateSince > 0) connection.next = -1;
      else if (connection.next < 0) readers.send(connection);
      else if (!writeAll(readers, connection, changes)) late(connection);
    }
  };
  return { sendEverything, sendChanges };
}

/** Several events leave in one system call. False: the socket accepts no more. */
function writeAll({ write }: Readers, connection: Connection, changes: readonly Buffer[]): boolean {
  const { socket } = connection;
  let takesMore = true;
  if (changes.length > 1) socket.cork();
  for (const bytes of changes) takesMore = write(connection, bytes);
  if (changes.length === 1) return takesMore;
  socket.uncork();
  return socket.writableLength === 0;
}

interface Evaluation extends Omit<AnswersOptions, 'late'> {
  readonly events: EvaluatedEvents;
}

/** Evaluates the flags again, updates what the subject holds, and returns the events for its connections. */
function changesOf(
  subject: Subject,
  held: (EvaluatedFlag | undefined)[],
  { flagKeys, whole }: Work,
  { view, clientView, events }: Evaluation,
): readonly Buffer[] | 'everything' {
  let everything = false;
  const changes: Buffer[] = [];
  for (const key of flagKeys) {
    const slot = events.slotOf(key);
    const before = held[slot];
    const after = clientView.evaluateOne(key, subject.context, subject.options, subject.memberships);
    if (before === after) continue;
    while (held.length < slot) held.push(undefined);
    held[slot] = after;
    subject.stamp++;
    if (events.saysTheSame(before, after)) continue;
    const version = after?.version ?? view.get('features', key)?.version ?? 0;
    // Clients ignore an event about a single flag whose version did not rise.
    if (whole || (before && version <= before.version)) everything = true;
    else changes.push(after ? events.patch(after) : events.remove(key, version));
  }
  return everything ? 'everything' : changes;
}
