import {
  type Context,
  compileFlag,
  compileFlagInSteps,
  compileSegment,
  compileSegmentInSteps,
  createDependencies,
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
import type { JsonObject } from '../common/json.ts';
import type { Kept } from '../common/kept.ts';
import { compileRe2 } from '../common/re2.ts';
import { parseTextInSlices } from '../common/sliced-text.ts';
import { inSlices } from '../common/slices.ts';
import type { BigSegments, ClientView, CredentialKind, FailedItem, Memberships, RefusedPattern } from '../ports.ts';
import { createClientView, mayBeSeen } from './evaluated.ts';
import { createFlagLists } from './flag-lists.ts';
import { withLargeValues } from './large-values.ts';

/** How a change can affect evaluations. */
export interface Affected {
  /** Keys of flags whose results may differ: flags among the items, and all that depend on the items. */
  readonly flagKeys: readonly string[];
  /** Whether one of them uses Big Segments, so that `clientView.prepare` has to come first. */
  readonly bigSegments: boolean;
}

/**
 * Items compiled for evaluation, each at its first use. A large item that was replaced counts in the latest version that was compiled, until
 * `clientView.compile` has compiled it: never in one turn.
 */
interface Compiled {
  /** An item was replaced. */
  replaced(item: Item): void;
  /** Replaces items by a whole set, maybe another environment's: earlier versions count no more. */
  replacingAll<T>(replace: () => T): T;
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

/** Of JSON, in characters: so much is compiled in one turn within a few milliseconds, even if it is full of patterns. */
const LITTLE = 4 * 1024;
/** Of a pattern, or of an error's message, which have no limit. */
const SHOWN_CHARACTERS = 300;
/**
 * What arrives while others are compiled is compiled too, but those who wait have to go on at some time. In the last round an item is
 * compiled to its end although a newer version of it has come.
 */
const MOST_ROUNDS = 3;
/** Refused patterns that are kept for the status. */
const MOST_PATTERNS_OF_ITEM = 10;
const MOST_PATTERNS = 100;

/** Regular expressions that RE2 refuses: the first ones, and how many there are. */
interface Refusals {
  readonly first: string[];
  count: number;
}

interface CompiledItem {
  readonly features: Flag;
  readonly segments: Segment;
}

const compilers: {
  readonly [K in Kind]: {
    whole(data: unknown, dialect: Dialect): CompiledItem[K];
    inSteps(data: unknown, dialect: Dialect): Generator<void, CompiledItem[K]>;
  };
} = {
  features: { whole: compileFlag, inSteps: compileFlagInSteps },
  segments: { whole: compileSegment, inSteps: compileSegmentInSteps },
};

interface CompiledReports {
  /** Called once for each version of an item that has such patterns, with the first one and the number of the others. */
  onRefused(pattern: RefusedPattern, more: number): void;
  /** Called once for each reason in each version of an item. */
  onFailed(item: FailedItem): void;
  /** Later versions of these items count now than when the last change was told. */
  onLate(items: readonly Name[]): void;
}

interface Name {
  readonly kind: Kind;
  readonly key: string;
}

/** Whether it is compiled in slices. */
function isLong({ deleted, json }: Item): boolean {
  return !deleted && (json.length > LITTLE || json.includes('"matches"'));
}

export function createCompiled(
  view: { get(kind: Kind, key: string): Item | undefined; items(kind: Kind): Iterable<Item> },
  bigSegments: BigSegments | undefined,
  kept: Kept,
  { onRefused, onFailed, onLate }: CompiledReports,
): Compiled {
  const caches = { features: new Map<string, Flag>(), segments: new Map<string, Segment>() };
  const uncompiled = { features: new Set<string>(), segments: new Set<string>() };
  let isWholeSet = false;
  const chase = createChase((kind, key) => {
    dependencies.replaced(kind, key);
    if (kind === 'features') lists.changed(key);
  });
  /** Those of the evaluation in progress. */
  let memberships: Memberships | undefined;

  const refused = { features: new Map<string, readonly string[]>(), segments: new Map<string, readonly string[]>() };
  let keptPatterns = 0;
  /** Those of the item that is being compiled at the moment. */
  let refusals: Refusals = { first: [], count: 0 };
  // Clients are told what LaunchDarkly's own service would tell them.
  const dialect = createGoDialect((source) => {
    const pattern = compileRe2(source);
    if (pattern === undefined) {
      refusals.count += 1;
      if (refusals.first.length < MOST_PATTERNS_OF_ITEM) refusals.first.push(source.slice(0, SHOWN_CHARACTERS));
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

  /** An item is in force in its compiled form. */
  function keep<K extends Kind>(kind: K, key: string, made: CompiledItem[K]): CompiledItem[K] {
    (caches[kind] as Map<string, CompiledItem[K]>).set(key, made);
    uncompiled[kind].delete(key);
    chase.caught(kind, key);
    const [pattern] = refusals.first;
    if (pattern !== undefined) {
      const kept = refusals.first.slice(0, MOST_PATTERNS - keptPatterns);
      if (kept.length > 0) refused[kind].set(key, kept);
      keptPatterns += kept.length;
      onRefused({ kind, key, pattern }, refusals.count - 1);
    }
    return made;
  }

  /** Compilation threw: the item is on and has no variations, so evaluating it gives MALFORMED_FLAG. */
  function failedItem<K extends Kind>(kind: K, { key, version, deleted }: Item, error: unknown): CompiledItem[K] {
    fail(kind, key, error);
    return compilers[kind].whole({ key, version, deleted, on: true }, dialect);
  }

  function compiled<K extends Kind>(kind: K, key: string): CompiledItem[K] | undefined {
    const held = (caches[kind] as Map<string, CompiledItem[K]>).get(key);
    if (held !== undefined) return held;
    const item = view.get(kind, key);
    if (item === undefined) return undefined;
    const earlier = chase.earlier(kind, key);
    if (earlier !== undefined) return earlier;
    refusals = { first: [], count: 0 };
    let made: CompiledItem[K];
    try {
      made = compilers[kind].whole(JSON.parse(item.json), dialect);
    } catch (error) {
      made = failedItem(kind, item, error);
    }
    return keep(kind, key, made);
  }

  /**
   * The same, unless it is needed meanwhile by someone who cannot wait, or replaced: what is replaced again and again is compiled to its
   * end all the same.
   */
  function* compileInSteps(kind: Kind, item: Item): Generator<void, void> {
    const { key } = item;
    const own: Refusals = { first: [], count: 0 };
    const isPresent = () => view.get(kind, key) === item;
    const isWorthIt = chase.begin(kind, key);
    const isNeeded = () => !caches[kind].has(key) && (isPresent() || isWorthIt(view.get(kind, key)));
    try {
      const data = yield* withLargeValues(item, yield* parseTextInSlices(item.json));
      const steps = compilers[kind].inSteps(data, dialect);
      while (isNeeded()) {
        refusals = own;
        const { done, value } = steps.next();
        if (done) {
          if (isPresent()) keep(kind, key, value);
          else chase.keep(kind, key, value);
          return;
        }
        yield;
      }
    } catch (error) {
      if (!isPresent() || caches[kind].has(key)) return;
      refusals = own;
      keep(kind, key, failedItem(kind, item, error));
    }
    if (!isPresent()) chase.overtaken(kind, key);
  }

  const flag = (key: string) => compiled('features', key);
  const segment = (key: string) => compiled('segments', key);
  const lists = createFlagLists({
    keys: () => Array.from(view.items('features'), ({ key }) => key),
    flag,
    mayBeSeen,
  });
  const unbounded = createUnbounded(() => view.items('segments'), dialect);
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
      ...(bigSegments && { bigSegments: (key: string) => present()?.get(key) ?? { status: 'STORE_ERROR' } }),
    },
    dialect,
  );

  /** Flags are never evaluated with the members of another environment's segments, whoever forgot to look. */
  function present(): Memberships | undefined {
    return memberships && bigSegments?.isPresent?.(memberships) !== false ? memberships : undefined;
  }

  function evaluateFlag(held: Flag, context: Context, known: Memberships | undefined, memo?: Memo): FlagResult {
    memberships = known;
    try {
      return evaluator.evaluateFlag(held, context, memo);
    } finally {
      memberships = undefined;
    }
  }

  function* uncompiledItems(): Generator<Item, void> {
    for (const kind of ['features', 'segments'] as const) {
      for (const key of uncompiled[kind]) {
        const item = view.get(kind, key);
        if (item) yield item;
      }
    }
  }
  /** Whether compiling those that count in no version yet in one turn would take too long. */
  function areMany(): boolean {
    let characters = 0;
    for (const { kind, key, json } of uncompiledItems()) {
      if (chase.earlier(kind, key) === undefined || chase.isFresh(kind, key)) characters += json.length;
      if (characters > LITTLE) return true;
    }
    return false;
  }
  function* compileRound(): Generator<void, void> {
    for (const item of [...uncompiledItems()]) {
      const { kind, key } = item;
      if (view.get(kind, key) !== item) continue;
      if (isLong(item)) yield* compileInSteps(kind, item);
      else compiled(kind, key);
      yield;
    }
  }
  let round: Promise<void> | undefined;
  function runRound(): Promise<void> {
    round ??= inSlices(compileRound()).finally(() => {
      round = undefined;
      // What those who listen need is compiled in a turn otherwise.
      if (!areMany()) chase.tell(onLate);
      if (chase.isOn) void runRound();
    });
    return round;
  }
  async function runRounds(): Promise<void> {
    for (let rounds = 0; rounds < MOST_ROUNDS && areMany(); rounds += 1) await runRound();
  }
  let compiling: Promise<void> | undefined;
  function compileInSlices(): Promise<void> | undefined {
    if (compiling) return compiling;
    if (!areMany()) return undefined;
    compiling = runRounds().finally(() => {
      compiling = undefined;
    });
    return compiling;
  }

  const usersOfBigSegments = () =>
    dependencies.usersOf(unbounded.segments().map(({ key }) => ({ kind: 'segments', key })));

  return {
    replacingAll(replace) {
      chase.end();
      isWholeSet = true;
      try {
        return replace();
      } finally {
        isWholeSet = false;
      }
    },
    replaced(item) {
      const { kind, key } = item;
      const before = caches[kind].get(key);
      if (!isLong(item)) chase.caught(kind, key);
      else if (before !== undefined && !isWholeSet && item.json.length > LITTLE) chase.replaced(kind, key, before);
      dependencies.replaced(kind, key);
      keptPatterns -= refused[kind].get(key)?.length ?? 0;
      refused[kind].delete(key);
      failed[kind].delete(key);
      uncompiled[kind].add(key);
      caches[kind].delete(key);
      if (kind === 'features') lists.changed(key);
      else unbounded.changed();
    },
    flag,
    segment,
    flags: lists.flags,
    evaluator,
    clientView: createClientView({
      flag,
      flags: lists.flags,
      prerequisites: lists.prerequisites,
      follow: lists.follow,
      compile: compileInSlices,
      isBehind: () => chase.isOn,
      evaluateFlag,
      onFailed: (key, error) => fail('features', key, error),
      bigSegments,
      bigSegmentKinds: unbounded.kinds,
      kept,
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

/** Large items that count in an earlier version, until they are compiled. `onMoved`: another version of one counts now. */
function createChase(onMoved: (kind: Kind, key: string) => void) {
  /** The latest version that was compiled. */
  const earlier = { features: new Map<string, Flag>(), segments: new Map<string, Segment>() };
  /** How often an item was replaced while it was compiled, since it last was to its end in time. */
  const overtaken = new Map<string, number>();
  /** Those that have only just been replaced: who evaluates waits for them, and listeners hear of the change itself. */
  const fresh = new Set<string>();
  /** What listeners have not been told yet. */
  const late = new Map<string, Name>();
  let era = 0;
  const nameOf = (kind: Kind, key: string) => `${kind}/${key}`;

  function moved(kind: Kind, key: string): void {
    late.set(nameOf(kind, key), { kind, key });
    onMoved(kind, key);
  }

  return {
    get isOn() {
      return earlier.features.size + earlier.segments.size > 0;
    },
    earlier: <K extends Kind>(kind: K, key: string) => (earlier[kind] as Map<string, CompiledItem[K]>).get(key),
    isFresh: (kind: Kind, key: string) => fresh.has(nameOf(kind, key)),
    /** `before`: how it counted, and counts until it is compiled. */
    replaced<K extends Kind>(kind: K, key: string, before: CompiledItem[K]): void {
      (earlier[kind] as Map<string, CompiledItem[K]>).set(key, before);
      fresh.add(nameOf(kind, key));
    },
    /** Returns whether to go on, after the item has become another. */
    begin(kind: Kind, key: string): (present: Item | undefined) => boolean {
      const isPatient = (overtaken.get(nameOf(kind, key)) ?? 0) >= MOST_ROUNDS - 1;
      const begunIn = era;
      return (present) => isPatient && begunIn === era && present !== undefined && isLong(present);
    },
    overtaken(kind: Kind, key: string): void {
      const name = nameOf(kind, key);
      overtaken.set(name, (overtaken.get(name) ?? 0) + 1);
    },
    /** A version that is not the present one any more was compiled. */
    keep<K extends Kind>(kind: K, key: string, made: CompiledItem[K]): void {
      (earlier[kind] as Map<string, CompiledItem[K]>).set(key, made);
      fresh.delete(nameOf(kind, key));
      moved(kind, key);
    },
    /** The present version counts. */
    caught(kind: Kind, key: string): void {
      overtaken.delete(nameOf(kind, key));
      if (!earlier[kind].delete(key)) return;
      if (fresh.delete(nameOf(kind, key))) onMoved(kind, key);
      else moved(kind, key);
    },
    end(): void {
      era += 1;
      overtaken.clear();
      fresh.clear();
      for (const kind of ['features', 'segments'] as const)
        for (const key of [...earlier[kind].keys()]) {
          earlier[kind].delete(key);
          moved(kind, key);
        }
    },
    tell(listen: (items: readonly Name[]) => void): void {
      if (late.size === 0) return;
      const items = [...late.values()];
      late.clear();
      listen(items);
    },
  };
}

/** The Big Segments among the items, found at first use. */
function createUnbounded(items: () => Iterable<Item>, dialect: Dialect) {
  let found: readonly Segment[] | undefined;
  let foundKinds: ReadonlySet<string> | undefined;

  function find(): Segment[] {
    const list: Segment[] = [];
    for (const { deleted, json } of items()) {
      // Checking the text first avoids parsing segments with long lists of members.
      if (deleted || !/"unbounded"\s*:\s*true/.test(json)) continue;
      const held = headOf(json, dialect);
      if (held.unbounded) list.push(held);
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

/** A segment without its lists, which take longest to compile. */
function headOf(json: string, dialect: Dialect): Segment {
  const { key, version, unbounded, unboundedContextKind, generation } = JSON.parse(json) as JsonObject;
  return compileSegment({ key, version, unbounded, unboundedContextKind, generation }, dialect);
}

/** The context kind of a Big Segment. Compiled segments have it; the public type does not. */
function kindOf(segment: Segment): string {
  return (segment as Segment & { unboundedKind: string }).unboundedKind;
}
