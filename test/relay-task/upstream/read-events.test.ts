/** The least pace of a transfer, with a clock of the tests' own. */
import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { resultOf } from '../../../relay-task/common/slices.ts';
import { createFDv2Reader } from '../../../relay-task/upstream/fdv2-reader.ts';
import { readEvents } from '../../../relay-task/upstream/read-events.ts';
import { createReceived } from '../../../relay-task/upstream/received-limit.ts';
import type { Failure } from '../../../relay-task/upstream/status.ts';
import { type FDv2Event, intent, putObject, textOf } from '../../support/fake-fdv2.ts';
import { flagData } from './support.ts';

const STALL_MS = 10_000;
const TRANSFER_STALL_MS = 30_000;

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

/** Reads a stream of FDv2 whose bytes the test sends. */
function read(maxBytes = 50_000_000) {
  const response = Object.assign(new EventEmitter(), { pause() {}, resume() {} });
  const received = createReceived(undefined);
  const reader = createFDv2Reader({ maxBytes, received });
  const ends: (Failure | 'reconnect')[] = [];
  const reading = readEvents(response as unknown as IncomingMessage, {
    ...{ maxBytes, received, begun: received.part('an event'), slowness: { until: 0 }, transfer: reader.transfer },
    ...{ stallMs: STALL_MS, transferStallMs: TRANSFER_STALL_MS, placeMs: 1_000 },
    ...{ onIgnored() {}, onAlive() {}, onGoOn() {}, onDelay() {} },
    isOver: () => ends.length > 0,
    onEvent({ event, data }) {
      resultOf(reader.read(event, data));
      return undefined;
    },
    onEnd(verdict) {
      ends.push(verdict);
      reading.close();
    },
  });
  const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);
  return {
    ends,
    pass,
    send: (event: FDv2Event) => void response.emit('data', Buffer.from(textOf(event))),
    /** At 100 KB/s. */
    async sendSlowly(event: FDv2Event) {
      const bytes = Buffer.from(textOf(event));
      for (let at = 0; at < bytes.length; at += 20_000) {
        response.emit('data', bytes.subarray(at, at + 20_000));
        await pass(200);
      }
    },
    /** 2 KB/s. */
    async sendEverySecond(event: (at: number) => FDv2Event, seconds: number) {
      for (let at = 0; at < seconds; at += 1) {
        response.emit('data', Buffer.from(textOf(event(at))));
        await pass(1_000);
      }
    },
  };
}

const small = (at: number) => putObject('flag', flagData(`f${at}`, 1, { description: 'x'.repeat(2_000) }));
const large = (character: string) =>
  putObject('flag', flagData('large', 1, { description: character.repeat(1_500_000 / Buffer.byteLength(character)) }));

test.each(['x', 'é', '字', '🙂'])(
  'a transfer with a large object of %s and small ones goes on @heavy',
  async (character) => {
    const { ends, send, sendSlowly, sendEverySecond } = read();
    send(intent('xfer-full'));
    await sendEverySecond(small, 20);
    await sendSlowly(large(character));
    await sendEverySecond(small, 70);
    expect(ends).toEqual([]);
  },
);

test('after a large object, the time limit of a transfer applies again', async () => {
  const { ends, send, sendSlowly, pass } = read();
  send(intent('xfer-full'));
  await sendSlowly(large('x'));
  await pass(TRANSFER_STALL_MS - 1_000);
  expect(ends).toEqual([]);
  await pass(1_000);
  expect(ends).toEqual([
    expect.objectContaining({ message: expect.stringMatching(/^only \d+ bytes .* within a transfer$/) }),
  ]);
});

test.each<[string, (at: number) => FDv2Event]>([
  ['of unknown kinds', (at) => ({ event: 'put-thing', data: { at, text: 'x'.repeat(2_000) } })],
  [
    'with more values than are parsed',
    (at) => putObject('flag', flagData(`f${at}`, 1, { more: Array(1_000).fill(0) })),
  ],
])('events %s are part of what arrives', async (_, event) => {
  const { ends, send, sendEverySecond } = read(50_000);
  send(intent('xfer-full'));
  send(small(0));
  await sendEverySecond(event, 70);
  expect(ends).toEqual([]);
});

test('heartbeats are not', async () => {
  const { ends, send, sendEverySecond } = read();
  send(intent('xfer-full'));
  await sendEverySecond(() => ({ event: 'heart-beat', data: { text: 'x'.repeat(2_000) } }), 31);
  expect(ends).toHaveLength(1);
});

test.each([
  ['long', 20_000, 3],
  ['short', 20, 10],
])('the steps of a %s event are taken as long as its connection is open', async (_, characters, expected) => {
  const response = Object.assign(new EventEmitter(), { pause() {}, resume() {} });
  const received = createReceived(undefined);
  let steps = 0;
  readEvents(response as unknown as IncomingMessage, {
    ...{ maxBytes: 50_000, received, begun: received.part('an event'), slowness: { until: 0 } },
    ...{ stallMs: STALL_MS, transferStallMs: TRANSFER_STALL_MS, placeMs: 1_000 },
    ...{ onIgnored() {}, onAlive() {}, onGoOn() {}, onDelay() {}, onEnd() {} },
    isOver: () => steps >= 3,
    *onEvent() {
      for (; steps < 10; steps += 1) yield;
      return undefined;
    },
  });
  response.emit('data', Buffer.from(`data: ${'x'.repeat(characters)}\n\n`));
  await jest.advanceTimersByTimeAsync(100);
  expect(steps).toBe(expected);
});

test('a long event is decoded in pieces', async () => {
  const { ends, send, pass } = read();
  const toText = jest.spyOn(Buffer.prototype, 'toString');
  send(intent('xfer-full'));
  send(large('字'));
  await pass(100);
  const longest = Math.max(...toText.mock.results.map(({ value }) => String(value).length));
  toText.mockRestore();
  expect([ends, longest > 50_000, longest < 100_000]).toEqual([[], true, true]);
});
