/** Bodies in very many pieces of a few bytes, which would take a hundred times their bytes in memory and time. */
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { createLogRecorder } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { ask } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened, behind } = closeAfterEach();

interface Talk {
  readonly socket: Socket;
  heard(): string;
  readonly isClosed: boolean;
}

function talk(port: number): Talk {
  const socket = connect(port, '127.0.0.1');
  behind(() => socket.destroy());
  const state = { heard: '', isClosed: false };
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    state.heard += bytes.toString();
  });
  socket.on('close', () => {
    state.isClosed = true;
  });
  return {
    socket,
    heard: () => state.heard,
    get isClosed() {
      return state.isClosed;
    },
  };
}

const head = (line: string, framing = 'Transfer-Encoding: chunked', more = '') =>
  `${line} HTTP/1.1\r\nHost: a\r\n${framing}\r\n${more}\r\n`;
const crumbs = (count: number, size = 1) => `${size.toString(16)}\r\n${' '.repeat(size)}\r\n`.repeat(count);
const CRUMBS = 'A connection was closed: bodies come in too many pieces of a few bytes';

test.each([
  ['events', 'POST /events/bulk/64a0'],
  ['a context', 'REPORT /sdk/evalx/64a0/context'],
  ['a health check', 'GET /livez'],
  ['no route', 'POST /nowhere'],
  ['a wrong key', 'POST /bulk'],
])('of %s: the connection is closed, and the log says why, once', async (_what, line) => {
  const { log, lines } = createLogRecorder();
  const { port, environment } = opened(await startServer({ server: { log } }));
  for (let round = 0; round < 3; round += 1) {
    const client = talk(port);
    client.socket.write(head(line) + crumbs(20_000));
    await eventually(() => expect(client.isClosed).toBe(true));
  }
  expect(environment.delivered).toEqual([]);
  expect(lines.filter((one) => one.startsWith(CRUMBS))).toEqual([
    `${CRUMBS} {"address":"127.0.0.1","runbook":"operations.md#connections-refused"}`,
  ]);
  expect((await ask(port, 'GET', '/livez')).status).toBe(200);
});

test('of a stream: 400', async () => {
  const { port } = opened(await startServer());
  const client = talk(port);
  client.socket.write(head('REPORT /meval', undefined, 'Authorization: mob-key\r\n') + crumbs(20_000));
  await eventually(() => expect(client.heard()).toMatch(/^HTTP\/1\.1 400 [\s\S]*too many chunks of a few bytes/));
});

test('of a request that was sent together with another one: the connection is closed', async () => {
  const { port, environment } = opened(await startServer());
  const client = talk(port);
  client.socket.write(head('GET /livez', 'Content-Length: 0') + head('POST /events/bulk/64a0') + crumbs(20_000));
  await eventually(() => expect(client.isClosed).toBe(true));
  expect(environment.delivered).toEqual([]);
});

test('what was read together with them costs nothing more, and the next connection is read as usual', async () => {
  const { port, environment } = opened(await startServer());
  const pushed = jest.spyOn(Readable.prototype, 'push');
  const client = talk(port);
  client.socket.write(head('POST /events/bulk/64a0') + crumbs(10_000));
  await eventually(() => expect(client.isClosed).toBe(true));
  const ours = pushed.mock.calls.filter(([piece]) => piece?.length === 1);
  pushed.mockRestore();
  expect(ours.length).toBeGreaterThan(200);
  expect(ours.length).toBeLessThan(300);
  for (let next = 0; next < 5; next += 1) {
    const answer = await ask(port, 'POST', '/events/bulk/64a0', { body: '[{"kind":"identify"}]' });
    expect(answer.status).toBe(202);
  }
  expect(environment.delivered).toHaveLength(5);
});

test('counts over all bodies of a connection', async () => {
  const { port } = opened(await startServer());
  const client = talk(port);
  const one = `${head('POST /events/bulk/64a0')}1\r\n[\r\n${crumbs(18)}1\r\n]\r\n0\r\n\r\n`;
  const answers = () => client.heard().split('HTTP/1.1 202').length - 1;
  for (let body = 1; body <= 100 && !client.isClosed; body += 1) {
    client.socket.write(one);
    await eventually(() => expect(client.isClosed || answers() === body).toBe(true));
  }
  expect(client.isClosed).toBe(true);
  expect(answers()).toBeGreaterThan(10);
});

test('a body that comes byte by byte is fine @heavy', async () => {
  const { port, environment } = opened(await startServer());
  const client = talk(port);
  client.socket.setNoDelay(true);
  client.socket.write(head('POST /events/bulk/64a0', 'Content-Length: 1000'));
  for (const byte of `[${' '.repeat(998)}]`) {
    client.socket.write(byte);
    await turnsOfLoop(2);
  }
  await eventually(() => expect(client.heard()).toMatch(/^HTTP\/1\.1 202/));
  expect(environment.delivered).toHaveLength(1);
});

test('any number of small bodies in a few pieces each, and large ones in small pieces, are fine @heavy', async () => {
  const { port, environment } = opened(await startServer());
  const client = talk(port);
  const answers = () => client.heard().split('HTTP/1.1 202').length - 1;
  const small = `${head('POST /events/bulk/64a0')}1\r\n[\r\n1\r\n \r\n1\r\n]\r\n0\r\n\r\n`;
  for (let body = 1; body <= 300; body += 1) {
    client.socket.write(small);
    await eventually(() => expect(answers()).toBe(body));
  }
  client.socket.write(`${head('POST /events/bulk/64a0')}1\r\n[\r\n${crumbs(2_000, 160)}1\r\n]\r\n0\r\n\r\n`);
  await eventually(() => expect(answers()).toBe(301));
  expect(environment.delivered).toHaveLength(301);
});

test('bodies of browsers leave memory for those of server SDKs @heavy', async () => {
  const bodies = createBudget(4 * 1024 * 1024);
  const unlimited = createBudget(Infinity);
  const memory = { connections: unlimited, bodies, answers: unlimited };
  const { port } = opened(await startServer({ server: { memory, bodyWaitMs: 60_000 } }));
  // From many addresses, each as much as there is, of which the end never comes.
  for (let address = 1; address <= 60; address += 1) {
    const client = talk(port);
    const from = `X-Forwarded-For: 192.0.2.${address}\r\n`;
    client.socket.write(head('POST /events/bulk/64a0', 'Content-Length: 1000000', from) + ' '.repeat(900_000));
  }
  await eventually(() => expect(bodies.usedBytes).toBeGreaterThan(2.5 * 1024 * 1024));
  const server = talk(port);
  const events = `[${' '.repeat(300_000)}]`;
  server.socket.write(head('POST /bulk', `Content-Length: ${events.length}`, 'Authorization: sdk-key\r\n') + events);
  await eventually(() => expect(server.heard()).toMatch(/^HTTP\/1\.1 202/));
  expect(bodies.usedBytes).toBeLessThanOrEqual((3 / 4) * bodies.maxBytes);
});
