/** DynamoDB, SSM and Consul, or something in their place, that answer without end, too much or too slowly. */

import { createServer, get, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GetItemCommand } from '@aws-sdk/client-dynamodb';
import { callAwsOnce, limitAnswers } from '../../../relay-task/common/aws-call.ts';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { createConsulClient } from '../../../relay-task/store/consul-client.ts';
import { createDynamoDBClient, createTable } from '../../../relay-task/store/dynamodb-client.ts';
import { startReading } from '../../../relay-task/store/read-memory.ts';
import { eventually } from '../../support/eventually.ts';
import { closeAfterEach } from '../../support/opened.ts';

const { opened, behind } = closeAfterEach();
const MiB = 1024 * 1024;
const piece = Buffer.alloc(MiB, ' ');

/** Counts what it could send, and connections that ended before their answer. */
async function startServer(answer: (response: ServerResponse) => void) {
  const told = { uri: '', sentBytes: 0, cutOff: 0, close: async () => {} };
  const server = createServer((request, response) => {
    request.resume();
    const { socket } = request;
    response.on('error', () => {});
    response.on('close', () => {
      told.cutOff += Number(!response.writableFinished);
      told.sentBytes += socket.bytesWritten;
    });
    answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  told.uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  told.close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return opened(told);
}

/** Sends as fast as it is read. */
function endless(response: ServerResponse): void {
  const more = () => {
    while (!response.destroyed && response.write(piece));
  };
  response.on('drain', more);
  more();
}

function dripping(response: ServerResponse): void {
  const drip = setInterval(() => response.write(' '), 5);
  response.on('close', () => clearInterval(drip));
}

function openDynamoDB(endpoint: string) {
  const credentials = { accessKeyId: 'x', secretAccessKey: 'y' };
  const client = createDynamoDBClient({ region: 'eu-west-1', endpoint, credentials });
  behind(() => client.destroy());
  return client;
}

type Ask = (uri: string, timeoutMs: number) => Promise<unknown>;
const stores: Record<string, Ask> = {
  DynamoDB(uri, timeoutMs) {
    const client = openDynamoDB(uri);
    const command = new GetItemCommand({ TableName: 't', Key: { namespace: { S: 'a' }, key: { S: 'b' } } });
    return callAwsOnce((abortSignal) => client.send(command, { abortSignal }), { service: 'DynamoDB', timeoutMs });
  },
  Consul(uri, timeoutMs) {
    return opened(createConsulClient({ address: uri, timeoutMs })).request('GET', '/kv/a?recurse');
  },
};

test.each([
  ['DynamoDB', 32 * MiB],
  ['Consul', 128 * MiB],
])('%s that answers without end is left at its limit of %i bytes @heavy', async (name, limit) => {
  const server = await startServer(endless);
  const asked = stores[name]!(server.uri, 60_000);
  await expect(asked).rejects.toThrow(new RegExp(`^(DynamoDB|127.*) answered with more than ${limit} bytes$`));
  await eventually(() => expect(server.cutOff).toBe(1));
  // What is under way in sockets and streams comes on top.
  expect(server.sentBytes).toBeLessThan(limit + 16 * MiB);
});

test.each(Object.keys(stores))('%s whose answer arrives byte by byte is abandoned at the deadline', async (name) => {
  const server = await startServer(dripping);
  // On a busy machine the deadline can pass before the request has left, so the server has no answer to be cut off.
  await eventually(async () => {
    await expect(stores[name]!(server.uri, 100)).rejects.toThrow(
      /(no answer from DynamoDB|did not answer) within 100 ms/,
    );
    expect(server.cutOff).toBeGreaterThan(0);
  });
});

test.each(
  Object.keys(stores).flatMap((name) => [
    [name, 'two million arrays in one another', () => '['.repeat(2_000_000), 'nests more than 100 deep'] as const,
    [name, 'a million empty objects', () => `[${'{},'.repeat(1_000_000)}{}]`, 'more than 1000000 parts'] as const,
  ]),
)('%s that answers with %s is left before they are parsed @heavy', async (name, _, text, reason) => {
  const server = await startServer((response) => void response.end(text()));
  await expect(stores[name]!(server.uri, 60_000)).rejects.toThrow(reason);
});

test('a read of DynamoDB whose pages never end stops once they are larger than any environment @heavy', async () => {
  let pages = 0;
  const server = await startServer((response) => {
    pages += 1;
    const key = { namespace: { S: 'n' }, key: { S: `k${pages}` } };
    // An end after all, should it not be left.
    const last = pages < 32 && { LastEvaluatedKey: key };
    response.end(JSON.stringify({ Items: [{ ...key, item: { S: 'x'.repeat(8 * MiB) } }], ...last }));
  });
  const table = createTable({
    ...{ client: openDynamoDB(server.uri), tableName: 't', observer: { wrote() {}, retried() {} } },
    timings: { requestTimeoutMs: 60_000, retryBaseMs: 1, retryCapMs: 1 },
  });
  const { take } = startReading(createBudget(128 * MiB));
  await expect(table.query('n', take)).rejects.toThrow(/^the stored data takes more than \d+ bytes/);
  // One reading alone gets a half.
  expect(pages).toBe(8);
});

test('answers that are read at the same time share a memory, and what they leave is free for the next @heavy', async () => {
  const memory = createBudget(8 * MiB);
  const server = await startServer(endless);
  const client = opened(createConsulClient({ address: server.uri, timeoutMs: 60_000, memory }));
  const asked = await Promise.allSettled([1, 2, 3, 4].map(() => client.request('GET', '/kv/a')));
  for (const { status, reason } of asked as PromiseRejectedResult[]) {
    expect(status).toBe('rejected');
    expect(String(reason)).toMatch(/answered with \d+ bytes or more, and all answers being read may take 8388608/);
  }
  expect(memory.usedBytes).toBe(0);
  const whole = await startServer((response) => void response.end(Buffer.alloc(3 * MiB)));
  const next = opened(createConsulClient({ address: whole.uri, memory }));
  expect((await next.request('GET', '/kv/a')).body).toHaveLength(3 * MiB);
  expect(memory.usedBytes).toBe(0);
});

test('an answer of an AWS service is complete, above the limit, or cut short', async () => {
  let answer: (response: ServerResponse) => void = (response) => void response.end('{"Item":{}}');
  const server = await startServer((response) => answer(response));
  const collect = limitAnswers({ service: 'SSM', maxBytes: 1_000, maxBytesOfAll: 2_000 });
  const ask = () =>
    new Promise<Uint8Array>((resolve, reject) => {
      get(server.uri, (response) => collect(response).then(resolve, reject));
    });
  expect(String(await ask())).toBe('{"Item":{}}');
  answer = (response) => void response.end('x'.repeat(1_001));
  await expect(ask()).rejects.toThrow('SSM answered with more than 1000 bytes');
  answer = (response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('x', () => response.destroy());
  };
  await expect(ask()).rejects.toThrow('SSM broke off its answer');
  answer = (response) => void response.end('x'.repeat(1_000));
  expect(await ask()).toHaveLength(1_000);
});
