/** What is stored in Redis, byte by byte, and how other readers and writers use it. */
import { init } from '@launchdarkly/node-server-sdk';
import { RedisFeatureStore } from '@launchdarkly/node-server-sdk-redis';
import type { Item } from '../../../lib/flag-table/index.ts';
import type { Store } from '../../../relay-task/ports.ts';
import { createRedisClient } from '../../../relay-task/store/redis-client.ts';
import { createRedisStore, type RedisStoreOptions } from '../../../relay-task/store/redis-store.ts';
import { eventually } from '../../support/eventually.ts';
import { evaluateAll, exampleContexts, exampleEnvironment } from '../../support/example-environment.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { describeWithRedis, redisAt, startRedis, type TestRedis } from '../../support/redis.ts';
import { flag, flags, relayed, segment, tombstone } from './items.ts';
import { listenToLog, quickReplica, textsOfMemory } from './open-replicas.ts';
import { sorted } from './open-stores.ts';

describeWithRedis('the layout in Redis', () => {
  let server: TestRedis;
  const opened: Store[] = [];
  beforeAll(async () => {
    server = await startRedis();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
    await server.client.flushall();
  });
  afterAll(() => server.close());

  function open(memory: Memory, options: Partial<RedisStoreOptions> = {}): Store {
    const store = createRedisStore({
      ...{ connection: redisAt(server.port), prefix: 'env', view: memory, writer: 'auto' },
      ...{ log: listenToLog(), timings: quickReplica, ...options },
    });
    opened.push(store);
    memory.listen(store);
    return store;
  }
  async function openWriter(memory: Memory, options: Partial<RedisStoreOptions> = {}): Promise<Store> {
    const store = open(memory, options);
    store.setEligible(true);
    await store.flush(60_000);
    return store;
  }
  const read = async (options: Partial<RedisStoreOptions> = {}) =>
    (await open(createMemory(), { writer: 'never', ...options }).read())?.items;

  test("is LaunchDarkly's, plus one key", async () => {
    await openWriter(createMemory(flag('a', 7), segment('s', 3), tombstone('features', 'gone', 2)));
    expect((await server.client.keys('*')).sort()).toEqual([
      'env:$inited',
      'env:$manifest',
      'env:features',
      'env:segments',
    ]);
    expect(await server.client.hgetall('env:features')).toEqual({
      a: '{"key":"a","version":7,"deleted":false,"on":true,"variations":[true,false],"fallthrough":{"variation":0}}',
      gone:
        '{"key":"gone","on":false,"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"fallthrough":{},' +
        '"offVariation":null,"variations":[],"clientSide":false,"salt":"","trackEvents":false,' +
        '"trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":2,"deleted":true}',
    });
    expect(await server.client.hgetall('env:segments')).toEqual({
      s: '{"key":"s","version":3,"deleted":false,"included":[],"excluded":[],"rules":[],"salt":"s"}',
    });
    expect(await server.client.get('env:$inited')).toBe('');
    expect(await server.client.ttl('env:features')).toBe(-1);
  });

  test('uses the prefix `launchdarkly` if none is set', async () => {
    await openWriter(createMemory(flag('a', 1)), { prefix: '' });
    expect(await server.client.hkeys('launchdarkly:features')).toEqual(['a']);
    expect(await server.client.exists('launchdarkly:$inited')).toBe(1);
  });

  test('is never half written, since a publication is one transaction', async () => {
    const memory = createMemory(flag('a', 1), flag('b', 1));
    const store = await openWriter(memory);
    let watching = true;
    const seen = new Set<string>();
    const watch = (async () => {
      while (watching) {
        const texts = await server.client.hmget('env:features', 'a', 'b');
        seen.add(texts.map((text) => JSON.parse(text ?? '{}').version).join(' '));
      }
    })();
    for (let version = 2; version <= 60; version++) {
      memory.set(flag('a', version), flag('b', version));
      await store.flush(60_000);
    }
    watching = false;
    await watch;
    expect(seen.size).toBeGreaterThan(3);
    for (const pair of seen) expect(pair).toMatch(/^(\d+) \1$/);
  });

  test('is read as ld-relay writes it: tombstones named `$deleted`, items in its own format, no manifest', async () => {
    const [text, grave] = [relayed(flag('a', 4)), relayed(tombstone('features', 'gone', 5))];
    await server.client.hset('env:features', { a: text, gone: grave });
    expect(await read()).toBeUndefined();
    await server.client.set('env:$inited', '');
    expect(sorted(await read())).toEqual([
      { kind: 'features', key: 'a', version: 4, deleted: false, json: text },
      { kind: 'features', key: 'gone', version: 5, deleted: true, json: grave },
    ]);
  });

  test('is adopted from ld-relay without rewriting equal items', async () => {
    const text = relayed(flag('a', 4));
    await server.client.hset('env:features', { a: text, b: flag('b', 1).json });
    await server.client.set('env:$inited', '');
    const memory = createMemory(flag('a', 4), flag('b', 2));
    await openWriter(memory);
    expect(await server.client.hgetall('env:features')).toEqual({ a: text, b: flag('b', 2).json });
    expect(await read()).toHaveLength(2);
  });

  test('still boots after ld-relay restarts and rewrites everything without tombstones', async () => {
    const memory = createMemory(flag('a', 1), tombstone('features', 'gone', 2), segment('s', 1));
    await (await openWriter(memory)).close();
    await server.client
      .multi()
      .del('env:features', 'env:segments')
      .hset('env:features', 'a', flag('a', 1).json)
      .hset('env:segments', 's', segment('s', 1).json)
      .set('env:$inited', '')
      .exec();
    expect(sorted(await read())).toEqual([flag('a', 1), segment('s', 1)]);
  });

  test('does not boot if a hash was evicted', async () => {
    await (await openWriter(createMemory(...flags(5), segment('s', 1)))).close();
    await server.client.del('env:segments');
    expect(await read()).toBeUndefined();
  });

  describe.each(['by script', 'without scripts'])('written %s', (how) => {
    const unhurried = { timings: { ...quickReplica, glanceMs: 3_600_000 } };
    const access = how === 'by script' ? {} : { username: 'noscripts', password: 'secret' };
    beforeAll(() => server.client.call('ACL', 'SETUSER', 'noscripts', 'on', '>secret', '~*', '+@all', '-@scripting'));

    test.each([
      ['everything', () => server.client.flushall()],
      ['an evicted hash', () => server.client.del('env:features')],
      ['a hash of which one field is gone', () => server.client.hdel('env:features', 'flag-7')],
    ])('notices the loss of %s at the next write, without waiting for a glance', async (_, lose) => {
      const memory = createMemory(...flags(30), segment('s', 1));
      const log = listenToLog();
      const store = await openWriter(memory, { ...unhurried, connection: redisAt(server.port, access), log });
      await lose();
      memory.set(flag('new', 1));
      await store.flush(60_000);
      await eventually(async () => {
        expect(await server.client.hgetall('env:features')).toEqual(textsOfMemory(memory).features);
        expect(await server.client.exists('env:$inited', 'env:$manifest')).toBe(2);
      });
      expect(await read()).toHaveLength(32);
      expect(log.lines.join()).toMatch(/Redis has \d+ of at least \d+ features: it was wiped, or lost a part/);
    });

    const wrongTypes: Record<string, (key: string) => Promise<unknown>> = {
      string: (key) => server.client.set(key, 'x'),
      list: (key) => server.client.rpush(key, 'x'),
      hash: (key) => server.client.hset(key, 'x', 'x'),
    };
    test.each([
      ['features', 'string'],
      ['features', 'list'],
      ['segments', 'string'],
      ['$inited', 'hash'],
      ['$manifest', 'list'],
    ])('repairs `%s` that is a %s, and logs it', async (name, type) => {
      const key = `env:${name}`;
      const log = listenToLog();
      const memory = createMemory(...flags(3), segment('s', 1));
      const wrong = async () => {
        await server.client.del(key);
        await wrongTypes[type]!(key);
      };
      const expectRepaired = () =>
        eventually(async () => {
          expect(await server.client.hgetall('env:features')).toEqual(textsOfMemory(memory).features);
          expect(await server.client.hgetall('env:segments')).toEqual(textsOfMemory(memory).segments);
          expect(await server.client.mget('env:$inited', 'env:$manifest')).toEqual([
            '',
            expect.stringContaining('"flags":3'),
          ]);
          expect(store.status().state).toBe('VALID');
        });
      await wrong();
      const store = await openWriter(memory, { connection: redisAt(server.port, access), log });
      await expectRepaired();
      await wrong();
      await expectRepaired();
      expect(log.lines.join('\n')).toContain(
        `A key in Redis has the wrong type; the relay that writes replaces it {"prefix":"env","key":"${key}","type":"${type}",`,
      );
    });
  });

  test('leaves a key of the wrong type alone if the relay may only read, and boots from nothing', async () => {
    await server.client.set('env:features', 'not ours');
    await server.client.set('env:$inited', '');
    const reader = open(createMemory(flag('a', 1)), { writer: 'never' });
    reader.setEligible(true);
    expect(await reader.read()).toBeUndefined();
    await eventually(() => expect(reader.status().state).toBe('VALID'));
    expect(await server.client.get('env:features')).toBe('not ours');
  });

  test('of ld-relay from which the flags were evicted is not used, and is marked again once they are back', async () => {
    await server.client.hset('env:segments', 's', segment('s', 1).json);
    await server.client.set('env:$inited', '');
    const log = listenToLog();
    expect(await read({ log })).toBeUndefined();
    expect(log.lines.join()).toContain('marked complete, but has no manifest and no flag');
    const memory = createMemory(...flags(500), segment('s', 1));
    let partial = 0;
    let watching = true;
    const watch = (async () => {
      while (watching) {
        const [marked, fields] = (await server.client.multi().exists('env:$inited').hlen('env:features').exec())!;
        if (marked?.[1] === 1 && fields?.[1] !== 0 && fields?.[1] !== 500) partial += 1;
      }
    })();
    const store = await openWriter(memory, { log });
    await store.flush(60_000);
    watching = false;
    await watch;
    expect(partial).toBe(0);
    expect(await read()).toHaveLength(501);
    expect(log.lines.join()).toContain('The store lost items; it is not marked complete until it is filled again');
  });

  test('is read in parts for a large environment', async () => {
    const memory = createMemory(...flags(3_000));
    await openWriter(memory);
    await server.client.config('RESETSTAT');
    expect(await read()).toHaveLength(3_000);
    const statistics = await server.client.info('commandstats');
    expect(Number(/cmdstat_hscan:calls=(\d+)/.exec(statistics)?.[1])).toBeGreaterThan(10);
    expect(statistics).not.toMatch(/cmdstat_(hgetall|keys|scan):/);
  });

  test('is repaired if it contains bytes that are not text', async () => {
    const memory = createMemory(flag('a', 1));
    await openWriter(memory, { timings: { ...quickReplica, reconcileMs: 50 } });
    await server.client.hset('env:features', 'a', Buffer.from([0xff, 0xfe, 0x00, 0xc3]));
    await eventually(async () => expect(await server.client.hget('env:features', 'a')).toBe(flag('a', 1).json));
  });

  test('is written for many environments over one connection, which the caller closes', async () => {
    const client = createRedisClient(redisAt(server.port));
    const memories = Array.from({ length: 10 }, (_, index) => createMemory(...flags(20, index + 1)));
    const stores = await Promise.all(
      memories.map((memory, index) => openWriter(memory, { connection: client, prefix: `env${index}` })),
    );
    const connected = String(await server.client.client('LIST'))
      .trim()
      .split('\n').length;
    expect(connected).toBe(2);
    for (const [index, memory] of memories.entries()) {
      expect(await server.client.hgetall(`env${index}:features`)).toEqual(textsOfMemory(memory).features);
    }
    await Promise.all(stores.map((store) => store.close()));
    expect(await client.call((redis) => redis.ping())).toBe('PONG');
    await client.close();
  });

  test('works for the official Node SDK in daemon mode, which answers like our evaluator', async () => {
    const environment = exampleEnvironment();
    const itemsOf = (kind: Item['kind'], data: Record<string, unknown>): Item[] =>
      Object.entries(data).map(([key, value]) => {
        const { version = 1 } = value as { version?: number };
        return { kind, key, version, deleted: false, json: JSON.stringify({ ...(value as object), key, version }) };
      });
    const memory = createMemory(
      ...itemsOf('segments', environment.segments),
      ...itemsOf('features', environment.flags),
    );
    const store = await openWriter(memory);
    const client = init('sdk-daemon', {
      featureStore: RedisFeatureStore({
        redisOpts: { host: '127.0.0.1', port: server.port },
        prefix: 'env',
        cacheTTL: 0,
      }),
      ...{ useLdd: true, sendEvents: false, diagnosticOptOut: true },
      logger: { error() {}, warn() {}, info() {}, debug() {} },
    });
    try {
      await client.waitForInitialization({ timeout: 60 });
      let asked = 0;
      for (const [question, expected] of evaluateAll(environment, 'FALLBACK')) {
        const [key, context] = JSON.parse(question);
        asked += 1;
        expect({ question, answer: await client.variationDetail(key, context, 'FALLBACK') }).toEqual({
          question,
          answer: expected,
        });
      }
      expect(asked).toBeGreaterThan(70);
      const { version: _, ...retired } = environment.flags.retired as unknown as { version?: number };
      memory.set(
        ...itemsOf('features', { retired: { ...retired, version: 99, on: true } }),
        tombstone('features', 'site-banner', 99),
      );
      await store.flush(60_000);
      const context = exampleContexts[0] as { kind: 'user'; key: string };
      expect(await client.variationDetail('retired', context, 'FALLBACK')).toMatchObject({
        value: 'on',
        variationIndex: 1,
      });
      expect(await client.variationDetail('site-banner', context, 'FALLBACK')).toMatchObject({
        value: 'FALLBACK',
        reason: { kind: 'ERROR', errorKind: 'FLAG_NOT_FOUND' },
      });
    } finally {
      client.close();
    }
  });

  test("is read as the official Node SDK's own store writes it", async () => {
    const feature = RedisFeatureStore({
      redisOpts: { host: '127.0.0.1', port: server.port },
      prefix: 'env',
      cacheTTL: 0,
    });
    const sdkStore = feature({ basicConfiguration: { logger: undefined } } as never);
    const data = { features: { a: { key: 'a', version: 3, on: true } }, segments: { s: { key: 's', version: 1 } } };
    await new Promise<void>((resolve) => sdkStore.init(data as never, resolve));
    await new Promise<void>((resolve) => sdkStore.delete({ namespace: 'features' } as never, 'a', 4, resolve));
    const items = sorted(await read());
    expect(items).toMatchObject([
      { kind: 'features', key: 'a', version: 4, deleted: true },
      { kind: 'segments', key: 's', version: 1, deleted: false },
    ]);
    sdkStore.close();
  });
});
