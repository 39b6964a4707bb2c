/** What LaunchDarkly is still sending counts over all environments: in transfers, events and answers that have no end yet. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import { download } from '../../../relay-task/upstream/download.ts';
import { createReceivedMemory, type ReceivedMemory } from '../../../relay-task/upstream/received-limit.ts';
import { type StreamingOptions, startStreaming } from '../../../relay-task/upstream/streaming.ts';
import { eventually, until } from '../../support/eventually.ts';
import { type FakeFDv2, intent, putObject, startFakeFDv2, textOf, transferred } from '../../support/fake-fdv2.ts';
import { type FakeUpstream, startFakeUpstream } from '../../support/fake-upstream.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { flagData } from './support.ts';

const MEMORY_BYTES = 60_000;

const NEVER_MS = 3_600_000;

const { behind } = closeAfterEach();

const memoryFor = (options: Parameters<typeof createReceivedMemory>[1]) => createReceivedMemory(MEMORY_BYTES, options);

async function startFake(): Promise<FakeFDv2> {
  const fake = await startFakeFDv2(flagData('a', 1));
  behind(() => fake.close());
  return fake;
}

function follow(fake: Pick<FakeUpstream, 'uri'>, receivedMemory: ReceivedMemory, more: Partial<StreamingOptions> = {}) {
  const { log, lines } = createLogRecorder();
  const memory = createEnvironment({ name: 'test', log, onChange: () => {} });
  const upstream = startStreaming({
    ...{ streamUri: fake.uri, baseUri: fake.uri, sdkKey: 'sdk-key', protocol: 'fdv2-streaming', log },
    ...{ userAgent: 'EdgeFlagRelay/1.2.3', sink: memory, held: memory.get, generation: () => memory.generation },
    ...{ backoff: { firstMs: 10, maxMs: 40 }, pollIntervalMs: 20, maxReceivedBytes: 50_000, receivedMemory },
    ...more,
  });
  behind(() => upstream.close());
  const has = (key: string, version: number) =>
    eventually(() => expect(memory.get('features', key)?.version).toBe(version));
  return { memory, upstream, lines, has };
}

/** Objects of about 2 KB. */
const objects = (count: number) =>
  Array.from({ length: count }, (_, at) =>
    putObject('flag', flagData(`f${at}`, 1, { description: 'x'.repeat(2_000) })),
  );

test('a transfer that finds no room is given up with a reason and begins again, and others go on @heavy', async () => {
  const received = memoryFor({ patienceMs: NEVER_MS });
  const [endless, other] = [await startFake(), await startFake()];
  endless.script = () => [intent('xfer-full'), ...objects(10)];
  follow(endless, received);
  await eventually(() => expect(received.usedBytes).toBeGreaterThan(20_000));
  const before = received.usedBytes;

  // Half of what is left: not as much as the first one has.
  other.script = () => [intent('xfer-full'), ...objects(12)];
  const { lines, has } = follow(other, received);
  const reason = (line: string) =>
    /what is transferred takes \d+ bytes so far and finds no room.* may take 60000 bytes, of which \d+ bytes are taken/.test(
      line,
    );
  await eventually(() => expect(lines.filter(reason).length).toBeGreaterThan(1));
  expect(
    lines.filter((line) => line.startsWith('There is no memory for what LaunchDarkly sends; ')).length,
  ).toBeGreaterThan(1);

  other.script = () => undefined;
  await has('a', 1);
  // What the first one has, and nothing of the other.
  await eventually(() => expect(received.usedBytes).toBeLessThan(30_000));
  expect(received.usedBytes).toBeGreaterThanOrEqual(before);
  expect(endless.requests('/sdk/stream')).toHaveLength(1);
});

test('a transfer that stalls makes room for others, with a reason, and begins again', async () => {
  const received = memoryFor({ patienceMs: 0 });
  const [endless, other] = [await startFake(), await startFake()];
  endless.script = () => [intent('xfer-full'), ...objects(10)];
  const first = follow(endless, received, { backoff: { firstMs: NEVER_MS, maxMs: NEVER_MS } });
  await eventually(() => expect(received.usedBytes).toBeGreaterThan(20_000));
  other.script = () => [intent('xfer-full'), ...objects(11), transferred('s')];
  const { has } = follow(other, received);
  await has('f10', 1);
  const reason =
    /There is no memory for what LaunchDarkly sends; .*what has arrived so far, \d+ bytes, makes room for another environment/;
  await eventually(() => expect(first.lines.join()).toMatch(reason));
  await eventually(() => expect(received.usedBytes).toBe(0));
});

