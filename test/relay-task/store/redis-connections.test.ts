/** Ways to reach a Redis, each against real servers. */
import { readFileSync } from 'node:fs';
import { Cluster } from 'ioredis';
import { generate } from 'selfsigned';
import type { Store } from '../../../relay-task/ports.ts';
import { createRedisClient, type RedisConnection } from '../../../relay-task/store/redis-client.ts';
import {
  createRedisStore,
  describePrefixProblem,
  type RedisStoreOptions,
} from '../../../relay-task/store/redis-store.ts';
import { eventually, roomy } from '../../support/eventually.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { closeAfterEach } from '../../support/opened.ts';
import {
  describeWithRedis,
  redisAt,
  startCluster,
  startRedis,
  startSentinels,
  type TestCluster,
  type TestRedis,
} from '../../support/redis.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { flag, flags, segment, tombstone } from './items.ts';
import { listenToLog, quickReplica, textsOfMemory } from './open-replicas.ts';

const { behind } = closeAfterEach();

async function serve(...options: Parameters<typeof startRedis>): Promise<TestRedis> {
  const server = await startRedis(...options);
  behind(() => server.close());
  return server;
}

async function openWriter(
  connection: RedisStoreOptions['connection'],
  memory: Memory,
  options: Partial<RedisStoreOptions> = {},
): Promise<Store> {
  const store = createRedisStore({
    ...{ connection, prefix: 'env', view: memory, writer: 'auto', log: listenToLog(), timings: quickReplica },
    ...options,
  });
  behind(() => store.close());
  memory.listen(store);
  store.setEligible(true);
  await store.flush(60_000);
  return store;
}

async function readTexts(client: Pick<TestRedis['client'], 'hgetall'>, prefix = 'env') {
  const features = await client.hgetall(`${prefix}:features`);
  return { features, segments: await client.hgetall(`${prefix}:segments`) };
}

const example = () => createMemory(...flags(10), segment('s', 1), tombstone('features', 'gone', 3));

