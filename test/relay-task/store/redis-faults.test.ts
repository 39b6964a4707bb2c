/** A faulty proxy between store and Redis, and a Redis that is killed, demoted and locked. */
import type { Store } from '../../../relay-task/ports.ts';
import type { RedisConnection } from '../../../relay-task/store/redis-client.ts';
import { createRedisStore } from '../../../relay-task/store/redis-store.ts';
import { eventually, roomy } from '../../support/eventually.ts';
import { silentLog } from '../../support/logs.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { describeWithRedis, redisAt, startRedis, type TestRedis } from '../../support/redis.ts';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';
import { flag, flags, segment, tombstone } from './items.ts';
import { quickReplica, textsOfMemory } from './open-replicas.ts';

describeWithRedis('the Redis store under faults', () => {
  let server: TestRedis;
  let proxy: TcpProxy;
  let memory: Memory;
  let store: Store;
  const closing: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    server = await startRedis();
    proxy = await startTcpProxy(server.port);
    memory = createMemory(...flags(20), segment('s', 1));
    store = await openWriter();
  });
  afterEach(async () => {
    proxy.heal();
    await store.close();
    for (const close of closing.splice(0)) await close();
    await proxy.close();
    await server.close();
  });

  async function openWriter(access: Partial<RedisConnection> = {}, flushMs = 60_000): Promise<Store> {
    const opened = createRedisStore({
      connection: redisAt(proxy.port, { connectTimeoutMs: roomy(300), commandTimeoutMs: roomy(300), ...access }),
      ...{ prefix: 'env', view: memory, writer: 'auto', log: silentLog, timings: quickReplica },
    });
    memory.listen(opened);
    opened.setEligible(true);
    await opened.flush(flushMs);
    return opened;
  }

  async function stored(): Promise<Record<string, Record<string, string>>> {
    const [features, segments] = await Promise.all([
      server.client.hgetall('env:features'),
      server.client.hgetall('env:segments'),
    ]);
    return { features, segments };
  }

  /** Changes of every kind; returns at once, whatever the store does. */
  function changeMemory(): void {
    for (let version = 2; version <= 30; version++) memory.set(flag('flag-1', version));
    memory.set(tombstone('features', 'flag-2', 2), flag('new', 1), segment('s', 2));
  }

  async function expectStoreToFollow(): Promise<void> {
    await eventually(async () => {
      expect(await stored()).toEqual(textsOfMemory(memory));
      expect(store.status().state).toBe('VALID');
    });
  }

  const faults: Record<string, { begin(): void; end(): void; message: RegExp }> = {
    'is cut off': {
      begin: () => proxy.cut(),
      end: () => proxy.heal(),
      message: /ECONNRESET|EPIPE|closed|ECONNREFUSED/i,
    },
    'never answers': {
      begin: () => proxy.hang(),
      end: () => proxy.heal(),
      message: /no answer|timeout/i,
    },
    'works but its answers are lost': {
      begin: () => proxy.loseAnswers(),
      end: () => proxy.heal(),
      message: /closed|ECONNRESET|EPIPE|abort/i,
    },
  };
  test.each(Object.keys(faults))('does not block memory while Redis %s, and catches up afterwards', async (name) => {
    const { begin, end, message } = faults[name]!;
    begin();
    changeMemory();
    await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
    await expect(store.read()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    // On a busy machine the first failure may be a request that timed out before.
    await eventually(() => expect(store.status().lastError?.message).toMatch(message));
    memory.set(flag('flag-3', 2));
    end();
    await expectStoreToFollow();
  });

  test('replaces a connection that silently died', async () => {
    proxy.freeze();
    changeMemory();
    await expectStoreToFollow();
    expect(store.status().lastError?.message).toMatch(/no answer|timeout/i);
  });

  test('falls behind a slow Redis and catches up with the newest versions only', async () => {
    await store.close();
    store = await openWriter({ commandTimeoutMs: 60_000 });
    proxy.slow(60);
    changeMemory();
    const before = proxy.sentBytes();
    for (let version = 31; version <= 400; version++) memory.set(flag('flag-1', version));
    await expectStoreToFollow();
    expect(proxy.sentBytes() - before).toBeLessThan(50_000);
    expect(store.status().lastError).toBeUndefined();
  });

  test('refills a Redis that was killed and came back empty', async () => {
    await server.kill();
    changeMemory();
    await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
    await server.restart();
    await expectStoreToFollow();
    expect(await server.client.exists('env:$inited')).toBe(1);
  });

  test('refills a Redis that was wiped without a disconnect', async () => {
    await server.client.flushall();
    await expectStoreToFollow();
  });

  test('reconnects if its Redis became a read-only replica', async () => {
    const successor = await startRedis();
    closing.push(() => successor.close());
    await server.client.replicaof('127.0.0.1', successor.port);
    const connections = proxy.connections();
    changeMemory();
    await eventually(() => expect(store.status().lastError?.message).toMatch(/READONLY|MASTERDOWN/));
    await eventually(() => expect(proxy.connections()).toBeGreaterThan(connections));
    // The name now resolves to the new master, as with a managed Redis.
    proxy.redirect(successor.port);
    await expectStoreToFollow();
  });

  test('reports a wrong password and catches up once it is right', async () => {
    await server.client.config('SET', 'requirepass', 'right');
    await server.client.auth('right');
    const locked = await openWriter({ password: 'wrong-secret' }, 50);
    closing.push(() => locked.close());
    await eventually(() => expect(locked.status().lastError?.message).toMatch(/WRONGPASS|NOAUTH/));
    expect(JSON.stringify(locked.status())).not.toContain('wrong-secret');
    await store.close();
    changeMemory();
    await server.client.config('SET', 'requirepass', 'wrong-secret');
    await eventually(async () => expect(await stored()).toEqual(textsOfMemory(memory)));
    await eventually(() => expect(locked.status().state).toBe('VALID'));
  });

  test('fails while Redis is out of memory and catches up afterwards', async () => {
    await server.client.config('SET', 'maxmemory', '1');
    changeMemory();
    await eventually(() => expect(store.status().lastError?.message).toMatch(/OOM/));
    await server.client.config('SET', 'maxmemory', '0');
    await expectStoreToFollow();
  });

  test('opens a bounded number of connections during an outage', async () => {
    proxy.cut();
    const before = proxy.connections();
    for (let version = 2; version <= 500; version++) memory.set(flag('flag-1', version));
    await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
    expect(proxy.connections() - before).toBeLessThan(30);
  });

  test('equals memory after a wipe with two writers', async () => {
    const second = await openWriter();
    closing.push(() => second.close());
    await server.client.flushall();
    for (let version = 2; version <= 50; version++) memory.set(flag('flag-5', version), flag(`more-${version}`, 1));
    await expectStoreToFollow();
    // The second may be repeating what met a change of the first.
    await eventually(() =>
      expect([store, second].map((one) => one.status())).toMatchObject([{ state: 'VALID' }, { state: 'VALID' }]),
    );
  });
});
