import { connect } from 'node:net';
import { roomy, until } from '../../support/eventually.ts';
import { flag, segment, tombstone } from '../../support/items.ts';
import { silentLog } from '../../support/logs.ts';
import { createMemory } from '../../support/memory.ts';
import { readStream } from '../../support/read-stream.ts';
import { say } from './ask.ts';
import { startServer, type TestServer, type TestServerOptions } from './start-server.ts';

let open: TestServer[] = [];
const start = async (options?: TestServerOptions) => {
  const test = await startServer(options);
  open.push(test);
  return test;
};
afterEach(async () => {
  await Promise.all(open.map((test) => test.close()));
  open = [];
});
const items = () => [
  flag('banner', 7),
  tombstone('features', 'gone', 3),
  segment('beta', 2),
  tombstone('segments', 'old', 9),
];
const authorization = { authorization: 'sdk-key' };
/** An answer to the first request proves that the server has read the start of the second. */
const ONE_AND_A_HALF_REQUESTS = 'GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n';

describe('a request path', () => {
  test('gets 404 in JSON if unknown, 301 to its clean form, and 400 if it cannot be decoded', async () => {
    const { get, port } = await start();
    for (const path of ['/', '/nothing', '/all/more', '/sdk/flags/a/b', '/ALL']) {
      const response = await get(path);
      expect([path, response.status, response.headers.get('content-type')]).toEqual([path, 404, 'application/json']);
      expect(await response.json()).toEqual({ message: expect.any(String) });
    }
    for (const [path, location] of [
      ['//all', '/all'],
      ['/sdk//flags/?a=//', '/sdk/flags/?a=//'],
      ['/sdk/../all', '/all'],
      ['/./all', '/all'],
      ['//evil.example/x', '/evil.example/x'],
      ['/../../x', '/x'],
    ] as const) {
      const text = await say(port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      expect([path, text.slice(9, 12), /^location: (.*)\r$/im.exec(text)?.[1]]).toEqual([path, '301', location]);
    }
    expect((await get('/sdk/flags/%zz', { headers: authorization })).status).toBe(400);
    expect((await get('/sdk/flags/%ff', { headers: authorization })).status).toBe(400);
  });

  test('is percent-decoded, so that a key may contain a slash', async () => {
    const { get } = await start({ view: createMemory(flag('a/b ü', 1)) });
    expect(await (await get('/sdk/flags/a%2Fb%20%C3%BC', { headers: authorization })).json()).toMatchObject({
      key: 'a/b ü',
    });
  });
});

describe("a server SDK's request", () => {
  test.each([
    ['sdk-key', 200],
    ['api_key sdk-key', 200],
    ['Bearer sdk-key', 200],
    ['bearer   sdk-key', 200],
    ['', 401],
    ['api_key', 401],
    ['Basic sdk-key', 401],
    ['sdk-key sdk-key', 401],
    ['mob-key', 401],
    ['sdk-other', 401],
  ])('with Authorization "%s" gets %i on streams and polls', async (text, status) => {
    const { port } = await start();
    for (const path of ['/all', '/sdk/latest-all']) {
      const reader = await readStream({ port, path, headers: { authorization: text } });
      expect([path, reader.status]).toEqual([path, status]);
      if (status === 401) {
        await reader.ended;
        expect(JSON.parse(reader.body())).toEqual({ message: expect.any(String) });
      }
      reader.close();
    }
  });

  test('gets 503 with Retry-After while its key is not known yet, and 404 for an unknown filter', async () => {
    const { get } = await start({
      find: (_kind, _credential, filter) => (filter === 'x' ? 'unknown-filter' : 'not-yet'),
    });
    for (const path of ['/all', '/flags', '/sdk/latest-all', '/sdk/flags', '/sdk/flags/a', '/sdk/segments/a']) {
      const response = await get(path, { headers: authorization });
      expect([path, response.status]).toEqual([path, 503]);
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
      expect((await get(`${path}?filter=x`, { headers: authorization })).status).toBe(404);
    }
  });

  test('gets 503 on polls without data while streams wait; once upstream rejects the key, both get 503', async () => {
    const { get, port, environment, streams, view } = await start({ view: createMemory() });
    const polls = [
      '/sdk/latest-all',
      '/sdk/latest-flags',
      '/sdk/latest-segments',
      '/sdk/flags',
      '/sdk/flags/a',
      '/sdk/segments/a',
    ];
    for (const path of polls) {
      const response = await get(path, { headers: authorization });
      expect([path, response.status, response.headers.has('retry-after')]).toEqual([path, 503, true]);
    }
    const waiting = await readStream({ port, path: '/all', headers: authorization });
    expect(waiting.status).toBe(200);
    environment.refused = true;
    for (const path of [...polls, '/all', '/flags']) {
      const response = await get(path, { headers: authorization });
      expect([path, response.status, response.headers.has('retry-after')]).toEqual([path, 503, true]);
    }
    streams.publish(view.put([flag('a', 1)]));
    expect((await waiting.next()).event).toBe('put');
    for (const path of ['/sdk/latest-all', '/sdk/flags/a'])
      expect((await get(path, { headers: authorization })).status).toBe(200);
    waiting.close();
  });

  test('gets a Retry-After that differs between clients @heavy', async () => {
    const { get } = await start({ view: createMemory() });
    const seen = new Set<string | null>();
    for (let i = 0; i < 40; i++)
      seen.add((await get('/sdk/flags', { headers: authorization })).headers.get('retry-after'));
    expect(seen.size).toBeGreaterThan(2);
  });
});

describe('a stream over HTTP', () => {
  test('starts with a put, then sends patches, and ignores pipelined requests', async () => {
    const { port, streams, view } = await start({ view: createMemory(...items()) });
    const reader = await readStream({
      port,
      path: '/all?filter=',
      headers: authorization,
      pipelined: 'GET /status HTTP/1.1\r\nHost: a\r\n\r\n',
    });
    expect((await reader.next()).event).toBe('put');
    streams.publish(view.set(flag('banner', 8)));
    expect((await reader.next()).event).toBe('patch');
    expect(reader.body()).not.toContain('healthy');
    reader.close();
  });

  test('opens in spite of a body, an Upgrade header or an absolute URL', async () => {
    const { port } = await start();
    for (const options of [
      { path: '/all', headers: { ...authorization, 'content-length': '3' }, pipelined: 'abc' },
      { path: '/all', headers: { ...authorization, connection: 'Upgrade', upgrade: 'websocket' } },
      { path: 'http://relay.example/all', headers: authorization },
      { path: '/all/', headers: authorization },
    ]) {
      const reader = await readStream({ port, ...options });
      expect((await reader.next()).event).toBe('put');
      reader.close();
    }
  });

  test('opens on a connection that was kept alive after another request', async () => {
    const { port } = await start();
    const text = await say(port, 'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n', (heard) => heard.includes('alive'));
    expect(text).toContain('alive');
    const socket = connect(port, '127.0.0.1');
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
    });
    socket.write('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n');
    await until('the first answer', () => heard.includes('alive'));
    socket.write('GET /all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n');
    await until('the put', () => heard.includes('event: put'));
    socket.destroy();
  });

  test('leaves a websocket Upgrade on another path to an ordinary response', async () => {
    const { port } = await start();
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    expect(await say(port, `GET /livez HTTP/1.1\r\nHost: a\r\n${upgrade}`)).toMatch(
      /^HTTP\/1.1 200 .*connection: close.*alive/is,
    );
    expect(await say(port, `GET /nothing HTTP/1.1\r\nHost: a\r\n${upgrade}`)).toMatch(/^HTTP\/1.1 404 /);
    expect(await say(port, 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /);
  });

  test('beyond the limit is rejected with 503 and Retry-After @heavy', async () => {
    const big = flag('a', 1, { filler: 'x'.repeat(12 * 1024 * 1024) });
    const { port, get } = await start({
      view: createMemory(big),
      hub: { maxInitialInFlight: 1, maxInitialWaiting: 0 },
    });
    const slow = await readStream({ port, path: '/all', headers: authorization });
    slow.pause();
    const response = await get('/all', { headers: authorization });
    expect([response.status, response.headers.has('retry-after')]).toEqual([503, true]);
    slow.close();
  });

  test('survives clients that disconnect during their request', async () => {
    const { port, hub, get } = await start({ view: createMemory(...items()) });
    for (let i = 0; i < 50; i++) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write('GET /all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n', () => socket.resetAndDestroy());
    }
    await until('nobody is left', () => hub.connections === 0);
    expect((await get('/livez')).status).toBe(200);
  });
});

