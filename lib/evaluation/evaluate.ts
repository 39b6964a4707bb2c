import { type Clause, type Match, matchesAttribute } from './clause.ts';
import type { Choice, CompiledFlag } from './compile.ts';
import { bigSegmentRef, type CompiledSegment } from './compile-segment.ts';
import type { ParsedContext } from './context.ts';
import type { Dialect } from './dialect.ts';
import { createMemo, type EvaluationMemo, type Met, TooDeep } from './memo.ts';
import type { BigSegmentsAnswer, BigSegmentsStatus, Detail, EvaluatorOptions } from './model.ts';
import { BROKEN } from './outcome.ts';
import { findTarget } from './targets.ts';
import { countWork, type Work } from './work.ts';

/** From best to worst. The first entry means that no Big Segment was queried. */
export const STATUSES = ['', 'HEALTHY', 'STALE', 'STORE_ERROR', 'NOT_CONFIGURED'] as const;

/** Levels of prerequisites, or of segments in segments, on the stack at once. Deeper items are evaluated first, by themselves. */
const MAX_DEPTH = 100;
/** The cost of a prerequisite or a segment, in nanoseconds: one evaluation may visit 20,000 of them. */
const PER_ITEM = 1_250;
/** Without segments of its own, a segment with fewer rules is evaluated again as fast as it is looked up. */
const FEW_RULES = 8;

/** One evaluation of one flag for one context. The hot path uses index loops: iterators make it 20 % slower. */
export interface Run extends Work {
  readonly options: EvaluatorOptions;
  readonly dialect: Dialect;
  readonly context: ParsedContext;
  /** The prerequisites that were evaluated for the flag that is being evaluated. */
  met: Met | undefined;
  /** The worst status of the Big Segments that were queried: an index into STATUSES. */
  status: number;
  /** How often a cycle was found, in each of the paths. What was evaluated meanwhile depends on the path to it. */
  flagCycles: number;
  segmentCycles: number;
  // The rest is created on demand, since most evaluations do not need it.
  /** The keys of the prerequisites and segments that are currently being evaluated, to detect cycles. What broke off leaves them there. */
  flagPath: string[] | undefined;
  segmentPath: string[] | undefined;
  /** Shared with other evaluations for the same context, or of this evaluation alone. */
  memo: EvaluationMemo | undefined;
}

/**
 * Evaluates a flag by LaunchDarkly's rules for server-side SDKs; with a shared memo, each flag and each segment with many rules
 * at most once.
 * Throws a TypeError when it reaches a malformed segment, or costs too much work.
 */
export function evaluateRoot(run: Run, flag: CompiledFlag): Detail {
  const shared = run.memo?.flags;
  const known = shared?.get(flag);
  if (known) {
    run.status = known.status;
    run.met = known.met;
    return known.result;
  }
  const detail = evaluateAtAnyDepth(run, flag);
  if (shared && run.flagCycles === 0) shared.set(flag, { flag, result: detail, status: run.status, met: run.met });
  return detail;
}

function evaluateAtAnyDepth(run: Run, flag: CompiledFlag): Detail {
  try {
    return evaluateIn(run, flag);
  } catch (error) {
    if (error instanceof TooDeep) return evaluateDeepest(run, flag, error.item);
    throw error;
  }
}

/** Items that are needed at a great depth are evaluated first, so that they are known when their turn comes. */
function evaluateDeepest(run: Run, flag: CompiledFlag, first: CompiledFlag | CompiledSegment): Detail {
  /** Each with the path to it from the one before. */
  const waiting: { readonly item: CompiledFlag | CompiledSegment; readonly path: readonly string[] }[] = [];
  /** The keys of all these paths. */
  const flagKeys = new Set<string>();
  const segmentKeys = new Set<string>();
  /** False: it is in a cycle of great length. */
  const postpone = (item: CompiledFlag | CompiledSegment): boolean => {
    const path = (isFlag(item) ? run.flagPath : run.segmentPath) ?? [];
    const keys = isFlag(item) ? flagKeys : segmentKeys;
    if (path.some((key) => keys.has(key))) return false;
    for (const key of path) keys.add(key);
    waiting.push({ item, path });
    return true;
  };
  let canGoOn = postpone(first);
  while (canGoOn) {
    run.status = 0;
    run.flagPath = [];
    run.segmentPath = [];
    run.met = undefined;
    const { item, path = [] } = waiting.at(-1) ?? {};
    try {
      if (!item) return evaluateIn(run, flag);
      const cycles = run.flagCycles + run.segmentCycles;
      if (isFlag(item)) evaluatePrerequisite(run, item.key, item);
      else evaluateSegment(run, item);
      // Its result is not known for good: there is a cycle at a great depth.
      if (run.flagCycles + run.segmentCycles > cycles) break;
      for (const key of path) (isFlag(item) ? flagKeys : segmentKeys).delete(key);
      waiting.pop();
    } catch (error) {
      if (!(error instanceof TooDeep)) throw error;
      canGoOn = postpone(error.item);
    }
  }
  // For good.
  run.flagPath = [flag.key];
  return BROKEN;
}

function isFlag(item: CompiledFlag | CompiledSegment): item is CompiledFlag {
  return 'prerequisites' in item;
}

