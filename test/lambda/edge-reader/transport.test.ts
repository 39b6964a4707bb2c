import { Agent } from 'node:http';
import { createTransport } from '../../../lambda/edge-reader/transport.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { PATIENCE_MS } from '../../support/eventually.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { startReplica } from './replica.ts';

const { behind } = closeAfterEach();

let table: TestTable;
beforeAll(async () => {
  table = await startTable();
});
afterAll(() => table.close());

test('an answer that came while the process stood still says nothing about the distance', async () => {
  const replica = await startReplica(table.endpoint);
  behind(() => replica.close());
  let skewMs = 0;
  const env = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  const region = 'eu-west-1';
  const transport = createTransport({ region, endpoint: replica.endpoint, env, now: () => Date.now() + skewMs });
  const Key = { namespace: { S: 'a' }, key: { S: 'b' } };
  const ask = () => transport.call('GetItem', { TableName: table.tableName, Key }, 10_000);
  expect(transport.enoughMs()).toBe(Infinity);
  await ask();
  const enoughMs = transport.enoughMs();
  expect(enoughMs).toBeLessThan(Infinity);
  replica.behave(() => {
    skewMs += 20_000;
    return 'pass';
  });
  for (let frozen = 0; frozen < 3; frozen += 1) await ask();
  expect(transport.enoughMs()).toBe(enoughMs);
});

test('an answer that never ends is given up, and its memory too @heavy', async () => {
  const replica = await startReplica(table.endpoint);
  behind(() => replica.close());
  replica.behave('endless');
  const env = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  const transport = createTransport({ region: 'eu-west-1', endpoint: replica.endpoint, env, now: Date.now });
  await expect(transport.call('GetItem', {}, PATIENCE_MS)).rejects.toThrow(/more than 32 MB/);
});

test('a connection is opened before the request is signed', async () => {
  const events: string[] = [];
  const createSocket = Agent.prototype.createConnection;
  const opening = jest.spyOn(Agent.prototype, 'createConnection').mockImplementation(function (this: Agent, ...args) {
    events.push('opened');
    return createSocket.apply(this, args);
  });
  const env = {
    get AWS_ACCESS_KEY_ID() {
      events.push('signed');
      return 'test';
    },
    AWS_SECRET_ACCESS_KEY: 'test',
  };
  const transport = createTransport({ region: 'eu-west-1', endpoint: table.endpoint, env, now: Date.now });
  const Key = { namespace: { S: 'a' }, key: { S: 'b' } };
  await transport.call('GetItem', { TableName: table.tableName, Key }, PATIENCE_MS);
  expect(events).toEqual(['opened', 'signed']);
  opening.mockRestore();
});
