/**
 * The relay's HTTP server. Requests for streams are presented to node:http as upgrades: it then detaches its parser and hands
 * over the bare socket, so that an open stream holds no request, response or parser.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createServer as createHttpServer, IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createSecureContext } from 'node:tls';
import { type Budget, createBudget } from '../common/budget.ts';
import { createEvaluationLines, type EvaluationLines } from '../common/evaluation-lines.ts';
import { createFairTurns } from '../common/fair-turns.ts';
import { listenError } from '../common/listen-error.ts';
import { createPacedLines } from '../common/paced-lines.ts';
import { RelayError } from '../errors.ts';
import type { Log } from '../ports.ts';
import { answerRequests } from './answer-requests.ts';
import { clientAddress } from './client-address.ts';
import { trackConnections } from './connections.ts';
import type { RequestTurns } from './decide.ts';
import { createDispatcher, type Dispatcher } from './dispatch.ts';
import type { Patience } from './patience.ts';
import { createCrumbCount, ignoreBodies } from './pieces.ts';
import { isOneTooMany } from './pipelining.ts';
import { MAX_FIELDS } from './request-head.ts';
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

export interface RelayServerOptions extends Services, Omit<RoutesOptions, 'health' | 'find' | 'log' | 'polls'> {
  /** Absent: plain HTTP. */
  readonly tls?: TlsOptions | undefined;
  /** How long a client may take to send the head of a request: 10,000 ms. */
  readonly headersTimeoutMs?: number;
  /** How long it may take to send the whole request: 30,000 ms. */
  readonly requestTimeoutMs?: number;
  /** How long a large body may wait for memory, unread: 7,000 ms. */
  readonly bodyWaitMs?: number;
  /** Unlimited by default. */
  readonly memory?: RequestMemory;
  /** In which the work of requests is done: by default turns of their own, for which 4,096 may wait. */
  readonly turns?: RequestTurns;
  /** Lines of their own by default. */
  readonly evaluations?: EvaluationLines;
  /** How slowly a client may read an answer: 64 KiB in 30,000 ms, and all of it at 16 KiB/s. Streams have limits of their own. */
  readonly patience?: Patience;
  /** More are closed unanswered, each with a call of `refused`, as are those for which there is no memory; any number by default. */
  readonly maxConnections?: number | undefined;
  refused?(because: 'files' | 'memory'): void;
}

/** What requests may take in memory. */
export interface RequestMemory {
  /** Connections that are no streams. */
  readonly connections: Budget;
  /** Bodies while they arrive, are unpacked and worked on. */
  readonly bodies: Budget;
  /** Answers that have not been sent. */
  readonly answers: Budget;
  /** What answers to polls of server SDKs share; unlimited by default. */
  readonly polls?: Budget;
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

const HANDSHAKE_MS = 10_000;
/**
 * It must exceed the load balancer's idle timeout (at most 4,000 s on an ALB), or a request sent just as the relay closes becomes a 502. An
 * idle socket costs a few KB.
 */
const KEEP_ALIVE_MS = 4_010_000;
/** An ALB's limit. */
const MAX_HEAD_BYTES = 64 * 1024;
const MAX_WAITING = 4_096;
const DEFAULT_PATIENCE: Patience = { stalledMs: 30_000, minBytesPerSecond: 16 * 1024 };

/** Throws RelayError CERTIFICATE_INVALID. */
export function createRelayServer(options: RelayServerOptions): RelayServer {
  const { log, tls, requestTimeoutMs = 30_000, patience = DEFAULT_PATIENCE } = options;
  const { memory = unlimited(), turns = createRequestTurns(), evaluations = createEvaluationLines() } = options;
  const dispatcher = createDispatcher({ ...options, turns, evaluations, memory });
  const listener = { ...listenerOptions(options, dispatcher), requestTimeout: requestTimeoutMs };
  const secureServer = tls && createHttpsServer({ ...listener, ...checked(tls), handshakeTimeout: HANDSHAKE_MS });
  const server = (secureServer as Server | undefined) ?? createHttpServer(listener);
  const connections = trackConnections(server, {
    budget: memory.connections,
    tls: tls !== undefined,
    refused: () => options.refused?.('memory'),
  });
  if (options.maxConnections !== undefined) server.maxConnections = options.maxConnections;
  // It counts in steps of 32, and drops what is above the limit.
  server.maxHeadersCount = MAX_FIELDS + 32;
  server.on('drop', () => options.refused?.('files'));
  server.on('connection', turns.others.connected);
  const { openStream } = options;
  answerRequests(server, { dispatcher, connections, patience, requestTimeoutMs, openStream });

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
      dispatcher.close();
      const closed = closeServer(server, timeoutMs);
      connections.closeUnused();
      await closed;
    },
  };
}

/** For each kind 4,096 requests may wait. */
export function createRequestTurns(): RequestTurns {
  return {
    servers: createFairTurns({ maxWaiting: MAX_WAITING }),
    others: createFairTurns({ maxWaiting: MAX_WAITING }),
  };
}

function unlimited(): RequestMemory {
  const budget = createBudget(Infinity);
  return { connections: budget, bodies: budget, answers: budget };
}

function listenerOptions(options: RelayServerOptions, { asksForStream }: Dispatcher) {
  const tell = createPacedLines();
  class Request extends IncomingMessage {
    #upgrade: boolean | undefined;
    readonly #isCrumb = createCrumbCount(this.socket);

    /** node:http calls this for each piece of a body, including one that waits and one that is not read. */
    override push(piece: Buffer | null, encoding?: BufferEncoding): boolean {
      if (piece === null) return super.push(null);
      if (this.socket.destroyed) return false;
      if (!this.#isCrumb(piece.length)) return super.push(piece, encoding);
      const address = clientAddress(this);
      tell('crumbs', (more) =>
        options.log.warn('A connection was closed: bodies come in too many pieces of a few bytes', {
          address,
          ...more,
          runbook: 'operations.md#connections-refused',
        }),
      );
      ignoreBodies(this.socket);
      this.socket.destroy();
      return false;
    }

    /** As node:http's, which would parse the rest without showing it to `push`. */
    _dump(): void {
      this.removeAllListeners('data');
      this.resume();
    }
    /** node:http reads this before anything after the head. The client's own Upgrade header has no effect. */
    get upgrade(): boolean {
      // Of requests above the limit no more is parsed. The answer must not change while others are written.
      this.#upgrade ??= isOneTooMany(this) || asksForStream(this);
      return this.#upgrade;
    }
    set upgrade(_value: unknown) {}
  }
  const { headersTimeoutMs = 10_000 } = options;
  return {
    IncomingMessage: Request as unknown as typeof IncomingMessage,
    headersTimeout: headersTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: Math.min(5_000, headersTimeoutMs),
    // It is checked with everything else that node:http accepts, for streams as well.
    requireHostHeader: false,
    maxHeaderSize: MAX_HEAD_BYTES,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  };
}

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
    const fail = (error: NodeJS.ErrnoException) => reject(listenError('PORT', port, host, error));
    server.once('error', fail);
    server.listen({ port, host, backlog: 4_096 }, () => {
      server.off('error', fail);
      server.on('error', (error) =>
        log.error('The HTTP server failed', { error, runbook: 'operations.md#relay-error' }),
      );
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
