import { type Bucketing, bucketOf, compileBucketing } from './bucketing.ts';
import { type ParsedContext, parseContext } from './context.ts';
import type { FlagData, RolloutData, SegmentData, TargetData } from './data.ts';
import type { Bucket } from './model.ts';
import { compileTest, type Test, type TextPattern } from './operators.ts';
import { type Path, parseReference } from './reference.ts';
import type { Work } from './work.ts';

/**
 * Where LaunchDarkly's evaluators disagree; everything else is the same for all of them. The names are those of what the methods
 * make, and occur elsewhere, which keeps edge bundles small.
 */
export interface Dialect {
  /**
   * Whether a malformed clause ends the evaluation at once, a prerequisite with a malformed result is one that is not met, and the
   * key of a legacy user may be empty in segments.
   */
  readonly strict?: boolean;
  /** Undefined: the context is invalid. */
  context(value: unknown): ParsedContext | undefined;
  /** What the evaluator makes of a flag's JSON; absent: it takes it as it is. May throw a TypeError. */
  flag?(data: FlagData): FlagData;
  segment?(data: SegmentData): SegmentData;
  /** The targets of a flag that count, from its JSON; absent: those of `countingTargets`. May throw a TypeError. */
  targets?(data: FlagData): readonly TargetData[];
  /** From an attribute reference, or from an attribute's name if `literal`. Undefined: it is invalid. */
  path(text: string, literal: boolean): Path | undefined;
  /** For an operator and the clause's values. */
  test(op: string, values: readonly unknown[]): Test;
  /** `prefix`: what is hashed before the value if there is no seed. */
  rollout(prefix: string, data: RolloutData): Bucketing;
  /** Undefined: the context lacks the kind, and the dialect tells this from a bucket of 0. */
  bucket(run: Work, context: ParsedContext, bucketing: Bucketing, bucket: Bucket): number | undefined;
  /** The upper end of a range of this weight that begins at `from`. */
  limit(from: number, weight: number | null | undefined): number;
}

/** LaunchDarkly's Node server SDK 9.13, quirks included. */
export const nodeDialect: Dialect = {
  context: parseContext,
  path: parseReference,
  test: compileTest,
  rollout: compileBucketing,
  bucket: bucketOf,
  // An absent weight makes this limit and the following ones NaN, which no bucket is below.
  limit: (from, weight) => from + (weight ?? undefined)! / 100_000,
};

/** The same with other regular expressions. `compilePattern`: undefined if a pattern is invalid, which then never matches. */
export function createNodeDialect(compilePattern: (source: string) => TextPattern | undefined): Dialect {
  return { ...nodeDialect, test: (op, values) => compileTest(op, values, compilePattern) };
}
