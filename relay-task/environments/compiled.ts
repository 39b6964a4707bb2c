import {
  type Context,
  createDependencies,
  createEvaluator,
  type Evaluator,
  type Flag,
  type FlagResult,
  type Memo,
  type Segment,
  sha1BucketFloat32,
} from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { Kept } from '../common/kept.ts';
import { parseTextInSlices } from '../common/sliced-text.ts';
import type { BigSegments, ClientView, CredentialKind, FailedItem, Memberships, RefusedPattern } from '../ports.ts';
import { createChase, type Name } from './chase.ts';
import { createCompileRounds } from './compile-rounds.ts';
import { type CompiledItem, compilers, isLong, LITTLE } from './compilers.ts';
import { createClientView, mayBeSeen } from './evaluated.ts';
import { createFailedItems } from './failed-items.ts';
import { createFlagLists } from './flag-lists.ts';
import { withLargeValues } from './large-values.ts';
import { createRefusedPatterns, noRefusals } from './refused-patterns.ts';
import { createUnbounded } from './unbounded.ts';

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

interface CompiledReports {
  /** Called once for each version of an item that has such patterns, with the first one and the number of the others. */
  onRefused(pattern: RefusedPattern, more: number): void;
  /** Called once for each reason in each version of an item. */
  onFailed(item: FailedItem): void;
  /** Later versions of these items count now than when the last change was announced. */
  onLate(items: readonly Name[]): void;
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

  const patterns = createRefusedPatterns(onRefused);
  const { dialect } = patterns;
  const failed = createFailedItems(onFailed);

  /** An item is in force in its compiled form. */
  function keep<K extends Kind>(kind: K, key: string, made: CompiledItem[K]): CompiledItem[K] {
    (caches[kind] as Map<string, CompiledItem[K]>).set(key, made);
    uncompiled[kind].delete(key);
    chase.caught(kind, key);
    patterns.inForce(kind, key);
    return made;
  }

  /** Compilation threw: the item is on and has no variations, so evaluating it gives MALFORMED_FLAG. */
  function failedItem<K extends Kind>(kind: K, { key, version, deleted }: Item, error: unknown): CompiledItem[K] {
    failed.fail(kind, key, error);
    return compilers[kind].whole({ key, version, deleted, on: true }, dialect);
  }

  function compiled<K extends Kind>(kind: K, key: string): CompiledItem[K] | undefined {
    const held = (caches[kind] as Map<string, CompiledItem[K]>).get(key);
    if (held !== undefined) return held;
    const item = view.get(kind, key);
    if (item === undefined) return undefined;
    const earlier = chase.earlier(kind, key);
    if (earlier !== undefined) return earlier;
    patterns.collectIn(noRefusals());
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
    const own = noRefusals();
    const isPresent = () => view.get(kind, key) === item;
    const isWorthIt = chase.begin(kind, key);
    const isNeeded = () => !caches[kind].has(key) && (isPresent() || isWorthIt(view.get(kind, key)));
    try {
      const data = yield* withLargeValues(item, yield* parseTextInSlices(item.json));
      const steps = compilers[kind].inSteps(data, dialect);
      while (isNeeded()) {
        patterns.collectIn(own);
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
      patterns.collectIn(own);
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

  /** Flags are never evaluated with the members of another environment's segments, even if a caller forgot to check. */
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
  const compile = createCompileRounds({
    areMany,
    round: compileRound,
    onOver() {
      // Otherwise what the listeners need would be compiled in one turn.
      if (!areMany()) chase.tell(onLate);
      return chase.isOn;
    },
  });

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
      patterns.forget(kind, key);
      failed.forget(kind, key);
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
      compile,
      isBehind: () => chase.isOn,
      evaluateFlag,
      onFailed: (key, error) => failed.fail('features', key, error),
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
    refusedPatterns: patterns.list,
    failedItems: failed.list,
  };
}
