/**
 * The relay's HTTP server: finds the row, finds the environment, lets the handler answer. Requests for streams leave HTTP
 * through the front door: they are presented to node:http as upgrades, which then detaches its parser and hands over the
 * bare socket, so that an open stream holds neither request nor response nor parser.
 */
import { createServer, IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { RelayError } from '../errors.ts';
import { selectEnvironment } from './credentials.ts';
import { messageReply, notYetReply, type Reply, sendRawReply, sendReply } from './reply.ts';
import { createRouter, type Resolution } from './router.ts';
import { createRoutes, type Route } from './routes.ts';
import type { ServedEnvironment, Services } from './services.ts';

export interface RelayServerOptions extends Services {
  /** What a client has for sending the head of a request: 10,000 ms. */
  readonly headersTimeoutMs?: number;
  /** And for all of it: 30,000 ms. */
  readonly requestTimeoutMs?: number;
  /**
   * How long an idle connection stays open: 4,010,000 ms. It has to outlast the load balancer's idle timeout, or requests
   * that cross our close on the wire become 502s; an ALB can be set to 4,000 s at most. An idle socket costs a few KB.
   */
  readonly keepAliveTimeoutMs?: number;
  /** The head of a request in all: 64 KiB, as much as an ALB lets through. */
  readonly maxHeaderBytes?: number;
}

export interface RelayServer {
  /** The rows that are served. */
  readonly routes: readonly Route[];
  /** Rejects with RelayError LISTEN_FAILED. Port 0 takes a free one. */
  listen(address: { readonly port: number; readonly host?: string }): Promise<{ readonly port: number }>;
  /** Stops listening, lets requests under way finish for at most `timeoutMs`, then cuts them. Streams are not its business. */
  close(timeoutMs: number): Promise<void>;
}

/** Requests on a socket that have not been answered. */
const UNANSWERED = Symbol('unanswered');
type CountedSocket = Socket & { [UNANSWERED]?: number };

export function createRelayServer(options: RelayServerOptions): RelayServer {
  const { log } = options;
  const routes = createRoutes(options);
  const resolve = createRouter(routes);
  const resolutions = new WeakMap<IncomingMessage, Resolution<Route>>();
  let closing = false;

  const resolutionOf = (message: IncomingMessage): Resolution<Route> => {
    const known = resolutions.get(message);
    if (known) return known;
    const resolution = resolve(message.method ?? '', message.url ?? '');
    resolutions.set(message, resolution);
    return resolution;
  };
  class Request extends IncomingMessage {
    /** node:http asks this before anything is read behind the head. What the client's own Upgrade header wants is ignored. */
    get upgrade(): boolean {
      if (this.method !== 'GET') return false;
      const resolution = resolutionOf(this);
      return resolution.kind === 'route' && 'stream' in resolution.route;
    }
    set upgrade(_value: unknown) {}
  }

  const server: Server = createServer({
    IncomingMessage: Request as unknown as typeof IncomingMessage,
    headersTimeout: options.headersTimeoutMs ?? 10_000,
    requestTimeout: options.requestTimeoutMs ?? 30_000,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 4_010_000,
    connectionsCheckingInterval: 5_000,
    maxHeaderSize: options.maxHeaderBytes ?? 64 * 1024,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  });

  /** The answer, or the environment whose stream is to be opened. */
  const decide = async (message: IncomingMessage, seen: Seen): Promise<Reply> => {
    const resolution = resolutionOf(message);
    if (resolution.kind !== 'route') return withoutRoute(resolution);
    const { route, params, query } = resolution;
    seen.route = route.path;
    const { headers, method = '' } = message;
    if (!route.credential)
      return 'handler' in route ? route.handler({ method, params, query, headers, message }) : notFound;
    seen.credential = route.credential;
    const selected = selectEnvironment(options.find, route.credential, { headers, params, query });
    if ('status' in selected) return selected;
    const { environment, credential } = selected;
    seen.environment = environment;
    // HEAD of a stream.
    if ('stream' in route) return refusal(environment) ?? { status: 200, headers: { 'Content-Type': EVENT_STREAM } };
    return route.handler({ method, params, query, headers, environment, credential, message });
  };
  const withEnvironmentId = (reply: Reply, { environment }: Seen): Reply =>
    environment?.environmentId === undefined || !/^[!-~]+$/.test(environment.environmentId)
      ? reply
      : { ...reply, headers: { ...reply.headers, 'X-LD-EnvID': environment.environmentId } };
  const familyOf = ({ headers }: IncomingMessage) => {
    const userAgent = headers['x-launchdarkly-user-agent'] ?? headers['user-agent'];
    return options.family?.(Array.isArray(userAgent) ? userAgent[0] : userAgent) ?? 'other';
  };
  const report = (message: IncomingMessage, status: number, seen: Seen) => {
    try {
      options.answered?.({
        route: seen.route,
        method: message.method ?? '',
        status,
        environment: seen.environment?.name,
        credential: seen.credential,
        family: familyOf(message),
        durationMs: performance.now() - seen.since,
      });
    } catch (error) {
      log.error('an answer could not be counted', { route: seen.route, error });
    }
  };
  const failed = (error: unknown, seen: Seen): Reply => {
    log.error('a request could not be answered', { route: seen.route, error });
    return messageReply(500, 'the relay failed to answer; its log says why');
  };

  server.on('request', async (message: IncomingMessage, response: ServerResponse) => {
    const socket = message.socket as CountedSocket;
    socket[UNANSWERED] = (socket[UNANSWERED] ?? 0) + 1;
    response.on('close', () => {
      socket[UNANSWERED]!--;
    });
    const seen: Seen = { route: 'none', since: performance.now() };
    const reply = await decide(message, seen).catch((error: unknown) => failed(error, seen));
    // After a request with an Upgrade header the parser takes nothing more from this connection.
    const close = closing || message.headers.upgrade !== undefined || message.method === 'CONNECT';
    try {
      sendReply(response, message.method ?? '', withEnvironmentId(reply, seen), close);
      report(message, reply.status, seen);
    } catch (error) {
      failed(error, seen);
      response.destroy();
    }
  });

  // Bytes that came behind a request for a stream are dropped with `_head`.
  server.on('upgrade', (message: IncomingMessage, duplex, _head) => {
    const socket = duplex as CountedSocket;
    const resolution = resolutionOf(message);
    const seen: Seen = { route: 'none', since: performance.now() };
    // An answer that is still under way on this socket would be mixed with the stream.
    if ((socket[UNANSWERED] ?? 0) > 0 || resolution.kind !== 'route' || !('stream' in resolution.route)) {
      socket.on('error', () => {});
      return void socket.destroy();
    }
    let reply: Reply | undefined;
    try {
      reply = openStream(socket, message, resolution.route, resolution, seen);
    } catch (error) {
      reply = failed(error, seen);
    }
    if (reply) sendRawReply(socket, withEnvironmentId(reply, seen));
    report(message, reply?.status ?? 200, seen);
  });

  const openStream = (
    socket: Socket,
    message: IncomingMessage,
    route: Extract<Route, { stream: unknown }>,
    resolution: Extract<Resolution<Route>, { kind: 'route' }>,
    seen: Seen,
  ): Reply | undefined => {
    seen.route = route.path;
    seen.credential = route.credential;
    const selected = selectEnvironment(options.find, route.credential, { ...resolution, headers: message.headers });
    if ('status' in selected) return selected;
    const { environment, credential } = selected;
    seen.environment = environment;
    const refused = refusal(environment);
    if (refused) return refused;
    const opening = { kind: route.stream, credential, family: familyOf(message), httpVersion: message.httpVersion };
    if (closing) return notYetReply('the relay is closing');
    return options.openStream(environment, socket, opening)
      ? undefined
      : notYetReply('too many streams are being opened');
  };

  server.on('clientError', (error: NodeJS.ErrnoException, duplex) => {
    const socket = duplex as Socket;
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    sendRawReply(socket, clientErrorReply(error.code));
  });

  return {
    routes,
    listen: ({ port, host }) =>
      new Promise((resolve, reject) => {
        const fail = (error: NodeJS.ErrnoException) => reject(listenError(port, host, error));
        server.once('error', fail);
        server.listen({ port, host, backlog: 4_096 }, () => {
          server.off('error', fail);
          server.on('error', (error) => log.error('the server failed', { error }));
          resolve({ port: (server.address() as AddressInfo).port });
        });
      }),
    close: (timeoutMs) =>
      new Promise((resolve) => {
        closing = true;
        const timer = setTimeout(() => {
          server.closeAllConnections();
          resolve();
        }, timeoutMs);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

/** What is known of a request so far, for its headers and for metrics. */
interface Seen {
  route: string;
  readonly since: number;
  credential?: Route['credential'];
  environment?: ServedEnvironment;
}

const EVENT_STREAM = 'text/event-stream; charset=utf-8';
const notFound = messageReply(404, 'there is nothing at this address');

function withoutRoute(resolution: Exclude<Resolution<Route>, { kind: 'route' }>): Reply {
  switch (resolution.kind) {
    case 'none':
      return notFound;
    case 'method':
      return messageReply(405, `this address answers ${resolution.allow}`, { Allow: resolution.allow });
    case 'redirect':
      return messageReply(301, 'the path is not clean', { Location: resolution.location });
    case 'bad':
      return messageReply(400, resolution.message);
  }
}

/** A stream opens silent while there is no data yet; but not when there is no telling whether there ever will be. */
function refusal(environment: ServedEnvironment): Reply | undefined {
  if (environment.view.initialized || !environment.refused) return undefined;
  return notYetReply(`environment "${environment.name}" has no data, and LaunchDarkly refuses its SDK key`);
}

function clientErrorReply(code: string | undefined): Reply {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return messageReply(408, 'the request took too long to arrive');
  if (code === 'HPE_HEADER_OVERFLOW') return messageReply(431, 'the head of the request is too large');
  return messageReply(400, 'the request is not HTTP/1.1 as RFC 9112 has it');
}

function listenError(port: number, host: string | undefined, error: NodeJS.ErrnoException): RelayError {
  const reasons: Record<string, string> = {
    EADDRINUSE: 'something else listens there; choose another PORT or stop it',
    EACCES: 'ports below 1024 need a privilege; choose a higher PORT',
    EADDRNOTAVAIL: 'this machine has no such address',
  };
  const reason = reasons[error.code ?? ''] ?? error.message;
  return new RelayError('LISTEN_FAILED', `cannot listen on port ${port}${host ? ` of ${host}` : ''}: ${reason}`, {
    cause: error,
  });
}
