/**
 * Random requests with one fault or several; `SEED=7 npx jest bad-requests` repeats a run. Each one gets a 4xx whose JSON
 * says what is wrong. 200 of them, 2,000 with LONG=1.
 */
import { connect } from 'node:net';
import { deflateSync, gzipSync } from 'node:zlib';
import { PATIENCE_MS } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';
import { startServer } from './start-server.ts';

const COUNT = process.env.LONG ? 2_000 : 200;
const seed = process.env.SEED ?? String(Date.now());
const LIMIT = 64 * 1024;
const bomb = gzipSync(Buffer.alloc(32 * 1024 * 1024));

interface BadRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Sends the bytes in pieces, one per turn of the event loop. */
  readonly slow: boolean;
  /** What is wrong with it. */
  readonly fault: string;
}

const goodContext = '{"kind":"user","key":"alice"}';
const json = { 'content-type': 'application/json' };
const evaluating = ['/sdk/evalx/64a0', '/msdk/evalx', '/sdk/evalx'];
const authorizationFor = (path: string): Record<string, string> =>
  /^\/(?:msdk|meval|mping|mobile|sdk\/(?:poll|stream)\/eval)/.test(path)
    ? { authorization: 'mob-key' }
    : /64a0/.test(path)
      ? {}
      : { authorization: 'sdk-key' };

class BadRequests extends RandomChoices {
  private readonly faults: readonly (() => Omit<BadRequest, 'slow'>)[] = [
    () =>
      this.inBody(
        'bad JSON',
        this.pick(['{', '{"kind":"user","key":}', 'undefined', '{}}', "{'key':1}", '\u0000', 'NaN']),
      ),
    () => this.inBody('bad context', this.badContext()),
    () => this.inBody('not UTF-8', Buffer.from([0x7b, 0x22, this.whole(0x80, 0xbf), 0x22, 0x7d])),
    () => this.inBody('random bytes', Buffer.from(this.times(this.whole(1, 200), () => this.whole(0x80, 0xff)))),
    () => this.inBody('too deep', '['.repeat(this.whole(101, 20_000))),
    () => this.inBody('above the limit', Buffer.alloc(LIMIT + this.whole(1, LIMIT), 0x20)),
    () => this.inBody('a gzip bomb', bomb, { 'content-encoding': 'gzip' }),
    () => this.inBody('bad gzip', goodContext, { 'content-encoding': this.pick(['gzip', 'br', 'deflate', 'x-gzip']) }),
    () => {
      const packed = deflateSync(Buffer.from(goodContext.repeat(9)));
      return this.inBody('half a body', packed.subarray(0, this.whole(1, packed.length - 8)), {
        'content-encoding': 'deflate',
      });
    },
    () =>
      this.inBody('bad encoding', goodContext, {
        'content-encoding': this.pick(['zip', 'gzip, gzip', '*', 'zstd', '__proto__']),
      }),
    () =>
      this.inBody('bad type', goodContext, {
        'content-type': this.pick(['text/plain', 'application/xml', '', ';', 'json']),
      }),
    () =>
      this.inPath(
        'bad base64',
        this.pick(['e', '%00', '!', 'eyJ%20', '%F0%9F%98%80', 'e30=e30', '%2e', 'a'.repeat(5)]),
      ),
    () => this.inPath('bad JSON', Buffer.from(this.pick(['{', 'x', '"', '[1', ''.padEnd(9)])).toString('base64url')),
    () => this.inPath('bad context', Buffer.from(this.badContext()).toString('base64url')),
    () => this.inPath('bad percent', this.pick(['%', '%z', '%ff', '%c3%28', '%e2%82'])),
    () => this.events('bad events', this.pick(['[', '{"a":', 'null', '1', 'x', ' ', '[]]', '"[]"'])),
    () => this.events('no events', ''),
    () => this.events('above the limit', Buffer.alloc(LIMIT + this.whole(1, LIMIT), 0x5b)),
    () => this.events('a gzip bomb', bomb, { 'content-encoding': 'gzip' }),
    () => ({
      ...this.get('/sdk/latest-all'),
      fault: 'bad credential',
      headers: { authorization: this.badCredential() },
    }),
    () => ({ ...this.get(`/${this.noise()}`), fault: 'no such address' }),
    () => ({
      ...this.get('/sdk/flags'),
      method: this.pick(['PUT', 'DELETE', 'PATCH', 'PROPFIND', 'TRACE']),
      fault: 'bad method',
    }),
    () => ({ ...this.get('/livez'), headers: { x: 'y'.repeat(70_000) }, fault: 'a head too large' }),
    () => ({ ...this.get('/livez'), headers: { 'bad name': 'x' }, fault: 'bad header name' }),
    () => ({
      ...this.get('/livez'),
      headers: { 'content-length': this.pick(['-1', 'x', '1, 2']) },
      fault: 'bad length',
    }),
    () => ({ ...this.get('/livez'), method: this.pick(['get', 'G T', '\u0001']), fault: 'no method' }),
    () => ({
      ...this.inBody('bad chunks', `${this.pick(['zz', '-1', '', 'g;x', '1\r\nab'])}\r\n`),
      headers: { ...json, 'transfer-encoding': 'chunked' },
      path: '/eval/64a0',
    }),
  ];

