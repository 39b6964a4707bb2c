import { flagsState } from './all-flags.ts';
import type { CompiledFlag } from './compile.ts';
import type { ParsedContext } from './context.ts';
import { nodeDialect } from './dialect.ts';
import { evaluateRoot, type Run, STATUSES } from './evaluate.ts';
import { createMemo, type EvaluationMemo } from './memo.ts';
import type {
  Context,
  Detail,
  Evaluate,
  Evaluator,
  EvaluatorOptions,
  Flag,
  FlagResult,
  Memo,
  Prerequisites,
} from './model.ts';
import { errorDetail, MALFORMED } from './outcome.ts';

/** An evaluator that looks up flags and segments synchronously. It keeps nothing between calls but what the last one met. */
export function createEvaluator(options: EvaluatorOptions, dialect = nodeDialect): Evaluator {
  let met: Prerequisites | undefined;

  function settle(flag: Flag, context: Context, memo?: Memo): Detail {
    const run: Run = {
      options,
      dialect,
      context: context as ParsedContext,
      met: undefined,
      status: 0,
      work: 0,
      flagCycles: 0,
      segmentCycles: 0,
      flagPath: undefined,
      segmentPath: undefined,
      memo: memo as EvaluationMemo | undefined,
    };
    let detail: Detail;
    try {
      detail = evaluateRoot(run, flag as CompiledFlag);
    } catch (error) {
      detail = error instanceof TypeError ? MALFORMED : errorDetail('EXCEPTION');
    }
    met = run.flagPath?.length ? {} : run.met;
    if (memo) memo.work += run.work;
    const bigSegmentsStatus = STATUSES[run.status];
    return bigSegmentsStatus ? { ...detail, reason: { ...detail.reason, bigSegmentsStatus } } : detail;
  }

  /** An evaluation method. If the flag or the context is missing, the fallback is returned without a type check. */
  function method<T>(type?: string): Evaluate<T> {
    const evaluate: Evaluate<unknown> = (flagKey, rawContext, fallback) => {
      const context = dialect.context(rawContext);
      if (!context) return errorDetail('USER_NOT_SPECIFIED', fallback);
      let flag: Flag | undefined;
      try {
        flag = options.flag(flagKey);
      } catch {
        return errorDetail('EXCEPTION', fallback);
      }
      if (!flag || flag.deleted) return errorDetail('FLAG_NOT_FOUND', fallback);
      const detail = settle(flag, context);
      const answer = detail.variationIndex === null ? { ...detail, value: fallback } : detail;
      return type && typeof answer.value !== type ? errorDetail('WRONG_TYPE', fallback) : answer;
    };
    return evaluate as Evaluate<T>;
  }

  function evaluateFlag(flag: Flag, context: Context, memo?: Memo): FlagResult {
    const detail = settle(flag, context, memo);
    const prerequisites: string[] = [];
    for (; met?.one; met = met.before) prerequisites.push(met.one.flag.key);
    return { detail, prerequisites: prerequisites.reverse(), isExperiment: isExperiment(flag, detail) };
  }

  const evaluate = method();
  return {
    evaluate,
    boolVariation: method<boolean>('boolean'),
    stringVariation: method<string>('string'),
    numberVariation: method<number>('number'),
    jsonVariation: evaluate,
    allFlagsState: (context, wanted) => {
      const memo = createMemo();
      return flagsState(dialect.context(context), wanted, (flag, parsed) => evaluateFlag(flag, parsed, memo));
    },
    evaluateFlag,
    met: () => met,
  };
}

/** Whether events about this answer must be sent in full, with the reason. */
export function isExperiment(flag: Flag, { reason }: Detail): boolean {
  if (reason.inExperiment) return true;
  if (reason.kind === 'RULE_MATCH') return (flag as CompiledFlag).rules[reason.ruleIndex]?.trackEvents === true;
  return reason.kind === 'FALLTHROUGH' && flag.trackEventsFallthrough;
}
