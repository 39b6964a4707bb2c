import type { Detail } from '../../lib/evaluation/index.ts';
import type { EvaluationContext } from './context.ts';
import { harmless } from './harmless.ts';
import type { WatchedReader } from './reader.ts';
import { createStateLog, type Logger } from './state-log.ts';
import { wrap } from './wrap.ts';

/** One evaluation of a flag. */
export interface Decision {
  readonly flagKey: string;
  readonly context: EvaluationContext;
  readonly fallback: unknown;
  readonly detail: Detail;
  /** How long it took, including the wait for data. */
  readonly ms: number;
  /** Another service of a call chain decided it, with data of its own. */
  readonly elsewhere?: boolean;
}

/** If a hook throws, the error is logged and no answer is affected. */
export interface ReaderHooks {
  /** Called after each evaluation of a single flag. */
  onDecision?(decision: Decision): void;
  /**
   * Called when a refresh finds that flags' answers may differ, with their keys: those that LaunchDarkly's Node SDK emits as `update`. Nothing
   * runs in a frozen process, so it is called with the evaluation that waits for the refresh, or before the next one.
   */
  onChange?(flagKeys: readonly string[]): void;
  /** Gets what hooks throw and, after the evaluation that finds it, each change of the data's state. Default: the console, only for the former. */
  readonly logger?: Logger | undefined;
}

export function withHooks(
  reader: WatchedReader,
  { onDecision, onChange, logger }: ReaderHooks,
  now: () => number = Date.now,
): WatchedReader {
  const hooked: WatchedReader = {
    ...reader,
    onChange: (listener) => reader.onChange(harmless('onChange', listener, logger)),
  };
  if (onChange) hooked.onChange(onChange);
  if (!onDecision && !logger) return hooked;
  const decided = onDecision && harmless('onDecision', onDecision, logger);
  const tell =
    logger &&
    createStateLog(
      harmless('logger', ({ level, message, reason }) =>
        logger[level](`edge reader: ${message}${reason === undefined ? '' : `: ${reason}`}`),
      ),
    );
  const after = (asked: Omit<Decision, 'detail' | 'ms'>, detail: Detail, startedAt: number) => {
    const { flagKey, context, fallback } = asked;
    decided?.({ flagKey, context, fallback, detail, ms: Math.max(0, now() - startedAt) });
    tell?.(reader.status());
    return detail;
  };
  return wrap(hooked, { after }, now);
}
