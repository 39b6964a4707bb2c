/** Every address of the relay, one row each. `docs/endpoints.md` is held against this table. */
import type { IncomingHttpHeaders } from 'node:http';
import type { CredentialKind, Log } from '../ports.ts';
import type { Asked } from './credentials.ts';
import { createEvalx, type ReadContext } from './evalx.ts';
import { createEvents, goals } from './events.ts';
import { createFdv2Evaluation, createFdv2Poll } from './fdv2.ts';
import { createOfrep } from './ofrep.ts';
import { createPolling } from './polling.ts';
import type { Reply } from './reply.ts';
import { contextFromBody, contextFromPath } from './request-context.ts';
import type { ServedEnvironment, StreamKind } from './services.ts';
import { createStatus, type StatusOptions } from './status.ts';

export interface RouteRequest {
  readonly method: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Present on routes with a credential. */
  readonly environment?: ServedEnvironment;
  readonly credential?: string;
  readonly credentialKind?: CredentialKind;
  /** What stands behind the head, unpacked. To be called once. Rejects with Refusal. */
  body(limitBytes: number): Promise<Buffer>;
}

/** May reject or throw: Refusal is answered with its reply, anything else with 500 and logged. */
export type Handler = (request: RouteRequest) => Reply | Promise<Reply>;

interface RouteBase {
  readonly method: 'GET' | 'POST' | 'REPORT';
  readonly path: string;
  /** Addresses that browsers use, those that take a client-side ID, answer OPTIONS too, and carry CORS headers on everything. */
  readonly credential?: Asked;
}

/** Answered by a handler, or with a stream, which needs a credential and may need a context. */
export type Route =
  | (RouteBase & { readonly handler: Handler })
  | (RouteBase & { readonly credential: Asked; readonly stream: StreamKind; readonly context?: ReadContext });

export type StreamRoute = Extract<Route, { readonly stream: StreamKind }>;

export interface RoutesOptions extends StatusOptions {
  /** For faults that a protocol wants answered in its own words. */
  readonly log?: Log;
  /** Of a context in a body, unpacked; a body of exactly the limit is taken: 5 MiB. */
  readonly maxContextBytes?: number;
  /** Of events, unpacked; a body of exactly the limit is taken: 10 MiB. */
  readonly maxInboundPayloadBytes?: number;
}

const MIB = 1024 * 1024;

export function servesBrowsers({ credential }: Pick<Route, 'credential'>): boolean {
  return credential === 'environmentId' || credential === 'client' || credential === 'any';
}

