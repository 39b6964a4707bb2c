/** Connections that accept no bytes at present, oldest first, and those that were ended and are not closed. */
import { type Connection, hangUp } from './connection.ts';
import type { CloseReason } from './meter.ts';

export interface LateListOptions {
  /** A client that accepts nothing for this long is disconnected. */
  readonly stallMs: number;
  /** A client with more than this queued in the process is disconnected. */
  readonly maxBehindBytes: number;
  /** How long one first payload may hold its place: clients that do not read must not keep others waiting. */
  readonly placeMs: number;
  /** Ms since the hub was created. */
  now(): number;
  resume(connection: Connection): void;
  leavePlace(connection: Connection): void;
  countUnread(connection: Connection): void;
  /** All were looked at. */
  swept(): void;
}

export function createLateList(options: LateListOptions) {
  const { stallMs, maxBehindBytes, placeMs, now, resume, leavePlace, countUnread } = options;
  const late = new Set<Connection>();
  const sweep = () => {
    const at = now();
    for (const connection of late) {
      const { socket } = connection;
      if (at - connection.lateSince >= stallMs || socket.writableLength > maxBehindBytes) hangUp(connection, 'slow');
      else if (socket.writableLength === 0) resume(connection);
      else if (at - connection.admittedAt >= placeMs) leavePlace(connection);
      countUnread(connection);
    }
    options.swept();
  };
  const sweeper = setInterval(sweep, Math.min(1_000, Math.max(5, stallMs / 8))).unref();
  return {
    add(connection: Connection): void {
      late.delete(connection);
      connection.lateSince = now();
      late.add(connection);
      countUnread(connection);
    },
    remove: (connection: Connection) => late.delete(connection),
    /** Those that have accepted nothing for this long, oldest first. */
    idle(ms: number): readonly Connection[] {
      const until = now() - ms;
      const idle: Connection[] = [];
      for (const connection of late) {
        if (connection.lateSince > until) break;
        if (!connection.reason) idle.push(connection);
      }
      return idle;
    },
    stop(reason: CloseReason): void {
      for (const connection of late) hangUp(connection, reason);
      clearInterval(sweeper);
    },
  };
}
