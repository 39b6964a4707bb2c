/**
 * From the arrival of a socket to its end: first payloads in turn, heartbeats and ages from one wheel, readers that do not
 * read, and the ways to end a stream. Nothing here is made once per connection but the connection itself.
 */
import type { Socket } from 'node:net';
import { createAdmission } from './admission.ts';
import type { Channel } from './channel.ts';
import { bind, Connection, connectionOf, type Reader, swapRemove } from './connection.ts';
import { heartbeats, terminators } from './framing.ts';
import type { CloseReason, StreamMeter } from './meter.ts';

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
  /** Those among them that wait for their first payload. */
  readonly waiting: number;
  /** False: too many are waiting; the socket is untouched. */
  accept(channel: Channel, socket: Socket, reader: Reader): boolean;
  /** To be told by channels when a socket does not take more. */
  late(connection: Connection): void;
  /** Ends a stream on purpose: a reader that keeps up still gets what was published before, and sees a complete response. */
  finish(connection: Connection, reason: CloseReason): void;
  /** Cuts it. */
  hangUp(connection: Connection, reason: CloseReason): void;
  /** Those who were waiting and are no longer. */
  withdraw(condition: (connection: Connection) => boolean): Connection[];
  /** Cuts everyone who was ended and is not gone, or does not take bytes, and stops the timers. */
  stop(reason: CloseReason): void;
}

const BUCKETS = 32;
const LONGEST_REVOLUTION_MS = 30_000;
/** How long one first payload may keep others waiting. */
const ADMISSION_MS = 5_000;