describeWithRedis('the Redis store on a single server', () => {
  test('connects with user, password and database number, and shows none of the credentials', async () => {
    const server = await serve();
    await server.client.call('ACL', 'SETUSER', 'relay', 'on', '>pass/word', '~*', '+@all');
    const memory = example();
    const access = { username: 'relay', password: 'pass/word', db: 3 };
    const store = await openWriter(redisAt(server.port, access), memory);
    expect(store.status()).toMatchObject({ state: 'VALID', dbServer: `redis://127.0.0.1:${server.port}/3` });
    expect(JSON.stringify(store.status())).not.toContain('pass');
    expect(await server.client.dbsize()).toBe(0);
    await server.client.select(3);
    expect(await readTexts(server.client)).toEqual(textsOfMemory(memory));
  });

  test('works with these ACL permissions', async () => {
    const server = await serve();
    const rights = [
      '+eval',
      '+evalsha',
      '+hget',
      '+hset',
      '+hdel',
      '+hscan',
      '+hlen',
      '+exists',
      '+get',
      '+set',
      '+del',
      '+type',
    ];
    await server.client.call('ACL', 'SETUSER', 'relay', 'on', '>secret', '~env:*', ...rights);
    const memory = example();
    const log = listenToLog();
    const connection = redisAt(server.port, { username: 'relay', password: 'secret' });
    const store = await openWriter(connection, memory, { log });
    memory.set(flag('flag-1', 2));
    await store.flush(60_000);
    expect((await store.read())?.items).toHaveLength(memory.all().length);
    expect(await readTexts(server.client)).toEqual(textsOfMemory(memory));
    expect(log.lines.filter((line) => !line.includes('Filling the empty store'))).toEqual([]);
  });

  test('writes with WATCH and MULTI if scripts are not permitted, and rolls back no version', async () => {
    const server = await serve();
    await server.client.call('ACL', 'SETUSER', 'relay', 'on', '>secret', '~*', '+@all', '-@scripting');
    const memory = example();
    const log = listenToLog();
    const client = createRedisClient(redisAt(server.port, { username: 'relay', password: 'secret' }));
    behind(() => client.close());
    const stores = [
      await openWriter(client, memory, { log }),
      await openWriter(client, createMemory(flag('only', 1)), { log, prefix: 'other' }),
    ];
    await server.client.hset('env:features', 'flag-3', flag('flag-3', 9).json);
    for (let version = 2; version <= 20; version++) memory.set(flag('flag-1', version), flag('flag-3', version % 8));
    memory.set(flag('flag-3', 2), tombstone('features', 'flag-2', 2));
    await Promise.all(stores.map((store) => store.flush(60_000)));
    await eventually(async () => expect(await readTexts(server.client)).toEqual(textsOfMemory(memory)));
    expect(log.lines.join('\n')).toMatch(/Redis refuses scripts.*NOPERM/);
    expect(await readTexts(server.client, 'other')).toMatchObject({ features: { only: flag('only', 1).json } });
  });

  test('retries a transaction that was disturbed', async () => {
    const server = await serve();
    await server.client.call('ACL', 'SETUSER', 'relay', 'on', '>secret', '~*', '+@all', '-@scripting');
    const memory = example();
    const store = await openWriter(redisAt(server.port, { username: 'relay', password: 'secret' }), memory, {
      timings: { ...quickReplica, glanceMs: 3_600_000 },
    });
    let disturbing = true;
    const disturb = async () => {
      for (let n = 0; disturbing; n++) await server.client.hset('env:features', 'noise', flag('noise', n).json);
    };
    const noise = disturb();
    for (let version = 2; version <= 20; version++) {
      memory.set(flag('flag-1', version));
      await store.flush(30);
    }
    disturbing = false;
    await noise;
    await store.flush(60_000);
    expect(await server.client.hget('env:features', 'flag-1')).toBe(flag('flag-1', 20).json);
  });

  test('reloads its scripts after SCRIPT FLUSH', async () => {
    const server = await serve();
    const memory = example();
    const store = await openWriter(redisAt(server.port), memory);
    await server.client.script('FLUSH');
    memory.set(flag('flag-1', 2));
    await store.flush(60_000);
    expect(await readTexts(server.client)).toEqual(textsOfMemory(memory));
    expect(store.status().lastError).toBeUndefined();
  });

  test('connects over TLS with a private CA, and only with it', async () => {
    const own = await generate([{ name: 'commonName', value: 'localhost' }], {
      keySize: 2048,
      extensions: [
        { name: 'basicConstraints', cA: true },
        {
          name: 'subjectAltName',
          altNames: [
            { type: 2, value: 'localhost' },
            { type: 7, ip: '127.0.0.1' },
          ],
        },
      ],
    });
    const server = await serve({ tls: { ca: own.cert, cert: own.cert, key: own.private } });
    const memory = example();
    const store = await openWriter(redisAt(server.port, { ca: own.cert }), memory);
    expect(store.status()).toMatchObject({ state: 'VALID', dbServer: `rediss://127.0.0.1:${server.port}` });
    expect(await readTexts(server.client)).toEqual(textsOfMemory(memory));
    const stranger = createRedisStore({
      ...{ connection: redisAt(server.port, { tls: true }), prefix: 'env' },
      ...{ view: createMemory(), writer: 'never', log: listenToLog(), timings: quickReplica },
    });
    behind(() => stranger.close());
    await expect(stranger.read()).rejects.toThrow(/self.signed/);
  });
});

describeWithRedis('the Redis store with Sentinels', () => {
  test('finds the master by name and follows a failover', async () => {
    const sentinels = await startSentinels();
    behind(() => sentinels.close());
    const memory = example();
    const connection: RedisConnection = {
      sentinels: [{ host: '127.0.0.1', port: sentinels.sentinel.port }],
      master: sentinels.name,
      connectTimeoutMs: 3_000,
      commandTimeoutMs: roomy(500),
    };
    const store = await openWriter(connection, memory);
    expect(await readTexts(sentinels.master.client)).toEqual(textsOfMemory(memory));
    await sentinels.master.kill();
    memory.set(flag('flag-1', 2), tombstone('features', 'flag-2', 2));
    await eventually(async () => expect(await sentinels.replica.client.role()).toContain('master'));
    await eventually(async () => {
      expect(await readTexts(sentinels.replica.client)).toEqual(textsOfMemory(memory));
      expect(store.status().state).toBe('VALID');
    });
  });
});

