import { createBudget } from '../../../relay-task/common/budget.ts';
import { createKept, Place } from '../../../relay-task/common/kept.ts';

test('what is kept stays within the budget: once it is full, everything is forgotten and there is room again @heavy', () => {
  const budget = createBudget(10_000);
  const kept = createKept(budget);
  const places = Array.from({ length: 300 }, () => new Place<string>());
  for (const [index, place] of places.entries()) {
    expect(kept.keep(place, `text ${index}`, 100)).toBe(true);
    expect(place.value).toBe(`text ${index}`);
    const held = places.filter(({ value }) => value !== undefined).length;
    expect(budget.usedBytes).toBeGreaterThan(held * 100);
    expect(budget.usedBytes).toBeLessThanOrEqual(10_000);
  }
  expect(places[0]?.value).toBeUndefined();
});

test('what is larger than the budget is not kept, and costs the others nothing', () => {
  const kept = createKept(createBudget(1_000));
  const [small, large] = [new Place<string>(), new Place<string>()];
  kept.keep(small, 'small', 100);
  expect(kept.keep(large, 'large', 1_000)).toBe(false);
  expect([small.value, large.value]).toEqual(['small', undefined]);
});

test('what is kept gives way to what else counts against the budget', () => {
  const whole = createBudget(1_000);
  const kept = createKept(createBudget(1_000, { parent: whole }));
  const [first, second] = [new Place<string>(), new Place<string>()];
  kept.keep(first, 'first', 300);
  whole.hold(600);
  expect(kept.keep(second, 'second', 300)).toBe(true);
  expect([first.value, second.value]).toEqual([undefined, 'second']);
  whole.hold(100);
  expect(kept.keep(first, 'first', 300)).toBe(false);
  expect(whole.usedBytes).toBe(700);
});
