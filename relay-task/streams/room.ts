/** The memory that the streams of one kind of client take, with what they have not read. Environments and addresses share it. */
import type { Budget } from '../common/budget.ts';
import { createSharedBudget } from '../common/shared-budget.ts';
import { createShares, MOST_FOR_ONE } from '../common/shares.ts';
import type { Connection } from './connection.ts';
import { sizeOf } from './framing.ts';

interface RoomOptions {
  readonly budget: Budget;
  /** Connections that have read nothing for a while and may be closed for others, of any room; oldest first. */
  idle(): readonly Connection[];
  close(connection: Connection): void;
}

/** Searches for idle connections between two calls of `swept`: each passes over all of them, and a flood of newcomers needs many. */
const MOST_SEARCHES = 16;

export function createRoom({ budget, idle, close }: RoomOptions) {
  const shared = createSharedBudget(budget, MOST_FOR_ONE);
  const unread = createShares(() => budget.freeBytes, MOST_FOR_ONE);
  /** Those that hold something unread. */
  const behind = new Set<Connection>();
  let searches = 0;

  const setUnread = (connection: Connection, bytes: number): void => {
    const { lanes, unsentBytes } = connection;
    const more = bytes - unsentBytes;
    if (more === 0) return;
    if (more > 0) {
      shared.hold(lanes, more);
      unread.take(lanes, more);
    } else {
      shared.release(lanes, -more);
      unread.giveBack(lanes, -more);
    }
    connection.unsentBytes = bytes;
    if (bytes > 0) behind.add(connection);
    else behind.delete(connection);
  };

  /** Whether its environment and its address leave enough to others. */
  const leavesRoom = ({ lanes, unsentBytes }: Connection, bytes: number): boolean => {
    const left = budget.freeBytes + unsentBytes - bytes;
    const othersOf = (lane: string) => unread.heldBy(lane) - unsentBytes;
    if (lanes.every((lane, index) => othersOf(lane) + bytes <= (MOST_FOR_ONE[index] ?? 0) * left)) return true;
    // What is too much for any share goes to one client after the other.
    return !budget.full && lanes.every((lane) => othersOf(lane) === 0);
  };

  /**
   * Closes idle connections until `fits` is true: those of the address that has most unread first, and none of an address that has less
   * than the newcomer's.
   */
  const makeRoom = (newcomer: Connection, fits: () => boolean): boolean => {
    if (fits()) return true;
    if (searches >= MOST_SEARCHES) return false;
    searches++;
    const heldBy = ({ lanes }: Connection) => unread.heldBy(lanes[1]);
    const least = heldBy(newcomer);
    const victims = idle()
      .filter((connection) => connection !== newcomer && behind.has(connection))
      .map((connection) => ({ connection, held: heldBy(connection) }))
      .filter(({ held }) => held >= least)
      .sort((a, b) => b.held - a.held);
    for (const { connection } of victims) {
      close(connection);
      setUnread(connection, 0);
      if (fits()) return true;
    }
    return false;
  };

  /** Whether there is room if it reads nothing of so many bytes. */
  const hasRoomFor = (connection: Connection, bytes: number) =>
    makeRoom(connection, () => leavesRoom(connection, bytes));

  return {
    /** Memory for the connection itself. False: there is no room. */
    reserve: (connection: Connection) =>
      makeRoom(connection, () => shared.reserve(connection.lanes, connection.reservedBytes)),
    /** Everything that it holds. */
    release(connection: Connection): void {
      setUnread(connection, 0);
      shared.release(connection.lanes, connection.reservedBytes);
    },
    /** Counts what it has not read: what its socket and its snapshot hold. */
    countUnread(connection: Connection): void {
      // Other payloads are shared by all connections.
      if (connection.channel.kind !== 'eval') return;
      const { snapshot, snapshotPiece, socket } = connection;
      const unsentBytes = socket.destroyed ? 0 : socket.writableLength + sizeOf(snapshot?.slice(snapshotPiece));
      setUnread(connection, unsentBytes);
    },
    hasRoomFor,
    /** If there is room for so many bytes, counts them until `countUnread`. */
    reserveFor(connection: Connection, bytes: number): boolean {
      if (!hasRoomFor(connection, bytes)) return false;
      setUnread(connection, bytes);
      return true;
    },
    /** Call at times, so that room is looked for again. */
    swept(): void {
      searches = 0;
    },
  };
}
