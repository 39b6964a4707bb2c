import { nextTurn, resultOf } from '../../../relay-task/common/slices.ts';
import { holdContext, parsedBytes } from '../../../relay-task/endpoints/held-context.ts';
import { contextFromBody } from '../../../relay-task/endpoints/request-context.ts';
import { eventually } from '../../support/eventually.ts';
import { heapBytes } from '../../support/heap.ts';

const json = { 'content-type': 'application/json' };
const read = (value: unknown) => resultOf(contextFromBody(json, Buffer.from(JSON.stringify(value))));

test('a large context is read in several steps', () => {
  const body = Buffer.from(JSON.stringify({ kind: 'user', key: 'alice', list: Array(9_000).fill('some text') }));
  const steps = contextFromBody(json, body);
  let pauses = 0;
  while (!steps.next().done) pauses += 1;
  expect(pauses).toBeGreaterThanOrEqual(2);
});

test('an ordinary context is kept as it is', () => {
  const request = read({ kind: 'user', key: 'alice', country: 'se', groups: ['a', 'b'] });
  expect(holdContext(request).read()).toBe(request.context);
});

test('a context that would take much memory is kept in little, and reads as the same context again', () => {
  const request = read({ kind: 'user', key: 'alice', list: Array.from({ length: 4_000 }, () => ({})) });
  const held = holdContext(request);
  expect(held.bytes).toBeLessThan(1_000);
  expect(held.read()).toEqual(request.context);
});

test.each([
  ['empty objects', () => ({})],
  ['long texts', (index: number) => `${index}`.padEnd(20, 'x')],
])('a context of many %s takes about what it counts @heavy', async (_, element) => {
  const held: unknown[] = [];
  const one = () =>
    holdContext(read({ kind: 'user', key: 'a', list: Array.from({ length: 2_500 }, (__, i) => element(i)) }));
  held.push(one());
  const before = heapBytes();
  let counted = 0;
  for (let i = 0; i < 100; i++) {
    const next = one();
    counted += next.bytes;
    next.read();
    held.push(next);
  }
  // What was read stays until the end of a turn of the event loop, and buffers for some more.
  await eventually(async () => {
    await nextTurn();
    // Objects around it; a parsed one would take more than 100 KB.
    expect((heapBytes() - before) / 100).toBeLessThan(counted / 100 + 2_000);
  }, 10_000);
  expect(held).toHaveLength(101);
});

test('contexts are equal whatever the order of their attributes', () => {
  const [a, b, c] = [
    { kind: 'user', key: 'a', x: 1 },
    { x: 1, key: 'a', kind: 'user' },
    { kind: 'user', key: 'b' },
  ].map((value) => holdContext(read(value)));
  expect(a!.id).toBe(b!.id);
  expect(a!.id).not.toBe(c!.id);
});

test.each([
  ['an empty object each', () => ({})],
  ['an empty array each', () => []],
  ['a number each', (index: number) => index + 0.5],
  ['a short text each', (index: number) => `${index}`],
])('a list with %s takes less in the heap than the estimate @heavy', (_, element) => {
  const text = JSON.stringify(Array.from({ length: 50_000 }, (__, index) => element(index)));
  const copies: unknown[] = [];
  const before = heapBytes();
  for (let i = 0; i < 4; i++) copies.push(JSON.parse(text));
  const eachBytes = (heapBytes() - before) / 4;
  expect(eachBytes).toBeLessThan(parsedBytes(text));
  // For the compiler: they are alive until here.
  expect(copies).toHaveLength(4);
});
