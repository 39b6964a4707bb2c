/** From a request to its answer or to the stream that it opens: the row, the environment, the handler. */
import type { IncomingMessage } from 'node:http';
import type { CredentialKind } from '../ports.ts';
import { corsHeaders, withHeaders } from './cors.ts';
import { type Asking, selectEnvironment } from './credentials.ts';
import { messageReply, notYetReply, Refusal, type Reply } from './reply.ts';
import { requireSecureMode } from './request-context.ts';
import { createRouter, type Resolution } from './router.ts';
import {
  createRoutes,
  type Route,
  type RouteRequest,
  type RoutesOptions,
  type StreamRoute,
  servesBrowsers,
} from './routes.ts';
import type { ServedEnvironment, Services, StreamOpening } from './services.ts';

/** One request and what is known of it so far, for its headers and for metrics. */
export interface Exchange {
  readonly message: IncomingMessage;
  readonly resolution: Resolution<Route>;
  readonly since: number;
  route: string;
  credentialKind?: CredentialKind;
  environment?: ServedEnvironment;
}

export type Decision =
  | { readonly reply: Reply }
  | { readonly environment: ServedEnvironment; readonly opening: StreamOpening };

export interface Dispatcher {
  readonly routes: readonly Route[];
  begin(message: IncomingMessage): Exchange;
  /** Whether a stream is asked for, whose socket is to leave HTTP. Cheap to ask again. */
  asksForStream(message: IncomingMessage): boolean;
  /** Never rejects. A stream comes out only for requests that ask for one. */
  decide(exchange: Exchange, body: RouteRequest['body']): Promise<Decision>;
  /** With the headers that every answer of its address has. */
  dress(reply: Reply, exchange: Exchange): Reply;
  failed(error: unknown, exchange: Exchange): Reply;
  report(exchange: Exchange, status: number): void;
}

