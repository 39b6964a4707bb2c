/** Cuts connections whose clients do not read their answers: node:http would keep both without end. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface Patience {
  /** How long a client may take for 64 KiB of an answer. */
  readonly stalledMs: number;
  /** How fast it must read the answer as a whole, beyond that time. */
  readonly minBytesPerSecond: number;
}

/** Written at once: what the system has taken of a larger buffer cannot be seen. */
const PIECE_BYTES = 64 * 1024;

/** Ends a response whose head was written. */
export function endPatiently(response: ServerResponse, socket: Socket, body: Buffer, patience: Patience): void {
  const { stalledMs, minBytesPerSecond } = patience;
  const until = performance.now() + stalledMs + (body.length / minBytesPerSecond) * 1_000;
  let at = 0;
  let timer: NodeJS.Timeout | undefined;
  const next = () => {
    const piece = body.subarray(at, at + PIECE_BYTES);
    at += PIECE_BYTES;
    if (at >= body.length) response.end(piece);
    else if (performance.now() > until) socket.destroy();
    else response.write(piece, goOn);
    timer?.refresh();
  };
  const goOn = (error?: Error | null) => {
    if (!error && !response.destroyed) next();
  };
  next();
  // The system takes most answers at once.
  if (at >= body.length && socket.writableLength === 0) return;
  timer = cutAfter(socket, stalledMs);
  response.once('close', () => clearTimeout(timer));
}

/** For the last answer on a connection, which was written already. */
export function cutIfUnread(socket: Socket, { stalledMs }: Patience): void {
  if (socket.writableLength === 0 || socket.destroyed) return;
  const timer = cutAfter(socket, stalledMs);
  socket.once('close', () => clearTimeout(timer));
}

function cutAfter(socket: Socket, ms: number): NodeJS.Timeout {
  return setTimeout(() => socket.destroy(), ms).unref();
}
