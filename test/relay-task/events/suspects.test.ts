import { createSuspects } from '../../../relay-task/events/suspects.ts';

const MINUTE_MS = 60_000;

test('a suspicion lasts for its time since the last rejection', () => {
  let now = 0;
  const suspects = createSuspects(MINUTE_MS, () => now);
  suspects.judge('a', 'rejected');
  now += MINUTE_MS - 1;
  suspects.judge('a', 'rejected');
  suspects.judge('a', 'delivered');
  now += MINUTE_MS - 1;
  expect([suspects.has('a'), suspects.has('b'), suspects.some]).toEqual([true, false, true]);
  now += 1;
  expect([suspects.has('a'), suspects.some]).toEqual([false, false]);
});

test('who was only together with rejected events is acquitted by the first payload that is accepted', () => {
  const suspects = createSuspects(MINUTE_MS);
  for (const sender of ['a', 'b']) suspects.add(sender);
  suspects.judge('b', 'rejected');
  for (const sender of ['a', 'b']) suspects.judge(sender, 'delivered');
  expect([suspects.has('a'), suspects.has('b')]).toEqual([false, true]);
});

test('of too many suspects the one that was suspected longest ago is forgotten', () => {
  const suspects = createSuspects(MINUTE_MS);
  for (let id = 0; id < 1_001; id++) suspects.judge(`sender ${id}`, 'rejected');
  expect([suspects.has('sender 0'), suspects.has('sender 1'), suspects.has('sender 1000')]).toEqual([
    false,
    true,
    true,
  ]);
});