export function createDispatcher(options: Services & RoutesOptions): Dispatcher {
  const { find, log } = options;
  const routes = createRoutes(options);
  const resolve = createRouter(routes);
  const rowsOf = new Map<string, Route[]>();
  for (const route of routes) rowsOf.set(route.path, [...(rowsOf.get(route.path) ?? []), route]);
  const resolutions = new WeakMap<IncomingMessage, Resolution<Route>>();

  const resolutionOf = (message: IncomingMessage): Resolution<Route> => {
    const known = resolutions.get(message);
    if (known) return known;
    const resolution = resolve(message.method ?? '', message.url ?? '');
    resolutions.set(message, resolution);
    return resolution;
  };
  const familyOf = ({ headers }: IncomingMessage) => {
    const userAgent = headers['x-launchdarkly-user-agent'] ?? headers['user-agent'];
    return options.family?.(Array.isArray(userAgent) ? userAgent[0] : userAgent) ?? 'other';
  };

  const choose = async (exchange: Exchange, body: RouteRequest['body']): Promise<Decision> => {
    const { message, resolution } = exchange;
    if (resolution.kind !== 'route') return { reply: withoutRoute(message, resolution) };
    const { route, params, query } = resolution;
    const { headers, method = '' } = message;
    const request: RouteRequest = { method, params, query, headers, body };
    if (!route.credential) return { reply: await route.handler(request) };
    const selected = selectEnvironment(find, route.credential, request);
    if ('status' in selected) return { reply: selected };
    exchange.environment = selected.environment;
    exchange.credentialKind = selected.credentialKind;
    const asking = { ...request, ...selected };
    return 'stream' in route ? prepareStream(route, asking, exchange) : { reply: await route.handler(asking) };
  };

  const prepareStream = async (
    route: StreamRoute,
    request: RouteRequest & { environment: ServedEnvironment; credential: string; credentialKind: CredentialKind },
    exchange: Exchange,
  ): Promise<Decision> => {
    const { environment, credential, credentialKind, query, method } = request;
    const context = route.context && (await route.context(request)).context;
    if (context && credentialKind === 'environmentId') requireSecureMode(environment, context, query);
    // A stream opens silent while there is no data yet; but not when there is no telling whether there ever will be.
    if (!environment.view.initialized && environment.refused) {
      return {
        reply: notYetReply(`environment "${environment.name}" has no data, and LaunchDarkly refuses its SDK key`),
      };
    }
    if (method === 'HEAD') return { reply: { status: 200, headers: { 'Content-Type': EVENT_STREAM } } };
    const { kind, headers } = { kind: route.stream, headers: corsOf(exchange) };
    return {
      environment,
      opening: {
        kind,
        credentialKind,
        credential,
        family: familyOf(exchange.message),
        httpVersion: exchange.message.httpVersion,
        ...(headers && { headers }),
        ...(kind === 'eval' && context && { context, withReasons: query.get('withReasons') === 'true' }),
        ...(kind === 'fdv2' && { basis: query.get('basis') ?? '' }),
      },
    };
  };

  /** Undefined for addresses that browsers do not use. */
  const corsOf = ({ message, resolution, environment }: Exchange): Record<string, string> | undefined => {
    if (resolution.kind !== 'route' && resolution.kind !== 'method') return undefined;
    const rows = resolution.kind === 'route' ? rowsOf.get(resolution.route.path)! : resolution.candidates;
    const forBrowsers = rows.filter(servesBrowsers);
    if (forBrowsers.length === 0) return undefined;
    const { headers } = message;
    return corsHeaders({
      origin: headers.origin,
      methods: forBrowsers.map(({ method }) => method),
      environment: environment ?? environmentOf(forBrowsers[0]!, { ...resolution, headers }),
    });
  };
  const environmentOf = ({ credential }: Route, asking: Asking) => {
    const selected = selectEnvironment(find, credential!, asking);
    return 'environment' in selected ? selected.environment : undefined;
  };

  const failed = (error: unknown, { route }: Exchange): Reply => {
    log.error('a request could not be answered', { route, error });
    return messageReply(500, 'the relay failed to answer; its log says why');
  };

  return {
    routes,
    begin(message) {
      const resolution = resolutionOf(message);
      const route = resolution.kind === 'route' ? resolution.route.path : 'none';
      return { message, resolution, since: performance.now(), route };
    },
    asksForStream(message) {
      const resolution = resolutionOf(message);
      return resolution.kind === 'route' && 'stream' in resolution.route && message.method !== 'HEAD';
    },
    decide: (exchange, body) =>
      choose(exchange, body).catch((error: unknown) => ({
        reply: error instanceof Refusal ? error.reply : failed(error, exchange),
      })),
    dress(reply, exchange) {
      const { environment } = exchange;
      const named = environment && environmentIdHeader(environment);
      const cors = corsOf(exchange);
      return named || cors ? { ...reply, headers: withHeaders(reply.headers ?? {}, { ...named, ...cors }) } : reply;
    },
    failed,
    report(exchange, status) {
      const { message, route, credentialKind, environment, since } = exchange;
      try {
        options.answered?.({
          route,
          method: message.method ?? '',
          status,
          environment: environment?.name,
          credential: credentialKind,
          family: familyOf(message),
          durationMs: performance.now() - since,
        });
      } catch (error) {
        log.error('an answer could not be counted', { route, error });
      }
    },
  };
}

const EVENT_STREAM = 'text/event-stream; charset=utf-8';
const notFound = messageReply(404, 'there is nothing at this address');

function withoutRoute(message: IncomingMessage, resolution: Exclude<Resolution<Route>, { kind: 'route' }>): Reply {
  switch (resolution.kind) {
    case 'none':
      return notFound;
    case 'method': {
      const forBrowsers = resolution.candidates.some(servesBrowsers);
      const allow = [...resolution.allow, ...(forBrowsers ? ['OPTIONS'] : [])].join(', ');
      // Asked before every request that is not simple, without a credential in the header: whatever is wrong, the request
      // itself is told so in words that the page can read.
      if (forBrowsers && message.method === 'OPTIONS') return { status: 200, headers: { Allow: allow } };
      return messageReply(405, `this address answers ${allow}`, { Allow: allow });
    }
    case 'redirect':
      return messageReply(301, 'the path is not clean', { Location: resolution.location });
    case 'bad':
      return messageReply(400, resolution.message);
  }
}

function environmentIdHeader({ environmentId }: ServedEnvironment): Record<string, string> | undefined {
  return environmentId !== undefined && /^[!-~]+$/.test(environmentId) ? { 'X-LD-EnvID': environmentId } : undefined;
}
