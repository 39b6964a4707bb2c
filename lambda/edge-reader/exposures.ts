/**
 * Tells LaunchDarkly what was evaluated, without a connection and without waiting: summaries, and full events of flags that ask for them,
 * as a log line now and then. A subscription of the log sends them on (lambda/edge-events).
 */
import { hash } from 'node:crypto';
import {
  type Context,
  canonicalKey,
  createRedact,
  type Detail,
  type Flag,
  isExperiment,
  isPrivateReference,
  PRIVATE_REFERENCES,
  type Prerequisites,
  parseContext,
  type RedactOptions,
} from '../../lib/evaluation/index.ts';
import { createBatch } from './exposures-batch.ts';
import { isItemKey } from './item-key.ts';
import { createChecks } from './options.ts';
import type { Observation, Observe } from './reader.ts';
import type { Surroundings } from './surroundings.ts';

export interface ExposuresOptions extends RedactOptions {
  /** How long evaluations are counted before a line has them, in ms; what was not written is lost with the process. Default 30,000. */
  readonly everyMs?: number;
  /**
   * Whether each context is described once in five minutes, with its attributes, as server-side SDKs do. LaunchDarkly's list of contexts and
   * its bill have them. Default true.
   */
  readonly indexEvents?: boolean;
}

export interface Exposures {
  /** Neither throws nor waits. */
  readonly evaluated: Observe;
  /** Writes what was counted since the last line. */
  flush(): void;
}

/** As in LaunchDarkly's Node SDK: `contextKeysCapacity` and `contextKeysFlushInterval`. */
const MOST_CONTEXTS = 1_000;
const CONTEXTS_MS = 300_000;
const LONGEST_KEY = 100;
/** Flags can need each other in exponentially many ways. */
const MOST_PREREQUISITES = 1_000;

/** One evaluation of a flag, the asked one or one for another flag. */
interface Counted extends Pick<Observation, 'flagKey' | 'detail' | 'fallback'> {
  readonly flag: Flag | undefined;
  readonly prereqOf?: string;
}

/** What the evaluations that one call made have in common. */
interface Call {
  readonly context: Context;
  /** As the caller gave it. */
  readonly given: unknown;
  readonly withReason: boolean;
  /** Unix ms. */
  readonly at: number;
}

/** One Error that lists every problem: a private attribute that is misspelt would be sent. */
function check(options: ExposuresOptions, surroundings: object): void {
  const { everyMs = 0, indexEvents = true, privateAttributes = [], allAttributesPrivate = false } = options;
  const { must, only, end } = createChecks('edge reader: exposures');
  const known = Object.keys({ everyMs, indexEvents, privateAttributes, allAttributesPrivate });
  only({ ...options, ...surroundings }, known);
  must('everyMs', everyMs, Number.isFinite(everyMs) && everyMs >= 0, 'a number of ms');
  must('indexEvents', indexEvents, typeof indexEvents === 'boolean', 'true or false');
  must('allAttributesPrivate', allAttributesPrivate, typeof allAttributesPrivate === 'boolean', 'true or false');
  const arePrivate = Array.isArray(privateAttributes) && privateAttributes.every(isPrivateReference);
  must('privateAttributes', privateAttributes, arePrivate, `a list of ${PRIVATE_REFERENCES}`);
  end();
}

/**
 * Throws one Error that lists every problem of the options. Counts as LaunchDarkly's Node server SDK does. The first line comes with the first evaluation, so that even a process that evaluates once
 * is seen; further ones every `everyMs` while there are evaluations, and whenever a line is full.
 */
