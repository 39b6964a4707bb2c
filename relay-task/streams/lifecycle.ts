/**
 * From a socket's arrival to its end: first payloads in turn, slow clients, and the ways to close a stream. Nothing is
 * allocated per connection except the connection itself.
 */
import type { Socket } from 'node:net';
import type { Budget } from '../common/budget.ts';
import type { StreamOpening } from '../ports.ts';
import { type Admission, createAdmission } from './admission.ts';
import { bind, type Channel, Connection, connectionOf } from './connection.ts';
import { terminators } from './framing.ts';
import type { CloseReason, StreamMeter } from './meter.ts';
import { createRoom, type Room, sizeOf } from './room.ts';
import { createWheel } from './wheel.ts';

interface LifecycleOptions {
  readonly heartbeatMs: number;
  readonly maxAgeMs: number;
  readonly stallMs: number;
  readonly maxBehindBytes: number;
  readonly maxInitialInFlight: number;
  readonly maxInitialWaiting: number;
  /** How long one first payload may hold its place: clients that do not read must not keep others waiting. */
  readonly placeMs: number;
  /** Of what streams take in memory. */
  readonly memory: StreamMemory;
  readonly meter: StreamMeter;
}

/** What streams of server SDKs, and of client-side SDKs, may take in memory. */
export interface StreamMemory {
  readonly servers: Budget;
  readonly clients: Budget;
}

interface Lifecycle {
  /** Sockets that have not closed. */
  readonly open: number;
  /** Those that wait for their first payload. */
  readonly waiting: number;
  /** Why it is turned away, if it is; then the socket is untouched. */
  accept(channel: Channel, socket: Socket, credential: string, opening: StreamOpening): 'memory' | 'queue' | undefined;
  /** Channels call it when a socket accepts no more. */
  late(connection: Connection): void;
  /** Reserves memory for the snapshots of these connections, or for those that they would get, and closes them if there is none. */
  limit(connections: readonly Connection[]): void;
  /** Channels call it when a socket has accepted everything, and memory is still reserved for it. */
  sent(connection: Connection): void;
  /** Ends the response properly: a client that keeps up still gets what was published before. */
  finish(connection: Connection, reason: CloseReason): void;
  /** Destroys the socket. */
  hangUp(connection: Connection, reason: CloseReason): void;
  /** Removes and returns those that waited for their first payload. */
  withdraw(condition: (connection: Connection) => boolean): Connection[];
  /** Destroys sockets that were ended and are not closed, or accept no bytes, and stops the timers. */
  stop(reason: CloseReason): void;
}

/** Connections that share places for first payloads, and memory. */
interface ConnectionClass {
  readonly admission: Admission<Connection>;
  readonly room: Room;
}

/** When a client that reads nothing may be disconnected if others need its memory; of the time after which it is in any case. */
const IDLE_PART = 1 / 6;

