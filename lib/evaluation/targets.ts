import type { ParsedContext } from './context.ts';
import { list, type TargetData, text } from './data.ts';

/** Keys of one kind, and what is decided for them. */
export interface Target<Result> {
  readonly kind: string;
  readonly keys: ReadonlySet<unknown>;
  readonly result: Result;
}

export function compileTarget<Result>({ contextKind, values }: TargetData, result: Result): Target<Result> {
  return { kind: text(contextKind ?? 'user'), keys: new Set(list(values)), result };
}

/** What the first target that names the context decides, if there is one. */
export function findTarget<Result>(context: ParsedContext, targets: readonly Target<Result>[]): Result | undefined {
  for (let i = 0; i < targets.length; i++) {
    const { kind, keys, result } = targets[i]!;
    if (keys.has(context.keyOf(kind))) return result;
  }
  return undefined;
}
