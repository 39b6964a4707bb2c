/** What an edge function says of itself: a log line when the state of its data changes, and a line with metrics once a minute. */
import type { ReaderStatus } from './freshness.ts';
import type { Decision } from './hooks.ts';
import { createStateLog, type Logger } from './state-log.ts';
import type { Surroundings } from './surroundings.ts';

export interface ReportOptions {
  /** The CloudWatch namespace of the metrics. */
  readonly namespace: string;
  /** The flags of which each variation is a metric of its own, `<flag>=<variation>`; CloudWatch charges for each. Default: none. */
  readonly flags?: readonly string[];
}

export interface ReportOutput {
  /** Gets one line without its line feed. Default: the log of the process. */
  write?(line: string): void;
  /** Gets what is said when the state of the data changes. Metrics are always written. Default: `write` gets it, as JSON. */
  readonly logger?: Logger | undefined;
  /** What each line has besides: called once for each, and only then. */
  extra?(): Extra;
}

interface Extra {
  /** By name: the value, or at most 100 of them, and the unit. */
  readonly metrics: Readonly<Record<string, readonly [value: number | readonly number[], unit: string]>>;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Report {
  /** To be called after each decision, since nothing else runs in a frozen process. */
  decided(what: Decided, madeWith?: MadeWith): void;
  /** The same as a hook of a reader. */
  onDecision(decision: Decision, madeWith?: MadeWith): void;
}

/** The data that a decision was made with. Default: the reader's as it is now. */
export type MadeWith = Pick<ReaderStatus, 'source' | 'state' | 'ageMs'>;

export interface Decided {
  readonly flagKey: string;
  /** The variation by its value, for example. */
  readonly variation: string;
  /** Why it is the fallback. */
  readonly why?: string | undefined;
  /** How long the decision took. */
  readonly ms: number;
}

/** The metrics, all without dimensions, and their CloudWatch units. */
export const reportUnits = {
  /** How many flags were evaluated. */
  Decisions: 'Count',
  /** How many of them got the caller's fallback, or an answer of the bootstrap. */
  Fallbacks: 'Count',
  /** The age of the oldest data that a decision was made with. */
  DataAge: 'Seconds',
  /** The longest that a decision took: what it waited for data. */
  DecisionTime: 'Milliseconds',
} as const;

const EVERY_MS = 60_000;
/** The most variations in a line, and the most characters of each name. */
export const MOST_VARIATIONS = 50;
const MOST_CHARACTERS = 64;
/** Counts the variations for which a line has no room. */
const OTHERS = 'others';
export const FALLBACK = 'fallback';
/** Why a variation that the bootstrap gave counts as a fallback. */
const BOOTSTRAP = 'BOOTSTRAP';

interface Minute {
  decisions: number;
  ageMs: number | undefined;
  ms: number;
  /** By flag, then by variation. */
  readonly variations: Map<string, Map<string, number>>;
  named: number;
  /** By reason. */
  readonly fallbacks: Map<string, number>;
}

const newMinute = (): Minute => ({
  decisions: 0,
  ageMs: undefined,
  ms: 0,
  variations: new Map(),
  named: 0,
  fallbacks: new Map(),
});

/**
 * The metrics are in CloudWatch's embedded metric format, which CloudWatch Logs reads from the
 * log; the first line comes with the first decision, so that even a process that decides once is seen. What was counted since the
 * last line is lost with the process. AWS: "Specification: Embedded metric format".
 */
export function createReport(
  { namespace, flags = [] }: ReportOptions,
  status: () => ReaderStatus,
  { now = Date.now, write = console.log, logger, extra }: Partial<Pick<Surroundings, 'now'>> & ReportOutput = {},
): Report {
  let minute = newMinute();
  let writtenAt: number | undefined;
  const tell = createStateLog(({ level, message, reason }, { state, ageMs, replica }) => {
    const fields = { reason, state, ageMs, replica };
    if (logger) logger[level](message, fields);
    else write(JSON.stringify({ level: level.toUpperCase(), message, ...fields }));
  });

  function count({ flagKey, variation, why: reason, ms }: Decided, { source, state }: MadeWith) {
    // An offline reader's flags are not a bootstrap.
    const isBootstrap = reason === undefined && source === 'held' && state !== 'ready';
    const why = isBootstrap ? BOOTSTRAP : reason;
    minute.decisions += 1;
    minute.ms = Math.max(minute.ms, ms);
    if (why !== undefined) add(minute.fallbacks, why);
    let [flag, name] = [nameOf(flagKey, OTHERS), reason === undefined ? nameOf(variation, OTHERS) : FALLBACK];
    if (!minute.variations.get(flag)?.has(name) && minute.named++ >= MOST_VARIATIONS) flag = name = OTHERS;
    const counts = minute.variations.get(flag) ?? new Map<string, number>();
    minute.variations.set(flag, counts);
    add(counts, name);
  }

  function metricsLine(at: number, { replica, rev, state }: ReaderStatus): string {
    const { decisions, fallbacks, variations, ageMs, ms } = minute;
    const own = flags.flatMap((flag) =>
      Array.from(variations.get(flag) ?? [], ([variation, times]) => [`${flag}=${variation}`, times] as const),
    );
    const values: Record<string, Extra['metrics'][string][0] | undefined> = {
      Decisions: decisions,
      Fallbacks: sum(fallbacks.values()),
      DataAge: ageMs === undefined ? undefined : Math.round(ageMs) / 1_000,
      DecisionTime: Math.round(ms),
      ...Object.fromEntries(own),
    };
    const Metrics = Object.entries(values).flatMap(([Name, value]) =>
      value === undefined ? [] : [{ Name, Unit: (reportUnits[Name as keyof typeof reportUnits] ?? 'Count') as string }],
    );
    const { metrics = {}, fields = {} } = extra?.() ?? {};
    for (const [Name, [value, Unit]] of Object.entries(metrics)) {
      Metrics.push({ Name, Unit });
      values[Name] = value;
    }
    const decided = Object.fromEntries(Array.from(variations, ([flag, counts]) => [flag, Object.fromEntries(counts)]));
    return JSON.stringify({
      _aws: { Timestamp: at, CloudWatchMetrics: [{ Namespace: namespace, Dimensions: [[]], Metrics }] },
      state,
      replica,
      rev,
      decided,
      fallbacks: Object.fromEntries(fallbacks),
      ...fields,
      ...values,
    });
  }

  function decided(what: Decided, madeWith?: MadeWith) {
    const at = now();
    const current = status();
    const { ageMs } = madeWith ?? current;
    tell(current);
    count(what, madeWith ?? current);
    if (ageMs !== undefined) minute.ageMs = Math.max(minute.ageMs ?? 0, ageMs);
    // The wall clock may be set back.
    if (writtenAt !== undefined && at >= writtenAt && at - writtenAt < EVERY_MS) return;
    writtenAt = at;
    write(metricsLine(at, current));
    minute = newMinute();
  }

  return {
    decided,
    onDecision({ flagKey, detail: { value, variationIndex, reason }, ms }, madeWith) {
      const why = reason.kind === 'ERROR' ? reason.errorKind : undefined;
      decided({ flagKey, variation: variationName(value, variationIndex), why, ms }, madeWith);
    },
  };
}

function add(counts: Map<string, number>, name: string) {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

/** A variation by its value, if that can be part of a metric's name. */
export function variationName(value: unknown, index: number | null): string {
  const isShown = typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number';
  return nameOf(isShown ? String(value) : '', `variation-${index ?? 'none'}`);
}

/** What may be part of a metric's name: AWS, "PutMetricData", ASCII. */
function nameOf(text: string, otherwise: string): string {
  return text.length <= MOST_CHARACTERS && /^[!-~]+$/.test(text) ? text : otherwise;
}
