/**
 * Large values of variations, which clients get as text. Freezing such a value, and writing it as JSON, would take one long turn of the
 * event loop: objects with very many names cannot be handled in parts.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { isObject } from '../common/json.ts';
import { QUOTE } from '../common/json-codes.ts';
import {
  membersInSlices,
  readElementsInSlices,
  skipSpace,
  skipString,
  skipValueInSlices,
} from '../common/json-text.ts';

/** In characters. */
const LARGE = 16 * 1024;

/** The placeholder of the value in a compiled flag. */
class LargeValue {
  readonly json: string;
  constructor(json: string) {
    this.json = json;
  }
}

/** A flag with its large values replaced. `data` is what its JSON parses to. */
export function* withLargeValues({ kind, json }: Item, data: unknown): Generator<void, unknown> {
  if (kind !== 'features' || json.length <= LARGE || !isObject(data) || !Array.isArray(data.variations)) return data;
  const text = (yield* membersInSlices(json, ['variations'])).get('variations') ?? '';
  if (text.length <= LARGE) return data;
  const variations: unknown[] = [...data.variations];
  let index = 0;
  yield* readElementsInSlices(text, skipSpace(text, 0), function* (from) {
    const to = yield* skipValueInSlices(text, from);
    if (to - from > LARGE) variations[index] = new LargeValue(yield* withFiniteNumbers(text.slice(from, to)));
    index += 1;
    return to;
  });
  return { ...data, variations };
}

/** As `JSON.stringify` writes them: null for a number above what a double holds, such as `1e999`, which SDKs in Go or Swift cannot read. */
function* withFiniteNumbers(text: string): Generator<void, string> {
  const parts: string[] = [];
  let rest = 0;
  let pauseAt = CHARACTERS_AT_ONCE;
  for (let at = 0; at < text.length; ) {
    if (at >= pauseAt) {
      pauseAt = at + CHARACTERS_AT_ONCE;
      yield;
    }
    if (text.charCodeAt(at) === QUOTE) {
      at = skipString(text, at);
      continue;
    }
    const from = at;
    let hasExponent = false;
    for (let code = text.charCodeAt(at); isOfNumber(code); code = text.charCodeAt(at)) {
      hasExponent ||= isExponent(code);
      at += 1;
    }
    const mayBeInfinite = hasExponent || at - from > LONGEST_FINITE;
    // `true` and `false` have an e.
    if (mayBeInfinite && at - from > 1 && !Number.isFinite(Number(text.slice(from, at)))) {
      parts.push(text.slice(rest, from), 'null');
      rest = at;
    }
    if (at === from) at += 1;
  }
  return parts.length === 0 ? text : parts.join('') + text.slice(rest);
}

const CHARACTERS_AT_ONCE = 16 * 1024;
/** Without an exponent. */
const LONGEST_FINITE = 308;

const isExponent = (code: number) => (code | 0x20) === 0x65;

/** Digits, signs, point and exponent; not NaN, the code behind the end. */
const isOfNumber = (code: number) =>
  (code >= 0x30 && code <= 0x39) || code === 0x2b || code === 0x2d || code === 0x2e || isExponent(code);

/** The JSON of a variation's value, or of null. */
export function valueText(value: unknown): string {
  return value instanceof LargeValue ? value.json : JSON.stringify(value ?? null);
}
