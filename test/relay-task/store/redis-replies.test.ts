/** A Redis server, or a proxy before it, whose answers are wrong on purpose. */
import { connect, createServer, type Socket } from 'node:net';
import { createBudget } from '../../../relay-task/common/budget.ts';
import { startReading } from '../../../relay-task/store/read-memory.ts';
import { createRedisClient, type RedisConnection } from '../../../relay-task/store/redis-client.ts';
import { createRedisDatabase } from '../../../relay-task/store/redis-database.ts';
import { createReplyCounter } from '../../../relay-task/store/redis-replies.ts';
import { createRedisStore } from '../../../relay-task/store/redis-store.ts';
import { eventually, roomy } from '../../support/eventually.ts';
import { silentLog } from '../../support/logs.ts';
import { createMemory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { describeWithRedis, redisAt, startRedis } from '../../support/redis.ts';
import { flag, flags } from './items.ts';
import { quickReplica } from './open-replicas.ts';

const { opened, behind } = closeAfterEach();

const hostile: Record<string, { readonly answer: string; readonly reason: RegExp }> = {
  'one null more than it was asked for': { answer: '+OK\r\n$-1\r\n', reason: /an answer that no command asked for/ },
  'one status more than it was asked for': { answer: '+OK\r\n+OK\r\n', reason: /an answer that no command asked for/ },
  'arrays in arrays without end': { answer: '*1\r\n'.repeat(5_000), reason: /nested more than 16 deep/ },
  'an array of 33,554,431 elements': { answer: '*33554431\r\n', reason: /more than 1000000 elements/ },
  'the length of a text of 512 MiB': { answer: '$536870911\r\nx', reason: /a text of 536870911 bytes, above 67108864/ },
  'what no reply begins with': {
    answer: 'HTTP/1.1 400 Bad Request\r\n',
    reason: /the byte 72 where a reply must begin/,
  },
  'a status line without end': { answer: `+${'x'.repeat(70_000)}`, reason: /a line of more than 65536 bytes/ },
};

/** Answers each packet as told at the time; counts connections, and those that ended. */
async function startServer(answer: (socket: Socket, bytes: Buffer) => void) {
  const told = { answer, connections: 0, ended: 0, port: 0, close: async () => {} };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    told.connections += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      told.ended += 1;
      sockets.delete(socket);
    });
    socket.on('data', (bytes) => told.answer(socket, bytes));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  told.port = (server.address() as { port: number }).port;
  told.close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  return opened(told);
}

const quick = { connectTimeoutMs: roomy(1_000), commandTimeoutMs: roomy(1_000) };
const short = { connectTimeoutMs: 200, commandTimeoutMs: 200 };

test.each(Object.keys(hostile))(
  'a server that answers with %s is disconnected and asked again, and the status says why',
  async (name) => {
    const { answer, reason } = hostile[name]!;
    const server = await startServer((socket) => void socket.write(answer));
    const client = opened(createRedisClient(redisAt(server.port, quick)));
    await expect(client.call((redis) => redis.get('a'))).rejects.toThrow(reason);
    server.answer = (socket) => void socket.write('$4\r\nwell\r\n');
    await eventually(async () => expect(await client.call((redis) => redis.get('a'))).toBe('well'));
    expect(server.connections).toBeGreaterThan(1);
  },
);

// Of a cluster's node one connection is for commands and one for subscriptions.
const manners: Record<string, (port: number) => RedisConnection> = {
  'a Sentinel': (port) => ({ sentinels: [{ host: '127.0.0.1', port }], master: 'mymaster', ...short }),
  'a node of a cluster': (port) => redisAt([port], short),
};
const harmful = ['one null more than it was asked for', 'arrays in arrays without end'];
test.each(Object.keys(manners).flatMap((manner) => harmful.map((name) => [manner, name] as const)))(
  '%s that answers with %s does no harm',
  async (manner, name) => {
    const server = await startServer((socket) => void socket.write(hostile[name]!.answer));
    const client = opened(createRedisClient(manners[manner]!(server.port)));
    await expect(client.call((redis) => redis.get('a'))).rejects.toThrow();
    await eventually(() => expect(server.ended).toBeGreaterThanOrEqual(2));
  },
);

