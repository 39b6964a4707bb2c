/**
 * The relay's HTTP server. Requests for streams are presented to node:http as upgrades: it then detaches its parser and hands
 * over the bare socket, so that an open stream holds no request, response or parser.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createServer as createHttpServer, IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSecureContext } from 'node:tls';
import { RelayError } from '../errors.ts';
import type { Log } from '../ports.ts';
import { readBareBody } from './bare-body.ts';
import { createDispatcher, type Decision, type Dispatcher, type Exchange } from './dispatch.ts';
import { messageReply, notYetReply, type Reply, sendRawReply, sendReply } from './reply.ts';
import { collectBody, unpackBody } from './request-body.ts';
import type { Route, RoutesOptions } from './routes.ts';
import type { Services } from './services.ts';

export interface Certificate {
  /** PEM; the certificate first, then the chain. */
  readonly cert: string | Buffer;
  /** PEM. */
  readonly key: string | Buffer;
}

export interface TlsOptions extends Certificate {
  /** TLSv1.2 unless told. */
  readonly minVersion?: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3' | undefined;
}

export interface RelayServerOptions extends Services, Omit<RoutesOptions, 'health' | 'find' | 'log'> {
  /** Absent: plain HTTP. */
  readonly tls?: TlsOptions | undefined;
  /** How long a client may take to send the head of a request: 10,000 ms. */
  readonly headersTimeoutMs?: number;
  /** How long it may take to send the whole request: 30,000 ms. */
  readonly requestTimeoutMs?: number;
  /**
   * How long an idle connection stays open: 4,010,000 ms. It must exceed the load balancer's idle timeout (at most 4,000 s on
   * an ALB), or a request sent just as the relay closes becomes a 502. An idle socket costs a few KB.
   */
  readonly keepAliveTimeoutMs?: number;
  /** The largest head of a request: 64 KiB, an ALB's limit. */
  readonly maxHeaderBytes?: number;
}

export interface RelayServer {
  /** The routes that are served. */
  readonly routes: readonly Route[];
  /** Rejects with RelayError LISTEN_FAILED. Port 0 takes a free one. */
  listen(address: { readonly port: number; readonly host?: string }): Promise<{ readonly port: number }>;
  /**
   * For new connections; open ones keep theirs. Throws RelayError CERTIFICATE_INVALID, and then the current certificate stays
   * in use.
   */
  replaceCertificate(certificate: Certificate): void;
  /** Stops listening, lets open requests finish for at most `timeoutMs`, then cuts them. Leaves streams alone. */
  close(timeoutMs: number): Promise<void>;
}

/** How many requests on a socket have not been answered. */
const UNANSWERED = Symbol('unanswered');
type CountedSocket = Socket & { [UNANSWERED]?: number };

const HANDSHAKE_MS = 10_000;

/** Throws RelayError CERTIFICATE_INVALID. */
export function createRelayServer(options: RelayServerOptions): RelayServer {
  const { log, tls, requestTimeoutMs = 30_000 } = options;
  const dispatcher = createDispatcher(options);
  const listener = { ...listenerOptions(options, dispatcher), requestTimeout: requestTimeoutMs };
  const secureServer = tls && createHttpsServer({ ...listener, ...checked(tls), handshakeTimeout: HANDSHAKE_MS });
  const server = (secureServer as Server | undefined) ?? createHttpServer(listener);
  const unused = trackUnusedSockets(server, tls ? 'secureConnection' : 'connection');
  let closing = false;

  const answer = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const socket = message.socket as CountedSocket;
    unused.use(socket);
    socket[UNANSWERED] = (socket[UNANSWERED] ?? 0) + 1;
    response.on('close', () => {
      socket[UNANSWERED] = (socket[UNANSWERED] ?? 0) - 1;
    });
    const exchange = dispatcher.begin(message);
    const decision = await dispatcher.decide(exchange, (limitBytes) =>
      unpacked(collectBody(message, limitBytes), message, limitBytes),
    );
    const reply = 'reply' in decision ? decision.reply : dispatcher.failed('a stream without its socket', exchange);
    try {
      sendReply(response, message.method ?? '', dispatcher.dress(reply, exchange), closing || isLast(message, reply));
      dispatcher.report(exchange, reply.status);
    } catch (error) {
      dispatcher.failed(error, exchange);
      response.destroy();
    }
  };

  /** Bytes after the request and its body are dropped. */
  const answerWithStream = async (message: IncomingMessage, socket: CountedSocket, head: Buffer): Promise<void> => {
    unused.use(socket);
    const exchange = dispatcher.begin(message);
    socket.on('error', ignore);
    // An answer that is still being written to this socket would be mixed with the stream.
    if ((socket[UNANSWERED] ?? 0) > 0 || !dispatcher.asksForStream(message)) {
      socket.destroy();
      return;
    }
    const decision = await dispatcher.decide(exchange, (limitBytes) => {
      const limits = { limitBytes, timeoutMs: requestTimeoutMs };
      return unpacked(readBareBody(socket, head, message.headers, limits), message, limitBytes);
    });
    try {
      let reply = 'reply' in decision ? decision.reply : undefined;
      if ('opening' in decision && !socket.destroyed) {
        socket.off('error', ignore);
        reply = openStream(socket, decision, exchange);
      }
      if (reply) sendRawReply(socket, dispatcher.dress(reply, exchange));
      dispatcher.report(exchange, reply?.status ?? 200);
    } catch (error) {
      dispatcher.failed(error, exchange);
      socket.destroy();
    }
  };

  /** The answer if there is no stream. */
  const openStream = (
    socket: Socket,
    { environment, opening, refusal }: Extract<Decision, { opening: unknown }>,
    exchange: Exchange,
  ): Reply | undefined => {
    if (closing) return notYetReply('the relay is shutting down');
    try {
      const refused = refusal();
      if (refused) return refused;
      if (options.openStream(environment, socket, opening)) return undefined;
      return notYetReply('too many streams are being opened');
    } catch (error) {
      return dispatcher.failed(error, exchange);
    }
  };

  server.on('request', answer);
  server.on('upgrade', (message, duplex, head) => answerWithStream(message, duplex as Socket, head));
  server.on('clientError', answerClientError);

  return {
    routes: dispatcher.routes,
    listen: (address) => listen(server, address, log),
    replaceCertificate(certificate) {
      if (!tls || !secureServer) {
        throw new RelayError('CERTIFICATE_INVALID', 'cannot replace the certificate: the relay does not use TLS');
      }
      secureServer.setSecureContext(checked({ ...certificate, minVersion: tls.minVersion }));
    },
    async close(timeoutMs) {
      closing = true;
      const closed = closeServer(server, timeoutMs);
      for (const socket of unused.sockets) if (tls || socket.bytesRead === 0) socket.destroy();
      await closed;
    },
  };
}

