import type { ParsedContext } from './context.ts';
import { type ClauseData, list, objects, text } from './data.ts';
import type { Dialect } from './dialect.ts';
import type { Test } from './operators.ts';
import { type Path, readAttribute } from './reference.ts';
import { countWork, type Effort, effortOf, type Work } from './work.ts';

/** One condition, with everything precomputed that does not depend on the context. */
export interface Clause extends Effort {
  readonly negate: boolean;
  readonly kind: string;
  /** Undefined: the reference is invalid. */
  readonly path: Path | undefined;
  /** Keys of the segments to check; undefined for every operator except `segmentMatch`. */
  readonly segments: readonly string[] | undefined;
  readonly test: Test;
}

/** Undefined: malformed. */
export type Match = boolean | undefined;

/** Compiles the clauses of a rule. Adds the keys of the segments that they refer to, to `segmentKeys`. */
export function compileClauses(
  data: readonly ClauseData[] | null | undefined,
  segmentKeys: Set<string>,
  dialect: Dialect,
): readonly Clause[] {
  // A rule without `clauses` never matches: the stand-in clause has no operator.
  return objects(data ?? [{ attribute: 'key' }]).map(({ contextKind, attribute, op, values, negate }) => {
    // Segment keys are strings, but the Node SDK accepts numbers, too.
    const segments =
      op === 'segmentMatch' ? list(values).flatMap((key) => (typeof key === 'object' ? [] : String(key))) : undefined;
    segments?.forEach((key) => void segmentKeys.add(key));
    const test = dialect.test(op as string, list(values));
    return {
      negate: !!negate,
      kind: text(contextKind ?? 'user'),
      // The attribute is a path only if a kind is given.
      path: dialect.path(text(attribute ?? ''), !contextKind),
      segments,
      test,
      ...(test.effort ?? effortOf(op, list(values).length)),
    };
  });
}

/** Whether the context's value satisfies the clause. An absent value never does, even with `negate`. */
export function matchesAttribute(run: Work, context: ParsedContext, clause: Clause): Match {
  const { path, kind } = clause;
  if (!path) return undefined;
  const value = readAttribute(context, kind, path);
  if (value === undefined || value === null) return false;
  return (Array.isArray(value) ? passesAny(run, value, clause) : passes(run, value, clause)) !== clause.negate;
}

function passesAny(run: Work, values: readonly unknown[], clause: Clause): boolean {
  return values.some((value) => passes(run, value, clause));
}

function passes(run: Work, value: unknown, { test, perValue, perCharacter }: Clause): boolean {
  countWork(run, typeof value === 'string' ? perValue + value.length * perCharacter : perValue);
  return test(value);
}
