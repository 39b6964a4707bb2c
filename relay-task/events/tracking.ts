/** What a flag says about events; asked where an SDK does not say it itself. */
import type { Item } from '../../lib/flag-table/index.ts';

export interface Tracking {
  readonly trackEvents: boolean;
  /** Unix ms. */
  readonly debugEventsUntilDate: number | undefined;
  readonly samplingRatio: number | undefined;
  readonly excludeFromSummaries: boolean;
  /** Whether an answer for this reason takes part in an experiment, so that its event is wanted whole. */
  isExperiment(reason: unknown): boolean;
  /** The first variation with this value. */
  variationOf(value: unknown): number | undefined;
}

const known = new WeakMap<Item, Tracking>();

/** Undefined for tombstones and for what is no flag. */
export function trackingOf(item: Item | undefined): Tracking | undefined {
  if (!item || item.deleted) return undefined;
  const found = known.get(item) ?? read(item.json);
  if (found) known.set(item, found);
  return found;
}

function read(json: string): Tracking | undefined {
  let flag: Fields;
  try {
    flag = fieldsOf(JSON.parse(json));
  } catch {
    return undefined;
  }
  const tracksRule = listOf(flag.rules).map((rule) => fieldsOf(rule).trackEvents === true);
  const tracksFallthrough = flag.trackEventsFallthrough === true;
  const variations = listOf(flag.variations);
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

export type Fields = Readonly<Record<string, unknown>>;

/** The members of an object; none of anything else. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** Finite: JSON can name numbers that JavaScript would write as `Infinity`. */
export function numberIn(fields: Fields, name: string): number | undefined {
  const value = fields[name];
  return Number.isFinite(value) ? (value as number) : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Of JSON values. Goes as deep as `a`, which is the flag's. */
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
