/** Request lines: what is found costs little, however long they are. */
import fc from 'fast-check';
import { createRouter } from '../../../relay-task/endpoints/router.ts';

const resolve = createRouter([
  { method: 'GET', path: '/a' },
  { method: 'GET', path: '/a/{id}' },
]);
const queryOf = (text: string) => {
  const found = resolve('GET', `/a?${text}`);
  if (found.kind !== 'route') throw new Error(found.kind);
  return found.query;
};

test('a query is read as URLSearchParams reads it', () => {
  const piece = fc.constantFrom(
    'h',
    'H',
    'filter',
    '=',
    '&',
    '?',
    '+',
    '%',
    '%68',
    '%66ilter',
    '%3D',
    '%26',
    '%e4',
    'é',
    'x',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('');
      const official = new URLSearchParams(`?${text}`);
      const query = queryOf(text);
      for (const name of ['h', 'filter', 'x'])
        expect([text, name, query.get(name)]).toEqual([text, name, official.get(name)]);
      expect(query.toString()).toBe(official.toString());
    }),
  );
});

test('a query of 100 parameters is read, and one more is refused', () => {
  expect(queryOf(`${'a&'.repeat(99)}h=1`).get('h')).toBe('1');
  expect(resolve('GET', `/a?${'a&'.repeat(100)}h=1`)).toEqual({
    kind: 'bad',
    message: 'the query has more than 100 parameters',
  });
});

test('a path of many segments is at no route, and is not taken apart', () => {
  expect(resolve('GET', '/a/x/../y').kind).toBe('redirect');
  for (const path of ['/x'.repeat(20_000), '/..'.repeat(20_000), '/'.repeat(60_000), `${'/x'.repeat(20_000)}/%`]) {
    expect(resolve('GET', path).kind).toBe('none');
  }
});
