/** What JSON text is made of, before it is parsed: parsing and working on it costs by its depth and values, not only by its bytes. */
import { BACKSLASH, CLOSE_BRACE, COMMA, isSpace, OPEN_BRACE, QUOTE } from './json-text.ts';

export interface JsonShape {
  /** How many arrays and objects are open at its deepest place. */
  readonly depth: number;
  /** Elements, members, and arrays and objects that are not empty. */
  readonly values: number;
}

/** Nothing real nests deeper; unbounded depth could exhaust the stack. */
export const MAX_DEPTH = 100;
/** So many values are parsed and worked on within a few milliseconds. */
export const MAX_VALUES = 10_000;

/** Of text that need not be valid. Without recursion, which deep enough text would break. */
export function shapeOf(bytes: Uint8Array): JsonShape {
  let depth = 0;
  let deepest = 0;
  let values = 1;
  let quoted = false;
  /** The last byte was an opening bracket, or space behind one. */
  let opened = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (!quoted && isSpace(byte)) continue;
    const isEmpty = opened;
    opened = false;
    if (quoted) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) quoted = false;
    } else if (byte === QUOTE) quoted = true;
    else if (byte === COMMA) values++;
    // `[` and `{`, `]` and `}` differ in one bit.
    else if ((byte | 0x20) === OPEN_BRACE) {
      values++;
      opened = true;
      deepest = Math.max(deepest, ++depth);
    } else if ((byte | 0x20) === CLOSE_BRACE) {
      if (isEmpty) values--;
      depth--;
    }
  }
  return { depth: deepest, values };
}
