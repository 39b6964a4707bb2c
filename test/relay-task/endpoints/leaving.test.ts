/** Clients that leave at any moment: whatever was counted for them is given back. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { eventually } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { ask, base64url } from './ask.ts';
import { startServer } from './start-server.ts';

const { opened, behind } = closeAfterEach();

/** Its answers are large enough to be counted, and its evaluations wait for a lookup when told. */
async function start({ largeBytes = 64 * 1024 } = {}) {
  const memory = { connections: createBudget(1e9), bodies: createBudget(1e9), answers: createBudget(1e9) };
  const server = opened(
    await startServer({
      view: createMemory(flag('f', 1, { variations: [randomBytes((largeBytes * 3) / 4).toString('base64'), 'y'] })),
      server: { memory },
    }),
  );
  const lookups: (() => void)[] = [];
  const usedBytes = () => ({
    connections: memory.connections.usedBytes,
    bodies: memory.bodies.usedBytes,
    answers: memory.answers.usedBytes,
  });
  return {
    ...server,
    memory,
    lookups,
    holdLookups() {
      server.environment.bigSegment = {
        flag: 'none',
        value: true,
        wait: () => new Promise((resolve) => lookups.push(() => resolve(new Map()))),
      };
    },
    open(bytes: string): Socket {
      const socket = connect(server.port, '127.0.0.1');
      behind(() => socket.destroy());
      socket.on('error', () => {});
      socket.write(bytes);
      return socket;
    },
    noneLeft: () => eventually(() => expect({ ...usedBytes() }).toEqual({ connections: 0, bodies: 0, answers: 0 })),
  };
}

const context = { kind: 'user', key: 'a', note: 'z'.repeat(5_000) };
const json = JSON.stringify(context);
const head = (line: string, ...fields: string[]) => [`${line} HTTP/1.1`, 'Host: a', ...fields, '', ''].join('\r\n');
const posted = (path: string, ...fields: string[]) =>
  head(`POST ${path}`, 'Content-Type: application/json', `Content-Length: ${json.length}`, ...fields) + json;
const polls = [
  ['a poll', head(`GET /sdk/evalx/64a0/contexts/${base64url(context)}`)],
  ['a poll with gzip', head(`GET /sdk/evalx/64a0/contexts/${base64url(context)}`, 'Accept-Encoding: gzip')],
  ['a poll with brotli', head(`GET /sdk/evalx/64a0/contexts/${base64url(context)}`, 'Accept-Encoding: br')],
  ['a posted poll', posted('/sdk/evalx/64a0/context')],
  ['OFREP', posted('/ofrep/v1/evaluate/flags', 'X-API-Key: 64a0').replace(json, ofrepBody())],
] as const;
function ofrepBody(): string {
  return JSON.stringify({ context: { targetingKey: 'a', note: '' } }).padEnd(json.length);
}

test.each([
  ['before the end of its head', 'GET /sdk/evalx/64a0/contexts/a HTTP/1.1\r\nHost: a\r\nX-Padding: '],
  ['before the end of the body of a poll', posted('/sdk/evalx/64a0/context').slice(0, -10)],
  ['before the end of the body of events', posted('/events/bulk/64a0').slice(0, -10)],
  ['before the end of the body of a stream', posted('/eval/64a0').slice(0, -10)],
])('a client that leaves %s', async (_moment, bytes) => {
  const { open, memory, noneLeft } = await start();
  const socket = open(bytes);
  await eventually(() => {
    expect(memory.connections.usedBytes).toBeGreaterThan(0);
    if (bytes.startsWith('POST')) expect(memory.bodies.usedBytes).toBe(json.length - 10);
  });
  socket.destroy();
  await noneLeft();
});

test.each([...polls, ['a stream', head(`GET /eval/64a0/${base64url(context)}`)] as const])(
  'a client of %s that leaves while it is answered',
  async (title, bytes) => {
    const { open, memory, lookups, holdLookups, noneLeft, answers } = await start();
    holdLookups();
    const socket = open(bytes);
    if (title !== 'a stream') await eventually(() => expect(lookups).toHaveLength(1));
    else await eventually(() => expect(answers).toHaveLength(1));
    socket.destroy();
    // Now the relay knows, and what it evaluates afterwards is for nobody.
    await eventually(() => expect(memory.connections.usedBytes).toBe(0));
    for (const found of lookups) found();
    await eventually(() => expect(answers).toHaveLength(1));
    await noneLeft();
  },
);

test.each(polls)('a client of %s that leaves as soon as it has asked', async (_title, bytes) => {
  const { open, port, noneLeft } = await start();
  for (let i = 0; i < 20; i++) {
    const socket = open(bytes);
    socket.once('connect', () => setImmediate(() => socket.resetAndDestroy()));
  }
  // Behind them.
  expect((await ask(port, 'GET', '/livez')).status).toBe(200);
  await noneLeft();
});

test.each(polls)('a client of %s that leaves before it has read its answer @heavy', async (_title, bytes) => {
  const { open, memory, noneLeft } = await start({ largeBytes: 24 * 1024 * 1024 });
  const socket = open(bytes).pause();
  await eventually(() => expect(memory.answers.usedBytes).toBeGreaterThan(8 * 1024 * 1024));
  socket.destroy();
  await noneLeft();
});

test.each(polls)('a client of %s that has read its answer', async (_title, bytes) => {
  const { open, memory, noneLeft } = await start();
  const socket = open(bytes);
  await new Promise((resolve) => socket.once('data', resolve));
  await eventually(() => expect(memory.answers.usedBytes).toBe(0));
  await eventually(() => expect(memory.bodies.usedBytes).toBe(0));
  socket.destroy();
  await noneLeft();
});
