/** Heartbeats and maximum ages of all streams, by one timer that visits one bucket of connections per tick. */
import { type Connection, swapRemove } from './connection.ts';
import { heartbeats } from './framing.ts';
import type { StreamMeter } from './meter.ts';

export interface WheelOptions {
  /** Ms between heartbeats of a stream; 0: none. */
  readonly heartbeatMs: number;
  /** Streams are closed at a random age between 80 and 100 % of it; 0: never. */
  readonly maxAgeMs: number;
  readonly meter: StreamMeter;
  /** The clock of `closeAt`. */
  now(): number;
  /** The socket has not accepted everything. */
  late(connection: Connection): void;
  /** The stream has reached its maximum age. */
  old(connection: Connection): void;
}

const BUCKETS = 32;
const LONGEST_REVOLUTION_MS = 30_000;

export function createWheel({ heartbeatMs, maxAgeMs, meter, now, late, old }: WheelOptions) {
  const buckets: Connection[][] = Array.from({ length: BUCKETS }, () => []);
  const { revolutionMs, revolutionsPerBeat } = wheelTimes(heartbeatMs, maxAgeMs);
  let turns = 0;
  let bucketOfNext = 0;
  const move = (connection: Connection, index: number) => {
    connection.inBucket = index;
  };

  /** False: no heartbeat was written. */
  const visit = (connection: Connection, at: number, beats: boolean): boolean => {
    const { socket, closeAt } = connection;
    if (closeAt > 0 && at >= closeAt) old(connection);
    else if (connection.lateSince === 0 && beats) {
      if (socket.writableLength === 0) {
        socket.write(heartbeats[connection.channel.framing]);
        return true;
      }
      late(connection);
    }
    return false;
  };
  const turn = () => {
    const index = turns % BUCKETS;
    const revolution = Math.floor(turns++ / BUCKETS);
    const beats = heartbeatMs > 0 && revolution % revolutionsPerBeat === index % revolutionsPerBeat;
    const bucket = buckets[index] ?? [];
    const at = now();
    let bytes = 0;
    // From the end, since a connection that leaves is replaced by the last one.
    for (let place = bucket.length - 1; place >= 0; place--) {
      const connection = bucket[place];
      if (connection && visit(connection, at, beats)) bytes += heartbeats[connection.channel.framing].length;
    }
    if (bytes > 0) meter.wrote(bytes);
  };
  const timer = setInterval(turn, Math.max(1, revolutionMs / BUCKETS)).unref();

  return {
    add(connection: Connection): void {
      connection.bucket = bucketOfNext;
      bucketOfNext = (bucketOfNext + 1) % BUCKETS;
      connection.inBucket = (buckets[connection.bucket]?.push(connection) ?? 0) - 1;
    },
    remove(connection: Connection): void {
      const bucket = buckets[connection.bucket];
      if (!bucket || connection.inBucket < 0) return;
      swapRemove(bucket, connection.inBucket, move);
      connection.inBucket = -1;
    },
    stop: () => clearInterval(timer),
  };
}

/** One revolution visits every bucket once: a heartbeat is due every `revolutionsPerBeat`, ages are checked more often. */
function wheelTimes(heartbeatMs: number, maxAgeMs: number) {
  const wantedMs = Math.min(
    heartbeatMs || LONGEST_REVOLUTION_MS,
    (maxAgeMs || Number.POSITIVE_INFINITY) / 20,
    LONGEST_REVOLUTION_MS,
  );
  const revolutionsPerBeat = Math.ceil(heartbeatMs / wantedMs);
  return { revolutionsPerBeat, revolutionMs: heartbeatMs > 0 ? heartbeatMs / revolutionsPerBeat : wantedMs };
}
