/** Which rules can be for the same request, and which of their variations can count for the same viewer. */
import type { Action, Patterns, Presence, Rule, When } from './rules.ts';
import { compileWildcards } from './wildcards.ts';

/** Those that CloudFront accepts. */
export const METHODS = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'POST', 'PATCH', 'DELETE'] as const;

/** A variation of a rule. Without a name: that none of them counts. */
export interface Choice {
  /** The index of its rule. */
  readonly rule: number;
  readonly name: string | undefined;
  readonly action: Action;
}

/** Everything that each rule may do. */
export function choicesOf(rules: readonly Rule[]): readonly (readonly Choice[])[] {
  return rules.map(({ variations, otherwise }, rule) => [
    ...Object.entries(variations).map(([name, action]) => ({ rule, name, action })),
    ...(otherwise === undefined ? [{ rule, name: undefined, action: {} }] : []),
  ]);
}

/** Whether there is a value of the flags with which both count. */
export function agree(rules: readonly Rule[], one: Choice, two: Choice): boolean {
  if (one.rule === two.rule) return one.name === two.name;
  const [first, second] = [rules[one.rule], rules[two.rule]];
  if (!first || !second || first.flagKey !== second.flagKey) return true;
  const counts = ({ variations, otherwise }: Rule, value: string | undefined) =>
    value !== undefined && Object.hasOwn(variations, value) ? value : otherwise;
  // The last one: a value that neither names, or none.
  return [one.name, two.name, undefined].some(
    (value) => counts(first, value) === one.name && counts(second, value) === two.name,
  );
}

/** Whether one request can match both. */
export function canMeet(one: When = {}, two: When = {}): boolean {
  return (
    (['path', 'host', 'method'] as const).every((name) => overlapping(one[name] ?? '*', two[name] ?? '*')) &&
    (['header', 'cookie', 'query'] as const).every((kind) => canHold(one[kind], two[kind]))
  );
}

/** Whether one request can fulfil conditions of two rules. */
export function canHold(one: When['header'] = {}, two: When['header'] = {}): boolean {
  return Object.entries(one).every(([name, wanted]) => {
    const also = Object.hasOwn(two, name) ? two[name] : undefined;
    return also === undefined || canBoth(wanted, also);
  });
}

function canBoth(one: Presence, two: Presence): boolean {
  if (one === false || two === false) return one === two;
  return one === true || two === true || overlapping(one, two);
}

/** Whether a text matches a pattern of each. */
function overlapping(one: Patterns, two: Patterns): boolean {
  return [one].flat().some((first) => [two].flat().some((second) => overlap(first, second)));
}

function overlap(one: string, two: string): boolean {
  const [first = '', second = ''] = [one, two].map((pattern) => pattern.split(/[*?]/, 1)[0]);
  // Most patterns already differ before their first wildcard.
  if (!first.startsWith(second) && !second.startsWith(first)) return false;
  // From the end: whether a text matches what is left of both patterns.
  let below: readonly boolean[] = [];
  for (let i = one.length; i >= 0; i -= 1) {
    const row: boolean[] = [];
    for (let j = two.length; j >= 0; j -= 1) {
      const [a, b] = [one[i], two[j]];
      const [without, shorter] = [below[j] ?? false, row[j + 1] ?? false];
      if (a === undefined && b === undefined) row[j] = true;
      else if (a === '*') row[j] = without || (b !== undefined && shorter);
      else if (b === '*') row[j] = shorter || (a !== undefined && without);
      else row[j] = (a === b || a === '?' || b === '?') && a !== undefined && (below[j + 1] ?? false);
    }
    below = row;
  }
  return below[0] ?? false;
}

/** Whether one of the patterns matches everything that another one does. */
export function coversPattern(wide: readonly string[], narrow: string): boolean {
  // What its wildcards may stand for: no text, some, and more of it.
  return wide.some((one) =>
    ['', '\u0001', '\u0001\u0001\u0001'].every(
      (text) => compileWildcards(one)(narrow.replaceAll('*', text).replaceAll('?', '\u0001')) !== undefined,
    ),
  );
}

export function patternsOf(patterns: Patterns | undefined): readonly string[] | undefined {
  return patterns === undefined ? undefined : [patterns].flat();
}

export function isMatched(patterns: Patterns, text: string): boolean {
  return [patterns].flat().some((one) => compileWildcards(one)(text) !== undefined);
}
