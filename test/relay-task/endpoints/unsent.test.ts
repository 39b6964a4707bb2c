/** Answers that nobody reads, and heads of requests that wait: what they may take in memory. */
import { connect, type Socket } from 'node:net';
import { createBudget } from '../../../relay-task/common/budget.ts';
import type { ServedEnvironment } from '../../../relay-task/endpoints/services.ts';
import { eventually } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startServer, type TestServerOptions } from './start-server.ts';

const { opened, behind } = closeAfterEach();
/** More than a socket of the loopback interface takes while nobody reads. */
const ANSWER_BYTES = 16 * 1024 * 1024;
const context = Buffer.from('{"kind":"user","key":"a"}').toString('base64url');

async function start(options: TestServerOptions = {}) {
  const answers = createBudget(8 * ANSWER_BYTES);
  const unlimited = createBudget(Infinity);
  const server = opened(
    await startServer({ server: { memory: { connections: unlimited, bodies: unlimited, answers } }, ...options }),
  );
  return { ...server, answers };
}

function open(port: number): Socket & { readonly heard: () => string } {
  const socket = connect(port, '127.0.0.1');
  behind(() => socket.destroy());
  let heard = '';
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    heard += bytes.toString('latin1');
  });
  return Object.assign(socket, { heard: () => heard });
}

const large = createMemory(flag('f', 1, { variations: ['x'.repeat(ANSWER_BYTES), 'y'] }));
const poll = (address: string) =>
  `GET /sdk/evalx/64a0/contexts/${context} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${address}\r\n\r\n`;

test('answers that are not read count, an address gets no more than its share, and others get theirs', async () => {
  const { port, answers } = await start({ view: large });
  const idle: Socket[] = [];
  for (let i = 0; i < 2; i++) {
    const socket = open(port).pause();
    socket.write(poll('192.0.2.1'));
    idle.push(socket);
    await eventually(() => expect(answers.usedBytes).toBeGreaterThan((i + 1) * ANSWER_BYTES));
  }
  const third = open(port);
  third.write(poll('192.0.2.1'));
  await eventually(() => expect(third.heard()).toContain('503 Service Unavailable'));
  expect(third.heard()).toMatch(/Retry-After: \d/);
  const other = open(port);
  other.write(poll('198.51.100.1'));
  await eventually(() => expect(other.heard()).toContain('200 OK'));
  for (const socket of [...idle, other]) socket.destroy();
  await eventually(() => expect(answers.usedBytes).toBe(0));
});

test('what all server SDKs get is counted for none of them', async () => {
  const { port, answers } = await start({ view: large });
  const idle = open(port).pause();
  idle.write('GET /sdk/latest-all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n');
  const reads = open(port);
  reads.write('GET /sdk/latest-all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n');
  await eventually(() => expect(reads.heard().length).toBeGreaterThan(ANSWER_BYTES));
  expect(answers.usedBytes).toBe(0);
});

test('of requests that wait behind another one, no more than 16 KiB of heads are taken', async () => {
  let answer: (() => void) | undefined;
  let slow: ServedEnvironment | undefined;
  const { port, get: ask } = await start({
    view: createMemory(flag('f', 1)),
    find: (_kind, _credential, _filter, environment) => {
      slow ??= {
        ...environment,
        view: environment.view,
        goals: () =>
          new Promise((resolve) => {
            answer = () => resolve({ status: 200, headers: {}, body: Buffer.from('goals') });
          }),
      };
      return { environment: slow };
    },
  });
  const socket = open(port);
  const get = (path: string, padding = 0) =>
    `GET ${path} HTTP/1.1\r\nHost: a\r\nX-Padding: ${'x'.repeat(padding)}\r\n\r\n`;
  socket.write(get('/sdk/goals/64a0'));
  await eventually(() => expect(answer).toBeDefined());
  socket.write(get('/livez', 6_000) + get('/livez', 6_000) + get('/livez', 6_000) + get('/livez'));
  // By then they have arrived, too.
  for (let i = 0; i < 3; i++) await ask('/readyz');
  answer?.();
  await eventually(() =>
    expect(socket.heard().match(/HTTP\/1\.1 \d+/g)).toEqual([
      'HTTP/1.1 200',
      'HTTP/1.1 200',
      'HTTP/1.1 200',
      'HTTP/1.1 503',
    ]),
  );
});
