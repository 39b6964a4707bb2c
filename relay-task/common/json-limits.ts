/** Limits on JSON before it is parsed: 8 MiB of `{},{},…` become 180 MiB of objects, in a turn of most of a second. */
import { BACKSLASH, CLOSE_BRACE, CLOSE_BRACKET, COMMA, OPEN_BRACE, OPEN_BRACKET, QUOTE } from './json-text.ts';

export interface JsonLimits {
  /** Of objects, arrays and commas together. */
  readonly maxParts: number;
  /** Of objects and arrays in one another. */
  readonly maxDepth: number;
}

/**
 * Returns a function that takes a JSON text in pieces and throws an Error once it is above the limits; the message goes behind
 * the name of who sent it. Whether it is JSON at all is not checked.
 */
export function createJsonGuard({ maxParts, maxDepth }: JsonLimits): (piece: Buffer) => void {
  let parts = 0;
  let depth = 0;
  let inString = false;
  let isEscaped = false;
  return (piece) => {
    for (let at = 0; at < piece.length; at += 1) {
      const byte = piece[at];
      if (isEscaped) isEscaped = false;
      else if (byte === QUOTE) inString = !inString;
      else if (inString) isEscaped = byte === BACKSLASH;
      else if (byte === COMMA) parts += 1;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        parts += 1;
        depth += 1;
        if (depth > maxDepth) throw new Error(`answered with JSON that nests more than ${maxDepth} deep`);
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
    }
    if (parts > maxParts) throw new Error(`answered with JSON of more than ${maxParts} parts`);
  };
}
