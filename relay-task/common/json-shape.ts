/**
 * What JSON is made of, before it is parsed: parsing and working on it costs by its depth and values, not only by its bytes. 8 MiB of
 * `{},{},…` become 180 MiB of objects, in a turn of most of a second.
 */
import { BACKSLASH, CLOSE_BRACE, COMMA, isSpace, OPEN_BRACE, QUOTE } from './json-codes.ts';

interface JsonShape {
  /** How many arrays and objects are open at its deepest place. */
  readonly depth: number;
  /** Elements, members, and arrays and objects that are not empty. */
  readonly values: number;
}

/** Nothing real nests deeper; unbounded depth could exhaust the stack. */
export const MAX_DEPTH = 100;
/** Parsing this many values and working on them takes a few milliseconds. */
export const MAX_VALUES = 10_000;
/** Deeper JSON takes too long in many places. JSON that is only too deep for the stack costs its flag the value, elsewhere. */
const MOST_LEVELS = 110_000;
/**
 * Of a string or a number, with its name and the space around them, in characters: each is scanned, parsed and written in one turn of the
 * event loop. Enforced to within twice `CHARACTERS_AT_ONCE`: checking every character would make all JSON a fifth slower.
 */
export const LONGEST_MEMBER = 1024 * 1024;
/** Characters counted between two checks of the limits. */
const CHARACTERS_AT_ONCE = 64 * 1024;

/** What was counted so far. */
interface JsonCounts {
  /** How many arrays and objects are open at the deepest place. */
  readonly depth: number;
  /** Arrays, objects and commas. */
  readonly parts: number;
  /** Arrays and objects without anything in them. */
  readonly empty: number;
}

/**
 * Returns a function that takes JSON as UTF-8, in pieces, and returns the counts so far. The JSON need not be valid. Not recursive: deep
 * JSON would exhaust the stack.
 */
function createJsonCounter(): (piece: Uint8Array) => JsonCounts {
  let open = 0;
  let depth = 0;
  let parts = 0;
  let empty = 0;
  let isQuoted = false;
  let isEscaped = false;
  /** The last byte was an opening bracket, or space behind one. */
  let isOpened = false;
  return (piece) => {
    for (let at = 0; at < piece.length; at += 1) {
      const byte = piece[at] ?? 0;
      if (isEscaped) isEscaped = false;
      else if (isQuoted) {
        if (byte === BACKSLASH) isEscaped = true;
        else if (byte === QUOTE) isQuoted = false;
      } else if (!isSpace(byte)) {
        const wasOpened = isOpened;
        isOpened = false;
        if (byte === QUOTE) isQuoted = true;
        else if (byte === COMMA) parts += 1;
        // `[` and `{`, `]` and `}` differ in one bit.
        else if ((byte | 0x20) === OPEN_BRACE) {
          parts += 1;
          open += 1;
          depth = Math.max(depth, open);
          isOpened = true;
        } else if ((byte | 0x20) === CLOSE_BRACE) {
          open -= 1;
          if (wasOpened) empty += 1;
        }
      }
    }
    return { depth, parts, empty };
  };
}

/** Of JSON that need not be valid. */
export function shapeOf(bytes: Uint8Array): JsonShape {
  const { depth, parts, empty } = createJsonCounter()(bytes);
  return { depth, values: 1 + parts - empty };
}

/**
 * Why a text of JSON should not be parsed: how deep its values nest, how many there are, or how long one of them is. Undefined: it can
 * be. Yields after each part of the text.
 */
export function* describeExcessInSlices(
  text: string,
  mostValues: number,
  mostLevels = MOST_LEVELS,
): Generator<void, string | undefined> {
  // Each takes a character at least.
  if (text.length < Math.min(mostLevels, mostValues, LONGEST_MEMBER)) return undefined;
  const count = createJsonCounter();
  let partsBefore = 0;
  /** The end of the last part of the text with a comma or an opening bracket. */
  let partAt = 0;
  for (let at = 0; at < text.length; at += CHARACTERS_AT_ONCE) {
    const { depth, parts } = count(Buffer.from(text.slice(at, at + CHARACTERS_AT_ONCE)));
    if (depth > mostLevels) return `its values nest deeper than ${mostLevels} levels`;
    if (parts >= mostValues) return describeTooMany(mostValues);
    if (parts > partsBefore) partAt = at + CHARACTERS_AT_ONCE;
    else if (at + CHARACTERS_AT_ONCE - partAt > LONGEST_MEMBER) return TOO_LONG;
    partsBefore = parts;
    yield;
  }
  return undefined;
}

export function describeTooMany(mostValues: number): string {
  return `it has more than ${mostValues} values, the most that this relay takes`;
}

export const TOO_LONG = 'one of its names, texts or numbers, or the space before one, is longer than 1 MiB';

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
  const count = createJsonCounter();
  return (piece) => {
    const { depth, parts } = count(piece);
    if (depth > maxDepth) throw new Error(`answered with JSON that nests more than ${maxDepth} deep`);
    if (parts > maxParts) throw new Error(`answered with JSON of more than ${maxParts} parts`);
  };
}
