import { sleep } from '../../../relay-task/common/pause.ts';
import { createTurnstile } from '../../../relay-task/common/turnstile.ts';
import type { Store, StoredSet } from '../../../relay-task/ports.ts';
import { type StoreFollowerOptions, startStoreFollower } from '../../../relay-task/wiring/store-follower.ts';
import { eventually, until } from '../../support/eventually.ts';
import { flag } from '../store/items.ts';

/** A store that only answers, and counts how often it was asked. */
function fakeStore() {
  const asked = { stamp: 0, read: 0 };
  const answers: { stamp: () => Promise<string | undefined>; read: () => Promise<StoredSet | undefined> } = {
    stamp: async () => 'one',
    read: async () => ({ items: [flag('a', 1)], source: 'mine' }),
  };
  const store: Store = {
    stamp() {
      asked.stamp += 1;
      return answers.stamp();
    },
    read() {
      asked.read += 1;
      return answers.read();
    },
    status: () => ({ database: 'redis', state: 'VALID', stateSince: 0, writer: false }),
    ...{ notify() {}, setEligible() {}, flush: async () => {}, close: async () => {} },
  };
  return { store, asked, answers };
}

const started: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of started.splice(0)) await one.close();
});

function start(more: Partial<StoreFollowerOptions> = {}) {
  const fake = fakeStore();
  const state = { cutOff: true };
  const adopted: StoredSet[] = [];
  const follower = startStoreFollower({
    stores: () => [fake.store],
    isCutOff: () => state.cutOff,
    adopt: (set) => adopted.push(set),
    reading: createTurnstile({ maxInside: 8 }),
    pollMs: 1,
    ...more,
  });
  started.push(follower);
  return { ...fake, state, adopted, follower };
}

test('what a set needs is found before it is taken, unless memory is current by then', async () => {
  const order: string[] = [];
  const { follower, state, adopted, asked } = start({
    prepare: async () => void order.push('prepared'),
    adopt: () => order.push('taken'),
  });
  follower.check();
  await until('a set', () => order.length >= 2);
  expect(order.slice(0, 2)).toEqual(['prepared', 'taken']);
  await follower.close();
  const other = start({
    prepare: async () => {
      other.state.cutOff = false;
    },
  });
  other.follower.check();
  await until('an end', () => !other.state.cutOff);
  await other.follower.close();
  expect([other.adopted, adopted, state.cutOff, asked.read > 0]).toEqual([[], [], true, true]);
});

test('a store is looked at only while memory is cut off, and only once it still is after a pause', async () => {
  const { follower, asked, state, adopted } = start();
  state.cutOff = false;
  follower.check();
  state.cutOff = true;
  expect(asked).toEqual({ stamp: 0, read: 0 });
  follower.check();
  follower.check();
  expect(asked).toEqual({ stamp: 0, read: 0 });
  await until('a set', () => adopted.length > 0);
  expect(follower.followed()).toEqual({ database: 'redis', time: expect.any(Number) });
  state.cutOff = false;
  expect(follower.followed()).toBeUndefined();
  await follower.close();
  const before = { ...asked };
  state.cutOff = true;
  follower.check();
  const other = start();
  other.follower.check();
  await until('many looks', () => other.asked.stamp > 5);
  expect(asked).toEqual(before);
});

test('a connection that is back after the pause costs no look', async () => {
  const { follower, asked, state } = start();
  follower.check();
  state.cutOff = false;
  // Another one with the same pause looks several times meanwhile.
  const other = start();
  other.follower.check();
  await until('many looks', () => other.asked.stamp > 5);
  expect(asked).toEqual({ stamp: 0, read: 0 });
});

