/**
 * What is in a flags file, accepted by SDKs, and yet most likely a mistake: LaunchDarkly's interface could not have produced it. Nothing here
 * is refused. Sources: the data model that ld-relay reads and writes (ldmodel in go-server-sdk-evaluation 3.0), and LaunchDarkly's
 * documentation of targeting rules, percentage rollouts, prerequisites and segments.
 */
import { type Field, isKind, type Shape, shapes } from '../../lib/evaluation/index.ts';
import type { Kind } from '../../lib/flag-table/index.ts';
import { nearest } from '../common/edit-distance.ts';
import { isObject, type JsonObject, showJson } from '../common/json.ts';
import type { FileEntry, FileRemark } from './file-entry.ts';

/** A file with more has one mistake many times. */
const MOST_REMARKS = 100;

const MOST_COMPARED = 1_000;

/** Weights are in thousandths of a percent. */
const ALL_WEIGHTS = 100_000;

/** What a clause's values must be for the operator to match anything. */
const VALUES = {
  any: { fits: () => true, words: '' },
  text: { fits: (value: unknown) => typeof value === 'string', words: 'a text' },
  number: { fits: (value: unknown) => typeof value === 'number', words: 'a number' },
  date: {
    fits: (value: unknown) => typeof value === 'number' || /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(String(value)),
    words: 'a time such as "2026-01-31T00:00:00Z", or milliseconds since 1970',
  },
  version: {
    fits: (value: unknown) => typeof value === 'string' && /^\d+(\.\d+){0,2}([-+]|$)/.test(value),
    words: 'a version such as "2.1.0"',
  },
} as const;

/** ldmodel's operators. */
const OPERATORS: Readonly<Record<string, keyof typeof VALUES>> = {
  in: 'any',
  startsWith: 'text',
  endsWith: 'text',
  contains: 'text',
  matches: 'text',
  lessThan: 'number',
  lessThanOrEqual: 'number',
  greaterThan: 'number',
  greaterThanOrEqual: 'number',
  before: 'date',
  after: 'date',
  semVerEqual: 'version',
  semVerLessThan: 'version',
  semVerGreaterThan: 'version',
  segmentMatch: 'text',
};

/** Names for people; `sel` is in the data of LaunchDarkly's old versions. */
const NOTES = /^(?:[_$].*|x-.*|name|description|comment|sel)$/;

type Say = (at: string, reason: string) => void;

interface Names {
  readonly flags: ReadonlyMap<string, JsonObject>;
  readonly segments: ReadonlyMap<string, JsonObject>;
}

/** In the order of the file, at most a hundred. Takes entries that `parseFlagsFile` accepted; yields often. */
export function* remarksOn(entries: readonly FileEntry[]): Generator<void, FileRemark[]> {
  const of = (kind: Kind) => new Map(entries.filter((one) => one.kind === kind).map(({ key, data }) => [key, data]));
  const names: Names = { flags: of('features'), segments: of('segments') };
  const remarks: FileRemark[] = [];
  for (const { kind, key, data } of entries) {
    if (remarks.length >= MOST_REMARKS) return remarks.slice(0, MOST_REMARKS);
    const say: Say = (at, reason) => void remarks.push({ kind, key, at, reason });
    yield* unknownProperties(data, kind === 'features' ? shapes.flag : shapes.segment, '', say);
    yield* kind === 'features' ? flagRemarks(data, key, names, say) : segmentRemarks(data, names, say);
  }
  yield* circles('features', names.flags, flagsNamedBy, 'the prerequisites of', remarks);
  yield* circles('segments', names.segments, segmentsNamedBy, 'the segments in the rules of', remarks);
  return remarks.slice(0, MOST_REMARKS);
}

function* unknownProperties(value: unknown, fields: readonly Field[], at: string, say: Say): Generator<void> {
  if (!isObject(value)) return;
  const path = (name: string) => (at === '' ? name : `${at}.${name}`);
  const known = fields.map(({ name }) => name);
  for (const name of Object.keys(value)) {
    if (known.includes(name) || NOTES.test(name)) continue;
    const near = nearest(name, known);
    say(path(name), `no SDK reads this property${near === undefined ? '' : `; did you mean ${near}?`}`);
  }
  for (const { name, shape } of fields) yield* insideOf(value[name], shape, path(name), say);
}

function* insideOf(value: unknown, shape: Shape, at: string, say: Say): Generator<void> {
  if (shape.is === 'object') yield* unknownProperties(value, shape.fields, at, say);
  if (shape.is !== 'list' || shape.of.is !== 'object' || !Array.isArray(value)) return;
  for (const [index, element] of value.entries()) {
    yield* unknownProperties(element, shape.of.fields, `${at}[${index}]`, say);
    yield;
  }
}

