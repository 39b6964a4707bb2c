/** `evalx`: all flags evaluated for one context, for mobile SDKs, browsers and holders of an SDK key. */
import type { Context } from '../../lib/evaluation/index.ts';
import { inSlices } from '../common/slices.ts';
import type { EvaluatedFlag, EvaluationOptions, Memberships } from '../ports.ts';
import { digestOf } from './bodies.ts';
import { bodyOf } from './encoding.ts';
import { parsedBytes } from './held-context.ts';
import { prepare } from './memberships.ts';
import type { Reply } from './reply.ts';
import { type Representation, represent, withoutData } from './represent.ts';
import type { EnvironmentRequest, Handler } from './request.ts';
import { type RequestContext, requireSecureMode } from './request-context.ts';

/** Reads the context of a request, from its path or its body. Rejects with Refusal. */
export type ReadContext = (request: EnvironmentRequest) => RequestContext | Promise<RequestContext>;

/** The flags of one context, and a digest of everything that they depend on. */
export interface Evaluation {
  readonly digest: string;
  flags(): Promise<readonly EvaluatedFlag[]>;
}

export function createEvalx(readContext: ReadContext): Handler {
  return (request) =>
    evaluate(request, readContext, (evaluation) => ({
      digest: evaluation.digest,
      body: async () => {
        const flags = await evaluation.flags();
        return bodyOf(`{${flags.map(({ key, json }) => `${JSON.stringify(key)}:${json}`).join(',')}}`);
      },
    }));
}

/**
 * Flags are evaluated only for a body: a client that already holds the answer costs a hash. With Big Segments the answer
 * also depends on memberships, which are not part of the environment's content, so the digest covers the answers instead. So it does
 * while a flag changes faster than it is compiled, and counts in an earlier version.
 */
export async function evaluate(
  request: EnvironmentRequest,
  readContext: ReadContext,
  answer: (evaluation: Evaluation) => Representation,
): Promise<Reply> {
  const { context, canonical } = await readContext(request);
  await request.pause();
  request.hold(parsedBytes(canonical));
  const { environment, credentialKind: audience } = request;
  if (audience === 'environmentId') requireSecureMode(environment, context, request.query);
  const { view, clientView } = environment;
  if (!view.initialized) return withoutData(environment);

  const withReasons = request.query.get('withReasons') === 'true';
  const options = { audience, withReasons };
  const prepared = await prepare(environment, context);
  if ('reply' in prepared) return prepared.reply;
  // All requests that waited for the same flags go on at once.
  await request.pause();
  const { memberships } = prepared;
  const evaluated = () => evaluateAll(request, context, options, memberships);
  const flags = memberships || clientView.isBehind ? await evaluated() : undefined;
  const content = flags ? flags.map(({ key, json }) => [key, json]) : view.digest('all');
  const digest = digestOf(JSON.stringify([content, canonical, audience, withReasons]));
  await request.pause();
  const reply = answer({ digest, flags: async () => flags ?? (await evaluated()) });
  return represent(request, { ...reply, headers: { 'Cache-Control': 'private, no-cache' } });
}

/** How often an evaluation begins again because a change arrived meanwhile. */
const MOST_RESTARTS = 2;

/**
 * All flags for a context, a slice at a time. They are of one state of the environment, unless changes keep coming: then segments and
 * prerequisites may be newer than the flags that need them.
 */
export async function evaluateAll(
  { environment: { view, clientView }, pause }: EnvironmentRequest,
  context: Context,
  options: EvaluationOptions,
  memberships: Memberships | undefined,
): Promise<readonly EvaluatedFlag[]> {
  for (let restarts = 0; ; restarts++) {
    const { generation } = view;
    const flags = await inSlices(clientView.evaluateInSteps(context, options, memberships), { pause });
    if (view.generation === generation || restarts === MOST_RESTARTS) return flags;
  }
}
