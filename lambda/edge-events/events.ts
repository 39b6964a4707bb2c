/** LaunchDarkly's events, schema 4, as far as they occur in lines of exposures. */
import { isKind, parseContext } from '../../lib/evaluation/index.ts';
import {
  describeType,
  hasInfinity,
  isCount,
  isObject,
  type JsonObject,
  showJson,
} from '../../relay-task/common/json.ts';
import { isItemKey, MOST_KEY_BYTES } from '../edge-reader/item-key.ts';

export type LaunchDarklyEvent = FullEvent | SummaryEvent;

export interface FullEvent {
  readonly kind: 'index' | 'feature' | 'debug';
  /** Unix ms. */
  readonly creationDate: number;
}

export interface SummaryEvent {
  readonly kind: 'summary';
  /** Unix ms. */
  readonly startDate: number;
  readonly endDate: number;
  readonly features: Readonly<Record<string, FlagSummary>>;
}

export interface FlagSummary {
  readonly default?: unknown;
  readonly contextKinds: readonly string[];
  readonly counters: readonly Counter[];
}

export interface Counter {
  readonly count: number;
  readonly value?: unknown;
  readonly variation?: number;
  readonly version?: number;
  readonly unknown?: true;
}

/** What can be used of an event, and why the rest of it cannot. */
export interface Judged {
  readonly event: LaunchDarklyEvent | undefined;
  readonly problems: readonly string[];
}

/** The last one that a JavaScript date can be. */
const LAST_DATE = 8_640_000_000_000_000;
/** More than a process evaluates between two lines; thousands of such counts are still a safe integer. */
const MOST_COUNT = 1_000_000_000_000;
/** `JSON.stringify` is recursive, and what it throws would cost the whole batch. */
const MOST_DEPTH = 100;

interface Field {
  isRight(value: unknown): boolean;
  readonly wanted: string;
  readonly isOptional?: true;
}

const isKey = (value: unknown) => typeof value === 'string' && isItemKey(value);
const isText = (value: unknown) => typeof value === 'string';

const date: Field = { isRight: (value) => isCount(value) && value <= LAST_DATE, wanted: 'a time in Unix ms' };
const flagKey: Field = { isRight: isKey, wanted: `the key of a flag, of 1 to ${MOST_KEY_BYTES} bytes` };
const index: Field = { isRight: isCount, wanted: 'a whole number from 0', isOptional: true };
const json: Field = { isRight: isPlain, wanted: `JSON of at most ${MOST_DEPTH} levels`, isOptional: true };
const text: Field = { isRight: isText, wanted: 'a text', isOptional: true };
const context: Field = { isRight: isContext, wanted: 'a context with its kind and key' };

const REASON: Readonly<Record<string, Field>> = {
  kind: {
    isRight: (value) =>
      ['OFF', 'FALLTHROUGH', 'TARGET_MATCH', 'RULE_MATCH', 'PREREQUISITE_FAILED', 'ERROR'].includes(value as string),
    wanted: 'the kind of a reason',
  },
  ruleIndex: index,
  ruleId: text,
  prerequisiteKey: text,
  errorKind: text,
  inExperiment: { isRight: (value) => value === true, wanted: 'true', isOptional: true },
  bigSegmentsStatus: text,
};

const BASE: Readonly<Record<string, Field>> = {
  kind: { isRight: isText, wanted: 'a text' },
  creationDate: date,
  context,
};
const FULL: Readonly<Record<string, Field>> = {
  ...BASE,
  key: flagKey,
  value: json,
  default: json,
  samplingRatio: { isRight: Number.isFinite, wanted: 'a number', isOptional: true },
  prereqOf: { ...flagKey, isOptional: true },
  variation: index,
  version: index,
  reason: {
    isRight: (value) => isObject(value) && misfit(value, REASON) === undefined,
    wanted: 'a reason',
    isOptional: true,
  },
};
const SUMMARY: Readonly<Record<string, Field>> = {
  kind: { isRight: isText, wanted: 'a text' },
  startDate: date,
  endDate: date,
  features: { isRight: isObject, wanted: 'an object' },
};
const FLAG: Readonly<Record<string, Field>> = {
  default: json,
  contextKinds: {
    isRight: (value) => isList(value) && value.every((kind) => isKind(kind) && kind !== 'multi'),
    wanted: 'a list of kinds of contexts',
  },
  counters: { isRight: isList, wanted: 'a list of counters' },
};
const COUNTER: Readonly<Record<string, Field>> = {
  count: {
    isRight: (value) => isCount(value) && value > 0 && value <= MOST_COUNT,
    wanted: `a whole number from 1 to ${MOST_COUNT}`,
  },
  value: json,
  variation: index,
  version: index,
  unknown: { isRight: (value) => value === true, wanted: 'true', isOptional: true },
};

