import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createGoals, type GoalsOptions } from '../../../relay-task/upstream/goals.ts';
import { createOutbound } from '../../../relay-task/upstream/outbound.ts';
import { eventually } from '../../support/eventually.ts';
import { startFakeProxy } from '../../support/fake-proxy.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { behind } = closeAfterEach();

/** A fake LaunchDarkly that records its requests. */
async function start(more: Partial<GoalsOptions> = {}) {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    launchDarkly.answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  behind(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });
  const { port } = server.address() as AddressInfo;
  const clock = { now: 1_760_000_000_000 };
  const baseUri = `http://127.0.0.1:${port}/ignored/path`;
  const goals = createGoals({
    baseUri,
    userAgent: 'EdgeFlagRelay/1.2.3',
    timeoutMs: 60_000,
    now: () => clock.now,
    ...more,
  });
  const launchDarkly = {
    ...{ asked, port, clock, goals },
    answer: (_request: IncomingMessage, response: ServerResponse): void => void response.end('[]'),
  };
  return launchDarkly;
}

const json =
  (body: string, headers: Record<string, string> = {}, status = 200) =>
  (_request: IncomingMessage, response: ServerResponse): void =>
    void response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(body);

test('goals are requested for the environment with the query, and returned with the headers meant for browsers', async () => {
  const launchDarkly = await start();
  launchDarkly.answer = json('[{"key":"g"}]', {
    ...{ 'Access-Control-Allow-Origin': '*', 'Set-Cookie': 'a=b', 'X-Other': 'kept', 'X-Hop': '1' },
    Connection: 'close, X-Hop',
  });
  const { status, headers, body } = await launchDarkly.goals('e/1', '?d=x%20y');
  expect(launchDarkly.asked[0]).toMatchObject({ method: 'GET', url: '/sdk/goals/e%2F1?d=x%20y' });
  expect(launchDarkly.asked[0]?.headers).toMatchObject({
    host: `127.0.0.1:${launchDarkly.port}`,
    'user-agent': 'EdgeFlagRelay/1.2.3',
  });
  expect({ status, body: body.toString() }).toEqual({ status: 200, body: '[{"key":"g"}]' });
  expect(headers).toEqual({ 'content-type': 'application/json', date: expect.any(String), 'x-other': 'kept' });
});

test('an error from LaunchDarkly is returned and not cached', async () => {
  const launchDarkly = await start();
  launchDarkly.answer = json('no', { 'Cache-Control': 'max-age=60' }, 404);
  expect(await launchDarkly.goals('e', '')).toMatchObject({ status: 404 });
  launchDarkly.answer = json('[]');
  expect(await launchDarkly.goals('e', '')).toMatchObject({ status: 200 });
});

describe('a response with goals is cached', () => {
  test('for as long as LaunchDarkly allows, by environment and query, less its age', async () => {
    const launchDarkly = await start();
    launchDarkly.answer = json('[1]', { 'Cache-Control': 'private, max-age=60', Age: '10' });
    await launchDarkly.goals('e', '');
    launchDarkly.clock.now += 49_999;
    const again = await launchDarkly.goals('e', '');
    expect(again).toMatchObject({ status: 200, headers: { 'x-from-cache': '1' } });
    expect(again.body.toString()).toBe('[1]');
    expect(launchDarkly.asked).toHaveLength(1);
    await launchDarkly.goals('e', '?x');
    await launchDarkly.goals('f', '');
    expect(launchDarkly.asked).toHaveLength(3);
    launchDarkly.clock.now += 1;
    expect((await launchDarkly.goals('e', '')).headers).not.toHaveProperty('x-from-cache');
    expect(launchDarkly.asked).toHaveLength(4);
  });

  test.each(['no-store, max-age=60', 'max-age=0', ''])('never with the Cache-Control %j', async (directive) => {
    const launchDarkly = await start();
    launchDarkly.answer = json('[]', directive ? { 'Cache-Control': directive } : {});
    await launchDarkly.goals('e', '');
    await launchDarkly.goals('e', '');
    expect(launchDarkly.asked.map(({ headers }) => headers['if-none-match'])).toEqual([undefined, undefined]);
  });

  test.each(['max-age=1', 'no-cache, max-age=60', ''])(
    'for revalidation by its ETag with the Cache-Control %j',
    async (directive) => {
      const launchDarkly = await start();
      launchDarkly.answer = json('[1]', { ETag: '"a"', ...(directive && { 'Cache-Control': directive }) });
      await launchDarkly.goals('e', '');
      launchDarkly.clock.now += 1_000;
      launchDarkly.answer = json('', { 'Cache-Control': 'max-age=60' }, 304);
      const renewed = await launchDarkly.goals('e', '');
      expect(launchDarkly.asked[1]?.headers['if-none-match']).toBe('"a"');
      expect(renewed).toMatchObject({ status: 200, headers: { 'x-from-cache': '1', etag: '"a"' } });
      expect(renewed.body.toString()).toBe('[1]');
      await launchDarkly.goals('e', '');
      expect(launchDarkly.asked).toHaveLength(2);
      launchDarkly.clock.now += 60_000;
      launchDarkly.answer = json('[2]', { ETag: '"b"' });
      expect((await launchDarkly.goals('e', '')).body.toString()).toBe('[2]');
    },
  );

  test('beyond its lifetime while LaunchDarkly fails', async () => {
    const launchDarkly = await start();
    launchDarkly.answer = json('[1]', { 'Cache-Control': 'max-age=1' });
    await launchDarkly.goals('e', '');
    launchDarkly.clock.now += 100_000;
    for (const answer of [json('oops', {}, 503), (request: IncomingMessage) => void request.socket.destroy()]) {
      launchDarkly.answer = answer;
      const { status, body } = await launchDarkly.goals('e', '');
      expect({ status, body: body.toString() }).toEqual({ status: 200, body: '[1]' });
    }
    expect(launchDarkly.asked).toHaveLength(3);
  });

  test('within a size limit, and the least recently used one is evicted', async () => {
    const launchDarkly = await start({ maxCacheBytes: 8_000 });
    launchDarkly.answer = json('x'.repeat(1_000), { 'Cache-Control': 'max-age=60' });
    for (const id of ['a', 'b', 'c', 'a', 'd']) await launchDarkly.goals(id, '');
    expect(launchDarkly.asked.map(({ url }) => url?.at(-1))).toEqual(['a', 'b', 'c', 'd']);
    await launchDarkly.goals('a', '');
    expect(launchDarkly.asked).toHaveLength(4);
    await launchDarkly.goals('b', '');
    expect(launchDarkly.asked).toHaveLength(5);
  });
});

