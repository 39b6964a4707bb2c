/**
 * How large the headers are that rules add together, checked at build. Source: Amazon CloudFront Developer Guide, the sections that
 * are named below.
 */
import { type Steps, spend } from './check-patterns.ts';
import {
  agree,
  also,
  anyRequest,
  butNot,
  type Choice,
  canMeet,
  choicesOf,
  conditionOf,
  conditionsOf,
  type Known,
  valuesOf,
} from './check-rules-together.ts';
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

/**
 * How much is compared at most, for a second or two: enough for any real site, and a bound for anything else. Patterns that could not be compared
 * count as if a request matched both; of sets that were not looked at, none counts.
 */
const MOST_STEPS = { patterns: 20_000_000, sets: 2_000_000 };

/** For one more set, besides what it is compared with. */
const NODE_STEPS = 100;

/** By name: how much a choice adds. Of several choices with one name the largest counts, once. */
type Adds<Name = string> = ReadonlyMap<Name, number>;

interface Part {
  readonly choice: Choice;
  readonly adds: Adds;
  readonly size: number;
}

interface Together {
  readonly parts: readonly Part[];
  readonly size: number;
}

/** What can happen to one request. */
interface Reach {
  /** Whether two choices can be made for one request, as far as they alone say. */
  meet(one: Choice, two: Choice): boolean;
  /** Requests for which all of them are made, of those for which the choices before were made. */
  with(known: Known, choice: Choice): Known | undefined;
  /** Those that no other rule answers before the last choice or, if they must reach an origin, at all. */
  unanswered(known: Known, choices: readonly Choice[], isForOrigin: boolean): Known | undefined;
  readonly all: Known;
}

/** Every set of headers that is too large: of rules that are valid. */
export function sizeProblems(rules: readonly Rule[], variantHeader = DEFAULT_VARIANT_HEADER): ConfigProblem[] {
  const all = choicesOf(rules).flat();
  const reach = createReach(rules);
  return [
    ...headerProblems('requestHeaders', rules, all, reach, variantHeader),
    ...headerProblems('responseHeaders', rules, all, reach, variantHeader),
    ...answersProblems(rules, all, reach),
  ];
}

/** After an answer no rule is tried. After a redirect they are: one to the same page is left out, and so is one that would be too long. */
function createReach(rules: readonly Rule[]): Reach {
  const steps = { left: MOST_STEPS.patterns };
  const values = valuesOf(rules);
  const meeting = new Map<number, boolean>();
  const isMeeting = (one: number, two: number) => {
    const pair = Math.min(one, two) * rules.length + Math.max(one, two);
    const found = meeting.get(pair) ?? canMeet(rules[one]?.when ?? {}, rules[two]?.when ?? {}, steps);
    meeting.set(pair, found);
    return found;
  };
  const answered = choicesOf(rules).flatMap((choices, index) => {
    const answers = choices.filter(({ action }) => action.answer);
    const rule = rules[index];
    if (!rule || answers.length === 0) return [];
    return [{ index, conditions: [...conditionsOf(rule.when), conditionOf(rule, answers, values)] }];
  });
  return {
    all: anyRequest(values),
    meet: (one, two) => {
      if (one.rule === two.rule) return false;
      const first = one.rule < two.rule ? one : two;
      return !first.action.answer && isMeeting(one.rule, two.rule) && agree(rules, one, two);
    },
    with: (known, choice) => {
      const rule = rules[choice.rule];
      return rule && also(known, [...conditionsOf(rule.when), conditionOf(rule, [choice], values)], steps);
    },
    unanswered: (known, choices, isForOrigin) => {
      const last = isForOrigin ? rules.length : Math.max(...choices.map(({ rule }) => rule));
      const others = answered.filter(({ index }) => index < last && choices.every(({ rule }) => rule !== index));
      return butNot(
        known,
        others.map(({ conditions }) => conditions),
        steps,
      );
    },
  };
}

