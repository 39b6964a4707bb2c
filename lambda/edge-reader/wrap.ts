/** Adds behaviour around each evaluation of a reader. It is separate, so that bundles that do not use it do not contain it. */
import type { Detail } from '../../lib/evaluation/index.ts';
import type { EvaluationContext } from './context.ts';
import type { Reader } from './reader.ts';

/** One question to a reader. */
export interface Asked {
  readonly flagKey: string;
  readonly context: EvaluationContext;
  readonly fallback: unknown;
  /** The only type that the caller accepts; undefined: any. */
  readonly type: 'boolean' | 'number' | 'string' | undefined;
}

interface Around {
  /** Answers in the reader's place; undefined: the reader answers. */
  before?(asked: Asked): Detail | undefined;
  /** Asks the reader, after doing whatever must come first. Not used by `evaluate`, which never waits. */
  ask?(asked: Asked, reader: () => Promise<Detail>): Promise<Detail>;
  /** May give another answer than the reader's. `startedAt`: Unix ms. */
  after?(asked: Asked, detail: Detail, startedAt: number): Detail;
}

type Ask<V> = (flagKey: string, context: EvaluationContext, fallback: V) => Promise<Detail<V>>;

export function wrap<R extends Reader>(
  reader: R,
  { before, ask: asking, after }: Around,
  now: () => number = Date.now,
): R {
  const both = <V>(ask: Ask<V>, type?: Asked['type']) => {
    const detail: Ask<V> = async (flagKey, context, fallback) => {
      const startedAt = now();
      const asked = { flagKey, context, fallback, type };
      const own = () => ask(flagKey, context, fallback);
      const answer = before?.(asked) ?? (await (asking ? asking(asked, own) : own()));
      return (after ? after(asked, answer, startedAt) : answer) as Detail<V>;
    };
    const value = async (...all: Parameters<Ask<V>>): Promise<V> => (await detail(...all)).value;
    return [detail, value] as const;
  };
  const [variationDetail, variation] = both(reader.variationDetail);
  const [boolVariationDetail, boolVariation] = both(reader.boolVariationDetail, 'boolean');
  const [numberVariationDetail, numberVariation] = both(reader.numberVariationDetail, 'number');
  const [stringVariationDetail, stringVariation] = both(reader.stringVariationDetail, 'string');
  return {
    ...reader,
    evaluate(flagKey, context, fallback) {
      const startedAt = now();
      const asked = { flagKey, context, fallback, type: undefined };
      const answer = before?.(asked) ?? reader.evaluate(flagKey, context, fallback);
      return after ? after(asked, answer, startedAt) : answer;
    },
    variationDetail,
    variation,
    jsonVariationDetail: variationDetail,
    jsonVariation: variation,
    boolVariationDetail,
    boolVariation,
    numberVariationDetail,
    numberVariation,
    stringVariationDetail,
    stringVariation,
  };
}
