/** Contexts of requests in OpenFeature's form. */
import { toLaunchDarkly } from '../../lib/evaluation/index.ts';
import { isObject, type JsonObject } from '../common/json.ts';
import { Refusal } from './reply.ts';
import { contextFromValue, type RequestContext } from './request-context.ts';

/** Why a request is answered with 400, with OpenFeature's error code. */
interface OpenFeatureProblem {
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
