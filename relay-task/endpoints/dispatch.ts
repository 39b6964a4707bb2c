/** What the endpoints do with a request: its route, its answer or the stream that it opens, and what others see of it. */
import type { IncomingMessage } from 'node:http';
import { environmentIdHeader } from '../common/environment-id.ts';
import type { WatchedHead } from '../ports.ts';
import { clientAddress } from './client-address.ts';
import { corsHeaders, withHeaders } from './cors.ts';
import { selectEnvironment } from './credentials.ts';
import { createDecide, type DecideOptions, type Decision, type Exchange } from './decide.ts';
import { createFailureLog } from './failure-log.ts';
import { CANNOT_ANSWER, lengthOf, messageReply, Refusal, type Reply, SEE_LOG } from './reply.ts';
import type { ReadBody } from './request.ts';
import { createRequestRoom, openLanes, type RequestRoom, type RoomOptions } from './request-room.ts';
import { createRouter, type Resolution } from './router.ts';
import {
  createRoutes,
  type EnvironmentRoute,
  type Route,
  type RoutesOptions,
  type StreamRoute,
  servesBrowsers,
} from './routes.ts';
import type { Services } from './services.ts';

export interface Dispatcher {
  readonly routes: readonly Route[];
  begin(message: IncomingMessage): Exchange;
  /** Whether the request opens a stream, so that its socket must leave node:http. Repeated calls are cheap. */
  asksForStream(message: IncomingMessage): boolean;
  /** Never rejects. What the answer takes counts until it is released. Returns a stream only for requests for which `asksForStream` is true. */
  decide(exchange: Exchange, read: ReadBody): Promise<Decision>;
  /** Adds the headers that every answer of the endpoint has. */
  dress(reply: Reply, exchange: Exchange): Reply;
  failed(error: unknown, exchange: Exchange): Reply;
  report(exchange: Exchange, status: number): void;
  /** Requests that wait for memory are answered at once. */
  close(): void;
}

type DispatcherOptions = Services &
  Omit<RoutesOptions, 'polls'> &
  Pick<DecideOptions, 'turns' | 'evaluations'> & {
    readonly memory: RoomOptions & Pick<RoutesOptions, 'polls'>;
    readonly bodyWaitMs?: number | undefined;
  };

const RESOLUTION = Symbol('resolution');

/** Resolves each request once: it is asked for whether it opens a stream, and then for its route. */
function createResolver(routes: readonly Route[]): (message: IncomingMessage) => Resolution<Route> {
  const resolve = createRouter(routes);
  return (message: IncomingMessage & { [RESOLUTION]?: Resolution<Route> }) => {
    message[RESOLUTION] ??= resolve(message.method ?? '', message.url ?? '');
    return message[RESOLUTION];
  };
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { find, turns, evaluations } = options;
  const logFailure = createFailureLog(options.log);
  const routes = createRoutes({ ...options, polls: options.memory.polls });
  const resolutionOf = createResolver(routes);
  const corsOf = createCorsOf(routes, find);
  const room = createRequestRoom(options.memory, { waitMs: options.bodyWaitMs });
  const decide = createDecide({ find, turns, evaluations, room, corsOf });

  const failed = (error: unknown, { route }: Exchange): Reply => {
    logFailure({ message: CANNOT_ANSWER, route, error });
    return messageReply(500, SEE_LOG);
  };

  return {
    routes,
    begin(message) {
      const resolution = resolutionOf(message);
      const address = clientAddress(message);
      const since = performance.now();
      const family = options.family?.(userAgentOf(message)) ?? 'other';
      return {
        message,
        resolution,
        since,
        address,
        family,
        route: resolution.kind === 'route' ? resolution.route.path : 'none',
        watched: options.watch?.begin(headOf(message, resolution, { address, family, since })),
      };
    },
    asksForStream(message) {
      const resolution = resolutionOf(message);
      return resolution.kind === 'route' && 'stream' in resolution.route && message.method !== 'HEAD';
    },
    decide(exchange, read) {
      const deciding = decide(exchange, read);
      // It is looked up at once, before anything is waited for.
      exchange.watched?.identified(exchange.environment?.name, exchange.credentialKind);
      return deciding
        .then((decision) => counted(decision, exchange, room))
        .catch((error: unknown) => ({
          reply: error instanceof Refusal ? error.reply : failed(error, exchange),
        }));
    },
    dress(reply, exchange) {
      const { environment } = exchange;
      exchange.bytes = lengthOf(reply);
      const named = environmentIdHeader(environment?.environmentId);
      const cors = corsOf(exchange);
      return named || cors ? { ...reply, headers: withHeaders(reply.headers ?? {}, { ...named, ...cors }) } : reply;
    },
    failed,
    close: room.close,
    report({ message, route, credentialKind, environment, family, since, bytes = 0, watched }, status) {
      watched?.answered(status);
      try {
        options.answered?.({
          route,
          method: message.method ?? '',
          status,
          environment: environment?.name,
          credential: credentialKind,
          family,
          bytes,
          durationMs: performance.now() - since,
        });
      } catch (error) {
        logFailure({ message: 'Cannot count an answer', route, error });
      }
    },
  };
}

/** What may be told of a request. */
function headOf(
  { headers, method = '', socket, httpVersion }: IncomingMessage,
  resolution: Resolution<Route>,
  client: Pick<WatchedHead, 'address' | 'family' | 'since'>,
): WatchedHead {
  const found = resolution.kind === 'route' ? resolution : undefined;
  return {
    ...client,
    headers,
    method,
    httpVersion,
    scheme: 'encrypted' in socket ? 'https' : 'http',
    route: found && { path: found.route.path, params: found.params },
    isStream: found !== undefined && 'stream' in found.route && method !== 'HEAD',
  };
}

function userAgentOf({ headers }: IncomingMessage): string | undefined {
  const userAgent = headers['x-launchdarkly-user-agent'] ?? headers['user-agent'];
  return Array.isArray(userAgent) ? userAgent[0] : userAgent;
}

/** Throws Refusal 503 if there is no memory for the answer. */
function counted(decision: Decision, exchange: Exchange, room: RequestRoom): Decision {
  if ('reply' in decision) {
    const { reply } = decision;
    exchange.watched?.span?.set({ 'http.response.body.size': lengthOf(reply) });
    exchange.answer ??= room.answer(openLanes(exchange.address));
    exchange.answer.count(reply.isShared ? 0 : lengthOf(reply));
  }
  return decision;
}

/** The CORS headers of an exchange; undefined for endpoints that browsers do not use. */
function createCorsOf(
  routes: readonly Route[],
  find: Services['find'],
): (exchange: Exchange) => Record<string, string> | undefined {
  const byPath = new Map<string, (EnvironmentRoute | StreamRoute)[]>();
  for (const route of routes.filter(servesBrowsers)) {
    byPath.set(route.path, [...(byPath.get(route.path) ?? []), route]);
  }
  return ({ message, resolution, environment }) => {
    if (resolution.kind !== 'route' && resolution.kind !== 'method') return undefined;
    const rows =
      resolution.kind === 'route' ? byPath.get(resolution.route.path) : resolution.candidates.filter(servesBrowsers);
    const first = rows?.[0];
    if (!rows || !first) return undefined;
    const { headers } = message;
    let asking = environment;
    if (!asking) {
      const selected = selectEnvironment(find, first.credential, { ...resolution, headers });
      if ('environment' in selected) asking = selected.environment;
    }
    return corsHeaders({ origin: headers.origin, methods: rows.map(({ method }) => method), environment: asking });
  };
}
