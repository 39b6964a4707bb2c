import type { Detail } from '../../lib/evaluation/index.ts';
import type { EvaluationContext } from './context.ts';
import type { Reader } from './reader.ts';
import { wrap } from './wrap.ts';

/** One evaluation of a flag. */
export interface Decision {
  readonly flagKey: string;
  readonly context: EvaluationContext;
  readonly fallback: unknown;
  readonly detail: Detail;
  /** How long it took, including what it waited for data. */
  readonly ms: number;
}

export interface ReaderHooks {
  /** Called after each evaluation of a single flag. What it throws is written to the log and harms no answer. */
  onDecision?(decision: Decision): void;
}

export function withHooks(reader: Reader, { onDecision }: ReaderHooks, now: () => number = Date.now): Reader {
  if (!onDecision) return reader;
  const after = (asked: Omit<Decision, 'detail' | 'ms'>, detail: Detail, startedAt: number) => {
    const { flagKey, context, fallback } = asked;
    try {
      onDecision({ flagKey, context, fallback, detail, ms: Math.max(0, now() - startedAt) });
    } catch (error) {
      console.error('edge reader: onDecision threw', error);
    }
    return detail;
  };
  return wrap(reader, { after }, now);
}
