/** Serves Prometheus metrics on a separate port, as ld-relay does. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { RelayError } from '../errors.ts';

export interface MetricsServerOptions {
  readonly port: number;
  /** All interfaces by default. */
  readonly host?: string | undefined;
  text(): Promise<{ readonly contentType: string; readonly body: string }>;
}

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Answers `GET /metrics`. Rejects with RelayError LISTEN_FAILED. */
export async function startMetricsServer({ port, host, text }: MetricsServerOptions): Promise<MetricsServer> {
  const server = createServer(async (request, response) => {
    const path = request.url?.split('?')[0];
    if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(path === '/metrics' ? 405 : 404, { 'Content-Type': 'text/plain' });
      response.end('metrics are at GET /metrics\n');
      return;
    }
    try {
      const { contentType, body } = await text();
      response.writeHead(200, { 'Content-Type': contentType });
      response.end(request.method === 'HEAD' ? undefined : body);
    } catch {
      response.writeHead(500).end();
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const where = `${host ?? 'all interfaces'}, port ${port}`;
      reject(
        new RelayError('LISTEN_FAILED', `cannot listen for metrics on ${where}: ${error.message}`, { cause: error }),
      );
    });
    server.listen({ port, ...(host !== undefined && { host }) }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
