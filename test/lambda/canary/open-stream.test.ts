import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { generate } from 'selfsigned';
import { openStream } from '../../../lambda/canary/open-stream.ts';
import { exampleEnvironment, exampleFile } from '../../support/example-environment.ts';
import { startTestRelay } from '../../support/start-relay.ts';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(
  listener: RequestListener,
  make: (listener: RequestListener) => Server = createServer,
): Promise<string> {
  const server = make(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A relay that sends these pieces a while apart and keeps the stream open. */
const pieces =
  (...all: readonly string[]): RequestListener =>
  async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const piece of all) {
      response.write(piece);
      await sleep(20);
    }
  };
const open = (host: string, timeoutMs = 60_000) => openStream({ url: `http://${host}`, sdkKey: 'sdk-1', timeoutMs });
const put = (flags: object) => `event: put\ndata: ${JSON.stringify({ path: '/', data: { flags, segments: {} } })}`;

test('a stream gives the version of every flag, and is refused for an unknown key', async () => {
  const relay = await startTestRelay({ LD_ENV_shop: 'sdk-1', LD_FLAGS_FILE_shop: exampleFile });
  try {
    const versions = await openStream({ url: relay.uri, sdkKey: 'sdk-1', timeoutMs: 60_000 });
    expect([...versions.keys()].sort()).toEqual(Object.keys(exampleEnvironment().flags).sort());
    await expect(openStream({ url: relay.uri, sdkKey: 'sdk-other', timeoutMs: 60_000 })).rejects.toThrow(
      'the relay answered 401',
    );
  } finally {
    await relay.close();
  }
});

test.each<[string, string[]]>([
  ['in one piece', [`${put({ a: { version: 3 } })}\n\n`]],
  ['after heartbeats', [':\n\n', ':\n\n', `${put({ a: { version: 3 } })}\n\n`]],
  ['with its end split between two pieces', [`${put({ a: { version: 3 } })}\n`, '\n']],
  ['directly followed by a change', [`${put({ a: { version: 3 } })}\n\nevent: patch\ndata: {"path":"/flags/a"}\n\n`]],
  ['with two lines of data', ['event: put\ndata: {"path":"/",\ndata: "data":{"flags":{"a":{"version":3}}}}\n\n']],
])('a first event %s is read', async (_, sent) => {
  expect(await open(await serve(pieces(...sent)))).toEqual(new Map([['a', 3]]));
});

test.each<[string, RequestListener, string]>([
  ['a 503 response', (_, response) => void response.writeHead(503).end(), 'the relay answered 503'],
  [
    'a stream that ends at once',
    (_, response) => void response.writeHead(200).end(':\n\n'),
    'ended before its first event',
  ],
  ['a stream of nothing but heartbeats', pieces(':\n\n', ':\n\n'), 'no flags arrived within 300 ms'],
  ['no answer', () => {}, 'no flags arrived within 300 ms'],
  ['an event without flags', pieces('event: put\ndata: {"path":"/"}\n\n'), 'contains no flags'],
  ['data that is not JSON', pieces('event: put\ndata: nonsense\n\n'), 'JSON'],
])('opening a stream fails with the cause: %s', async (_, listener, message) => {
  // Only a missing answer is waited for.
  const timeoutMs = message.endsWith('within 300 ms') ? 300 : 60_000;
  await expect(open(await serve(listener), timeoutMs)).rejects.toThrow(message);
});

test('opening a stream fails with the cause: a relay that does not listen', async () => {
  const host = await serve(() => {});
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  await expect(open(host)).rejects.toThrow('could not reach the relay');
});

test('a certificate from an unknown authority is rejected, even with the right name', async () => {
  const { private: key, cert } = await generate([{ name: 'commonName', value: '127.0.0.1' }], { keyType: 'ec' });
  const secure = (listener: RequestListener) => createSecureServer({ key, cert }, listener) as unknown as Server;
  const host = await serve(pieces(`${put({ a: { version: 3 } })}\n\n`), secure);
  const problem = await openStream({ url: `https://${host}`, sdkKey: 'sdk-1', timeoutMs: 60_000 }).catch(String);
  expect(problem).toMatch(/could not reach the relay: .*(self-signed|certificate)/);
});
