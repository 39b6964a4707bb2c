/**
 * Tells LaunchDarkly what was evaluated, without a connection and without waiting: summaries, and full events of flags that ask for them,
 * as a log line now and then. A subscription of the log sends them on (lambda/edge-events).
 */
import { hash } from 'node:crypto';
import {
  type Context,
  canonicalKey,
  createMemo,
  createRedact,
  type Detail,
  type Flag,
  isExperiment,
  parseContext,
  type RedactOptions,
} from '../../lib/evaluation/index.ts';
import { EXPOSURES_MARK } from './exposures-line.ts';
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

/** A line has at most so many bytes; as a text inside JSON, which Lambda makes of it with the JSON log format, still less than 256 KB. */
const MOST_BYTES = 120_000;
/** Of a line besides events and counters. */
const FRAME_BYTES = 300;
/** What a counter or a flag takes besides its texts: names, numbers and punctuation. */
const COUNTER_BYTES = 100;
/** As in LaunchDarkly's Node SDK: `contextKeysCapacity` and `contextKeysFlushInterval`. */
const MOST_CONTEXTS = 1_000;
const CONTEXTS_MS = 300_000;
const LONGEST_KEY = 100;
/** Flags can need each other in exponentially many ways. */
const MOST_PREREQUISITES = 1_000;

interface Counter {
  readonly text: string;
  count: number;
}

interface FlagSummary {
  readonly head: string;
  readonly kinds: Set<string>;
  /** By variation and version. */
  readonly counters: Map<string, Counter>;
}

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

/**
 * Counts as LaunchDarkly's Node server SDK does. The first line comes with the first evaluation, so that even a process that evaluates once
 * is seen; further ones every `everyMs` while there are evaluations, and whenever a line is full.
 */
