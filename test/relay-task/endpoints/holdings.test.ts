/** What the bodies of requests may take in memory, from their first byte until they are answered. */
import { connect } from 'node:net';
import { brotliCompressSync, constants, deflateSync, gzipSync } from 'node:zlib';
import { createBudget } from '../../../relay-task/common/budget.ts';
import type { Lanes } from '../../../relay-task/common/fair-queue.ts';
import { createHoldings } from '../../../relay-task/endpoints/holdings.ts';
import { eventually } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { ask, say } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened, behind } = closeAfterEach();
const MIB = 1024 * 1024;
const json = { 'content-type': 'application/json' };
const context = JSON.stringify({ kind: 'user', key: 'a' });

/** `maxBytes`: for bodies of client-side SDKs, which get three quarters. */
async function start(maxBytes: number) {
  const bodies = createBudget(Math.ceil((maxBytes * 4) / 3));
  const memory = { connections: createBudget(Infinity), bodies, answers: createBudget(Infinity) };
  const server = opened(
    await startServer({
      view: createMemory(flag('f', 1)),
      server: { memory, maxInboundPayloadBytes: 64 * MIB },
    }),
  );
  return { ...server, bodies };
}

const events = (port: number, body: Buffer, encoding: string) =>
  ask(port, 'POST', '/events/bulk/64a0', { headers: { ...json, 'content-encoding': encoding }, body });

test.each([
  ['gzip', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
] as const)(
  'a small body in %s that becomes a large one is refused where its memory ends @heavy',
  async (encoding, pack) => {
    const { port, bodies, environment } = await start(16 * MIB);
    const body = pack(Buffer.alloc(60 * MIB, '{},'));
    expect(body.length).toBeLessThan(MIB / 4);
    const answer = await events(port, body, encoding);
    // More than it could ever get: there is no sense in trying again.
    expect(answer.status).toBe(413);
    expect(answer.json().message).toContain(`${Math.floor((16 * MIB) / 3)} bytes`);
    expect(environment.delivered).toEqual([]);
    await eventually(() => expect(bodies.usedBytes).toBe(0));
    const ordinary = await events(port, pack(Buffer.from('[{"kind":"identify"}]')), encoding);
    expect(ordinary.status).toBe(202);
  },
);

test('the window of a brotli body counts', async () => {
  const { port } = await start(6 * MIB);
  const packed = (windowBits: number) =>
    brotliCompressSync('[{"kind":"identify"}]', { params: { [constants.BROTLI_PARAM_LGWIN]: windowBits } });
  for (const windowBits of [10, 16, 17, 20]) {
    expect([windowBits, (await events(port, packed(windowBits), 'br')).status]).toEqual([windowBits, 202]);
  }
  for (const windowBits of [22, 24]) {
    expect([windowBits, (await events(port, packed(windowBits), 'br')).status]).toEqual([windowBits, 413]);
  }
});

test.each([
  ['/events/bulk/64a0', '[{"kind":"identify"}]', '202'],
  ['/sdk/evalx/64a0/context', context, '200'],
  ['/eval/64a0', context, '200'],
])('a body for %s that arrives slowly holds its part, and is answered', async (path, body, status) => {
  const { port, bodies } = await start(120_000);
  const head = (length: number, more = '') =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n${more}\r\n`;
  const slow = connect(port, '127.0.0.1');
  behind(() => slow.destroy());
  let heard = '';
  slow.on('data', (bytes) => {
    heard += bytes.toString();
  });
  const padding = ' '.repeat(50_000);
  slow.write(head(padding.length + body.length) + padding);
  await eventually(() => expect(bodies.usedBytes).toBe(padding.length));
  const refused = await say(port, head(30_000, 'Connection: close\r\n') + padding.slice(0, 30_000));
  expect(refused).toContain('503 Service Unavailable');
  expect(refused).toMatch(/Retry-After: \d/);
  slow.write(body);
  await eventually(() => expect(heard).toContain(`HTTP/1.1 ${status}`));
  await eventually(() => expect(bodies.usedBytes).toBe(0));
});

test.each([
  ['/events/bulk/64a0', 'never comes'],
  ['/eval/64a0', 'never comes'],
])('a client of %s whose body %s gives its part back when it is gone', async (path) => {
  const { port, bodies } = await start(120_000);
  const gone = connect(port, '127.0.0.1');
  behind(() => gone.destroy());
  gone.write(
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50000\r\n\r\n${' '.repeat(40_000)}`,
  );
  await eventually(() => expect(bodies.usedBytes).toBe(40_000));
  gone.destroy();
  await eventually(() => expect(bodies.usedBytes).toBe(0));
});

