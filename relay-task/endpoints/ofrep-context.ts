/**
 * Converts OpenFeature's evaluation contexts to LaunchDarkly's, as LaunchDarkly's OpenFeature provider for Node does
 * (`translateContext` of @launchdarkly/openfeature-js-server-common 1), so that a flag has the same value through both.
 */
import { isObject, type JsonObject } from '../common/json.ts';
import { Refusal } from './reply.ts';
import { contextFromValue, type RequestContext } from './request-context.ts';

/** Why a request is answered with 400, with OpenFeature's error code. */
export interface OpenFeatureProblem {
  readonly errorCode: 'PARSE_ERROR' | 'TARGETING_KEY_MISSING' | 'INVALID_CONTEXT';
  readonly errorDetails: string;
}

/** `body` is the JSON of a request: `{"context": {…}}`. */
export function contextFromOpenFeature(body: unknown): RequestContext | OpenFeatureProblem {
  if (!isObject(body)) return problem('PARSE_ERROR', 'the body must be a JSON object: {"context": {…}}');
  const given = body.context ?? {};
  if (!isObject(given)) return problem('INVALID_CONTEXT', '"context" must be an object');
  const context = toLaunchDarkly(given);
  const missing = missingKey(context);
  if (missing !== undefined) return problem('TARGETING_KEY_MISSING', missing);
  try {
    return contextFromValue(context, '"context"');
  } catch (error) {
    if (error instanceof Refusal) return problem('INVALID_CONTEXT', error.message);
    throw error;
  }
}

/**
 * The kind is `kind`, by default `user`; the key is `targetingKey`, or else `key`; `privateAttributes` become LaunchDarkly's.
 * In a `multi` context every object member is a context of its own. What LaunchDarkly's provider drops is dropped here, too:
 * a `name` that is not a string, an `anonymous` that is not a boolean, members of a `multi` context that are not objects.
 */
export function toLaunchDarkly(given: JsonObject): Record<string, unknown> {
  if (given.kind !== 'multi') {
    return { kind: typeof given.kind === 'string' ? given.kind : 'user', ...singleKind(given) };
  }
  const members: [string, unknown][] = [];
  for (const [kind, member] of Object.entries(given)) {
    if (kind === 'kind') members.push([kind, member]);
    else if (isObject(member)) members.push([kind, singleKind(member)]);
  }
  return Object.fromEntries(members);
}

const typesOf = new Map([
  ['name', 'string'],
  ['anonymous', 'boolean'],
]);

function singleKind(given: JsonObject): Record<string, unknown> {
  const attributes: [string, unknown][] = [['key', given.targetingKey ?? given.key]];
  for (const [name, value] of Object.entries(given)) {
    if (name === 'targetingKey' || name === 'key' || name === 'kind') continue;
    const wanted = typesOf.get(name);
    if (name === 'privateAttributes') attributes.push(['_meta', { privateAttributes: value }]);
    else if (wanted === undefined || typeof value === wanted) attributes.push([name, value]);
  }
  // fromEntries defines properties, so an attribute named __proto__ is safe.
  return Object.fromEntries(attributes);
}

/** Says which context has no key; undefined if all have one. */
function missingKey(context: JsonObject): string | undefined {
  const isMissing = (key: unknown) => key === undefined || key === null || key === '';
  if (context.kind !== 'multi') {
    return isMissing(context.key) ? 'the context must have a "targetingKey" that is not empty' : undefined;
  }
  for (const [kind, member] of Object.entries(context)) {
    if (isObject(member) && isMissing(member.key)) {
      return `the context of kind ${JSON.stringify(kind)} must have a "targetingKey" that is not empty`;
    }
  }
  return undefined;
}

function problem(errorCode: OpenFeatureProblem['errorCode'], errorDetails: string): OpenFeatureProblem {
  return { errorCode, errorDetails };
}
