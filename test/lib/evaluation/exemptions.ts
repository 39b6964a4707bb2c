import { isDeepStrictEqual } from 'node:util';
import { describeFlagProblem, describeSegmentProblem } from '../../../lib/evaluation/index.ts';
import { toJson } from '../../support/random.ts';
import type { RandomEnvironment } from '../../support/random-environment.ts';
import type { Case } from './verdict.ts';

/**
 * The only cases in which our answer may differ from the Node SDK's; undefined if it may not.
 *
 * 1. `threw`: the SDK throws, never settles, or cannot load an item that the evaluation meets. Only for data that is malformed:
 *    an item of the wrong shape, `values` or `variations` that are missing, an operator that is a member of Object.prototype
 *    without being a harmless function, or a context that is not an object or whose private attributes are not strings.
 * 2. `endless`: the SDK forgets the path inside a Big Segment's rules. Only where segments form a cycle through a Big Segment.
 * 3. `inherited kind`: in a multi-kind context the SDK looks kinds up on a plain object, so that a kind named after a member of
 *    Object.prototype is always there (or, for `__proto__`, lost).
 * 4. `inherited Big Segment key`: the SDK keeps memberships on a plain object, and takes Object.prototype's members for some.
 * 5. `flag __proto__`: the SDK's all-flags state loses a flag of that name.
 * 6. `wrong types`: an item that the evaluation may meet has a part of the wrong type (`describeFlagProblem` names it), and we
 *    answer MALFORMED_FLAG, or in the state of all flags no variation for that flag.
 */
export function exemption(one: Case, official: unknown): string | undefined {
  const { environment, context, outcome, call, answer, json } = one;
  if (outcome.kind === 'endless') return hasBigSegmentCycle(environment) ? 'endless' : undefined;
  if (outcome.kind === 'threw') return isMalformed(environment, context) ? 'threw' : undefined;
  if (isMulti(context)) {
    const text = `${json}${toJson(context)}`;
    const named = INHERITED.some((name) => text.includes(`Kind":"${name}"`) || Object.hasOwn(context as object, name));
    if (named) return 'inherited kind';
    const keys = Object.values(context as object).map((member) => (member as { key?: unknown } | null)?.key);
    if (keys.some((key) => INHERITED.includes(key as string)) && json.includes('"unbounded"'))
      return 'inherited Big Segment key';
  }
  if (call.method === 'allFlagsState' && Object.hasOwn(environment.flags, '__proto__')) {
    const without = (part: object) => Object.fromEntries(Object.entries(part).filter(([name]) => name !== '__proto__'));
    const strip = (state: unknown) => {
      const { $flagsState, ...values } = state as { $flagsState: object };
      return [without(values), without($flagsState)];
    };
    if (isDeepStrictEqual(strip(answer), strip(official))) return 'flag __proto__';
  }
  return wrongTypes(one, official);
}

const INHERITED = Object.getOwnPropertyNames(Object.prototype);

function isMulti(context: unknown): boolean {
  return typeof context === 'object' && context !== null && (context as { kind?: unknown }).kind === 'multi';
}

function isMalformed({ flags, segments }: RandomEnvironment, context: unknown): boolean {
  if (typeof context !== 'object' || context === null) return true;
  if (hasBadPrivateAttributes(context) || Object.values(context).some(hasBadPrivateAttributes)) return true;
  if ('key' in context && typeof context.key === 'object') return true;
  const text = toJson({ flags, segments });
  return (
    Object.values(flags).some(
      (flag) => describeFlagProblem(flag) !== undefined || !(flag as { variations?: unknown })?.variations,
    ) ||
    Object.values(segments).some((segment) => describeSegmentProblem(segment) !== undefined) ||
    text !== toJson(repaired({ flags, segments })) ||
    /"op":"__/.test(text) ||
    /\[null|,null[,\]]/.test(text)
  );
}

function hasBadPrivateAttributes(data: unknown): boolean {
  if (typeof data !== 'object' || data === null) return false;
  const { _meta, privateAttributeNames } = data as {
    _meta?: { privateAttributes?: unknown };
    privateAttributeNames?: unknown;
  };
  return [_meta?.privateAttributes, privateAttributeNames].some(
    (names) => !!names && !(Array.isArray(names) && names.every((name) => typeof name === 'string')),
  );
}

