import type { Server } from 'node:http';

/**
 * Keeps idle connections open. By default Node closes them after 5 s, and a request that a client sends at that moment
 * fails with "socket hang up", which is likely on a machine under load.
 */
export function keptConnections<T extends Pick<Server, 'keepAliveTimeout'>>(server: T): T {
  server.keepAliveTimeout = 0;
  return server;
}
