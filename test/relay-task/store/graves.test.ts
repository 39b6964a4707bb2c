import { createGraves } from '../../../relay-task/store/graves.ts';
import { defaultTimings, replicaTimings } from '../../../relay-task/store/timings.ts';
import { createMemory } from '../../support/memory.ts';
import { tombstone } from './items.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;

test.each([
  ['DynamoDB', defaultTimings],
  ['Redis and Consul', replicaTimings],
])('a tombstone leaves %s a day after it was first seen', (_store, timings) => {
  let now = 1_000_000;
  const gone = tombstone('features', 'gone', 2);
  const view = createMemory(gone);
  const graves = createGraves({ view, clock: { now: () => now, wall: () => now }, timings });
  graves.look([gone]);
  now += DAY_MS - 1;
  graves.look([gone]);
  expect(graves.isSpent(gone)).toBe(false);
  expect(graves.view.get('features', 'gone')).toEqual(gone);
  now += 1;
  graves.look([gone]);
  expect(graves.isSpent(gone)).toBe(true);
  expect(graves.view.get('features', 'gone')).toBeUndefined();
});

describe('a tombstone that was in the store', () => {
  /** What memory's tombstone is taken for once this is there instead. */
  function after(...stored: Parameters<typeof tombstone>[]) {
    const gone = tombstone('features', 'gone', 2);
    const graves = createGraves({
      view: createMemory(gone),
      clock: { now: () => 1_000_000, wall: () => 1_000_000 },
      timings: defaultTimings,
    });
    graves.look([gone]);
    graves.look(stored.map((one) => tombstone(...one)));
    return graves.isSpent(gone);
  }

  test('is spent once another relay has removed it', () => {
    expect(after()).toBe(true);
    expect(after(['features', 'other', 2])).toBe(true);
  });

  test('is not spent if something else put one of another version in its place, which is then repaired', () => {
    expect(after(['features', 'gone', 3])).toBe(false);
    expect(after(['features', 'gone', 1])).toBe(false);
  });
});
