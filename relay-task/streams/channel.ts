/**
 * One to many: the readers of one kind of stream of one environment, and the log that they share.
 *
 * A pass walks the readers in slices, one slice for each turn of the event loop, and gives everyone who is not busy what is
 * missing between its place and the head of the log. Passes run from the end of the list to its beginning: a reader that
 * leaves is replaced by the last one, which has had its turn already, so nobody is missed.
 */
import type { Change, ItemView } from '../ports.ts';
import { type Connection, swapRemove } from './connection.ts';
import { createEventLog } from './event-log.ts';
import { createHeads, type Framing, frame, PIECE_BYTES, piecesOf } from './framing.ts';
import type { Feed, StreamKind } from './messages.ts';
import type { StreamMeter } from './meter.ts';

/** Readers, and bytes handed to the kernel, in one turn of the event loop. */
const SLICE_READERS = 512;
const SLICE_BYTES = 16 * 1024 * 1024;
const MAX_BRIDGES = 256;

/** What every channel is made of. */
export interface ChannelBasics {
  readonly environment: string;
  readonly view: ItemView;
  /** Read anew for every head that is made. */
  environmentId(): string | undefined;
  readonly kind: StreamKind;
  readonly framing: Framing;
  readonly meter: StreamMeter;
  /** Called when a socket does not take more; `send` is to be called when it does again. */
  late(connection: Connection): void;
}

export interface ChannelOptions extends ChannelBasics {
  readonly feed: Feed;
  readonly logMessages: number;
  readonly logBytes: number;
}

export interface Channel {
  readonly environment: string;
  readonly kind: StreamKind;
  readonly framing: Framing;
  readonly connections: readonly Connection[];
  /** Registers the reader and sends it the head and everything there is. */
  start(connection: Connection): void;
  remove(connection: Connection): void;
  /** Gives the reader what it misses, until its socket pushes back. */
  send(connection: Connection): void;
  publish(change: Change): void;
  /** Answers of these flags may differ although no item does. */
  refresh?(flagKeys: readonly string[]): void;
}

interface Snapshot {
  readonly pieces: readonly Buffer[];
  readonly bytes: number;
  /** The first event that the snapshot does not contain. */
  readonly next: number;
}

export function createChannel(options: ChannelOptions): Channel {
  const { view, feed, framing, meter } = options;
  const log = createEventLog({ messages: options.logMessages, bytes: options.logBytes });
  const connections: Connection[] = [];
  let held: Snapshot | undefined;
  const head = createHeads(framing, options.environmentId);
  /** What leads on from the states that clients name, for the present state. */
  const bridges = new Map<string, Buffer | undefined>();
  let passRuns = false;
  /** Readers below it still have their turn in this pass; -1 between passes. */
  let cursor = -1;
  let passHead = 0;
  let passSince = 0;
  /** Arrival of the oldest change that no pass has taken up yet; 0: there is none. */
  let waitingSince = 0;
  let bytesWritten = 0;

  /** The last snapshot serves as long as the log can lead on from it and that is little: a change need not make a new one. */
  const snapshot = (): Snapshot | undefined => {
    if (!view.initialized) return undefined;
    if (held && held.next >= log.base && log.bytesFrom(held.next) <= PIECE_BYTES / 4 + held.bytes / 4) return held;
    const bytes = frame(feed.everything(), framing);
    held = { pieces: piecesOf(bytes), bytes: bytes.length, next: log.head };
    meter.snapshot(options.environment, options.kind, bytes.length);
    return held;
  };

  /** Takes a client on from the state that it says it holds, instead of from the beginning. */
  const bridge = (connection: Connection): void => {
    const basis = connection.opening?.basis;
    connection.opening = undefined;
    if (!basis || !view.initialized || !feed.since) return;
    if (!bridges.has(basis)) {
      const text = feed.since(basis);
      if (bridges.size >= MAX_BRIDGES) bridges.clear();
      bridges.set(basis, text === undefined ? undefined : frame(text, framing));
    }
    const bytes = bridges.get(basis);
    if (!bytes) return;
    connection.snapshot = piecesOf(bytes);
    connection.next = log.head;
  };

  const nextPiece = (connection: Connection): Buffer | undefined => {
    if (!connection.snapshot && connection.next < log.base) {
      const fresh = snapshot();
      if (!fresh) return undefined;
      connection.snapshot = fresh.pieces;
      connection.next = fresh.next;
    }
    if (connection.snapshot) {
      const piece = connection.snapshot[connection.snapshotPiece++]!;
      if (connection.snapshotPiece === connection.snapshot.length) {
        connection.snapshot = undefined;
        connection.snapshotPiece = 0;
      }
      return piece;
    }
    if (connection.next === log.head) return undefined;
    const piece = log.piece(connection.next);
    connection.next = piece.next;
    return piece.bytes;
  };

  const send = (connection: Connection): void => {
    const { socket } = connection;
    for (let piece = nextPiece(connection); piece; piece = nextPiece(connection)) {
      bytesWritten += piece.length;
      // write() answers false for every large buffer, also when the kernel took all of it; what is left tells.
      if (!socket.write(piece) && socket.writableLength > 0) {
        options.late(connection);
        return;
      }
    }
  };

  const countBytes = () => {
    if (bytesWritten > 0) meter.wrote(bytesWritten);
    bytesWritten = 0;
  };

  const slice = (): void => {
    if (cursor < 0) {
      cursor = connections.length;
      passHead = log.head;
      passSince = waitingSince;
      waitingSince = 0;
    }
    cursor = Math.min(cursor, connections.length);
    for (let turns = SLICE_READERS; cursor > 0 && turns > 0 && bytesWritten < SLICE_BYTES; turns--) {
      const connection = connections[--cursor]!;
      if (connection.lateSince === 0) send(connection);
    }
    countBytes();
    if (cursor > 0) return void setImmediate(slice);
    cursor = -1;
    if (passSince > 0) meter.broadcast(performance.now() - passSince);
    if (log.head > passHead) setImmediate(slice);
    else passRuns = false;
  };

  return {
    environment: options.environment,
    kind: options.kind,
    framing,
    connections,
    start(connection) {
      connection.inChannel = connections.push(connection) - 1;
      const { socket } = connection;
      const headBytes = head(connection.opening?.headers);
      bridge(connection);
      const piece = nextPiece(connection);
      // Head and payload leave in one system call, and neither is copied.
      socket.cork();
      let takesMore = socket.write(headBytes);
      if (piece) takesMore = socket.write(piece);
      socket.uncork();
      bytesWritten += headBytes.length + (piece?.length ?? 0);
      if (!takesMore && socket.writableLength > 0) options.late(connection);
      else send(connection);
      countBytes();
    },
    remove(connection) {
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
      bridges.clear();
      if (connections.length === 0) {
        // Nobody listens: nothing is serialised, and the next reader's snapshot is a new one.
        log.reset();
        held = undefined;
        return;
      }
      const before = log.head;
      if (change.kind === 'put') log.reset();
      else {
        for (const text of feed.changes(change.items)) log.append(frame(text, framing));
      }
      if (log.head === before) return;
      if (waitingSince === 0) waitingSince = change.receivedAt;
      if (passRuns) return;
      passRuns = true;
      setImmediate(slice);
    },
  };
}
