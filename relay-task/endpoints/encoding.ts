/** Compressed bodies (RFC 9110 section 12.5.3), each made once, when the first client needs it. */
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

export type Encoding = 'identity' | 'gzip' | 'br';

/** Below this size, compression costs more than it saves. */
const WORTH_COMPRESSING_BYTES = 1_024;
/** About as fast as gzip's default level, with smaller output. */
const BROTLI_QUALITY = 4;

export interface Body {
  readonly raw: Buffer;
  /** Undefined if not worth it. Runs off the main thread. */
  compressed(encoding: 'gzip' | 'br'): Promise<Buffer> | undefined;
}

const compressors: Readonly<Record<'gzip' | 'br', (raw: Buffer) => Promise<Buffer>>> = {
  gzip: promisify(gzip),
  br: (raw) =>
    promisify(brotliCompress)(raw, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY,
        [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
      },
    }),
};

export function bodyOf(text: string): Body {
  const raw = Buffer.from(text);
  const made: Partial<Record<'gzip' | 'br', Promise<Buffer>>> = {};
  return {
    raw,
    compressed(encoding) {
      if (raw.length <= WORTH_COMPRESSING_BYTES) return undefined;
      made[encoding] ??= compressors[encoding](raw);
      return made[encoding];
    },
  };
}

/** The smallest encoding among those with the client's highest weight. Compression must be named; `*` is not enough. */
export function acceptedEncoding(header: string | string[] | undefined): Encoding {
  const weights = { gzip: 0, br: 0 };
  for (const offer of String(header ?? '').split(',')) {
    const [, name = '', weight = '1'] = /^\s*([\w-]+)\s*(?:;\s*q=([\d.]+)\s*)?$/i.exec(offer) ?? [];
    const encoding = name.toLowerCase().replace(/^x-/, '');
    if (encoding === 'gzip' || encoding === 'br') weights[encoding] = Number(weight) || 0;
  }
  if (weights.br > 0 && weights.br >= weights.gzip) return 'br';
  return weights.gzip > 0 ? 'gzip' : 'identity';
}
