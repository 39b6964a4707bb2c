import { oncePerReason } from '../../../relay-task/common/once-per-reason.ts';

test('each reason is reported once, cut to 200 characters', () => {
  const reported: string[] = [];
  const report = oncePerReason((reason) => void reported.push(reason));
  const long = 'x'.repeat(300);
  for (const reason of ['a', 'b', 'a', long, `${long}y`, 'b']) report(reason);
  expect(reported).toEqual(['a', 'b', 'x'.repeat(200)]);
});

test('after twenty reasons no more are reported', () => {
  const reported: string[] = [];
  const report = oncePerReason((reason) => void reported.push(reason));
  for (let index = 0; index < 1_000; index += 1) report(`reason ${index}`);
  expect(reported).toEqual(Array.from({ length: 20 }, (_, index) => `reason ${index}`));
});
