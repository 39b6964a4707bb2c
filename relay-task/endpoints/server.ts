/**
 * The relay's HTTP server. Requests for streams leave HTTP through the front door: they are presented to node:http as
 * upgrades, which then detaches its parser and hands over the bare socket, so that an open stream holds neither request nor
 * response nor parser.
 */
import { createServer as createHttpServer, IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { RelayError } from '../errors.ts';
import { readBareBody } from './bare-body.ts';
import { createDispatcher, type Decision, type Exchange } from './dispatch.ts';
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
  /**
   * For connections from now on; open ones keep theirs. Throws RelayError CERTIFICATE_INVALID, and goes on with the present
   * one then.
   */
  replaceCertificate(certificate: Certificate): void;
  /** Stops listening, lets requests under way finish for at most `timeoutMs`, then cuts them. Streams are not its business. */
  close(timeoutMs: number): Promise<void>;
}

/** Requests on a socket that have not been answered. */
const UNANSWERED = Symbol('unanswered');
type CountedSocket = Socket & { [UNANSWERED]?: number };

const HANDSHAKE_MS = 10_000;

/** Throws RelayError CERTIFICATE_INVALID. */
export function createRelayServer(options: RelayServerOptions): RelayServer {
  const { log, tls, requestTimeoutMs = 30_000 } = options;
  const dispatcher = createDispatcher(options);
  let closing = false;

  class Request extends IncomingMessage {
    /** node:http asks this before anything is read behind the head. What the client's own Upgrade header wants is ignored. */
    get upgrade(): boolean {
      return dispatcher.asksForStream(this);
    }
    set upgrade(_value: unknown) {}
  }

  const listener = {
    IncomingMessage: Request as unknown as typeof IncomingMessage,
    headersTimeout: options.headersTimeoutMs ?? 10_000,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 4_010_000,
    connectionsCheckingInterval: 5_000,
    maxHeaderSize: options.maxHeaderBytes ?? 64 * 1024,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  };
  const secureServer = tls && createHttpsServer({ ...listener, ...checked(tls), handshakeTimeout: HANDSHAKE_MS });
  const server = (secureServer as Server | undefined) ?? createHttpServer(listener);

  // Browsers and HTTP clients open connections ahead of their requests; Node does not count those as idle.
  const unused = new Set<Socket>();
  server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    unused.add(socket);
    socket.on('close', forget);
  });
  function forget(this: Socket): void {
    unused.delete(this);
  }
  /** A stream is to hold nothing of ours, not even a listener. */
  const use = (socket: Socket) => {
    if (unused.delete(socket)) socket.off('close', forget);
  };

  const unpacked = async (bytes: Promise<Buffer>, { headers }: IncomingMessage, limitBytes: number) =>
    unpackBody(await bytes, headers['content-encoding'] ?? '', limitBytes);

  server.on('request', async (message: IncomingMessage, response: ServerResponse) => {
    const socket = message.socket as CountedSocket;
    use(socket);
    socket[UNANSWERED] = (socket[UNANSWERED] ?? 0) + 1;
    response.on('close', () => {
      socket[UNANSWERED]!--;
    });
    const exchange = dispatcher.begin(message);
    const decision = await dispatcher.decide(exchange, (limitBytes) =>
      unpacked(collectBody(message, limitBytes), message, limitBytes),
    );
    const reply = 'reply' in decision ? decision.reply : dispatcher.failed('a stream without its socket', exchange);
    const close =
      closing ||
      // After a request with an Upgrade header the parser takes nothing more from this connection.
      message.headers.upgrade !== undefined ||
      message.method === 'CONNECT' ||
      // Nobody wants to read the remainder.
      (reply.status === 413 && !message.complete);
    try {
      sendReply(response, message.method ?? '', dispatcher.dress(reply, exchange), close);
      dispatcher.report(exchange, reply.status);
    } catch (error) {
      dispatcher.failed(error, exchange);
      response.destroy();
    }
  });

  // Bytes that came behind a request for a stream and its body are dropped.
  server.on('upgrade', async (message: IncomingMessage, duplex, head: Buffer) => {
    const socket = duplex as CountedSocket;
    use(socket);
    const exchange = dispatcher.begin(message);
    socket.on('error', ignore);
    // An answer that is still under way on this socket would be mixed with the stream.
    if ((socket[UNANSWERED] ?? 0) > 0 || !dispatcher.asksForStream(message)) return void socket.destroy();
    const decision = await dispatcher.decide(exchange, (limitBytes) =>
      unpacked(
        readBareBody(socket, head, message.headers, { limitBytes, timeoutMs: requestTimeoutMs }),
        message,
        limitBytes,
      ),
    );
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
  });

  const openStream = (
    socket: Socket,
    { environment, opening }: Extract<Decision, { opening: unknown }>,
    exchange: Exchange,
  ): Reply | undefined => {
    if (closing) return notYetReply('the relay is closing');
    try {
      if (options.openStream(environment, socket, opening)) return undefined;
      return notYetReply('too many streams are being opened');
    } catch (error) {
      return dispatcher.failed(error, exchange);
    }
  };

  server.on('clientError', (error: NodeJS.ErrnoException, duplex) => {
    const socket = duplex as Socket;
    const reply = clientErrorReply(error.code);
    // Without words for those who vanish, and for those who do not speak TLS where it is spoken.
    if (!reply || !socket.writable) return void socket.destroy();
    sendRawReply(socket, reply);
  });

  return {
    routes: dispatcher.routes,
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
    replaceCertificate(certificate) {
      if (!tls || !secureServer)
        throw new RelayError('CERTIFICATE_INVALID', 'the relay does not speak TLS: there is no certificate to replace');
      secureServer.setSecureContext(checked({ ...certificate, minVersion: tls.minVersion }));
    },
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
        for (const socket of unused) if (tls || socket.bytesRead === 0) socket.destroy();
      }),
  };
}

function ignore(): void {}

/** What node:tls takes. Throws RelayError CERTIFICATE_INVALID, which never holds the key. */
function checked({ cert, key, minVersion = 'TLSv1.2' }: TlsOptions) {
  try {
    // node:tls takes nothing for a certificate, and then answers nobody.
    if (cert.length === 0 || key.length === 0) throw new Error('there is nothing in one of them');
    createSecureContext({ cert, key, minVersion });
  } catch (error) {
    throw new RelayError(
      'CERTIFICATE_INVALID',
      `the TLS certificate and its key must be PEM and belong together: ${(error as Error).message}`,
      { cause: error },
    );
  }
  return { cert, key, minVersion };
}

function clientErrorReply(code = ''): Reply | undefined {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return messageReply(408, 'the request took too long to arrive');
  if (code === 'HPE_HEADER_OVERFLOW') return messageReply(431, 'the head of the request is too large');
  return code.startsWith('HPE_') ? messageReply(400, 'the request is not HTTP/1.1 as RFC 9112 has it') : undefined;
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
