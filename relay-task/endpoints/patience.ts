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

/** Ends a response whose head was written. `parts`: the body, one behind the other. */
export function endPatiently(
  response: ServerResponse,
  socket: Socket,
  parts: readonly Buffer[],
  patience: Patience,
): void {
  const { stalledMs, minBytesPerSecond } = patience;
  let left = bytesOf(parts);
  const until = performance.now() + stalledMs + (left / minBytesPerSecond) * 1_000;
  const take = createTaker(parts);
  let timer: NodeJS.Timeout | undefined;
  const next = () => {
    if (left > PIECE_BYTES && performance.now() > until) {
      socket.destroy();
      return;
    }
    const pieces = take(PIECE_BYTES);
    left -= bytesOf(pieces);
    const last = pieces.pop();
    const isLast = left === 0;
    if (pieces.length > 0) response.cork();
    for (const piece of pieces) response.write(piece);
    if (isLast) response.end(last);
    else response.write(last, goOn);
    if (!isLast && pieces.length > 0) response.uncork();
    timer?.refresh();
  };
  const goOn = (error?: Error | null) => {
    if (!error && !response.destroyed) next();
  };
  next();
  // The system takes most answers at once.
  if (left === 0 && socket.writableLength === 0) return;
  timer = cutAfter(socket, stalledMs);
  response.once('close', () => clearTimeout(timer));
}

export function bytesOf(parts: readonly Buffer[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/** Takes up to so many bytes from the parts at each call, without a copy, and as few pieces as possible: each costs about as much to write. */
function createTaker(parts: readonly Buffer[]): (bytes: number) => Buffer[] {
  let index = 0;
  let at = 0;
  return (bytes) => {
    const taken: Buffer[] = [];
    let lacking = bytes;
    for (let part = parts[index]; part && lacking > 0; part = parts[index]) {
      if (taken.length > 0 && part.length - at > lacking) break;
      const piece = part.subarray(at, at + lacking);
      if (piece.length > 0) taken.push(piece);
      lacking -= piece.length;
      at += piece.length;
      if (at === part.length) {
        index += 1;
        at = 0;
      }
    }
    return taken;
  };
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
