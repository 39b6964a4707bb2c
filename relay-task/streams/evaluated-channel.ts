/**
 * Streams of evaluated flags for client-side SDKs, as LaunchDarkly's own service sends them: `put` with everything, then
 * `patch` and `delete` for flags whose value for this context changed.
 *
 * Client-side SDKs ignore a `patch` or `delete` whose version did not rise. Segments, prerequisites and Big Segments change
 * values without raising a flag's version: then, and after changes that only a whole set can convey, clients get one `put`.
 * A change that alters no value sends nothing, even if it raised a flag's version. So clients may know an older version than
 * the one held for them, but never a newer one.
 *
 * After a change a pass walks the subjects in slices of a few milliseconds and evaluates the flags that the change can
 * affect. Changes in the meantime are left to the next pass. Connections that accept no bytes get one `put` later and have no
 * queue. (@launchdarkly/js-client-sdk-common 1.32, launchdarkly-js-sdk-common 5.8)
 */
import type { Item } from '../../lib/flag-table/index.ts';
import type { ClientView, EvaluatedFlag } from '../ports.ts';
import type { Channel, Connection, Subject } from './connection.ts';
import { createEvaluatedEvents, type EvaluatedEvents } from './evaluated-events.ts';
import { type Affected, createPasses, type Work } from './passes.ts';
import { type ChannelBasics, createReaders, nextSnapshotPiece, type Readers } from './readers.ts';
import { createSubjects } from './subjects.ts';
import { createTurns } from './turns.ts';

export interface EvaluatedChannelOptions extends ChannelBasics {
  readonly clientView: ClientView;
  affected(items: readonly Item[]): Affected;
}

export function createEvaluatedChannel(options: EvaluatedChannelOptions): Channel {
  const { environment, kind, framing, view, clientView, meter } = options;
  const subjects = createSubjects();
  const events = createEvaluatedEvents(framing, (bytes) => meter.snapshot(environment, kind, bytes));
  const turns = createTurns();
  /** The connection that `start` is working on, which gets its first answers from there. */
  let starting: Connection | undefined;

  const readers = createReaders({
    ...options,
    begin(connection, opening) {
      if (opening.kind !== 'eval') return;
      const { context, withReasons, credentialKind: audience } = opening;
      const subject = subjects.join(connection, context, { audience, withReasons });
      starting = connection;
      arrive(subject);
      starting = undefined;
    },
    nextPiece(connection) {
      const { subject } = connection;
      if (!connection.snapshot && connection.next < 0 && subject?.held) {
        connection.snapshot = events.put(subject);
        connection.next = 0;
      }
      return nextSnapshotPiece(connection);
    },
  });

  const isLive = (key: string) => view.get('features', key)?.deleted === false;
  const { prepare, isPrepared } = createPreparation(clientView);
  const { sendEverything, sendChanges } = createSender(readers, options.late);

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

  const passes = createPasses({
    subjects: subjects.list,
    affected: (items) => (events.used ? options.affected(items) : { flagKeys: [], bigSegments: false }),
    prepare: (subject, { bigSegments }) =>
      subject.held && (bigSegments || !isPrepared(subject)) ? prepare(subject) : undefined,
    visit: update,
    paused: readers.countBytes,
    finished({ flagKeys }, idle, since) {
      // With another change waiting, a subject may still hold an answer of a flag that is gone by now.
      events.passed(idle ? flagKeys.filter((key) => !isLive(key)) : []);
      meter.broadcast(performance.now() - since);
    },
  });

  return {
    ...readers.channel,
    remove(connection) {
      subjects.leave(connection);
      readers.channel.remove(connection);
    },
    publish(change) {
      if (readers.connections.length > 0) passes.publish(change);
    },
    refresh(flagKeys) {
      if (readers.connections.length > 0) passes.refresh(flagKeys);
    },
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

interface Evaluation extends Pick<EvaluatedChannelOptions, 'view' | 'clientView'> {
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
