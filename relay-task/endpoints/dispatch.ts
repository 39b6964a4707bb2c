/** From a request to its answer or to the stream that it opens: finds the route, the environment and the handler. */
import type { IncomingMessage } from 'node:http';
import { environmentIdHeader } from '../common/environment-id.ts';
import type { EvaluationLines } from '../common/evaluation-lines.ts';
import type { Lanes } from '../common/fair-queue.ts';
import type { FairTurns } from '../common/fair-turns.ts';
import type { CredentialKind, StreamOpening } from '../ports.ts';
import type { Answer } from './answers.ts';
import { clientAddress } from './client-address.ts';
import { corsHeaders, withHeaders } from './cors.ts';
import { selectEnvironment } from './credentials.ts';
import { evaluatingIn } from './evaluating.ts';
import { createFailureLog } from './failure-log.ts';
import { headBytesOf } from './pipelining.ts';
import {
  CANNOT_ANSWER,
  lengthOf,
  messageReply,
  notYetReply,
  Refusal,
  type Reply,
  retryLater,
  SEE_LOG,
} from './reply.ts';
import { withoutData } from './represent.ts';
import type { EnvironmentRequest, ReadBody, RouteRequest } from './request.ts';
import { createRequestRoom, lanesOf, openLanes, type RoomOptions } from './request-room.ts';
import { createRouter, type Resolution } from './router.ts';
import {
  createRoutes,
  type EnvironmentRoute,
  type Route,
  type RoutesOptions,
  type StreamRoute,
  servesBrowsers,
} from './routes.ts';
import type { ServedEnvironment, Services } from './services.ts';

/** One request and what is known about it so far, for headers and metrics. */
export interface Exchange {
  readonly message: IncomingMessage;
  readonly resolution: Resolution<Route>;
  readonly since: number;
  readonly address: string;
  answer: Answer;
  route: string;
  credentialKind?: CredentialKind;
  environment?: ServedEnvironment;
}

export type Decision =
  | { readonly reply: Reply }
  | {
      readonly environment: ServedEnvironment;
      readonly opening: StreamOpening;
      /** The answer instead, if the credential has lost the environment, or its data, since. Call it right before opening. */
      refusal(): Reply | undefined;
    };

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

/** Counted as part of the connection. */
const SMALL_HEAD_BYTES = 4 * 1024;

/** In which the work of requests is done: server SDKs have their own, so that they never wait behind browsers. */
export interface RequestTurns {
  readonly servers: FairTurns;
  readonly others: FairTurns;
}

type DispatcherOptions = Services &
  Omit<RoutesOptions, 'polls'> & {
    readonly memory: RoomOptions & Pick<RoutesOptions, 'polls'>;
    readonly turns: RequestTurns;
    readonly evaluations: EvaluationLines;
    readonly bodyWaitMs?: number | undefined;
  };

/** How often a request is begun, without a body, which can be read once. */
const MOST_ATTEMPTS = 3;

function hasBody({ method }: IncomingMessage): boolean {
  return method === 'POST' || method === 'REPORT';
}