/** What rules that match together add to a request for the origin, or to what the viewer gets. */
function headerProblems(
  kind: 'requestHeaders' | 'responseHeaders',
  rules: readonly Rule[],
  all: readonly Choice[],
  reach: Reach,
  variantHeader: string,
): ConfigProblem[] {
  const isForOrigin = kind === 'requestHeaders';
  const ids = isForOrigin ? idLengths(variantHeader) : () => [];
  const parts = all
    .filter(({ action }) => !(isForOrigin && action.answer))
    .map((choice) =>
      part(choice, [decision(rules, choice), ...ids(choice), ...lengths(choice.action[kind], characters)]),
    );
  if (sum(largestByRule(parts)) <= HEADER_CHARACTERS) return [];
  const most = largest(parts, reach, HEADER_CHARACTERS, { left: MOST_STEPS.sets }, { isForOrigin });
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

/** Answers and redirects with their headers, and those of the rules before them. */
function answersProblems(rules: readonly Rule[], all: readonly Choice[], reach: Reach): ConfigProblem[] {
  const parts = all.map((one) => part(one, [decision(rules, one), ...lengths(one.action.responseHeaders, jsonBytes)]));
  const byRule = largestByRule(parts);
  const before = rules.map((_, index) => sum(new Map([...byRule].filter(([rule]) => rule < index))));
  // Mostly, all of them are small enough.
  const large = parts.filter((own) => own.size + (before[own.choice.rule] ?? 0) > roomOf(own.choice));
  const steps = { left: MOST_STEPS.sets };
  return large.flatMap((own, index) => {
    const share = { left: Math.ceil(steps.left / (large.length - index)) };
    steps.left -= share.left;
    const problems = answerProblems(own, parts, reach, share);
    steps.left += Math.max(0, share.left);
    return problems;
  });
}

/** For the headers of an answer or a redirect, in bytes. */
function roomOf({ action: { answer, redirect } }: Choice): number {
  const room = ANSWER_BYTES - OWN_BYTES;
  if (answer) return room - Buffer.byteLength(answer.body ?? '');
  // The address of a redirect may have as much of the viewer's path and query.
  return redirect ? room - MAX_URL : Number.POSITIVE_INFINITY;
}

function answerProblems(own: Part, all: readonly Part[], reach: Reach, steps: Steps): ConfigProblem[] {
  const { choice } = own;
  const { answer } = choice.action;
  const room = roomOf(choice);
  if (!spend(steps, all.length)) return [];
  const before = all.filter((one) => one.choice.rule < choice.rule);
  const most = largest(before, reach, room, steps, { fixed: own });
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

/** By rule: the size of its largest part. */
function largestByRule(parts: readonly Part[]): Adds<number> {
  const all = new Map<number, number>();
  for (const { choice, size } of parts) all.set(choice.rule, Math.max(size, all.get(choice.rule) ?? 0));
  return all;
}

/**
 * The largest set of parts that can be chosen for one request, with what is `fixed`. Looks for none that fits into `room`, and no further
 * when no steps are left.
 */
function largest(
  parts: readonly Part[],
  reach: Reach,
  room: number,
  steps: Steps,
  { fixed, isForOrigin = false }: { readonly fixed?: Part; readonly isForOrigin?: boolean },
): Together {
  let best: Together = { parts: [], size: 0 };
  if (!spend(steps, parts.length)) return best;
  const possible = fixed ? parts.filter((one) => reach.meet(one.choice, fixed.choice)) : parts;
  const inOrder = [...possible].sort((one, two) => two.size - one.size);
  const meets = (one: Part, two: Part) => !spend(steps) || reach.meet(one.choice, two.choice);

  // With each part and those after it. At most one of each group can be chosen, of which the first one is the largest.
  const bounds = (open: readonly Part[]) => {
    const groups: Part[][] = [];
    const groupOf = open.map((part) => {
      const found = groups.findIndex((others) => others.every((other) => !meets(other, part)));
      if (found < 0) return groups.push([part]) - 1;
      groups[found]?.push(part);
      return found;
    });
    const left = groups.map(() => 0);
    let all = 0;
    return open.map((_, index) => {
      const at = open.length - 1 - index;
      const [group = 0, size = 0] = [groupOf[at], open[at]?.size];
      all += size - (left[group] ?? 0);
      left[group] = size;
      return all;
    });
  };
  /** The first set that is large, in case that there are too many. */
  const greedy = () => {
    let [chosen, adds, known]: [Part[], Adds, Known] = [[], new Map(), reach.all];
    for (const part of fixed ? [fixed, ...inOrder] : inOrder) {
      if (!chosen.every((one) => meets(one, part))) continue;
      const choices = [...chosen, part].map(({ choice }) => choice);
      const here = reach.with(known, part.choice);
      if (here && reach.unanswered(here, choices, isForOrigin))
        [chosen, adds, known] = [[...chosen, part], merged(adds, part.adds), here];
      else if (part === fixed) return;
    }
    best = { parts: chosen, size: sum(adds) };
  };
  const extend = (chosen: readonly Part[], adds: Adds, known: Known, open: readonly Part[]) => {
    const size = sum(adds);
    if (size > best.size) best = { parts: chosen, size };
    const most = bounds(open);
    for (const [index, part] of open.entries()) {
      const bound = most[open.length - 1 - index] ?? 0;
      if (!spend(steps, NODE_STEPS + open.length + adds.size) || size + bound <= Math.max(best.size, room)) return;
      add(chosen, adds, known, part, open.slice(index + 1));
    }
  };
  const add = (chosen: readonly Part[], adds: Adds, known: Known, part: Part, others: readonly Part[]) => {
    const all = [...chosen, part];
    const choices = all.map(({ choice }) => choice);
    const here = reach.with(known, part.choice);
    if (!here || !reach.unanswered(here, choices, isForOrigin)) return;
    const open = others.filter((other) => meets(part, other));
    extend(all, merged(adds, part.adds), here, open);
  };
  greedy();
  if (fixed) add([], new Map(), reach.all, fixed, inOrder);
  else extend([], new Map(), reach.all, inOrder);
  return best;
}

function merged(one: Adds, two: Adds): Adds {
  const all = new Map(one);
  for (const [name, size] of two) all.set(name, Math.max(size, all.get(name) ?? 0));
  return all;
}

function sum(adds: Adds<unknown>): number {
  return [...adds.values()].reduce((all, size) => all + size, 0);
}

/** `rules[0] and rules[2]`. */
function listed(choices: readonly Choice[]): string {
  const names = choices.map(({ rule }) => `rules[${rule}]`);
  const shown = names.length > 6 ? [...names.slice(0, 5), `${names.length - 5} others`] : names;
  return [shown.slice(0, -1).join(', '), shown.at(-1)].filter(Boolean).join(' and ');
}
