import type { Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { parseContext } from '../../../lib/evaluation/index.ts';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { nextTurn } from '../../../relay-task/common/slices.ts';
import { createEnvironment } from '../../../relay-task/environments/environment.ts';
import type { ClientView, CredentialKind, StreamKind } from '../../../relay-task/ports.ts';
import { Subject } from '../../../relay-task/streams/connection.ts';
import { createEvaluatedEvents } from '../../../relay-task/streams/evaluated-events.ts';
import { createHub, type Hub, type HubOptions } from '../../../relay-task/streams/hub.ts';
import { type CloseReason, silentMeter } from '../../../relay-task/streams/meter.ts';
import { evaluatedFlag } from '../../support/evaluated-flag.ts';
import { until } from '../../support/eventually.ts';
import { hubSettings } from '../../support/hub-settings.ts';
import { flag } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { type ClientHub, startClientHub } from './start-client-hub.ts';

const { behind } = closeAfterEach();
let started: ClientHub | undefined;
afterEach(async () => {
  await started?.close();
  started = undefined;
});

const user = (key: string) => ({ kind: 'user', key });
const budgets = (clientBytes: number, serverBytes = Infinity) => ({
  clients: createBudget(clientBytes),
  servers: createBudget(serverBytes),
});
/** More than a socket of the loopback interface takes while nobody reads. */
const LARGE_BYTES = 32 * 1024 * 1024;

describe('the budget for streams', () => {
  test('turns newcomers away once it is used up, keeps those who are in, and lets others in when they leave', async () => {
    // Each context takes 1,000 bytes here, and each stream 6 KiB. One environment may take four fifths.
    const memory = budgets(18_000);
    started = await startClientHub({ memory });
    const { put, upsert, evaluated } = started;
    put(flag('f', 1));
    const [one, two] = [await evaluated(user('a')), await evaluated(user('b'))];
    for (const reader of [one, two]) expect((await reader.next()).event).toBe('put');
    expect((await evaluated(user('c'))).status).toBe(503);
    upsert(flag('f', 2, { on: false, offVariation: 1 }));
    for (const reader of [one, two]) expect((await reader.next()).event).toBe('patch');
    one.close();
    await until('the first has left', () => memory.clients.usedBytes < 8_000);
    const next = await evaluated(user('c'));
    expect((await next.next()).event).toBe('put');
    for (const reader of [two, next]) reader.close();
    const { hub } = started;
    await until('all have left', () => hub.connections === 0);
    expect(memory.clients.usedBytes).toBe(0);
  });

  test('of browsers does not turn server SDKs away', async () => {
    started = await startClientHub({ memory: budgets(0) });
    started.put(flag('f', 1));
    expect((await started.evaluated(user('a'))).status).toBe(503);
    expect((await started.read('/sdk/stream?basis=')).status).toBe(200);
  });

  test('counts what a client has not read, until it has read it or is gone @heavy', async () => {
    const memory = budgets(3 * LARGE_BYTES);
    started = await startClientHub({ memory, stallMs: 600_000 });
    const { hub, put, evaluated } = started;
    put(flag('f', 1, { variations: ['x'.repeat(LARGE_BYTES), 'y'] }));
    const idle = await evaluated(user('a'));
    idle.pause();
    await until('what was not read is counted', () => memory.clients.usedBytes > LARGE_BYTES / 2);
    const gone = await evaluated(user('b'));
    gone.pause();
    await until('both are counted', () => memory.clients.usedBytes > 1.5 * LARGE_BYTES);
    const waiting = evaluated(user('c'));
    await until('the next one waits', () => hub.waiting === 1);
    gone.close();
    expect((await (await waiting).next()).event).toBe('put');
    await until('the one that is gone is not counted', () => memory.clients.usedBytes < LARGE_BYTES);
    idle.resume();
    expect((await idle.next()).event).toBe('put');
    await until('only the streams themselves are counted', () => memory.clients.usedBytes < 20_000);
  });
});

test('first answers for which there is no room any more are not made, and their streams are closed @heavy', async () => {
  const memory = budgets(LARGE_BYTES);
  started = await startClientHub({ memory });
  const { put, evaluated, hub } = started;
  // They open before there is data, so that none of them counts for what it will be sent.
  const readers = [];
  for (let i = 0; i < 40; i++) {
    const reader = await evaluated(user(`u${i}`));
    reader.pause();
    readers.push(reader);
  }
  put(flag('f', 1, { variations: ['x'.repeat(LARGE_BYTES / 2), 'y'] }));
  await until('some are closed', () => hub.connections < 30);
  // The last one that was made went beyond it.
  expect(memory.clients.usedBytes).toBeLessThan(2.5 * LARGE_BYTES);
  for (const reader of readers) reader.close();
});

test('a part of a first payload that is not sent yet keeps no other part in memory', () => {
  const events = createEvaluatedEvents('chunked', () => {});
  const context = { id: 'a', bytes: 0, read: () => parseContext(user('a'))! };
  const subject = new Subject('a', context, { audience: 'environmentId', withReasons: false });
  subject.held = events.place([evaluatedFlag('f', { value: 'x'.repeat(1_000_000), variation: 0, version: 1 })]);
  const pieces = events.put(subject);
  expect(pieces.length).toBeGreaterThan(2);
  for (const { buffer, byteLength } of pieces.slice(0, -1)) expect(buffer.byteLength).toBe(byteLength);
  expect(Buffer.concat(pieces).length).toBeGreaterThan(1_000_000);
});

describe('of the memory for streams', () => {
  const open = (hub: Hub, environment: string, address: string, credentialKind: CredentialKind) => {
    const streams = hub.environment({ name: environment, view: createMemory(flag('f', 1)), environmentId: () => '1' });
    return (count: number) =>
      Array.from({ length: count }, () => {
        const socket = new PassThrough() as unknown as Socket;
        Object.assign(socket, { setTimeout() {}, setKeepAlive() {} });
        behind(() => void socket.destroy());
        const opening = {
          kind: 'all',
          credential: 'k',
          credentialKind,
          family: 'x',
          address,
          httpVersion: '1.1',
        } as const;
        return streams.open(socket, opening) ?? 'open';
      });
  };
  const countOf = (answers: readonly string[]) => answers.filter((answer) => answer === 'open').length;

  test.each(['sdkKey', 'environmentId'] as const)(
    'with %s, one address takes three quarters, its environment four fifths, and others still find some',
    async (kind) => {
      const bytes = 100 * 6 * 1024;
      const hub = createHub({ ...hubSettings, memory: { servers: createBudget(bytes), clients: createBudget(bytes) } });
      behind(() => hub.closeAll(0));
      const flood = open(hub, 'a', '10.0.0.1', kind)(200);
      expect(countOf(flood)).toBe(75);
      expect(new Set(flood)).toEqual(new Set(['open', 'memory']));
      // Another address of this environment, then another environment.
      expect(countOf(open(hub, 'a', '10.0.0.2', kind)(200))).toBe(5);
      expect(countOf(open(hub, 'b', '10.0.0.4', kind)(200))).toBe(15);
      // The same address in another environment does not help.
      expect(countOf(open(hub, 'c', '10.0.0.1', kind)(200))).toBe(0);
      expect(countOf(open(hub, 'c', '10.0.0.3', kind)(10))).toBeGreaterThan(0);
    },
  );
});

/** A socket that takes nothing until it is read. */
class UnreadSocket extends Duplex {
  #isRead = false;
  #taken = () => {};
  #end = '';

  /** Begins to read; whether a whole event has arrived. */
  hasAll(): boolean {
    this.#isRead = true;
    this.#taken();
    this.#taken = () => {};
    return this.#end.endsWith('}\n\n\r\n');
  }
  override _write(bytes: Buffer, _encoding: string, taken: () => void): void {
    this.#end = `${this.#end}${bytes.subarray(-100)}`.slice(-100);
    if (this.#isRead) taken();
    else this.#taken = taken;
  }
  override _read(): void {}
  setTimeout(): void {}
  setKeepAlive(): void {}
}

describe('first payloads that are not read', () => {
  const MEMORY_BYTES = 4 * 1024 * 1024;

  /** An address in each call opens streams whose sockets take nothing until they are resumed. */
  const start = (partOfMemory: number, options: Partial<HubOptions> = {}) => {
    const memory = budgets(MEMORY_BYTES);
    const closed: string[] = [];
    const evaluations: string[] = [];
    const meter = {
      ...silentMeter,
      closed: (_environment: string, _kind: StreamKind, family: string, reason: CloseReason) =>
        void closed.push(`${family} ${reason}`),
    };
    const hub = createHub({ ...hubSettings, memory, meter, stallMs: 600_000, ...options });
    behind(() => hub.closeAll(0));
    const environmentOf = (name: string, value: string) => {
      const environment = createEnvironment({ name, log: silentLog, onChange() {}, onRefresh() {} });
      environment.put([flag('f', 1, { variations: [value] })], [], performance.now());
      const clientView: ClientView = {
        ...environment.clientView,
        evaluateInSteps(...given) {
          evaluations.push(name);
          return environment.clientView.evaluateInSteps(...given);
        },
      };
      return hub.environment({ name, view: environment, clientView, environmentId: () => '1' });
    };
    const large = environmentOf('large', 'x'.repeat(partOfMemory * MEMORY_BYTES));
    const small = environmentOf('small', 'y');
    let contexts = 0;
    const open = (address: string, streams = large) => {
      const socket = new UnreadSocket();
      behind(() => void socket.destroy());
      const context = parseContext(user(`u${contexts++}`))!;
      const refused = streams.open(socket as unknown as Socket, {
        ...{ kind: 'eval', withReasons: false, credential: 'k', credentialKind: 'environmentId', httpVersion: '1.1' },
        ...{ context: { id: `${contexts}`, bytes: 0, read: () => context }, family: address, address },
      });
      return { refused, socket };
    };
    return { hub, memory, closed, evaluations, small, open };
  };
  /** Opens streams one after the other: each has its payload, or waits, before the next one opens. */
  const flooding = async (address: string, count: number, { hub, memory, open }: ReturnType<typeof start>) => {
    const streams = [];
    for (let i = 0; i < count; i++) {
      const before = memory.clients.usedBytes;
      streams.push(open(address));
      await until('it has its payload or waits', async () => {
        await nextTurn();
        const { usedBytes } = memory.clients;
        return hub.waiting > 0 || usedBytes > before + 0.05 * MEMORY_BYTES;
      });
    }
    return { streams, waiting: hub.waiting };
  };

  test.each([
    [0.1, 7],
    [0.3, 2],
    [0.4, 1],
  ])('of %f of the memory each: one address gets %i, and others still get theirs', async (part, count) => {
    const started = start(part);
    const { memory, small, open } = started;
    const flood = await flooding('1', 12, started);
    expect(flood.waiting).toBe(12 - count);
    expect(memory.clients.usedBytes).toBeGreaterThan(part * count * MEMORY_BYTES);
    expect(memory.clients.freeBytes).toBeGreaterThan(0.24 * MEMORY_BYTES);
    // Another address and environment, and the same environment.
    const other = open('2', small);
    await until('the other one has all', () => other.socket.hasAll());
    const third = open('3');
    expect(third.refused).toBeUndefined();
    // The next ones get theirs when those before have read.
    const everyone = [...flood.streams, third];
    await until('everyone has all', () => everyone.map(({ socket }) => socket.hasAll()).every(Boolean));
    // Only the streams themselves are counted.
    await until('nothing is unread', () => memory.clients.usedBytes < 14 * 7_000);
  });

  test('are made for no more streams than there is room for, if many open together', async () => {
    const started = start(0.1);
    await flooding('1', 1, started);
    const { closed, evaluations, hub, open } = started;
    for (let i = 0; i < 20; i++) open('1');
    await until('the others are closed', () => hub.connections === 7 && hub.waiting === 0);
    expect(evaluations).toHaveLength(7);
    expect(new Set(closed)).toEqual(new Set(['1 memory']));
  });

  test('go to one client after the other if they are too large for any share', async () => {
    const started = start(0.9);
    const { streams } = await flooding('1', 1, started);
    expect(started.open('2').refused).toBe('memory');
    await until('the first has all', () => streams[0]?.socket.hasAll() === true);
    const next = started.open('2');
    await until('the next one has all', () => next.socket.hasAll());
  });

  test('make room for newcomers after a while, at the address that holds most @heavy', async () => {
    const started = start(0.1, { stallMs: 6_000 });
    const { closed, open } = started;
    const slow = await flooding('slow', 1, started);
    expect((await flooding('flood', 10, started)).waiting).toBeGreaterThan(0);
    const newcomer = open('new');
    const another = open('flood');
    await until('the newcomer has all', () => newcomer.socket.hasAll());
    await until('one of the same address has all', () => another.socket.hasAll());
    expect(new Set(closed)).toEqual(new Set(['flood memory']));
    await until('the one that reads late has all', () => slow.streams[0]?.socket.hasAll() === true);
  });
});

describe('the places for first payloads', () => {
  test('of browsers that never read take none of the server SDKs’ @heavy', async () => {
    started = await startClientHub({ maxInitialInFlight: 1, maxInitialWaiting: 1, placeMs: 3_600_000 });
    const { put, evaluated, read, hub } = started;
    put(flag('f', 1, { variations: ['x'.repeat(LARGE_BYTES), 'y'] }));
    const idle = await evaluated(user('a'));
    idle.pause();
    // Its payload is made, and has the only place.
    await until('the first part', () => idle.socket.bytesRead > 10_000);
    const waiting = evaluated(user('b'));
    await until('another one waits', () => hub.waiting === 1);
    expect((await evaluated(user('c'))).status).toBe(503);
    expect((await read('/sdk/stream?basis=')).status).toBe(200);
    idle.close();
    expect((await (await waiting).next()).event).toBe('put');
  });

  test('are lost by clients that do not read @heavy', async () => {
    started = await startClientHub({ maxInitialInFlight: 1, maxInitialWaiting: 1, placeMs: 50 });
    const { put, evaluated } = started;
    put(flag('f', 1, { variations: ['x'.repeat(LARGE_BYTES), 'y'] }));
    const idle = await evaluated(user('a'));
    idle.pause();
    expect((await (await evaluated(user('b'))).next()).event).toBe('put');
  });
});
