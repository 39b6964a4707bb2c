/**
 * Two DynamoDB servers joined like a global table: a write in one region appears in the other after a while, in any order,
 * and of two writes of one item the later one wins. Conditions apply within one region only.
 */
import { Agent, createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type AttributeValue, DeleteItemCommand, GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { startTable, type TestTable } from './dynalite.ts';
import { keptConnections } from './kept-connections.ts';
import { readBody } from './read-body.ts';

interface ReplicatedTables {
  /** One table for each region; closing it closes the region. */
  readonly regions: readonly [TestTable, TestTable];
  /** Resolves when every write so far has arrived in the other region, or lost to a later one. */
  drained(): Promise<void>;
}

type Row = Record<string, AttributeValue>;

interface Region {
  readonly inner: TestTable;
  /** By item: when its current value was written, in either region. */
  readonly stamps: Map<string, number>;
  /** Serialises writes of an item, so that each stamp belongs to its value. */
  readonly locks: Map<string, Promise<unknown>>;
}

const writes = new Set(['PutItem', 'UpdateItem', 'DeleteItem']);

/** `random` decides how long each write takes to the other region, up to `maxDelayMs`. */
export async function startReplicatedTables(options: {
  random: () => number;
  maxDelayMs: number;
}): Promise<ReplicatedTables> {
  const { random, maxDelayMs } = options;
  let lastStamp = 0;
  const onTheirWay = new Set<Promise<void>>();
  const regions: Region[] = [];
  for (let index = 0; index < 2; index++) {
    regions.push({ inner: await startTable(), stamps: new Map(), locks: new Map() });
  }

  function locked<T>({ locks }: Region, id: string, work: () => Promise<T>): Promise<T> {
    const mine = (locks.get(id) ?? Promise.resolve()).then(work, work);
    locks.set(id, mine);
    return mine;
  }

  async function replicate(from: Region, id: string, Key: Row, stamp: number): Promise<void> {
    const { inner } = from;
    const { Item } = await inner.client.send(
      new GetItemCommand({ TableName: inner.tableName, Key, ConsistentRead: true }),
    );
    from.stamps.set(id, stamp);
    const to = regions.find((one) => one !== from)!;
    const journey = delay(random() * maxDelayMs).then(() =>
      locked(to, id, async () => {
        if ((to.stamps.get(id) ?? 0) >= stamp) return;
        to.stamps.set(id, stamp);
        const { client, tableName: TableName } = to.inner;
        if (Item) await client.send(new PutItemCommand({ TableName, Item }));
        else await client.send(new DeleteItemCommand({ TableName, Key }));
      }),
    );
    onTheirWay.add(journey);
    // A closed region accepts nothing.
    void journey.catch(() => {}).finally(() => onTheirWay.delete(journey));
  }

  async function startFront(region: Region): Promise<TestTable> {
    const agent = new Agent({ keepAlive: true });
    const { inner } = region;
    const front = keptConnections(
      createServer(async (incoming, outgoing) => {
        const body = await readBody(incoming);
        const operation = String(incoming.headers['x-amz-target'] ?? '').replace(/^.*\./, '');
        const pass = () => forward(inner.endpoint, agent, incoming, body);
        try {
          const answer = writes.has(operation) ? await write(body, pass) : await pass();
          outgoing.writeHead(answer.status, { ...answer.headers, 'content-length': answer.body.length });
          outgoing.end(answer.body);
        } catch {
          outgoing.destroy();
        }
      }),
    );

    function write(body: Buffer, pass: () => Promise<Answer>): Promise<Answer> {
      const { Item, Key } = JSON.parse(body.toString()) as { Item?: Row; Key?: Row };
      const { namespace, key } = (Key ?? Item) as { namespace: AttributeValue; key: AttributeValue };
      const id = `${namespace.S} ${key.S}`;
      return locked(region, id, async () => {
        const answer = await pass();
        lastStamp += 1;
        if (answer.status === 200) await replicate(region, id, { namespace, key }, lastStamp);
        return answer;
      });
    }

    await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
    return {
      ...inner,
      endpoint: `http://127.0.0.1:${(front.address() as AddressInfo).port}`,
      async close() {
        await new Promise<void>((resolve) => {
          front.close(() => resolve());
          front.closeAllConnections();
        });
        agent.destroy();
        await Promise.allSettled(onTheirWay);
        await inner.close();
      },
    };
  }

  const [home, away] = (await Promise.all(regions.map(startFront))) as [TestTable, TestTable];
  return {
    regions: [home, away],
    async drained() {
      while (onTheirWay.size > 0) await Promise.allSettled(onTheirWay);
    },
  };
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}

function forward(endpoint: string, agent: Agent, incoming: IncomingMessage, body: Buffer): Promise<Answer> {
  const { hostname, port } = new URL(endpoint);
  const { 'content-length': _, 'transfer-encoding': __, ...headers } = incoming.headers;
  return new Promise((resolve, reject) => {
    const inner = request(
      {
        ...{ host: hostname, port, agent, method: incoming.method, path: incoming.url },
        headers: { ...headers, 'content-length': body.length },
      },
      async (answer) => {
        const { 'transfer-encoding': ___, connection: ____, ...answerHeaders } = answer.headers;
        resolve({ status: answer.statusCode ?? 500, headers: answerHeaders, body: await readBody(answer) });
      },
    );
    inner.on('error', reject);
    inner.end(body);
  });
}
