/** A flag's event settings, for SDKs that do not send them. */
import type { Item } from '../../lib/flag-table/index.ts';

export interface Tracking {
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

/** The members of an object; none for any other value. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** Only finite numbers: `1e999` is valid JSON, but parses to `Infinity`. */
export function numberIn(fields: Fields, name: string): number | undefined {
  const value = fields[name];
  return Number.isFinite(value) ? (value as number) : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
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
