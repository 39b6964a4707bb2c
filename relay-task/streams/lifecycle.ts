/**
 * From a socket's arrival to its end: first payloads in turn, slow clients, and the ways to close a stream. Nothing is
 * allocated per connection except the connection itself.
 */
import type { Socket } from 'node:net';
import { jitter } from '../common/backoff.ts';
import type { StreamOpening } from '../ports.ts';
import { bind, type Channel, Connection, connectionOf, hangUp } from './connection.ts';
import { type ConnectionClassesOptions, createConnectionClasses } from './connection-classes.ts';
import { terminators } from './framing.ts';
import { createLateList, type LateListOptions } from './late-list.ts';
import type { CloseReason, RefusalReason } from './meter.ts';
import { createWheel, type WheelOptions } from './wheel.ts';

export interface LifecycleOptions
  extends Pick<ConnectionClassesOptions, 'maxInitialInFlight' | 'maxInitialWaiting' | 'memory'>,
    Pick<LateListOptions, 'stallMs' | 'maxBehindBytes' | 'placeMs'>,
    Pick<WheelOptions, 'heartbeatMs' | 'maxAgeMs' | 'meter'> {}

/** A client that has read nothing for this part of `stallMs` may be disconnected if others need its memory. */
const IDLE_PART = 1 / 6;

export function createLifecycle(options: LifecycleOptions) {
  const { maxAgeMs, meter } = options;
  const began = performance.now();
  const now = () => Math.round(performance.now() - began) + 1;
  let open = 0;

  const resume = (connection: Connection) => {
    if (connection.lateSince === 0 || connection.reason) return;
    late.remove(connection);
    connection.lateSince = 0;
    connection.channel.send(connection);
    classes.countUnread(connection);
    if (connection.snapshot) return;
    classes.leave(connection);
    classes.proceed(connection);
  };
  const start = (connection: Connection) => {
    connection.hasStarted = true;
    meter.admitted(connection.channel.environment);
    wheel.add(connection);
    connection.channel.start(connection);
    if (connection.lateSince === 0 && !connection.awaitsAnswers) connection.needsPlace = false;
  };
  const leaveLists = (connection: Connection) => {
    connection.channel.remove(connection);
    wheel.remove(connection);
  };
  /** Ends the response properly: a client that keeps up still gets what was published before. */
  const finish = (connection: Connection, reason: CloseReason) => {
    if (connection.reason) return;
    if (connection.inChannel < 0 || connection.snapshot) return hangUp(connection, reason);
    if (connection.lateSince === 0) connection.channel.send(connection);
    if (connection.snapshot || connection.reason) return hangUp(connection, reason);
    connection.reason = reason;
    leaveLists(connection);
    connection.socket.end(terminators[connection.channel.framing]);
    late.add(connection);
  };

  const classes = createConnectionClasses({
    ...options,
    now,
    idle: () => late.idle(options.stallMs * IDLE_PART),
    start,
  });
  const { countUnread, swept } = classes;
  const late = createLateList({ ...options, now, resume, leavePlace: classes.leave, countUnread, swept });
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
    classes.release(connection);
    open--;
    const { environment, kind } = connection.channel;
    const reason = connection.reason ?? 'client';
    meter.closed(environment, kind, connection.family, reason, connection.credentialKind);
    if (!connection.hasStarted) meter.unserved(environment, reason);
  }

  return {
    /** Sockets that have not closed. */
    get open() {
      return open;
    },
    /** Those that wait for their first payload. */
    get waiting() {
      return classes.waiting;
    },
    /** Places for first payloads that are taken. */
    get starting() {
      return classes.starting;
    },
    /** Why it is turned away, if it is; then the socket is untouched. */
    accept(channel: Channel, socket: Socket, credential: string, opening: StreamOpening): RefusalReason | undefined {
      const closeAt = maxAgeMs > 0 ? now() + Math.ceil(jitter(maxAgeMs, Math.random, 0.2)) : 0;
      const connection = new Connection(socket, channel, credential, opening, closeAt);
      const answer = classes.ask(connection);
      if (answer === 'memory' || answer === 'queue') return answer;
      listen(connection, onDrain, onClose);
      open++;
      meter.opened(channel.environment, channel.kind, opening.family, opening.credentialKind);
      if (answer === 'now') start(connection);
      return undefined;
    },
    // For channels, see `ChannelBasics`.
    late(connection: Connection): void {
      late.add(connection);
      classes.enter(connection);
    },
    sent(connection: Connection): void {
      countUnread(connection);
      classes.proceed(connection);
    },
    limit: classes.limit,
    finish,
    withdraw: classes.withdraw,
    /** Destroys sockets that were ended and are not closed, or accept no bytes, and stops the timers. */
    stop(reason: CloseReason): void {
      late.stop(reason);
      wheel.stop();
    },
  };
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
  // The client may have closed its side before these listeners were added, after a body or another request.
  if (socket.readableEnded) socket.destroy();
  // Reads and drops what the client sends, to notice when it closes.
  else socket.resume();
}