export function createRoutes(options: RoutesOptions): readonly Route[] {
  const { maxContextBytes = 5 * MIB, maxInboundPayloadBytes = 10 * MIB } = options;
  const { whole, one, flagsForPhp } = createPolling();
  const { analytics, diagnostic, image } = createEvents(maxInboundPayloadBytes);
  const ofrep = createOfrep({ maxContextBytes, log: options.log });
  const status = createStatus(options);
  const inPath: ReadContext = ({ params }) => contextFromPath(params.context!);
  const inBody: ReadContext = async ({ headers, body }) => contextFromBody(headers, await body(maxContextBytes));

  type Answer =
    | { readonly credential: Asked; readonly handler: Handler }
    | { readonly credential: Asked; readonly stream: StreamKind; readonly context: ReadContext };
  /** The context behind the path, or in the body: by REPORT, or by POST where something in between refuses REPORT. */
  const withContext = (
    inPaths: readonly string[],
    inBodies: readonly string[],
    answer: (readContext: ReadContext) => Answer,
  ): Route[] => [
    ...inPaths.map((path): Route => ({ method: 'GET', path: `${path}/{context}`, ...answer(inPath) })),
    ...inBodies.flatMap((path): Route[] => [
      { method: 'REPORT', path, ...answer(inBody) },
      { method: 'POST', path, ...answer(inBody) },
    ]),
  ];
  const evalx = (prefix: string, credential: Asked): Route[] =>
    withContext([`${prefix}/contexts`, `${prefix}/users`], [`${prefix}/context`, `${prefix}/user`], (readContext) => ({
      credential,
      handler: createEvalx(readContext),
    }));
  const evaluated = (path: string, credential: Asked): Route[] =>
    withContext([path], [path], (context) => ({ credential, stream: 'eval', context }));

  return [
    { method: 'GET', path: '/all', credential: 'sdkKey', stream: 'all' },
    { method: 'GET', path: '/flags', credential: 'sdkKey', stream: 'flags' },
    { method: 'GET', path: '/sdk/latest-all', credential: 'sdkKey', handler: whole('all') },
    { method: 'GET', path: '/sdk/latest-flags', credential: 'sdkKey', handler: whole('flags') },
    { method: 'GET', path: '/sdk/latest-segments', credential: 'sdkKey', handler: whole('segments') },
    { method: 'GET', path: '/sdk/flags', credential: 'sdkKey', handler: flagsForPhp },
    { method: 'GET', path: '/sdk/flags/{key}', credential: 'sdkKey', handler: one('features') },
    { method: 'GET', path: '/sdk/segments/{key}', credential: 'sdkKey', handler: one('segments') },
    { method: 'GET', path: '/sdk/stream', credential: 'sdkKey', stream: 'fdv2' },
    { method: 'GET', path: '/sdk/poll', credential: 'sdkKey', handler: createFdv2Poll() },
    ...evalx('/sdk/evalx', 'sdkKey'),
    { method: 'POST', path: '/bulk', credential: 'sdkKey', handler: analytics },
    { method: 'POST', path: '/diagnostic', credential: 'sdkKey', handler: diagnostic },

    ...evalx('/msdk/evalx', 'mobileKey'),
    ...evaluated('/meval', 'mobileKey'),
    { method: 'GET', path: '/mping', credential: 'mobileKey', stream: 'ping' },
    { method: 'POST', path: '/mobile', credential: 'mobileKey', handler: analytics },
    { method: 'POST', path: '/mobile/events', credential: 'mobileKey', handler: analytics },
    { method: 'POST', path: '/mobile/events/bulk', credential: 'mobileKey', handler: analytics },
    { method: 'POST', path: '/mobile/events/diagnostic', credential: 'mobileKey', handler: diagnostic },

    ...evalx('/sdk/evalx/{envId}', 'environmentId'),
    ...evaluated('/eval/{envId}', 'environmentId'),
    { method: 'GET', path: '/ping/{envId}', credential: 'environmentId', stream: 'ping' },
    { method: 'GET', path: '/sdk/goals/{envId}', credential: 'environmentId', handler: goals },
    { method: 'POST', path: '/events/bulk/{envId}', credential: 'environmentId', handler: analytics },
    { method: 'POST', path: '/events/diagnostic/{envId}', credential: 'environmentId', handler: diagnostic },
    { method: 'GET', path: '/a/{envId}.gif', credential: 'environmentId', handler: image },

    ...withContext(['/sdk/poll/eval'], ['/sdk/poll/eval'], (readContext) => ({
      credential: 'client',
      handler: createFdv2Evaluation(readContext),
    })),
    // A ping makes these SDKs poll.
    ...withContext(['/sdk/stream/eval'], ['/sdk/stream/eval'], (context) => ({
      credential: 'client',
      stream: 'ping',
      context,
    })),

    { method: 'POST', path: '/ofrep/v1/evaluate/flags/{key}', credential: 'any', handler: ofrep.single },
    { method: 'POST', path: '/ofrep/v1/evaluate/flags', credential: 'any', handler: ofrep.bulk },
    { method: 'GET', path: '/ofrep/v1/events/{envId}', credential: 'environmentId', stream: 'refetch' },
    { method: 'GET', path: '/ofrep/v1/configuration', credential: 'any', handler: ofrep.configuration },

    { method: 'GET', path: '/status', handler: status.all },
    { method: 'GET', path: '/status/{environment}', handler: status.one },
    { method: 'GET', path: '/status/{environment}/{filter}', handler: status.one },
    { method: 'GET', path: '/livez', handler: status.live },
    { method: 'GET', path: '/readyz', handler: status.ready },
  ];
}
