import {
  type Context,
  compileFlag,
  compileSegment,
  createEvaluator,
  createGoDialect,
  type Dialect,
  type Evaluator,
  type Flag,
  type FlagResult,
  type Memo,
  type Segment,
  sha1BucketFloat32,
} from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { isObject, type JsonObject } from '../common/json.ts';
import { compileRe2 } from '../common/re2.ts';
import { inSlices } from '../common/slices.ts';
import type { BigSegments, ClientView, CredentialKind, FailedItem, Memberships, RefusedPattern } from '../ports.ts';
import { createDependencies } from './dependencies.ts';
import { createClientView, mayBeSeen } from './evaluated.ts';

/** How a change can affect evaluations. */
export interface Affected {
  /** Keys of flags whose results may differ: flags among the items, and all that depend on the items. */
  readonly flagKeys: readonly string[];
  /** Whether one of them uses Big Segments, so that `clientView.prepare` has to come first. */
  readonly bigSegments: boolean;
}

/** Items compiled for evaluation, each at its first use. */
export interface Compiled {
  /** An item was replaced. */
  replaced(item: Item): void;
  /** Tombstones included. */
  flag(key: string): Flag | undefined;
  /** Tombstones included. */
  segment(key: string): Segment | undefined;
  /** Flags that the audience may see, without tombstones, sorted by key: the same in every relay that holds the same items. */
  flags(audience: CredentialKind): readonly Flag[];
  readonly evaluator: Evaluator;
  readonly clientView: ClientView;
  affected(items: readonly { readonly kind: Kind; readonly key: string }[]): Affected;
  /** Keys of flags that use Big Segments, directly or through others. */
  usersOfBigSegments(): ReadonlySet<string>;
  /** Whether a segment is a Big Segment. */
  readonly hasBigSegments: boolean;
  /** Those in the items that were compiled so far: at most 10 of an item and 100 in all. */
  refusedPatterns(): readonly RefusedPattern[];
  /** Those whose compilation or evaluation threw, in their present version. */
  failedItems(): readonly FailedItem[];
}

/** Of JSON, in characters: so much is compiled within a few milliseconds, even if it is full of patterns. */
const LITTLE = 4 * 1024;
/** Of a pattern, or of an error's message, which have no limit. */
const SHOWN_CHARACTERS = 300;
/** Refused patterns that are kept for the status. */
const MOST_PATTERNS_OF_ITEM = 10;
const MOST_PATTERNS = 100;

export interface CompiledReports {
  /** Called once for each version of an item that has such patterns, with the first one and the number of the others. */
  onRefused(pattern: RefusedPattern, more: number): void;
  /** Called once for each reason in each version of an item. */
  onFailed(item: FailedItem): void;
}

