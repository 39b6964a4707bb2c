import type { ParsedContext } from './context.ts';
import { text } from './data.ts';
import type { Bucket } from './model.ts';
import { type Path, parseReference, readAttribute } from './reference.ts';

/** By what a context is given its place on [0, 1]. */
export interface Bucketing {
  readonly kind: string;
  /** Undefined: the reference is invalid. */
  readonly by: Path | undefined;
  /** What is hashed before the attribute's value, the last dot included. */
  readonly prefix: string;
}

/** Nothing as `by` means the key; only a kind beside it makes it a path. */
export function compileBucketing(kind: unknown, by: unknown, prefix: string): Bucketing {
  return { kind: text(kind ?? 'user'), by: parseReference(text(by || 'key'), !kind), prefix };
}

/** From 0 to 1; 0 where the attribute is neither text nor a whole number. */
export function bucketOf(context: ParsedContext, { kind, by, prefix }: Bucketing, bucket: Bucket): number {
  const value = readAttribute(context, kind, by as Path);
  return typeof value === 'string' || Number.isInteger(value) ? bucket(prefix, String(value)) : 0;
}

/** Buckets by the platform's own SHA-1 in lower-case hexadecimal. In doubles, like the Node SDK. */
export function bucketByHex(sha1Hex: (text: string) => string): Bucket {
  return (prefix, value) => {
    const hex = sha1Hex(prefix + value);
    return (hexadecimal(hex, 0, 7) * 2 ** 32 + hexadecimal(hex, 7, 15)) / 2 ** 60;
  };
}

/** Up to eight lower-case digits, in the arithmetic of 32 bits: faster than the engine's general parser. */
function hexadecimal(text: string, from: number, to: number): number {
  let number = 0;
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i);
    number = (number << 4) | ((code & 15) + (code >> 6) * 9);
  }
  return number >>> 0;
}
