import { inSlices, SLICE_MS } from '../../../relay-task/common/slices.ts';

function* steps(count: number): Generator<void, string> {
  for (let step = 0; step < count; step++) yield;
  return 'result';
}

test('work in slices lets other work run each time its time is over, and has the result of its generator', async () => {
  let clock = 0;
  // The clock is read once before a slice and once after each step, which takes half a slice.
  const work = inSlices(steps(40), { now: () => (clock += SLICE_MS / 2) });
  let turns = 0;
  let over = false;
  const count = () => {
    if (over) return;
    turns++;
    setImmediate(count);
  };
  setImmediate(count);
  expect(await work).toBe('result');
  over = true;
  expect(turns).toBeGreaterThanOrEqual(40 / 2 - 1);
});

test('an error in work in slices rejects', async () => {
  function* failing(): Generator<void, never> {
    yield;
    throw new Error('broken');
  }
  await expect(inSlices(failing())).rejects.toThrow('broken');
});
