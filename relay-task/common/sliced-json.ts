/** JSON that is too large to be parsed in one turn of the event loop. */
import {
  BACKSLASH,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  isSpace,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
} from './json-codes.ts';
import { MAX_DEPTH } from './json-shape.ts';

/** Values parsed between two yields: less than a millisecond of work. */
export const VALUES_AT_ONCE = 1_000;

/** One buffer of many. Copying hundreds of MB takes too long for one turn, too. */
export function* joinInSlices(chunks: readonly Buffer[]): Generator<void, Buffer> {
  const joined = Buffer.allocUnsafe(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    at += chunk.copy(joined, at);
    yield;
  }
  return joined;
}

interface ParseOptions {
  /** Of an object, only the members with these names are returned, and arrays in them are empty; the others are checked and take no memory. */
  readonly only?: readonly string[];
  /** More values are a SyntaxError. */
  readonly mostValues?: number;
}

/**
 * Parses UTF-8 as `JSON.parse` does, and yields in between. Strings do not keep the buffer alive. Throws SyntaxError, also
 * for values that are nested more than 100 levels deep. Members named `__proto__` are left out.
 */
export function* parseInSlices(
  bytes: Buffer,
  { only, mostValues = Number.POSITIVE_INFINITY }: ParseOptions = {},
): Generator<void, unknown> {
  let at = 0;
  let values = 0;

  function fail(): never {
    if (values > mostValues) throw new SyntaxError(`There are more than ${mostValues} values in JSON`);
    throw new SyntaxError(at >= bytes.length ? 'Unexpected end of JSON' : `Unexpected token at byte ${at} of JSON`);
  }
  function skipSpace(): void {
    while (isSpace(bytes[at])) at += 1;
  }
  function peek(): number {
    skipSpace();
    return bytes[at] ?? fail();
  }
  /** Consumes the next byte if it is this one; returns whether it was. */
  function takes(byte: number): boolean {
    if (peek() !== byte) return false;
    at += 1;
    return true;
  }
  function text(): string {
    const start = at;
    let isPlain = true;
    for (at += 1; bytes[at] !== QUOTE; at += 1) {
      const byte = bytes[at];
      if (byte === undefined) fail();
      if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) isPlain = false;
      if (byte === BACKSLASH) at += 1;
    }
    at += 1;
    return isPlain
      ? bytes.toString('latin1', start + 1, at - 1)
      : (JSON.parse(bytes.toString('utf8', start, at)) as string);
  }
  /** A number, true, false or null. */
  function word(): unknown {
    const start = at;
    while (!isDelimiter(bytes[at])) at += 1;
    return JSON.parse(bytes.toString('utf8', start, at));
  }
  function* array(depth: number): Generator<void, unknown[]> {
    const list: unknown[] = [];
    at += 1;
    if (takes(CLOSE_BRACKET)) return list;
    do {
      if (++values % VALUES_AT_ONCE === 0) yield;
      if (values > mostValues) fail();
      const element = peek() === QUOTE ? text() : yield* value(depth);
      if (!only) list.push(element);
    } while (takes(COMMA));
    if (!takes(CLOSE_BRACKET)) fail();
    return list;
  }
  function* object(depth: number): Generator<void, Record<string, unknown>> {
    const members: Record<string, unknown> = {};
    at += 1;
    if (takes(CLOSE_BRACE)) return members;
    do {
      if (++values % VALUES_AT_ONCE === 0) yield;
      if (values > mostValues) fail();
      if (peek() !== QUOTE) fail();
      const name = text();
      if (!takes(COLON)) fail();
      const member = yield* value(depth);
      if (name !== '__proto__' && (!only || (depth === 1 && only.includes(name)))) members[name] = member;
    } while (takes(COMMA));
    if (!takes(CLOSE_BRACE)) fail();
    return members;
  }
  function* value(depth: number): Generator<void, unknown> {
    const byte = peek();
    if (byte === QUOTE) return text();
    if (byte !== OPEN_BRACKET && byte !== OPEN_BRACE) return word();
    if (depth === MAX_DEPTH) fail();
    return yield* byte === OPEN_BRACKET ? array(depth + 1) : object(depth + 1);
  }

  const parsed = yield* value(0);
  skipSpace();
  return at === bytes.length ? parsed : fail();
}

/** The end of the bytes counts as one. */
function isDelimiter(byte: number | undefined): boolean {
  if (byte === undefined || isSpace(byte)) return true;
  return byte === COMMA || byte === CLOSE_BRACKET || byte === CLOSE_BRACE || byte === COLON;
}
