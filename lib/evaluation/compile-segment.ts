import type { Bucketing } from './bucketing.ts';
import { type Clause, compileClauses } from './clause.ts';
import { hashPrefix, head, list, objects, type SegmentData, type TargetData, text } from './data.ts';
import { type Dialect, nodeDialect } from './dialect.ts';
import type { Segment } from './model.ts';
import { compileTarget, type Target } from './targets.ts';

interface SegmentRule extends Bucketing {
  readonly clauses: readonly Clause[];
  /** The fraction of contexts that match, from 0 to 1; undefined: all. */
  readonly limit: number | undefined;
}

export interface CompiledSegment extends Segment {
  readonly generation: unknown;
  readonly unboundedKind: string;
  /** The included keys, followed by the excluded keys. */
  readonly targets: readonly Target<boolean>[];
  readonly rules: readonly SegmentRule[];
}

/** Compiles a segment from its JSON. Never throws; evaluating a segment with a part of the wrong type makes the flag malformed. */
export function compileSegment(data: unknown, dialect: Dialect = nodeDialect): Segment {
  const source = (data || { deleted: true }) as SegmentData;
  const segment = { ...head(source), unbounded: false, segmentKeys: [] };
  try {
    return { ...segment, ...compileBody(dialect.segment?.(source) ?? source, dialect) };
  } catch {
    // It has no targets and rules, so evaluating it throws the TypeError that becomes MALFORMED_FLAG.
    return segment;
  }
}

function compileBody(source: SegmentData, dialect: Dialect): Omit<CompiledSegment, 'key' | 'version' | 'deleted'> {
  const segmentKeys = new Set<string>();
  return {
    unbounded: !!source.unbounded,
    unboundedKind: text(source.unboundedContextKind || 'user'),
    generation: source.generation,
    targets: [
      ...compileTargets(source.included, source.includedContexts, true, dialect),
      ...compileTargets(source.excluded, source.excludedContexts, false, dialect),
    ],
    rules: objects(source.rules).map(({ clauses, weight, rolloutContextKind, bucketBy }) => ({
      clauses: compileClauses(clauses, segmentKeys, dialect),
      limit: (weight ?? undefined) === undefined ? undefined : dialect.limit(0, weight),
      ...dialect.rollout(hashPrefix(source), { contextKind: rolloutContextKind, bucketBy }),
    })),
    segmentKeys: [...segmentKeys],
  };
}

/** In the Node SDK, the empty key of a legacy user never matches a list. */
function compileTargets(
  keys: SegmentData['included'],
  contexts: SegmentData['includedContexts'],
  isIn: boolean,
  { strict }: Dialect,
) {
  return [{ values: keys } as TargetData, ...objects(contexts)].map((target) =>
    compileTarget({ ...target, values: list(target.values).filter((key) => strict || key) }, isIn),
  );
}

/** The segment's reference in Big Segment stores. */
export function bigSegmentRef(segment: Segment): string {
  return `${segment.key}.g${(segment as CompiledSegment).generation}`;
}
