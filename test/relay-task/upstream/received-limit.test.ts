import { bytesOf, receivedLimit } from '../../../relay-task/upstream/received-limit.ts';

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

test('a text takes one or two bytes for each character', () => {
  expect(['abc', 'é', 'a€', ''].map(bytesOf)).toEqual([3, 1, 4, 0]);
});
