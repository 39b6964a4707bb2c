import { type Clause, type Match, matchesAttribute } from './clause.ts';
import type { Choice, CompiledFlag } from './compile.ts';
import { bigSegmentRef, type CompiledSegment } from './compile-segment.ts';
import type { ParsedContext } from './context.ts';
import type { Dialect } from './dialect.ts';
import type { BigSegmentsAnswer, BigSegmentsStatus, Detail, EvaluatorOptions } from './model.ts';
import { BROKEN } from './outcome.ts';
import { findTarget } from './targets.ts';

/** From best to worst. The first entry means that no Big Segment was queried. */
export const STATUSES = ['', 'HEALTHY', 'STALE', 'STORE_ERROR', 'NOT_CONFIGURED'] as const;

/** One evaluation of one flag for one context. The hot path uses index loops: iterators make it 20 % slower. */
export interface Run {
  readonly options: EvaluatorOptions;
  readonly dialect: Dialect;
  readonly context: ParsedContext;
  /** The flag's direct prerequisites that were evaluated, in order. */
  readonly prerequisites: string[];
  /** The worst status of the Big Segments that were queried: an index into STATUSES. */
  status: number;
  // The rest is created on demand, since most evaluations do not need it.
  /** The keys of the prerequisites and segments that are currently being evaluated, to detect cycles. */
  flagPath: string[] | undefined;
  segmentPath: string[] | undefined;
  /** Answers of the Big Segment store, by context key. */
  answers: Map<string, BigSegmentsAnswer> | undefined;
}

/**
 * Evaluates a flag by LaunchDarkly's rules for server-side SDKs.
 * Throws a TypeError when it reaches a malformed segment.
 */
export function evaluateIn(run: Run, flag: CompiledFlag): Detail {
  if (!flag.on) return flag.off;
  const { prerequisites, targets, rules } = flag;
  const early =
    (prerequisites.length > 0 ? failedPrerequisite(run, flag) : undefined) ?? findTarget(run.context, targets);
  if (early) return early;
  for (let i = 0; i < rules.length; i++) {
    const { clauses, choice } = rules[i]!;
    const match = matchesAll(run, clauses);
    if (match) return choose(run, choice);
    if (match === undefined) return BROKEN;
  }
  return choose(run, flag.fallthrough);
}

function choose({ context, options, dialect }: Run, choice: Choice): Detail {
  if (!('entries' in choice)) return choice;
  const { entries } = choice;
  const bucket = dialect.bucket(context, choice, options.bucket) ?? 0;
  for (let i = 0; i < entries.length; i++) {
    const { limit, detail, tracked } = entries[i]!;
    // A context without the kind gets a variation, but does not take part in the experiment.
    if (bucket < limit) return context.ofKind(choice.kind) ? tracked : detail;
  }
  return entries.at(-1)!.tracked;
}

function failedPrerequisite(run: Run, flag: CompiledFlag): Detail | undefined {
  const { strict } = run.dialect;
  run.flagPath ??= [];
  const { flagPath } = run;
  let failure: Detail | undefined;
  for (let i = 0; i < flag.prerequisites.length; i++) {
    const { key, variation, failed } = flag.prerequisites[i]!;
    if (flagPath.includes(key)) {
      // A cycle. The Node SDK continues: a later failed prerequisite takes precedence.
      failure = BROKEN;
      if (strict) break;
      continue;
    }
    const other = run.options.flag(key) as CompiledFlag | undefined;
    if (!other || other.deleted) return failed;
    flagPath.push(key);
    const detail = evaluateIn(run, other);
    flagPath.pop();
    if (strict && detail === BROKEN) return detail;
    if (flagPath.length === 0) run.prerequisites.push(other.key);
    if (!strict && detail.reason.kind === 'ERROR') return detail;
    if (detail.reason.kind === 'OFF' || detail.variationIndex !== variation) return failed;
  }
  return failure;
}

/** In the Node SDK, a malformed clause counts as matched; it is an error only if it is the last clause evaluated. */
function matchesAll(run: Run, clauses: readonly Clause[]): Match {
  let last: Match = true;
  for (let i = 0; i < clauses.length; i++) {
    const clause = clauses[i]!;
    last = clause.segments
      ? matchesSegment(run, clause.segments, clause.negate)
      : matchesAttribute(run.context, clause);
    if (last === false || (run.dialect.strict && !last)) return last;
  }
  return last;
}

function matchesSegment(run: Run, keys: readonly string[], negate: boolean): Match {
  run.segmentPath ??= [];
  for (let i = 0; i < keys.length; i++) {
    const segment = run.options.segment(keys[i]!) as CompiledSegment | undefined;
    if (!segment || segment.deleted) continue;
    // Compares the segments' own keys: LaunchDarkly's evaluators treat two segments with the same key as a cycle.
    if (run.segmentPath.includes(segment.key)) return undefined;
    run.segmentPath.push(segment.key);
    const match = segment.unbounded
      ? isBigMember(run, segment)
      : (findTarget(run.context, segment.targets) ?? matchesRule(run, segment));
    run.segmentPath.pop();
    if (match !== false) return match && !negate;
  }
  return negate;
}

function matchesRule(run: Run, segment: CompiledSegment): Match {
  for (let i = 0; i < segment.rules.length; i++) {
    const rule = segment.rules[i]!;
    const match = matchesAll(run, rule.clauses);
    if (match === undefined) return match;
    if (!match) continue;
    if (rule.limit === undefined) return true;
    if (!rule.by) return undefined;
    if (run.dialect.bucket(run.context, rule, run.options.bucket)! < rule.limit) return true;
  }
  return false;
}

function isBigMember(run: Run, segment: CompiledSegment): Match {
  const key = run.context.keyOf(segment.unboundedKind);
  const known = run.dialect.strict ? key !== undefined : key;
  if (!segment.generation && (known || run.dialect.strict)) noteStatus(run, 'NOT_CONFIGURED');
  if (!known || !segment.generation) return false;
  return membershipOf(run, key!)?.[bigSegmentRef(segment)] ?? matchesRule(run, segment);
}

function membershipOf(run: Run, key: string): BigSegmentsAnswer['membership'] {
  run.answers ??= new Map();
  let answer = run.answers.get(key);
  if (!answer) {
    try {
      answer = run.options.bigSegments?.(key) ?? { status: 'NOT_CONFIGURED' };
    } catch {
      answer = { status: 'STORE_ERROR' };
    }
    run.answers.set(key, answer);
    noteStatus(run, answer.status);
  }
  return answer.membership;
}

function noteStatus(run: Run, status: BigSegmentsStatus): void {
  run.status = Math.max(run.status, STATUSES.indexOf(status));
}
