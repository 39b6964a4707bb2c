/** Connections, the channels that they read, and the subjects that flags are evaluated for. */
import type { Socket } from 'node:net';
import type { Lanes } from '../common/fair-queue.ts';
import { tlsBytesOf } from '../common/tls-bytes.ts';
import type {
  Change,
  CredentialKind,
  EvaluatedFlag,
  EvaluationOptions,
  HeldContext,
  Memberships,
  StreamKind,
  StreamOpening,
} from '../ports.ts';
import type { Framing } from './framing.ts';
import type { CloseReason } from './meter.ts';

/** The connections of one environment that receive streams of one kind with one framing. */
export interface Channel {
  readonly environment: string;
  readonly kind: StreamKind;
  readonly framing: Framing;
  readonly connections: readonly Connection[];
  /** Estimated memory for the answers that a connection with a context of its own was sent. */
  readonly answerBytes?: number;
  /** Of a channel whose payloads are not shared: the approximate size of a first payload. */
  readonly payloadBytes?: number;
  /** Adds the connection and sends it the head and the current data. */
  start(connection: Connection): void;
  remove(connection: Connection): void;
  /** Sends what the connection lacks until its socket pushes back. */
  send(connection: Connection): void;
  publish(change: Change): void;
  /** Connections that start from now on get nothing that was made for others before. */
  renew?(): void;
  /** The values of these flags may have changed although no item did. */
  refresh?(flagKeys: readonly string[]): void;
}

/** Estimated memory of an open stream without its context and TLS: socket, buffers, objects. */
const CONNECTION_BYTES = 6 * 1024;

/**
 * One connection of one channel. There are tens of thousands: a class whose fields are all set in the constructor keeps them
 * in one shape, and none has a closure, timer or queue of its own. Strings are shared between connections.
 */
export class Connection {
  readonly socket: Socket;
  readonly channel: Channel;
  readonly credential: string;
  readonly credentialKind: CredentialKind;
  readonly family: string;
  /** Ms since the hub was created; 0: never. */
  readonly closeAt: number;
  /** Released once the stream has started. */
  opening: StreamOpening | undefined;
  /** Of a stream of evaluated flags: whom they are evaluated for. */
  subject: Subject | undefined = undefined;
  /** Of such a stream: whether it has to wait, since the subject's answers may be older than the present flags. */
  awaitsAnswers = false;
  /**
   * The number of the next event to send; below the log's base: it needs a snapshot first. In channels without a log: -1 if
   * the current data is to be sent, 0 if it was.
   */
  next = -1;
  /** The snapshot that is being sent, and the index of its next piece. */
  snapshot: readonly Buffer[] | undefined = undefined;
  snapshotPiece = 0;
  /** Ms since the hub was created when the socket stopped accepting bytes; 0: it accepts them. */
  lateSince = 0;
  /** Ms since the hub was created when it took one of the places for first payloads; 0: it holds none. */
  admittedAt = 0;
  /** Whether it was let in: nothing was written to it before. */
  hasStarted = false;
  /** Whether it may still need such a place. */
  needsPlace = true;
  /** Of its client; shared by its connections. */
  readonly address: string;
  /** Bytes that count against the budget for clients like this one: what it is, and what it has not accepted yet. */
  reservedBytes: number;
  unsentBytes = 0;
  /** Set when the relay ends it. */
  reason: CloseReason | undefined = undefined;
  /** Its positions in the channel's list and in its bucket, so that removal is a swap; -1: in neither. */
  inChannel = -1;
  bucket = -1;
  inBucket = -1;

  constructor(socket: Socket, channel: Channel, credential: string, opening: StreamOpening, closeAt: number) {
    this.socket = socket;
    this.channel = channel;
    this.credential = credential;
    this.credentialKind = opening.credentialKind;
    this.family = opening.family;
    this.closeAt = closeAt;
    this.opening = opening;
    this.address = opening.address;
    const contextBytes = opening.kind === 'eval' ? opening.context.bytes : 0;
    this.reservedBytes = CONNECTION_BYTES + tlsBytesOf(socket) + contextBytes + (channel.answerBytes ?? 0);
  }

  /** What it shares places and memory by. */
  get lanes(): Lanes {
    return [`environment ${this.channel.environment}`, `address ${this.address}`];
  }
}

/** One context with one set of options; all its connections get the same answers. */
export class Subject {
  readonly id: string;
  readonly context: HeldContext;
  readonly options: EvaluationOptions;
  readonly connections: Connection[] = [];
  /**
   * What its connections were last sent for each flag, by the flag's slot; undefined until there is data. The client view
   * makes each answer once, so a slot costs a pointer.
   */
  held: (EvaluatedFlag | undefined)[] | undefined = undefined;
  /** Rises when `held` changes. */
  stamp = 0;
  /** Rises whenever changes are sent. */
  sends = 0;
  /** The last change that its answers include. */
  generation = -1;
  /** Whether everything is being evaluated, with new memberships. */
  arriving = false;
  /** Set while it waits for its place to be evaluated: ends the wait. */
  giveUp: (() => void) | undefined = undefined;
  /** Whether a pass is in the middle of evaluating its flags. */
  visiting = false;
  /** Whether these memberships have changed since they were asked for. */
  outdated = false;
  /** The last known memberships in Big Segments, and the number of their lookup. */
  memberships: Memberships | undefined = undefined;
  lookup = 0;
  /** Of its first client, and its position among the subjects of that address. */
  address = '';
  index = -1;
  /** The last change that a pass has visited it for, and whether it is being visited or prepared. */
  round = 0;
  underway = false;

  constructor(id: string, context: HeldContext, options: EvaluationOptions) {
    this.id = id;
    this.context = context;
    this.options = options;
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

/** Destroys its socket. The first reason counts. */
export function hangUp(connection: Connection, reason: CloseReason): void {
  connection.reason ??= reason;
  connection.socket.destroy();
}

/** Removes by swapping in the last element, whose new index `move` gets. Order is not kept. */
export function swapRemove<T>(array: T[], index: number, move: (element: T, index: number) => void): void {
  const last = array.pop();
  if (last === undefined || index === array.length) return;
  array[index] = last;
  move(last, index);
}
