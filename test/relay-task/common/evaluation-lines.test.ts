import { createEvaluationLines, type EvaluationPlace } from '../../../relay-task/common/evaluation-lines.ts';

const LONG_MS = 10;

function start() {
  const line = createEvaluationLines({ longMs: LONG_MS }).environmentId;
  /** In the order in which they have begun or gone on. */
  const order: string[] = [];
  const places = new Map<string, EvaluationPlace>();
  const giveUps = new Map<string, () => void>();
  return {
    line,
    order,
    enter(name: string, address = name, environment = 'e') {
      const giveUp = line.enter([environment, address], (place) => {
        order.push(name);
        places.set(name, place);
      });
      giveUps.set(name, giveUp);
    },
    /** It has worked for so long. Returns whether it has to wait. */
    work(name: string, ms = LONG_MS): boolean {
      const wait = places.get(name)?.after(ms);
      if (!wait) return false;
      const before = order.length;
      const giveUp = wait(() => order.push(name));
      giveUps.set(name, giveUp);
      return !order.slice(before).includes(name);
    },
    leave: (name: string) => places.get(name)?.leave(),
    giveUp: (name: string) => giveUps.get(name)?.(),
  };
}

const names = (letter: string, count: number) => Array.from({ length: count }, (_, index) => `${letter}${index + 1}`);

test('long evaluations give their places to others, and two of them go on', () => {
  const { order, enter, work } = start();
  for (const name of names('a', 6)) enter(name);
  expect(order).toEqual(names('a', 4));
  expect(work('a1', LONG_MS / 2)).toBe(false);
  expect(work('a1', LONG_MS / 2)).toBe(false);
  expect(work('a2')).toBe(false);
  expect(order).toEqual([...names('a', 4), 'a5', 'a1', 'a6', 'a2']);
  expect(
    names('a', 6)
      .slice(2)
      .map((name) => work(name)),
  ).toEqual([true, true, true, true]);
  order.length = 0;
  for (const name of names('b', 5)) enter(name);
  expect(order).toEqual(names('b', 4));
});

test('long evaluations take turns, those of another environment next but one', () => {
  const { order, enter, work } = start();
  for (const name of names('a', 4)) enter(name);
  for (const name of names('a', 4)) work(name);
  enter('b1', 'b1', 'other');
  work('b1');
  order.length = 0;
  expect(work('a1', LONG_MS - 1)).toBe(false);
  expect(work('a1', 1)).toBe(true);
  expect(work('a2')).toBe(true);
  expect(work('a3')).toBe(true);
  expect(order).toEqual(['a3', 'b1', 'a4']);
});

test('a long evaluation continues while no other one waits', () => {
  const { enter, work } = start();
  enter('a1');
  for (let turn = 0; turn < 100; turn++) expect(work('a1')).toBe(false);
});

test('no evaluation of an address begins while a long one of it is in progress', () => {
  const { order, enter, work, leave } = start();
  enter('first', 'x');
  enter('second', 'x');
  work('first');
  expect(order).not.toContain('second');
  leave('first');
  expect(order.at(-1)).toBe('second');
});

test('at most 32 long ones wait; the others keep their places', () => {
  const { order, enter, work } = start();
  const all = names('a', 100);
  for (const name of all) enter(name);
  for (const name of all) if (order.includes(name)) work(name);
  expect(new Set(order).size).toBe(2 + 32 + 4);
});

test('those that give up or leave give everything back', () => {
  const { line, order, enter, work, leave, giveUp } = start();
  const all = names('a', 38);
  for (let round = 0; round < 3; round++) {
    order.length = 0;
    for (const name of all) enter(name);
    for (const name of all) if (order.includes(name)) work(name);
    for (const name of all) {
      // Twice is as good as once.
      giveUp(name);
      giveUp(name);
      leave(name);
      leave(name);
    }
    expect(new Set(order).size).toBe(38);
  }
  order.length = 0;
  for (const name of names('b', 5)) enter(name);
  expect(order).toEqual(names('b', 4));
  expect(line.fits(['e', 'c'])).toBe(true);
});
