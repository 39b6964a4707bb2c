/** The elements of a JSON array that is too large to be parsed as a whole. */
import {
  BACKSLASH,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COMMA,
  isSpace,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
} from './json-codes.ts';

/** Bytes `from` to `to`, without the white space around them. Empty if a comma has nothing before it. */
export interface ElementRange {
  readonly from: number;
  readonly to: number;
}

/** Bytes scanned between two yields: handling the elements in them takes some tenths of a millisecond. */
export const BYTES_AT_ONCE = 2 * 1024;

/**
 * Yields each element of the array, and undefined in between when other work should run. Returns whether the bytes are an
 * array; what its elements are is not checked, and none is yielded twice. No recursion, no copy.
 */
export function* elementsIn(bytes: Buffer): Generator<ElementRange | undefined, boolean> {
  const { from: start, to: stop } = yield* trimmed(bytes, 0, bytes.length);
  if (bytes[start] !== OPEN_BRACKET) return false;
  let at = start + 1;
  let from = at;
  let commas = 0;
  let depth = 1;
  let inString = false;
  let pauseAt = at + BYTES_AT_ONCE;

  for (; depth > 0; at += 1) {
    if (at >= bytes.length) return false;
    if (at >= pauseAt) {
      yield undefined;
      pauseAt = at + BYTES_AT_ONCE;
    }
    const byte = bytes[at];
    if (inString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth -= 1;
      if (depth === 0 && byte !== CLOSE_BRACKET) return false;
    }
    const ends = !inString && (depth === 0 || (depth === 1 && byte === COMMA));
    if (!ends) continue;
    const isTrimmed = !isSpace(bytes[from]) && !isSpace(bytes[at - 1]);
    const range = isTrimmed ? { from, to: at } : yield* trimmed(bytes, from, at);
    if (depth === 1) commas += 1;
    // Only `[]` has nothing between its brackets and is valid.
    if (depth === 1 || commas > 0 || range.to > range.from) yield range;
    from = at + 1;
  }
  return at === stop;
}

/** The bytes without the white space around them, which may be megabytes: yields when other work should run. */
export function* trimmed(bytes: Buffer, from: number, to: number): Generator<undefined, ElementRange> {
  let start = from;
  let end = to;
  while (start < end && isSpace(bytes[start])) if ((++start - from) % BYTES_AT_ONCE === 0) yield;
  while (end > start && isSpace(bytes[end - 1])) if ((to - --end) % BYTES_AT_ONCE === 0) yield;
  return { from: start, to: end };
}
