/**
 * The exact texts of the parts of a JSON value, so that numbers, key order and fields that we do not know survive as they
 * were sent. Finding the ends of things is enough for a text that is valid JSON. For another one a SyntaxError is thrown at its
 * end at the latest; before, anything may be found.
 */

import { BACKSLASH, CLOSE_BRACE, CLOSE_BRACKET, COMMA, OPEN_BRACE, OPEN_BRACKET, QUOTE } from './json-codes.ts';

/** What a value takes in memory once it is parsed, besides its text. */
export const VALUE_BYTES = 64;

/** The text of each member of an object, as in `SlicedJson.members`; `object` must be the text of one. */
export function membersOf(object: string): Map<string, string> {
  const members = new Map<string, string>();
  eachMember(object, skipSpace(object, 0), (name, from) => {
    const to = skipValue(object, from);
    members.set(name, object.slice(from, to));
    return to;
  });
  return members;
}

/**
 * The texts of those members of an object that have one of `names`, as in `membersOf`, if they are at most so long. Nothing else of the
 * object is kept, and the texts do not keep it alive. Yields within long objects.
 */
export function* membersInSlices(
  object: string,
  names: readonly string[],
  mostCharacters = Number.POSITIVE_INFINITY,
): Generator<void, Map<string, string>> {
  const members = new Map<string, string>();
  yield* passMembers(object, yield* skipSpaceInSlices(object, 0), function* ({ nameFrom, nameEnd, from }) {
    const to = yield* skipValueInSlices(object, from);
    const name = nameAmong(names, object, nameFrom, nameEnd);
    // Of equal names the last counts.
    if (name !== undefined && to - from > mostCharacters) members.delete(name);
    else if (name !== undefined) members.set(name, detach(object.slice(from, to)));
    return to;
  });
  return members;
}

/** In characters of JSON. No key, path or name that means anything to the relay is longer. */
const LONGEST_NAME = 16 * 1024;

/**
 * Of an object that is too much to be parsed: those of `names` that are texts and not too long for a key or a path. Yields within long
 * objects. Throws SyntaxError.
 */
export function* namesIn(object: string, names: readonly string[]): Generator<void, Map<string, string>> {
  const members = yield* membersInSlices(object, names, LONGEST_NAME);
  for (const [name, text] of members) {
    if (text.startsWith('"')) members.set(name, JSON.parse(text) as string);
    else members.delete(name);
  }
  return members;
}

/**
 * Reads the object that begins at `start` in one pass: `read` gets the name of each member and where its value begins, and
 * returns where it ends. Returns where the object ends.
 */
export function eachMember(text: string, start: number, read: (name: string, from: number) => number): number {
  let at = skipSpace(text, start + 1);
  for (let member = memberAt(text, at); member; member = memberAt(text, at))
    at = skipSeparator(text, read(member.name, member.from));
  return at + 1;
}

/** The same in slices; `read` yields within long values. */
export function readMembersInSlices(
  text: string,
  start: number,
  read: (name: string, from: number) => Generator<void, number>,
): Generator<void, number> {
  return passMembers(text, start, ({ nameFrom, nameEnd, from }) => read(unquote(text.slice(nameFrom, nameEnd)), from));
}

/** A member of an object in a text: its name is there with its quotes. */
interface Member {
  readonly nameFrom: number;
  readonly nameEnd: number;
  /** Where its value begins. */
  readonly from: number;
}

/** Characters read between two yields if no value in them is long: fewer than 2,000 members. */
const SHORT_CHARACTERS_AT_ONCE = 8 * 1024;

