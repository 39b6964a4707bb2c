import { editDistance, nearest } from '../../../relay-task/common/edit-distance.ts';

test.each([
  ['', '', 0],
  ['', 'abc', 3],
  ['abc', '', 3],
  ['kitten', 'sitting', 3],
  ['saturday', 'sunday', 3],
  ['flaw', 'lawn', 2],
  ['port', 'prot', 2],
  ['same', 'same', 0],
])('the edit distance from %j to %j is %i', (a, b, distance) => expect(editDistance(a, b)).toBe(distance));

const names = ['port', 'host', 'password', 'url'];

test.each([
  ['prot', 'port'],
  ['PASWORD', 'password'],
  ['ulr', undefined],
  ['ur', 'url'],
  ['timeout', undefined],
])('the name nearest to %s is %s', (word, expected) => expect(nearest(word, names)).toBe(expected));

test('an empty list has no nearest name', () => expect(nearest('port', [])).toBeUndefined());
