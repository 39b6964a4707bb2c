import { createCompileRounds } from '../../../relay-task/environments/compile-rounds.ts';
import { createFailedItems } from '../../../relay-task/environments/failed-items.ts';
import { createRefusedPatterns, noRefusals } from '../../../relay-task/environments/refused-patterns.ts';

/** `left`: how often there is too much to be compiled in one turn. */
function start(left: number, goesOn = 0) {
  const counts = { rounds: 0, over: 0 };
  const compile = createCompileRounds({
    areMany: () => counts.rounds < left,
    *round() {
      yield;
      counts.rounds += 1;
    },
    onOver: () => ++counts.over <= goesOn,
  });
  return { compile, counts };
}

test('nothing is compiled in slices that can be compiled in one turn', () => {
  const { compile, counts } = start(0);
  expect(compile()).toBeUndefined();
  expect(counts.rounds).toBe(0);
});

test('waiting callers share the rounds, and continue after three although more has arrived', async () => {
  const { compile, counts } = start(Number.POSITIVE_INFINITY);
  const [first, second] = [compile(), compile()];
  expect(second).toBe(first);
  await first;
  expect(counts).toEqual({ rounds: 3, over: 3 });
  expect(compile()).not.toBe(first);
});

test('another round follows when the one before asks for it, although nobody waits', async () => {
  const { compile, counts } = start(1, 2);
  await compile();
  while (counts.over < 3) await new Promise(setImmediate);
  expect(counts.rounds).toBe(3);
});

test('ten refused patterns of an item and a hundred in all are kept, and those of a replaced item make room', () => {
  const told: [string, number][] = [];
  const patterns = createRefusedPatterns(({ key }, more) => told.push([key, more]));
  const compile = (key: string, count: number) => {
    patterns.collectIn(noRefusals());
    for (let index = 0; index < count; index++) patterns.dialect.test('matches', [`(${index}`]);
    patterns.inForce('features', key);
  };
  for (let item = 0; item < 11; item++) compile(`f${item}`, 25);
  compile('valid', 0);
  expect(told).toEqual(Array.from({ length: 11 }, (_, item) => [`f${item}`, 24]));
  expect(patterns.list()).toHaveLength(100);
  patterns.forget('features', 'f0');
  compile('next', 3);
  expect(patterns.list().filter(({ key }) => key === 'next')).toEqual(
    ['(0', '(1', '(2'].map((pattern) => ({ kind: 'features', key: 'next', pattern })),
  );
});

test('a failure is reported once for each reason in each version of an item', () => {
  const told: string[] = [];
  const failed = createFailedItems(({ key, reason }) => told.push(`${key}: ${reason}`));
  for (const reason of ['a', 'a', 'b', 'x'.repeat(1_000)]) failed.fail('features', 'f', reason);
  expect(told).toEqual(['f: a', 'f: b', `f: ${'x'.repeat(300)}`]);
  failed.forget('features', 'f');
  failed.fail('features', 'f', 'a');
  expect(failed.list()).toEqual([{ kind: 'features', key: 'f', reason: 'a' }]);
});
