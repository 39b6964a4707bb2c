import {
  type Context,
  createDependencies,
  createEvaluator,
  type Dialect,
  type Flag,
  type FlagResult,
  type Memo,
  type Segment,
  sha1BucketFloat32,
} from '../../lib/evaluation/index.ts';
import type { Item, Kind } from '../../lib/flag-table/index.ts';
import type { Kept } from '../common/kept.ts';
import type { BigSegments, Memberships } from '../ports.ts';
import { createCompiledItems, type ItemReports } from './compiled-items.ts';
import type { Name } from './compiled-versions.ts';
import { createClientView, mayBeSeen } from './evaluated.ts';
import { createFlagLists } from './flag-lists.ts';
import { createUnbounded } from './unbounded.ts';

/** How a change can affect evaluations. */
interface Affected {
  /** Keys of flags whose results may differ: flags among the items, and all that depend on the items. */
  readonly flagKeys: readonly string[];
  /** Whether one of them uses Big Segments, so that `clientView.prepare` has to come first. */
  readonly bigSegments: boolean;
}

interface CompiledReports extends ItemReports {
  /** The results of these flags may differ, although no item changed since the last change was announced. */
  onRefresh(flagKeys: readonly string[]): void;
}

/** What readers get of the items. */
export type Readable = ReturnType<typeof createCompiled>['readable'];

/** The items in compiled form, and what follows from them: evaluations, what depends on what, and what clients may see. */
export function createCompiled(
  view: { get(kind: Kind, key: string): Item | undefined; items(kind: Kind): Iterable<Item> },
  bigSegments: BigSegments | undefined,
  kept: Kept,
  { onRefused, onFailed, onRefresh }: CompiledReports,
) {
  const items = createCompiledItems(view, {
    onRefused,
    onFailed,
    onMoved: changed,
    onLate: (late) => onRefresh(affected(late).flagKeys),
  });
  const { flag, segment, dialect, compile } = items;
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
  const { evaluator, evaluateFlag } = createFlagEvaluation({ flag, segment }, dialect, bigSegments);

  function changed(kind: Kind, key: string): void {
    dependencies.replaced(kind, key);
    if (kind === 'features') lists.changed(key);
  }

  /** Keys of flags that use Big Segments, directly or through others. */
  const usersOfBigSegments = () =>
    dependencies.usersOf(unbounded.segments().map(({ key }) => ({ kind: 'segments', key })));

  function affected(changes: readonly Name[]): Affected {
    const flagKeys = [...dependencies.usersOf(changes)];
    if (!bigSegments || unbounded.segments().length === 0) return { flagKeys, bigSegments: false };
    const users = usersOfBigSegments();
    return { flagKeys, bigSegments: flagKeys.some((key) => users.has(key)) };
  }

  return {
    replaced(item: Item): void {
      items.replaced(item);
      changed(item.kind, item.key);
      if (item.kind === 'segments') unbounded.changed();
    },
    replacingAll: items.replacingAll,
    /** Whether a segment is a Big Segment. */
    hasBigSegments: () => unbounded.segments().length > 0,
    readable: {
      /** Compiled at first use, tombstones included. */
      flag,
      /** Compiled at first use, tombstones included. */
      segment,
      /** Compiled flags that the audience may see, without tombstones, sorted by key: the same in every relay that holds the same items. */
      flags: lists.flags,
      evaluator,
      clientView: createClientView({
        ...lists,
        flag,
        compile,
        isBehind: items.isBehind,
        evaluateFlag,
        onFailed: items.evaluationFailed,
        bigSegments,
        bigSegmentKinds: unbounded.kinds,
        kept,
      }),
      affected,
      /** Memberships in Big Segments changed. */
      bigSegmentsChanged(): void {
        const refresh = () => onRefresh([...usersOfBigSegments()]);
        const compiling = compile();
        if (compiling) void compiling.then(refresh);
        else refresh();
      },
      refusedPatterns: items.refusedPatterns,
      failedItems: items.failedItems,
    },
  };
}

/** Evaluates flags with the memberships in Big Segments that were loaded for the context. */
function createFlagEvaluation(
  lookups: { flag(key: string): Flag | undefined; segment(key: string): Segment | undefined },
  dialect: Dialect,
  bigSegments: BigSegments | undefined,
) {
  /** Those of the evaluation in progress. */
  let memberships: Memberships | undefined;

  /** Flags are never evaluated with the members of another environment's segments, even if a caller forgot to check. */
  function present(): Memberships | undefined {
    return memberships && bigSegments?.isPresent?.(memberships) !== false ? memberships : undefined;
  }

  const evaluator = createEvaluator(
    {
      ...lookups,
      bucket: sha1BucketFloat32,
      ...(bigSegments && { bigSegments: (key: string) => present()?.get(key) ?? { status: 'STORE_ERROR' } }),
    },
    dialect,
  );

  return {
    evaluator,
    evaluateFlag(flag: Flag, context: Context, known: Memberships | undefined, memo?: Memo): FlagResult {
      memberships = known;
      try {
        return evaluator.evaluateFlag(flag, context, memo);
      } finally {
        memberships = undefined;
      }
    },
  };
}