/** As `readMembersInSlices`, without reading the names. */
export function* passMembers(
  text: string,
  start: number,
  read: (member: Member) => Generator<void, number>,
): Generator<void, number> {
  let at = start + 1;
  let pauseAt = at + SHORT_CHARACTERS_AT_ONCE;
  for (;;) {
    // A generator for each step of each member would take longer than the steps.
    const isNear = text.charCodeAt(at) === COMMA && text.charCodeAt(at + 1) === QUOTE;
    const nameFrom = isNear ? at + 1 : yield* skipSeparatorInSlices(text, at);
    const first = text.charCodeAt(nameFrom);
    if (first === CLOSE_BRACE) return nameFrom + 1;
    if (first !== QUOTE) throw unexpected(text, nameFrom);
    const near = skipSome(text, { at: nameFrom, depth: 0, isQuoted: false }, nameFrom + CHARACTERS_AT_ONCE);
    const nameEnd = near < 0 ? yield* skipValueInSlices(text, nameFrom) : near;
    const colon = isSpaceAt(text, nameEnd) ? yield* skipSpaceInSlices(text, nameEnd) : nameEnd;
    const from = isSpaceAt(text, colon + 1) ? yield* skipSpaceInSlices(text, colon + 1) : colon + 1;
    at = yield* read({ nameFrom, nameEnd, from });
    if (at < pauseAt) continue;
    pauseAt = at + SHORT_CHARACTERS_AT_ONCE;
    yield;
  }
}

/** Which of `names` it is. A long name is not read. */
export function nameAmong(names: readonly string[], text: string, from: number, end: number): string | undefined {
  const length = end - from - 2;
  // Each of its characters may be written as six.
  const mayBe = ({ length: its }: string) => its <= length && length <= 6 * its;
  if (!names.some(mayBe)) return undefined;
  const name = unquote(text.slice(from, end));
  return names.includes(name) ? name : undefined;
}

/** The name of the member that begins here, and where its value begins. Undefined where the object ends. */
function memberAt(text: string, at: number): { readonly name: string; readonly from: number } | undefined {
  if (text.charCodeAt(at) === CLOSE_BRACE) return undefined;
  const nameEnd = skipString(text, at);
  return { name: unquote(text.slice(at, nameEnd)), from: skipSpace(text, skipSpace(text, nameEnd) + 1) };
}

/** As `eachMember`, for the array that begins at `start`. */
export function eachElement(text: string, start: number, read: (from: number) => number): number {
  let at = skipSpace(text, start + 1);
  while (text.charCodeAt(at) !== CLOSE_BRACKET) {
    if (at >= text.length) throw endsEarly();
    at = skipSeparator(text, read(at));
  }
  return at + 1;
}

/** The same in slices; `read` yields within long values. */
export function* readElementsInSlices(
  text: string,
  start: number,
  read: (from: number) => Generator<void, number>,
): Generator<void, number> {
  let at = start + 1;
  let pauseAt = at + SHORT_CHARACTERS_AT_ONCE;
  for (;;) {
    const from = yield* skipSeparatorInSlices(text, at);
    if (text.charCodeAt(from) === CLOSE_BRACKET) return from + 1;
    if (from >= text.length) throw endsEarly();
    at = yield* read(from);
    if (at < pauseAt) continue;
    pauseAt = at + SHORT_CHARACTERS_AT_ONCE;
    yield;
  }
}

/** From the end of a member or element to the beginning of the next, or to the closing bracket. */
function skipSeparator(text: string, at: number): number {
  const next = skipSpace(text, at);
  return text.charCodeAt(next) === COMMA ? skipSpace(text, next + 1) : next;
}

function* skipSeparatorInSlices(text: string, at: number): Generator<void, number> {
  const next = yield* skipSpaceInSlices(text, at);
  return text.charCodeAt(next) === COMMA ? yield* skipSpaceInSlices(text, next + 1) : next;
}

/** Where the next token begins; at least as far as `until` if that comes first. */
export function skipSpace(text: string, at: number, until = Number.POSITIVE_INFINITY): number {
  let next = at;
  // Between its tokens a valid JSON text has nothing at or below the space but its four white-space characters.
  while (next < until && isSpaceAt(text, next)) next += 1;
  return next;
}

