import { createPacedLines, createReasonLines } from '../../../relay-task/common/paced-lines.ts';

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

test('keys beyond the twentieth in that time count as one, and later ones find room again', () => {
  let nowMs = 0;
  const written: string[] = [];
  const lines = createPacedLines(60_000, () => nowMs);
  const write = (key: string) => lines(key, () => void written.push(key));
  for (let index = 0; index < 1_000; index += 1) write(`${index}`);
  expect(written.splice(0)).toEqual(Array.from({ length: 21 }, (_, index) => `${index}`));
  for (let index = 0; index < 100; index += 1) write(`${'x'.repeat(200)} ${index}`);
  expect(written).toEqual([]);
  nowMs = 60_000;
  write('late');
  write('later');
  expect(written).toEqual(['late', 'later']);
});

test('a reason is cut, and logged again after a minute with the number of suppressed lines', () => {
  let nowMs = 0;
  const written: unknown[] = [];
  const tell = createReasonLines(
    (fields) => written.push(fields),
    () => nowMs,
  );
  const long = 'x'.repeat(300);
  for (const reason of ['a', long, 'a', `${long}y`]) tell(reason);
  expect(written.splice(0)).toEqual([{ reason: 'a' }, { reason: 'x'.repeat(200) }]);
  nowMs = 60_000;
  tell('a');
  expect(written).toEqual([{ reason: 'a', suppressed: 1 }]);
});
