/**
 * One to many: the readers of one kind of stream of one environment, and the log that they share.
 *
 * A pass walks the readers in slices, one slice for each turn of the event loop, and gives everyone who is not busy what is
 * missing between its place and the head of the log. Passes run from the end of the list to its beginning: a reader that
 * leaves is replaced by the last one, which has had its turn already, so nobody is missed.
 */
import type { Change, ItemView } from '../ports.ts';
import { type Connection, swapRemove } from './connection.ts';
import { createEventLog, PIECE_BYTES } from './event-log.ts';
import { type Framing, frame, streamHead } from './framing.ts';
import { messages, type StreamKind } from './messages.ts';
import type { StreamMeter } from './meter.ts';

/** Readers, and bytes handed to the kernel, in one turn of the event loop. */
const SLICE_READERS = 512;
const SLICE_BYTES = 16 * 1024 * 1024;

export interface ChannelOptions {
  readonly environment: string;
  readonly view: ItemView;
  /** Read anew for every head that is made. */
  environmentId(): string | undefined;
  readonly kind: StreamKind;
  readonly framing: Framing;
  readonly logMessages: number;
  readonly logBytes: number;
  readonly meter: StreamMeter;
  /** Called when a socket does not take more; `send` is to be called when it does again. */
  late(connection: Connection): void;
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
}

interface Snapshot {
  readonly pieces: readonly Buffer[];
  readonly bytes: number;
  /** The first event that the snapshot does not contain. */
  readonly next: number;
}

export function createChannel(options: ChannelOptions): Channel {
  const { view, framing, meter } = options;
  const { put, change: changeText } = messages[options.kind];
  const log = createEventLog({ messages: options.logMessages, bytes: options.logBytes });
  const connections: Connection[] = [];
  let held: Snapshot | undefined;
  let head: { readonly second: number; readonly bytes: Buffer } | undefined;
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
    const bytes = frame(put(view), framing);
    const pieces: Buffer[] = [];
    for (let from = 0; from < bytes.length; from += PIECE_BYTES) pieces.push(bytes.subarray(from, from + PIECE_BYTES));
    held = { pieces, bytes: bytes.length, next: log.head };
    meter.snapshot(options.environment, options.kind, bytes.length);
    return held;
  };

  const currentHead = (): Buffer => {
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (head?.second !== second) head = { second, bytes: streamHead(framing, options.environmentId(), new Date(now)) };
    return head.bytes;
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
      const headBytes = currentHead();
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
      if (connections.length === 0) {
        // Nobody listens: nothing is serialised, and the next reader's snapshot is a new one.
        log.reset();
        held = undefined;
        return;
      }
      const before = log.head;
      if (change.kind === 'put') log.reset();
      else {
        for (const item of change.items) {
          const text = changeText(item);
          if (text !== undefined) log.append(frame(text, framing));
        }
      }
      if (log.head === before) return;
      if (waitingSince === 0) waitingSince = change.receivedAt;
      if (passRuns) return;
      passRuns = true;
      setImmediate(slice);
    },
  };
}
