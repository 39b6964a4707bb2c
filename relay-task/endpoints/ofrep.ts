/**
 * The OpenFeature Remote Evaluation Protocol: flags evaluated for OpenFeature's own providers, which know nothing of
 * LaunchDarkly. Source: github.com/open-feature/protocol, service/openapi.yaml 0.3, and 0.1 for `/ofrep/v1/configuration`,
 * which later versions dropped and older providers ask for.
 */
import { createHash } from 'node:crypto';
import type { Log } from '../ports.ts';
import { bodyOf } from './encoding.ts';
import { contextFromOpenFeature } from './ofrep-context.ts';
import { createOpenFeatureResults, reasonsFor } from './ofrep-result.ts';
import { jsonReply, messageReply, Refusal, type Reply } from './reply.ts';
import { represent, withoutData } from './represent.ts';
import { jsonFromBody, type RequestContext, requireSecureMode } from './request-context.ts';
import type { Handler, RouteRequest } from './routes.ts';

export interface OfrepOptions {
  /** Of the request's body, unpacked; a body of exactly the limit is taken. */
  readonly maxContextBytes: number;
  readonly log?: Log | undefined;
}

export interface OfrepHandlers {
  /** One flag, `{key}` in the path. */
  readonly single: Handler;
  /** Every flag that the credential's kind may see. */
  readonly bulk: Handler;
  readonly configuration: Handler;
}

/** Answers depend on who asks, and are good until the next change. */
const privately = { 'Cache-Control': 'private, no-cache' };
const CONFIGURATION = JSON.stringify({
  name: 'edge-flag-relay',
  capabilities: {
    cacheInvalidation: { polling: { enabled: true, minPollingIntervalMs: 1_000 } },
    flagEvaluation: { supportedTypes: ['boolean', 'string', 'int', 'float', 'object'] },
    caching: { enabled: false },
  },
});

export function createOfrep({ maxContextBytes, log }: OfrepOptions): OfrepHandlers {
  const resultOf = createOpenFeatureResults();

  /** With errors in OFREP's shape, which names the flag where there is one. */
  const evaluating =
    (answer: (request: RouteRequest, context: RequestContext, remembers: boolean) => Promise<Reply>): Handler =>
    async (request) => {
      const { key } = request.params;
      const failure = (
        status: number,
        { errorCode, errorDetails }: { errorCode: string; errorDetails: string },
        headers: Readonly<Record<string, string>> = {},
      ) => jsonReply(status, { ...(key !== undefined && { key }), errorCode, errorDetails }, { ...headers });
      try {
        const read = contextFromOpenFeature(jsonFromBody(request.headers, await request.body(maxContextBytes)));
        if ('errorCode' in read) return failure(400, read);
        const environment = request.environment!;
        if (!isProven(request, read)) return messageReply(403, unproven);
        if (!environment.view.initialized) return withoutData(environment);
        const memberships = environment.clientView.prepare(read.context);
        await memberships;
        return await answer(request, read, memberships !== undefined);
      } catch (error) {
        if (error instanceof Refusal) {
          const { status, headers } = error.reply;
          return failure(status, { errorCode: 'PARSE_ERROR', errorDetails: error.message }, headers);
        }
        log?.error('a request could not be answered', { route: '/ofrep/v1/evaluate/flags', error });
        return failure(500, { errorCode: 'GENERAL', errorDetails: 'the relay failed to answer; its log says why' });
      }
    };

  return {
    single: evaluating((request, { context }) => {
      const key = request.params.key!;
      const audience = request.credentialKind!;
      const flag = request.environment!.clientView.evaluateOne(key, context, { audience, withReasons: true });
      if (!flag) {
        const errorDetails = `there is no flag ${JSON.stringify(key)} that this kind of credential may see`;
        return Promise.resolve(jsonReply(404, { key, errorCode: 'FLAG_NOT_FOUND', errorDetails }, privately));
      }
      const { failed, json } = resultOf(flag, reasonsFor(request.headers));
      if (failed) {
        const headers = { 'Content-Type': 'application/json', ...privately };
        return Promise.resolve({ status: 400, headers, body: json });
      }
      return represent(request, { digest: digestOf(json), headers: privately, body: () => bodyOf(json) });
    }),

    // Flags are evaluated when somebody asks for them: a client that holds the answer already costs a hash. With Big
    // Segments the answer depends on memberships that are not part of the environment's content: then the hash is of it.
    bulk: evaluating((request, { context, canonical }, remembers) => {
      const { view, clientView, environmentId } = request.environment!;
      const audience = request.credentialKind!;
      const reasons = reasonsFor(request.headers);
      const streams = eventStreams(request);
      const render = () => {
        const flags = clientView.evaluateAll(context, { audience, withReasons: true });
        const metadata =
          environmentId === undefined ? '' : `,"metadata":${JSON.stringify({ flagSetId: environmentId })}`;
        return `{"flags":[${flags.map((flag) => resultOf(flag, reasons).json).join(',')}]${metadata}${streams}}`;
      };
      const rendered = remembers ? render() : undefined;
      const digest = digestOf(
        rendered ?? JSON.stringify(['ofrep', view.digest('all'), canonical, audience, reasons, environmentId, streams]),
      );
      return represent(request, { digest, headers: privately, body: () => bodyOf(rendered ?? render()) });
    }),

    configuration: (request) =>
      represent(request, {
        digest: digestOf(CONFIGURATION),
        headers: privately,
        body: () => bodyOf(CONFIGURATION),
      }),
  };
}

/**
 * Where a provider hears of changes, as the end of a JSON object. By its address alone, since browsers send no headers with
 * an EventSource; so only to those whose credential may stand in an address. The origin is the provider's own base URL's.
 */
function eventStreams({ credential, credentialKind, query }: RouteRequest): string {
  if (credentialKind !== 'environmentId') return '';
  const filter = query.get('filter') ?? '';
  const suffix = filter === '' ? '' : `?filter=${encodeURIComponent(filter)}`;
  const requestUri = `/ofrep/v1/events/${encodeURIComponent(credential!)}${suffix}`;
  return `,"eventStreams":${JSON.stringify([{ type: 'sse', endpoint: { requestUri } }])}`;
}

const unproven =
  'the environment is in secure mode, and neither the header X-LaunchDarkly-Hash nor the query parameter "h" is the hash of this context under an SDK key';

/**
 * In secure mode browsers prove their context. By a header, since providers make headers anew for every request, and with
 * the context the hash changes; or in the query, as LaunchDarkly's SDKs do.
 */
function isProven({ environment, credentialKind, headers, query }: RouteRequest, { context }: RequestContext): boolean {
  if (credentialKind !== 'environmentId') return true;
  const hash = String(headers['x-launchdarkly-hash'] ?? query.get('h') ?? '');
  try {
    requireSecureMode(environment!, context, new URLSearchParams({ h: hash }));
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
