/** The requests of one connection are answered one after another, in their order (RFC 9112 section 9.3.2). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

interface Turn {
  begin(): void;
  /** Of a request that node:http still reads. */
  readonly message?: IncomingMessage;
  readonly response?: ServerResponse;
}

/** Clients rarely send a second request before the first answer. */
const MAX_UNANSWERED = 32;
/** Of the heads of requests that wait for the answer to another one, and of what follows the last one. */
const MAX_WAITING_BYTES = 32 * 1024;

/** What has the turn, then what waits for it. */
const TURNS = Symbol('turns');
type TakingTurns = Socket & { [TURNS]?: Turn[] };

/** How many requests have begun to be answered, or wait for that. */
export function unanswered(socket: Socket): number {
  return (socket as TakingTurns)[TURNS]?.length ?? 0;
}

/** No more than this request is taken from the connection. */
export function isOneTooMany(message: IncomingMessage): boolean {
  const waiting = unanswered(message.socket);
  if (waiting === 0) return false;
  return waiting >= MAX_UNANSWERED || waitingHeadBytes(message.socket) + headBytesOf(message) > MAX_WAITING_BYTES;
}

/** What the heads of requests take that wait for the answer to another one. */
function waitingHeadBytes(socket: Socket): number {
  const turns = (socket as TakingTurns)[TURNS] ?? [];
  return turns.slice(1).reduce((sum, { message }) => sum + (message ? headBytesOf(message) : 0), 0);
}

/** What one string, and its places in lists and objects, take beside its characters. */
const STRING_BYTES = 32;

/** Of a head in memory: the target also counts decoded. */
export function headBytesOf({ url = '', rawHeaders }: IncomingMessage): number {
  return rawHeaders.reduce((sum, { length }) => sum + length + STRING_BYTES, 2 * url.length);
}

/**
 * Calls `begin` once the turns before it are over, but not if the connection is gone or closing by then. Call `endTurn` after
 * it, unless the connection ends with it or leaves HTTP.
 */
export function takeTurn(socket: Socket, turn: Turn): void {
  const taking = socket as TakingTurns;
  taking[TURNS] ??= [];
  if (taking[TURNS].push(turn) === 1) turn.begin();
}

/** The answer has been written completely, or never will be. */
export function endTurn(socket: Socket): void {
  const turns = (socket as TakingTurns)[TURNS];
  turns?.shift();
  if (!socket.writable || turns?.length === 0) leaveTurns(socket);
  else turns?.[0]?.begin();
}

/** Begins when it is a socket's turn: the answers before it are still node:http's. Bytes that arrive meanwhile go to `keep`. */
export function leaveInTurn(socket: Socket, keep: (bytes: Buffer) => void, begin: () => void): void {
  // node:http reads on when an earlier answer is written, and what it reads then would be lost.
  const keepAndPause = (bytes: Buffer) => {
    keep(bytes);
    socket.pause();
  };
  socket.on('data', keepAndPause).pause();
  takeTurn(socket, {
    begin() {
      leaveTurns(socket);
      socket.off('data', keepAndPause).pause();
      // node:http gives idle connections another timeout.
      socket.setTimeout(0);
      begin();
    },
  });
}

/** What arrives of a body while the request waits for its turn; nothing of a request without one. */
export function createArrived({ headers }: IncomingMessage) {
  const hasBody = ['content-length', 'transfer-encoding'].some((name) => name in headers);
  const pieces: Buffer[] = [];
  let arrivedBytes = 0;
  return {
    keep(piece: Buffer): void {
      arrivedBytes += piece.length;
      // A copy, since a part of a larger buffer would keep all of it.
      if (hasBody && arrivedBytes <= MAX_WAITING_BYTES) pieces.push(Buffer.from(piece));
    },
    /** Undefined: it is more than may wait. */
    bytes: () => (hasBody && arrivedBytes > MAX_WAITING_BYTES ? undefined : Buffer.concat(pieces)),
  };
}

/** For a connection that leaves HTTP: nothing is kept for it. */
function leaveTurns(socket: Socket): void {
  delete (socket as TakingTurns)[TURNS];
}

/**
 * When the bytes that arrive are not HTTP: calls `refuse` in the place of the request that they belong to, or behind the last
 * one. If that one is being answered already, the connection is closed after its answer instead.
 */
export function refuseLast(socket: Socket, refuse: () => void): void {
  const turns = (socket as TakingTurns)[TURNS];
  const { message, response } = turns?.at(-1) ?? {};
  const isBroken = message?.complete === false;
  if (isBroken && response?.headersSent) takeTurn(socket, { begin: () => socket.destroySoon() });
  else {
    if (isBroken) turns?.pop();
    takeTurn(socket, { begin: refuse });
  }
}