export function createLifecycle(options: LifecycleOptions): Lifecycle {
  const { maxAgeMs, meter } = options;
  const began = performance.now();
  const now = () => Math.round(performance.now() - began) + 1;
  let open = 0;

  const createClass = (budget: Budget): ConnectionClass => {
    const idle = () => late.idle(options.stallMs * IDLE_PART);
    const room = createRoom({ budget, idle, close: (connection) => hangUp(connection, 'memory') });
    const admission = createAdmission<Connection>({
      maxInFlight: options.maxInitialInFlight,
      maxWaiting: options.maxInitialWaiting,
      lanesOf: ({ lanes }) => lanes,
      hasRoom(connection) {
        const { payloadBytes } = connection.channel;
        return payloadBytes === undefined ? !budget.full : room.hasRoomFor(connection, payloadBytes);
      },
      admit: (connection) => {
        if (connection.socket.destroyed || connection.reason) return;
        // So that of those that wait no more are let in than there is room for.
        room.reserveFor(connection, connection.channel.payloadBytes ?? 0);
        start(connection);
      },
    });
    return { room, admission };
  };
  // Of their own, since server SDKs must never wait behind browsers.
  const servers = createClass(options.memory.servers);
  const clients = createClass(options.memory.clients);
  const classes = [servers, clients];
  const classOf = ({ credentialKind }: Connection) => (credentialKind === 'sdkKey' ? servers : clients);

  const leaveAdmission = (connection: Connection) => {
    if (connection.admittedAt === 0) return;
    connection.admittedAt = 0;
    classOf(connection).admission.leave(connection);
    connection.needsPlace = false;
  };
  const countUnread = (connection: Connection) => classOf(connection).room.countUnread(connection);
  const resume = (connection: Connection) => {
    if (connection.lateSince === 0 || connection.reason) return;
    late.remove(connection);
    connection.lateSince = 0;
    connection.channel.send(connection);
    countUnread(connection);
    if (connection.snapshot) return;
    leaveAdmission(connection);
    // Others may have waited for its memory only.
    classOf(connection).admission.proceed();
  };
  const start = (connection: Connection) => {
    wheel.add(connection);
    connection.channel.start(connection);
    if (connection.lateSince === 0 && !connection.awaitsAnswers) connection.needsPlace = false;
  };
  /** A first payload, even if it was made later than its stream opened, takes a place. */
  const beLate = (connection: Connection) => {
    late.add(connection);
    if (!connection.needsPlace || connection.admittedAt > 0) return;
    connection.admittedAt = now();
    classOf(connection).admission.enter(connection);
  };
  const leaveLists = (connection: Connection) => {
    connection.channel.remove(connection);
    wheel.remove(connection);
  };
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

  const late = createLateList({
    ...options,
    now,
    resume,
    leaveAdmission,
    countUnread,
    swept: () => {
      for (const { room, admission } of classes) {
        room.swept();
        admission.proceed();
      }
    },
  });
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
    if (connection.needsPlace && connection.admittedAt === 0) classOf(connection).admission.forget(connection);
    connection.snapshot = undefined;
    classOf(connection).room.release(connection);
    leaveAdmission(connection);
    open--;
    const { environment, kind } = connection.channel;
    meter.closed(environment, kind, connection.family, connection.reason ?? 'client', connection.credentialKind);
  }

  return {
    get open() {
      return open;
    },
    get waiting() {
      return classes.reduce((sum, { admission }) => sum + admission.waiting, 0);
    },
    accept(channel, socket, credential, opening) {
      const closeAt = maxAgeMs > 0 ? now() + Math.ceil(maxAgeMs * (0.8 + 0.2 * Math.random())) : 0;
      const connection = new Connection(socket, channel, credential, opening, closeAt);
      const { room, admission } = classOf(connection);
      if (!room.reserve(connection)) return 'memory';
      const answer = admission.ask(connection);
      if (answer === 'no') {
        room.release(connection);
        return 'queue';
      }
      listen(connection, onDrain, onClose);
      open++;
      meter.opened(channel.environment, channel.kind, opening.family, opening.credentialKind);
      if (answer === 'now') start(connection);
      return undefined;
    },
    late: beLate,
    sent(connection) {
      countUnread(connection);
      classOf(connection).admission.proceed();
    },
    limit(connections) {
      for (const connection of [...connections]) {
        const { snapshot, channel } = connection;
        const bytes = snapshot ? sizeOf(snapshot) : (channel.payloadBytes ?? 0);
        if (classOf(connection).room.reserveFor(connection, bytes)) continue;
        hangUp(connection, 'memory');
        connection.snapshot = undefined;
      }
    },
    finish,
    hangUp,
    withdraw: (condition) => classes.flatMap(({ admission }) => admission.withdraw(condition)),
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
  // It may have ended its side while nobody listened, behind a body or behind another request.
  if (socket.readableEnded) socket.destroy();
  // Reads and drops what the client sends, to notice when it closes.
  else socket.resume();
}

interface LateListOptions extends Pick<LifecycleOptions, 'stallMs' | 'maxBehindBytes' | 'placeMs'> {
  now(): number;
  resume(connection: Connection): void;
  leaveAdmission(connection: Connection): void;
  countUnread(connection: Connection): void;
  /** All were looked at. */
  swept(): void;
}

/** Connections that accept no bytes at present, oldest first, and those that were ended and are not closed. */
function createLateList(options: LateListOptions) {
  const { stallMs, maxBehindBytes, placeMs, now, resume, leaveAdmission, countUnread } = options;
  const late = new Set<Connection>();
  const sweep = () => {
    const at = now();
    for (const connection of late) {
      const { socket } = connection;
      if (at - connection.lateSince >= stallMs || socket.writableLength > maxBehindBytes) hangUp(connection, 'slow');
      else if (socket.writableLength === 0) resume(connection);
      else if (at - connection.admittedAt >= placeMs) leaveAdmission(connection);
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
    /** Those that have accepted nothing for so long, oldest first. */
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