describe('a malformed request', () => {
  const nonsense: readonly [string, number][] = [
    ['nonsense\r\n\r\n', 400],
    ['GET /all HTTP/9.9\r\n\r\n', 400],
    ['GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n', 400],
    [`GET /livez HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, 431],
    ['GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 400],
  ];
  test.each(nonsense.map(([bytes, status]) => [bytes.slice(0, 60), status, bytes] as const))(
    'like %j gets %i',
    async (_, status, bytes) => {
      const { port, get } = await start();
      expect(await say(port, bytes)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expect((await get('/livez')).status).toBe(200);
    },
  );

  test('without an end of its head gets 408 @heavy', async () => {
    const { port } = await start({ server: { headersTimeoutMs: roomy(200), requestTimeoutMs: roomy(400) } });
    expect(await say(port, 'GET /livez HTTP/1.1\r\nHost: a\r\n')).toMatch(/^HTTP\/1.1 408 /);
  });

  test('with random bytes never causes a 5xx or stops the relay @heavy', async () => {
    const seed = Number(process.env.SEED ?? 7);
    let state = seed;
    const random = () => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return state / 2_147_483_648;
    };
    const { port, get } = await start({ view: createMemory(...items()) });
    const parts = [
      '/',
      '%',
      '%2',
      '..',
      'sdk',
      'flags',
      'all',
      '?',
      '#',
      '{key}',
      '%00',
      ' ',
      '\u00ff',
      '//',
      'filter=',
      '&',
      'banner',
      ':',
      '@',
    ];
    for (let round = 0; round < 150; round++) {
      let target = '/';
      for (let i = 0; i < 6; i++) target += parts[Math.floor(random() * parts.length)];
      const text = await say(
        port,
        `GET ${target} HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\nConnection: close\r\n\r\n`,
        (heard) => heard.length > 12,
      );
      const status = Number(text.slice(9, 12));
      if (!(status >= 200 && status < 500))
        throw new Error(`seed ${seed}: ${JSON.stringify(target)} was answered with ${text.slice(0, 80)}`);
    }
    expect((await get('/livez')).status).toBe(200);
  });
});

test('a handler that throws causes a 500 without details, and a log line', async () => {
  const { get, logged } = await start({
    health: {
      status: () => {
        throw new Error('secret');
      },
    },
  });
  const response = await get('/status');
  expect(response.status).toBe(500);
  expect(await response.text()).not.toContain('secret');
  expect(logged.join()).toContain('secret');
});

test('requests that fail for the same reason leave one line in the log, however many they are', async () => {
  let reason = 'a fault';
  const { get, logged } = await start({
    health: {
      status: () => {
        throw new Error(reason);
      },
    },
  });
  for (let count = 0; count < 20; count += 1) expect((await get('/status')).status).toBe(500);
  reason = 'another';
  await get('/status');
  expect(logged).toEqual(['Cannot answer a request Error: a fault', 'Cannot answer a request Error: another']);
});

describe('the server', () => {
  test('reports a port in use with a code and the port', async () => {
    const { port, server } = await start();
    const other = await start();
    await expect(other.server.listen({ port, host: '127.0.0.1' })).rejects.toThrow();
    const third = (await import('../../../relay-task/endpoints/server.ts')).createRelayServer({
      maxContextBytes: 1024,
      maxInboundPayloadBytes: 1024,
      find: () => 'not-yet',
      openStream: () => 'closing',
      health: {
        status: () => [],
        *environmentStatus() {},
        readiness: () => ({ ready: true, waitingFor: [] }),
      },
      log: silentLog,
    });
    await expect(third.listen({ port, host: '127.0.0.1' })).rejects.toMatchObject({
      name: 'RelayError',
      code: 'LISTEN_FAILED',
      message: expect.stringContaining(String(port)),
    });
    expect(server.routes.length).toBeGreaterThan(0);
  });

  test('lets a request in progress finish before closing its connection', async () => {
    const test = await start();
    const socket = connect(test.port, '127.0.0.1');
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
    });
    socket.write(ONE_AND_A_HALF_REQUESTS);
    await until('the first answer', () => heard.includes('alive'));
    heard = '';
    const gone = new Promise((resolve) => socket.on('close', resolve));
    const closed = test.server.close(60_000);
    socket.write('\r\n');
    await Promise.all([closed, gone]);
    expect(heard).toMatch(/^HTTP\/1.1 200 .*connection: close.*alive/is);
    await expect(test.get('/livez')).rejects.toThrow();
  });

  test('closes without waiting for idle connections', async () => {
    const test = await start();
    const socket = connect(test.port, '127.0.0.1');
    socket.on('error', () => {});
    const gone = new Promise((resolve) => socket.on('close', resolve));
    await test.get('/livez');
    await test.server.close(3_600_000);
    await gone;
  });

  test('closes requests that do not finish in time', async () => {
    const test = await start();
    const socket = connect(test.port, '127.0.0.1');
    socket.on('error', () => {});
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
    });
    socket.write(ONE_AND_A_HALF_REQUESTS);
    await until('the first answer', () => heard.includes('alive'));
    const gone = new Promise((resolve) => socket.on('close', resolve));
    await test.server.close(100);
    await gone;
  });

  test('answers /readyz with 200, or with 503 and what is missing', async () => {
    let ready = false;
    const { get } = await start({ health: { readiness: () => ({ ready, waitingFor: ready ? [] : ['data'] }) } });
    const before = await get('/readyz');
    expect([before.status, await before.json()]).toEqual([503, { status: 'not ready', waitingFor: ['data'] }]);
    ready = true;
    expect((await get('/readyz')).status).toBe(200);
    expect((await get('/status/production')).status).toBe(200);
    expect((await get('/status/other')).status).toBe(404);
  });

  test('reports every response with its route pattern', async () => {
    const { get, port, answers } = await start({ view: createMemory(...items()) });
    await get('/sdk/flags/banner', { headers: authorization });
    await get('/sdk/flags/banner');
    await get('/nothing');
    const reader = await readStream({ port, path: '/all', headers: authorization });
    reader.close();
    expect(answers.map(({ route, method, status, environment }) => [route, method, status, environment])).toEqual([
      ['/sdk/flags/{key}', 'GET', 200, 'production'],
      ['/sdk/flags/{key}', 'GET', 401, undefined],
      ['none', 'GET', 404, undefined],
      ['/all', 'GET', 200, 'production'],
    ]);
  });
});
