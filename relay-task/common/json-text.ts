/**
 * The exact texts of the parts of a JSON value, so that numbers, key order and fields that we do not know survive as they
 * were sent. Finding the ends of things is enough for a text that is valid JSON. For another one a SyntaxError is thrown at its
 * end at the latest; before, anything may be found.
 */

import { BACKSLASH, CLOSE_BRACE, CLOSE_BRACKET, COMMA, OPEN_BRACE, OPEN_BRACKET, QUOTE } from './json-codes.ts';
import { describeExcess, describeTooMany } from './json-shape.ts';

/** What a value takes in memory once it is parsed, besides its text. */
export const VALUE_BYTES = 64;

/** A part of a text, its name and its entry in a map take about as much as so many values. */
const PART_VALUES = 4;
/** What is left when the parts are taken out is parsed in one turn of the event loop. */
const MOST_FRAME_VALUES = 10_000;

/** What `describeExcess` says of a text. */
export class JsonExcessError extends Error {}

/** A text of which the largest parts were taken out. */
export interface TakenApart {
  /** The value of the text with null in the place of each part. */
  readonly frame: unknown;
  /**
   * The texts of the parts by the name of their object and their own, or their index in an array. Of equal names the last counts, as in
   * `JSON.parse`.
   */
  readonly parts: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

/**
 * For a text that takes too long to be parsed in one turn of the event loop. The parts are the members of the objects, and the elements
 * of the arrays, `names` within the object at `path`; it yields after each, and within long ones. The text is JSON exactly if the frame and all parts are:
 * throws the SyntaxError of `JSON.parse` for the frame, and does not parse the parts. Their texts do not keep the whole alive.
 * Throws JsonExcessError for what `describeExcess` says of the frame, or for too many parts.
 */
export function* takeApart(
  text: string,
  path: readonly string[],
  names: readonly string[],
  mostValues = Number.POSITIVE_INFINITY,
): Generator<void, TakenApart> {
  const parts = new Map<string, Map<string, string>>();
  const frame: string[] = [];
  /** Where that begins which is not in the frame yet. */
  let rest = 0;
  let values = 0;

  function* takePart(taken: Map<string, string>, name: string, from: number): Generator<void, number> {
    values += PART_VALUES;
    if (values > mostValues) throw new JsonExcessError(describeTooMany(mostValues));
    const to = yield* skipValueInSlices(text, from);
    if (to === from) throw new SyntaxError(`Unexpected token at ${from} of JSON`);
    frame.push(text.slice(rest, from), 'null');
    rest = to;
    taken.set(name, detach(text.slice(from, to)));
    return skipSeparator(text, to);
  }
  function* pass(start: number, depth: number): Generator<void, number> {
    let at = skipSpace(text, start + 1);
    for (let member = memberAt(text, at); member; member = memberAt(text, at)) {
      const { name, from } = member;
      const first = text.charCodeAt(from);
      const isObject = first === OPEN_BRACE;
      const isNamed = depth === path.length && names.includes(name);
      if (isObject && depth < path.length && name === path[depth]) at = yield* pass(from, depth + 1);
      else if (isObject && isNamed) at = yield* take(from, name);
      else if (first === OPEN_BRACKET && isNamed) at = yield* takeElements(from, name);
      else at = yield* skipValueInSlices(text, from);
      at = skipSeparator(text, at);
    }
    return at + 1;
  }
  function* take(start: number, of: string): Generator<void, number> {
    const taken = new Map<string, string>();
    parts.set(of, taken);
    let at = skipSpace(text, start + 1);
    for (let member = memberAt(text, at); member; member = memberAt(text, at)) {
      at = yield* takePart(taken, detach(member.name), member.from);
      yield;
    }
    return at + 1;
  }
  function* takeElements(start: number, of: string): Generator<void, number> {
    const taken = new Map<string, string>();
    parts.set(of, taken);
    let at = skipSpace(text, start + 1);
    while (text.charCodeAt(at) !== CLOSE_BRACKET) {
      if (at >= text.length) throw endsEarly();
      at = yield* takePart(taken, String(taken.size), at);
      yield;
    }
    return at + 1;
  }

  const start = skipSpace(text, 0);
  if (text.charCodeAt(start) === OPEN_BRACE) yield* pass(start, 0);
  const outer = frame.join('') + text.slice(rest);
  const mostLeft = mostValues === Number.POSITIVE_INFINITY ? mostValues : values / PART_VALUES + MOST_FRAME_VALUES;
  const excess = describeExcess(outer, mostLeft);
  if (excess !== undefined) throw new JsonExcessError(excess);
  return { frame: JSON.parse(outer), parts };
}

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

/** As `membersOf`, with a yield after each part of a long member. The texts do not keep the whole alive. */
export function* membersInSlices(object: string): Generator<void, Map<string, string>> {
  const members = new Map<string, string>();
  yield* readMembersInSlices(object, skipSpace(object, 0), function* (name, from) {
    const to = yield* skipValueInSlices(object, from);
    members.set(detach(name), detach(object.slice(from, to)));
    return to;
  });
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

/** So many members are passed between two yields, at least. */
const MEMBERS_AT_ONCE = 1_000;

/** The same in slices; `read` yields within long values. */
export function* readMembersInSlices(
  text: string,
  start: number,
  read: (name: string, from: number) => Generator<void, number>,
): Generator<void, number> {
  let at = skipSpace(text, start + 1);
  let passed = 0;
  for (let member = memberAt(text, at); member; member = memberAt(text, at)) {
    at = skipSeparator(text, yield* read(member.name, member.from));
    passed += 1;
    if (passed % MEMBERS_AT_ONCE === 0) yield;
  }
  return at + 1;
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

/** The same in slices; `read` yields. */
export function* readElementsInSlices(
  text: string,
  start: number,
  read: (from: number) => Generator<void, number>,
): Generator<void, number> {
  let at = skipSpace(text, start + 1);
  while (text.charCodeAt(at) !== CLOSE_BRACKET) {
    if (at >= text.length) throw endsEarly();
    at = skipSeparator(text, yield* read(at));
  }
  return at + 1;
}

/** From the end of a member or element to the beginning of the next, or to the closing bracket. */
function skipSeparator(text: string, at: number): number {
  const next = skipSpace(text, at);
  return text.charCodeAt(next) === COMMA ? skipSpace(text, next + 1) : next;
}

/** Where the next token begins. */
export function skipSpace(text: string, at: number): number {
  let next = at;
  // Between its tokens a valid JSON text has nothing at or below the space but its four white-space characters.
  while (text.charCodeAt(next) <= 32) next += 1;
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

function isEscaped(text: string, at: number): boolean {
  let before = at - 1;
  while (text.charCodeAt(before) === BACKSLASH) before -= 1;
  return (at - before) % 2 === 0;
}

/** So much of a value is passed between two yields: less than a millisecond's work. */
const CHARACTERS_AT_ONCE = 64 * 1024;

/** Where the value that begins at `start` ends. Without recursion: the sender decides how deep a value nests. */
export function skipValue(text: string, start: number): number {
  return skipSome(text, { at: start, depth: 0 }, Number.POSITIVE_INFINITY);
}

/** The same, with a yield after each part of a long value. */
export function* skipValueInSlices(text: string, start: number): Generator<void, number> {
  const place = { at: start, depth: 0 };
  for (;;) {
    const end = skipSome(text, place, place.at + CHARACTERS_AT_ONCE);
    if (end >= 0) return end;
    yield;
  }
}

/** From `place` on, to the end of the value, which is returned; or at least up to `until`, where `place` is then: -1. */
function skipSome(text: string, place: { at: number; depth: number }, until: number): number {
  const first = text.charCodeAt(place.at);
  if (place.depth === 0) {
    if (first === QUOTE) return skipString(text, place.at);
    if (first !== OPEN_BRACE && first !== OPEN_BRACKET) return skipScalar(text, place.at);
  }
  let { at, depth } = place;
  while (at < until) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = skipString(text, at);
      continue;
    }
    if (Number.isNaN(code)) throw endsEarly();
    at += 1;
    if (code === OPEN_BRACE || code === OPEN_BRACKET) depth += 1;
    else if ((code === CLOSE_BRACE || code === CLOSE_BRACKET) && --depth === 0) return at;
  }
  place.at = at;
  place.depth = depth;
  return -1;
}

/** A number, `true`, `false` or `null`. */
function skipScalar(text: string, start: number): number {
  let at = start;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code <= 32 || code === COMMA || code === CLOSE_BRACE || code === CLOSE_BRACKET || Number.isNaN(code)) return at;
    at += 1;
  }
}

function unquote(quoted: string): string {
  return quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
}

/**
 * The same text in memory of its own. V8's `slice` only points into the text it came from, so one kept flag would keep
 * a payload of megabytes alive.
 */
function detach(slice: string): string {
  return ` ${slice}`.slice(1);
}
