/** Connections that are no streams, and what becomes of them when they may take no more memory. */
import { createServer } from 'node:http';
import { connect as connectTcp, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { generate } from 'selfsigned';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { trackConnections } from '../../../relay-task/endpoints/connections.ts';
import type { ServedEnvironment } from '../../../relay-task/endpoints/services.ts';
import { eventually } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startServer, type TestServerOptions } from './start-server.ts';

const { opened, behind } = closeAfterEach();

const ROOM_FOR_THREE_BYTES = 3 * 16 * 1024;
const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n`;

async function start(options: TestServerOptions = {}, maxBytes = ROOM_FOR_THREE_BYTES) {
  const connections = createBudget(maxBytes);
  const { server, ...more } = options;
  const memory = { connections, bodies: createBudget(Infinity), answers: createBudget(Infinity) };
  const { port } = opened(
    await startServer({ view: createMemory(flag('f', 1)), server: { memory, ...server }, ...more }),
  );
  const open = (localAddress = '127.0.0.1') => hear(connectTcp({ port, host: '127.0.0.1', localAddress }));
  /** A connection on which one request was answered. */
  const openIdle = async (localAddress?: string) => {
    const heard = open(localAddress);
    heard.socket.write(ask('/livez'));
    await eventually(() => expect(heard.text).toContain('alive'));
    return heard;
  };
  return { connections, port, open, openIdle };
}

function hear(socket: Socket) {
  behind(() => socket.destroy());
  const heard = { text: '', over: false, socket };
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    heard.text += bytes.toString();
  });
  socket.on('close', () => {
    heard.over = true;
  });
  return heard;
}

test('a newcomer takes the room of the connection that was idle for longest', async () => {
  const { openIdle, connections } = await start();
  const [one, two, three] = [await openIdle(), await openIdle(), await openIdle()];
  one.text = '';
  one.socket.write(ask('/livez'));
  await eventually(() => expect(one.text).toContain('alive'));
  const four = await openIdle();
  await eventually(() => expect(two.over).toBe(true));
  expect([one.over, three.over, four.over]).toEqual([false, false, false]);
  expect(connections.usedBytes).toBe(ROOM_FOR_THREE_BYTES);
  for (const { socket } of [one, three, four]) socket.destroy();
  await eventually(() => expect(connections.usedBytes).toBe(0));
});

test('an address with many connections loses them first', async () => {
  const { openIdle } = await start();
  const few = await openIdle('127.0.0.2');
  const many = [await openIdle('127.0.0.3'), await openIdle('127.0.0.3')];
  const other = await openIdle('127.0.0.4');
  await eventually(() => expect(many[0]!.over).toBe(true));
  expect([few.over, many[1]!.over, other.over]).toEqual([false, false, false]);
});

test('connections on which nothing was sent make room, too', async () => {
  const { open, openIdle, connections } = await start();
  const silent = [open(), open(), open()];
  await eventually(() => expect(connections.full).toBe(true));
  expect((await openIdle()).text).toContain('alive');
  expect(silent.filter(({ over }) => over)).toHaveLength(1);
});

/** An endpoint whose answers come when they are told to, in the order of the requests. */
function slowAnswers() {
  const answers: (() => void)[] = [];
  let slow: ServedEnvironment | undefined;
  const find: TestServerOptions['find'] = (_kind, _credential, _filter, environment) => {
    slow ??= {
      ...environment,
      view: environment.view,
      goals: () =>
        new Promise((resolve) => {
          answers.push(() => resolve({ status: 200, headers: {}, body: Buffer.from('goals') }));
        }),
    };
    return { environment: slow };
  };
  return { answers, find, request: ask('/sdk/goals/64a0') };
}

test('no request that is being answered is cut, and a newcomer without room is turned away and counted', async () => {
  const { answers, find, request } = slowAnswers();
  const refusals: string[] = [];
  const { open, openIdle } = await start({ server: { refused: (because) => void refusals.push(because) }, find });
  const busy = [open(), open(), open()];
  for (const { socket } of busy) socket.write(request);
  await eventually(() => expect(answers).toHaveLength(3));
  const refused = open();
  await eventually(() => expect(refused.over).toBe(true));
  expect(refused.text).toBe('');
  expect(refusals).toEqual(['memory']);
  for (const answer of answers) answer();
  for (const heard of busy) await eventually(() => expect(heard.text).toContain('200 OK'));
  expect((await openIdle()).text).toContain('alive');
});

test('busy connections of one address leave a ninth of the room to others', async () => {
  const { answers, find, request } = slowAnswers();
  const { open, openIdle } = await start({ find }, 20 * 16 * 1024);
  const busy = Array.from({ length: 20 }, () => open('127.0.0.2'));
  for (const { socket } of busy) socket.write(request);
  await eventually(() => expect([answers.length, busy.filter(({ over }) => over).length]).toEqual([18, 2]));
  // What is at rest is closed for newcomers of an address with as many connections, and not for a flood.
  const few = [await openIdle('127.0.0.3'), await openIdle('127.0.0.4')];
  const more = open('127.0.0.2');
  await eventually(() => expect(more.over).toBe(true));
  expect(few.filter(({ over }) => over)).toHaveLength(0);
  expect((await openIdle('127.0.0.5')).text).toContain('alive');
});

test('while all are busy, each newcomer has one end with its present answer, of the address that has most of them', async () => {
  const { answers, find, request } = slowAnswers();
  const { open, openIdle } = await start({ find });
  const few = open('127.0.0.2');
  few.socket.write(request);
  await eventually(() => expect(answers).toHaveLength(1));
  const many = [open('127.0.0.3'), open('127.0.0.3')];
  for (const { socket } of many) socket.write(request.repeat(2));
  await eventually(() => expect(answers).toHaveLength(3));
  const newcomer = open('127.0.0.3');
  await eventually(() => expect(newcomer.over).toBe(true));
  for (const answer of answers.splice(0)) answer();
  await eventually(() => expect(many.filter(({ over }) => over)).toHaveLength(1));
  const [ended, kept] = many[0]?.over ? many : [...many].reverse();
  expect(ended?.text.match(/HTTP\/1.1 200|^connection: close/gim)).toEqual(['HTTP/1.1 200', 'Connection: close']);
  // The other one goes on with its next request, and the place is free.
  await eventually(() => expect(answers).toHaveLength(1));
  expect((await openIdle('127.0.0.3')).text).toContain('alive');
  for (const answer of answers) answer();
  await eventually(() => expect(kept?.text.match(/HTTP\/1.1 200/g)).toHaveLength(2));
  expect(few.text).not.toMatch(/^connection: close/im);
});

test('a connection that is chosen while its answer is being sent ends after all of it @heavy', async () => {
  const filler = 'x'.repeat(16 * 1024 * 1024);
  const { open, openIdle } = await start({ view: createMemory(flag('f', 1, { filler })) }, 16 * 1024);
  const large = open();
  large.socket.once('data', () => large.socket.pause());
  large.socket.write(ask('/sdk/latest-all').repeat(2));
  await eventually(() => expect(large.text).not.toBe(''));
  const newcomer = open();
  await eventually(() => expect(newcomer.over).toBe(true));
  large.socket.resume();
  await eventually(() => expect(large.over).toBe(true));
  expect(large.text.split(filler)).toHaveLength(2);
  expect((await openIdle()).text).toContain('alive');
});

test('clients that leave their answers unread make room, and others do not @heavy', async () => {
  const filler = 'x'.repeat(16 * 1024 * 1024);
  const { open, openIdle } = await start({ view: createMemory(flag('f', 1, { filler })) });
  const unread = ['127.0.0.2', '127.0.0.2', '127.0.0.3'].map((address) => open(address));
  for (const { socket } of unread) {
    socket.pause();
    socket.write(ask('/sdk/flags'));
  }
  await eventually(() => expect(unread.map(({ socket }) => socket.bytesWritten > 0)).toEqual([true, true, true]));
  // Once one of the address with most of them has been unread for a while.
  await eventually(async () => {
    const newcomer = open('127.0.0.4');
    newcomer.socket.write(ask('/livez'));
    await eventually(() => expect(newcomer.text !== '' || newcomer.over).toBe(true));
    expect(newcomer.text).toContain('alive');
  });
  expect((await openIdle('127.0.0.5')).text).toContain('alive');
  for (const { socket } of unread) socket.resume();
  await eventually(() => expect(unread[0]!.over || unread[1]!.over).toBe(true));
  await eventually(() => expect(unread[2]!.text).toContain(filler));
});

test('requests whose bodies do not come make room, of the address that has most of them', async () => {
  const { open, openIdle } = await start();
  const slow = ['127.0.0.2', '127.0.0.2', '127.0.0.3'].map(open);
  for (const { socket } of slow)
    socket.write('POST /bulk HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\nContent-Length: 9\r\n\r\n[');
  await eventually(() => expect(slow.map(({ socket }) => socket.bytesWritten > 0)).toEqual([true, true, true]));
  const honest = await openIdle();
  await eventually(() => expect(slow[0]!.over).toBe(true));
  expect([slow[1]!.over, slow[2]!.over, honest.over]).toEqual([false, false, false]);
  slow[2]!.socket.write('{"a":1}]');
  await eventually(() => expect(slow[2]!.text).toContain(' 202 '));
});

test('an open stream is no such connection', async () => {
  const { open, connections } = await start();
  const stream = open();
  stream.socket.write(ask('/all'));
  await eventually(() => expect(stream.text).toContain('event: put'));
  expect(connections.usedBytes).toBe(0);
});

test('with TLS, a connection counts from before its handshake until it is gone @heavy', async () => {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'x' }], { keySize: 2048 });
  const { port, connections, open } = await start({ server: { tls: { cert, key } } }, 3 * 48 * 1024);
  open();
  await eventually(() => expect(connections.usedBytes).toBe(48 * 1024));
  const secure = () => hear(connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }));
  const idle = [secure(), secure()];
  for (const { socket } of idle) socket.write(ask('/livez'));
  for (const heard of idle) await eventually(() => expect(heard.text).toContain('alive'));
  expect(connections.usedBytes).toBe(3 * 48 * 1024);
  const stream = secure();
  stream.socket.write(ask('/all'));
  await eventually(() => expect(stream.text).toContain('event: put'));
  // One made room for the handshake; the stream counts elsewhere.
  expect(connections.usedBytes).toBe(2 * 48 * 1024);
  for (const { socket } of idle) socket.destroy();
  await eventually(() => expect(connections.usedBytes).toBeLessThanOrEqual(48 * 1024));
});

test('a connection from a port counts once, even if the end of an earlier one was not noticed', () => {
  const budget = createBudget(ROOM_FOR_THREE_BYTES);
  const server = createServer();
  const connections = trackConnections(server, { budget, tls: false, refused() {} });
  const from = (remotePort: number) => {
    const socket = new Socket();
    Object.defineProperties(socket, { remoteAddress: { value: '192.0.2.1' }, remotePort: { value: remotePort } });
    server.emit('connection', socket);
    return socket;
  };
  const [earlier, later] = [from(1_000), from(1_000)];
  expect(budget.usedBytes).toBe(16 * 1024);
  earlier.emit('close');
  expect(budget.usedBytes).toBe(16 * 1024);
  connections.begin(later);
  later.emit('close');
  expect(budget.usedBytes).toBe(0);
});