/** Resolves each request once: it is asked for whether it opens a stream, and then for its route. */
function createResolver(routes: readonly Route[]): (message: IncomingMessage) => Resolution<Route> {
  const resolve = createRouter(routes);
  const resolutions = new WeakMap<IncomingMessage, Resolution<Route>>();
  return (message) => {
    const known = resolutions.get(message);
    if (known) return known;
    const resolution = resolve(message.method ?? '', message.url ?? '');
    resolutions.set(message, resolution);
    return resolution;
  };
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { find, turns, evaluations } = options;
  const logFailure = createFailureLog(options.log);
  const routes = createRoutes({ ...options, polls: options.memory.polls });
  const resolutionOf = createResolver(routes);
  const corsOf = createCorsOf(routes, find);
  const room = createRequestRoom(options.memory, { waitMs: options.bodyWaitMs });

  const familyOf = ({ headers }: IncomingMessage) => {
    const userAgent = headers['x-launchdarkly-user-agent'] ?? headers['user-agent'];
    return options.family?.(Array.isArray(userAgent) ? userAgent[0] : userAgent) ?? 'other';
  };

  /** Before the work of a request begins. Rejects with Refusal 503. */
  const awaitTurn = async (lanes: Lanes, own = turns.others): Promise<void> => {
    if ((await own.enter(lanes)) === false) throw new Refusal(503, 'too many requests are waiting', retryLater());
  };

  /**
   * The same without a credential. Health checks are never turned away, since of each connection one request waits at most, and do not wait
   * behind browsers: a load balancer would replace the task.
   */
  const awaitOpenTurn = async (
    { message, route, address }: Exchange,
    what: 'health' | 'costly' | 'nothing',
  ): Promise<void> => {
    const holding = room.open(openLanes(address));
    try {
      const headBytes = headBytesOf(message);
      if (headBytes > SMALL_HEAD_BYTES && !holding.take(headBytes)) throw holding.refusal(headBytes);
      if (what === 'costly') await awaitTurn([route, address]);
      else await (what === 'health' ? turns.servers : turns.others).await([route, address]);
    } finally {
      holding.release();
    }
  };

  /** Refusals of credentials that belong to another environment meanwhile. */
  const moved = new WeakSet<Reply>();
  /**
   * If the credential belongs to another environment when the answer is made, it is made again there: it may be the same environment under
   * another name, and nobody should get a 503 for that.
   */
  const choose = async (exchange: Exchange, read: ReadBody): Promise<Decision> => {
    for (let attempts = 1; ; attempts++) {
      const decision = await attempt(exchange, read);
      const hasMoved = 'reply' in decision && moved.has(decision.reply);
      if (!hasMoved || hasBody(exchange.message) || attempts === MOST_ATTEMPTS) return decision;
      exchange.answer.release();
    }
  };

  const attempt = async (exchange: Exchange, read: ReadBody): Promise<Decision> => {
    const { message, resolution, address } = exchange;
    if (resolution.kind !== 'route') {
      await awaitOpenTurn(exchange, 'nothing');
      return { reply: withoutRoute(message, resolution) };
    }
    const { route, params, query } = resolution;
    const { headers, method = '' } = message;
    const request: RouteRequest = { method, params, query, headers };
    if (!route.credential) {
      await awaitOpenTurn(exchange, route.isCostly ? 'costly' : 'health');
      return { reply: await route.handler(request) };
    }
    const selected = selectEnvironment(find, route.credential, request);
    if ('status' in selected) return { reply: selected };
    const { environment, credential, credentialKind } = selected;
    exchange.environment = environment;
    exchange.credentialKind = credentialKind;
    const requestLanes = lanesOf(selected, address);
    const lanes = requestLanes.work;
    const own = requestLanes.kind === 'server' ? turns.servers : turns.others;
    const holding = room.open(requestLanes);
    const answer = room.answer(requestLanes);
    exchange.answer = answer;
    const identified: EnvironmentRequest = {
      ...request,
      ...selected,
      answer,
      address,
      async body(limitBytes) {
        const bytes = await read(limitBytes, holding);
        await awaitTurn(lanes, own);
        return bytes;
      },
      async pause() {
        await own.await(lanes);
      },
      evaluating: evaluatingIn(evaluations[credentialKind], own, {
        environment: environment.name,
        address,
        socket: message.socket,
      }),
      hold(bytes) {
        if (!holding.take(bytes)) throw holding.refusal(bytes);
        return () => holding.giveBack(bytes);
      },
    };
    // While an answer is made, the credential may be revoked, or data may arrive that it must not get.
    const refusal = (): Reply | undefined => {
      const again = selectEnvironment(find, route.credential, request);
      if ('environment' in again && again.environment === environment) return undefined;
      // Headers and metrics of the refusal do not name the environment either.
      delete exchange.environment;
      if ('status' in again) return again;
      const reply = notYetReply('the credential moves to another environment');
      moved.add(reply);
      return reply;
    };
    const checked = (reply: Reply): Decision => ({
      reply: (reply.status === ACCEPTED ? undefined : refusal()) ?? reply,
    });
    try {
      // The head stays as long as the request.
      const headBytes = headBytesOf(message);
      if (headBytes > SMALL_HEAD_BYTES) identified.hold(headBytes);
      if (!hasBody(message)) await awaitTurn(lanes, own);
      if ('handler' in route) return checked(await route.handler(identified));
      const details = await route.stream(identified);
      const instead = withoutStream(identified);
      if (instead) return checked(instead);
      const cors = corsOf(exchange);
      const opening: StreamOpening = {
        ...details,
        credentialKind,
        credential,
        family: familyOf(message),
        address,
        httpVersion: message.httpVersion,
        ...(cors && { headers: cors }),
      };
      return { environment, opening, refusal };
    } catch (error) {
      if (error instanceof Refusal) return checked(error.reply);
      throw error;
    } finally {
      holding.release();
    }
  };

  const failed = (error: unknown, { route }: Exchange): Reply => {
    logFailure({ message: CANNOT_ANSWER, route, error });
    return messageReply(500, SEE_LOG);
  };

  return {
    routes,
    begin(message) {
      const resolution = resolutionOf(message);
      const route = resolution.kind === 'route' ? resolution.route.path : 'none';
      const address = clientAddress(message);
      return {
        message,
        resolution,
        since: performance.now(),
        address,
        answer: room.answer(openLanes(address)),
        route,
      };
    },
    asksForStream(message) {
      const resolution = resolutionOf(message);
      return resolution.kind === 'route' && 'stream' in resolution.route && message.method !== 'HEAD';
    },
    decide: (exchange, read) =>
      choose(exchange, read)
        .then((decision) => counted(decision, exchange))
        .catch((error: unknown) => ({
          reply: error instanceof Refusal ? error.reply : failed(error, exchange),
        })),
    dress(reply, exchange) {
      const { environment } = exchange;
      const named = environmentIdHeader(environment?.environmentId);
      const cors = corsOf(exchange);
      return named || cors ? { ...reply, headers: withHeaders(reply.headers ?? {}, { ...named, ...cors }) } : reply;
    },
    failed,
    close: room.close,
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
        logFailure({ message: 'Cannot count an answer', route, error });
      }
    },
  };
}

/** Throws Refusal 503 if there is no memory for the answer. */
function counted(decision: Decision, { answer }: Exchange): Decision {
  if ('reply' in decision) {
    const { reply } = decision;
    answer.count(reply.isShared ? 0 : lengthOf(reply));
  }
  return decision;
}

/** Of posted events, which must not be refused once they are accepted. */
const ACCEPTED = 202;

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

/**
 * The answer to a request for a stream that gets none. Streams may open before there is data and wait for it, but not while
 * it is unknown whether there will ever be any.
 */
function withoutStream({ environment, method }: EnvironmentRequest): Reply | undefined {
  if (!environment.view.initialized && environment.refused) return withoutData(environment);
  return method === 'HEAD' ? { status: 200, headers: { 'Content-Type': EVENT_STREAM } } : undefined;
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
      // Preflights carry no credential in a header. They always succeed, so that the page can read the actual request's error.
      if (forBrowsers && message.method === 'OPTIONS') return { status: 200, headers: { Allow: allow } };
      return messageReply(405, `this path supports ${allow}`, { Allow: allow });
    }
    case 'redirect':
      return messageReply(301, 'the path contains "//" or dot segments', { Location: resolution.location });
    case 'bad':
      return messageReply(400, resolution.message);
  }
}
