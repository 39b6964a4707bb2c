import { hash } from 'node:crypto';
import {
  bucketByHex,
  createEvaluator,
  type Detail,
  type Evaluator,
  type Flag,
  type FlagsState,
} from '../../lib/evaluation/index.ts';
import { type Answers, createBigSegments } from './big-segments.ts';
import type { Settings } from './config.ts';
import { createFreshness, type ReaderStatus } from './freshness.ts';
import type { Surroundings } from './surroundings.ts';
import { createTable } from './table.ts';

export interface AllFlagsStateOptions {
  /** Only flags that browsers may see. */
  readonly clientSideOnly?: boolean;
  readonly withReasons?: boolean;
  /** Leaves version and reason out where no event would need them. */
  readonly detailsOnlyForTrackedFlags?: boolean;
}

/**
 * Flags at the edge. Answers are those of LaunchDarkly's Node server SDK: value, variation index and reason.
 *
 * No method throws or rejects. While nothing can be answered from, the caller's fallback comes with the reason
 * `CLIENT_NOT_READY`, never with `FLAG_NOT_FOUND`: `status()` says why. A context is whatever the caller has.
 */
export interface Reader {
  /** Settles when something is held, or at the cold deadline. Starts a read if one is due. */
  ready(): Promise<void>;
  /** From memory, at once. `CLIENT_NOT_READY` until it was loaded; with the official layout also for flags that no asynchronous call has fetched, and for memberships of Big Segments that none has read within 5 s. */
  evaluate(flagKey: string, context: unknown, fallback: unknown): Detail;
  variation(flagKey: string, context: unknown, fallback: unknown): Promise<unknown>;
  variationDetail(flagKey: string, context: unknown, fallback: unknown): Promise<Detail>;
  boolVariation(flagKey: string, context: unknown, fallback: boolean): Promise<boolean>;
  boolVariationDetail(flagKey: string, context: unknown, fallback: boolean): Promise<Detail<boolean>>;
  numberVariation(flagKey: string, context: unknown, fallback: number): Promise<number>;
  numberVariationDetail(flagKey: string, context: unknown, fallback: number): Promise<Detail<number>>;
  stringVariation(flagKey: string, context: unknown, fallback: string): Promise<string>;
  stringVariationDetail(flagKey: string, context: unknown, fallback: string): Promise<Detail<string>>;
  /** Every flag, as client-side SDKs are bootstrapped; `$valid` is false while nothing can be answered from. */
  allFlagsState(context: unknown, options?: AllFlagsStateOptions): Promise<FlagsState>;
  status(): ReaderStatus;
}

/** Starts reading at once: called at module load, the connection is made while Lambda initialises. */
export function startReader(settings: Settings, surroundings: Partial<Surroundings> = {}): Reader {
  const around: Surroundings = { now: Date.now, random: Math.random, env: process.env, ...surroundings };
  const table = createTable(settings, around);
  const fresh = createFreshness(settings, table, around);
  const bigSegments = createBigSegments({
    prefix: settings.prefix,
    get: (keys) => table.get(keys, fresh.takeOff(settings.coldDeadlineMs)),
    now: around.now,
  });

  // Evaluation is synchronous, so one pair serves all calls: what is known of Big Segments, and what was asked in vain.
  let answers: Answers = new Map();
  let missing = new Set<string>();

  const evaluator = createEvaluator({
    flag: (key) => fresh.model()?.flag(key),
    segment: (key) => fresh.model()?.segment(key),
    bucket: bucketByHex((text) => hash('sha1', text)),
    ...(settings.bigSegments && {
      bigSegments: (contextKey: string) => {
        const answer = answers.get(contextKey) ?? bigSegments.remembered(contextKey);
        if (!answer) missing.add(contextKey);
        return answer ?? { status: 'STORE_ERROR' };
      },
    }),
  });

  /** From memory; undefined if something that the answer needs is not there. A flag key of undefined: all flags. */
  function attempt<T>(flagKey: string | undefined, known: Answers, work: (evaluator: Evaluator) => T): T | undefined {
    missing = new Set();
    const official = fresh.official();
    if (!fresh.model()) return undefined;
    if (official && !official.everything && !(flagKey !== undefined && official.whole.has(flagKey))) return undefined;
    answers = known;
    const result = work(evaluator);
    const problem = fresh.snapshot()?.problem;
    if (problem !== undefined) {
      fresh.distrust(problem);
      return undefined;
    }
    return missing.size > 0 ? undefined : result;
  }

  async function answer<T>(flagKey: string | undefined, otherwise: T, work: (evaluator: Evaluator) => T): Promise<T> {
    const known: Answers = new Map();
    await fresh.look();
    // Each turn brings what the last one lacked; a context has few kinds, a read may be overtaken by a refresh once or twice.
    for (let turn = 0; turn < 8 && fresh.model(); turn += 1) {
      const result = attempt(flagKey, known, work);
      if (result !== undefined) return result;
      if (missing.size > 0) await bigSegments.load(missing, known);
      else if (!(await fresh.obtain(flagKey))) break;
    }
    return otherwise;
  }

  /** One of the evaluator's methods, as the whole answer and as its value alone. */
  const asking = <V>(method: 'evaluate' | 'boolVariation' | 'numberVariation' | 'stringVariation') => {
    const detail = (flagKey: string, context: unknown, fallback: V) =>
      answer(flagKey, notReady(fallback), (evaluator) => {
        const evaluate = evaluator[method] as (flagKey: string, context: unknown, fallback: V) => Detail<V>;
        return evaluate(flagKey, context, fallback);
      });
    return [
      detail,
      async (flagKey: string, context: unknown, fallback: V) => (await detail(flagKey, context, fallback)).value,
    ] as const;
  };
  const [variationDetail, variation] = asking<unknown>('evaluate');
  const [boolVariationDetail, boolVariation] = asking<boolean>('boolVariation');
  const [numberVariationDetail, numberVariation] = asking<number>('numberVariation');
  const [stringVariationDetail, stringVariation] = asking<string>('stringVariation');

  const allFlags = function* (): Iterable<Flag> {
    const model = fresh.model();
    for (const item of fresh.snapshot()?.items() ?? fresh.official()?.items.values() ?? []) {
      const flag = item?.kind === 'features' && model?.flag(item.key);
      if (flag) yield flag;
    }
  };

  fresh.look(false);

  return {
    ready: async () => await fresh.look(),
    evaluate(flagKey, context, fallback) {
      fresh.look(false);
      return attempt(flagKey, new Map(), ({ evaluate }) => evaluate(flagKey, context, fallback)) ?? notReady(fallback);
    },
    variationDetail,
    variation,
    boolVariationDetail,
    boolVariation,
    numberVariationDetail,
    numberVariation,
    stringVariationDetail,
    stringVariation,
    allFlagsState: (context, options) =>
      answer<FlagsState>(undefined, { $flagsState: {}, $valid: false }, (evaluator) =>
        evaluator.allFlagsState(context, { ...options, flags: allFlags() }),
      ),
    status: fresh.status,
  };
}

const notReady = <V>(value: V): Detail<V> => ({
  value,
  variationIndex: null,
  reason: { kind: 'ERROR', errorKind: 'CLIENT_NOT_READY' },
});
