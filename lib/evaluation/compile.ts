import type { Bucketing } from './bucketing.ts';
import { type Clause, compileClauses } from './clause.ts';
import { type ChoiceData, type FlagData, hashPrefix, head, objects, text } from './data.ts';
import { type Dialect, nodeDialect } from './dialect.ts';
import type { Detail, Flag, Reason } from './model.ts';
import { pick, pickOff } from './outcome.ts';
import { compileTarget, countingTargets, type Target } from './targets.ts';

interface Prerequisite {
  readonly key: string;
  readonly variation: number | undefined;
  readonly failed: Detail;
}

interface Rule {
  readonly clauses: readonly Clause[];
  readonly choice: Choice;
  readonly trackEvents: boolean;
}

export type Choice = Detail | Rollout;

/** Variations with weights. */
interface Rollout extends Bucketing {
  readonly entries: readonly RolloutEntry[];
}

interface RolloutEntry {
  /** The upper end of this entry's range. Weights are added one by one, for equal rounding. */
  readonly limit: number;
  readonly detail: Detail;
  /** The detail with `inExperiment`, if this entry is part of an experiment. */
  readonly tracked: Detail;
}

interface FlagBody {
  readonly on: boolean;
  readonly off: Detail;
  readonly prerequisiteKeys: readonly string[];
  readonly segmentKeys: readonly string[];
  readonly prerequisites: readonly Prerequisite[];
  readonly targets: readonly Target<Detail>[];
  readonly rules: readonly Rule[];
  readonly fallthrough: Choice;
}

export interface CompiledFlag extends Flag, FlagBody {
  readonly clientSideAvailability: FlagData['clientSideAvailability'];
  readonly clientSide: FlagData['clientSide'];
}

/**
 * Compiles a flag from its JSON. Never throws; a flag with a part of the wrong type evaluates to MALFORMED_FLAG.
 * Keeps the data and freezes parts of it, so the caller must not change it afterwards. `firstRule`: the index of its first rule.
 */
export function compileFlag(data: unknown, dialect: Dialect = nodeDialect, firstRule = 0): Flag {
  const source = (data || { deleted: true }) as FlagData;
  let body: FlagBody;
  try {
    body = compileBody(dialect.flag?.(source) ?? source, dialect, firstRule);
  } catch {
    // The flag is on and has no variations.
    body = compileBody({ key: '', on: true }, dialect, 0);
  }
  const flag: CompiledFlag = {
    ...head(source),
    clientSideAvailability: source.clientSideAvailability,
    clientSide: source.clientSide,
    trackEvents: !!source.trackEvents,
    trackEventsFallthrough: !!source.trackEventsFallthrough,
    debugEventsUntilDate: source.debugEventsUntilDate ?? undefined,
    samplingRatio: source.samplingRatio as number | undefined,
    excludeFromSummaries: !!source.excludeFromSummaries,
    ...body,
  };
  return flag;
}

function compileBody(source: FlagData, dialect: Dialect, firstRule: number): FlagBody {
  const variations = source.variations ?? [];
  const prefix = hashPrefix(source);
  const off = (reason: Reason) => pickOff(variations, source.offVariation, reason);
  const choiceOf = (data: ChoiceData, reason: Reason) => compileChoice(variations, prefix, data, reason, dialect);
  const segmentKeys = new Set<string>();
  const prerequisites = objects(source.prerequisites).map(({ key, variation }) => ({
    key: text(key ?? ''),
    variation: variation ?? undefined,
    failed: off({ kind: 'PREREQUISITE_FAILED', prerequisiteKey: (key ?? undefined) as string }),
  }));
  const rules = objects(source.rules).map((rule, at) => ({
    clauses: compileClauses(rule.clauses, segmentKeys, dialect),
    choice: choiceOf(rule, {
      kind: 'RULE_MATCH',
      ruleIndex: firstRule + at,
      ...(rule.id != null && { ruleId: rule.id }),
    }),
    trackEvents: !!rule.trackEvents,
  }));
  return {
    on: !!source.on,
    off: off({ kind: 'OFF' }),
    prerequisiteKeys: [...new Set(prerequisites.flatMap(({ key }) => key || []))],
    segmentKeys: [...segmentKeys],
    prerequisites,
    targets: countingTargets(source).map((target) =>
      compileTarget(target, pick(variations, target.variation, { kind: 'TARGET_MATCH' })),
    ),
    rules,
    fallthrough: choiceOf(source.fallthrough ?? {}, { kind: 'FALLTHROUGH' }),
  };
}

/** A variation or a rollout; malformed if there is neither. */
function compileChoice(
  outcomes: ArrayLike<unknown>,
  prefix: string,
  { variation, rollout }: ChoiceData,
  reason: Reason,
  dialect: Dialect,
): Choice {
  const data = rollout ?? {};
  const { kind, variations } = data;
  const experiment = kind === 'experiment';
  const bucketing = dialect.rollout(prefix, data);
  let limit = 0;
  const entries = objects(variations).map((entry) => {
    limit = dialect.limit(limit, entry.weight);
    const detail = pick(outcomes, entry.variation, reason);
    const tracked =
      experiment && !entry.untracked ? pick(outcomes, entry.variation, { ...reason, inExperiment: true }) : detail;
    return { limit, detail, tracked };
  });
  const rolledOut = variation == null && entries.length > 0 && bucketing.by;
  return rolledOut ? { ...bucketing, entries } : pick(outcomes, variation, reason);
}
