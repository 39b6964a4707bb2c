import { EDGE_EXECUTION_REGIONS, nearestReplicas } from '../../../lib/infrastructure/regions.ts';

const replicas = nearestReplicas('eu-west-1', ['us-east-1', 'ap-northeast-1', 'eu-north-1']);

test('every region of edge functions has all replicas in its list, and the default list starts with home', () => {
  const all = ['ap-northeast-1', 'eu-north-1', 'eu-west-1', 'us-east-1'];
  for (const region of EDGE_EXECUTION_REGIONS) expect([...replicas[region]!].sort()).toEqual(all);
  expect(EDGE_EXECUTION_REGIONS).toHaveLength(13);
  expect(replicas.default[0]).toBe('eu-west-1');
});

test('a region with a replica reads its own', () => {
  for (const region of ['eu-west-1', 'us-east-1', 'ap-northeast-1']) expect(replicas[region]![0]).toBe(region);
});

test.each([
  ['us-west-2', 'us-east-1'],
  ['us-east-2', 'us-east-1'],
  ['sa-east-1', 'us-east-1'],
  ['eu-west-2', 'eu-west-1'],
  ['eu-central-1', 'eu-west-1'],
  ['ap-northeast-2', 'ap-northeast-1'],
  ['ap-southeast-1', 'ap-northeast-1'],
  ['ap-southeast-2', 'ap-northeast-1'],
])('%s, which has no replica, reads the nearest: %s', (region, nearest) => {
  expect(replicas[region]![0]).toBe(nearest);
});

test('a replica in an unknown region is last in the list', () => {
  expect(nearestReplicas('eu-west-1', ['xx-new-1'])['us-east-1']).toEqual(['eu-west-1', 'xx-new-1']);
});
