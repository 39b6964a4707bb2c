/** A flag's event settings, for SDKs that do not send them. */
import type { Item } from '../../lib/flag-table/index.ts';
import { isObject, type JsonObject } from '../common/json.ts';
import { MAX_VALUES, shapeOf } from '../common/json-shape.ts';
import { membersInSlices, readElementsInSlices, skipValueInSlices } from '../common/json-text.ts';
import { resultOf } from '../common/slices.ts';

/** Where the relay summarises, a larger event is dropped, since it is taken apart in one go. So is one with more than `MAX_VALUES` values. */
export const MAX_SUMMARISED_BYTES = 256 * 1024;

interface Tracking {
  readonly trackEvents: boolean;
  /** Unix ms. */
  readonly debugEventsUntilDate: number | undefined;
  readonly samplingRatio: number | undefined;
  readonly excludeFromSummaries: boolean;
  /** Whether an evaluation with this reason is part of an experiment and needs a full event. */
  isExperiment(reason: unknown): boolean;
  /** The first variation with this value. */
  variationOf(value: unknown): number | undefined;
}

const known = new WeakMap<Item, Tracking>();

/** Undefined for tombstones and invalid flags. */
export function trackingOf(item: Item | undefined): Tracking | undefined {
  return resultOf(trackingInSlices(item));
}

/** The same, with yields while it is read for the first time: a flag may be large, and is read again after each change. */
export function* trackingInSlices(item: Item | undefined): Generator<void, Tracking | undefined> {
  if (!item || item.deleted) return undefined;
  const found = known.get(item);
  if (found) return found;
  try {
    const read = yield* readTracking(item.json);
    known.set(item, read);
    return read;
  } catch {
    return undefined;
  }
}

const SETTINGS = [
  'trackEvents',
  'debugEventsUntilDate',
  'samplingRatio',
  'excludeFromSummaries',
  'trackEventsFallthrough',
] as const;

/** Throws SyntaxError. */
function* readTracking(json: string): Generator<void, Tracking> {
  const texts = yield* membersInSlices(json, [...SETTINGS, 'rules', 'variations']);
  const flag: Fields = Object.fromEntries(SETTINGS.map((name) => [name, JSON.parse(texts.get(name) ?? 'null')]));
  const tracksRule = yield* elementsOf(texts.get('rules'), tracksEvents);
  const variations = yield* elementsOf(texts.get('variations'), readVariation);
  const tracksFallthrough = flag.trackEventsFallthrough === true;
  return {
    trackEvents: flag.trackEvents === true,
    debugEventsUntilDate: numberIn(flag, 'debugEventsUntilDate'),
    samplingRatio: numberIn(flag, 'samplingRatio'),
    excludeFromSummaries: flag.excludeFromSummaries === true,
    isExperiment(reason) {
      const { kind, ruleIndex, inExperiment } = fieldsOf(reason);
      if (inExperiment === true) return true;
      if (kind === 'RULE_MATCH') return tracksRule[ruleIndex as number] === true;
      return kind === 'FALLTHROUGH' && tracksFallthrough;
    },
    variationOf(value) {
      const index = variations.findIndex((variation) => equal(variation, value));
      return index < 0 ? undefined : index;
    },
  };
}

export type Fields = JsonObject;

/** The members of an object; none for any other value. */
export function fieldsOf(value: unknown): Fields {
  return isObject(value) ? value : {};
}

/** Only finite numbers: `1e999` is valid JSON, but parses to `Infinity`. */
export function numberIn(fields: Fields, name: string): number | undefined {
  const value = fields[name];
  return Number.isFinite(value) ? (value as number) : undefined;
}

/** What `read` makes of the text of each element of a list; of anything else, nothing. */
function* elementsOf<T>(text = '', read: (element: string) => Generator<void, T>): Generator<void, T[]> {
  const all: T[] = [];
  if (!text.startsWith('[')) return all;
  yield* readElementsInSlices(text, 0, function* (from) {
    const to = yield* skipValueInSlices(text, from);
    all.push(yield* read(text.slice(from, to)));
    return to;
  });
  return all;
}

function* tracksEvents(rule: string): Generator<void, boolean> {
  if (!rule.startsWith('{')) return false;
  return (yield* membersInSlices(rule, ['trackEvents'])).get('trackEvents') === 'true';
}

/** No value of an event equals it. */
const TOO_LARGE = Symbol('too large');
/** Each character may be written as six. */
const MOST_CHARACTERS = 6 * MAX_SUMMARISED_BYTES;

// biome-ignore lint/correctness/useYield: the texts that it parses are short
function* readVariation(text: string): Generator<void, unknown> {
  // Events with more are dropped, so they need not be compared with it.
  if (text.length > MOST_CHARACTERS || shapeOf(Buffer.from(text)).values > MAX_VALUES) return TOO_LARGE;
  return JSON.parse(text);
}

/** Compares JSON values. Recursion is bounded by `a`, the flag's own value. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && equal((a as Fields)[name], (b as Fields)[name]))
  );
}
