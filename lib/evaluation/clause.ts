import type { ParsedContext } from './context.ts';
import { type ClauseData, list, objects, text } from './data.ts';
import { compileTest, type Test } from './operators.ts';
import { type Path, parseReference, readAttribute } from './reference.ts';

/** One condition, with everything that can be worked out beforehand. */
export interface Clause {
  readonly negate: boolean;
  readonly kind: string;
  /** Undefined: the reference is invalid. */
  readonly path: Path | undefined;
  /** The segments that are asked; undefined for every operator but `segmentMatch`. */
  readonly segments: readonly string[] | undefined;
  readonly test: Test;
}

/** Undefined: malformed. */
export type Match = boolean | undefined;

/** The clauses of a rule; the segments that they name are added to `segmentKeys`. */
export function compileClauses(
  data: readonly ClauseData[] | null | undefined,
  segmentKeys: Set<string>,
): readonly Clause[] {
  // A rule that lacks them never matches, like one whose only clause has an unknown operator.
  return objects(data ?? [{ attribute: 'key' }]).map(({ contextKind, attribute, op, values, negate }) => {
    // Keys are texts; the Node SDK finds numbers among them, too.
    const segments =
      op === 'segmentMatch' ? list(values).flatMap((key) => (typeof key === 'object' ? [] : String(key))) : undefined;
    segments?.forEach((key) => void segmentKeys.add(key));
    return {
      negate: !!negate,
      kind: text(contextKind ?? 'user'),
      // Only a kind beside it makes the text a path.
      path: parseReference(text(attribute ?? ''), !contextKind),
      segments,
      test: compileTest(op as string, list(values)),
    };
  });
}

/** Whether the context's value satisfies the clause: an absent value never does, whatever `negate` says. */
export function matchesAttribute(context: ParsedContext, { path, kind, test, negate }: Clause): Match {
  if (!path) return undefined;
  const value = readAttribute(context, kind, path);
  if (value === undefined || value === null) return false;
  return (Array.isArray(value) ? value.some(test) : test(value)) !== negate;
}
