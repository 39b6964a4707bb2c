/** Every endpoint of the relay, one row each. A test compares `docs/endpoints.md` with this table. */
import type { Budget } from '../common/budget.ts';
import type { Kept } from '../common/kept.ts';
import { inSlices } from '../common/slices.ts';
import type { Log } from '../ports.ts';
import { createBodies } from './bodies.ts';
import type { Asked } from './credentials.ts';
import { createEvalx, type ReadContext } from './evalx.ts';
import { createEvents, goals } from './events.ts';
import { createFdv2Evaluation, createFdv2Poll } from './fdv2.ts';
import { createOfrep } from './ofrep.ts';
import { evaluated, fdv2, pingFor, plain, type ReadOpening } from './opening.ts';
import { createPolling } from './polling.ts';
import type { Handler, RouteRequest } from './request.ts';
import { contextFromBody, contextFromPath } from './request-context.ts';
import { createStatus, type StatusOptions } from './status.ts';

interface RouteBase {
  readonly method: 'GET' | 'POST' | 'REPORT';
  readonly path: string;
}

interface OpenRoute extends RouteBase {
  readonly credential?: undefined;
  /** Requests are turned away when too many wait for their turn. */
  readonly isCostly?: true;
  readonly handler: Handler<RouteRequest>;
}

export interface EnvironmentRoute extends RouteBase {
  readonly credential: Asked;
  readonly handler: Handler;
}

export interface StreamRoute extends RouteBase {
  readonly credential: Asked;
  readonly stream: ReadOpening;
}

export type Route = OpenRoute | EnvironmentRoute | StreamRoute;

export interface RoutesOptions extends StatusOptions {
  /** For what answers to polls of server SDKs share; unlimited by default. */
  readonly polls?: Budget | undefined;
  /** For failures that a protocol reports in its own format. */
  readonly log?: Log;
  /** The largest body with a context that is accepted, decompressed. */
  readonly maxContextBytes: number;
  /** The largest body of events that is accepted, decompressed. */
  readonly maxInboundPayloadBytes: number;
  /** Where the texts of answers are kept; in a small memory of its own by default. */
  readonly kept?: Kept | undefined;
}

const KIB = 1024;
/** The context of a stream stays in memory as long as the stream. In a path there is hardly room for more either. */
const MAX_STREAM_CONTEXT_BYTES = 64 * KIB;

/** Endpoints that accept a client-side ID. They answer OPTIONS, too, and all their answers have CORS headers. */
export function servesBrowsers(route: Route): route is EnvironmentRoute | StreamRoute {
  const { credential } = route;
  return credential === 'environmentId' || credential === 'client' || credential === 'any';
}

