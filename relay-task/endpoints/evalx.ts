/** `evalx`: all flags evaluated for one context, for mobile SDKs, browsers and holders of an SDK key. */
import type { Context } from '../../lib/evaluation/index.ts';
import { inSlices } from '../common/slices.ts';
import { unlessVoid } from '../common/void-steps.ts';
import type { EvaluatedFlag, ItemView, Memberships } from '../ports.ts';
import { digestInSteps, digestOf } from './bodies.ts';
import { type Body, bodyOf } from './encoding.ts';
import { parsedBytes } from './held-context.ts';
import { prepare } from './memberships.ts';
import type { Reply } from './reply.ts';
import { heldReply, type Representation, represent, withoutData } from './represent.ts';
import type { EnvironmentRequest, Handler } from './request.ts';
import { type RequestContext, requireSecureMode } from './request-context.ts';

/** Reads the context of a request, from its path or its body. Rejects with Refusal. */
export type ReadContext = (request: EnvironmentRequest) => RequestContext | Promise<RequestContext>;

/** How an answer about all flags is written. */
interface Form {
  readonly withReasons: boolean;
  /** What it depends on besides the flags, the context, the audience and the reasons; as JSON. */
  readonly about?: readonly unknown[];
  /** The part about one flag. */
  write(flag: EvaluatedFlag): string;
  /** The tag, by the digest of all that the answer depends on. The digest itself by default. */
  tag?(digest: string): Pick<Representation, 'digest' | 'unconditional'>;
  body(parts: readonly string[], digest: string): Body;
}

export function createEvalx(readContext: ReadContext): Handler {
  return async (request) => {
    const read = await readContext(request);
    return answerFor(request, read, {
      withReasons: wantsReasons(request),
      write: ({ key, json }) => `${JSON.stringify(key)}:${json}`,
      body: (parts) => bodyOf(`{${parts.join(',')}}`),
    });
  };
}

export function wantsReasons({ query }: EnvironmentRequest): boolean {
  return query.get('withReasons') === 'true';
}

/** For client-side SDKs, which prove their context with the query parameter `h`. Rejects with Refusal. */
export async function answerFor(request: EnvironmentRequest, read: RequestContext, form: Form): Promise<Reply> {
  await request.pause();
  request.hold(parsedBytes(read.canonical));
  const { environment, credentialKind, query } = request;
  if (credentialKind === 'environmentId') requireSecureMode(environment, read.context, query);
  if (!environment.view.initialized) return withoutData(environment);
  return answerWithFlags(request, read, form);
}

/** Answers depend on the credential and are valid until the next change. */
export const privately = { 'Cache-Control': 'private, no-cache' };

/**
 * Flags are evaluated only for a body: a client that already holds the answer costs a hash. The tag of a body is that of the flags that
 * are in it, whatever changed meanwhile.
 */
export async function answerWithFlags(
  request: EnvironmentRequest,
  { context, canonical }: RequestContext,
  form: Form,
): Promise<Reply> {
  const { environment, credentialKind } = request;
  const { view, clientView } = environment;
  const { withReasons, about = [], tag = (digest) => ({ digest }) } = form;
  const digestFor = (content: string) =>
    digestOf(JSON.stringify([content, canonical, credentialKind, withReasons, ...about]));
  for (let attempts = 0; ; attempts++) {
    const prepared = await prepare(request, context);
    if ('reply' in prepared) return prepared.reply;
    const { memberships } = prepared;
    await view.hashed();
    if (!memberships && !clientView.isBehind) {
      const held = heldReply(request, { ...tag(digestFor(view.digest('all'))), headers: privately });
      if (held) return held;
    }
    const isLast = attempts >= MOST_RESTARTS;
    const made = await request.evaluating(async (pause) => {
      const giveBack = request.hold(BYTES_OF_FLAG * countFlags(view));
      try {
        const written = await evaluateAll({ ...request, pause }, { context, form, memberships, isLast });
        if (!written) return undefined;
        const digest = digestFor(written.content);
        return { ...tag(digest), body: form.body(written.parts, digest) };
      } finally {
        giveBack();
      }
    });
    if (made) return represent(request, { ...made, headers: privately, body: () => made.body });
  }
}

/** Of an evaluation in progress: the answer about the flag, its part of the body, and what is known of it if others need it. */
const BYTES_OF_FLAG = 128;

const flagCounts = new WeakMap<ItemView, { readonly generation: number; readonly count: number }>();

function countFlags(view: ItemView): number {
  const { generation } = view;
  const known = flagCounts.get(view);
  if (known?.generation === generation) return known.count;
  const count = [...view.items('features')].length;
  flagCounts.set(view, { generation, count });
  return count;
}

/** What an answer says about the flags, and a digest of what that depends on besides the context and the form. */
interface Written {
  readonly parts: readonly string[];
  readonly content: string;
}

interface Evaluation {
  readonly context: Context;
  readonly form: Form;
  readonly memberships: Memberships | undefined;
  /** It must come to its end. */
  readonly isLast: boolean;
}

/** How often an evaluation begins again because a change arrived meanwhile. */
const MOST_RESTARTS = 2;
/** Written between two looks at the clock. */
const FLAGS_AT_ONCE = 32;

/**
 * All flags for a context, a slice at a time. They are of one state of the environment, unless changes keep coming: then segments and
 * prerequisites may be newer than the flags that need them.
 * The digest is the state's if the answer is made of it alone. With Big Segments it also depends on memberships, and while a flag changes
 * faster than it is compiled on an earlier version: then it is the digest of the answer.
 * Undefined: flags have to be compiled, or memberships to be loaded, before it can begin, or begin again.
 */
async function evaluateAll(
  { environment: { view, clientView }, credentialKind: audience, pause }: EnvironmentRequest,
  { context, form: { withReasons, write }, memberships, isLast }: Evaluation,
): Promise<Written | undefined> {
  const steps = function* (): Generator<void, string[]> {
    const flags = yield* clientView.evaluateInSteps(context, { audience, withReasons }, memberships);
    const parts: string[] = [];
    for (const flag of flags) {
      parts.push(write(flag));
      if (parts.length % FLAGS_AT_ONCE === 0) yield;
    }
    return parts;
  };
  for (let restarts = 0; ; restarts++) {
    const isPrepared = () => clientView.isPrepared(context, memberships);
    if (!isPrepared() || (!isLast && clientView.compile())) return undefined;
    const { generation } = view;
    const isOfOneState = () => view.generation === generation;
    const isVoid = () => restarts < MOST_RESTARTS && !isOfOneState();
    const parts = await inSlices(unlessVoid(steps(), isVoid), { pause });
    // The environment may have got another one's flags meanwhile.
    if (!isPrepared()) return undefined;
    if (!parts || isVoid()) continue;
    if (isOfOneState() && !memberships && !clientView.isBehind) return { parts, content: view.digest('all') };
    return { parts, content: await inSlices(digestInSteps(parts), { pause }) };
  }
}
