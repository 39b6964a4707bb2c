import type { ParsedContext } from './context.ts';
import { list, type TargetData, text } from './data.ts';

/** Keys of one kind, and their result. */
export interface Target<Result> {
  readonly kind: string;
  readonly keys: ReadonlySet<unknown>;
  readonly result: Result;
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
