import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** What TLS takes in memory beside the connection itself: keys and buffers, most of them outside the heap; estimated. */
export const TLS_BYTES = 32 * 1024;

export function tlsBytesOf(socket: Socket): number {
  return (socket as Partial<TLSSocket>).encrypted ? TLS_BYTES : 0;
}
