/**
 * A real DynamoDB server (dynalite, in memory) on 127.0.0.1 and a free port, with the flag table created.
 * Every request that reads or writes also asks for its consumed capacity, and the answers are added up, so tests can
 * state what a reader costs in the server's own count.
 */
import { EventEmitter } from 'node:events';
import {
  Agent,
  createServer,
  type IncomingMessage,
  type RequestListener,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import dynalite from 'dynalite';
import { keptConnections } from './kept-connections.ts';
import { readBody } from './read-body.ts';

interface Consumed {
  /** Read units of all requests since the last reset. */
  read: number;
  /** Write units of all requests since the last reset. */
  write: number;
  /** Number of requests by operation: `GetItem`, `BatchGetItem`, … */
  requests: Record<string, number>;
}

export interface TestTable {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string;
  readonly tableName: string;
  readonly client: DynamoDBClient;
  /** The usage since the start or the last `resetConsumed()`; a live object. */
  readonly consumed: Consumed;
  resetConsumed(): void;
  close(): Promise<void>;
}

/** dynalite accepts any credentials; readers that sign their own requests need some. */
export const testCredentials = { accessKeyId: 'test', secretAccessKey: 'test' } as const;
export const testRegion = 'us-east-1';

const reads = new Set(['GetItem', 'BatchGetItem', 'Query', 'Scan']);
const writes = new Set(['PutItem', 'UpdateItem', 'DeleteItem', 'BatchWriteItem']);

const MOST_LOOKS = 1_000;

/** Starts the server with an empty table: partition key `namespace` (S), sort key `key` (S). Close it after use. */
export async function startTable({ tableName = 'flags' }: { tableName?: string } = {}): Promise<TestTable> {
  const server = keptConnections(dynalite({ createTableMs: 0, deleteTableMs: 0, updateTableMs: 0 }));
  const [handle] = server.listeners('request') as RequestListener[];
  server.removeAllListeners('request');
  const consumed = nothing();
  let closing = false;
  let working = 0;
  server.on('request', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const operation = operationOf(incoming);
    const end = outgoing.end.bind(outgoing) as (text?: string | Buffer) => ServerResponse;
    outgoing.end = ((text?: string | Buffer) => {
      count(consumed, operation, text ?? '');
      working -= 1;
      return end(text);
    }) as typeof outgoing.end;
    collect(incoming, (body) => {
      if (closing) return void outgoing.destroy();
      // dynalite reads only the head of a request and these two events.
      const { method, url, headers } = incoming;
      const asking = Object.assign(new EventEmitter(), { method, url, headers }) as unknown as IncomingMessage;
      working += 1;
      handle!(asking, outgoing as Parameters<RequestListener>[1]);
      asking.emit('data', askForCapacity(operation, body));
      asking.emit('end');
    });
  });
  const port = await listen(server);
  const close = async () => {
    // If a request finds the database closed, dynalite throws outside any handler.
    closing = true;
    for (let looks = 0; working > 0 && looks < MOST_LOOKS; looks++) await delay(2);
    await closeServer(server);
  };
  return openTable({ port, tableName, consumed, close });
}

/** The same on a DynamoDB server that already listens on this port of 127.0.0.1, and keeps running after `close`. */
export async function createTable({
  port,
  tableName,
  region,
}: {
  port: number;
  tableName: string;
  /** Where the server tells regions apart. */
  region?: string;
}): Promise<TestTable> {
  const consumed = nothing();
  const agent = new Agent({ keepAlive: true });
  const front = keptConnections(
    createServer((incoming, outgoing) => {
      forward(incoming, outgoing, { agent, port, consumed });
    }),
  );
  const close = async () => {
    await closeServer(front);
    agent.destroy();
  };
  return openTable({ port: await listen(front), tableName, consumed, close, region });
}

interface Opened {
  readonly port: number;
  readonly tableName: string;
  readonly consumed: Consumed;
  readonly close: () => Promise<void>;
  readonly region?: string | undefined;
}

async function openTable({ port, tableName, consumed, close, region = testRegion }: Opened): Promise<TestTable> {
  const endpoint = `http://127.0.0.1:${port}`;
  const client = new DynamoDBClient({ endpoint, region, credentials: testCredentials });
  await client.send(
    new CreateTableCommand({
      TableName: tableName,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [
        { AttributeName: 'namespace', AttributeType: 'S' },
        { AttributeName: 'key', AttributeType: 'S' },
      ],
      KeySchema: [
        { AttributeName: 'namespace', KeyType: 'HASH' },
        { AttributeName: 'key', KeyType: 'RANGE' },
      ],
    }),
  );
  const resetConsumed = () => {
    Object.assign(consumed, nothing());
  };
  resetConsumed();
  return {
    endpoint,
    tableName,
    client,
    consumed,
    resetConsumed,
    async close() {
      client.destroy();
      await close();
    },
  };
}

const nothing = (): Consumed => ({ read: 0, write: 0, requests: {} });

const operationOf = ({ headers }: IncomingMessage) => String(headers['x-amz-target'] ?? '').replace(/^.*\./, '');

function count(consumed: Consumed, operation: string, answer: string | Buffer): void {
  consumed.requests[operation] = (consumed.requests[operation] ?? 0) + 1;
  if (reads.has(operation)) consumed.read += capacityOf(answer);
  if (writes.has(operation)) consumed.write += capacityOf(answer);
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

interface Capacity {
  CapacityUnits?: number;
}

function forward(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { agent, port, consumed }: { agent: Agent; port: number; consumed: Consumed },
): void {
  const operation = operationOf(incoming);
  collect(incoming, (body) => {
    const bytes = askForCapacity(operation, body);
    const { 'content-length': _, 'transfer-encoding': __, ...headers } = incoming.headers;
    const inner = request(
      {
        host: '127.0.0.1',
        port,
        agent,
        method: incoming.method,
        path: incoming.url,
        headers: { ...headers, 'content-length': bytes.length },
      },
      (answer) => {
        collect(answer, (text) => {
          count(consumed, operation, text);
          const { 'transfer-encoding': ___, connection: ____, ...answerHeaders } = answer.headers;
          outgoing.writeHead(answer.statusCode ?? 500, { ...answerHeaders, 'content-length': text.length });
          outgoing.end(text);
        });
      },
    );
    inner.on('error', () => outgoing.destroy());
    inner.end(bytes);
  });
}

/** What breaks off is left out. */
function collect(stream: IncomingMessage, done: (bytes: Buffer) => void): void {
  readBody(stream).then(done, () => {});
}

function askForCapacity(operation: string, body: Buffer): Buffer {
  if (!reads.has(operation) && !writes.has(operation)) return body;
  try {
    const parsed = JSON.parse(body.toString()) as Record<string, unknown>;
    parsed.ReturnConsumedCapacity ??= 'TOTAL';
    return Buffer.from(JSON.stringify(parsed));
  } catch {
    return body;
  }
}

function capacityOf(answer: string | Buffer): number {
  try {
    const { ConsumedCapacity: used } = JSON.parse(answer.toString()) as { ConsumedCapacity?: Capacity | Capacity[] };
    const all = used === undefined ? [] : Array.isArray(used) ? used : [used];
    return all.reduce((sum, one) => sum + (one.CapacityUnits ?? 0), 0);
  } catch {
    return 0;
  }
}
