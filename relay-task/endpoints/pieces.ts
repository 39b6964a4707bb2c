/** The pieces in which the bodies of a connection arrive: its chunks, or what it sends at a time. */
import type { Socket } from 'node:net';

/** What the pieces of a connection must have on average … */
const LEAST_BYTES = 128;
/** … beside so many of any size, the first ones of each body, since small bodies have one piece, and one in each turn of the event loop. */
const FREE_PIECES = 256;
const FREE_OF_BODY = 4;

interface Counted {
  pieces: number;
  bytes: number;
  /** One has come in this turn of the event loop. */
  hasCome: boolean;
}

const COUNTED = Symbol('pieces');
type CountedSocket = Socket & { [COUNTED]?: Counted };

/**
 * Call it for each piece of one body. True: the connection sends crumbs. Each piece becomes an object and an event of its own, so those of
 * single bytes take a hundred times their bytes in memory and time; no client has a reason to send many of them at the same time.
 */
export function createCrumbCount(socket: Socket): (bytes: number) => boolean {
  let ofBody = 0;
  return (bytes) => {
    ofBody += 1;
    if (ofBody <= FREE_OF_BODY) return false;
    const counted = (socket as CountedSocket)[COUNTED] ?? { pieces: 0, bytes: 0, hasCome: false };
    (socket as CountedSocket)[COUNTED] = counted;
    if (!counted.hasCome) {
      // As slow clients send them, whose packets cost as much as their pieces.
      counted.hasCome = true;
      setImmediate(() => {
        counted.hasCome = false;
      });
      return false;
    }
    counted.pieces += 1;
    counted.bytes += bytes;
    return counted.bytes < (counted.pieces - FREE_PIECES) * LEAST_BYTES;
  };
}

/** The number under which node:http's parser has its listener for pieces, and the listener's name. */
const ON_BODY = 3;
const LISTENER = 'parserOnBody';

/**
 * The rest of what was read from a connection that is being closed. node:http would make 10,000 objects of 64 KB of it before it sees that
 * the connection is gone, and has no method to stop it: without a listener its parser makes none. It is put back before the parser
 * gets another connection. Does nothing where node:http looks different.
 */
export function ignoreBodies(socket: Socket): void {
  const { parser } = socket as Socket & { parser?: Record<number, unknown> | null };
  const listener = parser?.[ON_BODY];
  if (!parser || typeof listener !== 'function' || listener.name !== LISTENER) return;
  parser[ON_BODY] = undefined;
  // Connections are closed after that.
  setImmediate(() => {
    parser[ON_BODY] = listener;
  });
}
