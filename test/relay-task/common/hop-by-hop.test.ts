import { isHopByHop } from '../../../relay-task/common/hop-by-hop.ts';

test('headers named by Connection are hop-by-hop, besides the standard ones', () => {
  const headers = { connection: 'close, X-Trace' };
  const names = ['connection', 'transfer-encoding', 'x-trace', 'close', 'etag', 'cache-control'];
  expect(names.filter((name) => isHopByHop(name, headers))).toEqual([
    'connection',
    'transfer-encoding',
    'x-trace',
    'close',
  ]);
  expect(isHopByHop('x-trace', {})).toBe(false);
  expect(isHopByHop('', {})).toBe(false);
});
