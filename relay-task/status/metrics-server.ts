/** Serves Prometheus metrics on a separate port, as ld-relay does. */
import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { listenError } from '../common/listen-error.ts';
import { offersIn } from '../common/offers.ts';
import type { MetricsFormat } from './prometheus-text.ts';

export interface MetricsServerOptions {
  readonly port: number;
  /** All interfaces by default. */
  readonly host?: string | undefined;
  /** After how long a connection is closed, whatever it waits for: the request, or that its answer is read. Default 10,000. */
  readonly deadlineMs?: number;
  /** For how long everyone gets the same text of a format, counted from when it was begun. Default 1000. */
  readonly shareMs?: number;
  text(format: MetricsFormat): Promise<{ readonly contentType: string; readonly body: string }>;
}

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Collectors open one each. */
const MOST_CONNECTIONS = 16;

/**
 * Answers `GET /metrics`, one request on a connection. Clients cannot make the relay hold much or work long: the most
 * connections are 16, and one more closes the oldest; each has a deadline; and one rendering of each format serves all that ask within
 * a second. Rejects with RelayError LISTEN_FAILED.
 */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { port, host, deadlineMs = 10_000 } = options;
  // The same bytes for everyone, and sockets that wait hold no copy.
  const shared = (format: MetricsFormat) =>
    sharedFor(options.shareMs ?? 1_000, async (): Promise<Page> => {
      const { contentType, body } = await options.text(format);
      const plain = Buffer.from(body);
      let packed: Promise<Buffer> | undefined;
      return { contentType, plain, gzip: () => (packed ??= promisify(gzip)(plain)) };
    });
  const pages = { text: shared('text'), openMetrics: shared('openMetrics') };
  const server = createServer({ IncomingMessage: LastRequest });
  /** In the order in which they were opened. */
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    const deadline = setTimeout(() => socket.destroy(), deadlineMs);
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(deadline);
      open.delete(socket);
    });
    const [oldest] = open;
    if (open.size >= MOST_CONNECTIONS) oldest?.destroy();
    open.add(socket);
  });
  server.on('upgrade', (request: IncomingMessage, socket: Socket) => void answer(request, socket, pages));
  await new Promise<void>((resolve, reject) => {
    // Later errors are about one connection that could not be accepted.
    server.on('error', (error) => reject(listenError('PROMETHEUS_PORT', port, host, error)));
    server.listen({ port, ...(host !== undefined && { host }) }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

/**
 * node:http parses nothing behind a request to upgrade, so that of thousands of requests in one packet only the first costs
 * anything. It hands the socket over with the event `upgrade`.
 */
class LastRequest extends IncomingMessage {
  get upgrade(): boolean {
    return true;
  }
  set upgrade(_value: unknown) {}
}

interface Page {
  readonly contentType: string;
  readonly plain: Buffer;
  /** Made once, when the first client asks for it. */
  gzip(): Promise<Buffer>;
}

type Pages = Readonly<Record<MetricsFormat, () => Promise<Page>>>;

async function answer(request: IncomingMessage, socket: Socket, pages: Pages): Promise<void> {
  // What else was sent must be read, or the answer could be lost when the connection is closed.
  socket.resume();
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.on('finish', () => socket.destroySoon());
  response.assignSocket(socket);
  const path = request.url?.split('?')[0];
  if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
    response.writeHead(path === '/metrics' ? 405 : 404, { 'Content-Type': 'text/plain' });
    response.end('metrics are at GET /metrics\n');
    return;
  }
  try {
    const { contentType, plain, gzip } = await pages[acceptedFormat(request.headers.accept)]();
    const isPacked = offersIn(request.headers['accept-encoding']).some(
      ({ name, weight }) => name === 'gzip' && weight > 0,
    );
    const body = isPacked ? await gzip() : plain;
    response.writeHead(200, {
      'Content-Type': contentType,
      'Content-Length': body.length,
      ...(isPacked && { 'Content-Encoding': 'gzip' }),
      Vary: 'Accept, Accept-Encoding',
    });
    response.end(body);
  } catch {
    response.writeHead(500).end();
  }
}

/** OpenMetrics 1.0 for who prefers it, as Prometheus does; Prometheus's text for everyone else. */
function acceptedFormat(accept: string | undefined): MetricsFormat {
  const weights = { text: 0, openMetrics: 0 };
  for (const { name, parameters, weight } of offersIn(accept)) {
    const version = parameters.get('version');
    if (name === 'application/openmetrics-text' && (version === undefined || version === '1.0.0'))
      weights.openMetrics = Math.max(weights.openMetrics, weight);
    if (['text/plain', 'text/*', '*/*'].includes(name) && (version === undefined || version === '0.0.4'))
      weights.text = Math.max(weights.text, weight);
  }
  return weights.openMetrics > 0 && weights.openMetrics >= weights.text ? 'openMetrics' : 'text';
}

/** Calls `make` again only once `ms` have passed since the last call; until then everyone gets that one's result. */
function sharedFor<T>(ms: number, make: () => Promise<T>): () => Promise<T> {
  let shared: { readonly at: number; readonly result: Promise<T> } | undefined;
  return () => {
    const now = performance.now();
    if (shared === undefined || now - shared.at >= ms) shared = { at: now, result: make() };
    return shared.result;
  };
}