test('a transfer that is followed only by heartbeats is given up @heavy', async () => {
  const received = memoryFor({ patienceMs: NEVER_MS });
  const fake = await startFake();
  fake.script = () => [intent('xfer-full'), ...objects(10)];
  const { lines, has } = follow(fake, received, { transferStallMs: 200 });
  await eventually(() => expect(received.usedBytes).toBeGreaterThan(20_000));
  fake.script = () => undefined;
  const timer = setInterval(() => void fake.send({ event: 'heart-beat', data: {} }), 5);
  behind(() => clearInterval(timer));
  await has('a', 1);
  expect(lines.join()).toMatch(/only \d+ bytes received within 200 ms, within a transfer/);
  expect(received.usedBytes).toBe(0);
});

test.each([
  ['ends', (fake: FakeFDv2) => fake.send({ event: 'payload-transferred', data: { state: 's', version: 1, id: 'p' } })],
  ['is taken back', (fake: FakeFDv2) => fake.send({ event: 'error', data: { reason: 'test' } })],
  ['is replaced', (fake: FakeFDv2) => fake.send(intent('xfer-full'))],
  ['is followed by a goodbye', (fake: FakeFDv2) => fake.send({ event: 'goodbye', data: { reason: 'test' } })],
  ['is damaged', (fake: FakeFDv2) => fake.upstream.send('event: put-object\ndata: {\n\n')],
  ['breaks off', (fake: FakeFDv2) => void fake.upstream.cut()],
])('a transfer counts until it %s', async (_, end) => {
  const received = memoryFor({ patienceMs: NEVER_MS });
  const fake = await startFake();
  fake.script = () => [intent('xfer-full'), ...objects(10)];
  follow(fake, received, { backoff: { firstMs: 3_600_000, maxMs: 3_600_000 } });
  await eventually(() => expect(received.usedBytes).toBeGreaterThan(20_000));
  await end(fake);
  await eventually(() => expect(received.usedBytes).toBe(0));
});

test('a transfer counts until its environment is closed', async () => {
  const received = memoryFor({ patienceMs: NEVER_MS });
  const fake = await startFake();
  fake.script = () => [intent('xfer-full'), ...objects(10)];
  const { upstream } = follow(fake, received);
  await eventually(() => expect(received.usedBytes).toBeGreaterThan(20_000));
  await upstream.close();
  expect(received.usedBytes).toBe(0);
});

test('what memory holds anyway counts little in a transfer', async () => {
  const received = memoryFor({ patienceMs: NEVER_MS });
  const fake = await startFake();
  fake.script = () => [intent('xfer-full'), ...objects(10), { event: 'payload-transferred', data: { state: '' } }];
  const { has } = follow(fake, received);
  await has('f9', 1);
  fake.script = () => [intent('xfer-full'), ...objects(10)];
  fake.upstream.cut();
  await eventually(() => expect(received.usedBytes).toBeGreaterThanOrEqual(10 * 256));
  expect(received.usedBytes).toBeLessThan(5_000);
});

describe('an event without its end', () => {
  const half = (bytes: number) =>
    textOf(putObject('flag', flagData('x', 1, { description: 'x'.repeat(bytes) }))).slice(0, -50);

  test.each([
    ['ends', (fake: FakeFDv2) => fake.upstream.send('\n\n')],
    ['breaks off', (fake: FakeFDv2) => void fake.upstream.cut()],
  ])('counts until it %s', async (_, end) => {
    const received = memoryFor({ patienceMs: NEVER_MS });
    const fake = await startFake();
    const { has } = follow(fake, received, { backoff: { firstMs: 3_600_000, maxMs: 3_600_000 } });
    await has('a', 1);
    await fake.upstream.send(half(20_000));
    await eventually(() => expect(received.usedBytes).toBeGreaterThan(20_000));
    await end(fake);
    await eventually(() => expect(received.usedBytes).toBe(0));
  });

  test('counts until its environment is closed', async () => {
    const received = memoryFor({ patienceMs: NEVER_MS });
    const fake = await startFake();
    const { has, upstream } = follow(fake, received);
    await has('a', 1);
    await fake.upstream.send(half(20_000));
    await eventually(() => expect(received.usedBytes).toBeGreaterThan(20_000));
    await upstream.close();
    await eventually(() => expect(received.usedBytes).toBe(0));
  });

  test('that finds no room is given up with a reason, and others go on', async () => {
    const received = memoryFor({ patienceMs: NEVER_MS });
    const [first, second] = [await startFake(), await startFake()];
    const { has } = follow(first, received);
    await has('a', 1);
    await first.upstream.send(half(29_000));
    await eventually(() => expect(received.usedBytes).toBeGreaterThan(29_000));
    const other = follow(second, received);
    await other.has('a', 1);
    await second.upstream.send(half(20_000));
    await eventually(() => expect(other.lines.join()).toMatch(/an event takes \d+ bytes so far and finds no room/));
    await second.set('flag', flagData('a', 2));
    await other.has('a', 2);
    expect(first.requests('/sdk/stream')).toHaveLength(1);
  });
});