test('a set whose stamp stays the same is read twice; after a new stamp it is read at once, and three times in all', async () => {
  const { follower, asked, answers } = start();
  follower.check();
  await until('many looks', () => asked.stamp >= 60);
  expect(asked.read).toBe(2);
  let readAt = 0;
  answers.read = async () => {
    if ((await answers.stamp()) === 'two') readAt ||= asked.stamp;
    return undefined;
  };
  let changedAt = 0;
  answers.stamp = async () => {
    changedAt ||= asked.stamp;
    return 'two';
  };
  await until('it is read', () => readAt > 0);
  expect(readAt).toBe(changedAt);
  const before = asked.stamp;
  await until('many looks', () => asked.stamp >= before + 30);
  expect(asked.read).toBe(5);
});

test('what was read while upstream delivered, or the place changed, is not used', async () => {
  let isOpen = true;
  const { follower, answers, state, adopted, store, asked } = start({ stores: () => (isOpen ? [store] : []) });
  let answer = (_set: StoredSet) => {};
  answers.read = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  follower.check();
  await until('it is asked', () => asked.read === 1);
  isOpen = false;
  answer({ items: [flag('a', 1)], source: 'mine' });
  await until('the next look', () => asked.stamp === 1 && adopted.length === 0);
  isOpen = true;
  await until('it is asked again', () => asked.read === 2);
  state.cutOff = false;
  answer({ items: [flag('a', 1)], source: 'mine' });
  await follower.close();
  expect(adopted).toEqual([]);
  expect(follower.followed()).toBeUndefined();
});

test('a store that fails or holds nothing is looked at again, and does not keep others from being followed', async () => {
  const failing = fakeStore();
  failing.answers.stamp = async () => {
    throw new Error('the store is gone');
  };
  const empty = fakeStore();
  empty.answers.read = async () => undefined;
  const good = fakeStore();
  const { follower, adopted } = start({ stores: () => [failing.store, empty.store, good.store] });
  follower.check();
  await eventually(() => expect(adopted.length).toBeGreaterThan(1));
  expect(failing.asked.stamp).toBeGreaterThan(1);
  expect(empty.asked.read).toBeGreaterThan(1);
});

test('a set without a stamp is read every third time, since nothing shows when it changes', async () => {
  const { follower, asked, answers } = start();
  const readsBefore: number[] = [];
  answers.stamp = async () => {
    readsBefore.push(asked.read);
    return undefined;
  };
  follower.check();
  await until('many looks', () => asked.stamp > 60);
  // The first two looks, and then each third.
  expect(readsBefore.slice(0, 10)).toEqual([0, 1, 2, 3, 3, 3, 4, 4, 4, 5]);
  expect(readsBefore[60]).toBe(22);
});

test('a set that could not be read is read with the next look', async () => {
  const { follower, answers, adopted, asked } = start();
  const { read } = answers;
  let readAt = 0;
  answers.read = async () => {
    if (asked.read < 6) throw new Error('throttled');
    readAt ||= asked.stamp;
    return read();
  };
  follower.check();
  await until('a set', () => adopted.length > 0);
  expect(readAt).toBe(6);
});

test('of many environments that are cut off at once, only so many read at the same time', async () => {
  const reading = createTurnstile({ maxInside: 2 });
  let inside = 0;
  let most = 0;
  const all = Array.from({ length: 10 }, () => {
    const one = start({ reading });
    one.answers.read = async () => {
      most = Math.max(most, ++inside);
      await sleep(5);
      inside -= 1;
      return undefined;
    };
    one.follower.check();
    return one;
  });
  await until('all have read', () => all.every(({ asked }) => asked.read > 0));
  expect(most).toBe(2);
});

test('what was followed in an earlier outage is forgotten in the next one', async () => {
  const { follower, state, adopted, answers, asked } = start();
  follower.check();
  await until('a set', () => adopted.length > 0);
  state.cutOff = false;
  const before = asked.stamp;
  await until('it ends', () => {
    follower.check();
    return follower.followed() === undefined;
  });
  await sleep(20);
  answers.read = async () => undefined;
  state.cutOff = true;
  follower.check();
  await until('the next look', () => asked.stamp > before + 1);
  expect(follower.followed()).toBeUndefined();
});
