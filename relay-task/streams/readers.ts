/** The connections of a channel: how each starts, catches up and leaves, whatever the channel sends. */
import type { ItemView, StreamKind, StreamOpening } from '../ports.ts';
import { type Connection, swapRemove } from './connection.ts';
import { createHeads, type Framing } from './framing.ts';
import type { StreamMeter } from './meter.ts';

/** How many connections are written to in one turn of the event loop. */
export const SLICE_CONNECTIONS = 512;

/** What every channel needs. */
export interface ChannelBasics {
  readonly environment: string;
  readonly view: ItemView;
  /** Read for every head that is made. */
  environmentId(): string | undefined;
  readonly kind: StreamKind;
  readonly framing: Framing;
  readonly meter: StreamMeter;
  /** Called when a socket accepts no more bytes. The channel's `send` is called when it does again. */
  late(connection: Connection): void;
  /** Called when a socket has accepted everything, and memory is still reserved for it. */
  sent(connection: Connection): void;
  /** Reserves memory for the snapshots of these connections, or for those that they would get, and closes them if there is none. */
  limit(connections: readonly Connection[]): void;
  /** Work for these connections threw: reports it and closes them. Their clients connect again and get everything. */
  failed(connections: readonly Connection[], error: unknown): void;
}

interface ReadersOptions extends ChannelBasics {
  /** A connection joins; before its first piece. */
  begin(connection: Connection, opening: StreamOpening): void;
  /** The next bytes that the connection lacks; undefined if there are none. */
  nextPiece(connection: Connection): Buffer | undefined;
}

export type Readers = ReturnType<typeof createReaders>;

export function createReaders(options: ReadersOptions) {
  const { environment, kind, framing, environmentId, meter, late, sent, failed, begin, nextPiece } = options;
  const head = createHeads(framing, environmentId);
  const connections: Connection[] = [];
  let uncountedBytes = 0;

  /** False: the socket accepts no more. */
  const write = ({ socket }: Connection, bytes: Buffer): boolean => {
    uncountedBytes += bytes.length;
    // write() returns false for every large buffer, even if the kernel took all of it.
    return socket.write(bytes) || socket.writableLength === 0;
  };
  const sendAll = (connection: Connection): void => {
    for (let piece = nextPiece(connection); piece; piece = nextPiece(connection)) {
      if (write(connection, piece)) continue;
      late(connection);
      return;
    }
    if (connection.unsentBytes > 0 && !connection.awaitsAnswers) sent(connection);
  };
  /** Sends what the connection lacks until its socket pushes back. */
  const send = (connection: Connection): void => {
    try {
      sendAll(connection);
    } catch (error) {
      failed([connection], error);
    }
  };
  /** Reports what was written to the meter. */
  const countBytes = () => {
    if (uncountedBytes > 0) meter.wrote(uncountedBytes);
    uncountedBytes = 0;
  };
  const move = (connection: Connection, index: number) => {
    connection.inChannel = index;
  };

  return {
    /** The part that all channels have in common. */
    channel: {
      environment,
      kind,
      framing,
      connections: connections as readonly Connection[],
      start(connection: Connection) {
        connection.inChannel = connections.push(connection) - 1;
        const { socket, opening } = connection;
        connection.opening = undefined;
        const headBytes = head(opening?.headers);
        let piece: Buffer | undefined;
        try {
          if (opening) begin(connection, opening);
          piece = nextPiece(connection);
        } catch (error) {
          return failed([connection], error);
        }
        // There is no memory for it.
        if (socket.destroyed) return;
        // Head and payload leave in one system call, and neither is copied.
        socket.cork();
        let takesMore = socket.write(headBytes);
        if (piece) takesMore = socket.write(piece);
        socket.uncork();
        uncountedBytes += headBytes.length + (piece?.length ?? 0);
        if (!takesMore && socket.writableLength > 0) late(connection);
        else send(connection);
        countBytes();
      },
      remove(connection: Connection): void {
        if (connection.inChannel < 0) return;
        swapRemove(connections, connection.inChannel, move);
        connection.inChannel = -1;
      },
      send(connection: Connection): void {
        send(connection);
        countBytes();
      },
    },
    connections: connections as readonly Connection[],
    /** Bytes written since the last `countBytes`. */
    get uncountedBytes() {
      return uncountedBytes;
    },
    send,
    write,
    countBytes,
  };
}

/** The next piece of the snapshot that is being sent, if there is one. */
export function nextSnapshotPiece(connection: Connection): Buffer | undefined {
  const { snapshot } = connection;
  const piece = snapshot?.[connection.snapshotPiece++];
  if (connection.snapshotPiece === snapshot?.length) {
    connection.snapshot = undefined;
    connection.snapshotPiece = 0;
  }
  return piece;
}
