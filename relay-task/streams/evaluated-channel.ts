/**
 * Streams of evaluated flags for client-side SDKs, as LaunchDarkly's own service sends them: `put` with everything, then
 * `patch` and `delete` for flags whose answer for this context became different.
 *
 * Client-side SDKs ignore a `patch` or `delete` whose version did not rise. Segments, prerequisites and Big Segments change
 * answers without raising a flag's version: then, and after changes that only a whole set makes right, the reader gets
 * one `put`. A change that alters nobody's answer writes nothing, also when it raised a flag's version. So readers may know
 * an older version than the one held for them, never a newer one.
 *
 * After a change a pass walks the subjects in slices of a few milliseconds and evaluates the flags that the change can
 * affect. Changes that come meanwhile are taken up by the next pass. Readers who do not take bytes are owed one `put`
 * and no queue. (@launchdarkly/js-client-sdk-common 1.32, launchdarkly-js-sdk-common 5.8)
 */
import type { Item } from '../../lib/flag-table/index.ts';
import type { ClientView, EvaluatedFlag } from '../ports.ts';
import type { Channel, ChannelBasics } from './channel.ts';
import { type Connection, swapRemove } from './connection.ts';
import { createEvaluatedEvents } from './evaluated-events.ts';
import { createHeads } from './framing.ts';
import { type Affected, createPasses, type Work } from './passes.ts';
import { createSubjects, type Subject } from './subjects.ts';
import { createTurns } from './turns.ts';

export interface EvaluatedChannelOptions extends ChannelBasics {
  readonly clientView: ClientView;
  affected(items: readonly Item[]): Affected;
}

