/** The requests of one connection are answered one after another, in their order (RFC 9112 section 9.3.2). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

interface Turn {
  begin(): void;
  /** Of a request that node:http still reads. */
  readonly message?: IncomingMessage;
  readonly response?: ServerResponse;
}

/** What has the turn, then what waits for it. */
const TURNS = Symbol('turns');
type TakingTurns = Socket & { [TURNS]?: Turn[] };

/** How many requests have begun to be answered, or wait for that. */
export function unanswered(socket: Socket): number {
  return (socket as TakingTurns)[TURNS]?.length ?? 0;
}

/** What the heads of requests take that wait for the answer to another one. */
export function waitingHeadBytes(socket: Socket): number {
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

/** For a connection that leaves HTTP: nothing is kept for it. */
export function leaveTurns(socket: Socket): void {
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
