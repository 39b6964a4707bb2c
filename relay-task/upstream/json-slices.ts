/**
 * JSON that is understood and kept: the value as `JSON.parse` gives it, and beside it the exact text of the members of
 * any object inside, so that numbers, key order and fields nobody here knows survive as they were sent.
 */
export interface SlicedJson {
  readonly value: unknown;
  /**
   * The raw text of each member of the object at `path`, by unescaped key; of equal keys the last counts, as in
   * `JSON.parse`. Undefined when there is no object there.
   */
  members(path: readonly string[]): Map<string, string> | undefined;
}

const QUOTE = 34;
const COMMA = 44;
const BACKSLASH = 92;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

/** Throws the SyntaxError of `JSON.parse` on anything that is not JSON. Linear, and as deep as memory allows. */
export function parseSliced(text: string): SlicedJson {
  // Everything below relies on this line: the text is valid, so finding the ends of things is enough.
  const value: unknown = JSON.parse(text);
  return {
    value,
    members(path) {
      let start = skipSpace(text, 0);
      for (const name of path) {
        const next = memberStart(text, start, name);
        if (next === undefined) return undefined;
        start = next;
      }
      return text.charCodeAt(start) === OPEN_BRACE ? sliceMembers(text, start) : undefined;
    },
  };
}

function sliceMembers(text: string, start: number): Map<string, string> {
  const slices = new Map<string, string>();
  eachMember(text, start, (key, from, to) => slices.set(key, detach(text.slice(from, to))));
  return slices;
}

function memberStart(text: string, start: number, name: string): number | undefined {
  let found: number | undefined;
  if (text.charCodeAt(start) !== OPEN_BRACE) return undefined;
  eachMember(text, start, (key, from) => {
    if (key === name) found = from;
  });
  return found;
}

function eachMember(text: string, start: number, visit: (key: string, from: number, to: number) => void): void {
  let at = skipSpace(text, start + 1);
  while (text.charCodeAt(at) !== CLOSE_BRACE) {
    const keyEnd = skipString(text, at);
    const key = unquote(text.slice(at, keyEnd));
    const from = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const to = skipValue(text, from);
    visit(key, from, to);
    at = skipSpace(text, to);
    if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
  }
}

function skipSpace(text: string, at: number): number {
  let next = at;
  // A valid JSON text has nothing at or below the space between its tokens but its four white-space characters.
  while (text.charCodeAt(next) <= 32) next += 1;
  return next;
}

/** From the opening quote to behind the closing one. */
function skipString(text: string, at: number): number {
  let quote = text.indexOf('"', at + 1);
  while (isEscaped(text, quote)) quote = text.indexOf('"', quote + 1);
  return quote + 1;
}

function isEscaped(text: string, at: number): boolean {
  let before = at - 1;
  while (text.charCodeAt(before) === BACKSLASH) before -= 1;
  return (at - before) % 2 === 0;
}

function skipValue(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === QUOTE) return skipString(text, start);
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) return skipScalar(text, start);
  let depth = 0;
  let at = start;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = skipString(text, at);
      continue;
    }
    at += 1;
    if (code === OPEN_BRACE || code === OPEN_BRACKET) depth += 1;
    else if ((code === CLOSE_BRACE || code === CLOSE_BRACKET) && --depth === 0) return at;
  }
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
  return quoted.includes('\\') ? (JSON.parse(quoted) as string) : detach(quoted.slice(1, -1));
}

/**
 * The same text in memory of its own. V8's `slice` only points into the text it came from, so that one kept flag would
 * keep the whole payload of megabytes alive.
 */
function detach(slice: string): string {
  return ` ${slice}`.slice(1);
}
