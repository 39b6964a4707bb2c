/** Answers that are compressed, answers that nobody reads, and heads of requests that wait: what they may take in memory. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { type Compress, createAnswers } from '../../../relay-task/endpoints/answers.ts';
import { bodyOf } from '../../../relay-task/endpoints/encoding.ts';
import { lengthOf } from '../../../relay-task/endpoints/reply.ts';
import { represent } from '../../../relay-task/endpoints/represent.ts';
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

test('answers that are not read count, an address gets no more than its share, and others get theirs @heavy', async () => {
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

test('what all server SDKs get is counted for none of them @heavy', async () => {
  const { port, answers } = await start({ view: large });
  const idle = open(port).pause();
  idle.write('GET /sdk/latest-all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n');
  const reads = open(port);
  reads.write('GET /sdk/latest-all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n');
  await eventually(() => expect(reads.heard().length).toBeGreaterThan(ANSWER_BYTES));
  expect(answers.usedBytes).toBe(0);
});

test('of requests that wait behind another one, no more than 32 KiB of heads are taken', async () => {
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
  socket.write(get('/livez', 12_000) + get('/livez', 12_000) + get('/livez', 12_000) + get('/livez'));
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

describe('compression', () => {
  const KIB = 1024;
  const never = () => new Promise<Buffer>(() => {});
  const text = randomBytes(100 * KIB).toString('base64');
  const headers = { 'accept-encoding': 'br' };

  test('an answer counts before it is compressed, and what it takes afterwards is its compressed size', async () => {
    const budget = createBudget(1_000 * KIB);
    const answer = createAnswers(budget).open('client', ['id', 'address']);
    const seen: number[] = [];
    const { compress: inTurn } = answer;
    const compress: Compress = (body, job) => {
      seen.push(body.raw.length, budget.usedBytes);
      return inTurn(body, job);
    };
    const request = { headers, answer: Object.assign(answer, { compress }) };
    const reply = await represent(request, { digest: 'd', body: () => bodyOf(text) });
    expect(seen).toEqual([text.length, text.length]);
    expect(reply.headers).toMatchObject({ 'Content-Encoding': 'br', ETag: '"d-br"' });
    answer.count(lengthOf(reply));
    expect(budget.usedBytes).toBe(lengthOf(reply));
    expect(budget.usedBytes).toBeLessThan(text.length);
    answer.release();
    expect(budget.usedBytes).toBe(0);
  });

  test('an answer for which there is no memory is refused before it is compressed', async () => {
    const budget = createBudget(1_000 * KIB);
    budget.hold(950 * KIB);
    const answer = createAnswers(budget).open('client', ['id', 'address']);
    const compress = jest.fn();
    const request = { headers, answer: Object.assign(answer, { compress }) };
    const representing = represent(request, { digest: 'd', body: () => bodyOf(text) });
    await expect(representing).rejects.toMatchObject({
      reply: { status: 503, headers: { 'Retry-After': expect.stringMatching(/^\d+$/) } },
    });
    expect(compress).not.toHaveBeenCalled();
  });

  test('few answers are compressed at once, those of server SDKs beside those of others', async () => {
    const answers = createAnswers(createBudget(Infinity));
    const begun: string[] = [];
    const compress = (kind: 'server' | 'client', name: string) =>
      answers.open(kind, [`${kind} ${name}`, name]).compress(bodyOf('x'.repeat(100 * KIB)), () => {
        begun.push(kind);
        return never();
      });
    for (let i = 0; i < 20; i++) expect(compress('client', String(i))).toBeDefined();
    expect(compress('server', 'a')).toBeDefined();
    await eventually(() => expect(new Set(begun)).toEqual(new Set(['client', 'server'])));
    expect(begun.length).toBeLessThanOrEqual(3);
  });

  test('when much is being compressed, a flood gets its answers as they are, and others still get theirs compressed', async () => {
    const answers = createAnswers(createBudget(Infinity));
    const body = bodyOf('x'.repeat(512 * KIB));
    const flood = answers.open('client', ['id', 'flood']);
    let waiting = 0;
    while (flood.compress(body, never)) waiting++;
    expect(waiting).toBeGreaterThan(4);
    expect(waiting * body.raw.length).toBeLessThan(8 * KIB * KIB);
    expect(answers.open('client', ['another', 'address']).compress(body, never)).toBeDefined();
    const reply = await represent({ headers, answer: flood }, { digest: 'd', body: () => body });
    expect(reply.headers).toMatchObject({ ETag: '"d"' });
    expect(reply.headers).not.toHaveProperty('Content-Encoding');
    expect(reply.body).toHaveLength(body.raw.length);
  });

  test('the largest answer is compressed when nothing else is', () => {
    const answer = createAnswers(createBudget(Infinity)).open('client', ['id', 'address']);
    const body = bodyOf('x'.repeat(20 * KIB * KIB));
    expect(answer.compress(body, never)).toBeDefined();
    expect(answer.compress(body, never)).toBeUndefined();
    // It is compressed once, for many.
    expect(answer.compress({ raw: { length: KIB }, isShared: true }, never)).toBeDefined();
  });
});