function listenerOptions(options: RelayServerOptions, { asksForStream }: Dispatcher) {
  class Request extends IncomingMessage {
    /** node:http reads this before anything after the head. The client's own Upgrade header has no effect. */
    get upgrade(): boolean {
      return asksForStream(this);
    }
    set upgrade(_value: unknown) {}
  }
  return {
    IncomingMessage: Request as unknown as typeof IncomingMessage,
    headersTimeout: options.headersTimeoutMs ?? 10_000,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 4_010_000,
    connectionsCheckingInterval: 5_000,
    maxHeaderSize: options.maxHeaderBytes ?? 64 * 1024,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  };
}

/** Sockets without a request so far: browsers open some in advance, and Node does not count those as idle. */
function trackUnusedSockets(server: Server, event: 'connection' | 'secureConnection') {
  const sockets = new Set<Socket>();
  function forget(this: Socket): void {
    sockets.delete(this);
  }
  server.on(event, (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', forget);
  });
  return {
    sockets: sockets as ReadonlySet<Socket>,
    /** Removes the listener, too, since a stream must hold nothing that it does not need. */
    use(socket: Socket): void {
      if (sockets.delete(socket)) socket.off('close', forget);
    },
  };
}

/** Whether the connection must be closed after this reply. */
function isLast(message: IncomingMessage, reply: Reply): boolean {
  return (
    // After a request with an Upgrade header the parser accepts nothing more on this connection.
    message.headers.upgrade !== undefined ||
    message.method === 'CONNECT' ||
    // The rest of the body is not read.
    (reply.status === 413 && !message.complete)
  );
}

async function unpacked(bytes: Promise<Buffer>, { headers }: IncomingMessage, limitBytes: number): Promise<Buffer> {
  return unpackBody(await bytes, headers['content-encoding'] ?? '', limitBytes);
}

function ignore(): void {}

/** Options for node:tls. Throws RelayError CERTIFICATE_INVALID, which never contains the key. */
function checked({ cert, key, minVersion = 'TLSv1.2' }: TlsOptions) {
  try {
    // node:tls accepts an empty certificate, and then every handshake fails.
    if (cert.length === 0 || key.length === 0) throw new Error('one of them is empty');
    createSecureContext({ cert, key, minVersion });
    // createSecureContext notices this only if both are of one kind, such as RSA.
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) throw new Error('they do not match');
  } catch (error) {
    throw new RelayError(
      'CERTIFICATE_INVALID',
      `the TLS certificate and key must be PEM and match each other: ${(error as Error).message}`,
      { cause: error },
    );
  }
  return { cert, key, minVersion };
}

function listen(server: Server, { port, host }: { port: number; host?: string }, log: Log): Promise<{ port: number }> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(listenError(port, host, error));
    server.once('error', fail);
    server.listen({ port, host, backlog: 4_096 }, () => {
      server.off('error', fail);
      server.on('error', (error) => log.error('The HTTP server failed', { error }));
      resolve({ port: (server.address() as AddressInfo).port });
    });
  });
}

/** Open requests may finish for at most `timeoutMs`. */
function closeServer(server: Server, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.closeAllConnections();
      resolve();
    }, timeoutMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}

function answerClientError(error: NodeJS.ErrnoException, duplex: Duplex): void {
  const socket = duplex as Socket;
  const reply = clientErrorReply(error.code);
  // No answer to clients that are gone, or that do not speak TLS where it is required.
  if (reply && socket.writable) sendRawReply(socket, reply);
  else socket.destroy();
}

function clientErrorReply(code = ''): Reply | undefined {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return messageReply(408, 'the request took too long to arrive');
  if (code === 'HPE_HEADER_OVERFLOW') return messageReply(431, 'the head of the request is too large');
  return code.startsWith('HPE_') ? messageReply(400, 'the request is not valid HTTP/1.1') : undefined;
}

function listenError(port: number, host: string | undefined, error: NodeJS.ErrnoException): RelayError {
  const reasons: Record<string, string> = {
    EADDRINUSE: 'the port is in use; stop the other process or choose another PORT',
    EACCES: 'ports below 1024 need a privilege; choose a higher PORT',
    EADDRNOTAVAIL: 'this machine has no such address',
  };
  const reason = reasons[error.code ?? ''] ?? error.message;
  return new RelayError('LISTEN_FAILED', `cannot listen on port ${port}${host ? ` of ${host}` : ''}: ${reason}`, {
    cause: error,
  });
}
