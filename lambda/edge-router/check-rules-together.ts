/** Which rules can be for the same request, and which of their variations can count for the same viewer. */
import { isDeepStrictEqual } from 'node:util';
import { examplesOf, hullOf, isMatched, overlap, piecesOf, type Steps, spend } from './check-patterns.ts';
import type { Action, Patterns, Presence, Rule, When } from './rules.ts';
import { compileWildcards } from './wildcards.ts';

/** Those that CloudFront accepts. */
export const METHODS = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'POST', 'PATCH', 'DELETE'] as const;

/** A variation of a rule. Without a name: none of them applies. */
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
  // The last one: a value that neither names, or none.
  return [one.name, two.name, undefined].some(
    (value) => counts(first, value) === one.name && counts(second, value) === two.name,
  );
}

/** The name of the variation that counts for a value of the flag. */
function counts({ variations, otherwise }: Rule, value: string | undefined): string | undefined {
  return value !== undefined && Object.hasOwn(variations, value) ? value : otherwise;
}

/** What a place of a request, or the value of a flag, must be; all of them together. Places are named as in `placeOf`. */
export type Conditions = readonly (readonly [place: string, wanted: Presence])[];

/** The name of a header, cookie or query parameter among places. The others are `path`, `host`, `method` and those of flags. */
export function placeOf(kind: 'header' | 'cookie' | 'query', name: string): string {
  return `${kind} ${name}`;
}

/** What a rule is for. */
export function conditionsOf(when: When = {}): Conditions {
  return [
    ...(['path', 'host', 'method'] as const).flatMap((name) => {
      const wanted = when[name];
      return wanted === undefined ? [] : [[name, wanted] as const];
    }),
    ...(['header', 'cookie', 'query'] as const).flatMap((kind) =>
      Object.entries(when[kind] ?? {}).map(([name, wanted]) => [placeOf(kind, name), wanted] as const),
    ),
  ];
}

/** Every value of a flag that the rules do not name, and its lack. */
const OTHER = '\u0001';

/** By flag key: all values that make a difference. */
export function valuesOf(rules: readonly Rule[]): ReadonlyMap<string, readonly string[]> {
  const all = new Map<string, Set<string>>();
  for (const { flagKey, variations } of rules) {
    const values = all.get(flagKey) ?? new Set([OTHER]);
    for (const name of Object.keys(variations)) values.add(name);
    all.set(flagKey, values);
  }
  return new Map([...all].map(([flagKey, values]) => [flagKey, [...values]]));
}

/** That one of these choices of a rule counts. */
export function conditionOf(
  rule: Rule,
  choices: readonly Choice[],
  values: ReadonlyMap<string, readonly string[]>,
): Conditions[number] {
  const names = new Set(choices.map(({ name }) => name));
  const wanted = values.get(rule.flagKey)?.filter((value) => names.has(counts(rule, value)));
  return [`flag ${rule.flagKey}`, wanted ?? []];
}

/** What a place may hold: a text that matches one of the patterns, or nothing. */
interface Holds {
  readonly absent: boolean;
  readonly patterns: readonly string[];
}

/** Requests and viewers that fulfil conditions, and do not fulfil others. */
export interface Known {
  /** Places that are not named may hold anything. */
  readonly places: ReadonlyMap<string, Holds>;
  /** Of each of them, at least one condition is not fulfilled. */
  readonly not: readonly Conditions[];
}

/** All requests, whatever the flags say. */
export function anyRequest(values: ReadonlyMap<string, readonly string[]>): Known {
  const flags = [...values].map(([flagKey, patterns]) => [`flag ${flagKey}`, { absent: false, patterns }] as const);
  return { places: new Map(flags), not: [] };
}

/** Of more patterns for one place, no intersection is made: it counts as not empty. */
const MOST_PATTERNS = 200;

function holdsAtFirst(place: string): Holds {
  if (place === 'path') return { absent: false, patterns: ['/*'] };
  if (place === 'method') return { absent: false, patterns: METHODS };
  return { absent: place !== 'host', patterns: ['*'] };
}

/** Those that fulfil the conditions, too; undefined if there are none, as far as the steps go. */
export function also(known: Known, conditions: Conditions, steps: Steps): Known | undefined {
  spend(steps, known.places.size);
  const places = new Map(known.places);
  for (const [place, wanted] of conditions) {
    const holds = narrowed(places.get(place) ?? holdsAtFirst(place), wanted, steps);
    if (!holds.absent && holds.patterns.length === 0) return undefined;
    places.set(place, holds);
  }
  return possible({ places, not: known.not }, steps);
}

