import { createFairQueue } from '../../../relay-task/common/fair-queue.ts';
import { createFairTurns } from '../../../relay-task/common/fair-turns.ts';
import { SLICE_MS } from '../../../relay-task/common/slices.ts';

describe('a fair queue', () => {
  test('lets lanes take turns on both levels, and keeps the order within a lane', () => {
    const queue = createFairQueue<string>();
    for (const item of ['a1x', 'a1y', 'a1z', 'a2x', 'b1x', 'b1y', 'a2y']) queue.push([item[0]!, item[1]!], item);
    const order = Array.from({ length: 7 }, () => queue.shift());
    expect(order).toEqual(['a1x', 'b1x', 'a2x', 'b1y', 'a1y', 'a2y', 'a1z']);
    expect(queue.shift()).toBeUndefined();
    expect(queue.size).toBe(0);
  });

  test('gives a newcomer its turn after one item of each other lane, however many wait', () => {
    const queue = createFairQueue<string>();
    for (let i = 0; i < 1_000; i++) queue.push([`environment ${i % 3}`, `address ${i % 50}`], 'flood');
    queue.push(['environment new', 'address new'], 'new');
    expect([1, 2, 3, 4].map(() => queue.shift())).toContain('new');
  });
});

describe('fair turns', () => {
  /** A clock that only work moves. */
  function start(maxWaiting = 1_000) {
    let time = 0;
    const turns = createFairTurns({ maxWaiting, now: () => time });
    const done: string[] = [];
    const loop = { turn: 0 };
    const work = async (name: string, lanes: readonly [string, string], ms: number) => {
      const waits = turns.enter(lanes);
      if (waits && !(await waits)) return 'refused';
      time += ms;
      done.push(`${name}@${loop.turn}`);
      return 'done';
    };
    return { turns, done, loop, work };
  }
  const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

  test('work at once while the turn has time, and later in slices', async () => {
    const { done, loop, work, turns } = start();
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) => work(name, ['lane', '1'], SLICE_MS / 2));
    expect(done).toEqual(['a@0', 'b@0']);
    expect(turns.waiting).toBe(3);
    loop.turn = 1;
    await nextTurn();
    expect(done.slice(2)).toEqual(['c@1', 'd@1']);
    loop.turn = 2;
    await Promise.all(all);
    expect(done.at(-1)).toBe('e@2');
  });

  test('every turn has its full slice again after an idle one', async () => {
    const { done, work } = start();
    await work('long', ['lane', '1'], 100);
    await nextTurn();
    await nextTurn();
    void work('next', ['lane', '1'], 1);
    expect(done).toEqual(['long@0', 'next@0']);
  });

  test('others come soon although a flood waits, and the flood is bounded', async () => {
    const { done, work } = start(100);
    const flood = Array.from({ length: 500 }, (_, index) => work(`f${index}`, ['clients a', '1'], SLICE_MS));
    const other = work('other', ['servers a', '2'], SLICE_MS);
    expect(await other).toBe('done');
    expect(done.length).toBeLessThan(5);
    const outcomes = await Promise.all(flood);
    // One at once, three quarters of the places and one more waited.
    expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(77);
  });

  test('do no work in turns with new connections, but at least in every ninth', async () => {
    const { done, loop, work, turns } = start();
    const all = Array.from({ length: 5 }, (_, index) => work(`${index}`, ['lane', '1'], SLICE_MS));
    expect(done).toEqual(['0@0']);
    for (loop.turn = 1; done.length < 3; loop.turn++) {
      turns.connected();
      await nextTurn();
    }
    expect(done).toEqual(['0@0', '1@9', '2@18']);
    // None arrive any more.
    await Promise.all(all);
    expect(done.map((name) => Number(name.split('@')[1])).slice(3)).toEqual([19, 19]);
  });

  test('never turn away work that is limited elsewhere', async () => {
    const { turns: busy } = start(0);
    void busy.await(['a', '1']);
    busy.connected();
    expect(await busy.enter(['a', '1'])).toBe(false);
    const order: number[] = [];
    await Promise.all(
      [1, 2, 3].map(async (name) => {
        await busy.await(['a', '1']);
        order.push(name);
      }),
    );
    expect(order).toEqual([1, 2, 3]);
  });
});
