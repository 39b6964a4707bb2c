import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { eventually, roomy } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { readStream, type StreamReader } from '../../support/read-stream.ts';
import { ask, base64url, json, say } from './ask.ts';
import { startServer, type TestServer, type TestServerOptions } from './start-server.ts';

const alice = JSON.stringify({ kind: 'user', key: 'alice', note: 'ÿ'.repeat(200) });
const bytes = Buffer.byteLength(alice);
let servers: TestServer[] = [];
let readers: StreamReader[] = [];
const start = async (options: TestServerOptions = {}) => {
  const server = await startServer({ view: createMemory(flag('banner', 1)), ...options });
  servers.push(server);
  return server;
};
const read = async (port: number, options: Omit<Parameters<typeof readStream>[0], 'port'>) => {
  const reader = await readStream({ port, ...options });
  readers.push(reader);
  return reader;
};
afterEach(async () => {
  for (const reader of readers) reader.close();
  await Promise.all(servers.map((server) => server.close()));
  servers = [];
  readers = [];
});

const addresses = [
  ['/eval/64a0', {}, 'eval', 'environmentId', '64a0'],
  ['/meval', { authorization: 'mob-key' }, 'eval', 'mobileKey', 'mob-key'],
  ['/sdk/stream/eval?auth=64a0', {}, 'ping', 'environmentId', '64a0'],
  ['/sdk/stream/eval', { authorization: 'api_key mob-key' }, 'ping', 'mobileKey', 'mob-key'],
] as const;

describe.each(addresses)('a stream on %s %j', (path, headers, kind, credentialKind, credential) => {
  const expected = (withReasons: boolean) =>
    expect.objectContaining({
      kind,
      credentialKind,
      credential,
      httpVersion: '1.1',
      address: '127.0.0.1',
      ...(kind === 'eval' && {
        withReasons,
        context: expect.objectContaining({ id: expect.any(String), bytes: expect.any(Number) }),
      }),
    });
  const [bare, query = ''] = path.split('?');

  test('opens in the same way by GET, REPORT and POST', async () => {
    const { port } = await start();
    const and = query ? '&' : '?';
    const got = await read(port, {
      path: `${bare}/${Buffer.from(alice).toString('base64url')}?${query}&withReasons=true`,
      headers,
    });
    const { headers: _headers, ...opening } = JSON.parse((await got.next()).data);
    expect(opening).toEqual(expected(true));
    for (const method of ['REPORT', 'POST']) {
      const sent = { ...json, ...headers, 'content-length': String(bytes) };
      const reader = await read(port, {
        method,
        path: `${path}${and}withReasons=true`,
        headers: sent,
        pipelined: alice,
      });
      expect(JSON.parse((await reader.next()).data)).toMatchObject(opening);
    }
  });

  test('gets a socket that nothing else reads from or writes to', async () => {
    const { port, opened } = await start();
    for (const method of ['REPORT', 'POST']) {
      const reader = await read(port, {
        method,
        path,
        headers: { ...json, ...headers, 'content-length': String(bytes) },
        pipelined: `${alice}GET /status HTTP/1.1\r\nHost: a\r\n\r\n`,
      });
      expect(JSON.parse((await reader.next()).data)).toEqual(expected(false));
      reader.socket.write('later');
      expect(await reader.next()).toEqual({ event: 'heard', data: '"later"' });
      const { socket } = opened.at(-1)!;
      expect(
        ['data', 'error', 'close', 'end', 'drain', 'timeout'].map((name) => [name, socket.listenerCount(name)]),
      ).toEqual(
        // Two of the fake stream; those for close and end are node:http's and node:net's.
        [
          ['data', 1],
          ['error', 1],
          ['close', expect.any(Number)],
          ['end', expect.any(Number)],
          ['drain', 0],
          ['timeout', 0],
        ],
      );
      expect((socket as { parser?: unknown }).parser ?? null).toBeNull();
    }
  });
});

const head = (more: string) =>
  `REPORT /eval/64a0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${more}\r\n\r\n`;
const chunked = (text: string, size: number) => {
  const raw = Buffer.from(text);
  let out = '';
  for (let at = 0; at < raw.length; at += size) {
    const piece = raw.subarray(at, at + size);
    out += `${piece.length.toString(16)};ext=1\r\n${piece.toString('latin1')}\r\n`;
  }
  return Buffer.from(`${out}0\r\nTrailer: x\r\n\r\n`, 'latin1');
};
const zipped = gzipSync(alice);

