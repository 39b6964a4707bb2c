import type { ParsedContext } from './context.ts';
import { type RolloutData, text } from './data.ts';
import type { Bucket } from './model.ts';
import { type Path, parseReference, readAttribute } from './reference.ts';
import { countHashed, type Work } from './work.ts';

/** What determines a context's bucket on [0, 1]. */
export interface Bucketing {
  readonly kind: string;
  /** Undefined: the reference is invalid. */
  readonly by: Path | undefined;
  /** Hashed before the attribute's value; includes the last dot. */
  readonly prefix: string;
}

/**
 * Buckets by the key, unless the rollout names an attribute: by a path if it also gives a kind, else by name. Experiments always
 * bucket by the key, but `bucketBy` must still be a string. A seed other than 0 replaces `prefix`.
 */
export function compileBucketing(prefix: string, { kind, contextKind, bucketBy, seed }: RolloutData): Bucketing {
  const by = text(bucketBy || '');
  return {
    kind: text(contextKind ?? 'user'),
    by: parseReference((kind !== 'experiment' && by) || 'key', !contextKind),
    prefix: seed ? `${Number(seed)}.` : prefix,
  };
}

/** From 0 to 1; 0 if the attribute is neither a string nor an integer. */
export function bucketOf(run: Work, context: ParsedContext, { kind, by, prefix }: Bucketing, bucket: Bucket): number {
  const value = readAttribute(context, kind, by as Path);
  return typeof value === 'string' || Number.isInteger(value) ? bucket(prefix, countHashed(run, String(value))) : 0;
}

/** Buckets with the platform's SHA-1, given in lower-case hexadecimal. Calculates with doubles, like the Node SDK. */
export function bucketByHex(sha1Hex: (text: string) => string): Bucket {
  return (prefix, value) => {
    const hex = sha1Hex(prefix + value);
    return (hexadecimal(hex, 0, 7) * 2 ** 32 + hexadecimal(hex, 7, 15)) / 2 ** 60;
  };
}

/** Parses up to eight lower-case digits in 32-bit arithmetic, which is faster than parseInt. */
function hexadecimal(text: string, from: number, to: number): number {
  let number = 0;
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i);
    number = (number << 4) | ((code & 15) + (code >> 6) * 9);
  }
  return number >>> 0;
}
