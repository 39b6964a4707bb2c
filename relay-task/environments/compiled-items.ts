import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { parseTextInSlices } from '../common/sliced-text.ts';
import type { FailedItem, RefusedPattern } from '../ports.ts';
import { createCompileRounds } from './compile-rounds.ts';
import { createCompiledVersions, type Name } from './compiled-versions.ts';
import { type CompiledItem, compilers, isLong, LITTLE } from './compilers.ts';
import { createFailedItems } from './failed-items.ts';
import { withLargeValues } from './large-values.ts';
import { createRefusedPatterns, noRefusals } from './refused-patterns.ts';

/** Problems with items, for the log. */
export interface ItemReports {
  /** Called once for each version of an item that has such patterns, with the first one and the number of the others. */
  onRefused(pattern: RefusedPattern, more: number): void;
  /** Called once for each reason in each version of an item. */
  onFailed(item: FailedItem): void;
}

interface CompiledItemsReports extends ItemReports {
  /** Another version of the item counts now. */
  onMoved(kind: Kind, key: string): void;
  /** Later versions of these items count now than when the last change was announced. */
  onLate(items: readonly Name[]): void;
}

/**
 * Items compiled for evaluation, each at its first use. A large item that was replaced counts in the latest version that was compiled, until
 * `compile` has compiled it: never in one turn.
 */
export function createCompiledItems(
  view: { get(kind: Kind, key: string): Item | undefined },
  reports: CompiledItemsReports,
) {
  const versions = createCompiledVersions(reports.onMoved);
  const patterns = createRefusedPatterns(reports.onRefused);
  const failed = createFailedItems(reports.onFailed);
  const { dialect } = patterns;

  function keep<K extends Kind>(kind: K, key: string, made: CompiledItem[K]): CompiledItem[K] {
    versions.keep(kind, key, made);
    patterns.inForce(kind, key);
    return made;
  }

  /** Compilation threw: the item is on and has no variations, so evaluating it gives MALFORMED_FLAG. */
  function keepFailed<K extends Kind>(kind: K, { key, version, deleted }: Item, error: unknown): CompiledItem[K] {
    failed.fail(kind, key, error);
    return keep(kind, key, compilers[kind].whole({ key, version, deleted, on: true }, dialect));
  }

  function compiled<K extends Kind>(kind: K, key: string): CompiledItem[K] | undefined {
    const known = versions.inUse(kind, key);
    if (known !== undefined) return known;
    const item = view.get(kind, key);
    if (item === undefined) return undefined;
    patterns.collectIn(noRefusals());
    let made: CompiledItem[K];
    try {
      made = compilers[kind].whole(JSON.parse(item.json), dialect);
    } catch (error) {
      return keepFailed(kind, item, error);
    }
    return keep(kind, key, made);
  }

  /**
   * The same in steps. Stops if something that cannot wait compiles the item meanwhile, or if it is replaced; an item that is replaced
   * again and again is compiled to its end all the same.
   */
  function* compileInSteps(kind: Kind, item: Item): Generator<void, void> {
    const { key } = item;
    const own = noRefusals();
    const isPresent = () => view.get(kind, key) === item;
    const isWorthIt = versions.begin(kind, key);
    const isNeeded = () => !versions.isCompiled(kind, key) && (isPresent() || isWorthIt(view.get(kind, key)));
    try {
      const data = yield* withLargeValues(item, yield* parseTextInSlices(item.json));
      const steps = compilers[kind].inSteps(data, dialect);
      while (isNeeded()) {
        patterns.collectIn(own);
        const { done, value } = steps.next();
        if (done) {
          if (isPresent()) keep(kind, key, value);
          else versions.keepLate(kind, key, value);
          return;
        }
        yield;
      }
    } catch (error) {
      if (!isPresent() || versions.isCompiled(kind, key)) return;
      patterns.collectIn(own);
      keepFailed(kind, item, error);
    }
    if (!isPresent()) versions.overtaken(kind, key);
  }

  function* compileRound(): Generator<void, void> {
    for (const item of versions.uncompiled()) {
      const { kind, key } = item;
      if (view.get(kind, key) !== item) continue;
      if (isLong(item)) yield* compileInSteps(kind, item);
      else compiled(kind, key);
      yield;
    }
  }

  return {
    dialect,
    /** Tombstones included. */
    flag: (key: string) => compiled('features', key),
    /** Tombstones included. */
    segment: (key: string) => compiled('segments', key),
    replaced(item: Item): void {
      const { kind, key } = item;
      versions.replaced(item);
      patterns.forget(kind, key);
      failed.forget(kind, key);
    },
    replacingAll: versions.replacingAll,
    isBehind: versions.isBehind,
    compile: createCompileRounds({
      areMany: () => areMany(versions.awaited()),
      round: compileRound,
      onOver() {
        // Otherwise what the listeners need would be compiled in one turn.
        if (!areMany(versions.awaited())) versions.tell(reports.onLate);
        return versions.isBehind();
      },
    }),
    evaluationFailed: (key: string, error: unknown) => failed.fail('features', key, error),
    /** Patterns in the items that were compiled so far: at most 10 of an item and 100 in all. */
    refusedPatterns: patterns.list,
    /** Those whose compilation or evaluation threw, in their present version. */
    failedItems: failed.list,
  };
}

/** Whether compiling the items in one turn would take too long. */
function areMany(items: Iterable<Item>): boolean {
  let characters = 0;
  for (const { json } of items) {
    characters += json.length;
    if (characters > LITTLE) return true;
  }
  return false;
}
