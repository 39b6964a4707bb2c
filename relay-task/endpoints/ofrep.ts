/**
 * The OpenFeature Remote Evaluation Protocol, for OpenFeature's vendor-neutral providers. Source: service/openapi.yaml 0.3 of
 * github.com/open-feature/protocol, and 0.1 for `/ofrep/v1/configuration`, which later versions dropped but older providers
 * still request.
 */
import type { Context } from '../../lib/evaluation/index.ts';
import type { Kept } from '../common/kept.ts';
import { inSlices } from '../common/slices.ts';
import type { EvaluatedFlag, ItemView, Log } from '../ports.ts';
import { digestOf } from './bodies.ts';
import { bodyOf } from './encoding.ts';
import { answerWithFlags, privately } from './evalx.ts';
import { createFailureLog } from './failure-log.ts';
import { parsedBytes } from './held-context.ts';
import { prepare } from './memberships.ts';
import { contextFromOpenFeature } from './ofrep-context.ts';
import { createOpenFeatureResults, type Reasons, reasonsFor } from './ofrep-result.ts';
import { CANNOT_ANSWER, jsonReply, messageReply, Refusal, type Reply, SEE_LOG } from './reply.ts';
import { represent, withoutData } from './represent.ts';
import type { EnvironmentRequest, Handler } from './request.ts';
import { jsonFromBody, passesSecureMode, type RequestContext } from './request-context.ts';

interface OfrepOptions {
  /** The largest body that is accepted, decompressed. */
  readonly maxContextBytes: number;
  readonly log?: Log | undefined;
  /** Where the texts of answers are kept; in a small memory of its own by default. */
  readonly kept?: Kept | undefined;
}

const CONFIGURATION = JSON.stringify({
  name: 'edge-flag-relay',
  capabilities: {
    cacheInvalidation: { polling: { enabled: true, minPollingIntervalMs: 1_000 } },
    flagEvaluation: { supportedTypes: ['boolean', 'string', 'int', 'float', 'object'] },
    caching: { enabled: false },
  },
});

const BULK_ROUTE = '/ofrep/v1/evaluate/flags';

export function createOfrep({ maxContextBytes, log, kept }: OfrepOptions) {
  const resultOf = createOpenFeatureResults(kept);
  const logFailure = createFailureLog(log);
  /** A flag that cannot be converted costs only itself. */
  function textOf(flag: EvaluatedFlag, reasons: Reasons, view: ItemView): string {
    try {
      return resultOf(flag, reasons, view).json;
    } catch (error) {
      logFailure({ message: 'Cannot answer about a flag', route: BULK_ROUTE, flag: flag.key, error });
      return JSON.stringify({ key: flag.key, errorCode: 'GENERAL', errorDetails: SEE_LOG });
    }
  }

  /** Reads the context and gives errors OFREP's shape, which names the flag if there is one. */
  const evaluating =
    (answer: (request: EnvironmentRequest, context: RequestContext) => Reply | Promise<Reply>): Handler =>
    async (request) => {
      const { environment, headers, params } = request;
      const failure = (status: number, problem: Problem, more: Readonly<Record<string, string>> = {}) =>
        jsonReply(status, { ...(params.key !== undefined && { key: params.key }), ...problem }, { ...more });
      try {
        const body = await request.body(maxContextBytes);
        const json = await inSlices(jsonFromBody(headers, body), { pause: request.pause });
        await request.pause();
        const read = contextFromOpenFeature(json);
        if ('errorCode' in read) return failure(400, read);
        await request.pause();
        request.hold(parsedBytes(read.canonical));
        if (!isProven(request, read.context)) return messageReply(403, unproven);
        if (!environment.view.initialized) return withoutData(environment);
        return await answer(request, read);
      } catch (error) {
        if (error instanceof Refusal) {
          const { reply, message } = error;
          return failure(reply.status, { errorCode: 'PARSE_ERROR', errorDetails: message }, reply.headers);
        }
        logFailure({ message: CANNOT_ANSWER, route: BULK_ROUTE, error });
        return failure(500, { errorCode: 'GENERAL', errorDetails: SEE_LOG });
      }
    };

  return {
    /** One flag, `{key}` in the path. */
    single: evaluating(async (request, { context }) => {
      const { environment, credentialKind: audience, headers } = request;
      const prepared = await prepare(request, context);
      if ('reply' in prepared) return prepared.reply;
      const { key = '' } = request.params;
      const wanted = { audience, withReasons: true };
      const flag = environment.clientView.evaluateOne(key, context, wanted, prepared.memberships);
      if (!flag) {
        const errorDetails = `there is no flag ${JSON.stringify(key)} that this kind of credential may see`;
        return jsonReply(404, { key, errorCode: 'FLAG_NOT_FOUND', errorDetails }, privately);
      }
      const { failed, json } = resultOf(flag, reasonsFor(headers), environment.view);
      if (failed) return { status: 400, headers: { 'Content-Type': 'application/json', ...privately }, body: json };
      return represent(request, { digest: digestOf(json), headers: privately, body: () => bodyOf(json) });
    }),

    /** Every flag that the credential's kind may see. */
    bulk: evaluating((request, read) => {
      const { view, environmentId } = request.environment;
      const reasons = reasonsFor(request.headers);
      const streams = eventStreams(request);
      const metadata = environmentId === undefined ? '' : `,"metadata":${JSON.stringify({ flagSetId: environmentId })}`;
      return answerWithFlags(request, read, {
        withReasons: true,
        about: ['ofrep', reasons, metadata, streams],
        write: (flag) => textOf(flag, reasons, view),
        body: (results) => bodyOf(`{"flags":[${results.join(',')}]${metadata}${streams}}`),
      });
    }),

    configuration: (request: EnvironmentRequest) =>
      represent(request, {
        digest: digestOf(CONFIGURATION),
        headers: privately,
        body: () => bodyOf(CONFIGURATION),
      }),
  };
}

interface Problem {
  readonly errorCode: string;
  readonly errorDetails: string;
}

/**
 * Where a provider can listen for changes, as the end of a JSON object. Browsers send no headers with an EventSource, so
 * only client-side IDs, which may appear in a URL, get one. It is relative to the provider's base URL.
 */
function eventStreams({ credential, credentialKind, query }: EnvironmentRequest): string {
  if (credentialKind !== 'environmentId') return '';
  const filter = query.get('filter') ?? '';
  const suffix = filter === '' ? '' : `?filter=${encodeURIComponent(filter)}`;
  const requestUri = `/ofrep/v1/events/${encodeURIComponent(credential)}${suffix}`;
  return `,"eventStreams":${JSON.stringify([{ type: 'sse', endpoint: { requestUri } }])}`;
}

const unproven =
  'the environment is in secure mode, and neither the header X-LaunchDarkly-Hash nor the query parameter "h" is the hash of this context under an SDK key';

/**
 * Whether a browser passes secure mode. The hash may be a header, since providers build headers for every request and the
 * hash changes with the context, or in the query, where LaunchDarkly's SDKs put it.
 */
function isProven({ environment, credentialKind, headers, query }: EnvironmentRequest, context: Context): boolean {
  if (credentialKind !== 'environmentId') return true;
  return passesSecureMode(environment, context, String(headers['x-launchdarkly-hash'] ?? query.get('h') ?? ''));
}
