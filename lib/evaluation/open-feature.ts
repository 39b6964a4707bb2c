/**
 * OpenFeature's evaluation contexts and answers, as LaunchDarkly's OpenFeature provider for Node translates them (`translateContext` and
 * `translateResult` of @launchdarkly/openfeature-js-server-common 1), so that a flag has the same value through both.
 */
import { isFields } from './complete.ts';
import type { ErrorKind } from './model.ts';

type Fields = Readonly<Record<string, unknown>>;

/** OpenFeature's error codes. Source: OpenFeature specification, "Types and data structures". */
type OpenFeatureErrorCode =
  | 'PROVIDER_NOT_READY'
  | 'FLAG_NOT_FOUND'
  | 'PARSE_ERROR'
  | 'TYPE_MISMATCH'
  | 'TARGETING_KEY_MISSING'
  | 'GENERAL';

const CODES: Readonly<Record<ErrorKind, OpenFeatureErrorCode>> = {
  CLIENT_NOT_READY: 'PROVIDER_NOT_READY',
  FLAG_NOT_FOUND: 'FLAG_NOT_FOUND',
  MALFORMED_FLAG: 'PARSE_ERROR',
  USER_NOT_SPECIFIED: 'TARGETING_KEY_MISSING',
  WRONG_TYPE: 'TYPE_MISMATCH',
  EXCEPTION: 'GENERAL',
};

/** The OpenFeature error code for the `errorKind` of a LaunchDarkly reason. */
export function openFeatureErrorCode(kind: ErrorKind): OpenFeatureErrorCode {
  return CODES[kind];
}

/**
 * The kind is `kind`, by default `user`; the key is `targetingKey`, or else `key`; `privateAttributes` become LaunchDarkly's.
 * In a `multi` context every object member is a context of its own. What LaunchDarkly's provider drops is dropped here, too:
 * a `name` that is not a string, an `anonymous` that is not a boolean, members of a `multi` context that are not objects.
 */
export function toLaunchDarkly(given: Fields): Record<string, unknown> {
  if (given.kind !== 'multi') {
    return { kind: typeof given.kind === 'string' ? given.kind : 'user', ...singleKind(given) };
  }
  const members: [string, unknown][] = [];
  for (const [kind, member] of Object.entries(given)) {
    if (kind === 'kind') members.push([kind, member]);
    else if (isFields(member)) members.push([kind, singleKind(member)]);
  }
  return Object.fromEntries(members);
}

const typesOf = new Map([
  ['name', 'string'],
  ['anonymous', 'boolean'],
]);

function singleKind(given: Fields): Record<string, unknown> {
  const attributes: [string, unknown][] = [['key', given.targetingKey ?? given.key]];
  for (const [name, value] of Object.entries(given)) {
    if (name === 'targetingKey' || name === 'key' || name === 'kind') continue;
    const wanted = typesOf.get(name);
    if (name === 'privateAttributes') attributes.push(['_meta', { privateAttributes: value }]);
    else if (wanted === undefined || typeof value === wanted) attributes.push([name, datesAsText(value)]);
  }
  // fromEntries defines properties, so an attribute named __proto__ is safe.
  return Object.fromEntries(attributes);
}

/** LaunchDarkly has no dates; a part of a value that contains itself is left out, as LaunchDarkly's provider does. */
function datesAsText(value: unknown, within: readonly unknown[] = []): unknown {
  if (value instanceof Date) return value.toISOString();
  if (!isFields(value)) return value;
  const inside = [...within, value];
  const members = Object.entries(value).filter(([, member]) => !inside.includes(member));
  return Object.fromEntries(members.map(([name, member]) => [name, datesAsText(member, inside)]));
}