describeWithRedis('the Redis store on a Cluster of three nodes', () => {
  let cluster: TestCluster;
  let through: Cluster;
  beforeAll(async () => {
    cluster = await startCluster();
    through = new Cluster(cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })));
    through.on('error', () => {});
  });
  afterAll(async () => {
    through.disconnect();
    await cluster.close();
  });
  const connection = (access = {}) => redisAt([cluster.nodes[1]!.port], access);

  test('writes environments with hash tags to their slots and reads them back', async () => {
    const prefixes = ['{one}', '{two}', 'team:{three}', '{four}'];
    const memory = example();
    for (const prefix of prefixes) {
      const store = await openWriter(connection(), memory, { prefix });
      expect(await readTexts(through, prefix)).toEqual(textsOfMemory(memory));
      expect((await store.read())?.items).toHaveLength(memory.all().length);
    }
    const sizes = await Promise.all(cluster.nodes.map(({ client }) => client.dbsize()));
    expect(sizes.filter((size) => size > 0).length).toBeGreaterThan(1);
  });

  test('follows a slot that moves to another node', async () => {
    const memory = example();
    const store = await openWriter(connection(), memory, { prefix: '{moving}' });
    const slot = Number(await cluster.nodes[0]!.client.call('CLUSTER', 'KEYSLOT', '{moving}:features'));
    const owner = Math.floor((slot * 3) / 16_384);
    const [from, to] = [cluster.nodes[owner]!, cluster.nodes[(owner + 1) % 3]!];
    const ids = await Promise.all([from, to].map(({ client }) => client.call('CLUSTER', 'MYID')));
    await to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(ids[0]));
    await from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(ids[1]));
    const keys = ['features', 'segments', '$inited', '$manifest'].map((name) => `{moving}:${name}`);
    await from.client.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5_000, 'KEYS', ...keys);
    const third = cluster.nodes.find((node) => node !== from && node !== to)!;
    for (const { client } of [to, from, third]) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(ids[1]));
    // What other nodes still say about the slot must not win over its new owner.
    await to.client.call('CLUSTER', 'BUMPEPOCH');
    memory.set(flag('flag-1', 2), flag('new', 1));
    await store.flush(60_000);
    await eventually(async () =>
      expect(await to.client.hgetall('{moving}:features')).toEqual(textsOfMemory(memory).features),
    );
  });

  test('connects if the first of its nodes is down and the second never answers', async () => {
    const silent = await startTcpProxy(cluster.nodes[0]!.port);
    behind(() => silent.close());
    silent.hang();
    const down = await serve();
    await down.kill();
    const ports = [down.port, silent.port, cluster.nodes[2]!.port];
    const memory = example();
    const store = await openWriter(redisAt(ports, { connectTimeoutMs: roomy(300) }), memory, { prefix: 'seeds' });
    expect(store.status().dbPrefix).toBe('{seeds}');
    await eventually(async () => expect(await readTexts(through, '{seeds}')).toEqual(textsOfMemory(memory)));
    expect(store.status().dbServer).toBe(`redis+cluster://${ports.map((port) => `127.0.0.1:${port}`).join()}`);
  });

  test('sends transactions to the right node if scripts are not permitted', async () => {
    for (const { client } of cluster.nodes) {
      await client.call('ACL', 'SETUSER', 'relay', 'on', '>secret', '~*', '+@all', '-@scripting');
    }
    const memory = example();
    const access = { username: 'relay', password: 'secret' };
    const store = await openWriter(connection(access), memory, { prefix: '{tagged}' });
    memory.set(flag('flag-1', 2));
    await store.flush(60_000);
    expect(await readTexts(through, '{tagged}')).toEqual(textsOfMemory(memory));
  });
});

test('rejects a prefix that no Cluster can hold before it sends anything', () => {
  const connection = redisAt([1]);
  expect(() =>
    createRedisStore({ connection, prefix: '}plain', view: example(), writer: 'auto', log: listenToLog() }),
  ).toThrow('the prefix "}plain" must contain a hash tag in a Redis Cluster, such as "{plain}"');
});

test.each([
  ['', undefined],
  ['a', undefined],
  ['a{}b', undefined],
  ['{}{a}', undefined],
  ['}', 'the prefix "}" must contain a hash tag in a Redis Cluster, such as "{launchdarkly}"'],
  ['}a{', 'the prefix "}a{" must contain a hash tag in a Redis Cluster, such as "{a}"'],
  ['{a}', undefined],
  ['team:{a}:b', undefined],
])(
  'a Cluster puts a prefix without a hash tag in braces, which is in vain if it begins with one: %j',
  (prefix, problem) => {
    expect(describePrefixProblem(prefix, { cluster: true })).toBe(problem);
    expect(describePrefixProblem(prefix, { cluster: false })).toBeUndefined();
  },
);

test('the source of the Redis store never uses KEYS or reads a whole hash at once', () => {
  for (const name of ['redis-client', 'redis-compare-and-set', 'redis-database', 'redis-store']) {
    const source = readFileSync(`${import.meta.dirname}/../../../relay-task/store/${name}.ts`, 'utf8');
    expect(source).not.toMatch(/\.keys\(['"`*]|hgetall|\bSCAN\b/i);
  }
});
