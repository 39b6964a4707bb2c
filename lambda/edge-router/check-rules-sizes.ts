/**
 * How large the headers are that rules add together, checked at build. Source: Amazon CloudFront Developer Guide, the sections that
 * are named below.
 */
import { agree, type Choice, canMeet, choicesOf } from './check-rules-together.ts';
import { type ConfigProblem, remark } from './check-values.ts';
import { DECISION_HEADER, DEFAULT_VARIANT_HEADER, RESPONSE_HEADER } from './headers.ts';
import { MAX_URL } from './ready-rules.ts';
import { type Headers, idOf, type Rule } from './rules.ts';

/**
 * "Quotas on headers", custom headers: the length of all names and values together. The guide names no such quota for what functions
 * add; "General quotas" allows 20,480 bytes (on newer pages 32,768) for a whole request or response without its body, and half of that is
 * left to viewers, who may send an address of 8,192, and to origins.
 */
export const HEADER_CHARACTERS = 10_240;

/** "Quotas on Lambda@Edge": a response that a viewer-request function makes, with its headers. */
const ANSWER_BYTES = 40 * 1024;

/** For the router's own cookie, whose attributes are at most that long, and for the headers that every answer has. */
const OWN_BYTES = 1_024;

/** How many pairs of choices are looked at: enough for any site, and bounded for what is none. */
const MOST_CHECKS = 2_000_000;

/** By name: how much a choice adds. Of several choices with one name the largest counts, once. */
type Adds = ReadonlyMap<string, number>;

interface Part {
  readonly choice: Choice;
  readonly adds: Adds;
  readonly size: number;
}

interface Together {
  readonly parts: readonly Part[];
  readonly size: number;
}

/** Every set of headers that is too large: of rules that are valid. */
export function sizeProblems(rules: readonly Rule[], variantHeader = DEFAULT_VARIANT_HEADER): ConfigProblem[] {
  const all = choicesOf(rules).flat();
  const meet = meetingIn(rules);
  const inJson = all.map((one) => part(one, [decision(rules, one), ...lengths(one.action.responseHeaders, jsonBytes)]));
  return [
    ...headerProblems('requestHeaders', rules, all, meet, variantHeader),
    ...headerProblems('responseHeaders', rules, all, meet, variantHeader),
    ...inJson.flatMap((one) => answerProblems(one, inJson, meet)),
  ];
}

/** Whether two choices can be made for one request. After an answer no rule is tried; a redirect to the same page is left out. */
function meetingIn(rules: readonly Rule[]): (one: Choice, two: Choice) => boolean {
  const known = new Map<number, boolean>();
  const meeting = (one: number, two: number) => {
    const pair = Math.min(one, two) * rules.length + Math.max(one, two);
    const found = known.get(pair) ?? canMeet(rules[one]?.when, rules[two]?.when);
    known.set(pair, found);
    return found;
  };
  return (one, two) => {
    if (one.rule === two.rule) return false;
    const first = one.rule < two.rule ? one : two;
    return !first.action.answer && meeting(one.rule, two.rule) && agree(rules, one, two);
  };
}

/** What rules that match together add to a request for the origin, or to what the viewer gets. */
function headerProblems(
  kind: 'requestHeaders' | 'responseHeaders',
  rules: readonly Rule[],
  all: readonly Choice[],
  meet: (one: Choice, two: Choice) => boolean,
  variantHeader: string,
): ConfigProblem[] {
  const ids = kind === 'requestHeaders' ? idLengths(variantHeader) : () => [];
  const parts = all.map((choice) =>
    part(choice, [decision(rules, choice), ...ids(choice), ...lengths(choice.action[kind], characters)]),
  );
  const most = largest(parts, meet, HEADER_CHARACTERS);
  if (most.size <= HEADER_CHARACTERS) return [];
  const chosen = most.parts.map(({ choice }) => choice).sort((one, two) => one.rule - two.rule);
  const last = chosen.findLast(({ action }) => action[kind]);
  const at = last ? `rules[${last.rule}].variations.${last.name}.${kind}` : `rules[${chosen.at(-1)?.rule}].flagKey`;
  const what = kind === 'requestHeaders' ? 'requests to origins' : 'responses';
  return [
    remark(
      at,
      `${what} get ${most.size} characters of headers, with ${DECISION_HEADER}, if ${listed(chosen)} ${chosen.length > 1 ? 'match together' : 'matches'}: expected at most ${HEADER_CHARACTERS} (CloudFront, "Quotas on headers"). Shorten them, or narrow when, so that fewer rules match together`,
    ),
  ];
}

/** An answer or a redirect with its headers, and those of the rules before it. */
function answerProblems(own: Part, all: readonly Part[], meet: (one: Choice, two: Choice) => boolean): ConfigProblem[] {
  const { choice } = own;
  const { answer, redirect } = choice.action;
  if (!answer && !redirect) return [];
  // The address of a redirect may have as much of the viewer's path and query.
  const room = ANSWER_BYTES - OWN_BYTES - (answer ? Buffer.byteLength(answer.body ?? '') : MAX_URL);
  const before = all.filter((one) => one.choice.rule < choice.rule);
  const most = largest(before, meet, room, own);
  if (most.size <= room) return [];
  const bytes = most.size + ANSWER_BYTES - room;
  const others = most.parts.map((part) => part.choice).filter((one) => one.rule !== choice.rule);
  const theirs = others.length > 0 ? ` and those of ${listed(others)}` : '';
  return [
    remark(
      `rules[${choice.rule}].variations.${choice.name}.${answer ? 'answer' : 'redirect'}`,
      `has ${bytes} bytes with its headers${theirs}: expected at most ${ANSWER_BYTES}, which a viewer-request function may answer with (CloudFront, "Quotas on Lambda@Edge"). ${answer ? 'Serve it from an origin, with rewrite, or shorten it' : 'Set fewer headers, or narrow when, so that fewer rules match together'}`,
    ),
  ];
}