/** A list of objects; what is absent or null is an empty one. */
function listOf(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function* flagRemarks(flag: JsonObject, key: string, names: Names, say: Say): Generator<void> {
  const variations = Array.isArray(flag.variations) ? flag.variations : [];
  if (variations.length === 0) say('variations', 'the flag has none, so that every SDK answers with its own default');
  const index = (at: string, value: unknown) => checkIndex(at, value, variations.length, say);
  index('offVariation', flag.offVariation);
  for (const list of ['targets', 'contextTargets'] as const) {
    for (const [number, target] of listOf(flag[list]).entries()) {
      const at = `${list}[${number}]`;
      if (target.variation === undefined)
        say(`${at}.variation`, 'is missing and counts as 0; write which one is meant');
      index(`${at}.variation`, target.variation);
      checkKind(`${at}.contextKind`, target.contextKind, say);
      yield;
    }
  }
  for (const [number, rule] of listOf(flag.rules).entries()) {
    const at = `rules[${number}]`;
    checkChoice(at, rule, variations.length, 'contexts that it matches', say);
    yield* clausesRemarks(at, rule.clauses, names, say);
    yield;
  }
  if (isObject(flag.fallthrough))
    checkChoice('fallthrough', flag.fallthrough, variations.length, 'contexts that reach it', say);
  else if (flag.on === true)
    say('fallthrough', 'is missing: contexts that match no target or rule get the fallback value from the code');
  for (const [number, { key: other, variation }] of listOf(flag.prerequisites).entries()) {
    yield;
    const at = `prerequisites[${number}]`;
    const needed = typeof other === 'string' ? names.flags.get(other) : undefined;
    if (needed === undefined) {
      say(
        `${at}.key`,
        `there is no flag ${showJson(other)}, so that the flag counts as off${meant(other, names.flags, key)}`,
      );
      continue;
    }
    const count = Array.isArray(needed.variations) ? needed.variations.length : 0;
    const then = `so that ${key} always counts as off`;
    checkIndex(`${at}.variation`, variation, count, say, `flag ${String(other)}`, then);
  }
}

function* segmentRemarks(segment: JsonObject, names: Names, say: Say): Generator<void> {
  for (const [number, rule] of listOf(segment.rules).entries()) {
    const at = `rules[${number}]`;
    yield* clausesRemarks(at, rule.clauses, names, say);
    const { weight } = rule;
    if (typeof weight === 'number' && !isWeight(weight)) say(`${at}.weight`, weightReason(weight));
    checkKind(`${at}.rolloutContextKind`, rule.rolloutContextKind, say);
  }
  for (const list of ['includedContexts', 'excludedContexts'] as const) {
    for (const [number, { contextKind }] of listOf(segment[list]).entries()) {
      checkKind(`${list}[${number}].contextKind`, contextKind, say);
      yield;
    }
  }
  checkKind('unboundedContextKind', segment.unboundedContextKind, say);
}

function checkIndex(
  at: string,
  value: unknown,
  count: number,
  say: Say,
  whose = 'the flag',
  then = 'so that SDKs answer with their own default',
): void {
  if (typeof value !== 'number' || (value >= 0 && value < count)) return;
  const last = count === 0 ? 'none' : count === 1 ? 'only 0' : `0 to ${count - 1}`;
  say(at, `there is no variation ${value}: ${whose} has ${last}, ${then}`);
}

/** What a rule, or the end of all rules, gives: one variation or a rollout. */
function checkChoice(at: string, choice: JsonObject, count: number, who: string, say: Say): void {
  const { variation, rollout } = choice;
  checkIndex(`${at}.variation`, variation, count, say);
  if (!isObject(rollout)) {
    const has = typeof variation === 'number';
    if (!has) say(at, `has neither variation nor rollout: ${who} get the fallback value from the code; add one`);
    return;
  }
  if (typeof variation === 'number') say(at, 'has a variation and a rollout: SDKs use the variation; remove one');
  const { kind, contextKind } = rollout;
  if (kind !== undefined && kind !== null && kind !== 'rollout' && kind !== 'experiment') {
    const near = nearest(String(kind), ['rollout', 'experiment']);
    say(
      `${at}.rollout.kind`,
      `${showJson(kind)} counts as "rollout"; did you mean ${near ?? 'rollout or experiment'}?`,
    );
  }
  checkKind(`${at}.rollout.contextKind`, contextKind, say);
  const parts = listOf(rollout.variations);
  if (parts.length === 0) {
    say(`${at}.rollout.variations`, `is empty: ${who} get the fallback value from the code`);
    return;
  }
  let sum = 0;
  for (const [number, part] of parts.entries()) {
    const place = `${at}.rollout.variations[${number}]`;
    const { variation: index, weight } = part;
    if (typeof index !== 'number') say(`${place}.variation`, 'is missing; write which variation is meant');
    checkIndex(`${place}.variation`, index, count, say);
    if (typeof weight !== 'number') say(`${place}.weight`, 'is missing and counts as 0; 1% is 1000');
    else if (!isWeight(weight)) say(`${place}.weight`, weightReason(weight));
    sum += typeof weight === 'number' ? weight : 0;
  }
  if (sum === ALL_WEIGHTS) return;
  const then = sum < ALL_WEIGHTS ? 'the last variation gets the rest' : 'what is above it is never reached';
  const percent = sum === 100 ? '; 1% is 1000' : '';
  say(`${at}.rollout.variations`, `the weights add up to ${sum} instead of ${ALL_WEIGHTS}: ${then}${percent}`);
}

const isWeight = (weight: number) => Number.isInteger(weight) && weight >= 0 && weight <= ALL_WEIGHTS;
const weightReason = (weight: number) => `${weight} is no weight: expected a whole number from 0 to ${ALL_WEIGHTS}`;

function checkKind(at: string, kind: unknown, say: Say): void {
  if (kind === undefined || kind === null || kind === '' || (isKind(kind) && kind !== 'multi')) return;
  say(at, `no context is of the kind ${showJson(kind)}: expected letters, digits, dots, hyphens and underscores`);
}

function* clausesRemarks(at: string, clauses: unknown, names: Names, say: Say): Generator<void> {
  const list = listOf(clauses);
  if (list.length === 0) say(`${at}.clauses`, 'the rule has none, so that it matches everybody');
  for (const [number, clause] of list.entries()) {
    yield* clauseRemarks(`${at}.clauses[${number}]`, clause, names, say);
    yield;
  }
}

function* clauseRemarks(at: string, clause: JsonObject, names: Names, say: Say): Generator<void> {
  const { op, attribute, contextKind, values } = clause;
  const wanted = typeof op === 'string' && Object.hasOwn(OPERATORS, op) ? OPERATORS[op] : undefined;
  checkKind(`${at}.contextKind`, contextKind, say);
  if (wanted === undefined) {
    const near = nearest(String(op ?? ''), Object.keys(OPERATORS));
    say(`${at}.op`, `there is no operator ${showJson(op)}: the clause never matches${meantName(near)}`);
    return;
  }
  const isSegments = op === 'segmentMatch';
  if (!isSegments && (attribute === undefined || attribute === null || attribute === ''))
    say(`${at}.attribute`, 'is missing: name the attribute that the values are compared with');
  const given: readonly unknown[] = Array.isArray(values) ? values : [];
  if (given.length === 0) say(`${at}.values`, 'there are none: the clause never matches');
  const odd = given.findIndex((value) => !VALUES[wanted].fits(value));
  if (odd >= 0) {
    const expected = VALUES[wanted].words;
    say(`${at}.values[${odd}]`, `${op} never matches ${showJson(given[odd])}: expected ${expected}`);
  }
  if (!isSegments) return;
  for (const [number, value] of given.entries()) {
    if (typeof value !== 'string' || names.segments.has(value)) continue;
    yield;
    const then = `so no context is in it${meant(value, names.segments)}`;
    say(`${at}.values[${number}]`, `there is no segment ${showJson(value)}, ${then}`);
  }
}

/** `own`: cannot be meant. */
function meant(key: unknown, known: ReadonlyMap<string, unknown>, own?: string): string {
  // It takes time for each of them.
  if (known.size > MOST_COMPARED) return '';
  const others = [...known.keys()].filter((name) => name !== own);
  return meantName(typeof key === 'string' ? nearest(key, others) : undefined);
}

const meantName = (near: string | undefined) => (near === undefined ? '' : `; did you mean ${near}?`);

function flagsNamedBy(flag: JsonObject): string[] {
  return listOf(flag.prerequisites).flatMap(({ key }) => (typeof key === 'string' ? [key] : []));
}

function segmentsNamedBy(segment: JsonObject): string[] {
  const clauses = listOf(segment.rules).flatMap((rule) => listOf(rule.clauses));
  return clauses.flatMap(({ op, values }) =>
    op === 'segmentMatch' && Array.isArray(values) ? values.filter((value) => typeof value === 'string') : [],
  );
}

/** Each circle is named once, at one of its members. Takes no stack, however long a chain is. */
function* circles(
  kind: Kind,
  items: ReadonlyMap<string, JsonObject>,
  namedBy: (item: JsonObject) => string[],
  what: string,
  remarks: FileRemark[],
): Generator<void> {
  const entered = new Set<string>();
  for (const start of items.keys()) {
    const way: { readonly key: string; readonly names: string[]; next: number }[] = [];
    const onWay = new Set<string>();
    const enter = (key: string) => {
      const item = items.get(key);
      if (!item || entered.has(key)) return;
      entered.add(key);
      onWay.add(key);
      way.push({ key, names: namedBy(item), next: 0 });
    };
    enter(start);
    for (let last = way.at(-1); last !== undefined && remarks.length < MOST_REMARKS; last = way.at(-1)) {
      const name = last.names[last.next++];
      if (name === undefined) {
        way.pop();
        onWay.delete(last.key);
      } else if (onWay.has(name)) {
        const keys = way.map(({ key }) => key);
        const circle = [...keys.slice(keys.indexOf(name)), name].join(' → ');
        const at = kind === 'features' ? 'prerequisites' : 'rules';
        const then = 'SDKs answer with their own default; remove one of them';
        remarks.push({ kind, key: name, at, reason: `${what} ${name} lead back to it, ${circle}: ${then}` });
      } else enter(name);
      yield;
    }
  }
}