export function createExposures(
  options: ExposuresOptions = {},
  {
    now = Date.now,
    random = Math.random,
    write = console.log,
    ...more
  }: Partial<Pick<Surroundings, 'now' | 'random'>> & { write?(line: string): void } = {},
): Exposures {
  check(options, more);
  const { everyMs = 30_000, indexEvents = true, ...redaction } = options;
  const redact = createRedact(redaction);
  const isNew = createContexts();
  const batch = createBatch(write);
  let writtenAt: number | undefined;

  function count(one: Counted, call: Call) {
    const { flagKey, flag, detail, fallback, prereqOf } = one;
    const { context, given, withReason, at } = call;
    const [variation, version] = [detail.variationIndex ?? undefined, flag?.version];
    const { value } = detail;
    // The collector refuses it: no flag can have it.
    if (!isItemKey(flagKey)) batch.lose('evaluations');
    else if (!flag?.excludeFromSummaries)
      batch.count({ flagKey, version, variation, value, fallback, contextKinds: context.kinds, at });
    if (indexEvents && isNew(context, at))
      batch.send({ kind: 'index', creationDate: at, context: redact(given, false) });
    if (!flag || !isItemKey(flagKey)) return;
    const isPart = isExperiment(flag, detail);
    const { samplingRatio = 1, debugEventsUntilDate = 0 } = flag;
    const full = (kind: 'feature' | 'debug') => {
      // As in the SDK, the ratio is rounded and 1 draws no number.
      const ratio = Math.trunc(samplingRatio);
      if (ratio === 0 || (ratio !== 1 && Math.floor(random() * ratio) !== 0)) return;
      batch.send({
        kind,
        creationDate: at,
        context: redact(given, kind === 'feature'),
        key: flagKey,
        value,
        default: fallback,
        samplingRatio: samplingRatio === 1 ? undefined : samplingRatio,
        prereqOf,
        variation,
        version,
        reason: withReason || isPart ? detail.reason : undefined,
      });
    };
    if (flag.trackEvents || isPart) full('feature');
    if (debugEventsUntilDate > at) full('debug');
  }

  function countAll(
    given: unknown,
    withReason: boolean,
    at: number,
    asked: Omit<Observation, 'context' | 'withReason'>,
  ) {
    const { flagKey, fallback, detail, met } = asked;
    const context = parseContext(given);
    if (!context) return;
    const call = { context, given, withReason, at };
    const flag = asked.flag?.deleted ? undefined : asked.flag;
    // As in the SDK, a value of the wrong type hides them.
    const isWrongType = detail.reason.kind === 'ERROR' && detail.reason.errorKind === 'WRONG_TYPE';
    if (flag && met && !isWrongType) {
      let room = MOST_PREREQUISITES;
      for (const one of inOrder(flag, met)) {
        if (one && room-- > 0) {
          count(one, call);
          continue;
        }
        // At least one.
        batch.lose('evaluations');
        break;
      }
    }
    count({ flagKey: flag?.key ?? textOf(flagKey), flag, detail, fallback }, call);
  }

  return {
    evaluated({ context: given, withReason, ...asked }) {
      const at = now();
      try {
        countAll(given, withReason, at, asked);
      } catch {
        // A getter of the caller's context, for example. It is counted by then.
        batch.lose('events');
      }
      // The wall clock may be set back.
      if (writtenAt !== undefined && at >= writtenAt && at - writtenAt < everyMs) return;
      writtenAt = at;
      batch.flush();
    },
    flush: batch.flush,
  };
}

/** As in the SDK, what JavaScript passes as a key counts under its text. Empty: it has none. */
function textOf(flagKey: unknown): string {
  if (typeof flagKey === 'symbol') return '';
  try {
    return String(flagKey);
  } catch {
    return '';
  }
}

interface Step {
  readonly flag: Flag;
  /** Undefined: it is the one that was asked for. */
  readonly result: Detail | undefined;
  /** What it needs and is still to come, the last one first. */
  readonly left: Prerequisites['one'][];
}

/**
 * The prerequisites that an evaluation met, as the SDK evaluates them: once for each flag that needs them, the inmost first. Undefined: those
 * that are not known.
 */
function* inOrder(flag: Flag, met: Prerequisites): Generator<Counted | undefined> {
  const path: Step[] = [{ flag, result: undefined, left: lastFirst(met) }];
  for (let top = path.at(-1); top; top = path.at(-1)) {
    if (top.left.length > 0) {
      const one = top.left.pop();
      if (one) path.push({ ...one, left: lastFirst(one.met) });
      else yield undefined;
      continue;
    }
    path.pop();
    const prereqOf = path.at(-1)?.flag.key;
    const { flag: other, result } = top;
    if (prereqOf !== undefined && result)
      yield { flagKey: other.key, flag: other, detail: result, fallback: null, prereqOf };
  }
}

function lastFirst(met: Prerequisites | undefined): Prerequisites['one'][] {
  const list = [];
  for (let rest = met; rest; rest = rest.before) list.push(rest.one);
  return list;
}

/** Returns a function that says whether a context was not seen lately. */
function createContexts(): (context: Context, at: number) => boolean {
  const seen = new Set<string>();
  let since: number | undefined;
  return (context, at) => {
    since ??= at;
    if (at < since || at - since >= CONTEXTS_MS) {
      seen.clear();
      since = at;
    }
    const whole = canonicalKey(context);
    const key = whole.length > LONGEST_KEY ? hash('sha256', whole) : whole;
    const isKnown = seen.delete(key);
    seen.add(key);
    const [oldest] = seen;
    if (seen.size > MOST_CONTEXTS && oldest !== undefined) seen.delete(oldest);
    return !isKnown;
  };
}
