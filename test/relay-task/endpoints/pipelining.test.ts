/** Requests that are sent without waiting for the answers before them (RFC 9112 section 9.3.2). */
import { connect } from 'node:net';
import { eventually, turnsOfLoop } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { say } from './ask.ts';
import { startServer, type TestServerOptions } from './start-server.ts';

const { opened, behind } = closeAfterEach();
const start = async (options: TestServerOptions = {}) =>
  opened(await startServer({ view: createMemory(flag('banner', 1)), ...options }));

/** Says it, and keeps the connection. */
const talk = (port: number, bytes: string) => {
  const socket = connect(port, '127.0.0.1');
  behind(() => socket.destroy());
  const heard = { text: '', over: false, socket };
  socket.on('error', () => {});
  socket.on('data', (data) => {
    heard.text += data.toString('latin1');
  });
  socket.on('close', () => {
    heard.over = true;
  });
  socket.write(bytes);
  return heard;
};
const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n${more}\r\n`;
const post = (path: string, body: string, more = `Content-Length: ${body.length}\r\n`) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: sdk-key\r\n${more}\r\n${body}`;
const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d\d\d)/g)].map(([, status]) => status);
const alice = '{"kind":"user","key":"alice"}';

/** Big Segments that answer when they are told to, in the order of the requests. */
const slow = async () => {
  const server = await start();
  const waiting: (() => void)[] = [];
  server.environment.bigSegment = {
    wait: () => new Promise((resolve) => waiting.push(() => resolve({} as never))),
    flag: '',
    value: 0,
  };
  const path = `/sdk/evalx/contexts/${Buffer.from(alice).toString('base64url')}`;
  return { ...server, waiting, path };
};

test('a stream opens after the answers to earlier requests, and nothing is lost or mixed', async () => {
  const { port } = await start();
  for (const before of [['/status'], ['/status', '/nothing', '/sdk/latest-all', '/livez']]) {
    const heard = talk(port, `${before.map((path) => get(path)).join('')}${get('/all')}`);
    await eventually(() => expect(heard.text).toContain('event: put'));
    const answers = before.map((path) => (path === '/nothing' ? '404' : '200'));
    expect(statuses(heard.text)).toEqual([...answers, '200']);
    expect(heard.text.indexOf('healthy')).toBeLessThan(heard.text.indexOf('text/event-stream'));
    expect(heard.text.lastIndexOf('HTTP/1.1')).toBeLessThan(heard.text.indexOf('event: put'));
  }
});

test('a stream waits for a slow answer, and later streams and requests are dropped', async () => {
  const { port, waiting, path, hub } = await slow();
  const heard = talk(port, `${get(path)}${get('/status')}${get('/all')}${get('/flags')}${get('/livez')}`);
  await eventually(() => expect(waiting).toHaveLength(1));
  expect([heard.text, hub.connections]).toEqual(['', 0]);
  waiting.shift()!();
  await eventually(() => expect(heard.text).toContain('event: put'));
  expect(statuses(heard.text)).toEqual(['200', '200', '200']);
  expect(heard.text).not.toContain('"alive"');
});

test('a large answer is written completely before a stream begins @heavy', async () => {
  const filler = 'x'.repeat(8 * 1024 * 1024);
  const { port, hub } = await start({ view: createMemory(flag('banner', 1, { filler })) });
  const heard = talk(port, `${get('/sdk/latest-all')}${get('/nothing')}${get('/all')}`);
  heard.socket.pause();
  await eventually(() => expect(heard.socket.bytesWritten).toBeGreaterThan(0));
  expect(hub.connections).toBe(0);
  heard.socket.resume();
  await eventually(() => expect(heard.text.split(filler)).toHaveLength(3));
  const [first, between] = heard.text.split(filler);
  expect([statuses(first!), statuses(between!)]).toEqual([['200'], ['404', '200']]);
});

test('a stream with a body opens behind requests with bodies, however the bytes arrive', async () => {
  const { port, environment, opened: streams } = await start();
  const events = post('/bulk', '[{"kind":"identify"}]');
  const chunks = post('/eval/64a0', `1d\r\n${alice}\r\n0\r\n\r\n`, 'Transfer-Encoding: chunked\r\n');
  const all = `${events}${get('/status')}${events}${chunks}`;
  for (const size of [all.length, 1_000, 97]) {
    const before = [streams.length, environment.delivered.length] as const;
    const heard = talk(port, '');
    const rest = (at: number) => {
      if (at < all.length) heard.socket.write(all.slice(at, at + size), () => setImmediate(rest, at + size));
    };
    rest(0);
    await eventually(() => expect(heard.text).toContain('event: opening'));
    expect(statuses(heard.text)).toEqual(['202', '200', '202', '200']);
    expect([streams.length, environment.delivered.length]).toEqual([before[0] + 1, before[1] + 2]);
  }
});