function evaluateIn(run: Run, flag: CompiledFlag): Detail {
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

function choose(run: Run, choice: Choice): Detail {
  if (!('entries' in choice)) return choice;
  const { context, options, dialect } = run;
  const { entries } = choice;
  const bucket = dialect.bucket(run, context, choice, options.bucket) ?? 0;
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
      run.flagCycles++;
      failure = BROKEN;
      if (strict) break;
      continue;
    }
    const other = run.options.flag(key) as CompiledFlag | undefined;
    if (!other || other.deleted) return failed;
    if (flag.prerequisites.length > 1 || other.prerequisites.length > 0) run.memo ??= createMemo();
    const detail = evaluatePrerequisite(run, key, other);
    if (strict && detail === BROKEN) {
      run.met = run.met?.before;
      return detail;
    }
    if (!strict && detail.reason.kind === 'ERROR') return detail;
    if (detail.reason.kind === 'OFF' || detail.variationIndex !== variation) return failed;
  }
  return failure;
}

/** Once, if there is a memo. */
function evaluatePrerequisite(run: Run, key: string, flag: CompiledFlag): Detail {
  countWork(run, PER_ITEM);
  const flags = run.memo?.flags;
  const known = flags?.get(flag);
  if (known) {
    run.met = { one: known, before: run.met };
    run.status = Math.max(run.status, known.status);
    return known.result;
  }
  const { status, flagCycles, met } = run;
  const flagPath = run.flagPath!;
  if (flagPath.length >= MAX_DEPTH && flag.prerequisites.length > 0) throw new TooDeep(flag);
  run.status = 0;
  flagPath.push(key);
  run.met = undefined;
  const result = evaluateIn(run, flag);
  flagPath.pop();
  const one = { flag, result, status: run.status, met: run.met };
  run.met = { one, before: met };
  if (run.flagCycles === flagCycles) flags?.set(flag, one);
  run.status = Math.max(run.status, status);
  return result;
}

/** In the Node SDK, a malformed clause counts as matched; it is an error only if it is the last clause evaluated. */
function matchesAll(run: Run, clauses: readonly Clause[]): Match {
  let last: Match = true;
  for (let i = 0; i < clauses.length; i++) {
    const clause = clauses[i]!;
    last = clause.segments
      ? matchesSegment(run, clause.segments, clause.negate)
      : matchesAttribute(run, run.context, clause);
    if (last === false || (run.dialect.strict && !last)) return last;
  }
  return last;
}

function matchesSegment(run: Run, keys: readonly string[], negate: boolean): Match {
  run.segmentPath ??= [];
  for (let i = 0; i < keys.length; i++) {
    const segment = run.options.segment(keys[i]!) as CompiledSegment | undefined;
    if (!segment || segment.deleted) continue;
    const hasOtherKey = segment.key !== keys[i];
    // Compares the segments' own keys: LaunchDarkly's evaluators treat two segments with the same key as a cycle. So whatever
    // refers to a segment by another key depends on the path.
    if (hasOtherKey) run.segmentCycles++;
    if (run.segmentPath.includes(segment.key)) {
      run.segmentCycles++;
      return undefined;
    }
    countWork(run, PER_ITEM);
    const match =
      segment.segmentKeys.length > 0 || segment.rules.length > FEW_RULES
        ? evaluateSegment(run, segment)
        : isMember(run, segment);
    if (match !== false) return match && !negate;
  }
  return negate;
}

/** At most once for each context. */
function evaluateSegment(run: Run, segment: CompiledSegment): Match {
  run.memo ??= createMemo();
  const { segments } = run.memo;
  const known = segments.get(segment);
  if (known) {
    run.status = Math.max(run.status, known.status);
    return known.result;
  }
  const { status, segmentCycles } = run;
  const segmentPath = run.segmentPath!;
  if (segmentPath.length >= MAX_DEPTH) throw new TooDeep(segment);
  run.status = 0;
  segmentPath.push(segment.key);
  const result = isMember(run, segment);
  segmentPath.pop();
  if (run.segmentCycles === segmentCycles) segments.set(segment, { result, status: run.status });
  run.status = Math.max(run.status, status);
  return result;
}

function isMember(run: Run, segment: CompiledSegment): Match {
  return segment.unbounded
    ? isBigMember(run, segment)
    : (findTarget(run.context, segment.targets) ?? matchesRule(run, segment));
}

function matchesRule(run: Run, segment: CompiledSegment): Match {
  for (let i = 0; i < segment.rules.length; i++) {
    const rule = segment.rules[i]!;
    const match = matchesAll(run, rule.clauses);
    if (match === undefined) return match;
    if (!match) continue;
    if (rule.limit === undefined) return true;
    if (!rule.by) return undefined;
    if (run.dialect.bucket(run, run.context, rule, run.options.bucket)! < rule.limit) return true;
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
  run.memo ??= createMemo();
  const { answers } = run.memo;
  let answer = answers.get(key);
  if (!answer) {
    try {
      answer = run.options.bigSegments?.(key) ?? { status: 'NOT_CONFIGURED' };
    } catch {
      answer = { status: 'STORE_ERROR' };
    }
    answers.set(key, answer);
  }
  noteStatus(run, answer.status);
  return answer.membership;
}

function noteStatus(run: Run, status: BigSegmentsStatus): void {
  run.status = Math.max(run.status, STATUSES.indexOf(status));
}
