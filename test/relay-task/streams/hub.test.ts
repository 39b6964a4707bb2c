import { connect } from 'node:net';
import { sleep } from '../../../relay-task/common/pause.ts';
import type { HubOptions } from '../../../relay-task/streams/hub.ts';
import { roomy, turnsOfLoop, until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { createEmptyMemory, createMemory, type Memory } from '../../support/memory.ts';
import { startHub, type TestHub } from './start-hub.ts';

let open: TestHub[] = [];
const start = async (view: Memory, options?: Partial<HubOptions>) => {
  const test = await startHub(view, options);
  open.push(test);
  return test;
};
afterEach(async () => {
  await Promise.all(open.map((test) => test.close()));
  open = [];
});

/** Linux buffers up to 4 MB at the sender and 6 MB at the receiver, so larger data needs a reader. */
const large = (key: string, version: number, megabytes = 12) =>
  flag(key, version, { filler: 'x'.repeat(megabytes * 1024 * 1024) });
const versionsOf = (data: string): Record<string, number> => {
  const { flags } = JSON.parse(data).data as { flags: Record<string, { version: number }> };
  return Object.fromEntries(Object.entries(flags).map(([key, { version }]) => [key, version]));
};

describe('a stream from the hub', () => {
  test.each(['all', 'flags'] as const)(
    'of kind "%s" names prerequisites before the flags that need them',
    async (kind) => {
      const needs = (key: string) => ({ prerequisites: [{ key, variation: 0 }] });
      const view = createMemory(flag('a', 1, needs('b')), flag('x', 1), flag('b', 1, needs('c')), flag('c', 1));
      const { read, streams } = await start(view);
      const keysOf = (data: string) => Object.keys(kind === 'all' ? JSON.parse(data).data.flags : JSON.parse(data));
      const reader = await read(kind);
      expect(keysOf((await reader.next()).data)).toEqual(['c', 'b', 'a', 'x']);
      streams.publish(view.set(flag('x', 2, needs('y')), flag('y', 1)));
      expect(keysOf((await (await read(kind)).next()).data)).toEqual(['c', 'b', 'a', 'y', 'x']);
    },
  );

  test('sends its head, one put with everything, then patches and deletes in one chunk each', async () => {
    const view = createMemory(flag('banner', 7), tombstone('features', 'gone', 3), segment('beta', 2));
    const { read, streams } = await start(view);
    const reader = await read();
    expect(reader.status).toBe(200);
    expect(reader.headers).toEqual({
      date: expect.any(String),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-store, must-revalidate',
      connection: 'keep-alive',
      'access-control-allow-origin': '*',
      'x-accel-buffering': 'no',
      'x-ld-envid': '64a0',
      'transfer-encoding': 'chunked',
    });
    await reader.next();
    expect(reader.body()).toBe(
      `event: put\ndata: {"path":"/","data":{"flags":{"banner":${flag('banner', 7).json}},"segments":{"beta":${segment('beta', 2).json}}}}\n\n`,
    );
    streams.publish(view.set(flag('banner', 8)));
    await reader.next();
    streams.publish(view.set(segment('beta', 3)));
    await reader.next();
    streams.publish(view.set(tombstone('features', 'banner', 9)));
    await reader.next();
    streams.publish(view.set(tombstone('segments', 'beta', 4)));
    await reader.next();
    expect(reader.events.slice(1)).toEqual([
      { event: 'patch', data: `{"path":"/flags/banner","data":${flag('banner', 8).json}}` },
      { event: 'patch', data: `{"path":"/segments/beta","data":${segment('beta', 3).json}}` },
      { event: 'delete', data: '{"path":"/flags/banner","version":9}' },
      { event: 'delete', data: '{"path":"/segments/beta","version":4}' },
    ]);
    expect(reader.chunks()).toBe(5);
  });

  test('sends the oldest SDKs flags without a wrapper, and no segments', async () => {
    const view = createMemory(flag('banner', 7), segment('beta', 2));
    const { read, streams } = await start(view);
    const reader = await read('flags');
    expect((await reader.next()).data).toBe(`{"banner":${flag('banner', 7).json}}`);
    streams.publish(view.set(segment('beta', 3)));
    streams.publish(view.set(flag('banner', 8)));
    streams.publish(view.set(tombstone('features', 'banner', 9)));
    expect(await reader.next()).toEqual({
      event: 'patch',
      data: `{"path":"/banner","data":${flag('banner', 8).json}}`,
    });
    expect(await reader.next()).toEqual({ event: 'delete', data: '{"path":"/banner","version":9}' });
  });

  test('has no chunks for an HTTP/1.0 client', async () => {
    const view = createEmptyMemory();
    const { read, streams } = await start(view, { heartbeatMs: 64 });
    const reader = await read('all', { httpVersion: '1.0' });
    expect(reader.headers['transfer-encoding']).toBeUndefined();
    expect(reader.headers.connection).toBe('close');
    expect((await reader.next()).data).toBe('{"path":"/","data":{"flags":{},"segments":{}}}');
    streams.publish(view.set(flag('a', 1)));
    expect((await reader.next()).event).toBe('patch');
    await reader.until(() => reader.body().endsWith('\n\n:\n'));
  });

  test('sends multi-line JSON as one data line, with keys and unknown fields unchanged', async () => {
    const pretty = { ...flag('a', 1), json: '{\r\n  "key": "a",\n  "new": "\\n ü \u2028",\r  "version": 1\n}' };
    const odd = flag('say "hi" \\ ü', 2);
    const { read } = await start(createMemory(pretty, odd));
    const { data } = await (await read()).next();
    expect(data).not.toMatch(/[\r\n]/);
    expect(JSON.parse(data).data.flags).toEqual({
      a: { key: 'a', new: '\n ü \u2028', version: 1 },
      'say "hi" \\ ü': JSON.parse(odd.json),
    });
  });

  test('is open and silent without data until the first put, even an empty one', async () => {
    const view = createMemory();
    const { read, streams } = await start(view);
    const reader = await read();
    expect(reader.status).toBe(200);
    expect(reader.body()).toBe('');
    streams.publish(view.put([]));
    expect((await reader.next()).data).toBe('{"path":"/","data":{"flags":{},"segments":{}}}');
  });

  test('sends a put that replaces everything to all clients', async () => {
    const view = createMemory(flag('a', 5));
    const { read, streams } = await start(view);
    const readers = await Promise.all([read(), read('flags')]);
    for (const reader of readers) await reader.next();
    streams.publish(view.put([flag('a', 2)]));
    expect(versionsOf((await readers[0]!.next()).data)).toEqual({ a: 2 });
    expect(await readers[1]!.next()).toEqual({ event: 'put', data: `{"a":${flag('a', 2).json}}` });
  });

  test('sends heartbeats of two bytes in their own chunk', async () => {
    const { read } = await start(createEmptyMemory(), { heartbeatMs: 64 });
    const reader = await read();
    await reader.until(() => reader.chunks() >= 4);
    expect(reader.body()).toMatch(/^event: put\ndata: \{.*\}\n\n(:\n){3,}$/);
    expect(reader.events).toHaveLength(1);
  });
});

describe.each(['all', 'flags'] as const)('a stream of %s that opens while others are open', (kind) => {
  const flagsIn = (data: string): Record<string, { version: number }> =>
    kind === 'all' ? JSON.parse(data).data.flags : JSON.parse(data);

  test('starts with a put of the current set, without the changes that led to it', async () => {
    const view = createMemory(flag('changed', 1), flag('deleted', 1), flag('same', 1));
    const { read, streams } = await start(view);
    const first = await read(kind);
    await first.next();
    streams.publish(view.set(flag('changed', 2), flag('new', 1)));
    streams.publish(view.set(tombstone('features', 'deleted', 2)));
    const second = await read(kind);
    expect(flagsIn((await second.next()).data)).toEqual({
      changed: JSON.parse(flag('changed', 2).json),
      same: JSON.parse(flag('same', 1).json),
      new: JSON.parse(flag('new', 1).json),
    });
    streams.publish(view.set(flag('same', 2)));
    await first.until(() => first.events.length === 5);
    expect(first.events.map(({ event }) => event)).toEqual(['put', 'patch', 'patch', 'delete', 'patch']);
    expect((await second.next()).data).toContain('/same');
    expect(second.events).toHaveLength(2);
  });

  test('starts with the set of the moment at which its turn comes, if it had to wait for its first payload @heavy', async () => {
    const view = createMemory(large('large', 1), flag('a', 1));
    const { read, hub, streams } = await start(view, { maxInitialInFlight: 1, maxInitialWaiting: 1 });
    const first = await read(kind);
    first.pause();
    const second = read(kind);
    await until('the second waits', () => hub.waiting === 1);
    streams.publish(view.set(flag('a', 2)));
    first.resume();
    expect(flagsIn((await (await second).next()).data).a!.version).toBe(2);
  });
});

describe('serialisation in the hub', () => {
  test('of the whole set happens once for a hundred streams, and once more after a change @heavy', async () => {
    const view = createMemory(flag('a', 1, { filler: 'x'.repeat(10_000) }), segment('s', 1));
    const { read, streams } = await start(view);
    const before = await Promise.all(Array.from({ length: 50 }, () => read()));
    expect(view.walks).toBe(2); // flags and segments, once each
    streams.publish(view.set(flag('a', 2)));
    expect(view.walks).toBe(2); // Nobody needs the new set yet.
    const after = await Promise.all(Array.from({ length: 50 }, () => read()));
    for (const reader of [...before, ...after]) {
      await reader.until(() => reader.body().includes('"version":2,'));
    }
    for (const reader of before) expect(reader.events.map(({ event }) => event)).toEqual(['put', 'patch']);
    for (const reader of after) expect(reader.events.map(({ event }) => event)).toEqual(['put']);
    expect(view.walks).toBe(4);
  });

  test.each(['all', 'flags'] as const)('of %s is repeated for streams that open after a renewal', async (kind) => {
    const view = createMemory(flag('foreign', 1));
    const { read, streams } = await start(view);
    const before = await read(kind);
    await before.next();
    streams.renew();
    streams.publish(view.set(flag('own', 1)));
    streams.publish(view.set(tombstone('features', 'foreign', 2)));
    const after = await read(kind);
    expect((await after.next()).data).not.toContain('foreign');
    // Whoever had a stream is told of what changed.
    await before.until(() => before.events.length === 3);
    expect(before.events.map(({ event }) => event)).toEqual(['put', 'patch', 'delete']);
    streams.publish(view.set(flag('own', 2)));
    await after.until(() => after.events.length === 2);
    expect(after.body()).not.toContain('foreign');
  });

  test('is repeated after a renewal even if no change was sent: other bytes may mean the same', async () => {
    const view = createMemory(flag('a', 1, { from: 'foreign' }));
    const { read, streams } = await start(view);
    await (await read()).next();
    streams.renew();
    view.setQuietly(flag('a', 1, { from: 'own' }));
    const after = await read();
    await after.next();
    expect(after.body()).toContain('own');
    expect(after.body()).not.toContain('foreign');
  });

  test('does not happen without streams', async () => {
    const view = createMemory(flag('a', 1));
    const { read, streams } = await start(view);
    let serialised = 0;
    const watched = {
      ...flag('a', 2),
      get json() {
        serialised++;
        return flag('a', 2).json;
      },
    };
    const old = await read();
    await old.next();
    old.close();
    await until('the reader is gone', () => streams.connections === 0);
    const { walks } = view;
    streams.publish(view.set(watched));
    expect([view.walks, serialised]).toEqual([walks, 0]);
    expect(versionsOf((await (await read()).next()).data)).toEqual({ a: 2 });
  });

  test('of a burst of changes is one write per stream', async () => {
    const view = createEmptyMemory();
    const wrote: number[] = [];
    const silent = () => {};
    const meter = {
      opened: silent,
      closed: silent,
      refused: silent,
      admitted: silent,
      unserved: silent,
      failed: silent,
      broadcast: silent,
      snapshot: silent,
    };
    const { read, streams } = await start(view, { meter: { ...meter, wrote: (bytes) => wrote.push(bytes) } });
    const reader = await read();
    await reader.next();
    let segments = 0;
    reader.socket.on('data', () => segments++);
    for (let version = 1; version <= 20; version++) streams.publish(view.set(flag('a', version)));
    await reader.until(() => reader.events.length === 21);
    expect(segments).toBe(1);
    expect(wrote).toHaveLength(2);
    expect(reader.events.slice(1).map(({ data }) => JSON.parse(data).data.version)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
  });
});

describe('the order of events', () => {
  test('is a put of the newest set before every patch without missing a version, however connects and changes interleave @heavy', async () => {
    const view = createMemory(flag('counter', 0));
    const { read, streams } = await start(view);
    const reading: { readonly connected: number; readonly opening: ReturnType<typeof read> }[] = [];
    const last = 150;
    for (let version = 1; version <= last; version++) {
      streams.publish(view.set(flag('counter', version)));
      if (version % 3 === 0) reading.push({ connected: version, opening: read() });
      if (version % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    for (const { connected, opening } of reading) {
      const reader = await opening;
      await reader.until(() => {
        return reader.events.at(-1)?.data.includes(`"version":${last},`) ?? false;
      });
      const [first, ...rest] = reader.events;
      expect(first!.event).toBe('put');
      const begin = versionsOf(first!.data).counter!;
      expect(begin).toBeGreaterThanOrEqual(connected);
      expect(rest.map(({ event, data }) => [event, JSON.parse(data).data.version])).toEqual(
        Array.from({ length: last - begin }, (_, index) => ['patch', begin + 1 + index]),
      );
    }
  });

  test('is not affected by streams that close during a pass @heavy', async () => {
    const view = createMemory(flag('a', 1));
    const { read, streams } = await start(view);
    const readers = await Promise.all(Array.from({ length: 700 }, () => read()));
    streams.publish(view.set(flag('a', 2)));
    for (const [index, reader] of readers.entries()) {
      if (index % 3 === 0) reader.socket.resetAndDestroy();
    }
    streams.publish(view.set(flag('a', 3)));
    await new Promise((resolve) => setImmediate(resolve));
    streams.publish(view.set(flag('a', 4)));
    for (const [index, reader] of readers.entries()) {
      if (index % 3 !== 0) await reader.until(() => reader.events.length === 4);
    }
    await until(
      'the leavers are forgotten',
      () => streams.connections === readers.filter((_, index) => index % 3 !== 0).length,
    );
  });
});

describe('a slow client', () => {
  test('that falls behind is disconnected, and the others get everything @heavy', async () => {
    const view = createMemory(flag('a', 1));
    const closed: string[] = [];
    const silent = () => {};
    const { read, streams, hub } = await start(view, {
      stallMs: roomy(400),
      meter: {
        opened: silent,
        refused: silent,
        admitted: silent,
        unserved: silent,
        failed: silent,
        broadcast: silent,
        snapshot: silent,
        wrote: silent,
        closed: (_environment, _kind, _family, reason) => closed.push(reason),
      },
    });
    const [slow, ...others] = await Promise.all([read(), read(), read()]);
    await slow!.next();
    slow!.pause();
    let version = 2;
    const told: number[] = [];
    await until('the slow client is disconnected', async () => {
      streams.publish(view.set(large('a', version, 1)));
      told.push(version++);
      await others[0]!.until(() => others[0]!.events.length >= told.length + 1);
      return hub.connections === 2;
    });
    expect(closed).toEqual(['slow']);
    streams.publish(view.set(flag('a', version)));
    for (const reader of others) {
      await reader.until(() => reader.events.at(-1)!.data.includes(`"version":${version},`));
      expect(reader.events.slice(1).map(({ data }) => JSON.parse(data).data.version)).toEqual([...told, version]);
    }
  });

  test('with too much queued is disconnected at once @heavy', async () => {
    const view = createMemory(large('a', 1, 12));
    const { read, hub } = await start(view, { maxBehindBytes: 100_000 });
    const reader = await read();
    reader.pause();
    await until('it is disconnected', () => hub.connections === 0);
  });

  test('holds one piece in memory, however much it missed @heavy', async () => {
    const view = createMemory(large('a', 1));
    const { read, streams, hub } = await start(view);
    const reader = await read();
    reader.pause();
    for (let version = 2; version < 12; version++) {
      streams.publish(view.set(large('a', version, 2)));
      await sleep(10);
    }
    expect(hub.connections).toBe(1);
    reader.resume();
    await reader.until(() => reader.events.at(-1)?.data.includes('"version":11,') ?? false);
    // The put that was in progress, and one for everything it missed, since the log holds fewer than ten changes.
    expect(reader.events.map(({ event }) => event)).toEqual(['put', 'put']);
  });

  test('behind the log gets a put instead of the changes @heavy', async () => {
    const view = createMemory(large('a', 1));
    const { read, streams } = await start(view, { logMessages: 10 });
    const slow = await read();
    const fast = await read('all');
    slow.pause();
    await fast.next();
    const small = (version: number) => flag('b', version);
    for (let version = 1; version <= 50; version++) {
      streams.publish(view.set(small(version)));
      await fast.until(() => fast.events.length === version + 1);
    }
    slow.resume();
    await slow.until(() => slow.events.length >= 2);
    expect(slow.events[1]!.event).toBe('put');
    expect(versionsOf(slow.events[1]!.data)).toEqual({ a: 1, b: 50 });
    expect(fast.events.slice(1).every(({ event }) => event === 'patch')).toBe(true);
  });
});

describe('a first payload', () => {
  test('waits in a queue beyond the limit, and is rejected if the queue is full @heavy', async () => {
    const view = createMemory(large('a', 1));
    const { read, hub } = await start(view, { maxInitialInFlight: 1, maxInitialWaiting: 1 });
    const first = await read();
    first.pause();
    const second = read('all');
    await until('the second waits', () => hub.waiting === 1);
    const third = await read();
    expect(third.status).toBe(503);
    first.resume();
    expect((await (await second).next()).event).toBe('put');
  });

  test('is sent although the limit is 0, which means the default', async () => {
    const view = createMemory(flag('a', 1));
    const { read, hub } = await start(view, { maxInitialInFlight: 0, maxInitialWaiting: 0 });
    const readers = await Promise.all([read(), read(), read()]);
    for (const reader of readers) expect((await reader.next()).event).toBe('put');
    expect(hub.waiting).toBe(0);
  });

  test('whose client gives up waiting does not affect the others @heavy', async () => {
    const view = createMemory(large('a', 1));
    const { read, hub, port } = await start(view, { maxInitialInFlight: 1, maxInitialWaiting: 10 });
    const first = await read();
    first.pause();
    const impatient = connect(port, '127.0.0.1');
    impatient.write('GET /all HTTP/1.1\r\n\r\n');
    const patient = read('all');
    await until('both wait', () => hub.waiting === 2);
    impatient.destroy();
    await turnsOfLoop();
    first.close();
    expect((await (await patient).next()).event).toBe('put');
  });
});

describe('the end of a stream', () => {
  test('follows the revocation of its credential, after everything published before', async () => {
    const view = createMemory(flag('a', 1));
    const { read, streams } = await start(view);
    const revoked = await read('all', { headers: { authorization: 'sdk-old' } });
    const kept = await read('all', { headers: { authorization: 'sdk-new' } });
    await Promise.all([revoked.next(), kept.next()]);
    streams.publish(view.set(flag('a', 2)));
    streams.closeCredential('sdk-old');
    expect(await revoked.ended).toBe('clean');
    expect(revoked.events).toHaveLength(2);
    streams.publish(view.set(flag('a', 3)));
    await kept.until(() => kept.events.length === 3);
  });

  test('comes at the maximum age, cleanly and at different times for different streams', async () => {
    const { read } = await start(createEmptyMemory(), { maxAgeMs: 800, heartbeatMs: 60_000 });
    const ends: number[] = [];
    const readers = await Promise.all(Array.from({ length: 20 }, () => read()));
    await Promise.all(
      readers.map(async (reader) => {
        expect(await reader.ended).toBe('clean');
        ends.push(performance.now());
      }),
    );
    expect(new Set(ends.map(Math.round)).size).toBeGreaterThan(1);
  });

  test('at a maximum age does not change the interval of heartbeats', async () => {
    const { read } = await start(createEmptyMemory(), { maxAgeMs: 2_600, heartbeatMs: 320 });
    const began = performance.now();
    const reader = await read();
    expect(await reader.ended).toBe('clean');
    const livedMs = performance.now() - began;
    const beats = reader.body().split('\n\n')[1]!.length / 2;
    expect(beats).toBeGreaterThanOrEqual(1);
    // Node cuts the wheel's ticks to whole milliseconds, so a turn is up to a tenth shorter than the interval.
    expect(beats).toBeLessThanOrEqual((1.1 * livedMs) / 320 + 1);
  });

  test('is spread over the closing window, in which new streams are rejected, and no socket is left', async () => {
    const { read, hub, sockets } = await start(createMemory(flag('a', 1)));
    const readers = await Promise.all(Array.from({ length: 40 }, () => read()));
    let clean = 0;
    for (const reader of readers) void reader.ended.then((how) => (clean += how === 'clean' ? 1 : 0));
    const now = performance.now.bind(performance);
    let offsetMs = 0;
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => now() + offsetMs);
    try {
      const hourMs = 3_600_000;
      const closed = hub.closeAll(40 * hourMs);
      expect((await read()).status).toBe(503);
      // One each hour, the first at once.
      await until('the first is closed', () => clean > 0);
      expect(clean).toBe(1);
      offsetMs = 19.5 * hourMs;
      await until('half of them are', () => clean >= 20);
      expect(clean).toBe(20);
      offsetMs = 40 * hourMs;
      await closed;
      await until('all are', () => clean === 40);
      await until('no socket is left', async () => (await sockets()) === 0);
    } finally {
      clock.mockRestore();
    }
  });

  test('follows the removal of its environment', async () => {
    const { read, streams } = await start(createMemory(flag('a', 1)));
    const reader = await read();
    await reader.next();
    streams.remove();
    expect(await reader.ended).toBe('clean');
    expect((await read()).status).toBe(503);
  });

  test('is noticed if a client disconnects at once or half-closes @heavy', async () => {
    const { read, hub, sockets } = await start(createMemory(large('a', 1)));
    for (let round = 0; round < 20; round++) {
      const reader = await read();
      if (round % 2 === 0) reader.socket.resetAndDestroy();
      else reader.socket.end();
    }
    await until('all are forgotten', async () => hub.connections === 0 && (await sockets()) === 0);
  });

  test('does not come from data that a client sends, which is dropped', async () => {
    const view = createMemory(flag('a', 1));
    const { read, streams } = await start(view);
    const reader = await read();
    await reader.next();
    reader.socket.write('GET /status HTTP/1.1\r\n\r\n'.repeat(100));
    streams.publish(view.set(flag('a', 2)));
    expect((await reader.next()).event).toBe('patch');
    expect(reader.events).toHaveLength(2);
  });
});