export function createEvaluatedChannel(options: EvaluatedChannelOptions): Channel {
  const { view, clientView, framing, meter } = options;
  const head = createHeads(framing, options.environmentId);
  const connections: Connection[] = [];
  const subjects = createSubjects();
  const events = createEvaluatedEvents(framing, (bytes) => meter.snapshot(options.environment, options.kind, bytes));
  const turns = createTurns();
  let bytesWritten = 0;

  /** False: the socket does not take more. */
  const write = (connection: Connection, bytes: Buffer): boolean => {
    bytesWritten += bytes.length;
    const { socket } = connection;
    return socket.write(bytes) || socket.writableLength === 0;
  };
  const countBytes = () => {
    if (bytesWritten > 0) meter.wrote(bytesWritten);
    bytesWritten = 0;
  };

  const nextPiece = (connection: Connection): Buffer | undefined => {
    const { subject } = connection;
    if (!connection.snapshot && connection.next < 0 && subject?.held) {
      connection.snapshot = events.put(subject);
      connection.next = 0;
    }
    const piece = connection.snapshot?.[connection.snapshotPiece++];
    if (connection.snapshotPiece === connection.snapshot?.length) {
      connection.snapshot = undefined;
      connection.snapshotPiece = 0;
    }
    return piece;
  };
  const send = (connection: Connection): void => {
    for (let piece = nextPiece(connection); piece; piece = nextPiece(connection)) {
      if (write(connection, piece)) continue;
      options.late(connection);
      return;
    }
  };

  /** The first answers of a subject, for all its readers but one that is just being started. */
  const seed = (subject: Subject, starting?: Connection): void => {
    subject.held = events.place(clientView.evaluateAll(subject.context, subject.options));
    for (const connection of subject.connections) {
      if (connection !== starting && connection.lateSince === 0) send(connection);
    }
  };
  /** Brings a subject its first answers; `isStarting`: whether the connection is still being started. */
  const arrive = (subject: Subject, connection?: Connection, isStarting = () => false): void => {
    if (subject.held || subject.arriving || !view.initialized) return;
    subject.arriving = true;
    const answer = () => {
      subject.arriving = false;
      if (subject.connections.length > 0) seed(subject, isStarting() ? connection : undefined);
      countBytes();
    };
    const preparation = clientView.prepare(subject.context);
    if (preparation) {
      const go = () => turns.run(answer);
      preparation.then(go, go);
    } else turns.run(answer);
  };

  /** Evaluates again what may have become different, and tells the subject's readers what did. */
  const update = (subject: Subject, { flagKeys, whole }: Work): void => {
    const { held, context, options: wanted } = subject;
    if (!held) {
      arrive(subject);
      return;
    }
    let all = false;
    let told: Buffer[] | undefined;
    for (const key of flagKeys) {
      const slot = events.slotOf(key);
      const before = held[slot];
      const after = clientView.evaluateOne(key, context, wanted);
      if (before === after) continue;
      while (held.length < slot) held.push(undefined);
      held[slot] = after;
      subject.stamp++;
      if (events.saysTheSame(before, after)) continue;
      const event = whole ? undefined : eventFor(key, before, after);
      if (event === undefined) all = true;
      else if (told) told.push(event);
      else told = [event];
    }
    if (all) tellAll(subject);
    else if (told) tell(subject, told);
  };
  /** Undefined: the version did not rise, so no event about this flag alone would be believed. */
  const eventFor = (key: string, before: EvaluatedFlag | undefined, after: EvaluatedFlag | undefined) => {
    const version = after?.version ?? view.get('features', key)?.version ?? 0;
    if (before && version <= before.version) return undefined;
    return after ? events.patch(after) : events.remove(key, version);
  };
  const tellAll = (subject: Subject) => {
    for (const connection of subject.connections) {
      connection.next = -1;
      if (connection.lateSince === 0) send(connection);
    }
  };
  const tell = (subject: Subject, told: readonly Buffer[]) => {
    for (const connection of subject.connections) {
      if (connection.lateSince > 0) connection.next = -1;
      else if (connection.next < 0) send(connection);
      else {
        let takesMore = true;
        if (told.length > 1) connection.socket.cork();
        for (const bytes of told) takesMore = write(connection, bytes);
        if (told.length > 1) {
          connection.socket.uncork();
          takesMore = connection.socket.writableLength === 0;
        }
        if (!takesMore) options.late(connection);
      }
    }
  };

  const passes = createPasses({
    subjects: subjects.list,
    affected: (items) => (events.used ? options.affected(items) : { flagKeys: [], bigSegments: false }),
    prepare: (subject) => clientView.prepare(subject.context),
    visit: update,
    paused: countBytes,
    finished({ flagKeys }, idle, since) {
      // With a change waiting, somebody may still hold an answer of a flag that is gone by now.
      events.passed(idle ? flagKeys.filter((key) => view.get('features', key)?.deleted !== false) : []);
      meter.broadcast(performance.now() - since);
    },
  });

  return {
    environment: options.environment,
    kind: options.kind,
    framing,
    connections,
    start(connection) {
      connection.inChannel = connections.push(connection) - 1;
      const { socket, opening, credentialKind } = connection;
      connection.opening = undefined;
      const subject = subjects.join(connection, opening!.context!, {
        audience: credentialKind,
        withReasons: opening!.withReasons ?? false,
      });
      let isStarting = true;
      arrive(subject, connection, () => isStarting);
      isStarting = false;
      const piece = nextPiece(connection);
      // Head and payload leave in one system call.
      socket.cork();
      write(connection, head(opening!.headers));
      if (piece) write(connection, piece);
      socket.uncork();
      if (socket.writableLength > 0) options.late(connection);
      else send(connection);
      countBytes();
    },
    remove(connection) {
      subjects.leave(connection);
      if (connection.inChannel < 0) return;
      swapRemove(connections, connection.inChannel, (moved, index) => {
        moved.inChannel = index;
      });
      connection.inChannel = -1;
    },
    send(connection) {
      send(connection);
      countBytes();
    },
    publish(change) {
      if (connections.length > 0) passes.publish(change);
    },
    refresh(flagKeys) {
      if (connections.length > 0) passes.refresh(flagKeys);
    },
  };
}
