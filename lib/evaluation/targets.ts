import type { ParsedContext } from './context.ts';
import { type FlagData, list, objects, type TargetData, text } from './data.ts';

/** Keys of one kind, and their result. */
export interface Target<Result> {
  readonly kind: string;
  readonly keys: ReadonlySet<unknown>;
  readonly result: Result;
}

/**
 * The targets of a flag that count: if there are `contextTargets`, only they. Each that stands for another one (`isReference`) is replaced by
 * the first of `targets` with the same variation; `absent` is that of one that names none. Where several stand for the same one, only the first
 * can decide: copies would take memory by the product of both lists. May throw a TypeError.
 */
export function countingTargets(
  data: FlagData,
  isReference = ({ contextKind }: TargetData): boolean => !contextKind || contextKind === 'user',
  absent?: number,
): readonly TargetData[] {
  const targets = objects(data.targets);
  const contextTargets = objects(data.contextTargets);
  const variationOf = (target: TargetData) => target.variation ?? absent;
  // Of several with the same variation, the first one overwrites the others.
  const firsts = new Map(targets.map((target) => [variationOf(target), target] as const).reverse());
  const counting = contextTargets
    .map((target) => (isReference(target) ? firsts.get(variationOf(target)) : target))
    .filter((target) => target !== undefined);
  return contextTargets[0] ? [...new Set(counting)] : targets;
}

export function compileTarget<Result>({ contextKind, values }: TargetData, result: Result): Target<Result> {
  return { kind: text(contextKind ?? 'user'), keys: new Set(list(values)), result };
}

/** The result of the first target that contains the context's key, if any. */
export function findTarget<Result>(context: ParsedContext, targets: readonly Target<Result>[]): Result | undefined {
  for (let i = 0; i < targets.length; i++) {
    const { kind, keys, result } = targets[i]!;
    if (keys.has(context.keyOf(kind))) return result;
  }
  return undefined;
}
