import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';

/**
 * What stands for a client's network address, so that clients with the same can be treated as one: an IPv4 address, or the
 * first 64 bits of an IPv6 address, which is what one customer of a network gets. Behind a load balancer it is the last
 * address in `X-Forwarded-For`, the one that the balancer added. Without a balancer clients can invent one: use it to share
 * things fairly, never to grant anything.
 */
export function clientAddress({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): string {
  const forwarded = headers['x-forwarded-for'];
  const all = (Array.isArray(forwarded) ? forwarded.join() : forwarded) ?? '';
  return networkOf(all.slice(all.lastIndexOf(',') + 1).trim() || socket.remoteAddress || '');
}

/** Of an IPv6 address with a scope and a port; longer texts are not addresses. */
const MAX_LENGTH = 100;

function networkOf(address: string): string {
  if (address.length > MAX_LENGTH) return 'unknown';
  // As in `::ffff:192.0.2.1`, or with a port, as some balancers write it.
  const [ipv4] = /\d{1,3}(?:\.\d{1,3}){3}/.exec(address) ?? [];
  // A copy: a part of the header would keep all of it in memory.
  if (ipv4 !== undefined) return Buffer.from(ipv4).toString();
  const [ipv6 = ''] = address.split('%');
  if (!isIPv6(ipv6)) return 'unknown';
  const [before = '', after] = ipv6.split('::');
  const groups = before === '' ? [] : before.split(':');
  const behind = after ? after.split(':') : [];
  if (after !== undefined) while (groups.length + behind.length < 8) groups.push('0');
  const first = [...groups, ...behind].slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${first.join(':')}::/64`;
}
