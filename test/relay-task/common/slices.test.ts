import { inNextTurn, inSlices, nextTurn, SLICE_MS } from '../../../relay-task/common/slices.ts';

/** A clock that only work moves. */
let clock = 0;
beforeEach(() => {
  jest.spyOn(performance, 'now').mockImplementation(() => clock);
});
afterEach(() => {
  jest.restoreAllMocks();
});

/** Each step takes half a slice. */
function* steps(count: number): Generator<void, string> {
  for (let step = 0; step < count; step++) {
    clock += SLICE_MS / 2;
    yield;
  }
  return 'result';
}

/** What the work takes of each turn of the event loop, in slices. */
async function slicesByTurn(work: () => Promise<unknown>): Promise<number[]> {
  const turns: number[] = [];
  let before = clock;
  let isOver = false;
  const count = () => {
    turns.push((clock - before) / SLICE_MS);
    before = clock;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  await work();
  isOver = true;
  await new Promise((resolve) => setImmediate(resolve));
  return turns;
}

test('work in slices lets other work run each time its time is over, and has the result of its generator', async () => {
  const turns = await slicesByTurn(async () => expect(await inSlices(steps(40))).toBe('result'));
  // One that began in another phase of the event loop, and the next one.
  expect(Math.max(...turns)).toBeLessThanOrEqual(2);
  expect(turns.reduce((sum, slices) => sum + slices)).toBe(20);
});

test('all work in slices shares those of a turn, and takes its turns', async () => {
  const finished: number[] = [];
  const turns = await slicesByTurn(() =>
    Promise.all(
      Array.from({ length: 50 }, (_, index) => inSlices(steps(index === 0 ? 40 : 4)).then(() => finished.push(index))),
    ),
  );
  // A step may begin just before the time is over.
  expect(Math.max(...turns)).toBeLessThanOrEqual(3);
  // The long one does not hold the others back.
  expect(finished.at(-1)).toBe(0);
  expect(finished.slice(0, -1)).toEqual(Array.from({ length: 49 }, (_, index) => index + 1));
});

test('slices that are called and those that go on after await come in one order', async () => {
  const order: string[] = [];
  const slice = (name: string) => {
    clock += SLICE_MS;
    order.push(name);
  };
  const turns = await slicesByTurn(async () => {
    inNextTurn(() => slice('a'));
    const second = nextTurn().then(() => slice('b'));
    inNextTurn(() => slice('c'));
    await second;
    await nextTurn();
  });
  expect(order).toEqual(['a', 'b', 'c']);
  expect(Math.max(...turns)).toBeLessThanOrEqual(1);
});

test('an error in work in slices rejects', async () => {
  function* failing(): Generator<void, never> {
    yield;
    throw new Error('broken');
  }
  await expect(inSlices(failing())).rejects.toThrow('broken');
});