test('an error that no command asked for is reported unchanged', async () => {
  const server = await startServer(() => {});
  const client = opened(createRedisClient(redisAt(server.port, quick)));
  server.answer = (socket) => void socket.end('-ERR max number of clients reached\r\n');
  await expect(client.call((redis) => redis.get('a'))).rejects.toThrow('ERR max number of clients reached');
});

test('a connection whose answers arrive byte by byte is closed, so that no commands pile up on it', async () => {
  const server = await startServer((socket) => {
    socket.write('+');
    const dripping = setInterval(() => socket.write('x'), 5);
    socket.on('close', () => clearInterval(dripping));
  });
  // The answer has both times. On a busy machine nothing at all may arrive in the shorter one.
  const timeouts = { connectTimeoutMs: roomy(1_000), commandTimeoutMs: 100 };
  const client = opened(createRedisClient(redisAt(server.port, timeouts)));
  await expect(client.call((redis) => redis.get('a'))).rejects.toThrow(/no answer within 100 ms|Expecting data/);
  await eventually(() => expect(server.ended).toBe(1));
});

test('a connection that ended before it answered does not end the next one when its time is over', async () => {
  const server = await startServer((socket) => socket.destroy());
  const client = opened(createRedisClient(redisAt(server.port, quick)));
  await expect(client.call((redis) => redis.get('a'))).rejects.toThrow('the connection was closed');
  server.answer = (socket) => void socket.write('$4\r\nwell\r\n');
  await eventually(async () => expect(await client.call((redis) => redis.get('a'))).toBe('well'));
  // The timer of the first command began before this one, and so ends before it.
  await new Promise((resolve) => setTimeout(resolve, quick.commandTimeoutMs));
  expect(await client.call((redis) => redis.get('a'))).toBe('well');
  expect({ connections: server.connections, ended: server.ended }).toEqual({ connections: 2, ended: 1 });
});

test('a scan that never ends stops once it is larger than any environment @heavy', async () => {
  const value = 'x'.repeat(8 * 1024 * 1024);
  let pages = 0;
  const server = await startServer((socket, bytes) => {
    for (const command of bytes.toString().split(/(?=^\*\d+\r\n)/m)) {
      if (/\nhscan\r\n.*:features\r\n/s.test(command)) {
        pages += 1;
        // An end after all, should it not be left.
        const cursor = pages < 32 ? 1 : 0;
        const field = `flag-${pages}`;
        socket.write(`*2\r\n$1\r\n${cursor}\r\n*2\r\n$${field.length}\r\n${field}\r\n$${value.length}\r\n${value}\r\n`);
      } else socket.write(/\nhscan\r\n/.test(command) ? '*2\r\n$1\r\n0\r\n*0\r\n' : '$-1\r\n');
    }
  });
  const client = opened(createRedisClient(redisAt(server.port, { commandTimeoutMs: 60_000 })));
  const database = createRedisDatabase({ client, prefix: 'env', log: silentLog, close: async () => {} });
  const memory = createBudget(128 * 1024 * 1024);
  const { take, end } = startReading(memory);
  await expect(database.readAll(take)).rejects.toThrow(
    /^the stored data takes more than \d+ bytes, and all that is read from stores at the same time may take 134217728$/,
  );
  // One reading alone gets a half.
  expect(pages).toBe(8);
  end();
  expect(memory.usedBytes).toBe(0);
});

