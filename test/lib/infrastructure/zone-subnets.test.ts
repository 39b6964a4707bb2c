import { isZoneOf, zoneSubnets } from '../../../lib/infrastructure/zone-subnets.ts';

const zones = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => `us-east-1${letter}`);
const bounds = (range: string): [number, number] => {
  const [address = '', bits] = range.split('/');
  const first = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  return [first, first + 2 ** (32 - Number(bits))];
};

test.each(['10.0.0.0/16', '10.255.252.0/22', '192.168.64.0/18'])('no two zones share addresses in %s', (cidr) => {
  const [start, end] = bounds(cidr);
  const ranges = zones
    .flatMap((zone) => Object.values(zoneSubnets(cidr, zone)))
    .map(bounds)
    .sort(([a], [b]) => a - b);
  expect(ranges).toHaveLength(12);
  const edges = [start, ...ranges.flat(), end];
  expect(edges).toEqual([...edges].sort((a, b) => a - b));
});

test('a zone’s addresses depend on its letter alone, and tasks have the larger part', () => {
  expect(zoneSubnets('10.0.0.0/16', 'us-east-1b')).toEqual({
    insideRange: '10.0.32.0/19',
    publicRange: '10.0.200.0/21',
  });
  // AWS: a load balancer's subnet needs a /27 and eight free addresses.
  expect(zoneSubnets('10.0.0.0/22', 'us-east-1f')).toEqual({
    insideRange: '10.0.2.128/25',
    publicRange: '10.0.3.160/27',
  });
});

test('only zones of the region are known', () => {
  expect(
    ['us-east-1a', 'us-east-1g', 'us-east-2a', 'us-east-1-bos-1a'].map((zone) => isZoneOf('us-east-1', zone)),
  ).toEqual([...[true, false, false, false]]);
});