describe('the answer to a poll', () => {
  const polling = { protocol: 'fdv2-polling' } as const;

  test('counts while it is collected and worked on, and no longer', async () => {
    const received = memoryFor({ patienceMs: NEVER_MS });
    const peaks: number[] = [];
    const watched = memoryFor({
      parent: received,
      changed: (bytes) => void peaks.push(bytes),
    });
    const fake = await startFake();
    fake.setQuietly('flag', ...objects(5).map(({ data }) => (data as { object: ReturnType<typeof flagData> }).object));
    const usedAtReading: number[] = [];
    const { has } = follow(fake, watched, { ...polling, held: () => void usedAtReading.push(watched.usedBytes) });
    await has('f4', 1);
    expect(Math.max(...peaks)).toBeGreaterThan(10_000);
    expect(Math.min(...usedAtReading)).toBeGreaterThan(10_000);
    await eventually(() => expect(received.usedBytes).toBe(0));
  });

  test('that finds no room is given up, with its size and the limit, and polled again', async () => {
    const received = memoryFor({ patienceMs: NEVER_MS });
    received.reserve(50_000);
    const fake = await startFake();
    fake.setQuietly('flag', flagData('large', 1, { description: 'x'.repeat(12_000) }));
    const { lines, has } = follow(fake, received, polling);
    await eventually(() =>
      expect(lines.join()).toMatch(/the answer to a poll takes \d+ bytes so far and finds no room: .* may take 60000/),
    );
    expect(received.usedBytes).toBe(50_000);
    received.release(50_000);
    await has('large', 1);
  });

  /** An answer that never ends, in which `first` is followed by one byte after the other. */
  async function startDripping(first: string) {
    const server = createServer((_request, response) => {
      response.write(first);
      const timer = setInterval(() => response.write(' '), 5);
      response.on('close', () => clearInterval(timer));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    behind(() => {
      server.closeAllConnections();
      server.close();
    });
    return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  }

  test('that arrives byte by byte is given up', async () => {
    const url = await startDripping('{');
    const received = memoryFor({ patienceMs: NEVER_MS });
    const options = { userAgent: 'test', silenceTimeoutMs: 200, receivedMemory: received };
    const answer = download({ url, key: 'sdk-key' }, options, new AbortController().signal);
    await expect(answer).rejects.toThrow(/only \d+ bytes received within 200 ms, within the answer of 127\.0\.0\.1/);
    expect(received.usedBytes).toBe(0);
  });

  test('that stalls makes room for others', async () => {
    const received = memoryFor({ patienceMs: 0 });
    const url = await startDripping('x'.repeat(25_000));
    const options = { userAgent: 'test', receivedMemory: received };
    const answer = download({ url, key: 'sdk-key' }, options, new AbortController().signal);
    answer.catch(() => {});
    await eventually(() => expect(received.usedBytes).toBeGreaterThan(20_000));
    const other = await startFake();
    other.script = () => [intent('xfer-full'), ...objects(11), transferred('s')];
    const { has } = follow(other, received);
    await has('f10', 1);
    await expect(answer).rejects.toThrow('makes room for another environment');
  });

  test('that is large is worked on alone, however many arrive together @heavy', async () => {
    const fake = await startFakeUpstream();
    behind(() => fake.close());
    const events = [intent('xfer-full'), ...objects(200), { event: 'payload-transferred', data: { state: 's' } }];
    fake.answer = { status: 200, body: JSON.stringify({ events }) };
    const reads: number[] = [];
    const followers = [1, 2, 3].map((follower) =>
      follow(fake, createReceivedMemory(10_000_000), {
        ...polling,
        ...{ maxReceivedBytes: 5_000_000, pollIntervalMs: 3_600_000 },
        held: () => void (reads.at(-1) === follower || reads.push(follower)),
      }),
    );
    for (const { memory } of followers) await until('everything', () => memory.initialized);
    expect([...reads].sort()).toEqual([1, 2, 3]);
  });
});