export function createCompiled(
  view: { get(kind: Kind, key: string): Item | undefined; items(kind: Kind): Iterable<Item> },
  bigSegments: BigSegments | undefined,
  { onRefused, onFailed }: CompiledReports,
): Compiled {
  const flags = new Map<string, Flag>();
  const segments = new Map<string, Segment>();
  const uncompiled = { features: new Set<string>(), segments: new Set<string>() };
  const listed = new Map<CredentialKind, readonly Flag[]>();
  /** Those of the evaluation in progress. */
  let memberships: Memberships | undefined;

  const refused = { features: new Map<string, readonly string[]>(), segments: new Map<string, readonly string[]>() };
  let keptPatterns = 0;
  /** Those of the item that is being compiled: the first ones, and how many there are. */
  let refusing: string[] = [];
  let refusals = 0;
  /** Those of an item that is about to be compiled. */
  const patterns = new Map<string, ReturnType<typeof compileRe2>>();
  // Clients are told what LaunchDarkly's own service would tell them.
  const dialect = createGoDialect((source) => {
    const pattern = patterns.has(source) ? patterns.get(source) : compileRe2(source);
    if (pattern === undefined) {
      refusals += 1;
      if (refusing.length < MOST_PATTERNS_OF_ITEM) refusing.push(source.slice(0, SHOWN_CHARACTERS));
    }
    return pattern;
  });

  const failed = { features: new Map<string, string>(), segments: new Map<string, string>() };
  const fail = (kind: Kind, key: string, error: unknown) => {
    const reason = String(error).slice(0, SHOWN_CHARACTERS);
    if (failed[kind].get(key) === reason) return;
    failed[kind].set(key, reason);
    onFailed({ kind, key, reason });
  };

  function compiled<T>(
    cache: Map<string, T>,
    kind: Kind,
    key: string,
    compile: (data: unknown, dialect: Dialect) => T,
  ): T | undefined {
    const held = cache.get(key);
    if (held !== undefined) return held;
    const item = view.get(kind, key);
    if (item === undefined) return undefined;
    refusing = [];
    refusals = 0;
    let made: T;
    try {
      made = compile(JSON.parse(item.json), dialect);
    } catch (error) {
      fail(kind, key, error);
      // It is on and has no variations, so evaluating it gives MALFORMED_FLAG.
      made = compile({ key, version: item.version, deleted: item.deleted, on: true }, dialect);
    }
    cache.set(key, made);
    uncompiled[kind].delete(key);
    const [pattern] = refusing;
    if (pattern !== undefined) {
      const kept = refusing.slice(0, MOST_PATTERNS - keptPatterns);
      if (kept.length > 0) refused[kind].set(key, kept);
      keptPatterns += kept.length;
      onRefused({ kind, key, pattern }, refusals - 1);
    }
    return made;
  }

  const flag = (key: string) => flags.get(key) ?? compiled(flags, 'features', key, compileFlag);
  const segment = (key: string) => segments.get(key) ?? compiled(segments, 'segments', key, compileSegment);
  const unbounded = createUnbounded(() => view.items('segments'), segment);
  const dependencies = createDependencies({
    keys: (kind) => Array.from(view.items(kind), ({ key }) => key),
    flag,
    segment,
  });
  const evaluator = createEvaluator(
    {
      flag,
      segment,
      bucket: sha1BucketFloat32,
      ...(bigSegments && { bigSegments: (key: string) => memberships?.get(key) ?? { status: 'STORE_ERROR' } }),
    },
    dialect,
  );

  function evaluateFlag(held: Flag, context: Context, known: Memberships | undefined, memo?: Memo): FlagResult {
    memberships = known;
    try {
      return evaluator.evaluateFlag(held, context, memo);
    } finally {
      memberships = undefined;
    }
  }

  function flagsFor(audience: CredentialKind): readonly Flag[] {
    let list = listed.get(audience);
    if (list === undefined) {
      const keys = Array.from(view.items('features'), ({ key }) => key).sort();
      const compiledFlags = keys.map(flag);
      list = compiledFlags.filter((held) => held !== undefined).filter((held) => mayBeSeen(held, audience));
      listed.set(audience, list);
    }
    return list;
  }

  function* uncompiledItems(): Generator<Item, void> {
    for (const kind of ['features', 'segments'] as const) {
      for (const key of uncompiled[kind]) {
        const item = view.get(kind, key);
        if (item) yield item;
      }
    }
  }
  let compiling: Promise<void> | undefined;
  function* compileAll(items: readonly Item[]): Generator<void, void> {
    for (const item of items) {
      // They take longest, so they are compiled one by one.
      for (const source of patternsIn(item)) {
        if (!patterns.has(source)) patterns.set(source, compileRe2(source));
        yield;
      }
      if (item.kind === 'features') flag(item.key);
      else segment(item.key);
      patterns.clear();
      yield;
    }
  }
  function compileInSlices(): Promise<void> | undefined {
    if (compiling) return compiling;
    let characters = 0;
    for (const { json } of uncompiledItems()) {
      characters += json.length;
      if (characters > LITTLE) break;
    }
    if (characters <= LITTLE) return undefined;
    compiling = inSlices(compileAll([...uncompiledItems()])).finally(() => {
      compiling = undefined;
    });
    return compiling;
  }

  const usersOfBigSegments = () =>
    dependencies.usersOf(unbounded.segments().map(({ key }) => ({ kind: 'segments', key })));

  return {
    replaced({ kind, key }) {
      dependencies.replaced(kind, key);
      keptPatterns -= refused[kind].get(key)?.length ?? 0;
      refused[kind].delete(key);
      failed[kind].delete(key);
      uncompiled[kind].add(key);
      if (kind === 'features') {
        flags.delete(key);
        listed.clear();
      } else {
        segments.delete(key);
        unbounded.changed();
      }
    },
    flag,
    segment,
    flags: flagsFor,
    evaluator,
    clientView: createClientView({
      flag,
      flags: flagsFor,
      compile: compileInSlices,
      evaluateFlag,
      onFailed: (key, error) => fail('features', key, error),
      bigSegments,
      bigSegmentKinds: unbounded.kinds,
    }),
    affected(items) {
      const flagKeys = [...dependencies.usersOf(items)];
      if (!bigSegments || unbounded.segments().length === 0) return { flagKeys, bigSegments: false };
      const users = usersOfBigSegments();
      return { flagKeys, bigSegments: flagKeys.some((key) => users.has(key)) };
    },
    usersOfBigSegments,
    get hasBigSegments() {
      return unbounded.segments().length > 0;
    },
    refusedPatterns: () =>
      (['features', 'segments'] as const).flatMap((kind) =>
        [...refused[kind]].flatMap(([key, patterns]) => patterns.map((pattern) => ({ kind, key, pattern }))),
      ),
    failedItems: () =>
      (['features', 'segments'] as const).flatMap((kind) =>
        [...failed[kind]].map(([key, reason]) => ({ kind, key, reason })),
      ),
  };
}

/** The regular expressions in the rules of a flag or a segment, which may be malformed. */
function* patternsIn({ json }: Item): Generator<string, void> {
  if (!json.includes('"matches"')) return;
  const { rules } = JSON.parse(json) as { rules?: unknown };
  for (const { clauses } of objectsIn(rules)) {
    for (const { op, values } of objectsIn(clauses)) {
      if (op !== 'matches' || !Array.isArray(values)) continue;
      for (const value of values) if (typeof value === 'string') yield value;
    }
  }
}

function objectsIn(list: unknown): readonly JsonObject[] {
  return Array.isArray(list) ? list.filter(isObject) : [];
}

/** The Big Segments among the items, found at first use. */
function createUnbounded(items: () => Iterable<Item>, segment: (key: string) => Segment | undefined) {
  let found: readonly Segment[] | undefined;
  let foundKinds: ReadonlySet<string> | undefined;

  function find(): Segment[] {
    const list: Segment[] = [];
    for (const { key, deleted, json } of items()) {
      // Checking the text first avoids compiling segments with long lists of members.
      if (deleted || !/"unbounded"\s*:\s*true/.test(json)) continue;
      const held = segment(key);
      if (held?.unbounded) list.push(held);
    }
    return list;
  }
  function segments(): readonly Segment[] {
    found ??= find();
    return found;
  }
  return {
    segments,
    /** Their context kinds. */
    kinds(): ReadonlySet<string> {
      foundKinds ??= new Set(segments().map(kindOf));
      return foundKinds;
    },
    changed(): void {
      found = undefined;
      foundKinds = undefined;
    },
  };
}

/** The context kind of a Big Segment. Compiled segments have it; the public type does not. */
function kindOf(segment: Segment): string {
  return (segment as Segment & { unboundedKind: string }).unboundedKind;
}