/** Those that do not fulfil all of the conditions; undefined if there are none, as far as the steps go. */
export function butNot(known: Known, not: readonly Conditions[], steps: Steps): Known | undefined {
  // The same ones again, of another page, would have all of them tried once more for each.
  const fresh = not.filter((one) => {
    spend(steps, known.not.length);
    return !known.not.some((other) => isDeepStrictEqual(one, other));
  });
  return fresh.length === 0 ? known : possible({ places: known.places, not: [...known.not, ...fresh] }, steps);
}

function narrowed(holds: Holds, wanted: Presence, steps: Steps): Holds {
  if (wanted === false) return { absent: holds.absent, patterns: [] };
  const { patterns } = holds;
  if (wanted === true || steps.left < 0) return { absent: false, patterns };
  const isText = (pattern: string) => !/[*?]/.test(pattern);
  if ([patterns, wanted].flat(2).every(isText)) {
    const texts = new Set([wanted].flat());
    spend(steps, patterns.length + texts.size);
    return { absent: false, patterns: patterns.filter((one) => texts.has(one)) };
  }
  const all = new Set<string>();
  for (const one of patterns)
    for (const two of [wanted].flat())
      for (const pattern of common(one, two, steps)) {
        all.add(pattern);
        if (all.size > MOST_PATTERNS) return { absent: false, patterns };
      }
  return { absent: false, patterns: steps.left < 0 ? patterns : [...all] };
}

/** Patterns for the texts that match both. */
function* common(one: string, two: string, steps: Steps): Generator<string> {
  if (!overlap(one, two, steps)) return;
  if (isWithin(one, two, steps)) yield one;
  else if (isWithin(two, one, steps)) yield two;
  else for (const { pattern } of piecesOf(one, two, steps)) yield pattern;
}

/** Whether all texts that match one pattern match another one. */
function isWithin(one: string, two: string, steps: Steps): boolean {
  return examplesOf(one, '\u0001').every((text) => isMatched([two], text, steps));
}

function possible(known: Known, steps: Steps): Known | undefined {
  const excluded = new Map<string, Presence[]>();
  const fails = (at: number): boolean => {
    const conditions = known.not[at];
    if (conditions === undefined) return true;
    return conditions.some(([place, wanted]) => {
      const all = excluded.get(place) ?? [];
      if (!spend(steps, 4 + all.length)) return true;
      excluded.set(place, all);
      all.push(wanted);
      const isFailing = canAvoid(known.places.get(place) ?? holdsAtFirst(place), all, steps) && fails(at + 1);
      all.pop();
      return isFailing;
    });
  };
  return fails(0) || steps.left < 0 ? known : undefined;
}

/** Whether a place may hold something that fulfils none of the conditions. */
function canAvoid({ absent, patterns }: Holds, excluded: readonly Presence[], steps: Steps): boolean {
  if (absent && !excluded.includes(false)) return true;
  if (excluded.includes(true)) return false;
  const none = excluded.flatMap((wanted) => (typeof wanted === 'boolean' ? [] : wanted));
  return patterns.some((pattern) =>
    examplesOf(pattern, '\u0001').some((text) => !isMatched(none, text, steps) || steps.left < 0),
  );
}

/** Whether one request can match both; true if that is unknown. */
export function canMeet(one: When, two: When, steps: Steps): boolean {
  const others = new Map(conditionsOf(two));
  return conditionsOf(one).every(([place, wanted]) => {
    const also = others.get(place);
    return also === undefined || canBoth(wanted, also, steps);
  });
}

function canBoth(one: Presence, two: Presence, steps: Steps): boolean {
  if (one === false || two === false) return one === two;
  if (one === true || two === true) return true;
  const [ones, twos] = [one, two].map((patterns) => (typeof patterns === 'string' ? [patterns] : patterns));
  if (!ones || !twos) return true;
  // Mostly, the patterns of each rule have something in common that those of others have not.
  if (!overlap(hullOf(ones), hullOf(twos), steps)) return false;
  return ones.some((first) => twos.some((second) => overlap(first, second, steps)));
}

/** Whether each request of `narrow` is one of `wide`; false if that is unknown. */
export function covers(wide: When | undefined, narrow: When | undefined, steps: Steps): boolean {
  const all = also(anyRequest(new Map()), conditionsOf(narrow), steps);
  return all !== undefined && butNot(all, [conditionsOf(wide)], steps) === undefined;
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
