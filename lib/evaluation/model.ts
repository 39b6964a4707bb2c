/**
 * The answers of an evaluation, in LaunchDarkly's words.
 * Source: LaunchDarkly's server-side evaluation rules, as its Node server SDK 9.13 implements them.
 */
export type ErrorKind =
  | 'CLIENT_NOT_READY'
  | 'FLAG_NOT_FOUND'
  | 'MALFORMED_FLAG'
  | 'USER_NOT_SPECIFIED'
  | 'WRONG_TYPE'
  | 'EXCEPTION';

/** How far the Big Segments that were asked could be trusted; from best to worst. */
export type BigSegmentsStatus = 'HEALTHY' | 'STALE' | 'STORE_ERROR' | 'NOT_CONFIGURED';

interface Extras {
  /** Only ever present as `true`. */
  readonly inExperiment?: true;
  readonly bigSegmentsStatus?: BigSegmentsStatus;
}

/** Why an evaluation answered what it did. */
export type Reason =
  | ({ readonly kind: 'OFF' } & Extras)
  | ({ readonly kind: 'FALLTHROUGH' } & Extras)
  | ({ readonly kind: 'TARGET_MATCH' } & Extras)
  | ({ readonly kind: 'RULE_MATCH'; readonly ruleIndex: number; readonly ruleId?: string } & Extras)
  | ({ readonly kind: 'PREREQUISITE_FAILED'; readonly prerequisiteKey: string } & Extras)
  | ({ readonly kind: 'ERROR'; readonly errorKind: ErrorKind } & Extras);

/** One answer. Details and reasons may be shared between calls, and are frozen; the value is the flag's own data. */
export interface Detail<T = unknown> {
  readonly value: T;
  /** The index in the flag's `variations`; null when the value is the caller's fallback. */
  readonly variationIndex: number | null;
  readonly reason: Reason;
}

/** What the store of Big Segments answers for one context key. */
export interface BigSegmentsAnswer {
  readonly status: BigSegmentsStatus;
  /** Segment reference (`<key>.g<generation>`) to membership; absent or null: nothing is known about this key. */
  readonly membership?: Readonly<Record<string, boolean | undefined>> | null;
}

/** Where two texts, one behind the other in UTF-8, fall on [0, 1]: the first 60 bits of their SHA-1 over 2^60. */
export type Bucket = (prefix: string, value: string) => number;

/** What an evaluator needs from outside. All calls are synchronous. */
export interface EvaluatorOptions {
  /** Tombstones may be returned; they count as absent. */
  flag(key: string): Flag | undefined;
  /** Tombstones may be returned; they count as absent. */
  segment(key: string): Segment | undefined;
  /** `sha1Bucket` where the process lives long, `bucketByHex` around the platform's own SHA-1 where it does not. */
  bucket: Bucket;
  /** Absent: no store of Big Segments is configured. Asked at most once per context key and evaluation; if it throws, the status is STORE_ERROR. */
  bigSegments?(contextKey: string): BigSegmentsAnswer;
}

/** The JSON of all flags for one context, as client-side SDKs are bootstrapped with it. */
export interface FlagsState {
  readonly $flagsState: Readonly<Record<string, FlagMetadata>>;
  readonly $valid: boolean;
  readonly [flagKey: string]: unknown;
}

/** What stands in `$flagsState` for one flag. */
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
  /** Only flags that browsers may see (`clientSideAvailability.usingEnvironmentId`). */
  readonly clientSideOnly?: boolean;
  readonly withReasons?: boolean;
  /** Leaves version and reason out where no event would need them. */
  readonly detailsOnlyForTrackedFlags?: boolean;
}

/** A flag evaluated with what the evalx endpoint and events need beside the answer. */
export interface FlagResult {
  /** `value` is null where no variation was chosen. */
  readonly detail: Detail;
  /** Keys of the direct prerequisites that were evaluated, in order. */
  readonly prerequisites: readonly string[];
  /** Whether events about this answer must carry its reason. */
  readonly isExperiment: boolean;
}

/** A flag made ready to be evaluated. */
export interface Flag {
  readonly key: string;
  readonly version: number;
  readonly deleted: boolean;
  /** Direct prerequisites, each once. */
  readonly prerequisiteKeys: readonly string[];
  /** Segments that the rules name, each once. */
  readonly segmentKeys: readonly string[];
  readonly trackEvents: boolean;
  readonly trackEventsFallthrough: boolean;
  /** Unix ms. */
  readonly debugEventsUntilDate: number | undefined;
}

/** A segment made ready to be evaluated. */
export interface Segment {
  readonly key: string;
  readonly version: number;
  readonly deleted: boolean;
  /** A Big Segment: its members are asked for, not listed. */
  readonly unbounded: boolean;
  /** Segments that the rules name, each once. */
  readonly segmentKeys: readonly string[];
}

/** A context that was found valid. */
export interface Context {
  /** The kinds in the order in which they were given. */
  readonly kinds: readonly string[];
}

/** Answers what flags say for a context. Nothing here throws. */
export interface Evaluator {
  /** `context` is whatever the caller has: an invalid one answers USER_NOT_SPECIFIED. */
  evaluate(flagKey: string, context: unknown, fallback: unknown): Detail;
  boolVariation(flagKey: string, context: unknown, fallback: boolean): Detail<boolean>;
  stringVariation(flagKey: string, context: unknown, fallback: string): Detail<string>;
  numberVariation(flagKey: string, context: unknown, fallback: number): Detail<number>;
  jsonVariation(flagKey: string, context: unknown, fallback: unknown): Detail;
  allFlagsState(context: unknown, options: AllFlagsOptions): FlagsState;
  evaluateFlag(flag: Flag, context: Context): FlagResult;
}
