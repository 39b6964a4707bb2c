/** Request bodies: collected up to a limit and decompressed without trusting their headers. */
import type { IncomingMessage } from 'node:http';
import type { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw, type ZlibOptions } from 'node:zlib';
import type { Holding } from './holdings.ts';
import { Refusal } from './reply.ts';

/**
 * How much beyond the limit is read and dropped before giving up: closing with unread bytes would reset the connection, and
 * the client would lose the answer.
 */
const DRAINED_BYTES = 8 * 1024 * 1024;

const SMALLEST_BLOCK_BYTES = 256;
const LARGEST_BLOCK_BYTES = 64 * 1024;

/** What a body takes while it is read. */
export interface BodyMemory extends Holding {
  /** Runs a job that takes memory when no other one of its lanes does: together, none of them might get enough. */
  inTurn<T>(job: () => Promise<T>): Promise<T>;
}

/** Collects pieces and keeps at most `limitBytes`. */
interface Collector {
  /** Whether memory is needed for the next piece. */
  wants(bytes: number): boolean;
  /** Copies the piece. `isTaken`: whether its memory was taken; by default it is taken here. True when reading further is pointless. */
  add(piece: Buffer, isTaken?: boolean): boolean;
  /** Throws Refusal: 413 above the limit, 503 or 413 without memory. */
  finish(): Buffer;
}

export function createCollector(limitBytes: number, memory: Pick<Holding, 'take' | 'giveBack' | 'refusal'>): Collector {
  const full: Buffer[] = [];
  let block = Buffer.alloc(0);
  let blockBytes = 0;
  let sizeBytes = 0;
  let takenBytes = 0;
  let refusal: Refusal | undefined;
  /** A piece of one byte would keep all that the socket read at once, up to 64 KiB. */
  const copy = (piece: Buffer): void => {
    const copied = piece.copy(block, blockBytes);
    blockBytes += copied;
    if (copied === piece.length) return;
    full.push(block);
    const rest = piece.subarray(copied);
    // At most about twice as much is allocated as has arrived.
    const nextBytes = Math.min(sizeBytes, LARGEST_BLOCK_BYTES);
    block = Buffer.allocUnsafeSlow(Math.max(rest.length, nextBytes, SMALLEST_BLOCK_BYTES));
    blockBytes = rest.copy(block);
  };
  const drop = (): void => {
    full.length = 0;
    block = Buffer.alloc(0);
    blockBytes = 0;
    memory.giveBack(takenBytes);
    takenBytes = 0;
  };
  const wants = (bytes: number) => sizeBytes + bytes <= limitBytes && !refusal;
  return {
    wants,
    add(piece, isTaken) {
      if (wants(piece.length) && !(isTaken ?? memory.take(piece.length))) refusal = memory.refusal(piece.length);
      sizeBytes += piece.length;
      if (sizeBytes <= limitBytes && !refusal) {
        takenBytes += piece.length;
        copy(piece);
      } else drop();
      return sizeBytes > limitBytes + DRAINED_BYTES;
    },
    finish() {
      if (sizeBytes > limitBytes) throw tooLarge(limitBytes);
      if (refusal) throw refusal;
      return Buffer.concat([...full, block], sizeBytes);
    },
  };
}

/** Rejects with Refusal: 413 above the limit, 400 if the client ended too early, 503 or 413 without memory. */
export function collectBody(message: IncomingMessage, limitBytes: number, memory: Holding): Promise<Buffer> {
  const collector = createCollector(limitBytes, memory);
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
    const add = (piece: Buffer, isTaken: boolean) => {
      if (collector.add(piece, isTaken)) finish();
    };
    message.on('data', (piece: Buffer) => {
      const isTaken = collector.wants(piece.length) && memory.takePiece(piece.length);
      if (typeof isTaken === 'boolean') return add(piece, isTaken);
      message.pause();
      void isTaken.then((inTime) => {
        add(piece, inTime);
        message.resume();
      });
    });
    message.on('end', () => {
      memory.arrived();
      finish();
    });
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
 * Decompresses as `Content-Encoding` says, off the main thread, up to `limitBytes`. Rejects with Refusal: 400 for corrupt
 * data, 413 above the limit, 415 for other encodings, 503 or 413 without memory.
 */
export async function unpackBody(
  bytes: Buffer,
  contentEncoding: string,
  limitBytes: number,
  memory: BodyMemory,
): Promise<Buffer> {
  const encoding = contentEncoding.trim().toLowerCase();
  if (encoding === '' || encoding === 'identity' || bytes.length === 0) return bytes;
  const unpack = Object.hasOwn(unpackers, encoding) ? unpackers[encoding] : undefined;
  if (!unpack)
    throw new Refusal(415, 'Content-Encoding must be gzip, deflate or br', { 'Accept-Encoding': 'gzip, deflate, br' });
  return memory.inTurn(async () => {
    const windowBytes = encoding === 'br' ? brotliWindowBytes(bytes) : ZLIB_BYTES;
    memory.hold(windowBytes);
    const collector = createCollector(limitBytes, memory);
    try {
      let sizeBytes = 0;
      const unpacking = unpack(bytes, { chunkSize: PIECE_BYTES }).end(bytes);
      for await (const piece of unpacking as AsyncIterable<Buffer>) {
        collector.add(piece);
        sizeBytes += piece.length;
        // A few KB can become gigabytes.
        if (sizeBytes > limitBytes) break;
      }
    } catch {
      throw new Refusal(400, `the body is not valid ${encoding}, which Content-Encoding names, or it is incomplete`);
    }
    return collector.finish();
  });
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
