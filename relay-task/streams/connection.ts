import type { Socket } from 'node:net';
import type { Context } from '../../lib/evaluation/index.ts';
import type { CredentialKind } from '../ports.ts';
import type { Channel } from './channel.ts';
import type { CloseReason } from './meter.ts';
import type { Subject } from './subjects.ts';

/** What only the beginning of a stream needs to know. */
export interface Opening {
  /** Beside those of every stream. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** `eval` */
  readonly context?: Context | undefined;
  /** `eval` */
  readonly withReasons?: boolean | undefined;
  /** `fdv2`: the state that the client says it holds. */
  readonly basis?: string | undefined;
}

/** Who opens a stream, and how. */
export interface Reader {
  readonly credential: string;
  readonly credentialKind: CredentialKind;
  readonly family: string;
  readonly opening: Opening;
}

/**
 * One reader of one channel. There are tens of thousands: a class with all fields set in the constructor keeps them of one
 * shape, and nothing here is a closure, a timer or a queue. Strings are shared between connections.
 */
export class Connection {
  readonly socket: Socket;
  readonly channel: Channel;
  readonly credential: string;
  readonly credentialKind: CredentialKind;
  readonly family: string;
  /** Ms since the hub began; 0: lives for ever. */
  readonly closeAt: number;
  /** Let go when the stream has begun. */
  opening: Opening | undefined;
  /** Of a stream of evaluated flags: whom they are evaluated for. */
  subject: Subject | undefined = undefined;
  /**
   * The number of the event that it needs next; below the log's base: it needs a snapshot first. Where there is no log: -1 when
   * it is to be sent what there is now, 0 when it has that.
   */
  next = -1;
  /** The snapshot that it is being sent, and the piece of it that comes next. */
  snapshot: readonly Buffer[] | undefined = undefined;
  snapshotPiece = 0;
  /** Ms since the hub began when the socket was last known to take bytes; 0: it takes them now. */
  lateSince = 0;
  /** Ms since the hub began when it took one of the places for first payloads; 0: it holds none. */
  admittedAt = 0;
  /** Set once it is being ended by us. */
  reason: CloseReason | undefined = undefined;
  /** Its places in the channel's list and in its bucket, so that leaving is a swap; -1 in neither. */
  inChannel = -1;
  bucket = -1;
  inBucket = -1;

  constructor(socket: Socket, channel: Channel, who: Reader, closeAt: number) {
    this.socket = socket;
    this.channel = channel;
    this.credential = who.credential;
    this.credentialKind = who.credentialKind;
    this.family = who.family;
    this.closeAt = closeAt;
    this.opening = who.opening;
  }
}

const CONNECTION = Symbol('connection');
type Bound = Socket & { [CONNECTION]?: Connection };

export function bind(socket: Socket, connection: Connection): void {
  (socket as Bound)[CONNECTION] = connection;
}

export function connectionOf(socket: Socket): Connection | undefined {
  return (socket as Bound)[CONNECTION];
}

/** Swap-remove keeps the array dense; the moved element's place is told to `move`. Order means nothing here. */
export function swapRemove<T>(array: T[], index: number, move: (element: T, index: number) => void): void {
  const last = array.pop()!;
  if (index === array.length) return;
  array[index] = last;
  move(last, index);
}
