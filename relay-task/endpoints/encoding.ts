/** Compressed bodies (RFC 9110 section 12.5.3), each made once, when the first client needs it. */
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { offersIn } from '../common/offers.ts';
import type { Compress } from './answers.ts';

export type Encoding = 'identity' | 'gzip' | 'br';

/** Below this size, compression costs more than it saves. */
const WORTH_COMPRESSING_BYTES = 1_024;
/** Levels of gzip and brotli. For one client, speed counts: half of the time, for about 8 % more bytes. */
const FOR_ONE = { gzip: 3, br: 1 };
const FOR_MANY = { gzip: 6, br: 4 };
/** So much output is made by one piece of work of another thread. */
const MIN_PIECE_BYTES = 16 * 1024;
const MAX_PIECE_BYTES = 256 * 1024;

/** For one client. */
export interface Body {
  readonly raw: Buffer;
  readonly isShared: false;
  /** Undefined if it is not worth it, or too much is being compressed. Runs off the main thread, in turn. */
  compressed(encoding: Compression, compress: Compress): Promise<Buffer> | undefined;
}

/** For many clients, in parts that other bodies may have, too. */
export interface SharedBody {
  /** Of everything that the body depends on. */
  readonly digest: string;
  readonly parts: readonly Buffer[];
  readonly isShared: true;
  /** The same, made once for all. */
  compressed(encoding: Compression, compress: Compress): Promise<Buffer> | undefined;
  /** Counts parts or what was compressed, until the function that it returns is called. */
  hold(buffers: readonly Buffer[]): () => void;
}

export type Compression = Exclude<Encoding, 'identity'>;
type Compressor = (raw: Buffer, level: number) => Promise<Buffer>;

const compressors: Readonly<Record<Compression, Compressor>> = {
  gzip: (raw, level) => promisify(gzip)(raw, { level, chunkSize: pieceBytes(raw) }),
  br: (raw, level) =>
    promisify(brotliCompress)(raw, {
      chunkSize: pieceBytes(raw),
      params: {
        [constants.BROTLI_PARAM_QUALITY]: level,
        [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
      },
    }),
};

function pieceBytes({ length }: Buffer): number {
  return Math.max(MIN_PIECE_BYTES, Math.min(length, MAX_PIECE_BYTES));
}

/** For how many clients it is made. */
export type Effort = 'one' | 'many';

/** Whether a body of that size is worth compressing. */
export function isWorthCompressing(bytes: number): boolean {
  return bytes > WORTH_COMPRESSING_BYTES;
}

/** The same bytes for the same body. */
export function compressed(raw: Buffer, encoding: Compression, effort: Effort): Promise<Buffer> {
  const levels = effort === 'many' ? FOR_MANY : FOR_ONE;
  return compressors[encoding](raw, levels[encoding]);
}

export function bodyOf(text: string): Body {
  const raw = Buffer.from(text);
  return {
    raw,
    isShared: false,
    compressed(encoding, compress) {
      if (!isWorthCompressing(raw.length)) return undefined;
      return compress({ raw, isShared: false }, () => compressed(raw, encoding, 'one'));
    },
  };
}

/** The smallest encoding among those with the client's highest weight. Compression must be named; `*` is not enough. */
export function acceptedEncoding(header: string | string[] | undefined): Encoding {
  const weights = { gzip: 0, br: 0 };
  for (const { name, weight } of offersIn(header)) {
    const encoding = name.replace(/^x-/, '');
    if (encoding === 'gzip' || encoding === 'br') weights[encoding] = weight;
  }
  if (weights.br > 0 && weights.br >= weights.gzip) return 'br';
  return weights.gzip > 0 ? 'gzip' : 'identity';
}