/** LaunchDarkly may reject all that are sent with one that it does not understand. Of a summary, the flags that are right can be used. */
export function judge(event: unknown): Judged {
  if (!isObject(event)) return refused('an event is no object');
  const { kind } = event;
  if (kind === 'summary') return judgeSummary(event);
  if (kind !== 'index' && kind !== 'feature' && kind !== 'debug') return refused(`there is no event ${showJson(kind)}`);
  const problem = misfit(event, kind === 'index' ? BASE : FULL);
  return problem === undefined
    ? { event: event as unknown as FullEvent, problems: [] }
    : refused(`an event ${kind}: ${problem}`);
}

function judgeSummary(event: JsonObject): Judged {
  const { startDate, endDate, features, kind } = event;
  const isBackwards = Number(startDate) > Number(endDate);
  const problem = misfit(event, SUMMARY) ?? (isBackwards ? 'it ends before it starts' : undefined);
  if (problem !== undefined) return refused(`a summary: ${problem}`);
  const flags = Object.entries(features as JsonObject).map(([key, flag]) => ({
    key,
    flag,
    problem: flagProblem(key, flag),
  }));
  const right = flags.flatMap(({ key, flag, problem }) => (problem === undefined ? [[key, flag]] : []));
  const summary = { kind, startDate, endDate, features: Object.fromEntries(right) } as SummaryEvent;
  return {
    event: right.length > 0 ? summary : undefined,
    problems: flags.flatMap(({ key, problem }) => (problem === undefined ? [] : `flag ${showJson(key)}: ${problem}`)),
  };
}

function flagProblem(key: string, flag: unknown): string | undefined {
  if (!flagKey.isRight(key)) return `expected ${flagKey.wanted}`;
  if (!isObject(flag)) return 'its summary is no object';
  const problem = misfit(flag, FLAG);
  if (problem !== undefined) return problem;
  for (const counter of flag.counters as readonly unknown[]) {
    if (!isObject(counter)) return 'a counter is no object';
    const why = misfit(counter, COUNTER);
    if (why !== undefined) return `a counter: ${why}`;
    if ((counter.version === undefined) !== (counter.unknown === true))
      return 'a counter must have either a version or unknown';
  }
  return undefined;
}

/** Why an object is not as the reader writes it. Values are not shown: they may be a viewer's. */
function misfit(object: JsonObject, fields: Readonly<Record<string, Field>>): string | undefined {
  for (const name of Object.keys(object))
    if (!Object.hasOwn(fields, name)) return `it has ${showJson(name)}, which the reader does not write`;
  for (const [name, { isRight, wanted, isOptional }] of Object.entries(fields)) {
    const value = object[name];
    if (Object.hasOwn(object, name) ? !isRight(value) : !isOptional)
      return `${name} is ${value === undefined ? 'missing' : describeType(value)}: expected ${wanted}`;
  }
  return undefined;
}

function isPlain(value: unknown): boolean {
  return !isDeeper(value, MOST_DEPTH) && !hasInfinity(value);
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

/** As the reader writes it: with kinds, and with the names of what was taken out. */
function isContext(value: unknown): boolean {
  if (!isPlain(value) || !isObject(value) || !isText(value.kind) || !parseContext(value)) return false;
  const { kind, ...others } = value;
  return (kind === 'multi' ? Object.values(others) : [value]).every((member) => {
    const { redactedAttributes = [] } = Object(Object(member)._meta);
    return Array.isArray(redactedAttributes) && redactedAttributes.every(isText);
  });
}

/** Not an empty one. */
function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && value.length > 0;
}

function refused(problem: string): Judged {
  return { event: undefined, problems: [problem] };
}
