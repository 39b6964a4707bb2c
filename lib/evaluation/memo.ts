import type { CompiledFlag } from './compile.ts';
import type { CompiledSegment } from './compile-segment.ts';
import type { BigSegmentsAnswer, Detail, Memo } from './model.ts';

/** A result, and the worst status of the Big Segments that it depends on: an index into STATUSES. */
interface Known<Result> {
  readonly result: Result;
  readonly status: number;
}

interface KnownFlag extends Known<Detail> {
  readonly flag: CompiledFlag;
  readonly met: Met | undefined;
}

/** The last prerequisite that was evaluated for a flag, and those before. */
export interface Met {
  readonly one: KnownFlag;
  readonly before: Met | undefined;
}

/**
 * What evaluations for one context have found out. Only results without a cycle are kept: they are the same wherever a flag is
 * needed, because a flag on the path to them cannot be among those that they need.
 */
export interface EvaluationMemo extends Memo {
  readonly flags: Map<CompiledFlag, KnownFlag>;
  readonly segments: Map<CompiledSegment, Known<boolean | undefined>>;
  /** Answers of the Big Segment store, by context key. */
  readonly answers: Map<string, BigSegmentsAnswer>;
}

/** An empty memo for one context: flags evaluated with the same one share what they have in common. */
export function createMemo(): EvaluationMemo {
  return { work: 0, flags: new Map(), segments: new Map(), answers: new Map() };
}

/** Thrown to evaluate an item first, with a fresh stack: it is needed at a depth of MAX_DEPTH. */
export class TooDeep {
  readonly item: CompiledFlag | CompiledSegment;
  constructor(item: CompiledFlag | CompiledSegment) {
    this.item = item;
  }
}
