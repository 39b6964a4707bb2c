import { sortInSlices } from '../../../relay-task/common/sliced-sort.ts';
import { resultOf } from '../../../relay-task/common/slices.ts';

test.each([0, 1, 255, 256, 257, 3_000])(
  '%i elements are sorted as Array.sort does, equal ones in their order',
  (count) => {
    const list = Array.from({ length: count }, (_, index) => ({ rank: (index * 7_919) % 97, index }));
    const compare = (a: { rank: number }, b: { rank: number }) => a.rank - b.rank;
    expect(resultOf(sortInSlices(list, compare))).toEqual([...list].sort(compare));
  },
);

test('yields often', () => {
  const list = Array.from({ length: 3_000 }, (_, index) => -index);
  const steps = [...sortInSlices(list, (a, b) => a - b)];
  expect(steps.length).toBeGreaterThan(3_000 / 256);
});
