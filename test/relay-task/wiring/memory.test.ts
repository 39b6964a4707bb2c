import { processLimits } from '../../../relay-task/common/process-limits.ts';
import { createMemory, usageOf } from '../../../relay-task/wiring/memory.ts';

const MIB = 1024 * 1024;

test('the budget is a quarter of the memory, at most half of the heap, or what the setting says', () => {
  expect(createMemory({ memoryBytes: 512 * MIB, heapBytes: 280 * MIB }).whole.maxBytes).toBe(128 * MIB);
  expect(createMemory({ memoryBytes: 512 * MIB, heapBytes: 100 * MIB }).whole.maxBytes).toBe(50 * MIB);
  expect(createMemory({ memoryBytes: 512 * MIB, heapBytes: 100 * MIB }, 7 * MIB).whole.maxBytes).toBe(7 * MIB);
});

test('server SDKs find room when everyone without a secret key has taken what they may', () => {
  const memory = createMemory({ memoryBytes: 512 * MIB, heapBytes: 280 * MIB });
  memory.answerTexts.reserve(2 * MIB);
  for (const part of [memory.requests.connections, memory.requests.bodies, memory.events, memory.streams.clients]) {
    while (part.reserve(MIB / 4));
    expect(part.full).toBe(true);
  }
  expect(memory.streams.servers.reserve(15 * MIB)).toBe(true);
  expect(usageOf(memory)).toEqual({
    limitBytes: 512 * MIB,
    budgetBytes: 128 * MIB,
    usedBytes: {
      connections: 16 * MIB,
      bodies: 32 * MIB,
      events: 16 * MIB,
      polls: 0,
      serverStreams: 15 * MIB,
      clientStreams: 46 * MIB,
      answerTexts: 2 * MIB,
      received: 0,
      flags: 0,
    },
    maxBytes: expect.objectContaining({ connections: 16 * MIB }),
  });
});

test('whatever else is full, there is room for the connections of health checks', () => {
  const memory = createMemory({ memoryBytes: 512 * MIB, heapBytes: 280 * MIB });
  for (const part of [memory.streams.servers, memory.streams.clients, memory.requests.bodies, memory.events]) {
    while (part.reserve(MIB / 4));
    expect(part.full).toBe(true);
  }
  expect(memory.requests.connections.reserve(16 * MIB)).toBe(true);
  const { maxBytes } = usageOf(memory);
  expect(maxBytes).toEqual({
    connections: 16 * MIB,
    bodies: 32 * MIB,
    events: 16 * MIB,
    polls: 112 * MIB,
    serverStreams: 112 * MIB,
    clientStreams: 48 * MIB,
    answerTexts: 8 * MIB,
    received: 2 * Math.floor((280 * MIB) / 6),
    flags: Math.floor((280 * MIB) / 3),
  });
});

test('clients that fill the whole budget leave what LaunchDarkly sends its own room, and it leaves theirs', () => {
  const memory = createMemory({ memoryBytes: 512 * MIB, heapBytes: 280 * MIB });
  memory.whole.hold(memory.whole.maxBytes);
  expect(memory.received.reserve(memory.received.maxBytes)).toBe(true);
  expect(usageOf(memory).usedBytes.received).toBe(memory.received.maxBytes);
  expect(memory.whole.usedBytes).toBe(memory.whole.maxBytes);
});

test('the limits of this process are above zero and not above the machine', () => {
  const { memoryBytes, heapBytes } = processLimits();
  expect(memoryBytes).toBeGreaterThan(16 * MIB);
  expect(memoryBytes).toBeLessThan(1024 ** 5);
  expect(heapBytes).toBeGreaterThan(16 * MIB);
});
