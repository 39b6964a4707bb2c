/** Clients that do not read their answers. */
import { connect } from 'node:net';
import type { Patience } from '../../../relay-task/endpoints/patience.ts';
import { eventually, roomy } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startServer } from './start-server.ts';

const { opened, behind } = closeAfterEach();
const filler = 'x'.repeat(16 * 1024 * 1024);
const start = async (patience: Patience) =>
  opened(await startServer({ view: createMemory(flag('banner', 1, { filler })), server: { patience } }));
const GET = 'GET /sdk/latest-all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n';

/** Asks and reads nothing. A client that writes learns that the other side is gone. */
const ask = (port: number, bytes: string) => {
  const socket = connect(port, '127.0.0.1').pause();
  behind(() => socket.destroy());
  const client = { socket, cut: false };
  socket.on('error', () => {});
  socket.on('close', () => {
    client.cut = true;
  });
  socket.write(bytes);
  return client;
};

test.each([
  ['an answer', GET],
  ['pipelined answers', GET.repeat(20)],
  ['an answer before a stream', `${GET}${GET.replace('sdk/latest-all', 'all')}`],
  ['an answer before what is no request', `${GET}nonsense\r\n\r\n`],
])('a client that reads nothing of %s is cut @heavy', async (_title, bytes) => {
  const { port, answers, hub } = await start({ stalledMs: roomy(300), minBytesPerSecond: 1_000 });
  const client = ask(port, bytes);
  await eventually(() => {
    client.socket.write('\r\n');
    expect(client.cut).toBe(true);
  });
  // What came after it was never begun.
  expect([answers.length, hub.connections]).toEqual([1, 0]);
});

test('a client that reads too slowly is disconnected, although it keeps reading @heavy', async () => {
  const { port } = await start({ stalledMs: 1_000, minBytesPerSecond: Number.POSITIVE_INFINITY });
  const client = ask(port, GET);
  let read = 0;
  const timer = setInterval(() => {
    read += client.socket.read(10_000)?.length ?? 0;
  }, 20);
  behind(() => clearInterval(timer));
  await eventually(() => {
    client.socket.write('\r\n');
    expect(client.cut).toBe(true);
  });
  expect(read).toBeLessThan(filler.length);
});

test('a client that reads gets everything, in pieces of any size', async () => {
  const { port } = await start({ stalledMs: 60_000, minBytesPerSecond: 1_000 });
  const client = ask(port, GET.replace('Host', 'Connection: close\r\nHost'));
  let heard = 0;
  client.socket.on('data', (bytes) => {
    heard += bytes.length - (bytes.toString('latin1').match(/[^x]/g)?.length ?? 0);
  });
  client.socket.resume();
  await eventually(() => expect(client.cut).toBe(true));
  expect(heard).toBeGreaterThanOrEqual(filler.length);
});