describe('the body of a stream request', () => {
  test.each([
    ['with a length', Buffer.concat([Buffer.from(head(`Content-Length: ${bytes}`)), Buffer.from(alice)])],
    ['in chunks', Buffer.concat([Buffer.from(head('Transfer-Encoding: chunked')), chunked(alice, 7)])],
    [
      'compressed',
      Buffer.concat([Buffer.from(head(`Content-Encoding: gzip\r\nContent-Length: ${zipped.length}`)), zipped]),
    ],
  ])('may arrive %s, in one piece or byte by byte', async (_, request) => {
    const { port, opened } = await start();
    expect(await say(port, request, (heard) => heard.includes('event: opening'))).toContain('event: opening');
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.setNoDelay(true);
    for (const byte of request) {
      socket.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => expect(opened.length).toBe(2));
    socket.destroy();
    expect(opened[0]!.opening).toMatchObject({ kind: 'eval', context: expect.anything() });
    expect(JSON.stringify(opened[1]!.opening)).toBe(JSON.stringify(opened[0]!.opening));
  });

  test('may arrive after 100 Continue', async () => {
    const { port } = await start();
    const socket = connect(port, '127.0.0.1');
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
    });
    socket.write(head(`Expect: 100-continue\r\nContent-Length: ${bytes}`));
    await eventually(() => expect(heard).toBe('HTTP/1.1 100 Continue\r\n\r\n'));
    socket.write(alice);
    await eventually(() => expect(heard).toContain('event: opening'));
    socket.destroy();
  });

  test('gets 408 if it never arrives', async () => {
    const { port } = await start({ server: { requestTimeoutMs: roomy(100), headersTimeoutMs: roomy(100) } });
    expect(await say(port, head('Content-Length: 9'))).toMatch(/^HTTP\/1.1 408 .*"message"/s);
  });

  test('opens nothing and harms nothing if the client leaves in the middle of it', async () => {
    const { port, opened, answers, logged } = await start();
    for (let i = 0; i < 20; i++) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(head('Content-Length: 900') + alice.slice(0, 20 * i), () =>
        i % 2 ? socket.resetAndDestroy() : socket.end(),
      );
    }
    await eventually(() => expect(answers.length).toBe(20));
    expect(answers.every(({ status }) => status === 400)).toBe(true);
    expect([opened.length, logged.length]).toEqual([0, 0]);
  });
});

describe('a rejected stream request gets a reason', () => {
  test.each([
    ['for a missing body', head('X: y'), 400, /empty/],
    ['for a body that is not a context', `${head('Content-Length: 2')}{}`, 400, /key/],
    ['for a chunk without a size', `${head('Transfer-Encoding: chunked')}zz\r\n`, 400, /chunk/],
    ['for a chunk longer than its size', `${head('Transfer-Encoding: chunked')}1\r\nabc\r\n0\r\n\r\n`, 400, /chunk/],
    ['for an endless chunk header', `${head('Transfer-Encoding: chunked')}1;${'x'.repeat(10_000)}`, 400, /line/],
    ['for a chunk size that is too large', `${head('Transfer-Encoding: chunked')}fffffffff\r\n`, 400, /chunk/],
    ['for a body that is not compressed', `${head('Content-Encoding: gzip\r\nContent-Length: 2')}{}`, 400, /gzip/],
    ['for an unknown encoding', `${head('Content-Encoding: zip\r\nContent-Length: 2')}{}`, 415, /gzip, deflate or br/],
  ])('%s', async (_, request, status, reason) => {
    const { port, opened, get } = await start();
    const text = await say(port, request);
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(JSON.parse(text.split('\r\n\r\n')[1]!).message).toMatch(reason);
    expect(text).toMatch(/^access-control-allow-origin: \*\r$/im);
    expect(opened).toEqual([]);
    expect((await get('/livez')).status).toBe(200);
  });

  test('for a body above the limit, even if the client sends all of it first', async () => {
    const { port } = await start({ server: { maxContextBytes: bytes } });
    expect((await ask(port, 'REPORT', '/eval/64a0', { headers: json, body: alice })).status).toBe(200);
    for (const body of [`${alice} `, 'x'.repeat(3_000_000)]) {
      const framings: Record<string, string>[] = [
        { 'content-length': String(Buffer.byteLength(body)) },
        { 'transfer-encoding': 'chunked' },
      ];
      for (const framing of framings) {
        const answer = await ask(port, 'REPORT', '/eval/64a0', { headers: { ...json, ...framing }, body });
        expect([answer.status, answer.json().message]).toEqual([413, expect.stringContaining(String(bytes))]);
      }
    }
  });

  test('while the relay is closing', async () => {
    const server = await start();
    const socket = connect(server.port, '127.0.0.1');
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
    });
    socket.write(head(`Expect: 100-continue\r\nContent-Length: ${bytes}`));
    await eventually(() => expect(heard).toContain('100 Continue'));
    const closed = server.server.close(5_000);
    socket.write(alice);
    await closed;
    await eventually(() => expect(heard).toMatch(/^HTTP\/1.1 503 .*retry-after/ims));
  });
});

test('HEAD of a stream returns its content type and checks the context', async () => {
  const { port, opened } = await start();
  const good = await ask(port, 'HEAD', `/eval/64a0/${base64url({ kind: 'user', key: 'a' })}`);
  expect([good.status, good.headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8']);
  expect((await ask(port, 'HEAD', `/eval/64a0/${base64url({})}`)).status).toBe(400);
  expect(opened).toEqual([]);
});