export function createExposures(
  { everyMs = 30_000, indexEvents = true, ...redaction }: ExposuresOptions = {},
  {
    now = Date.now,
    random = Math.random,
    write = console.log,
  }: Partial<Pick<Surroundings, 'now' | 'random'>> & { write?(line: string): void } = {},
): Exposures {
  const redact = createRedact(redaction);
  const isNew = createContexts();
  let events: string[] = [];
  let flags = new Map<string, FlagSummary>();
  let bytes = 0;
  let [startDate, endDate] = [0, 0];
  let lost = { evaluations: 0, events: 0 };
  let writtenAt: number | undefined;

  function flush() {
    if (bytes === 0 && lost.evaluations + lost.events === 0) return;
    const all = flags.size > 0 ? [...events, summaryText(startDate, endDate, flags)] : events;
    const told = lost.evaluations + lost.events > 0 ? `,"lost":${JSON.stringify(lost)}` : '';
    const line = `{"${EXPOSURES_MARK}":1,"events":[${all.join(',')}]${told}}`;
    events = [];
    flags = new Map();
    [bytes, startDate, endDate] = [0, 0, 0];
    lost = { evaluations: 0, events: 0 };
    try {
      write(line);
    } catch (error) {
      console.error('edge reader: a line with exposures could not be written and is lost', error);
    }
  }

  /** False: it does not even fit into an empty line. */
  function makeRoom(more: number): boolean {
    if (more > MOST_BYTES - FRAME_BYTES) return false;
    if (bytes + more > MOST_BYTES - FRAME_BYTES) flush();
    bytes += more;
    return true;
  }

  function send(event: object) {
    const text = jsonOf(event);
    if (text !== undefined && makeRoom(Buffer.byteLength(text) + 1)) events.push(text);
    else lost.events += 1;
  }

  function summarise({ flagKey, flag, detail, fallback }: Counted, { context, at }: Call) {
    const variation = detail.variationIndex ?? undefined;
    const version = flag?.version;
    const identity = `${variation ?? ''}:${version ?? ''}`;
    const known = flags.get(flagKey);
    let counter = known?.counters.get(identity);
    if (!known || !counter || !context.kinds.every((kind) => known.kinds.has(kind))) {
      const head = `${JSON.stringify(flagKey)}:{${member('default', jsonOf(fallback))}`;
      const text = [
        member('value', jsonOf(detail.value)),
        member('variation', variation),
        version === undefined ? '"unknown":true,' : member('version', version),
      ].join('');
      if (!makeRoom(Buffer.byteLength(head + text + context.kinds) + COUNTER_BYTES)) {
        lost.evaluations += 1;
        return;
      }
      // Making room may have written what was known.
      const summary = flags.get(flagKey) ?? { head, kinds: new Set(), counters: new Map<string, Counter>() };
      counter = summary.counters.get(identity) ?? { text, count: 0 };
      for (const kind of context.kinds) summary.kinds.add(kind);
      summary.counters.set(identity, counter);
      flags.set(flagKey, summary);
    }
    counter.count += 1;
    startDate = startDate === 0 ? at : Math.min(startDate, at);
    endDate = Math.max(endDate, at);
  }

  function count(one: Counted, call: Call) {
    const { flagKey, flag, detail, fallback, prereqOf } = one;
    const { context, given, withReason, at } = call;
    if (!flag?.excludeFromSummaries) summarise(one, call);
    if (indexEvents && isNew(context, at)) send({ kind: 'index', creationDate: at, context: redact(given, false) });
    if (!flag) return;
    const isPart = isExperiment(flag, detail);
    const { samplingRatio = 1, debugEventsUntilDate = 0, version } = flag;
    const full = (kind: 'feature' | 'debug') => {
      // As in the SDK, the ratio is rounded and 1 draws no number.
      const ratio = Math.trunc(samplingRatio);
      if (ratio === 0 || (ratio !== 1 && Math.floor(random() * ratio) !== 0)) return;
      send({
        kind,
        creationDate: at,
        context: redact(given, kind === 'feature'),
        key: flagKey,
        value: detail.value,
        default: fallback,
        samplingRatio: samplingRatio === 1 ? undefined : samplingRatio,
        prereqOf,
        variation: detail.variationIndex ?? undefined,
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
    const { flagKey, fallback, detail } = asked;
    const context = parseContext(given);
    if (!context) return;
    const call = { context, given, withReason, at };
    const found = asked.flag(flagKey);
    const flag = found?.deleted ? undefined : found;
    // As in the SDK, a value of the wrong type hides them.
    const isWrongType = detail.reason.kind === 'ERROR' && detail.reason.errorKind === 'WRONG_TYPE';
    if (flag && flag.prerequisiteKeys.length > 0 && !isWrongType) {
      let room = MOST_PREREQUISITES;
      for (const one of prerequisitesOf(flag, context, asked)) {
        if (room-- > 0) {
          count(one, call);
          continue;
        }
        // At least one.
        lost.evaluations += 1;
        break;
      }
    }
    count({ flagKey: flag?.key ?? flagKey, flag, detail, fallback }, call);
  }

  return {
    evaluated({ context: given, withReason, ...asked }) {
      const at = now();
      try {
        countAll(given, withReason, at, asked);
      } catch {
        // A getter of the caller's context, for example. It is counted by then.
        lost.events += 1;
      }
      // The wall clock may be set back.
      if (writtenAt !== undefined && at >= writtenAt && at - writtenAt < everyMs) return;
      writtenAt = at;
      flush();
    },
    flush,
  };
}

interface Step extends Omit<Counted, 'flagKey' | 'fallback'> {
  readonly flag: Flag;
  /** The keys of the prerequisites that were evaluated for it. */
  readonly keys: readonly string[];
  next: number;
}

/** The evaluations of prerequisites that an evaluation made, as the SDK makes them: once for each flag that needs them, the inmost first. */
function* prerequisitesOf(
  flag: Flag,
  context: Context,
  { flag: find, evaluateFlag }: Pick<Observation, 'flag' | 'evaluateFlag'>,
): Generator<Counted> {
  const memo = createMemo();
  const step = (one: Flag, prereqOf = ''): Step => {
    const { detail, prerequisites } = evaluateFlag(one, context, memo);
    // Events have it for the flag that was asked for only.
    const { bigSegmentsStatus: _, ...reason } = detail.reason;
    return { flag: one, prereqOf, detail: { ...detail, reason } as Detail, keys: prerequisites, next: 0 };
  };
  const path = [step(flag)];
  for (let top = path.at(-1); top; top = path.at(-1)) {
    const key = top.keys[top.next++];
    if (key === undefined) {
      path.pop();
      if (path.length > 0) yield { ...top, flagKey: top.flag.key, fallback: null };
      continue;
    }
    const other = find(key);
    const isCycle = path.some((one, index) => index > 0 && one.flag.key === key);
    if (other && !isCycle) path.push(step(other, top.flag.key));
  }
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

function summaryText(startDate: number, endDate: number, flags: ReadonlyMap<string, FlagSummary>): string {
  const features = Array.from(flags.values(), ({ head, kinds, counters }) => {
    const texts = Array.from(counters.values(), ({ text, count }) => `{${text}"count":${count}}`);
    return `${head}"contextKinds":${JSON.stringify([...kinds])},"counters":[${texts.join(',')}]}`;
  });
  return `{"kind":"summary","startDate":${startDate},"endDate":${endDate},"features":{${features.join(',')}}}`;
}

function member(name: string, text: string | number | undefined): string {
  return text === undefined ? '' : `"${name}":${text},`;
}

/** Undefined for what has no JSON: undefined, and from JavaScript a BigInt or an object inside itself. */
function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
