/** JSON texts that are too large to be decoded or parsed in one turn of the event loop. */
import { isAscii } from 'node:buffer';
import { setMember } from './json.ts';
import { CLOSE_BRACE, CLOSE_BRACKET, COMMA, OPEN_BRACE, OPEN_BRACKET, QUOTE } from './json-codes.ts';
import { skipSpace, skipString } from './json-text.ts';

/** Parsing this many takes a few milliseconds at most, even if every object in them has names of its own. */
export const PIECE_CHARACTERS = 8 * 1024;

/** An array or object that has begun. */
interface Open {
  readonly isArray: boolean;
  /** Of its bracket. */
  readonly at: number;
  /** Where the current element or member begins. */
  last: number;
  /** What was parsed of it so far. Undefined as long as it may become part of a piece. */
  holder: unknown[] | Record<string, unknown> | undefined;
  /** Where the part begins that is not parsed yet. */
  rest: number;
  /** Next must come a comma or its end. */
  isSeparate: boolean;
}

/**
 * Returns what `JSON.parse` returns, or throws a SyntaxError where it does. Yields after each piece of a long text. Nesting is
 * limited by memory alone.
 *
 * Where things end is found without looking at what they are, and `JSON.parse` gets the pieces between. That is enough: a list
 * is valid exactly if its pieces are, at whatever commas it was cut. What has not ended at the end of a piece is taken apart itself.
 */
export function* parseTextInSlices(text: string): Generator<void, unknown> {
  if (text.length <= PIECE_CHARACTERS) return JSON.parse(text);
  let at = skipSpace(text, 0);
  const first = text.charCodeAt(at);
  if ((first !== OPEN_BRACE && first !== OPEN_BRACKET) || !isSpaceOnly(text.slice(0, at))) return JSON.parse(text);
  const root = openAt(first, at);
  root.holder = root.isArray ? [] : {};
  const open = [root];
  /** How many of them have a holder: the first ones. */
  let held = 1;
  let pieceEnd = at + PIECE_CHARACTERS;
  at += 1;

  for (let top: Open | undefined = root; top; ) {
    if (at >= pieceEnd) {
      for (let list = open[held - 1]; list; held += 1) {
        const begun = open[held];
        takePiece(text, list, begun);
        list = begun;
      }
      held = open.length;
      pieceEnd = at + PIECE_CHARACTERS;
      yield;
    }
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = skipString(text, at);
      continue;
    }
    if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      top = openAt(code, at);
      open.push(top);
    } else if (code === COMMA) {
      if (top.isSeparate) passComma(text, top, at);
      top.last = at + 1;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      if (top.isArray !== (code === CLOSE_BRACKET)) throw unexpected(at);
      const isHeld: boolean = top.holder !== undefined;
      if (isHeld) takeLast(text, top, at);
      open.pop();
      top = open.at(-1);
      if (isHeld) held -= 1;
      if (isHeld && top) {
        top.rest = at + 1;
        top.isSeparate = true;
      }
    } else if (Number.isNaN(code)) throw new SyntaxError('Unexpected end of JSON input');
    at += 1;
  }
  if (!isSpaceOnly(text.slice(at))) throw unexpected(at);
  return root.holder;
}

function openAt(code: number, at: number): Open {
  const isArray = code === OPEN_BRACKET;
  return { isArray, at, last: at + 1, holder: undefined, rest: at + 1, isSeparate: false };
}

/** Parses what is complete of a list, and makes the holder of what has begun in it. */
function takePiece(text: string, list: Open, begun: Open | undefined): void {
  if (list.last > list.rest) {
    add(list, text.slice(list.rest, list.last - 1), list.last);
    list.rest = list.last;
  }
  if (!begun) return;
  const before = text.slice(list.rest, begun.at);
  if (list.isSeparate) throw unexpected(begun.at);
  begun.holder = begun.isArray ? [] : {};
  if (Array.isArray(list.holder)) {
    if (!isSpaceOnly(before)) throw unexpected(begun.at);
    list.holder.push(begun.holder);
  } else if (list.holder) {
    const [name] = Object.keys(JSON.parse(`{${before}null}`) as object);
    if (name === undefined) throw unexpected(begun.at);
    setMember(list.holder, name, begun.holder);
  }
}

/** Parses what is left of a list that ends at `at`. */
function takeLast(text: string, list: Open, at: number): void {
  const last = text.slice(list.rest, at);
  const isEmpty = isSpaceOnly(last);
  if (list.isSeparate && !isEmpty) throw unexpected(at);
  // Nothing may follow an element, or a bracket; behind a comma, `add` refuses it.
  if (isEmpty && (list.isSeparate || list.rest === list.at + 1)) return;
  add(list, last, at);
}

/** The comma behind an element that was taken apart. */
function passComma(text: string, list: Open, at: number): void {
  if (!isSpaceOnly(text.slice(list.rest, at))) throw unexpected(at);
  list.rest = at + 1;
  list.isSeparate = false;
}

/** Adds one or more elements or members. */
function add({ holder }: Open, piece: string, at: number): void {
  if (Array.isArray(holder)) {
    const elements = JSON.parse(`[${piece}]`) as unknown[];
    if (elements.length === 0) throw unexpected(at);
    for (const element of elements) holder.push(element);
  } else if (holder) {
    const members = JSON.parse(`{${piece}}`) as Record<string, unknown>;
    const names = Object.keys(members);
    if (names.length === 0) throw unexpected(at);
    for (const name of names) setMember(holder, name, members[name]);
  }
}

/** White space of JSON, which is less than what `skipSpace` skips. */
function isSpaceOnly(text: string): boolean {
  return /^[ \t\n\r]*$/.test(text);
}

function unexpected(at: number): SyntaxError {
  return new SyntaxError(`Unexpected token at ${at} of JSON`);
}

/** Decoding this many takes a few milliseconds, in any language. */
const BYTES_AT_ONCE = 256 * 1024;

/** Returns what `bytes.toString('utf8')` returns. Yields after each piece. */
export function* decodeInSlices(bytes: Buffer): Generator<void, string> {
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = beginningAt(bytes, Math.min(at + BYTES_AT_ONCE, bytes.length));
    const piece = bytes.subarray(at, end);
    pieces.push(piece.toString(isAscii(piece) ? 'latin1' : 'utf8'));
    at = end;
    if (at < bytes.length) yield;
  }
  return pieces.join('');
}

/** Where the character begins that the byte here is part of, at most three bytes before; here if it is not valid UTF-8. */
function beginningAt(bytes: Buffer, at: number): number {
  for (let from = at; from > at - 4; from -= 1) if (!isContinuation(bytes[from])) return from;
  return at;
}

const isContinuation = (byte: number | undefined) => byte !== undefined && (byte & 0xc0) === 0x80;