export function createRoutes(options: RoutesOptions): readonly Route[] {
  const { maxContextBytes, maxInboundPayloadBytes } = options;
  const bodies = createBodies(options.polls);
  const { whole, one, flagsForPhp } = createPolling(bodies);
  const { analytics, diagnostic, image } = createEvents(maxInboundPayloadBytes);
  const ofrep = createOfrep({ maxContextBytes, log: options.log, kept: options.kept });
  const status = createStatus(options);
  const inPath: ReadContext = ({ params }) => contextFromPath(params.context ?? '');
  const inBody =
    (limitBytes: number): ReadContext =>
    async ({ headers, body, pause }) =>
      inSlices(contextFromBody(headers, await body(limitBytes)), { pause });

  type Answer = Omit<EnvironmentRoute, keyof RouteBase> | Omit<StreamRoute, keyof RouteBase>;
  /** The context is in the path or in the body: of a REPORT, or of a POST for proxies that block REPORT. */
  const withContext = (
    inPaths: readonly string[],
    inBodies: readonly string[],
    answer: (readContext: ReadContext) => Answer,
    limitBytes = maxContextBytes,
  ): Route[] => [
    ...inPaths.map((path): Route => ({ method: 'GET', path: `${path}/{context}`, ...answer(inPath) })),
    ...inBodies.flatMap((path): Route[] => [
      { method: 'REPORT', path, ...answer(inBody(limitBytes)) },
      { method: 'POST', path, ...answer(inBody(limitBytes)) },
    ]),
  ];
  const evalx = (prefix: string, credential: Asked): Route[] =>
    withContext([`${prefix}/contexts`, `${prefix}/users`], [`${prefix}/context`, `${prefix}/user`], (readContext) => ({
      credential,
      handler: createEvalx(readContext),
    }));
  const evaluatedStreams = (path: string, credential: Asked): Route[] =>
    withContext(
      [path],
      [path],
      (readContext) => ({ credential, stream: evaluated(readContext) }),
      Math.min(maxContextBytes, MAX_STREAM_CONTEXT_BYTES),
    );

  return [
    { method: 'GET', path: '/all', credential: 'sdkKey', stream: plain('all') },
    { method: 'GET', path: '/flags', credential: 'sdkKey', stream: plain('flags') },
    { method: 'GET', path: '/sdk/latest-all', credential: 'sdkKey', handler: whole('all') },
    { method: 'GET', path: '/sdk/latest-flags', credential: 'sdkKey', handler: whole('flags') },
    { method: 'GET', path: '/sdk/latest-segments', credential: 'sdkKey', handler: whole('segments') },
    { method: 'GET', path: '/sdk/flags', credential: 'sdkKey', handler: flagsForPhp },
    { method: 'GET', path: '/sdk/flags/{key}', credential: 'sdkKey', handler: one('features') },
    { method: 'GET', path: '/sdk/segments/{key}', credential: 'sdkKey', handler: one('segments') },
    { method: 'GET', path: '/sdk/stream', credential: 'sdkKey', stream: fdv2 },
    { method: 'GET', path: '/sdk/poll', credential: 'sdkKey', handler: createFdv2Poll(bodies) },
    ...evalx('/sdk/evalx', 'sdkKey'),
    { method: 'POST', path: '/bulk', credential: 'sdkKey', handler: analytics },
    { method: 'POST', path: '/diagnostic', credential: 'sdkKey', handler: diagnostic },

    ...evalx('/msdk/evalx', 'mobileKey'),
    ...evaluatedStreams('/meval', 'mobileKey'),
    { method: 'GET', path: '/mping', credential: 'mobileKey', stream: plain('ping') },
    { method: 'POST', path: '/mobile', credential: 'mobileKey', handler: analytics },
    { method: 'POST', path: '/mobile/events', credential: 'mobileKey', handler: analytics },
    { method: 'POST', path: '/mobile/events/bulk', credential: 'mobileKey', handler: analytics },
    { method: 'POST', path: '/mobile/events/diagnostic', credential: 'mobileKey', handler: diagnostic },

    ...evalx('/sdk/evalx/{envId}', 'environmentId'),
    ...evaluatedStreams('/eval/{envId}', 'environmentId'),
    { method: 'GET', path: '/ping/{envId}', credential: 'environmentId', stream: plain('ping') },
    { method: 'GET', path: '/sdk/goals/{envId}', credential: 'environmentId', handler: goals },
    { method: 'POST', path: '/events/bulk/{envId}', credential: 'environmentId', handler: analytics },
    { method: 'POST', path: '/events/diagnostic/{envId}', credential: 'environmentId', handler: diagnostic },
    { method: 'GET', path: '/a/{envId}.gif', credential: 'environmentId', handler: image },

    ...withContext(['/sdk/poll/eval'], ['/sdk/poll/eval'], (readContext) => ({
      credential: 'client',
      handler: createFdv2Evaluation(readContext),
    })),
    // A ping makes these SDKs poll.
    ...withContext(['/sdk/stream/eval'], ['/sdk/stream/eval'], (readContext) => ({
      credential: 'client',
      stream: pingFor(readContext),
    })),

    { method: 'POST', path: '/ofrep/v1/evaluate/flags/{key}', credential: 'any', handler: ofrep.single },
    { method: 'POST', path: '/ofrep/v1/evaluate/flags', credential: 'any', handler: ofrep.bulk },
    { method: 'GET', path: '/ofrep/v1/events/{envId}', credential: 'environmentId', stream: plain('refetch') },
    { method: 'GET', path: '/ofrep/v1/configuration', credential: 'any', handler: ofrep.configuration },

    { method: 'GET', path: '/status', isCostly: true, handler: status.all },
    { method: 'GET', path: '/status/{environment}', isCostly: true, handler: status.one },
    { method: 'GET', path: '/status/{environment}/{filter}', isCostly: true, handler: status.one },
    { method: 'GET', path: '/livez', handler: status.live },
    { method: 'GET', path: '/readyz', handler: status.ready },
  ];
}
