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
  expect([suspects.of('a'), suspects.of('b'), suspects.some]).toEqual(['confirmed', undefined, true]);
  now += 1;
  expect([suspects.of('a'), suspects.some]).toEqual([undefined, false]);
});

test('who was only together with rejected events is acquitted by the first payload that is accepted', () => {
  const suspects = createSuspects(MINUTE_MS);
  for (const sender of ['a', 'b']) suspects.add(sender);
  suspects.judge('b', 'rejected');
  expect([suspects.of('a'), suspects.of('b')]).toEqual(['unknown', 'confirmed']);
  for (const sender of ['a', 'b']) suspects.judge(sender, 'delivered');
  expect([suspects.of('a'), suspects.of('b')]).toEqual([undefined, 'confirmed']);
});

test('who had events accepted is only doubted, until some of its own are rejected, and of the others an unconfirmed one comes first', () => {
  const suspects = createSuspects(MINUTE_MS);
  suspects.judge('bad', 'rejected');
  suspects.accept('good');
  for (const sender of ['good', 'new']) suspects.add(sender);
  expect(['good', 'new', 'bad'].map(suspects.of)).toEqual(['doubted', 'unknown', 'confirmed']);
  expect(suspects.next(['bad', 'new'])).toBe('new');
  suspects.judge('good', 'rejected');
  suspects.accept('good');
  expect(suspects.of('good')).toBe('confirmed');
});

test('of too many suspects the one that was suspected longest ago is forgotten', () => {
  const suspects = createSuspects(MINUTE_MS);
  for (let id = 0; id < 1_001; id++) suspects.judge(`sender ${id}`, 'rejected');
  expect(['sender 0', 'sender 1', 'sender 1000'].map(suspects.of)).toEqual([undefined, 'confirmed', 'confirmed']);
});

test('turns go to whoever had the fewest requests, and who sent nothing for a while has not saved any', () => {
  const suspects = createSuspects(MINUTE_MS);
  for (const sender of ['a', 'b', 'late']) suspects.judge(sender, 'rejected');
  const turns = (senders: readonly string[], costs: Record<string, number>, count: number) =>
    Array.from({ length: count }, () => {
      const next = suspects.next(senders) ?? '';
      for (let times = costs[next] ?? 0; times > 0; times -= 1) suspects.spend(next);
      return next;
    }).join(' ');
  expect(turns(['a', 'b'], { a: 3, b: 1 }, 8)).toBe('a b b b a b b b');
  expect(turns(['a', 'b', 'late'], { a: 2, b: 2, late: 2 }, 6)).toBe('late a b late a b');
  expect(suspects.next([])).toBeUndefined();
});
