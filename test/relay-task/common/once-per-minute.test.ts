import { oncePerMinute } from '../../../relay-task/common/once-per-minute.ts';

function start() {
  const clock = { now: 5_000 };
  const reported: (readonly [details: string, suppressed: number])[] = [];
  const report = oncePerMinute<string>(
    (details, suppressed) => void reported.push([details, suppressed]),
    () => clock.now,
  );
  return { clock, reported, report };
}

test('each reason is reported at most once a minute, and then with how often it came meanwhile', () => {
  const { clock, reported, report } = start();
  report('a', 'a1');
  for (let count = 0; count < 1_000; count += 1) report('a', 'again');
  report('b', 'b1');
  expect(reported.splice(0)).toEqual([
    ['a1', 0],
    ['b1', 0],
  ]);
  clock.now += 59_999;
  report('a', 'again');
  expect(reported).toEqual([]);
  clock.now += 1;
  report('a', 'a2');
  report('a', 'again');
  expect(reported).toEqual([['a2', 1_001]]);
});

test('endless reasons are one from the twenty-first of a minute on, and later ones find room again', () => {
  const { clock, reported, report } = start();
  for (let index = 0; index < 1_000; index += 1) report(`reason ${index}`, `${index}`);
  expect(reported.splice(0).map(([details]) => details)).toEqual(Array.from({ length: 21 }, (_, index) => `${index}`));
  clock.now += 60_000;
  report('late', 'late');
  report('later', 'later');
  expect(reported).toEqual([
    ['late', 0],
    ['later', 0],
  ]);
});