test('a stream does not open behind an answer after which the connection closes', async () => {
  const { port, opened: streams, hub } = await start();
  for (const text of [
    await say(port, `${get('/status', 'Connection: close\r\n')}${get('/all')}`),
    await say(port, `GET /status HTTP/1.0\r\n\r\n${get('/all')}`),
    await say(port, `GET /status HTTP/1.1\r\n\r\n${get('/all')}`),
  ]) {
    expect(statuses(text)).toHaveLength(1);
    expect(text).not.toContain('text/event-stream');
  }
  expect([streams.length, hub.connections]).toEqual([0, 0]);
});

test('bytes that are no request get 400 after the answers before them', async () => {
  const { port, waiting, path } = await slow();
  const heard = talk(port, `${get(path)}${get('/status')}nonsense\r\n\r\nmore\r\n\r\n`);
  await eventually(() => expect(waiting).toHaveLength(1));
  heard.socket.write('still more\r\n\r\n');
  expect(heard.text).toBe('');
  waiting.shift()!();
  await eventually(() => expect(heard.over).toBe(true));
  expect(statuses(heard.text)).toEqual(['200', '200', '400']);
});

test('a body that is no HTTP gets 400 in the place of its request', async () => {
  const { port, waiting, path } = await slow();
  const broken = post('/bulk', 'zz\r\n', 'Transfer-Encoding: chunked\r\n');
  expect(statuses(await say(port, broken))).toEqual(['400']);
  const heard = talk(port, `${get(path)}${broken}`);
  await eventually(() => expect(waiting).toHaveLength(1));
  waiting.shift()!();
  await eventually(() => expect(heard.over).toBe(true));
  expect(statuses(heard.text)).toEqual(['200', '400']);
});

test('a bad body is no reason to interrupt the answer that does not need it @heavy', async () => {
  const filler = 'x'.repeat(8 * 1024 * 1024);
  const { port } = await start({ view: createMemory(flag('banner', 1, { filler })) });
  const heard = talk(port, get('/sdk/latest-all', 'Transfer-Encoding: chunked\r\n'));
  // Its end must not be there before the bad body is.
  heard.socket.once('data', () => heard.socket.pause());
  await eventually(() => expect(heard.text).not.toBe(''));
  heard.socket.write('zz\r\n');
  await turnsOfLoop();
  heard.socket.resume();
  await eventually(() => expect(heard.over).toBe(true));
  expect(statuses(heard.text)).toEqual(['200']);
  expect(heard.text).toContain(filler);
});

test('at most 32 requests of a connection are taken; the next one gets 503 behind their answers', async () => {
  const { port, waiting, path, answers } = await slow();
  const heard = talk(port, `${get(path)}${get('/livez').repeat(5_000)}`);
  await eventually(() => expect(waiting).toHaveLength(1));
  expect(answers).toHaveLength(0);
  waiting.shift()!();
  await eventually(() => expect(heard.over).toBe(true));
  expect(statuses(heard.text)).toEqual([...Array(32).fill('200'), '503']);
  expect(heard.text).toMatch(/retry-after/i);
  expect(answers).toHaveLength(32);
});

const long = 'x'.repeat(50_000);
test.each([
  ['a long target', get(`/all?${long}`)],
  ['many header fields', get('/all', `${'a:b\r\n'.repeat(240)}X-Padding: ${'x'.repeat(24_000)}\r\n`)],
  ['a long body', post('/eval/64a0', long)],
])('a request for a stream with %s is not kept behind an answer', async (_, request) => {
  const { port, waiting, path, hub, opened: streams } = await slow();
  const heard = talk(port, get(path) + request);
  await eventually(() => expect(waiting).toHaveLength(1));
  waiting.shift()!();
  await eventually(() => expect(heard.over).toBe(true));
  expect(statuses(heard.text)).toEqual(['200', '503']);
  expect(heard.text).toMatch(/retry-after/i);
  expect([hub.connections, streams.length]).toEqual([0, 0]);
});

test('a stream opens behind an answer whatever comes after it', async () => {
  const { port, waiting, path } = await slow();
  const heard = talk(port, get(path) + get('/all') + long);
  await eventually(() => expect(waiting).toHaveLength(1));
  waiting.shift()!();
  await eventually(() => expect(heard.text).toContain('event: put'));
  expect(statuses(heard.text)).toEqual(['200', '200']);
});

test('answers are made one at a time, so that a client that reads none costs one @heavy', async () => {
  const filler = 'x'.repeat(8 * 1024 * 1024);
  const { port, answers, environment } = await start({ view: createMemory(flag('banner', 1, { filler })) });
  const path = `/sdk/evalx/contexts/${Buffer.from(alice).toString('base64url')}`;
  const heard = talk(port, `${get('/sdk/latest-all')}${get(path).repeat(20)}`);
  heard.socket.pause();
  await eventually(() => expect(answers).toHaveLength(1));
  await turnsOfLoop();
  expect(environment.evaluations).toBe(0);
  heard.socket.resume();
  await eventually(() => expect(answers).toHaveLength(21));
});
