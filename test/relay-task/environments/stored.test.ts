import { readStored } from '../../../relay-task/environments/stored.ts';
import { flag } from '../../support/items.ts';

test.each([-1, -3, 1.5, Number.NaN, 2 ** 53])(
  'an item in a store with version %d is invalid, as from upstream',
  (version) => {
    expect(readStored({ ...flag('a', 1), version })).toEqual({
      reason: `version must be a whole number from 0, not ${version}`,
    });
  },
);

test('an item in a store with version 0 is valid', () => {
  expect(readStored(flag('a', 0))).toMatchObject({ key: 'a', version: 0 });
});
