/**
 * Large values of variations, which clients get as text. Freezing such a value, and writing it as JSON, would take one long turn of the
 * event loop: objects with very many names cannot be handled in parts.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { isObject } from '../common/json.ts';
import { membersInSlices, readElementsInSlices, skipSpace, skipValueInSlices } from '../common/json-text.ts';

/** In characters. */
const LARGE = 16 * 1024;

/** Stands for the value in a compiled flag. */
class LargeValue {
  readonly json: string;
  constructor(json: string) {
    this.json = json;
  }
}

/** A flag with its large values replaced. `data` is what its JSON parses to. */
export function* withLargeValues({ kind, json }: Item, data: unknown): Generator<void, unknown> {
  if (kind !== 'features' || json.length <= LARGE || !isObject(data) || !Array.isArray(data.variations)) return data;
  const text = (yield* membersInSlices(json)).get('variations') ?? '';
  if (text.length <= LARGE) return data;
  const variations: unknown[] = [...data.variations];
  let index = 0;
  yield* readElementsInSlices(text, skipSpace(text, 0), function* (from) {
    const to = yield* skipValueInSlices(text, from);
    if (to - from > LARGE) variations[index] = new LargeValue(text.slice(from, to));
    index += 1;
    return to;
  });
  return { ...data, variations };
}

/** The JSON of a variation's value, or of null. */
export function valueText(value: unknown): string {
  return value instanceof LargeValue ? value.json : JSON.stringify(value ?? null);
}