describeWithRedis('a store behind a proxy that answers by itself for a while', () => {
  test('is interrupted with the reason, and filled afterwards', async () => {
    const redis = opened(await startRedis());
    const toRedis = new WeakMap<Socket, Socket>();
    const pass = (socket: Socket, bytes: Buffer) => {
      let upward = toRedis.get(socket);
      if (!upward) {
        upward = connect({ port: redis.port, host: '127.0.0.1' });
        toRedis.set(socket, upward);
        upward.on('error', () => {}).pipe(socket);
        socket.on('close', () => upward?.destroy());
      }
      upward.write(bytes);
    };
    // More than there are commands in one packet.
    const proxy = await startServer((socket) => void socket.write('$-1\r\n'.repeat(500)));
    const memory = createMemory(...flags(20));
    const store = createRedisStore({
      ...{ connection: redisAt(proxy.port, quick), prefix: 'env', view: memory, writer: 'auto' },
      ...{ log: silentLog, timings: quickReplica },
    });
    behind(() => store.close());
    memory.listen(store);
    store.setEligible(true);
    await eventually(() => {
      expect(store.status().state).toBe('INTERRUPTED');
      expect(store.status().lastError?.message).toBe('Redis sent an answer that no command asked for');
    });
    memory.set(flag('flag-1', 2));
    proxy.answer = pass;
    await eventually(() => expect(store.status().state).toBe('VALID'));
    await store.flush(60_000);
    expect(await redis.client.hget('env:features', 'flag-1')).toBe(flag('flag-1', 2).json);
    expect(await redis.client.hlen('env:features')).toBe(20);
  });
});

describe('the counter of replies', () => {
  const limits = { maxBytes: 100, maxTextBytes: 40, maxElements: 8, maxDepth: 2 };
  const replies = [
    '+OK\r\n',
    ':-12\r\n',
    '-ERR no\r\n',
    '$0\r\n\r\n',
    '$13\r\n*9\r\n$99\r\n-E\r\n\r\n',
    '$-1\r\n',
    '*-1\r\n',
    '*0\r\n',
    '*3\r\n:1\r\n*2\r\n-ERR inside\r\n$1\r\nx\r\n*0\r\n',
    '*1\r\n*1\r\n$-1\r\n',
  ];

  test.each([1, 2, 3, 7, 1_000])('counts the same in packets of %i bytes', (size) => {
    const bytes = Buffer.from(replies.join('').repeat(5));
    const count = createReplyCounter(limits);
    let answers = 0;
    let errors = 0;
    for (let at = 0; at < bytes.length; at += size) {
      const more = count(bytes.subarray(at, at + size));
      answers += more.answers;
      errors += more.errors;
    }
    expect({ answers, errors }).toEqual({ answers: 5 * (replies.length - 1), errors: 5 });
  });

  test.each([
    ['$41\r\n', 'a text of 41 bytes, above 40'],
    ['*4\r\n$30\r\n', undefined],
    [`*4\r\n${`$30\r\n${'x'.repeat(30)}\r\n`.repeat(2)}$30\r\n`, 'more than 100 bytes'],
    ['*5\r\n*4\r\n', 'more than 8 elements'],
    ['*1\r\n*1\r\n*1\r\n', 'nested more than 2 deep'],
    ['*99999999999999999999999999\r\n', 'more than 8 elements'],
    [`$${'9'.repeat(400)}\r\n`, 'a text of Infinity bytes'],
    ['!', 'the byte 33'],
  ])('of %j it says: %s', (text, message) => {
    const count = () => createReplyCounter(limits)(Buffer.from(text));
    if (message === undefined) expect(count()).toEqual({ answers: 0, errors: 0 });
    else expect(count).toThrow(message);
  });

  test('what one reply had does not count against the next', () => {
    const count = createReplyCounter(limits);
    const reply = Buffer.from(`*2\r\n$35\r\n${'x'.repeat(35)}\r\n$35\r\n${'x'.repeat(35)}\r\n`);
    for (let i = 0; i < 20; i++) expect(count(reply).answers).toBe(1);
  });
});
