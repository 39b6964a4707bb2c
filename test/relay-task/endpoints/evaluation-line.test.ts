/** How many evaluations of all flags are in progress at once, and what becomes of those that wait. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Context } from '../../../lib/evaluation/index.ts';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { createEvaluationLines } from '../../../relay-task/common/evaluation-lines.ts';
import { eventually } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startServer } from './start-server.ts';

const { opened } = closeAfterEach();

const FLAGS = 100;
const pathOf = (key: string) => Buffer.from(JSON.stringify({ kind: 'user', key })).toString('base64url');

/** Parsed contexts have this method; the public type does not. */
const keyOf = (context: Context) => (context as Context & { keyOf(kind: string): string }).keyOf('user');

/** Evaluations take many slices; while `held` those for the user `a` do not come to their end. `longMs`: none is a long one by default. */
async function start(longMs = Number.POSITIVE_INFINITY) {
  const unlimited = createBudget(Number.POSITIVE_INFINITY);
  const bodies = createBudget(64 * 1024 * 1024);
  const server = opened(
    await startServer({
      view: createMemory(...Array.from({ length: FLAGS }, (_, index) => flag(`f${index}`, 1))),
      server: { memory: { connections: unlimited, answers: unlimited, bodies } },
      evaluations: createEvaluationLines({ longMs }),
    }),
  );
  const { environment, port } = server;
  const state = { held: false, begun: 0, ended: 0, most: 0, mostBytes: 0 };
  const evaluateInSteps = environment.clientView.evaluateInSteps;
  environment.clientView = {
    ...environment.clientView,
    *evaluateInSteps(...given) {
      state.begun++;
      state.most = Math.max(state.most, state.begun - state.ended);
      state.mostBytes = Math.max(state.mostBytes, bodies.usedBytes);
      try {
        const isHeld = keyOf(given[0]) === 'a';
        for (let step = 0; step < 3 || (isHeld && state.held); step++) {
          for (const over = performance.now() + 1; performance.now() < over; );
          yield;
        }
        return yield* evaluateInSteps(...given);
      } finally {
        state.ended++;
      }
    },
  };
  const sockets: Socket[] = [];
  opened({
    async close() {
      state.held = false;
      for (const socket of sockets) socket.destroy();
    },
  });
  /** Sends one request on a connection of its own. */
  const send = async (address: string, credential = '64a0', key = 'a'): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    await once(socket, 'connect');
    const [prefix, header] =
      credential === '64a0' ? ['/sdk/evalx/64a0', ''] : ['/msdk/evalx', `Authorization: ${credential}\r\n`];
    socket.write(
      `GET ${prefix}/contexts/${pathOf(key)} HTTP/1.1\r\nHost: x\r\n${header}X-Forwarded-For: ${address}\r\n\r\n`,
    );
    return socket;
  };
  const statusOn = async (socket: Socket): Promise<number> => {
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    return Number(bytes.toString().split(' ')[1]);
  };
  return { state, send, statusOn, bodies, server };
}

test('few evaluations are in progress at once, and what they hold counts until their end @heavy', async () => {
  const { state, send, statusOn, bodies } = await start();
  const sockets = await Promise.all(Array.from({ length: 24 }, (_, index) => send(`192.0.2.${index % 12}`)));
  const statuses = await Promise.all(sockets.map(statusOn));
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(state.most).toBeLessThanOrEqual(4);
  expect(state.mostBytes).toBeGreaterThan(FLAGS * 80);
  expect(bodies.usedBytes).toBe(0);
});

test('of one address an evaluation that has begun comes to its end before the next one begins @heavy', async () => {
  const { state, send, statusOn } = await start();
  const sockets = await Promise.all(Array.from({ length: 8 }, () => send('192.0.2.1')));
  await Promise.all(sockets.map(statusOn));
  expect(state.most).toBe(1);
});

test('long evaluations of other addresses hold up nobody @heavy', async () => {
  // Each is a long one after its first slice.
  const { state, send, statusOn } = await start(0);
  state.held = true;
  const sockets = await Promise.all(Array.from({ length: 8 }, (_, index) => send(`192.0.2.${index}`)));
  await eventually(() => expect(state.begun).toBe(8));
  expect(await statusOn(await send('198.51.100.1', '64a0', 'b'))).toBe(200);
  expect(state.ended).toBe(1);
  state.held = false;
  expect(await Promise.all(sockets.map(statusOn))).toEqual(Array(8).fill(200));
});

test('long evaluations that wait are given up when their clients leave', async () => {
  const { state, send, statusOn, bodies } = await start(0);
  state.held = true;
  const sockets = await Promise.all(Array.from({ length: 8 }, (_, index) => send(`192.0.2.${index}`)));
  await eventually(() => expect(state.begun).toBe(8));
  for (const socket of sockets) socket.destroy();
  await eventually(() => expect(bodies.usedBytes).toBe(0));
  state.held = false;
  expect(await statusOn(await send('192.0.2.1'))).toBe(200);
});

test('evaluations for mobile SDKs do not wait for those of browsers @heavy', async () => {
  const { state, send, statusOn } = await start();
  state.held = true;
  const sockets = await Promise.all(Array.from({ length: 8 }, (_, index) => send(`192.0.2.${index}`)));
  await eventually(() => expect(state.begun).toBe(4));
  const mobile = await send('192.0.2.1', 'mob-key');
  await eventually(() => expect(state.begun).toBe(5));
  state.held = false;
  expect(await Promise.all([...sockets, mobile].map(statusOn))).toEqual(Array(9).fill(200));
});

test('clients that have left are not evaluated for, and those in progress are given up @heavy', async () => {
  const { state, send, statusOn, bodies, server } = await start();
  state.held = true;
  const sockets = await Promise.all(Array.from({ length: 40 }, (_, index) => send(`192.0.2.${index}`)));
  await eventually(() => expect(state.begun).toBe(4));
  for (const socket of sockets) socket.destroy();
  // Some requests may not have been read when the memory of the others is free again.
  await eventually(() => expect(server.answers.filter(({ status }) => status === 499)).toHaveLength(40));
  expect(bodies.usedBytes).toBe(0);
  state.held = false;
  expect(await statusOn(await send('198.51.100.1'))).toBe(200);
  expect(state.begun).toBe(5);
});

test('a request that finds too many evaluations of its address waiting gets 503, and others do not @heavy', async () => {
  const { state, send, statusOn, server } = await start();
  state.held = true;
  const holding = await Promise.all(Array.from({ length: 4 }, (_, index) => send(`192.0.2.${index}`)));
  await eventually(() => expect(state.begun).toBe(4));
  const line = server.evaluations.environmentId;
  const waiting = Array.from({ length: 3_100 }, () =>
    line.enter(['production', '203.0.113.1'], (place) => place.leave()),
  );
  expect(await statusOn(await send('203.0.113.1'))).toBe(503);
  const other = await send('198.51.100.1');
  for (const giveUp of waiting) giveUp();
  state.held = false;
  expect(await Promise.all([...holding, other].map(statusOn))).toEqual(Array(5).fill(200));
});