export function createLifecycle(options: LifecycleOptions): Lifecycle {
  const { heartbeatMs, maxAgeMs, stallMs, maxBehindBytes, meter } = options;
  const began = performance.now();
  const now = () => Math.round(performance.now() - began) + 1;
  const buckets: Connection[][] = Array.from({ length: BUCKETS }, () => []);
  /** Who does not take bytes at present, oldest first, and who was ended and is not gone. */
  const late = new Set<Connection>();
  let open = 0;
  let bucketOfNext = 0;

  const admission = createAdmission<Connection>({
    maxInFlight: options.maxInitialInFlight,
    maxWaiting: options.maxInitialWaiting,
    admit: (connection) => {
      if (!connection.socket.destroyed && !connection.reason) start(connection);
    },
  });

  const isLate = (connection: Connection) => {
    late.delete(connection);
    connection.lateSince = now();
    late.add(connection);
  };
  const leaveAdmission = (connection: Connection) => {
    if (connection.admittedAt === 0) return;
    connection.admittedAt = 0;
    admission.leave();
  };
  const resume = (connection: Connection) => {
    if (connection.lateSince === 0 || connection.reason) return;
    late.delete(connection);
    connection.lateSince = 0;
    connection.channel.send(connection);
    if (!connection.snapshot) leaveAdmission(connection);
  };
  const start = (connection: Connection) => {
    connection.bucket = bucketOfNext;
    bucketOfNext = (bucketOfNext + 1) % BUCKETS;
    connection.inBucket = buckets[connection.bucket]!.push(connection) - 1;
    connection.channel.start(connection);
    if (connection.lateSince === 0) return;
    connection.admittedAt = now();
    admission.enter();
  };
  const leaveLists = (connection: Connection) => {
    connection.channel.remove(connection);
    if (connection.inBucket < 0) return;
    swapRemove(buckets[connection.bucket]!, connection.inBucket, (moved, index) => {
      moved.inBucket = index;
    });
    connection.inBucket = -1;
  };
  const hangUp = (connection: Connection, reason: CloseReason) => {
    connection.reason ??= reason;
    connection.socket.destroy();
  };
  const finish = (connection: Connection, reason: CloseReason) => {
    if (connection.reason) return;
    if (connection.inChannel < 0 || connection.snapshot) return hangUp(connection, reason);
    if (connection.lateSince === 0) connection.channel.send(connection);
    if (connection.snapshot) return hangUp(connection, reason);
    connection.reason = reason;
    leaveLists(connection);
    connection.socket.end(terminators[connection.channel.framing]);
    isLate(connection);
  };

  // Shared by all sockets; `this` is the socket.
  function onDrain(this: Socket) {
    const connection = connectionOf(this);
    if (connection) resume(connection);
  }
  function onEnd(this: Socket) {
    this.destroy();
  }
  function onError() {
    // 'close' follows.
  }
  function onClose(this: Socket) {
    const connection = connectionOf(this);
    if (!connection) return;
    leaveLists(connection);
    late.delete(connection);
    leaveAdmission(connection);
    connection.snapshot = undefined;
    open--;
    const { environment, kind } = connection.channel;
    meter.closed(environment, kind, connection.family, connection.reason ?? 'client', connection.credentialKind);
  }

  // One revolution of the wheel visits every bucket once. Heartbeats come every `revolutionsPerBeat`, ages want more visits.
  const wanted = Math.min(
    heartbeatMs || LONGEST_REVOLUTION_MS,
    (maxAgeMs || Number.POSITIVE_INFINITY) / 20,
    LONGEST_REVOLUTION_MS,
  );
  const revolutionsPerBeat = Math.ceil(heartbeatMs / wanted);
  const revolutionMs = heartbeatMs > 0 ? heartbeatMs / revolutionsPerBeat : wanted;
  let turns = 0;
  const turnWheel = () => {
    const index = turns % BUCKETS;
    const revolution = Math.floor(turns++ / BUCKETS);
    const beats = heartbeatMs > 0 && revolution % revolutionsPerBeat === index % revolutionsPerBeat;
    const bucket = buckets[index]!;
    const at = now();
    let bytes = 0;
    for (let place = bucket.length - 1; place >= 0; place--) {
      const connection = bucket[place]!;
      const { socket } = connection;
      if (connection.closeAt > 0 && at >= connection.closeAt) finish(connection, 'age');
      else if (connection.lateSince > 0 || !beats) continue;
      else if (socket.writableLength > 0) isLate(connection);
      else {
        const beat = heartbeats[connection.channel.framing];
        bytes += beat.length;
        socket.write(beat);
      }
    }
    if (bytes > 0) meter.wrote(bytes);
  };
  const sweep = () => {
    const at = now();
    for (const connection of late) {
      const { socket } = connection;
      if (at - connection.lateSince >= stallMs || socket.writableLength > maxBehindBytes) hangUp(connection, 'slow');
      else if (socket.writableLength === 0) resume(connection);
      else if (at - connection.admittedAt >= ADMISSION_MS) leaveAdmission(connection);
    }
  };
  const timers = [
    setInterval(turnWheel, Math.max(1, revolutionMs / BUCKETS)),
    setInterval(sweep, Math.min(1_000, Math.max(5, stallMs / 8))),
  ];
  for (const timer of timers) timer.unref();

  return {
    get open() {
      return open;
    },
    get waiting() {
      return admission.waiting;
    },
    accept(channel, socket, reader) {
      const closeAt = maxAgeMs > 0 ? now() + Math.ceil(maxAgeMs * (0.8 + 0.2 * Math.random())) : 0;
      const connection = new Connection(socket, channel, reader, closeAt);
      const answer = admission.ask(connection);
      if (answer === 'no') return false;
      bind(socket, connection);
      socket.on('drain', onDrain);
      socket.on('end', onEnd);
      socket.on('error', onError);
      socket.on('close', onClose);
      socket.setTimeout(0);
      socket.setKeepAlive(true, 60_000);
      // Whatever the client still sends is dropped; reading goes on so that its end is noticed.
      socket.resume();
      open++;
      meter.opened(channel.environment, channel.kind, reader.family, reader.credentialKind);
      if (answer === 'now') start(connection);
      return true;
    },
    late: isLate,
    finish,
    hangUp,
    withdraw: (condition) => admission.withdraw(condition),
    stop(reason) {
      for (const connection of late) hangUp(connection, reason);
      for (const timer of timers) clearInterval(timer);
    },
  };
}
