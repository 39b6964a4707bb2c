/**
 * From a socket's arrival to its end: first payloads in turn, slow clients, and the ways to close a stream. Nothing is
 * allocated per connection except the connection itself.
 */
import type { Socket } from 'node:net';
import type { StreamOpening } from '../ports.ts';
import { createAdmission } from './admission.ts';
import { bind, type Channel, Connection, connectionOf } from './connection.ts';
import { terminators } from './framing.ts';
import type { CloseReason, StreamMeter } from './meter.ts';
import { createWheel } from './wheel.ts';

export interface LifecycleOptions {
  readonly heartbeatMs: number;
  readonly maxAgeMs: number;
  readonly stallMs: number;
  readonly maxBehindBytes: number;
  readonly maxInitialInFlight: number;
  readonly maxInitialWaiting: number;
  readonly meter: StreamMeter;
}

export interface Lifecycle {
  /** Sockets that have not closed. */
  readonly open: number;
  /** Those that wait for their first payload. */
  readonly waiting: number;
  /** False: too many are waiting; the socket is untouched. */
  accept(channel: Channel, socket: Socket, credential: string, opening: StreamOpening): boolean;
  /** Channels call it when a socket accepts no more. */
  late(connection: Connection): void;
  /** Ends the response properly: a client that keeps up still gets what was published before. */
  finish(connection: Connection, reason: CloseReason): void;
  /** Destroys the socket. */
  hangUp(connection: Connection, reason: CloseReason): void;
  /** Removes and returns those that waited for their first payload. */
  withdraw(condition: (connection: Connection) => boolean): Connection[];
  /** Destroys sockets that were ended and are not closed, or accept no bytes, and stops the timers. */
  stop(reason: CloseReason): void;
}

/** How long one first payload may hold its place. */
const ADMISSION_MS = 5_000;

export function createLifecycle(options: LifecycleOptions): Lifecycle {
  const { maxAgeMs, meter } = options;
  const began = performance.now();
  const now = () => Math.round(performance.now() - began) + 1;
  let open = 0;

  const admission = createAdmission<Connection>({
    maxInFlight: options.maxInitialInFlight,
    maxWaiting: options.maxInitialWaiting,
    admit: (connection) => {
      if (!connection.socket.destroyed && !connection.reason) start(connection);
    },
  });

  const leaveAdmission = (connection: Connection) => {
    if (connection.admittedAt === 0) return;
    connection.admittedAt = 0;
    admission.leave();
  };
  const resume = (connection: Connection) => {
    if (connection.lateSince === 0 || connection.reason) return;
    late.remove(connection);
    connection.lateSince = 0;
    connection.channel.send(connection);
    if (!connection.snapshot) leaveAdmission(connection);
  };
  const start = (connection: Connection) => {
    wheel.add(connection);
    connection.channel.start(connection);
    if (connection.lateSince === 0) return;
    connection.admittedAt = now();
    admission.enter();
  };
  const leaveLists = (connection: Connection) => {
    connection.channel.remove(connection);
    wheel.remove(connection);
  };
  const finish = (connection: Connection, reason: CloseReason) => {
    if (connection.reason) return;
    if (connection.inChannel < 0 || connection.snapshot) return hangUp(connection, reason);
    if (connection.lateSince === 0) connection.channel.send(connection);
    if (connection.snapshot) return hangUp(connection, reason);
    connection.reason = reason;
    leaveLists(connection);
    connection.socket.end(terminators[connection.channel.framing]);
    late.add(connection);
  };

  const late = createLateList({ ...options, now, resume, leaveAdmission });
  const wheel = createWheel({ ...options, now, late: late.add, old: (connection) => finish(connection, 'age') });

  // Shared by all sockets; `this` is the socket.
  function onDrain(this: Socket) {
    const connection = connectionOf(this);
    if (connection) resume(connection);
  }
  function onClose(this: Socket) {
    const connection = connectionOf(this);
    if (!connection) return;
    leaveLists(connection);
    late.remove(connection);
    leaveAdmission(connection);
    connection.snapshot = undefined;
    open--;
    const { environment, kind } = connection.channel;
    meter.closed(environment, kind, connection.family, connection.reason ?? 'client', connection.credentialKind);
  }

  return {
    get open() {
      return open;
    },
    get waiting() {
      return admission.waiting;
    },
    accept(channel, socket, credential, opening) {
      const closeAt = maxAgeMs > 0 ? now() + Math.ceil(maxAgeMs * (0.8 + 0.2 * Math.random())) : 0;
      const connection = new Connection(socket, channel, credential, opening, closeAt);
      const answer = admission.ask(connection);
      if (answer === 'no') return false;
      listen(connection, onDrain, onClose);
      open++;
      meter.opened(channel.environment, channel.kind, opening.family, opening.credentialKind);
      if (answer === 'now') start(connection);
      return true;
    },
    late: late.add,
    finish,
    hangUp,
    withdraw: admission.withdraw,
    stop(reason) {
      late.stop(reason);
      wheel.stop();
    },
  };
}

function hangUp(connection: Connection, reason: CloseReason): void {
  connection.reason ??= reason;
  connection.socket.destroy();
}

function onEnd(this: Socket) {
  this.destroy();
}

function onError() {
  // 'close' follows.
}

function listen(connection: Connection, onDrain: (this: Socket) => void, onClose: (this: Socket) => void): void {
  const { socket } = connection;
  bind(socket, connection);
  socket.on('drain', onDrain);
  socket.on('end', onEnd);
  socket.on('error', onError);
  socket.on('close', onClose);
  socket.setTimeout(0);
  socket.setKeepAlive(true, 60_000);
  // Reads and drops what the client sends, to notice when it closes.
  socket.resume();
}

interface LateListOptions extends Pick<LifecycleOptions, 'stallMs' | 'maxBehindBytes'> {
  now(): number;
  resume(connection: Connection): void;
  leaveAdmission(connection: Connection): void;
}

/** Connections that accept no bytes at present, oldest first, and those that were ended and are not closed. */
function createLateList({ stallMs, maxBehindBytes, now, resume, leaveAdmission }: LateListOptions) {
  const late = new Set<Connection>();
  const sweep = () => {
    const at = now();
    for (const connection of late) {
      const { socket } = connection;
      if (at - connection.lateSince >= stallMs || socket.writableLength > maxBehindBytes) hangUp(connection, 'slow');
      else if (socket.writableLength === 0) resume(connection);
      else if (at - connection.admittedAt >= ADMISSION_MS) leaveAdmission(connection);
    }
  };
  const sweeper = setInterval(sweep, Math.min(1_000, Math.max(5, stallMs / 8))).unref();
  return {
    add(connection: Connection): void {
      late.delete(connection);
      connection.lateSince = now();
      late.add(connection);
    },
    remove: (connection: Connection) => late.delete(connection),
    stop(reason: CloseReason): void {
      for (const connection of late) hangUp(connection, reason);
      clearInterval(sweeper);
    },
  };
}