  next(): BadRequest {
    return { ...this.pick(this.faults)(), slow: this.chance(0.1) };
  }

  private inBody(fault: string, body: string | Buffer, more: Record<string, string> = {}): Omit<BadRequest, 'slow'> {
    const path = this.pick([
      ...evaluating.flatMap((prefix) => [`${prefix}/context`, `${prefix}/user`]),
      '/eval/64a0',
      '/meval',
      '/sdk/poll/eval',
      '/sdk/stream/eval',
    ]);
    const bytes = Buffer.from(body);
    const headers = { ...json, ...authorizationFor(path), 'content-length': String(bytes.length), ...more };
    return { method: this.pick(['REPORT', 'POST']), path, headers, body: bytes, fault };
  }

  private inPath(fault: string, text: string): Omit<BadRequest, 'slow'> {
    const prefix = this.pick([
      ...evaluating.flatMap((before) => [`${before}/contexts`, `${before}/users`]),
      '/eval/64a0',
      '/meval',
      '/sdk/poll/eval',
      '/sdk/stream/eval',
    ]);
    return { ...this.get(`${prefix}/${text}`), fault };
  }

  private events(fault: string, body: string | Buffer, more: Record<string, string> = {}): Omit<BadRequest, 'slow'> {
    const path = this.pick(['/bulk', '/diagnostic', '/mobile', '/mobile/events/diagnostic', '/events/bulk/64a0']);
    const bytes = Buffer.from(body);
    const headers = { ...json, ...authorizationFor(path), 'content-length': String(bytes.length), ...more };
    return { method: 'POST', path, headers, body: bytes, fault };
  }

  private get(path: string) {
    return { method: 'GET', path, headers: authorizationFor(path), body: Buffer.alloc(0) };
  }

  private badContext(): string {
    const key = this.pick<unknown>([undefined, null, '', 7, {}, [], true]);
    const kind = this.pick<unknown>(['user', 'multi', 'kind', 'a b', '', 7, [], 'ü']);
    return JSON.stringify(
      this.pick([{ kind, key }, { kind: 'multi', user: { key } }, { kind: 'multi', user: key }, key, [kind]]) ?? null,
    ).replace(/^(?:7|true)$/, '[7]');
  }

  private badCredential(): string {
    return this.pick([
      '',
      'Basic abc',
      'sdk-key sdk-key',
      'Bearer',
      'mob-key',
      'sdk-key\u00ff',
      'x'.repeat(5_000),
      '__proto__',
    ]);
  }

  private noise(): string {
    return this.times(this.whole(1, 5), () =>
      this.pick(['sdk', 'evalx', '%2F', 'contexts', 'ü', '~', '{key}', '*', 'a'.repeat(3_000)]),
    ).join('/');
  }
}

/** The raw answer, for what node's client refuses to send. */
function send(port: number, { method, path, headers, body, slow }: BadRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let heard = '';
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error(`not answered; so far: ${heard}`)));
    socket.on('data', (data) => {
      heard += data;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('close', () => resolve(heard));
    const lines = Object.entries({ host: 'a', connection: 'close', ...headers }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    const request = Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`), body]);
    if (!slow) {
      socket.write(request);
      return;
    }
    const step = Math.ceil(request.length / 8);
    const rest = (at: number) => {
      if (at >= request.length || socket.destroyed) return;
      socket.write(request.subarray(at, at + step), () => setImmediate(rest, at + step));
    };
    rest(0);
  });
}

test(`${COUNT} bad requests each get a 4xx with a reason and do not harm the relay (SEED=${seed})`, async () => {
  const requests = new BadRequests(randomFrom(seed));
  const server = await startServer({
    view: createMemory(flag('banner', 1)),
    server: { maxContextBytes: LIMIT, maxInboundPayloadBytes: LIMIT },
  });
  const heapAfter = async (count: number) => {
    for (let sent = 0; sent < count; sent += 10) {
      await Promise.all(
        Array.from({ length: 10 }, async () => {
          const request = requests.next();
          const text = await send(server.port, request);
          const [head = '', body = ''] = text.split('\r\n\r\n');
          const told = { seed, fault: request.fault, request: `${request.method} ${request.path.slice(0, 100)}`, head };
          expect(told).toEqual({ ...told, head: expect.stringMatching(/^HTTP\/1.1 4\d\d /) });
          expect({ ...told, message: JSON.parse(body).message }).toEqual({
            ...told,
            message: expect.stringMatching(/\w+ \w+/),
          });
        }),
      );
    }
    return process.memoryUsage();
  };
  try {
    const before = await heapAfter(COUNT / 2);
    const after = await heapAfter(COUNT / 2);
    expect(after.arrayBuffers + after.external - before.arrayBuffers - before.external).toBeLessThan(48 * 1024 * 1024);
    expect(server.logged).toEqual([]);
    expect([server.opened.length, server.environment.delivered.length]).toEqual([0, 0]);
    expect((await server.get('/livez')).status).toBe(200);
  } finally {
    await server.close();
  }
}, 600_000);
