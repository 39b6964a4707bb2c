import { type Bucketing, compileBucketing } from './bucketing.ts';
import { type Clause, compileClauses } from './clause.ts';
import { hashPrefix, head, list, objects, type SegmentData, type TargetData, text } from './data.ts';
import type { Segment } from './model.ts';
import { compileTarget, type Target } from './targets.ts';

interface SegmentRule extends Bucketing {
  readonly clauses: readonly Clause[];
  /** The share of contexts that match, from 0 to 1; undefined: all. */
  readonly limit: number | undefined;
}

export interface CompiledSegment extends Segment {
  readonly generation: unknown;
  readonly unboundedKind: string;
  /** Who is in, and after them who is not. */
  readonly targets: readonly Target<boolean>[];
  readonly rules: readonly SegmentRule[];
}

/** A segment from its JSON, as `compileFlag`: where one with a part of the wrong type is asked, the flag is malformed. */
export function compileSegment(data: unknown): Segment {
  const source = (data || { deleted: true }) as SegmentData;
  const segment = { ...head(source), unbounded: false, segmentKeys: [] };
  try {
    return { ...segment, ...compileBody(source) };
  } catch {
    // Without targets and rules: reading those throws the TypeError that becomes MALFORMED_FLAG.
    return segment;
  }
}

function compileBody(source: SegmentData): Omit<CompiledSegment, 'key' | 'version' | 'deleted'> {
  const segmentKeys = new Set<string>();
  return {
    unbounded: !!source.unbounded,
    unboundedKind: text(source.unboundedContextKind || 'user'),
    generation: source.generation,
    targets: [
      ...compileTargets(source.included, source.includedContexts, true),
      ...compileTargets(source.excluded, source.excludedContexts, false),
    ],
    rules: objects(source.rules).map(({ clauses, weight, rolloutContextKind, bucketBy }) => ({
      clauses: compileClauses(clauses, segmentKeys),
      limit: (weight ?? undefined) === undefined ? undefined : (weight as number) / 100_000,
      ...compileBucketing(rolloutContextKind, bucketBy, hashPrefix(source)),
    })),
    segmentKeys: [...segmentKeys],
  };
}

/** The empty key of a legacy user is in no list. */
function compileTargets(keys: SegmentData['included'], contexts: SegmentData['includedContexts'], isIn: boolean) {
  return [{ values: keys } as TargetData, ...objects(contexts)].map((target) =>
    compileTarget({ ...target, values: list(target.values).filter((key) => key !== '') }, isIn),
  );
}

/** The name under which stores of Big Segments know this state of the segment. */
export function bigSegmentRef(segment: Segment): string {
  return `${segment.key}.g${(segment as CompiledSegment).generation}`;
}
