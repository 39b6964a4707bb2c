/** Flags and segments of two relays, item by item. */
import { isDeepStrictEqual } from 'node:util';
import {
  compileFlag,
  compileSegment,
  createEvaluator,
  sameFlagInSteps,
  sameSegmentInSteps,
  sha1Bucket,
} from '../../lib/evaluation/index.ts';
import type { Kind } from '../../lib/flag-table/index.ts';
import { counted } from '../../relay-task/common/counted.ts';
import { normalText } from '../../relay-task/common/item-text.ts';
import { isObject } from '../../relay-task/common/json.ts';
import { resultOf } from '../../relay-task/common/slices.ts';
import type { Data } from './ask.ts';

/** What one relay serves of an environment, by key. */
export interface Served {
  readonly flags: Readonly<Record<string, Data>>;
  readonly segments: Readonly<Record<string, Data>>;
}

export interface Difference {
  /** `flag`, `segment`, or who gets another value. */
  readonly kind: string;
  readonly key: string;
  /** A sentence without its subject. */
  readonly what: string;
}

export interface ItemComparison {
  readonly flags: number;
  readonly segments: number;
  readonly differences: readonly Difference[];
  /** What differs without consequence. */
  readonly notes: readonly Difference[];
}

type Context = Readonly<Record<string, unknown>>;

/** Without what was deleted: relays send tombstones or leave them out. */
export function servedIn(data: Data): Served | undefined {
  const { flags, segments = {} } = data;
  if (!isObject(flags) || !isObject(segments)) return undefined;
  return { flags: itemsIn(flags), segments: itemsIn(segments) };
}

function itemsIn(items: Data): Readonly<Record<string, Data>> {
  const living = Object.entries(items).filter(([, item]) => isObject(item) && item.deleted !== true);
  return Object.fromEntries(living) as Readonly<Record<string, Data>>;
}

/** `usersOnly`: one of the relays knows no other contexts. */
export function compareItems(
  old: Served,
  fresh: Served,
  { contexts, usersOnly }: { readonly contexts: readonly Context[]; readonly usersOnly: boolean },
): ItemComparison {
  const differences: Difference[] = [];
  const notes: Difference[] = [];
  const contextsOf = (key: string) => {
    const all = [...contexts, ...targetsOf(old.flags[key]), ...targetsOf(fresh.flags[key])];
    return usersOnly ? all.filter(isUser) : all;
  };
  const values = createValues(old, fresh, contextsOf);
  for (const kind of ['features', 'segments'] as const) {
    const [before, after] = kind === 'features' ? [old.flags, fresh.flags] : [old.segments, fresh.segments];
    for (const key of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
      const found = compareItem(kind, before[key], after[key], () => (kind === 'features' ? values(key) : []));
      if (!found) continue;
      (found.isHarmless ? notes : differences).push({ kind: nameOf[kind], key, what: found.what });
    }
  }
  return {
    flags: Object.keys(fresh.flags).length,
    segments: Object.keys(fresh.segments).length,
    differences,
    notes,
  };
}

const nameOf: Readonly<Record<Kind, string>> = { features: 'flag', segments: 'segment' };
const same = { features: sameFlagInSteps, segments: sameSegmentInSteps };

/** Undefined: they are the same. */
function compareItem(
  kind: Kind,
  before: Data | undefined,
  after: Data | undefined,
  otherValues: () => readonly string[],
): { readonly what: string; readonly isHarmless: boolean } | undefined {
  if (!before || !after) {
    const [side, item] = before ? ['old', before] : ['new', after!];
    return { what: `version ${item.version} is only on the ${side} relay`, isHarmless: false };
  }
  const versions = `version ${before.version} on the old relay, ${after.version} on the new`;
  if (resultOf(same[kind](before, { ...after, version: before.version }))) {
    if (before.version === after.version) return undefined;
    return { what: `${versions}, with the same content`, isHarmless: true };
  }
  const others = otherValues();
  const consequence = others.length > 0 ? `: ${firstOf(others)}` : '';
  if (before.version !== after.version) return { what: `${versions}${consequence}`, isHarmless: false };
  const names = membersThatDiffer(kind, before, after);
  // An older ld-relay drops what its version does not know.
  const more = others.length === 0 && hasAll(JSON.parse(normalText(kind, JSON.stringify(after))), before);
  return more
    ? {
        what: `version ${after.version}: ${names} has more on the new relay than the old one knows`,
        isHarmless: true,
      }
    : { what: `version ${after.version} on both, but with different ${names}${consequence}`, isHarmless: false };
}

