/**
 * Flags and segments as parsed JSON; the types are expected, not checked. Null means absent everywhere except in variations.
 * A part of the wrong type may throw a TypeError during compilation, which makes the whole item malformed.
 */
type Maybe<T> = T | null | undefined;

export interface TargetData {
  contextKind?: Maybe<string>;
  variation?: Maybe<number>;
  values?: Maybe<readonly string[]>;
}

export interface ClauseData {
  contextKind?: Maybe<string>;
  attribute?: Maybe<string>;
  op?: Maybe<string>;
  values?: Maybe<readonly unknown[]>;
  negate?: Maybe<boolean>;
}

export interface RolloutData {
  kind?: Maybe<string>;
  contextKind?: Maybe<string>;
  bucketBy?: Maybe<string>;
  seed?: Maybe<number>;
  variations?: Maybe<readonly { variation?: Maybe<number>; weight?: Maybe<number>; untracked?: Maybe<boolean> }[]>;
}

export interface ChoiceData {
  variation?: Maybe<number>;
  rollout?: Maybe<RolloutData>;
}

interface RuleData extends ChoiceData {
  id?: Maybe<string>;
  clauses?: Maybe<readonly ClauseData[]>;
  trackEvents?: Maybe<boolean>;
}

interface ItemData {
  key?: Maybe<string>;
  version?: Maybe<number>;
  deleted?: Maybe<boolean>;
  salt?: Maybe<string>;
}

export interface FlagData extends ItemData {
  on?: Maybe<boolean>;
  prerequisites?: Maybe<readonly { key?: Maybe<string>; variation?: Maybe<number> }[]>;
  targets?: Maybe<readonly TargetData[]>;
  contextTargets?: Maybe<readonly TargetData[]>;
  rules?: Maybe<readonly RuleData[]>;
  fallthrough?: Maybe<ChoiceData>;
  offVariation?: Maybe<number>;
  variations?: Maybe<readonly unknown[]>;
  clientSideAvailability?: Maybe<{ usingMobileKey?: Maybe<boolean>; usingEnvironmentId?: Maybe<boolean> }>;
  clientSide?: Maybe<boolean>;
  trackEvents?: Maybe<boolean>;
  trackEventsFallthrough?: Maybe<boolean>;
  debugEventsUntilDate?: Maybe<number>;
  samplingRatio?: Maybe<number>;
  excludeFromSummaries?: Maybe<boolean>;
}

interface SegmentRuleData {
  clauses?: Maybe<readonly ClauseData[]>;
  weight?: Maybe<number>;
  bucketBy?: Maybe<string>;
  rolloutContextKind?: Maybe<string>;
}

export interface SegmentData extends ItemData {
  included?: Maybe<readonly string[]>;
  excluded?: Maybe<readonly string[]>;
  includedContexts?: Maybe<readonly TargetData[]>;
  excludedContexts?: Maybe<readonly TargetData[]>;
  rules?: Maybe<readonly SegmentRuleData[]>;
  unbounded?: Maybe<boolean>;
  unboundedContextKind?: Maybe<string>;
  generation?: Maybe<number>;
}

/** The message is never shown: the caller catches the error and treats the item as malformed. */
function wrongType(): never {
  throw new TypeError();
}

/** The array, or an empty one if absent; throws on anything else. */
export function list<T>(value: Maybe<readonly T[]>): readonly T[] {
  const array = value ?? [];
  return Array.isArray(array) ? array : wrongType();
}

/** The array of objects, or an empty one if absent; throws on anything else. */
export function objects<T>(value: Maybe<readonly T[]>): readonly T[] {
  const array = list(value);
  return array.some((part) => Object(part) !== part || Array.isArray(part)) ? wrongType() : array;
}

/** The string; throws on anything else. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : wrongType();
}

/** The fields that every compiled item has. */
export function head({ key, version, deleted }: ItemData): { key: string; version: number; deleted: boolean } {
  // A missing version stays missing: nothing here calculates with it.
  return { key: typeof key === 'string' ? key : '', version: (version ?? undefined) as number, deleted: !!deleted };
}

/** Hashed before a value: key and salt, each followed by a dot. */
export function hashPrefix({ key, salt }: ItemData): string {
  return `${text(key)}.${salt || ''}.`;
}
