import { hash } from 'node:crypto';
import {
  bucketByHex,
  createEvaluator,
  type Detail,
  type Evaluator,
  errorDetail,
  type Flag,
  type FlagsState,
  type Prerequisites,
} from '../../lib/evaluation/index.ts';
import { type Answers, createBigSegments } from './big-segments.ts';
import type { Changes } from './changes.ts';
import type { Settings } from './config.ts';
import type { EvaluationContext } from './context.ts';
import { createFreshness, type OnData, type ReaderStatus } from './freshness.ts';
import type { Surroundings } from './surroundings.ts';
import { createTable } from './table.ts';

/** False in a bundle whose configuration switches Big Segments off, so that it has no code for them. Not defined elsewhere. */
declare const __EDGE_BIG_SEGMENTS__: boolean;

export interface AllFlagsStateOptions {
  /** Only flags that are available to browsers. */
  readonly clientSideOnly?: boolean;
  readonly withReasons?: boolean;
  /** Omits version and reason of flags whose events do not need them. */
  readonly detailsOnlyForTrackedFlags?: boolean;
}

/**
 * Evaluates flags at the edge. Value, variation index and reason are the same as in LaunchDarkly's Node server SDK.
 *
 * No method throws or rejects. While there is no data, the answer is the caller's fallback with the reason
 * `CLIENT_NOT_READY`, never `FLAG_NOT_FOUND`; `status()` says why. A context may be any value: it is validated here.
 */
export interface Reader {
  /** Settles when there is data, or at the cold deadline. Starts a read if one is due. */
  ready(): Promise<void>;
  /**
   * Synchronous, from memory only. Answers `CLIENT_NOT_READY` until data was loaded. It also does so for flags of the
   * official layout that no asynchronous call has fetched, and if the answer needs a Big Segment membership that no asynchronous
   * call has looked up within the last 5 s. If that call could not read it, this one gives the same answer.
   */
  evaluate(flagKey: string, context: EvaluationContext, fallback: unknown): Detail;
  /** As in LaunchDarkly's SDK, the type is not checked: the others give their fallback, with `WRONG_TYPE`, for a value of another type. */
  // biome-ignore lint/suspicious/noExplicitAny: the flag's value has the type that the caller knows it has
  variation(flagKey: string, context: EvaluationContext, fallback: any): Promise<any>;
  variationDetail(flagKey: string, context: EvaluationContext, fallback: unknown): Promise<Detail>;
  boolVariation(flagKey: string, context: EvaluationContext, fallback: boolean): Promise<boolean>;
  boolVariationDetail(flagKey: string, context: EvaluationContext, fallback: boolean): Promise<Detail<boolean>>;
  numberVariation(flagKey: string, context: EvaluationContext, fallback: number): Promise<number>;
  numberVariationDetail(flagKey: string, context: EvaluationContext, fallback: number): Promise<Detail<number>>;
  stringVariation(flagKey: string, context: EvaluationContext, fallback: string): Promise<string>;
  stringVariationDetail(flagKey: string, context: EvaluationContext, fallback: string): Promise<Detail<string>>;
  jsonVariation(flagKey: string, context: EvaluationContext, fallback: unknown): Promise<unknown>;
  jsonVariationDetail(flagKey: string, context: EvaluationContext, fallback: unknown): Promise<Detail>;
  /** The state of all flags, for bootstrapping client-side SDKs; `$valid` is false while there is no data. */
  allFlagsState(context: EvaluationContext, options?: AllFlagsStateOptions): Promise<FlagsState>;
  /** Reads the table now, or joins the read under way; false if that failed. */
  refresh(): Promise<boolean>;
  status(): ReaderStatus;
}

/** A reader that reports changes. */
export interface WatchedReader extends Reader, Pick<Changes, 'onChange'> {}

/** An evaluation of a single flag that had data. */
export interface Observation {
  readonly flagKey: string;
  /** As the caller gave it; it need not be valid. */
  readonly context: unknown;
  readonly fallback: unknown;
  readonly detail: Detail;
  /** Whether the caller asked for the reason. */
  readonly withReason: boolean;
  /** What was evaluated; undefined: there is none. */
  readonly flag: Flag | undefined;
  /** The prerequisites that were evaluated for it; undefined: none. */
  readonly met: Prerequisites | undefined;
}

/** Called before the caller gets the answer. It must not throw. */
export type Observe = (one: Observation) => void;

export interface StartedReader extends Reader {
  /** The same reader, with an observer of its evaluations of single flags. */
  observed(observe: Observe): Reader;
}

export interface StartOptions extends Partial<Surroundings> {
  readonly onData?: OnData;
}

