/** Flags that are part of a program: for tests, without a network, or until the table has been read. */
import { createHmac, hash } from 'node:crypto';
import {
  bucketByHex,
  compileFlag,
  compileSegment,
  createEvaluator,
  type Detail,
  type Evaluator,
  errorDetail,
  type Flag,
  parseContext,
  secureModeHash as secureModeHashWith,
} from '../../lib/evaluation/index.ts';
import type { EvaluationContext } from './context.ts';
import { edgeDialect } from './pattern.ts';
import type { AllFlagsStateOptions, Reader, WatchedReader } from './reader.ts';
import { type Asked, wrap } from './wrap.ts';

/**
 * The file format of LaunchDarkly's SDKs. `flags` and `segments` are as LaunchDarkly sends them (`GET /sdk/latest-all`), `flagValues` are
 * flags that have one value for everybody.
 */
export interface HeldFlags {
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly segments?: Readonly<Record<string, unknown>>;
  readonly flagValues?: Readonly<Record<string, unknown>>;
}

const LOADED = Promise.resolve();

/**
 * A reader of these flags alone, which reads no table: answers are those of LaunchDarkly's Node SDK with its file data source. Flags that
 * it does not have are `FLAG_NOT_FOUND`. Throws an Error if a key is in both `flags` and `flagValues`.
 */
export function createOfflineReader(held: HeldFlags): WatchedReader {
  const { evaluator, flags } = evaluatorOf(held);
  const heldSince = Date.now();
  return {
    // Each question is answered before it would be asked.
    ...wrap({} as Reader, { before: (asked) => answerOf(evaluator, asked) }),
    ready: () => LOADED,
    // These flags never change.
    onChange() {},
    refresh: async () => true,
    allFlagsState: async (context, options) => evaluator.allFlagsState(context, { ...options, flags }),
    status: () => ({
      state: 'ready',
      message: '',
      ageMs: Date.now() - heldSince,
      rev: undefined,
      checkedAt: undefined,
      source: 'held',
      replica: undefined,
      lastError: undefined,
    }),
  };
}

/**
 * For tests: these flags have these values whatever the table contains, with variation 0 and `FALLTHROUGH`, as in LaunchDarkly's Node SDK with
 * its test data source.
 */
export function withOverrides<R extends Reader>(reader: R, flagValues: Readonly<Record<string, unknown>>): R {
  const { evaluator } = evaluatorOf({ flagValues });
  return {
    ...wrap(reader, {
      before: (asked) => (Object.hasOwn(flagValues, asked.flagKey) ? answerOf(evaluator, asked) : undefined),
    }),
    async allFlagsState(context, options) {
      const state = await reader.allFlagsState(context, options);
      const values = Object.fromEntries(Object.entries(flagValues).filter(([key]) => Object.hasOwn(state, key)));
      const metadata = Object.fromEntries(Object.keys(values).map((key) => [key, { variation: 0, version: 1 }]));
      return { ...state, ...values, $flagsState: { ...state.$flagsState, ...metadata }, $valid: state.$valid };
    },
  };
}

/**
 * Answers from these flags until the table has been read for the first time. Meanwhile `status()` still reports why it could not be read, with
 * the source `held`. If a function is given, it is called when the flags are first needed.
 */
export function withBootstrap<R extends Reader>(reader: R, held: HeldFlags | (() => HeldFlags)): R {
  let made = typeof held === 'function' ? undefined : evaluatorOf(held);
  const bootstrap = () => {
    made ??= evaluatorOf(typeof held === 'function' ? held() : held);
    return made;
  };
  return {
    ...wrap(reader, {
      after: (asked, detail) =>
        detail.reason.kind === 'ERROR' && detail.reason.errorKind === 'CLIENT_NOT_READY' && !reader.status().source
          ? answerOf(bootstrap().evaluator, asked)
          : detail,
    }),
    async allFlagsState(context, options?: AllFlagsStateOptions) {
      const state = await reader.allFlagsState(context, options);
      if (state.$valid || reader.status().source) return state;
      const { evaluator, flags } = bootstrap();
      return evaluator.allFlagsState(context, { ...options, flags });
    },
    status() {
      const status = reader.status();
      return status.source ? status : { ...status, source: 'held' };
    },
  };
}

/** The hash for a browser SDK in secure mode, as LaunchDarkly's `secureModeHash`. Undefined for an invalid context. */
export function secureModeHash(sdkKey: string, context: EvaluationContext): string | undefined {
  const parsed = parseContext(context);
  const hmac = (key: string, message: string) => createHmac('sha256', key).update(message).digest('hex');
  return parsed && secureModeHashWith(hmac, sdkKey, parsed);
}

/**
 * JSON that can be put inside a script element of an HTML page: `<script>window.flags = ${jsonForHtml(state)}</script>`. Neither a flag's
 * value nor a key in it can close the element. Source: HTML Standard, "Restrictions for contents of script elements".
 */
export function jsonForHtml(value: unknown): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return (JSON.stringify(value) ?? 'null').replace(/[<>&\u2028\u2029]/g, escaped);
}

function evaluatorOf({ flags = {}, segments = {}, flagValues = {} }: HeldFlags) {
  const compiled = new Map<string, Flag>();
  for (const [key, data] of Object.entries(flags)) compiled.set(key, compileFlag(data, edgeDialect));
  for (const [key, value] of Object.entries(flagValues)) {
    if (compiled.has(key)) throw new Error(`edge reader: flag ${key} is in both flags and flagValues; keep one`);
    const fallthrough = { variation: 0 };
    compiled.set(key, compileFlag({ key, version: 1, on: true, fallthrough, variations: [value] }));
  }
  const ofSegments = new Map(Object.entries(segments).map(([key, data]) => [key, compileSegment(data, edgeDialect)]));
  const evaluator = createEvaluator({
    flag: (key) => compiled.get(key),
    segment: (key) => ofSegments.get(key),
    bucket: bucketByHex((text) => hash('sha1', text)),
  });
  return { evaluator, flags: [...compiled.values()] };
}

function answerOf(evaluator: Evaluator, { flagKey, context, fallback, type }: Asked): Detail {
  if (type === 'boolean') return guarded(evaluator.boolVariation, flagKey, context, fallback as boolean);
  if (type === 'number') return guarded(evaluator.numberVariation, flagKey, context, fallback as number);
  if (type === 'string') return guarded(evaluator.stringVariation, flagKey, context, fallback as string);
  return guarded(evaluator.evaluate, flagKey, context, fallback);
}

/** A getter of the caller's context may throw. */
function guarded<V>(
  evaluate: (flagKey: string, context: unknown, fallback: V) => Detail<V>,
  flagKey: string,
  context: unknown,
  fallback: V,
): Detail<V> {
  try {
    return evaluate(flagKey, context, fallback);
  } catch {
    return errorDetail('EXCEPTION', fallback);
  }
}
