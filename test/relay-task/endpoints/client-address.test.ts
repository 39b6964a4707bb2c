import type { IncomingMessage } from 'node:http';
import { clientAddress } from '../../../relay-task/endpoints/client-address.ts';

const of = (remoteAddress: string | undefined, forwarded?: string) =>
  clientAddress({
    headers: { ...(forwarded !== undefined && { 'x-forwarded-for': forwarded }) },
    socket: { remoteAddress } as IncomingMessage['socket'],
  });

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0db8:0001:0002:ffff::1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  [undefined, 'unknown'],
  ['', 'unknown'],
])('a client at %s is known as %s', (address, expected) => {
  expect(of(address)).toBe(expected);
});

test.each([
  ['198.51.100.1', '198.51.100.1'],
  ['203.0.113.9, 198.51.100.1', '198.51.100.1'],
  ['203.0.113.9,198.51.100.1:4711', '198.51.100.1'],
  ['203.0.113.9, 2001:db8:1:2::77', '2001:db8:1:2::/64'],
  ['', '10.0.0.1'],
  ['203.0.113.9, <script>', 'unknown'],
  [`${'x, '.repeat(10_000)}`, '10.0.0.1'],
])('behind a balancer that says %p, a client is known as %s', (forwarded, expected) => {
  expect(of('10.0.0.1', forwarded)).toBe(expected);
});

test('a text that is too long is not an address', () => {
  expect(of('10.0.0.1', '1.'.repeat(10_000))).toBe('unknown');
});
