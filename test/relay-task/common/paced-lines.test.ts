import { createPacedLines } from '../../../relay-task/common/paced-lines.ts';

test('a line is written at most once in its time, and says how many like it were not', () => {
  let nowMs = 0;
  const written: unknown[] = [];
  const lines = createPacedLines(60_000, () => nowMs);
  const write = (key: string) => lines(key, (more) => written.push([key, more]));
  expect([write('a'), write('a'), write('b'), write('a')]).toEqual([true, false, true, false]);
  nowMs = 59_999;
  expect(write('a')).toBe(false);
  nowMs = 60_000;
  expect([write('a'), write('a'), write('b')]).toEqual([true, false, true]);
  expect(written).toEqual([
    ['a', {}],
    ['b', {}],
    ['a', { suppressed: 3 }],
    ['b', {}],
  ]);
});
