/** What changes of answers send to the connections of a subject. */
import { createMemo } from '../../lib/evaluation/index.ts';
import { createPace } from '../common/evaluation-pace.ts';
import { resultOf } from '../common/slices.ts';
import type { ClientView, EvaluatedFlag, ItemView } from '../ports.ts';
import type { Connection, Subject } from './connection.ts';
import type { EvaluatedEvents } from './evaluated-events.ts';
import { inPieces } from './framing.ts';
import type { ChannelBasics, Readers } from './readers.ts';

export interface UpdatesOptions extends Pick<ChannelBasics, 'view' | 'late'> {
  readonly clientView: ClientView;
  readonly events: EvaluatedEvents;
  readonly readers: Readers;
}

type Changes = readonly Buffer[] | 'everything';

export type Updates = ReturnType<typeof createUpdates>;

export function createUpdates(options: UpdatesOptions) {
  const { view, events, readers, late } = options;
  /** Gets everything without being sent it. */
  let starting: Connection | undefined;

  /** Sends changes to the connections of a subject, or everything to those that lack it: a step for each, since there may be thousands. */
  function* send(subject: Subject, changes: Changes): Generator<void, void> {
    if (changes.length > 0) subject.sends++;
    const { sends } = subject;
    // Connections that join from now on get everything, these changes included.
    const lacking: Connection[] = [];
    const others: Connection[] = [];
    for (const connection of subject.connections) {
      if (connection === starting) continue;
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
  }

  /**
   * Evaluates the flags for a subject that holds answers, and sends what changed. Nothing else does so meanwhile. `generation`: the last
   * change that its answers include then.
   */
  function* visit(
    subject: Subject,
    held: (EvaluatedFlag | undefined)[],
    flagKeys: Iterable<string>,
    generation: number,
  ) {
    subject.visiting = true;
    try {
      const changes = yield* changesOf(subject, held, flagKeys, options);
      subject.generation = Math.max(subject.generation, generation);
      yield* send(subject, changes);
    } finally {
      subject.visiting = false;
    }
  }

  return {
    visit,
    /** Everything to the connections that lack it. */
    sendMissing: (subject: Subject) => send(subject, []),
    /** Takes back the answers of flags that are gone. */
    *withdraw(subject: Subject, held: (EvaluatedFlag | undefined)[], flagKeys: readonly string[]) {
      const gone = flagKeys.filter((key) => !isLive(view, key));
      yield* send(subject, resultOf(changesOf(subject, held, gone, options)));
    },
    /** Works for the subject of a connection that starts: it gets its first answers from its channel. */
    starting(connection: Connection, work: () => void): void {
      starting = connection;
      work();
      starting = undefined;
    },
  };
}

/** Whether there is such a flag. */
export function isLive(view: ItemView, flagKey: string): boolean {
  return view.get('features', flagKey)?.deleted === false;
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

/** Evaluates the flags again, updates what the subject holds, and returns the events for its connections. */
function* changesOf(
  subject: Subject,
  held: (EvaluatedFlag | undefined)[],
  flagKeys: Iterable<string>,
  { view, clientView, events }: UpdatesOptions,
): Generator<void, Changes> {
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