/** The longest reason, and that the bootstrap was used: `; reason=PREREQUISITE_FAILED; source=bootstrap, `. */
const REASON_CHARACTERS = 50;

/** What the decision header says of a flag. The characters of the header's own name are among those of the reason. */
function decision(rules: readonly Rule[], { rule, name = 'none' }: Choice): [string, number] {
  const flagKey = rules[rule]?.flagKey ?? '';
  return [`${DECISION_HEADER} ${flagKey}`, flagKey.length + 1 + name.length + REASON_CHARACTERS];
}

/** In the header of the variant and in that for viewer-response, headers have an id of eight digits and a comma. */
function idLengths(variantHeader: string): (choice: Choice) => [string, number][] {
  const idLength = ', '.length + 8;
  return ({ action: { origin, requestHeaders, responseHeaders } }) => [
    ...(origin === undefined ? [] : [[variantHeader, variantHeader.length + origin.length] as [string, number]]),
    ...(requestHeaders ? [[`${variantHeader} ${idOf(requestHeaders)}`, idLength] as [string, number]] : []),
    ...(responseHeaders ? [[`${RESPONSE_HEADER} ${idOf(responseHeaders)}`, idLength] as [string, number]] : []),
  ];
}

/** By name, and for cookies by value, since each is added. */
function lengths(
  headers: Headers = {},
  lengthOf: (header: [name: string, value: string]) => number,
): [string, number][] {
  return Object.entries(headers).map(([name, value]) => [
    name === 'set-cookie' ? `${name} ${value}` : name,
    lengthOf([name, value]),
  ]);
}

function part(choice: Choice, added: readonly (readonly [string, number])[]): Part {
  const adds = new Map(added);
  return { choice, adds, size: sum(adds) };
}

function characters([name, value]: [string, string]): number {
  return name.length + value.length;
}

/** "Lambda@Edge event structure": `"name":[{"key":"Name","value":"…"}],`. */
function jsonBytes([name, value]: [string, string]): number {
  return Buffer.byteLength(JSON.stringify({ [name]: [{ key: name, value }] }));
}

/**
 * The largest set of which every two parts meet, with what is `fixed`. Looks no further once all of them fit into `room`, or when it has
 * looked at too many pairs: then it is the largest that was found.
 */
function largest(
  parts: readonly Part[],
  meet: (one: Choice, two: Choice) => boolean,
  room: number,
  fixed: Part | undefined = undefined,
): Together {
  const base = fixed?.adds ?? new Map<string, number>();
  const start = { parts: fixed ? [fixed] : [], size: sum(base) };
  // Mostly, all of them are small enough.
  const byRule = new Map<number, number>();
  for (const { choice, size } of parts) byRule.set(choice.rule, Math.max(size, byRule.get(choice.rule) ?? 0));
  if (start.size + [...byRule.values()].reduce((all, size) => all + size, 0) <= room) return start;

  const possible = fixed ? parts.filter((one) => meet(one.choice, fixed.choice)) : parts;
  const inOrder = [...possible].sort((one, two) => two.size - one.size);
  let best: Together = start;
  let checks = 0;
  const meets = (one: Part, two: Part) => {
    checks += 1;
    return meet(one.choice, two.choice);
  };
  // At most one of each group can be chosen. The first one of a group is its largest.
  const bound = (open: readonly Part[]) => {
    const groups: Part[][] = [];
    for (const part of open) {
      const group = groups.find((others) => others.every((other) => !meets(other, part)));
      if (group) group.push(part);
      else groups.push([part]);
    }
    return groups.reduce((all, [first]) => all + (first?.size ?? 0), 0);
  };
  const extend = (chosen: readonly Part[], adds: Adds, open: readonly Part[]) => {
    const size = sum(adds);
    if (size > best.size) best = { parts: chosen, size };
    for (const [index, part] of open.entries()) {
      if (checks > MOST_CHECKS || size + bound(open.slice(index)) <= Math.max(best.size, room)) return;
      const next = open.slice(index + 1).filter((other) => meets(part, other));
      extend([...chosen, part], merged(adds, part.adds), next);
    }
  };
  extend(start.parts, base, inOrder);
  return best;
}

function merged(one: Adds, two: Adds): Adds {
  const all = new Map(one);
  for (const [name, size] of two) all.set(name, Math.max(size, all.get(name) ?? 0));
  return all;
}

function sum(adds: Adds): number {
  return [...adds.values()].reduce((all, size) => all + size, 0);
}

/** `rules[0] and rules[2]`. */
function listed(choices: readonly Choice[]): string {
  const names = choices.map(({ rule }) => `rules[${rule}]`);
  const shown = names.length > 6 ? [...names.slice(0, 5), `${names.length - 5} others`] : names;
  return [shown.slice(0, -1).join(', '), shown.at(-1)].filter(Boolean).join(' and ');
}
