import { createTurns } from '../../../relay-task/streams/turns.ts';
import { until } from '../../support/eventually.ts';

const busy = (ms: number) => {
  for (const until = performance.now() + ms; performance.now() < until; );
};

test('the first job runs at once, and many jobs run in order over several turns with other work in between', async () => {
  const turns = createTurns();
  const done: number[] = [];
  const turnAt: number[] = [];
  let turn = 0;
  let counts = true;
  const count = () => {
    turn++;
    if (counts) setImmediate(count);
  };
  count();
  for (let i = 0; i < 40; i++) {
    turns.run(() => {
      busy(2);
      done.push(i);
      turnAt.push(turn);
    });
  }
  expect(done.length).toBeGreaterThanOrEqual(1);
  expect(done.length).toBeLessThan(4);
  await until('all are done', () => done.length === 40);
  counts = false;
  expect(done).toEqual(Array.from({ length: 40 }, (_, i) => i));
  expect(turnAt.at(-1)! - turnAt[0]!).toBeGreaterThanOrEqual(12);
});

test('every turn has its full time slice', async () => {
  const turns = createTurns();
  turns.run(() => busy(6));
  let done = false;
  turns.run(() => {
    done = true;
  });
  expect(done).toBe(false);
  await until('the second', () => done);
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  let now = false;
  turns.run(() => {
    now = true;
  });
  expect(now).toBe(true);
});
