import { completeFlag, completeSegment, type Fields } from '../complete.ts';
import type { ClauseData, FlagData, RolloutData, SegmentData, TargetData } from '../data.ts';
import { list, objects } from '../data.ts';
import { countingTargets } from '../targets.ts';
import { USER_AMONG_OTHERS } from './context.ts';
import { toInt64 } from './dates.ts';

/** A flag as the Go evaluator reads it: absent lists are empty, an absent variation is the first, and weights are whole. */
export function readGoFlag(data: FlagData): FlagData {
  const flag = completeFlag(data as Fields) as FlagData;
  return {
    ...flag,
    targets: goTargetsOf(flag),
    contextTargets: [],
    rules: objects(flag.rules).map((rule) => ({
      ...rule,
      clauses: objects(rule.clauses).map(readClause),
      ...(rule.rollout && { rollout: readRollout(rule.rollout) }),
    })),
    ...(flag.fallthrough?.rollout && {
      fallthrough: { ...flag.fallthrough, rollout: readRollout(flag.fallthrough.rollout) },
    }),
  };
}

/** A segment as the Go evaluator reads it. */
export function readGoSegment(data: SegmentData): SegmentData {
  const segment = completeSegment(data as Fields) as SegmentData;
  const { generation } = segment;
  return {
    ...segment,
    // As text, because 0 is a generation, too.
    ...(typeof generation === 'number' && { generation: `${generation}` as unknown as number }),
    includedContexts: objects(segment.includedContexts).map(amongOthers),
    excludedContexts: objects(segment.excludedContexts).map(amongOthers),
    rules: objects(segment.rules).map((rule) => ({
      ...rule,
      clauses: objects(rule.clauses).map(readClause),
      ...(typeof rule.weight === 'number' && { weight: whole(rule.weight) }),
    })),
  };
}

/** A target for users among `contextTargets` stands for one of `targets`, unless it has keys itself. From completed data or other. */
export function goTargetsOf(flag: FlagData): readonly TargetData[] {
  const isUser = (kind: unknown) => (kind ?? '') === '' || kind === 'user';
  return countingTargets(flag, ({ contextKind, values }) => isUser(contextKind) && list(values).length === 0, 0);
}

/** The lists by kind of a segment do not count for a context that is a user and nothing else. */
function amongOthers(target: TargetData): TargetData {
  return (target.contextKind ?? 'user') === 'user' ? { ...target, contextKind: USER_AMONG_OTHERS } : target;
}

function readClause(clause: ClauseData): ClauseData {
  const values = list(clause.values);
  return clause.op === 'segmentMatch'
    ? { ...clause, values: values.filter((value) => typeof value === 'string') }
    : clause;
}

function readRollout(rollout: RolloutData): RolloutData {
  return {
    ...rollout,
    variations: objects(rollout.variations).map((entry) => ({ ...entry, weight: whole(entry.weight) })),
  };
}

function whole(weight: number | null | undefined): number {
  return Number(toInt64(weight ?? 0));
}