test('a body that is refused gives back what it held, while the rest of it is awaited', async () => {
  let mostBytes = 0;
  const bodies = createBudget(300_000, {
    changed: (bytes) => {
      mostBytes = Math.max(mostBytes, bytes);
    },
  });
  const memory = { connections: createBudget(Infinity), bodies, answers: createBudget(Infinity) };
  const { port } = opened(await startServer({ server: { memory } }));
  const socket = connect(port, '127.0.0.1');
  behind(() => socket.destroy());
  socket.write(`POST /events/bulk/64a0 HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n${' '.repeat(300_000)}`);
  let heard = '';
  socket.on('data', (bytes) => {
    heard += bytes.toString();
  });
  await eventually(() => expect([mostBytes > 50_000, bodies.usedBytes, heard]).toEqual([true, 0, '']));
});

test('one address that fills its part with unfinished bodies leaves room for others with the same client-side ID', async () => {
  const { port, bodies } = await start(1_000_000);
  const head =
    'POST /events/bulk/64a0 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 60000\r\n\r\n';
  for (let i = 1; i <= 10; i++) {
    const socket = connect(port, '127.0.0.1');
    behind(() => socket.destroy());
    socket.write(head + ' '.repeat(50_000));
    await eventually(() => expect(bodies.usedBytes).toBe(i * 50_000));
  }
  const from = (address: string, path: string, sizeBytes: number, headers = {}) =>
    ask(port, 'POST', path, {
      headers: { ...json, 'x-forwarded-for': address, ...headers },
      body: JSON.stringify([{ kind: 'identify', note: 'x'.repeat(sizeBytes) }]),
    });
  expect((await from('192.0.2.1', '/events/bulk/64a0', 100)).status).toBe(503);
  expect((await from('198.51.100.1', '/events/bulk/64a0', 100)).status).toBe(202);
  expect((await from('198.51.100.1', '/events/bulk/64a0', 100_000)).status).toBe(202);
  expect((await from('198.51.100.2', '/mobile', 100_000, { authorization: 'mob-key' })).status).toBe(202);
});

test('large parts and small parts of addresses and credentials leave room for each other', () => {
  const budget = createBudget(1_200_000);
  const holdings = createHoldings(budget);
  /** Until nothing more fits: how many bytes. */
  const fill = (lanes: Lanes, sizeBytes: number): number => {
    const before = budget.usedBytes;
    while (holdings.open(lanes).take(sizeBytes));
    return budget.usedBytes - before;
  };
  expect(fill(['id', 'a'], 100_000)).toBe(400_000);
  expect(fill(['id', 'a'], 1_000)).toBe(400_000);
  expect(fill(['id', 'b'], 100_000)).toBe(100_000);
  expect(fill(['id', 'b'], 1_000)).toBe(150_000);
  expect(fill(['another', 'a'], 1_000)).toBe(0);
  expect(fill(['another', 'c'], 1_000)).toBe(75_000);
});

test('a part that is given back, or released, can be taken again', () => {
  const budget = createBudget(1_200_000);
  const holding = createHoldings(budget).open(['id', 'a']);
  for (let i = 0; i < 3; i++) {
    expect([holding.take(50_000), holding.take(300_000)]).toEqual([true, true]);
    holding.giveBack(320_000);
    expect(budget.usedBytes).toBe(30_000);
    expect(holding.take(30_000)).toBe(true);
    holding.release();
    holding.release();
    expect(budget.usedBytes).toBe(0);
  }
});
