/** Large bodies that wait for memory: their clients are held back, and then answered. */
import { connect, type Socket } from 'node:net';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { eventually } from '../../support/eventually.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { ask } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened, behind } = closeAfterEach();
const MIB = 1024 * 1024;

/** The part for bodies of a relay with 512 MiB by default. */
async function start({ maxBytes = 28 * MIB, bodyWaitMs = 60_000 } = {}) {
  let mostBytes = 0;
  // Bodies of client-side SDKs get three quarters.
  const bodies = createBudget((maxBytes * 4) / 3, {
    changed: (bytes) => {
      mostBytes = Math.max(mostBytes, bytes);
    },
  });
  const memory = { connections: createBudget(Infinity), bodies, answers: createBudget(Infinity) };
  const server = opened(await startServer({ server: { memory, bodyWaitMs } }));
  return { ...server, bodies, mostBytes: () => mostBytes };
}

const bodyOf = (bytes: number) => `[{"kind":"identify","note":"${'x'.repeat(bytes - 29)}"}]`;

interface Sent {
  readonly socket: Socket;
  heard(): string;
}

/** Sends as fast as the relay reads. */
function post(port: number, body: string, { address = '192.0.2.1', chunkBytes = 0, part = body.length } = {}): Sent {
  const socket = connect(port, '127.0.0.1');
  behind(() => socket.destroy());
  socket.on('error', () => {});
  let heard = '';
  socket.on('data', (bytes) => {
    heard += bytes.toString();
  });
  const framing = chunkBytes > 0 ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
  socket.write(`POST /events/bulk/64a0 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${address}\r\n${framing}\r\n\r\n`);
  if (chunkBytes === 0) socket.write(body.slice(0, part));
  else {
    for (let at = 0; at < body.length; at += chunkBytes) {
      const chunk = body.slice(at, at + chunkBytes);
      socket.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`);
    }
    socket.write('0\r\n\r\n');
  }
  return { socket, heard: () => heard };
}

const statusOf = ({ heard }: Sent) => /^HTTP\/1.1 (\d+)/.exec(heard())?.[1];

test.each([
  ['with their lengths', 0],
  ['in chunks', 20_000],
])(
  '60 bodies of 1 MB from one address at the same moment, %s, are all accepted @heavy',
  async (_framing, chunkBytes) => {
    const { port, bodies, environment, mostBytes } = await start();
    const body = bodyOf(1_000_000);
    const sent = Array.from({ length: 60 }, () => post(port, body, { chunkBytes }));
    await eventually(() => expect(sent.map(statusOf)).toEqual(sent.map(() => '202')));
    expect(environment.delivered).toHaveLength(60);
    expect(mostBytes()).toBeGreaterThan(bodies.maxBytes / 4);
    expect(mostBytes()).toBeLessThanOrEqual(bodies.maxBytes);
    await eventually(() => expect(bodies.usedBytes).toBe(0));
  },
);

/** Bodies of 500 KB of which one half never comes, so that others of the address wait. */
async function crowded(options: Parameters<typeof start>[0] = {}) {
  const server = await start({ maxBytes: 6 * MIB, ...options });
  const slow: Sent[] = [];
  for (let id = 0; id < 4; id += 1) {
    const before = server.bodies.usedBytes;
    slow.push(post(server.port, bodyOf(500_000), { part: 400_000 }));
    await eventually(() => expect(server.bodies.usedBytes).toBeGreaterThan(before + 300_000));
  }
  return { ...server, slow, held: server.bodies.usedBytes };
}

/** Three bodies that wait for the memory of those of `crowded`. */
async function threeThatWait({ port, bodies }: Awaited<ReturnType<typeof start>>, bytes = 900_000, chunkBytes = 0) {
  const waiting: Sent[] = [];
  for (let id = 0; id < 3; id += 1) {
    const before = bodies.usedBytes;
    waiting.push(post(port, bodyOf(bytes), { chunkBytes }));
    // What may be on its way, and the beginning.
    await eventually(() => expect(bodies.usedBytes).toBeGreaterThan(before + 128 * 1024));
  }
  return waiting as [Sent, Sent, Sent];
}

test('while large bodies wait, small ones of their address and large ones of others are answered', async () => {
  const server = await crowded();
  const { port, bodies, slow } = server;
  const waiting = await threeThatWait(server);
  const small = post(port, bodyOf(1_000));
  const other = post(port, bodyOf(300_000), { address: '198.51.100.1' });
  await eventually(() => expect([small, other].map(statusOf)).toEqual(['202', '202']));
  expect(waiting.map(statusOf)).toEqual([undefined, undefined, undefined]);
  for (const { socket } of slow) socket.destroy();
  await eventually(() => expect(waiting.map(statusOf)).toEqual(['202', '202', '202']));
  await eventually(() => expect(bodies.usedBytes).toBe(0));
});

test('a body that waits too long gets 503 with Retry-After, and gives back what it held @heavy', async () => {
  const { port, bodies, held, slow } = await crowded({ bodyWaitMs: 100 });
  const waiting = Array.from({ length: 3 }, () => post(port, bodyOf(900_000)));
  await eventually(() => expect(waiting.map(statusOf)).toEqual(['503', '503', '503']));
  for (const { heard } of waiting) expect(heard()).toMatch(/Retry-After: \d/);
  await eventually(() => expect(bodies.usedBytes).toBeLessThanOrEqual(held));
  for (const { socket } of slow) socket.destroy();
  await eventually(() => expect(bodies.usedBytes).toBe(0));
});

test('a client that leaves while its body waits gives everything back, and lets the next one proceed', async () => {
  const server = await crowded();
  const { bodies, slow } = server;
  const [first, second, third] = await threeThatWait(server);
  first.socket.destroy();
  second.socket.destroy();
  for (const { socket } of slow) socket.destroy();
  await eventually(() => expect(statusOf(third)).toBe('202'));
  await eventually(() => expect(bodies.usedBytes).toBe(0));
});

test('closing does not wait for bodies that wait', async () => {
  const crowd = await crowded();
  const { bodies, slow } = crowd;
  const waiting = await threeThatWait(crowd);
  const closed = crowd.server.close(60_000);
  await eventually(() => expect(waiting.map(statusOf)).toEqual(['503', '503', '503']));
  for (const { socket } of slow) socket.destroy();
  await closed;
  await eventually(() => expect(bodies.usedBytes).toBe(0));
});

test('a client that stops sending does not hold up the bodies that wait behind it @heavy', async () => {
  const { port, bodies, held } = await crowded();
  const stalled = post(port, bodyOf(900_000), { part: 250_000 });
  await eventually(() => expect(bodies.usedBytes).toBeGreaterThan(held + 150_000));
  const later = post(port, bodyOf(400_000));
  await eventually(() => expect(statusOf(later)).toBe('202'));
  expect(statusOf(stalled)).toBeUndefined();
});

test('of a body that waits, the rest stays with its client @heavy', async () => {
  const server = await crowded();
  const { port, bodies } = server;
  // In chunks, since a length above the limit is refused at once. The system's buffers hold up to 10 MiB of each.
  const waiting = await threeThatWait(server, 16 * MIB, MIB);
  await eventually(() => expect(waiting.every(({ socket }) => socket.writableLength > MIB)).toBe(true));
  expect((await ask(port, 'GET', '/livez')).status).toBe(200);
  expect(bodies.usedBytes).toBeLessThanOrEqual(bodies.maxBytes);
});
