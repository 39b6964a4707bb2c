/**
 * OpenFeature's evaluation contexts, made LaunchDarkly's as LaunchDarkly's own OpenFeature provider for Node makes them
 * (`translateContext` of @launchdarkly/openfeature-js-server-common 1), so that a flag answers alike through either.
 */
import { Refusal } from './reply.ts';
import { contextFromValue, type RequestContext } from './request-context.ts';

/** A request that OFREP answers with 400, in OpenFeature's words. */
export interface OpenFeatureProblem {
  readonly errorCode: 'PARSE_ERROR' | 'TARGETING_KEY_MISSING' | 'INVALID_CONTEXT';
  readonly errorDetails: string;
}

/** `body` is the JSON of a request: `{"context": {…}}`. */
export function contextFromOpenFeature(body: unknown): RequestContext | OpenFeatureProblem {
  if (!isStructure(body)) return problem('PARSE_ERROR', 'the body must be a JSON object: {"context": {…}}');
  const given = body.context ?? {};
  if (!isStructure(given)) return problem('INVALID_CONTEXT', '"context" must be an object');
  const context = toLaunchDarkly(given);
  const nameless = withoutKey(context);
  if (nameless !== undefined) return problem('TARGETING_KEY_MISSING', nameless);
  try {
    return contextFromValue(context, '"context"');
  } catch (error) {
    if (error instanceof Refusal) return problem('INVALID_CONTEXT', error.message);
    throw error;
  }
}

/**
 * The kind is `kind`, or else `user`; the key is `targetingKey`, or else `key`; `privateAttributes` become LaunchDarkly's.
 * In a `multi` context every member that is a structure is a context of its own. What LaunchDarkly's provider leaves out with
 * a line in its log is left out: a `name` that is no text, an `anonymous` that is no boolean, members of a `multi` context
 * that are no structures.
 */
export function toLaunchDarkly(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (given.kind !== 'multi') {
    return { kind: typeof given.kind === 'string' ? given.kind : 'user', ...singleKind(given) };
  }
  const members: [string, unknown][] = [];
  for (const [kind, member] of Object.entries(given)) {
    if (kind === 'kind') members.push([kind, member]);
    else if (isStructure(member)) members.push([kind, singleKind(member)]);
  }
  return Object.fromEntries(members);
}

const typesOf = new Map([
  ['name', 'string'],
  ['anonymous', 'boolean'],
]);

function singleKind(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const attributes: [string, unknown][] = [['key', given.targetingKey ?? given.key]];
  for (const [name, value] of Object.entries(given)) {
    if (name === 'targetingKey' || name === 'key' || name === 'kind') continue;
    const wanted = typesOf.get(name);
    if (name === 'privateAttributes') attributes.push(['_meta', { privateAttributes: value }]);
    else if (wanted === undefined || typeof value === wanted) attributes.push([name, value]);
  }
  // fromEntries defines properties, so that an attribute named __proto__ is one like any other.
  return Object.fromEntries(attributes);
}

/** Which context has no key; undefined: all have one. */
function withoutKey(context: Readonly<Record<string, unknown>>): string | undefined {
  const isMissing = (key: unknown) => key === undefined || key === null || key === '';
  if (context.kind !== 'multi') {
    return isMissing(context.key) ? 'the context must have a "targetingKey" that is not empty' : undefined;
  }
  for (const [kind, member] of Object.entries(context)) {
    if (isStructure(member) && isMissing(member.key)) {
      return `the context of kind ${JSON.stringify(kind)} must have a "targetingKey" that is not empty`;
    }
  }
  return undefined;
}

function isStructure(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function problem(errorCode: OpenFeatureProblem['errorCode'], errorDetails: string): OpenFeatureProblem {
  return { errorCode, errorDetails };
}
