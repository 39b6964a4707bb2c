import { generateKeyPairSync } from 'node:crypto';
import { get } from 'node:https';
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { generate } from 'selfsigned';
import { createBudget } from '../../../relay-task/common/budget.ts';
import type { TlsOptions } from '../../../relay-task/endpoints/server.ts';
import { PATIENCE_MS } from '../../support/eventually.ts';
import { flag } from '../../support/items.ts';
import { createMemory } from '../../support/memory.ts';
import { base64url, say } from './ask.ts';
import { startServer, type TestServer } from './start-server.ts';

const certificate = async (commonName: string): Promise<TlsOptions> => {
  const { cert, private: key } = await generate([{ name: 'commonName', value: commonName }], { keyType: 'ec' });
  return { cert, key };
};
let first: TlsOptions;
let second: TlsOptions;
const elliptic = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey.export({
  type: 'sec1',
  format: 'pem',
});
let server: TestServer | undefined;
beforeAll(async () => {
  [first, second] = await Promise.all([certificate('first.example'), certificate('second.example')]);
});
afterEach(async () => {
  await server?.close();
  server = undefined;
});
const start = async (tls: TlsOptions) => {
  server = await startServer({ view: createMemory(flag('banner', 1)), server: { tls } });
  return server;
};
/** What the server says to a request over TLS, until `enough`. */
const sayTls = (port: number, bytes: string, enough: (heard: string) => boolean, more: object = {}) =>
  new Promise<{ heard: string; peer: PeerCertificate }>((resolve, reject) => {
    let heard = '';
    const socket: TLSSocket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...more }, () =>
      socket.write(bytes),
    );
    const peer = () => socket.getPeerCertificate();
    socket.on('data', (data) => {
      heard += data;
      if (!enough(heard)) return;
      resolve({ heard, peer: peer() });
      socket.destroy();
    });
    socket.on('error', reject);
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error(`so far: ${heard}`)));
  });
const livez = 'GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const isAlive = (heard: string) => heard.includes('alive');

test('a stream over TLS counts 32 KiB more than one without', async () => {
  const request = 'GET /all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n';
  const countedWith = async (tls?: TlsOptions) => {
    const memory = { servers: createBudget(Infinity), clients: createBudget(Infinity) };
    server = await startServer({ view: createMemory(flag('banner', 1)), hub: { memory }, server: { tls } });
    let counted = 0;
    const isOpen = (heard: string) => {
      counted = memory.servers.usedBytes;
      return heard.includes('event: put');
    };
    if (tls) await sayTls(server.port, request, isOpen);
    else await say(server.port, request, isOpen);
    await server.close();
    return counted;
  };
  expect((await countedWith(first)) - (await countedWith())).toBe(32 * 1024);
});

test('responses and streams work over TLS as they do without', async () => {
  const { port } = await start(first);
  const status = await new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', path: '/livez', rejectUnauthorized: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', reject);
  });
  expect(status).toBe(200);
  const stream = await sayTls(port, 'GET /all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n', (heard) =>
    heard.includes('event: put'),
  );
  expect(stream.heard).toContain('"banner"');
  const context = JSON.stringify({ kind: 'user', key: 'alice' });
  const reported = await sayTls(
    port,
    `REPORT /eval/64a0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${context.length}\r\n\r\n${context}`,
    (heard) => heard.includes('event: opening'),
  );
  expect(reported.heard).toContain('"kind":"eval"');
  const bad = await sayTls(port, `GET /eval/64a0/${base64url({})} HTTP/1.1\r\nHost: a\r\n\r\n`, (heard) =>
    heard.includes('message'),
  );
  expect(bad.heard).toMatch(/^HTTP\/1.1 400 /);
});

test('a client that also speaks HTTP/2 gets HTTP/1.1, and one that speaks only HTTP/2 gets an error at once', async () => {
  const { port } = await start(first);
  const negotiate = (...ALPNProtocols: string[]) =>
    new Promise<string | false | null>((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols });
      socket.on('secureConnect', () => {
        resolve(socket.alpnProtocol);
        socket.destroy();
      });
      socket.on('error', reject);
    });
  expect(await negotiate('h2', 'http/1.1')).toBe('http/1.1');
  await expect(negotiate('h2')).rejects.toMatchObject({ code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' });
});

test('a new certificate is used for new connections, and open ones continue', async () => {
  const { port, server: relay, streams, view } = await start(first);
  let heard = '';
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  socket.on('data', (data) => {
    heard += data;
  });
  const until = (text: string) =>
    new Promise<void>((resolve) => {
      const look = () => (heard.includes(text) ? resolve() : socket.once('data', look));
      look();
    });
  socket.write('GET /all HTTP/1.1\r\nHost: a\r\nAuthorization: sdk-key\r\n\r\n');
  await until('event: put');
  expect((await sayTls(port, livez, isAlive)).peer.subject.CN).toBe('first.example');
  relay.replaceCertificate(second);
  expect((await sayTls(port, livez, isAlive)).peer.subject.CN).toBe('second.example');
  streams.publish(view.set(flag('banner', 2)));
  await until('event: patch');
  socket.destroy();
});

test('an invalid certificate is rejected with its code, and the current one is kept', async () => {
  const { port, server: relay } = await start(first);
  const invalid = { name: 'RelayError', code: 'CERTIFICATE_INVALID' };
  for (const bad of [
    { cert: 'nonsense', key: first.key },
    { cert: first.cert, key: second.key },
    { cert: '', key: '' },
    // Keys of two kinds, which node:tls does not compare.
    { cert: first.cert, key: elliptic },
  ]) {
    expect(() => relay.replaceCertificate(bad)).toThrow(expect.objectContaining(invalid));
  }
  expect((await sayTls(port, livez, isAlive)).peer.subject.CN).toBe('first.example');
  for (const tls of [
    { cert: 'x', key: 'y' },
    { cert: first.cert, key: elliptic },
  ]) {
    await expect(startServer({ server: { tls } })).rejects.toMatchObject(invalid);
  }
  const plain = await startServer();
  expect(() => plain.server.replaceCertificate(second)).toThrow(expect.objectContaining(invalid));
  await plain.close();
});

test('the minimum TLS version applies, also after a certificate is replaced, and plain HTTP gets no answer', async () => {
  const { port, server: relay } = await start({ ...first, minVersion: 'TLSv1.3' });
  relay.replaceCertificate(second);
  await expect(sayTls(port, livez, isAlive, { maxVersion: 'TLSv1.2' })).rejects.toThrow();
  expect((await sayTls(port, livez, isAlive)).heard).toMatch(/^HTTP\/1.1 200 /);
  expect(await say(port, livez)).not.toContain('alive');
});