function membersThatDiffer(kind: Kind, before: Data, after: Data): string {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  // Each by itself, so that defaults and unknown members do not count.
  const base = { key: before.key, version: before.version };
  const differing = names.filter((name) => {
    const [one, other] = [before, after].map((item) => (name in item ? { ...base, [name]: item[name] } : base));
    return !resultOf(same[kind](one, other));
  });
  return differing.length > 0 ? differing.join(', ') : 'content';
}

/**
 * Whether everything in `part` is in `whole`, too; members that `whole` has besides do not count. Lists must be equally long, since a
 * rule or a target that is missing is a difference.
 */
function hasAll(whole: unknown, part: unknown): boolean {
  if (isNothing(part)) return isNothing(whole);
  if (Array.isArray(part))
    return Array.isArray(whole) && whole.length === part.length && part.every((each, at) => hasAll(whole[at], each));
  if (isObject(part))
    return isObject(whole) && Object.entries(part).every(([name, value]) => hasAll(whole[name], value));
  return whole === part;
}

/** What a relay may as well leave out. */
const isNothing = (value: unknown) =>
  value === undefined ||
  value === null ||
  value === false ||
  value === '' ||
  (Array.isArray(value) && value.length === 0);

/** For whom a flag has another value on the other relay, as texts. */
function createValues(old: Served, fresh: Served, contextsOf: (key: string) => readonly Context[]) {
  const [before, after] = [evaluatorOf(old), evaluatorOf(fresh)];
  return (key: string): string[] => {
    return contextsOf(key).flatMap((context) => {
      const [one, other] = [before, after].map((evaluator) => evaluator.evaluate(key, context, null).value);
      if (isDeepStrictEqual(one, other)) return [];
      return [`${nameOfContext(context)} gets ${short(other)} instead of ${short(one)}`];
    });
  };
}

function evaluatorOf({ flags, segments }: Served) {
  const compiled = new Map<unknown, unknown>();
  const once = <T>(item: Data | undefined, compile: (item: Data) => T): T | undefined => {
    if (!item) return undefined;
    if (!compiled.has(item)) compiled.set(item, compile(structuredClone(item)));
    return compiled.get(item) as T;
  };
  return createEvaluator({
    flag: (key) => once(own(flags, key), (item) => compileFlag(item)),
    segment: (key) => once(own(segments, key), (item) => compileSegment(item)),
    bucket: sha1Bucket,
  });
}

const own = (items: Readonly<Record<string, Data>>, key: string) =>
  Object.hasOwn(items, key) ? items[key] : undefined;

/** One context of each list of a flag's targets, since they may be all that differs. */
function targetsOf(flag: Data | undefined): Context[] {
  const lists = [flag?.targets, flag?.contextTargets].flatMap((list) =>
    Array.isArray(list) ? list.filter(isObject) : [],
  );
  return lists.flatMap(({ contextKind, values }) => {
    const [first] = Array.isArray(values) ? values : [];
    return typeof first === 'string' ? [{ kind: contextKind || 'user', key: first }] : [];
  });
}

/** Without a kind, it is a user. */
export const isUser = ({ kind = 'user' }: Context) => kind === 'user';

/** For people: a user's key, or kind and key. */
export function nameOfContext({ kind = 'user', key, ...rest }: Context): string {
  if (kind === 'multi')
    return Object.entries(rest)
      .map(([name, part]) => `${name} ${(part as Context)?.key}`)
      .join(' with ');
  return kind === 'user' ? `${key}` : `${kind} ${key}`;
}

/** Of sentences about contexts. */
export function firstOf([first, ...more]: readonly string[]): string {
  if (more.length === 0) return `${first}`;
  return `${first}; and ${counted(more.length, 'more context')}`;
}

const LONGEST = 60;

export function short(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
