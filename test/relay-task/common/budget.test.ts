import { createBudget, createShare } from '../../../relay-task/common/budget.ts';

test('a budget reserves up to its limit and gives back what is released', () => {
  const seen: number[] = [];
  const budget = createBudget(10, { changed: (bytes) => seen.push(bytes) });
  expect([budget.reserve(6), budget.reserve(5), budget.reserve(4), budget.reserve(1)]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  budget.release(10);
  expect(budget.usedBytes).toBe(0);
  expect(seen).toEqual([6, 10, 0]);
});

test('a part of a budget holds no more than itself, and its parts together no more than the whole', () => {
  const whole = createBudget(10);
  const [a, b] = [createBudget(8, { parent: whole }), createBudget(8, { parent: whole })];
  expect(a.reserve(9)).toBe(false);
  expect(a.reserve(7)).toBe(true);
  expect(b.reserve(4)).toBe(false);
  expect([a.usedBytes, b.usedBytes, whole.usedBytes]).toEqual([7, 0, 7]);
  a.release(7);
  expect(b.reserve(4)).toBe(true);
  expect(whole.usedBytes).toBe(4);
});

test('a share of a budget is what is still free, so that something is left for the next', () => {
  const whole = createBudget(120);
  const fill = () => {
    const share = createShare(whole);
    while (share.reserve(1));
    return share;
  };
  const first = fill();
  expect(first.usedBytes).toBe(60);
  expect([fill().usedBytes, fill().usedBytes]).toEqual([30, 15]);
  first.release(60);
  expect(first.reserve(37)).toBe(true);
  expect(whole.usedBytes).toBe(82);
});

test('a share of a budget whose parent has less room is a share of that', () => {
  const parent = createBudget(60);
  const whole = createBudget(120, { parent });
  const fill = () => {
    const share = createShare(whole);
    while (share.reserve(1));
    return share;
  };
  const first = fill();
  expect([first.usedBytes, first.freeBytes, first.full]).toEqual([30, 0, true]);
  expect(fill().usedBytes).toBe(15);
  expect([whole.freeBytes, parent.freeBytes]).toEqual([15, 15]);
  parent.hold(5);
  expect([whole.freeBytes, first.freeBytes]).toEqual([10, -20]);
});
