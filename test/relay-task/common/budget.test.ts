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

test('a share of a budget is what is still free, or a part of it, so that something is left for the next', () => {
  const whole = createBudget(120);
  const fill = (part?: number) => {
    const share = createShare(whole, part);
    while (share.reserve(1));
    return share;
  };
  const first = fill();
  expect(first.usedBytes).toBe(60);
  expect(fill(0.5).usedBytes).toBe(20);
  expect(fill().usedBytes).toBe(20);
  first.release(60);
  expect(first.reserve(40)).toBe(true);
  expect(whole.usedBytes).toBe(80);
});

test('a share of a budget whose parent has less room is a share of that', () => {
  const parent = createBudget(60);
  const whole = createBudget(120, { parent });
  const fill = (part?: number) => {
    const share = createShare(whole, part);
    while (share.reserve(1));
    return share;
  };
  const first = fill();
  expect([first.usedBytes, first.freeBytes, first.full]).toEqual([30, 0, true]);
  expect([fill().usedBytes, fill(0.5).usedBytes]).toEqual([15, 5]);
  expect([whole.freeBytes, parent.freeBytes]).toEqual([10, 10]);
  parent.hold(5);
  expect([whole.freeBytes, first.freeBytes]).toEqual([5, -25]);
});
