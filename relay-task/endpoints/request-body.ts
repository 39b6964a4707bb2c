/** Request bodies: collected up to a limit and decompressed without trusting their headers. */
import type { IncomingMessage } from 'node:http';
import type { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw, type ZlibOptions } from 'node:zlib';
import type { Budget } from '../common/budget.ts';
import { Refusal, retryLater } from './reply.ts';

/**
 * How much beyond the limit is read and dropped before giving up: closing with unread bytes would reset the connection, and
 * the client would lose the answer.
 */
const DRAINED_BYTES = 8 * 1024 * 1024;

/** Counts bytes that a request holds, until it is answered. Throws Refusal 503 if there is no room for them. */
export type Hold = (bytes: number) => void;

export interface Holding {
  readonly hold: Hold;
  /** The request is answered. */
  release(): void;
}

/** What one request holds. */
export function createHolding(budget: Budget): Holding {
  let heldBytes = 0;
  let released = false;
  return {
    hold(bytes) {
      if (released || !budget.reserve(bytes))
        throw new Refusal(503, 'too much memory is used for requests', retryLater());
      heldBytes += bytes;
    },
    release() {
      released = true;
      budget.release(heldBytes);
      heldBytes = 0;
    },
  };
}

/** So many pieces are joined to one: each takes about 100 bytes beside its content, and that may be one byte in chunked bodies. */
const JOINED_PIECES = 256;

/** Collects pieces and keeps at most `limitBytes`. */
export interface Collector {
  /** True when reading further is pointless. Throws Refusal 503. */
  add(piece: Buffer): boolean;
  /** Throws Refusal 413. */
  finish(): Buffer;
}

export function createCollector(limitBytes: number, hold: Hold): Collector {
  const joined: Buffer[] = [];
  const loose: Buffer[] = [];
  let sizeBytes = 0;
  return {
    add(piece) {
      sizeBytes += piece.length;
      if (sizeBytes > limitBytes) {
        joined.length = 0;
        loose.length = 0;
      } else {
        hold(piece.length);
        loose.push(piece);
        if (loose.length === JOINED_PIECES) joined.push(Buffer.concat(loose.splice(0)));
      }
      return sizeBytes > limitBytes + DRAINED_BYTES;
    },
    finish() {
      if (sizeBytes > limitBytes) throw tooLarge(limitBytes);
      return Buffer.concat([...joined, ...loose], sizeBytes);
    },
  };
}

/** Rejects with Refusal: 413 above the limit, 400 if the client ended too early, 503 without memory. */
export function collectBody(message: IncomingMessage, limitBytes: number, hold: Hold): Promise<Buffer> {
  const collector = createCollector(limitBytes, hold);
  return new Promise((resolve, reject) => {
    const finish = () => {
      try {
        resolve(collector.finish());
      } catch (error) {
        reject(error);
      }
    };
    const cutShort = () => reject(endedEarly());
    if (message.destroyed) return cutShort();
    message.on('data', (piece: Buffer) => {
      try {
        if (collector.add(piece)) finish();
      } catch (error) {
        message.pause();
        reject(error);
      }
    });
    message.on('end', finish);
    message.on('error', cutShort);
    message.on('close', cutShort);
  });
}

const unpackers: Readonly<Record<string, (bytes: Buffer, options: ZlibOptions) => Transform>> = {
  gzip: (_bytes, options) => createGunzip(options),
  'x-gzip': (_bytes, options) => createGunzip(options),
  br: (_bytes, options) => createBrotliDecompress(options),
  // RFC 9110 means the zlib format, but some clients send raw deflate. The low half of zlib's first byte is always 8.
  deflate: (bytes, options) => ((bytes.readUInt8(0) & 0x0f) === 8 ? createInflate : createInflateRaw)(options),
};

/** Pieces in which unpacked bytes arrive. */
const PIECE_BYTES = 64 * 1024;
/** What zlib takes: its window and tables. */
const ZLIB_BYTES = 48 * 1024;

/**
 * Decompresses as `Content-Encoding` says, off the main thread, up to `limitBytes`. What it takes is held from the first byte on.
 * Rejects with Refusal: 400 for corrupt data, 413 above the limit, 415 for other encodings, 503 without memory.
 */
export async function unpackBody(
  bytes: Buffer,
  contentEncoding: string,
  limitBytes: number,
  hold: Hold,
): Promise<Buffer> {
  const encoding = contentEncoding.trim().toLowerCase();
  if (encoding === '' || encoding === 'identity' || bytes.length === 0) return bytes;
  const create = Object.hasOwn(unpackers, encoding) ? unpackers[encoding] : undefined;
  if (!create)
    throw new Refusal(415, 'Content-Encoding must be gzip, deflate or br', { 'Accept-Encoding': 'gzip, deflate, br' });
  hold(encoding === 'br' ? brotliWindowBytes(bytes) : ZLIB_BYTES);
  const unpacking = create(bytes, { chunkSize: PIECE_BYTES });
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  try {
    unpacking.end(bytes);
    for await (const piece of unpacking as AsyncIterable<Buffer>) {
      sizeBytes += piece.length;
      if (sizeBytes > limitBytes) throw tooLarge(limitBytes);
      hold(piece.length);
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(400, `the body is not valid ${encoding}, which Content-Encoding names, or it is incomplete`);
  }
  // One piece needs no second copy while it is joined.
  const [only] = pieces;
  if (pieces.length === 1 && only) return only;
  hold(sizeBytes);
  return Buffer.concat(pieces, sizeBytes);
}

/** The size of the window is in the first bits of the stream (RFC 7932 section 9.1). */
function brotliWindowBytes(bytes: Buffer): number {
  const first = bytes.readUInt8(0);
  if ((first & 1) === 0) return 1 << 16;
  const high = (first >> 1) & 7;
  if (high !== 0) return 1 << (17 + high);
  const low = (first >> 4) & 7;
  return 1 << (low === 0 ? 17 : 8 + low);
}

function tooLarge(limitBytes: number): Refusal {
  return new Refusal(413, `the body exceeds the relay's limit of ${limitBytes} bytes`);
}

export function endedEarly(): Refusal {
  return new Refusal(400, 'the request ended before its body was complete');
}
