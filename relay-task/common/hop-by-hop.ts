import type { IncomingHttpHeaders } from 'node:http';

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Headers that belong to one connection and are not passed on: RFC 9110 section 7.6.1. Names in lower case. */
export function isHopByHop(name: string, { connection = '' }: IncomingHttpHeaders): boolean {
  if (HOP_BY_HOP.has(name)) return true;
  return connection.split(',').some((named) => named.trim() !== '' && named.trim().toLowerCase() === name);
}
