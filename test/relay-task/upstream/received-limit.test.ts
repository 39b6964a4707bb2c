import { createBudget } from '../../../relay-task/common/budget.ts';
import {
  bytesOf,
  createReceived,
  receivedLimit,
  receivedMemoryBytes,
} from '../../../relay-task/upstream/received-limit.ts';

const MEBIBYTE = 1024 * 1024;

test.each([
  ['a container of 512 MiB', 512, 256, 42],
  ['a heap that is larger than its container', 600, 4_096, 100],
  ['a very small one', 64, 32, 8],
])(
  'in %s, LaunchDarkly may send a sixth of the heap at once, and never less than 8 MiB',
  (_, memory, heap, expected) => {
    const limit = receivedLimit({ memoryBytes: memory * MEBIBYTE, heapBytes: heap * MEBIBYTE });
    expect(Math.floor(limit / MEBIBYTE)).toBe(expected);
  },
);

test('one environment alone may send all that one may at once, and there is always room for one more', () => {
  const limits = { memoryBytes: 512 * MEBIBYTE, heapBytes: 256 * MEBIBYTE };
  const memory = createBudget(receivedMemoryBytes(limits));
  const alone = createReceived('what is transferred', memory);
  expect(alone.hold(receivedLimit(limits))).toBeUndefined();
  const second = createReceived('what is transferred', memory);
  expect(second.hold(21 * MEBIBYTE)).toBeUndefined();
  expect(second.hold(22 * MEBIBYTE)).toBe(
    'what is transferred takes 22 MiB so far and finds no room: all that LaunchDarkly is still sending may take 85 MiB, of which 63 MiB are taken',
  );
  // What was held before still counts.
  expect(memory.usedBytes).toBe(receivedLimit(limits) + 21 * MEBIBYTE);
  alone.hold(0);
  expect(second.hold(42 * MEBIBYTE)).toBeUndefined();
  second.hold(0);
  expect(memory.usedBytes).toBe(0);
});

test('a text takes one or two bytes for each character', () => {
  expect(['abc', 'é', 'a€', ''].map(bytesOf)).toEqual([3, 1, 4, 0]);
});
