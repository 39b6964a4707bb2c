/**
 * The types of evaluation results, in LaunchDarkly's terms.
 * Source: LaunchDarkly's server-side evaluation rules, as its Node server SDK 9.13 and its Go evaluator 3.0 implement them.
 */
export type ErrorKind =
  | 'CLIENT_NOT_READY'
  | 'FLAG_NOT_FOUND'
  | 'MALFORMED_FLAG'
  | 'USER_NOT_SPECIFIED'
  | 'WRONG_TYPE'
  | 'EXCEPTION';

/** How reliable the queried Big Segments were; from best to worst. */
export type BigSegmentsStatus = 'HEALTHY' | 'STALE' | 'STORE_ERROR' | 'NOT_CONFIGURED';

interface Extras {
  /** Absent or `true`. */
  readonly inExperiment?: true;
  readonly bigSegmentsStatus?: BigSegmentsStatus;
}

/** Why an evaluation returned its value. */
export type Reason =
  | ({ readonly kind: 'OFF' } & Extras)
  | ({ readonly kind: 'FALLTHROUGH' } & Extras)
  | ({ readonly kind: 'TARGET_MATCH' } & Extras)
  | ({ readonly kind: 'RULE_MATCH'; readonly ruleIndex: number; readonly ruleId?: string } & Extras)
  | ({ readonly kind: 'PREREQUISITE_FAILED'; readonly prerequisiteKey: string } & Extras)
  | ({ readonly kind: 'ERROR'; readonly errorKind: ErrorKind } & Extras);

/** One result. Details and reasons may be shared between calls and are frozen; the value is part of the flag's data. */
export interface Detail<T = unknown> {
  readonly value: T;
  /** The index in the flag's `variations`; null when the value is the caller's fallback. */
  readonly variationIndex: number | null;
  readonly reason: Reason;
}

/** The answer of a Big Segment store for one context key. */
export interface BigSegmentsAnswer {
  readonly status: BigSegmentsStatus;
  /** Maps segment references (`<key>.g<generation>`) to membership; absent or null: the store has no entry for this key. */
  readonly membership?: Readonly<Record<string, boolean | undefined>> | null;
}

/** The bucket of two concatenated strings (UTF-8) on [0, 1]: the first 60 bits of their SHA-1, divided by 2^60. */
export type Bucket = (prefix: string, value: string) => number;

/** What an evaluator needs from its caller. All functions are synchronous. */
export interface EvaluatorOptions {
  /** Tombstones may be returned; they count as absent. */
  flag(key: string): Flag | undefined;
  /** Tombstones may be returned; they count as absent. */
  segment(key: string): Segment | undefined;
  /**
   * `sha1Bucket` in a long-lived process, `bucketByHex` with the platform's SHA-1 in a short-lived one; `sha1BucketFloat32` with the
   * Go dialect.
   */
  bucket: Bucket;
  /**
   * Absent, or undefined as its answer: no Big Segment store is configured. Called at most once per context key and memo; if it throws, the status is
   * STORE_ERROR.
   */
  bigSegments?(contextKey: string): BigSegmentsAnswer | undefined;
}

/** The JSON of all flags for one context, for bootstrapping client-side SDKs. */
export interface FlagsState {
  readonly $flagsState: Readonly<Record<string, FlagMetadata>>;
  readonly $valid: boolean;
  readonly [flagKey: string]: unknown;
}

/** The entry of one flag in `$flagsState`. */
export interface FlagMetadata {
  readonly variation?: number;
  readonly version?: number;
  readonly reason?: Reason;
  readonly trackEvents?: true;
  readonly trackReason?: true;
  /** Unix ms. */
  readonly debugEventsUntilDate?: number;
  readonly prerequisites?: readonly string[];
}
export interface AllFlagsOptions {
  readonly flags: Iterable<Flag>;
  /** Only flags that are available to browsers (`clientSideAvailability.usingEnvironmentId`). */
  readonly clientSideOnly?: boolean;
  readonly withReasons?: boolean;
  /** Omits version and reason of flags whose events do not need them. */
  readonly detailsOnlyForTrackedFlags?: boolean;
}

/** The result of a flag, with the additional data that the evalx endpoint and events need. */
export interface FlagResult {
  /** `value` is null if no variation was chosen. */
  readonly detail: Detail;
  /** Keys of the direct prerequisites that were evaluated, in order. */
  readonly prerequisites: readonly string[];
  /** Whether events about this result must include the reason. */
  readonly isExperiment: boolean;
}

/** A compiled flag. */
export interface Flag {
  readonly key: string;
  readonly version: number;
  readonly deleted: boolean;
  /** Keys of the direct prerequisites, without duplicates. */
  readonly prerequisiteKeys: readonly string[];
  /** Keys of the segments that the rules refer to, without duplicates. */
  readonly segmentKeys: readonly string[];
  readonly trackEvents: boolean;
  readonly trackEventsFallthrough: boolean;
  /** Unix ms. */
  readonly debugEventsUntilDate: number | undefined;
  /** One of this many full events is sent; undefined: all. */
  readonly samplingRatio: number | undefined;
  readonly excludeFromSummaries: boolean;
}

/** A compiled segment. */
export interface Segment {
  readonly key: string;
  readonly version: number;
  readonly deleted: boolean;
  /** A Big Segment: its members are in a store, not in its data. */
  readonly unbounded: boolean;
  /** Keys of the segments that the rules refer to, without duplicates. */
  readonly segmentKeys: readonly string[];
}

/** A valid context. */
export interface Context {
  /** The kinds, in their original order. */
  readonly kinds: readonly string[];
}

/** What evaluations for one context and one state of all items know already. Made by `createMemo`. */
export interface Memo {
  /** What these evaluations have cost so far, estimated in nanoseconds of a slow processor. */
  work: number;
  /** Answers of the Big Segment store, by context key. */
  readonly answers: ReadonlyMap<string, BigSegmentsAnswer>;
}

/** The prerequisites that were evaluated for a flag: the last one, and those before. The same one may be met several times. */
export interface Prerequisites {
  /** Undefined: the evaluation broke off in one, and what there was is not known. */
  readonly one?: Prerequisite | undefined;
  readonly before?: Prerequisites | undefined;
}

export interface Prerequisite {
  readonly flag: Flag;
  /** Without the status of Big Segments. */
  readonly result: Detail;
  /** Undefined: it needs none. */
  readonly met: Prerequisites | undefined;
}

/** `context` may be any value: an invalid one gives USER_NOT_SPECIFIED. */
export type Evaluate<T> = (flagKey: string, context: unknown, fallback: T) => Detail<T>;

/** Evaluates flags for a context. No method throws. */
export interface Evaluator {
  readonly evaluate: Evaluate<unknown>;
  readonly boolVariation: Evaluate<boolean>;
  readonly stringVariation: Evaluate<string>;
  readonly numberVariation: Evaluate<number>;
  readonly jsonVariation: Evaluate<unknown>;
  allFlagsState(context: unknown, options: AllFlagsOptions): FlagsState;
  /** With a memo that is shared by all evaluations for this context, a flag is evaluated once, however many need it. */
  evaluateFlag(flag: Flag, context: Context, memo?: Memo): FlagResult;
  /** Of the last evaluation of a flag; undefined: it met none. */
  met(): Prerequisites | undefined;
}