export function hasBigSegmentCycle({ segments }: RandomEnvironment): boolean {
  const named = (key: string) => {
    const values = JSON.stringify(Object.hasOwn(segments, key) ? segments[key] : null).matchAll(
      /"op":"segmentMatch","values":(\[[^\]]*\])/g,
    );
    return [...values].flatMap(([, list]) => (JSON.parse(list as string) as unknown[]).map(String));
  };
  const reaches = (from: string, to: string, seen: Set<string>): boolean =>
    named(from).some((next) => next === to || (!seen.has(next) && reaches(next, to, seen.add(next))));
  return Object.entries(segments).some(
    ([key, data]) => !!(data as { unbounded?: unknown })?.unbounded && reaches(key, key, new Set()),
  );
}

/** Exemption 6. */
export function wrongTypes({ environment, call, answer }: Case, official: unknown): string | undefined {
  if (call.flagKey !== undefined) {
    const reason = reasonOf(answer);
    const excused =
      reason === 'ERROR MALFORMED_FLAG' || (call.method !== 'variationDetail' && reason === 'ERROR WRONG_TYPE');
    return excused && meetsWrongType(environment, call.flagKey) ? `wrong types, ${reason}` : undefined;
  }
  // Flag by flag: those with wrong types may have no variation, the others must be equal. A flag without a key has an odd name.
  const excused = Object.keys(environment.flags).filter((key) => meetsWrongType(environment, key));
  const names = new Set(
    excused.flatMap((key) => ['', key, String((environment.flags[key] as Entry | null)?.key ?? undefined)]),
  );
  const [ours, theirs] = [entries(answer), entries(official)];
  const equal = [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].every((name) => {
    // Exemption 5 applies as well.
    if (name === '__proto__' && !Object.hasOwn(theirs, name)) return true;
    const malformed = !ours[name] || (ours[name].value === null && ours[name].variation === undefined);
    return isDeepStrictEqual(ours[name], theirs[name]) || (names.has(name) && malformed);
  });
  return equal && names.size > 0 ? 'wrong types (all flags)' : undefined;
}

interface Entry {
  readonly key?: unknown;
  readonly value?: unknown;
  readonly variation?: unknown;
}

/** Each flag's entry in the state of all flags. */
function entries(state: unknown): Record<string, Entry> {
  const { $flagsState, $valid, ...values } = state as { $flagsState: Record<string, object>; $valid: unknown };
  const all = Object.entries(values).map(([name, value]) => [name, { ...$flagsState[name], value }]);
  return Object.fromEntries([...all, ['$valid', { value: $valid }]]);
}

/** Whether the flag, a prerequisite or a segment that either refers to has a part of the wrong type. */
function meetsWrongType({ flags, segments }: RandomEnvironment, flagKey: string): boolean {
  const seen = new Set<string>();
  const meets = (kind: 'flag' | 'segment', key: unknown): boolean => {
    const items = kind === 'flag' ? flags : segments;
    if (!Object.hasOwn(items, String(key)) || seen.has(`${kind} ${key}`)) return false;
    seen.add(`${kind} ${key}`);
    const item = items[String(key)];
    if ((kind === 'flag' ? describeFlagProblem : describeSegmentProblem)(item) !== undefined) return true;
    const { prerequisites, rules } = item as {
      prerequisites?: { key?: unknown }[] | null;
      rules?: { clauses?: { op?: unknown; values?: unknown[] | null }[] | null }[] | null;
    };
    const asked = (rules ?? []).flatMap(({ clauses }) => clauses ?? []).filter(({ op }) => op === 'segmentMatch');
    return (
      (prerequisites ?? []).some(({ key: other }) => meets('flag', other)) ||
      asked.some(({ values }) => (values ?? []).some((value) => meets('segment', value)))
    );
  };
  return meets('flag', flagKey);
}

export function repaired(data: unknown): unknown {
  if (Array.isArray(data)) return data.map(repaired);
  if (typeof data !== 'object' || data === null) return data;
  const fixed = Object.fromEntries(
    Object.entries(data).map(([name, part]) => [
      name,
      LISTS.has(name) && Array.isArray(part) ? part.map(withValues) : name === 'variations' ? part : repaired(part),
    ]),
  );
  return 'on' in fixed && (fixed.variations === undefined || fixed.variations === null)
    ? { ...fixed, variations: [] }
    : fixed;
}

/** Lists whose members have `values`. */
const LISTS = new Set(['clauses', 'targets', 'contextTargets', 'includedContexts', 'excludedContexts']);

function withValues(item: unknown): unknown {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
  const { values } = item as { values?: unknown };
  return values === undefined || values === null ? { ...item, values: [] } : item;
}

export function reasonOf(answer: unknown): string {
  const { reason } = answer as { reason?: { kind: string; errorKind?: string } };
  return reason === undefined ? '' : [reason.kind, reason.errorKind].filter(Boolean).join(' ');
}