describe('a request for goals rejects', () => {
  test.each<[string, (request: IncomingMessage, response: ServerResponse) => void, RegExp]>([
    ['the connection breaks', (request) => void request.socket.destroy(), /could not be reached/],
    [
      'the response is truncated',
      (request, response) => {
        response.writeHead(200, { 'Content-Length': '10' });
        response.write('[', () => request.socket.destroy());
      },
      /broke off/,
    ],
    ['there is no response', () => {}, /did not answer within 60 ms/],
    [
      'only the head arrives',
      (_, response) => void response.writeHead(200).flushHeaders(),
      /did not answer within 60 ms/,
    ],
    ['the response is too large', json('x'.repeat(2_000)), /more than 1000 bytes/],
  ])('when %s', async (_, answer, message) => {
    const timeoutMs = message.source.includes('60 ms') ? 60 : 60_000;
    const launchDarkly = await start({ timeoutMs, maxAnswerBytes: 1_000 });
    launchDarkly.answer = answer;
    await expect(launchDarkly.goals('e', '')).rejects.toThrow(message);
  });
});

test('equal requests for goals share one, and the number of concurrent ones of an environment is limited @heavy', async () => {
  const launchDarkly = await start({ maxConcurrent: 2, maxWaiting: 1 });
  const held: ServerResponse[] = [];
  launchDarkly.answer = (_, response) => void held.push(response);
  const answers = ['a', 'a', 'b', 'c', 'a'].map((query) => launchDarkly.goals('e', query));
  await expect(launchDarkly.goals('e', 'd')).rejects.toThrow('2 requests are in progress and 1 are waiting');
  await eventually(() => expect(held).toHaveLength(2));
  held.shift()?.end('[]');
  await eventually(() => expect(held).toHaveLength(2));
  for (const response of held) response.end('[]');
  expect((await Promise.all(answers)).every(({ status }) => status === 200)).toBe(true);
  expect(launchDarkly.asked.map(({ url }) => url?.at(-1)).sort()).toEqual(['a', 'b', 'c']);
  launchDarkly.answer = json('[]');
  expect(await launchDarkly.goals('e', 'd')).toMatchObject({ status: 200 });
});

test('requests of one environment that hang do not hold up those of another', async () => {
  const launchDarkly = await start({ maxConcurrent: 1, maxWaiting: 1 });
  const held: ServerResponse[] = [];
  launchDarkly.answer = (_, response) => void held.push(response);
  const hanging = ['1', '2'].map((query) => launchDarkly.goals('a', query));
  await eventually(() => expect(held).toHaveLength(1));
  launchDarkly.answer = json('[]');
  expect(await launchDarkly.goals('b', '')).toMatchObject({ status: 200 });
  for (const response of held) response.end('[]');
  await Promise.all(hanging);
});

test('goals are requested through the proxy', async () => {
  const launchDarkly = await start();
  const proxy = await startFakeProxy(launchDarkly.port);
  behind(() => proxy.close());
  const outbound = createOutbound({ proxyUrl: proxy.uri, caCertFiles: [], env: {} });
  const goals = createGoals({ baseUri: 'http://clientsdk.example.com', userAgent: 'x', outbound });
  expect(await goals('e', '')).toMatchObject({ status: 200 });
  expect(proxy.asked.map(({ what }) => what)).toEqual(['GET http://clientsdk.example.com/sdk/goals/e']);
});

test('goals with an invalid URL are rejected at once', () => {
  expect(() => createGoals({ baseUri: 'clientsdk', userAgent: 'x' })).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }),
  );
});
