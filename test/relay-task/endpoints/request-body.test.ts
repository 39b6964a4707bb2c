import { createBudget } from '../../../relay-task/common/budget.ts';
import { createBodyMemory } from '../../../relay-task/endpoints/body-memory.ts';
import { createCollector } from '../../../relay-task/endpoints/request-body.ts';

const unlimited = createBodyMemory(createBudget(Infinity)).open('anyone');

test('a body in pieces of one byte takes hardly more memory than its bytes', () => {
  const slab = Buffer.alloc(64 * 1024, 'x');
  const collector = createCollector(2_000_000, unlimited);
  const before = process.memoryUsage();
  for (let i = 0; i < 1_000_000; i++) collector.add(slab.subarray(i % 65_536, (i % 65_536) + 1));
  const after = process.memoryUsage();
  expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(48 * 1024 * 1024);
  expect(collector.finish().equals(Buffer.alloc(1_000_000, 'x'))).toBe(true);
});

test('pieces of every size are joined in their order', () => {
  const sent: Buffer[] = [];
  for (let i = 0; i < 2_000; i++) sent.push(Buffer.alloc(i % 300 === 0 ? 70_000 : i % 7, i % 251));
  const whole = Buffer.concat(sent);
  for (const [limit, right] of [
    [whole.length, whole],
    [whole.length - 1, undefined],
  ] as const) {
    const collector = createCollector(limit, unlimited);
    for (const piece of sent) collector.add(piece);
    if (right) expect(collector.finish().equals(right)).toBe(true);
    else expect(() => collector.finish()).toThrow(String(limit));
  }
});
