import type { Detail } from '../../lib/evaluation/index.ts';
import type { Reader } from './reader.ts';

/** One evaluation of a flag. */
export interface Decision {
  readonly flagKey: string;
  /** As the caller gave it. */
  readonly context: unknown;
  readonly fallback: unknown;
  readonly detail: Detail;
  /** How long it took, including what it waited for data. */
  readonly ms: number;
}

export interface ReaderHooks {
  /** Called after each evaluation of a single flag. What it throws is written to the log and harms no answer. */
  onDecision?(decision: Decision): void;
}

type Ask<V> = (flagKey: string, context: unknown, fallback: V) => Promise<Detail<V>>;

/** The same reader with hooks. It is made from outside, so that a bundle without hooks does not carry them. */
export function withHooks(reader: Reader, { onDecision }: ReaderHooks, now: () => number = Date.now): Reader {
  if (!onDecision) return reader;

  function decided<V>(flagKey: string, context: unknown, fallback: V, detail: Detail<V>, startedAt: number) {
    try {
      onDecision?.({ flagKey, context, fallback, detail, ms: Math.max(0, now() - startedAt) });
    } catch (error) {
      console.error('edge reader: onDecision threw', error);
    }
    return detail;
  }

  const both = <V>(ask: Ask<V>) => {
    const detail: Ask<V> = async (flagKey, context, fallback) => {
      const startedAt = now();
      return decided(flagKey, context, fallback, await ask(flagKey, context, fallback), startedAt);
    };
    const value = async (...asked: Parameters<Ask<V>>) => (await detail(...asked)).value;
    return [detail, value] as const;
  };

  const [variationDetail, variation] = both(reader.variationDetail);
  const [boolVariationDetail, boolVariation] = both(reader.boolVariationDetail);
  const [numberVariationDetail, numberVariation] = both(reader.numberVariationDetail);
  const [stringVariationDetail, stringVariation] = both(reader.stringVariationDetail);
  return {
    ...reader,
    evaluate(flagKey, context, fallback) {
      const startedAt = now();
      return decided(flagKey, context, fallback, reader.evaluate(flagKey, context, fallback), startedAt);
    },
    variationDetail,
    variation,
    boolVariationDetail,
    boolVariation,
    numberVariationDetail,
    numberVariation,
    stringVariationDetail,
    stringVariation,
  };
}