/** Starts reading at once, so that a call at module load connects while Lambda initialises. */
export function startReader(settings: Settings, { onData, ...surroundings }: StartOptions = {}): StartedReader {
  const around: Surroundings = { now: Date.now, random: Math.random, env: process.env, ...surroundings };
  const table = createTable(settings, around);
  const fresh = createFreshness(settings, table, around, onData);
  const bigSegments =
    typeof __EDGE_BIG_SEGMENTS__ === 'undefined' || __EDGE_BIG_SEGMENTS__
      ? createBigSegments({
          prefix: settings.prefix,
          get: (keys) => table.get(keys, fresh.takeOff(settings.coldDeadlineMs)),
          source: () => fresh.snapshot()?.source,
          now: around.now,
        })
      : undefined;

  // Evaluation is synchronous, so all calls share these: the known Big Segment answers, and the context keys without one.
  let answers: Answers | undefined;
  let missing = new Set<string>();

  const flag = (key: string) => fresh.model()?.flag(key);
  const evaluator = createEvaluator({
    flag,
    segment: (key) => fresh.model()?.segment(key),
    bucket: bucketByHex((text) => hash('sha1', text)),
    ...(settings.bigSegments &&
      bigSegments && {
        bigSegments: (contextKey: string) => {
          const answer = bigSegments.answer(contextKey, answers);
          // The result of this evaluation is then discarded.
          if (!answer) missing.add(contextKey);
          return answer;
        },
      }),
  });

  /** Evaluates from memory; undefined if some of the data is missing. `flagKey` undefined: all flags; `known`: the caller cannot load. */
  function attempt<T>(flagKey: string | undefined, known: Answers | undefined, work: Work<T>): T | undefined {
    missing = new Set();
    const official = fresh.official();
    if (!fresh.model()) return undefined;
    if (official && !official.everything && !official.whole.has(flagKey as string)) return undefined;
    answers = known;
    const result = work(evaluator);
    const problem = fresh.snapshot()?.problem;
    if (problem) {
      fresh.distrust(problem);
      return undefined;
    }
    return missing.size > 0 ? undefined : result;
  }

  /** `otherwise`: the answer when it fails. */
  async function answer<T>(
    flagKey: string | undefined,
    otherwise: (why: ErrorKind) => T,
    work: Work<T>,
    done?: (result: T) => void,
  ): Promise<T> {
    try {
      const known: Answers = new Map();
      await fresh.look();
      // Each turn fetches what was missing in the last one. A few are enough: contexts have few kinds, and refreshes seldom interfere.
      for (let turn = 0; turn < 8 && fresh.model(); turn += 1) {
        const result = attempt(flagKey, known, work);
        if (result !== undefined) {
          done?.(result);
          return result;
        }
        if (missing.size > 0) await bigSegments?.load(missing, known);
        else if (!(await fresh.obtain(flagKey))) break;
      }
      return otherwise('CLIENT_NOT_READY');
    } catch {
      // A getter of the caller's context, for example.
      return otherwise('EXCEPTION');
    }
  }

  const allFlags = function* (): Iterable<Flag> {
    for (const item of fresh.snapshot()?.items() ?? fresh.official()?.items.values() ?? []) {
      const found = item?.kind === 'features' && flag(item.key);
      if (found) yield found;
    }
  };

  fresh.look('behind');

  const readerWith = (observe?: Observe): Reader => {
    const tell: Tell = (flagKey, context, fallback, withReason, detail) =>
      observe?.({ flagKey, context, fallback, withReason, detail, flag: flag(flagKey), met: evaluator.met() });
    return {
      async ready() {
        await fresh.look('patient');
      },
      evaluate(flagKey, context, fallback) {
        fresh.look('behind');
        try {
          const work: Work<Detail> = (evaluator) => evaluator.evaluate(flagKey, context, fallback);
          const detail = attempt(flagKey, undefined, work);
          if (!detail) return errorDetail('CLIENT_NOT_READY', fallback);
          tell(flagKey, context, fallback, true, detail);
          return detail;
        } catch {
          return errorDetail('EXCEPTION', fallback);
        }
      },
      ...methodsFor(answer, tell),
      allFlagsState: (context, options) =>
        answer<FlagsState>(
          undefined,
          () => ({ $flagsState: {}, $valid: false }),
          (evaluator) => evaluator.allFlagsState(context, { ...options, flags: allFlags() }),
        ),
      refresh: fresh.refresh,
      status: fresh.status,
    };
  };

  return { ...readerWith(), observed: readerWith };
}

type Work<T> = (evaluator: Evaluator) => T;
type ErrorKind = 'CLIENT_NOT_READY' | 'EXCEPTION';
type Tell = (flagKey: string, context: unknown, fallback: unknown, withReason: boolean, detail: Detail) => void;
type Answering = <T>(
  flagKey: string,
  otherwise: (why: ErrorKind) => T,
  work: Work<T>,
  done?: (result: T) => void,
) => Promise<T>;

/** The asynchronous methods for single flags. */
const METHODS = ['variation', 'boolVariation', 'numberVariation', 'stringVariation', 'jsonVariation'] as const;

type Method = (typeof METHODS)[number];
type Methods = Pick<Reader, Method | `${Method}Detail`>;

/** Each method in two forms: one returns the detail, the other only the value. */
function methodsFor(answer: Answering, tell: Tell): Methods {
  const methods: Record<string, unknown> = {};
  for (const name of METHODS) {
    const ask = (withReason: boolean) => (flagKey: string, context: unknown, fallback: never) =>
      answer<Detail>(
        flagKey,
        (why) => errorDetail(why, fallback),
        (evaluator) => evaluator[name === 'variation' ? 'evaluate' : name](flagKey, context, fallback),
        (detail) => tell(flagKey, context, fallback, withReason, detail),
      );
    const silent = ask(false);
    methods[`${name}Detail`] = ask(true);
    methods[name] = async (...all: Parameters<typeof silent>) => (await silent(...all)).value;
  }
  return methods as unknown as Methods;
}