const isSpaceAt = (text: string, at: number) => text.charCodeAt(at) <= 32;

/** The same, with a yield after each part of long space. */
export function* skipSpaceInSlices(text: string, at: number): Generator<void, number> {
  let next = at;
  for (let until = at; next === until; ) {
    if (until > at) yield;
    until += CHARACTERS_AT_ONCE;
    next = skipSpace(text, next, until);
  }
  return next;
}

/** From the opening quote to behind the closing one. */
export function skipString(text: string, at: number): number {
  let quote = at;
  do {
    quote = text.indexOf('"', quote + 1);
    if (quote < 0) throw endsEarly();
  } while (isEscaped(text, quote));
  return quote + 1;
}

const endsEarly = () => new SyntaxError('Unexpected end of JSON input');
const unexpected = (text: string, at: number) =>
  at >= text.length ? endsEarly() : new SyntaxError(`Unexpected token at ${at} of JSON`);

function isEscaped(text: string, at: number): boolean {
  let before = at - 1;
  while (text.charCodeAt(before) === BACKSLASH) before -= 1;
  return (at - before) % 2 === 0;
}

/** Characters of a value scanned between two yields: less than a millisecond of work. */
const CHARACTERS_AT_ONCE = 64 * 1024;

/** Where the value that begins at `start` ends. Without recursion: the sender decides how deep a value nests. */
export function skipValue(text: string, start: number): number {
  return skipSome(text, { at: start, depth: 0, isQuoted: false }, Number.POSITIVE_INFINITY);
}

/** The same, with a yield after each part of a long value. */
export function* skipValueInSlices(text: string, start: number): Generator<void, number> {
  const place = { at: start, depth: 0, isQuoted: false };
  for (;;) {
    const end = skipSome(text, place, place.at + CHARACTERS_AT_ONCE);
    if (end >= 0) return end;
    yield;
  }
}

/** From `place` on, to the end of the value, which is returned; or up to `until` or the character behind it, where `place` is then: -1. */
function skipSome(text: string, place: { at: number; depth: number; isQuoted: boolean }, until: number): number {
  let { at, depth, isQuoted } = place;
  const end = Math.min(until, text.length);
  if (depth === 0 && !isQuoted && !isOpening(text.charCodeAt(at))) {
    // A number, `true`, `false` or `null`.
    while (at < end && !endsScalar(text.charCodeAt(at))) at += 1;
    if (at < end || end === text.length) return at;
  }
  while (at < end) {
    const code = text.charCodeAt(at);
    at += 1;
    if (isQuoted) {
      if (code === BACKSLASH) at += 1;
      else if (code === QUOTE) {
        isQuoted = false;
        if (depth === 0) return at;
      }
    } else if (code === QUOTE) {
      // Most have no backslash, and are passed at once.
      const quote = text.indexOf('"', at);
      if (quote < 0) throw endsEarly();
      isQuoted = text.charCodeAt(quote - 1) === BACKSLASH;
      if (isQuoted) continue;
      at = quote + 1;
      if (depth === 0) return at;
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth += 1;
    else if ((code === CLOSE_BRACE || code === CLOSE_BRACKET) && --depth === 0) return at;
  }
  if (at >= text.length) throw endsEarly();
  place.at = at;
  place.depth = depth;
  place.isQuoted = isQuoted;
  return -1;
}

const isOpening = (code: number) => code === QUOTE || code === OPEN_BRACE || code === OPEN_BRACKET;
const endsScalar = (code: number) => code <= 32 || code === COMMA || code === CLOSE_BRACE || code === CLOSE_BRACKET;

export function unquote(quoted: string): string {
  return quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
}

/**
 * The same text in memory of its own. V8's `slice` only points into the text it came from, so one kept flag would keep
 * a payload of megabytes alive.
 */
export function detach(slice: string): string {
  return ` ${slice}`.slice(1);
}
