import {
  bytesOf,
  createReceived,
  createReceivedMemory,
  type ReceivedMemory,
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

test('one environment alone may send as much at once as one may, and there is always room for another', () => {
  const limits = { memoryBytes: 512 * MEBIBYTE, heapBytes: 256 * MEBIBYTE };
  const memory = createReceivedMemory(receivedMemoryBytes(limits));
  const alone = createReceived(memory).part('what is transferred');
  expect(alone.hold(receivedLimit(limits))).toBeUndefined();
  const second = createReceived(memory).part('what is transferred');
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

describe('what finds no room', () => {
  /** Each holds the bytes of its name. */
  function hold(memory: ReceivedMemory, ...sizes: readonly number[]) {
    const givenUp: number[] = [];
    const users = sizes.map((bytes) => {
      const received = createReceived(memory);
      const part = received.part('a transfer');
      received.onGivenUp = () => {
        givenUp.push(bytes);
        part.hold(0);
      };
      expect(part.hold(bytes)).toBeUndefined();
      return { received, part };
    });
    return { users, givenUp };
  }
  const newcomer = (memory: ReceivedMemory) => createReceived(memory).part('a newcomer');

  test('gets that of the largest which received nothing for a while', () => {
    const memory = createReceivedMemory(1_000, { patienceMs: 0 });
    const { givenUp } = hold(memory, 100, 400, 200);
    expect(newcomer(memory).hold(200)).toBeUndefined();
    expect(givenUp).toEqual([400]);
    expect(memory.usedBytes).toBe(500);
  });

  test('takes nothing from anyone if that is not enough', () => {
    const memory = createReceivedMemory(1_000, { patienceMs: 0 });
    const { givenUp } = hold(memory, 400, 200);
    expect(newcomer(memory).hold(501)).toContain('finds no room');
    expect(givenUp).toEqual([]);
    expect(memory.usedBytes).toBe(600);
  });

  test.each([0, 3_600_000])(
    'takes nothing from what goes on, or waits for the relay (patience of %i ms)',
    (patienceMs) => {
      const memory = createReceivedMemory(1_000, { patienceMs });
      const { users, givenUp } = hold(memory, 400);
      if (patienceMs === 0) users[0]?.received.setWaiting(true);
      expect(newcomer(memory).hold(400)).toContain('finds no room');
      expect(givenUp).toEqual([]);
      users[0]?.received.setWaiting(false);
      expect(newcomer(memory).hold(400)).toEqual(patienceMs === 0 ? undefined : expect.stringContaining('no room'));
    },
  );
});

test('a text takes one or two bytes for each character', () => {
  expect(['abc', 'é', 'a€', ''].map(bytesOf)).toEqual([3, 1, 4, 0]);
});
