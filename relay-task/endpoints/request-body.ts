/** Request bodies: collected up to a limit and decompressed without trusting their headers. */
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, inflateRaw, type ZlibOptions } from 'node:zlib';
import { Refusal } from './reply.ts';

/**
 * How much beyond the limit is read and dropped before giving up: closing with unread bytes would reset the connection, and
 * the client would lose the answer.
 */
const DRAINED_BYTES = 8 * 1024 * 1024;

/** Collects pieces and keeps at most `limitBytes`. */
export interface Collector {
  /** True when reading further is pointless. */
  add(piece: Buffer): boolean;
  /** Throws Refusal 413. */
  finish(): Buffer;
}

export function createCollector(limitBytes: number): Collector {
  let pieces: Buffer[] = [];
  let sizeBytes = 0;
  return {
    add(piece) {
      sizeBytes += piece.length;
      if (sizeBytes <= limitBytes) pieces.push(piece);
      else pieces = [];
      return sizeBytes > limitBytes + DRAINED_BYTES;
    },
    finish() {
      if (sizeBytes > limitBytes) throw tooLarge(limitBytes);
      return Buffer.concat(pieces, sizeBytes);
    },
  };
}

/** Rejects with Refusal: 413 above the limit, 400 if the client ended too early. */
export function collectBody(message: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const collector = createCollector(limitBytes);
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
      if (collector.add(piece)) finish();
    });
    message.on('end', finish);
    message.on('error', cutShort);
    message.on('close', cutShort);
  });
}

type Unpack = (bytes: Buffer, options: ZlibOptions) => Promise<Buffer>;

const unpackers: Readonly<Record<string, Unpack>> = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  br: promisify(brotliDecompress),
  // RFC 9110 means the zlib format, but some clients send raw deflate. The low half of zlib's first byte is always 8.
  deflate: (bytes, options) => promisify((bytes.readUInt8(0) & 0x0f) === 8 ? inflate : inflateRaw)(bytes, options),
};

/**
 * Decompresses as `Content-Encoding` says, off the main thread, up to `limitBytes`. Rejects with Refusal: 400 for corrupt
 * data, 413 above the limit, 415 for other encodings.
 */
export async function unpackBody(bytes: Buffer, contentEncoding: string, limitBytes: number): Promise<Buffer> {
  const encoding = contentEncoding.trim().toLowerCase();
  if (encoding === '' || encoding === 'identity' || bytes.length === 0) return bytes;
  const unpack = Object.hasOwn(unpackers, encoding) ? unpackers[encoding] : undefined;
  if (!unpack)
    throw new Refusal(415, 'Content-Encoding must be gzip, deflate or br', { 'Accept-Encoding': 'gzip, deflate, br' });
  try {
    return await unpack(bytes, { maxOutputLength: limitBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limitBytes);
    throw new Refusal(400, `the body is not valid ${encoding}, which Content-Encoding names, or it is incomplete`);
  }
}

function tooLarge(limitBytes: number): Refusal {
  return new Refusal(413, `the body exceeds the relay's limit of ${limitBytes} bytes`);
}

export function endedEarly(): Refusal {
  return new Refusal(400, 'the request ended before its body was complete');
}
