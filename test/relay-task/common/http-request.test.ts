import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { httpRequest } from '../../../relay-task/common/http-request.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { behind } = closeAfterEach();

async function serve(listener: RequestListener): Promise<URL> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  behind(() => {
    server.closeAllConnections();
    server.close();
  });
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/path?x=1`);
}

/** Limits that no test reaches by accident. */
const patient = { timeoutMs: 120_000, maxAnswerBytes: 1_000 };

test('the whole request is sent and the whole response is returned', async () => {
  const url = await serve(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method, url: path, headers } = request;
    response.writeHead(418, { 'X-Answer': 'yes' });
    response.end(`${method} ${path} ${headers['x-asked']} ${headers['content-length']} ${Buffer.concat(chunks)}`);
  });
  const answer = await httpRequest({ ...patient, url, method: 'PUT', headers: { 'X-Asked': 'yes' }, body: 'é' });
  expect([answer.status, answer.headers['x-answer'], answer.body.toString()]).toEqual([
    418,
    'yes',
    'PUT /path?x=1 yes 2 é',
  ]);
});

test('a response may be as long as the limit, but no longer', async () => {
  const url = await serve((_, response) => response.end('12345'));
  expect((await httpRequest({ ...patient, url, maxAnswerBytes: 5 })).body.toString()).toBe('12345');
  await expect(httpRequest({ ...patient, url, maxAnswerBytes: 4 })).rejects.toThrow(
    `${url.host} answered with more than 4 bytes`,
  );
});

test('a connection whose body never ends is closed when the deadline passes', async () => {
  let closed: Promise<unknown> | undefined;
  const url = await serve((request, response) => {
    closed = once(request.socket, 'close');
    response.write('more follows');
  });
  expect((await httpRequest({ url, timeoutMs: 1_000 })).status).toBe(200);
  expect(closed).toBeDefined();
  await closed;
});

test('without a size limit only the head is returned, even if the body never ends', async () => {
  const url = await serve((_, response) => response.writeHead(202).write('and so on'));
  const { timeoutMs } = patient;
  const answer = await httpRequest({ url, timeoutMs, agent: false });
  expect([answer.status, answer.body.length]).toEqual([202, 0]);
});

test.each<[string, RequestListener]>([
  ['no head', () => {}],
  ['a body that never ends', (_, response) => void response.writeHead(200).write('x')],
])('%s in time fails the request and closes its connection', async (_, listener) => {
  let closed: Promise<void> | undefined;
  const url = await serve((request, response) => {
    closed = new Promise((resolve) => request.socket.once('close', () => resolve()));
    listener(request, response);
  });
  await expect(httpRequest({ ...patient, url, timeoutMs: 200 })).rejects.toThrow('did not answer within 200 ms');
  await closed;
});

test('a truncated response fails the request', async () => {
  const url = await serve((request, response) => {
    response.writeHead(200, { 'Content-Length': '10' }).write('x', () => request.socket.destroy());
  });
  await expect(httpRequest({ ...patient, url })).rejects.toThrow(`${url.host} broke off its answer`);
});

test('an aborted signal ends the request, or keeps it from starting', async () => {
  const controller = new AbortController();
  const url = await serve(() => controller.abort());
  await expect(httpRequest({ ...patient, url, signal: controller.signal })).rejects.toThrow('cancelled');
  await expect(httpRequest({ ...patient, url, signal: controller.signal })).rejects.toThrow('cancelled');
});

test('a header that cannot be sent fails the request without showing its value', async () => {
  const url = await serve((_, response) => response.end());
  const failure = await httpRequest({ ...patient, url, headers: { Authorization: 'sdk-1\n2' } }).catch(String);
  expect(failure).toContain('Authorization');
  expect(failure).not.toContain('sdk-1');
});

test('a refused connection names the host', async () => {
  await expect(httpRequest({ ...patient, url: new URL('http://127.0.0.1:1/') })).rejects.toThrow(
    /^127\.0\.0\.1:1 could not be reached: .*ECONNREFUSED/,
  );
});
