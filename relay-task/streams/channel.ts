/**
 * One to many: the connections of one kind of stream of one environment, and the log that they share.
 *
 * A pass walks the connections in slices, one slice per turn of the event loop, and sends each that is not late what it lacks
 * up to the head of the log. Passes run from the end of the list to its beginning: a connection that leaves is replaced by the
 * last one, which has had its turn already, so none is missed.
 */

import { inNextTurn } from '../common/slices.ts';
import type { Channel, Connection } from './connection.ts';
import { createEventLog, type EventLog } from './event-log.ts';
import { frame, piecesOf } from './framing.ts';
import type { Feed } from './messages.ts';
import { type ChannelBasics, createReaders, nextSnapshotPiece, type Readers, SLICE_CONNECTIONS } from './readers.ts';
import { createSnapshots } from './snapshots.ts';

/** How many bytes are handed to the kernel in one turn of the event loop. */
const SLICE_BYTES = 16 * 1024 * 1024;
const MAX_BRIDGES = 256;

interface ChannelOptions extends ChannelBasics {
  readonly feed: Feed;
  readonly logMessages: number;
  readonly logBytes: number;
}

interface Snapshot {
  readonly pieces: readonly Buffer[];
  /** The first event that the snapshot does not contain. */
  readonly next: number;
}

export function createChannel(options: ChannelOptions): Channel {
  const { environment, kind, framing, view, feed, meter } = options;
  const log = createEventLog({ messages: options.logMessages, bytes: options.logBytes });
  const snapshots = createPresentSnapshots(options, log);
  const bridges = createBridges(options);

  const nextPiece = (connection: Connection): Buffer | undefined => {
    if (!connection.snapshot && connection.next < log.base) {
      if (!view.initialized) return undefined;
      const fresh = snapshots.current();
      connection.snapshot = fresh.pieces;
      connection.next = fresh.next;
    }
    if (connection.snapshot) return nextSnapshotPiece(connection);
    if (connection.next === log.head) return undefined;
    const piece = log.piece(connection.next);
    connection.next = piece.next;
    return piece.bytes;
  };
  const readers = createReaders({
    ...options,
    begin(connection, opening) {
      const bridge = opening.kind === 'fdv2' && bridges.from(opening.basis);
      if (!bridge) return;
      connection.snapshot = bridge;
      connection.next = log.head;
    },
    nextPiece,
  });
  const passes = createLogPasses(readers, log, (since, until) =>
    meter.broadcast(performance.now() - since, { environment, kind, since, until }),
  );

  return {
    ...readers.channel,
    renew: snapshots.clear,
    publish(change) {
      bridges.clear();
      if (readers.connections.length === 0) {
        // Nothing is serialised without connections; the next one gets a new snapshot.
        log.reset();
        snapshots.clear();
        return;
      }
      const before = log.head;
      if (change.kind === 'put') log.reset();
      else {
        for (const text of feed.changes(change.items)) log.append(frame(text, framing));
      }
      if (log.head > before) passes.schedule(change.receivedAt);
    },
  };
}

/** One snapshot for all connections that need one between two changes: SDKs count as ready after it, so it is never older. */
function createPresentSnapshots({ environment, kind, feed, framing, meter }: ChannelOptions, log: EventLog) {
  const snapshots = createSnapshots(feed, framing);
  let held: Snapshot | undefined;
  return {
    current(): Snapshot {
      if (held?.next === log.head) return held;
      const { pieces, bytes } = snapshots.make();
      held = { pieces, next: log.head };
      meter.snapshot(environment, kind, bytes);
      return held;
    },
    clear() {
      held = undefined;
      snapshots.clear();
    },
  };
}

/** What leads from the states that clients hold to the current one, made once per state. */
function createBridges({ view, feed, framing }: ChannelOptions) {
  const bridges = new Map<string, Buffer | undefined>();
  return {
    /** In pieces; undefined if the client needs a snapshot. */
    from(basis: string): readonly Buffer[] | undefined {
      if (basis === '' || !view.initialized || !feed.since) return undefined;
      if (!bridges.has(basis)) {
        const text = feed.since(basis);
        if (bridges.size >= MAX_BRIDGES) bridges.clear();
        bridges.set(basis, text === undefined ? undefined : frame(text, framing));
      }
      const bytes = bridges.get(basis);
      return bytes && piecesOf(bytes);
    },
    clear: () => bridges.clear(),
  };
}

/** `finished`: a pass is over; when its oldest and its newest change arrived. */
function createLogPasses(readers: Readers, log: EventLog, finished: (since: number, until: number) => void) {
  const { connections } = readers;
  let running = false;
  /** Connections below it still have their turn in this pass; -1 between passes. */
  let cursor = -1;
  let passHead = 0;
  let passSince = 0;
  let passUntil = 0;
  /** Arrival of the oldest change that no pass includes yet; 0: there is none. */
  let waitingSince = 0;
  /** Of the newest one. */
  let waitingUntil = 0;

  const slice = (): void => {
    if (cursor < 0) {
      cursor = connections.length;
      passHead = log.head;
      passSince = waitingSince;
      passUntil = waitingUntil;
      waitingSince = 0;
    }
    cursor = Math.min(cursor, connections.length);
    for (let turns = SLICE_CONNECTIONS; cursor > 0 && turns > 0 && readers.uncountedBytes < SLICE_BYTES; turns--) {
      const connection = connections[--cursor];
      if (connection?.lateSince === 0) readers.send(connection);
    }
    readers.countBytes();
    if (cursor > 0) {
      inNextTurn(slice);
      return;
    }
    cursor = -1;
    if (passSince > 0) finished(passSince, passUntil);
    if (log.head > passHead) inNextTurn(slice);
    else running = false;
  };

  return {
    schedule(receivedAt: number): void {
      if (waitingSince === 0) waitingSince = receivedAt;
      waitingUntil = receivedAt;
      if (running) return;
      running = true;
      inNextTurn(slice);
    },
  };
}
