/**
 * What a Redis server, or a proxy before it, may answer. ioredis trusts it: an array in an array in an array ends in a stack
 * overflow, one length makes it allocate hundreds of MiB, and both it and an answer too many throw where nothing can catch them.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2, as ioredis speaks it)
 */
import { Redis } from 'ioredis';
import { storedLimit } from './read-memory.ts';

interface ReplyLimits {
  /** Of one reply; a set of flags from LaunchDarkly may be as large. */
  readonly maxBytes: number;
  /** Of one text. The parser takes four times as much for a moment. */
  readonly maxTextBytes: number;
  /** Of all arrays of one reply. */
  readonly maxElements: number;
  /** Arrays in arrays. */
  readonly maxDepth: number;
}

export const replyLimits: ReplyLimits = {
  maxBytes: storedLimit(),
  maxTextBytes: storedLimit() / 2,
  maxElements: 1_000_000,
  maxDepth: 16,
};

/** A status, a number or an error. */
const MOST_LINE_BYTES = 64 * 1024;
/** Errors that answer no command, such as "max number of clients reached"; ioredis reports them. */
const MOST_UNASKED_ERRORS = 16;

type Stream = Redis['stream'];
const streams = new WeakMap<Redis, Stream>();

/**
 * ioredis has no hook for this, and opens connections of its own, to Sentinels and to nodes of clusters. All of them keep their
 * socket in this property. A socket whose server sends an invalid answer is destroyed with the reason; what was asked on it
 * fails, and ioredis connects again.
 */
Object.defineProperty(Redis.prototype, 'stream', {
  configurable: true,
  get(this: Redis) {
    return streams.get(this);
  },
  set(this: Redis, stream: Stream) {
    streams.set(this, stream);
    guard(this, stream);
  },
});

function guard(redis: Redis, stream: Stream): void {
  const count = createReplyCounter(replyLimits);
  const emit = stream.emit.bind(stream);
  stream.emit = (event: string | symbol, ...args: unknown[]) => {
    if (event !== 'data') return emit(event, ...args);
    if (stream.destroyed) return false;
    try {
      const { answers, errors } = count(args[0] as Buffer);
      const asked = redis.commandQueue.length;
      const isUnasked = redis.mode === 'normal' && (answers > asked || answers + errors > asked + MOST_UNASKED_ERRORS);
      if (!isUnasked) return emit(event, ...args);
      // After the client disconnects, answers to abandoned commands still arrive.
      stream.destroy(stream.writableEnded ? undefined : new Error('Redis sent an answer that no command asked for'));
    } catch (error) {
      stream.destroy(error as Error);
    }
    return true;
  };
}

const TYPES = { '+': 'line', '-': 'error', ':': 'line', $: 'text', '*': 'array' } as const;
const typeOfByte = new Map(Object.entries(TYPES).map(([byte, type]) => [byte.charCodeAt(0), type]));
const CR = 13;
const ZERO = 48;

/**
 * Counts the replies that each chunk of a connection completes, those that are errors apart. Throws an Error of one sentence
 * for a reply above the limits, before its bytes have arrived if it announces them.
 */
export function createReplyCounter({ maxBytes, maxTextBytes, maxElements, maxDepth }: ReplyLimits) {
  /** How many elements of each open array are still to come, the outermost first. */
  const open: number[] = [];
  let type: (typeof TYPES)[keyof typeof TYPES] | undefined;
  /** What the line says so far, if it is a length. Below 0: null. */
  let length = 0;
  let lineBytes = 0;
  /** How many bytes of a text, and of the end of a line, are still to come. */
  let skip = 0;
  let opensArray = false;
  let bytes = 0;
  let elements = 0;
  let answers = 0;
  let errors = 0;

  /** Returns how far it came. */
  function read(chunk: Buffer, at: number): number {
    if (skip > 0) {
      const skipped = Math.min(skip, chunk.length - at);
      skip -= skipped;
      if (skip === 0) endValue();
      return at + skipped;
    }
    if (type === undefined) {
      type = typeOfByte.get(chunk[at] ?? 0);
      if (type === undefined) throw new Error(`Redis sent the byte ${chunk[at]} where a reply must begin`);
      length = 0;
      lineBytes = 0;
      return at + 1;
    }
    if (type === 'text' || type === 'array') return readLength(chunk, at);
    const end = chunk.indexOf(CR, at);
    const next = end < 0 ? chunk.length : end + 1;
    lineBytes += next - at;
    if (lineBytes > MOST_LINE_BYTES) throw new Error(`Redis sent a line of more than ${MOST_LINE_BYTES} bytes`);
    // The line feed.
    if (end >= 0) skip = 1;
    return next;
  }

  function readLength(chunk: Buffer, start: number): number {
    for (let at = start; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0;
      if (byte === CR) {
        endLength();
        return at + 1;
      }
      // As the parser computes it, whatever the byte is; "-1" is below 0.
      length = length * 10 + byte - ZERO;
      lineBytes += 1;
      if (lineBytes > MOST_LINE_BYTES) throw new Error(`Redis sent a line of more than ${MOST_LINE_BYTES} bytes`);
    }
    return chunk.length;
  }

  function endLength(): void {
    skip = 1;
    if (type === 'text') {
      if (length > maxTextBytes)
        throw new Error(`Redis answered with a text of ${length} bytes, above ${maxTextBytes}`);
      if (length >= 0) skip += length + 2;
    } else if (length > 0) {
      elements += length;
      if (elements > maxElements) throw new Error(`Redis answered with more than ${maxElements} elements`);
      if (open.length >= maxDepth) throw new Error(`Redis answered with arrays nested more than ${maxDepth} deep`);
      open.push(length);
      opensArray = true;
    }
  }

  function endValue(): void {
    const ended = type;
    type = undefined;
    if (opensArray) {
      opensArray = false;
      return;
    }
    if (open.length === 0 && ended === 'error') errors += 1;
    else if (endElement(open)) answers += 1;
    if (open.length > 0) return;
    bytes = 0;
    elements = 0;
  }

  return (chunk: Buffer): { readonly answers: number; readonly errors: number } => {
    answers = 0;
    errors = 0;
    for (let at = 0; at < chunk.length; ) {
      const next = read(chunk, at);
      // Already 0 where the reply ended.
      if (skip > 0 || type !== undefined || open.length > 0) bytes += next - at;
      if (bytes + skip > maxBytes) throw new Error(`Redis answered with more than ${maxBytes} bytes`);
      at = next;
    }
    return { answers, errors };
  };
}

/** An element of the innermost open array has ended. Returns whether it was the last of the reply. */
function endElement(open: number[]): boolean {
  for (let left = open.pop(); left !== undefined; left = open.pop()) {
    if (left > 1) {
      open.push(left - 1);
      return false;
    }
  }
  return true;
}
