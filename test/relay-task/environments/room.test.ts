import { createBudget } from '../../../relay-task/common/budget.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import { flag, tombstone } from '../../support/items.ts';
import { createLogRecorder } from '../../support/logs.ts';

const large = (key: string, version: number, characters = 10_000) =>
  flag(key, version, { description: 'x'.repeat(characters) });

function start(maxBytes: number) {
  const room = createBudget(maxBytes);
  const { log, lines } = createLogRecorder();
  const environment = createEnvironment({ name: 'shop', log, onChange() {}, room });
  environment.put([flag('a', 1)], [], 0);
  const versions = () =>
    Object.fromEntries([...environment.items('features')].map(({ key, version }) => [key, version]));
  return { room, lines, environment, versions };
}

test('a change without room is skipped, named and logged, and the previous version stays', () => {
  const { environment, room, lines, versions } = start(30_000);
  for (const key of ['b', 'c', 'd', 'e']) environment.upsert(large(key, 1), 0);
  environment.upsert(large('b', 2, 20_000), 0);
  environment.upsert(flag('a', 2), 0);
  expect(versions()).toEqual({ a: 2, b: 1, c: 1 });
  expect(room.usedBytes).toBeLessThanOrEqual(30_000);
  const reason =
    'the flags and segments of all environments take more than 30000 bytes: give the relay more memory, or send less';
  expect(environment.unreadable()).toEqual(['d', 'e', 'b'].map((key) => ({ kind: 'features', key, reason })));
  // Once a minute.
  expect(lines).toEqual([
    `No memory for a change of a flag or segment; keeping the previous version {"environment":"shop","reason":"${reason}","runbook":"operations.md#memory"}`,
  ]);

  environment.upsert(tombstone('features', 'c', 2), 0);
  environment.upsert(large('d', 2), 0);
  expect(versions()).toEqual({ a: 2, b: 1, c: 2, d: 2 });
  expect(environment.unreadable().map(({ key }) => key)).toEqual(['e', 'b']);
});

test('deletions of unknown items take room, too', () => {
  const { environment, room } = start(10_000);
  for (let i = 0; i < 1_000; i++) environment.upsert(tombstone('features', `f${i}`, 1), 0);
  expect(room.usedBytes).toBeLessThanOrEqual(10_000);
  expect([...environment.items('features')].length).toBeLessThan(20);
});

test('a whole set is held even without room, and then changes of other environments find none', () => {
  const { environment, room } = start(30_000);
  environment.put(
    ['b', 'c', 'd', 'e'].map((key) => large(key, 1)),
    [],
    0,
  );
  expect([...environment.items('features')]).toHaveLength(5);
  expect(room.freeBytes).toBeLessThan(0);
  const other = createEnvironment({ name: 'blog', log: createLogRecorder().log, onChange() {}, room });
  other.put([flag('a', 1)], [], 0);
  other.upsert(flag('b', 1), 0);
  expect([...other.items('features')].map(({ key }) => key)).toEqual(['a']);

  environment.leave();
  other.upsert(flag('b', 1), 0);
  expect([...other.items('features')].map(({ key }) => key)).toEqual(['a', 'b']);
  other.leave();
  expect(room.usedBytes).toBe(0);
});
