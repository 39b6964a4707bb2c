/** On a fake Consul server with the KV API, behind a faulty proxy. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Store } from '../../../relay-task/ports.ts';
import { createConsulClient } from '../../../relay-task/store/consul-client.ts';
import { type ConsulStoreOptions, createConsulStore } from '../../../relay-task/store/consul-store.ts';
import { startConsul, type TestConsul } from '../../support/consul-server.ts';
import { eventually } from '../../support/eventually.ts';
import { type FaultyProxy, startFaultyProxy } from '../../support/faulty-proxy.ts';
import { createMemory, type Memory } from '../../support/memory.ts';
import { flag, flags, relayed, segment, tombstone } from './items.ts';
import { listenToLog, quickReplica } from './open-replicas.ts';
import { sorted } from './open-stores.ts';

describe('the Consul store, on a fake server', () => {
  let consul: TestConsul;
  let proxy: FaultyProxy;
  const opened: Store[] = [];
  beforeEach(async () => {
    consul = await startConsul();
    proxy = await startFaultyProxy(consul.address);
  });
  afterEach(async () => {
    proxy.heal();
    await Promise.all(opened.splice(0).map((store) => store.close()));
    await proxy.close();
    await consul.close();
  });

  function open(memory: Memory, options: Partial<ConsulStoreOptions> = {}): Store {
    const store = createConsulStore({
      ...{
        address: proxy.endpoint,
        prefix: 'env',
        view: memory,
        writer: 'auto',
        log: listenToLog(),
        timeoutMs: 60_000,
      },
      ...{ timings: quickReplica, ...options },
    });
    opened.push(store);
    memory.listen(store);
    return store;
  }
  async function openWriter(memory: Memory, options: Partial<ConsulStoreOptions> = {}): Promise<Store> {
    const store = open(memory, options);
    store.setEligible(true);
    await store.flush(60_000);
    return store;
  }
  const read = async (options: Partial<ConsulStoreOptions> = {}) =>
    (await open(createMemory(), { writer: 'never', ...options }).read())?.items;
  const wanted = (memory: Memory, prefix = 'env') =>
    Object.fromEntries(memory.all().map(({ kind, key, json }) => [`${prefix}/${kind}/${key}`, json]));
  function stored(prefix = 'env'): Record<string, string> {
    const data = /\/(features|segments)\//;
    return Object.fromEntries(
      Object.entries(consul.entries()).filter(([key]) => key.startsWith(`${prefix}/`) && data.test(key)),
    );
  }
  const expectToFollow = (store: Store, memory: Memory) =>
    eventually(() => {
      expect(stored()).toEqual(wanted(memory));
      expect(store.status().state).toBe('VALID');
    });

  test("uses LaunchDarkly's layout, plus one key", async () => {
    await openWriter(createMemory(flag('a', 7), segment('s', 3), tombstone('features', 'gone', 2)));
    const { 'env/$manifest': manifest, ...official } = consul.entries();
    expect(official).toEqual({
      'env/$inited': '',
      'env/features/a':
        '{"key":"a","version":7,"deleted":false,"on":true,"variations":[true,false],"fallthrough":{"variation":0}}',
      'env/features/gone': tombstone('features', 'gone', 2).json,
      'env/segments/s': '{"key":"s","version":3,"deleted":false,"included":[],"excluded":[],"rules":[],"salt":"s"}',
    });
    expect(JSON.parse(manifest ?? '')).toMatchObject({ format: 1, flags: 1, segments: 1 });
  });

  test('uses the folder `launchdarkly` without a prefix', async () => {
    await openWriter(createMemory(flag('a', 1)), { prefix: '' });
    expect(Object.keys(stored('launchdarkly'))).toEqual(['launchdarkly/features/a']);
  });

  test('keeps environments apart whose prefixes start alike @heavy', async () => {
    const [one, ten] = [createMemory(flag('a', 1)), createMemory(flag('b', 1), segment('s', 1))];
    const timings = { ...quickReplica, reconcileMs: 40, secondLookMs: 20 };
    await openWriter(ten, { prefix: 'app10', timings });
    await openWriter(one, { prefix: 'app1', timings });
    consul.requests.length = 0;
    await eventually(() => expect(consul.requests.length).toBeGreaterThan(60));
    expect(stored('app10')).toEqual(wanted(ten, 'app10'));
    expect(stored('app1')).toEqual(wanted(one, 'app1'));
    expect(await read({ prefix: 'app1' })).toEqual([flag('a', 1)]);
    for (const { path } of consul.requests) expect(path).toMatch(/^\/(txn$|kv\/app10?\/)/);
  });

  test('puts at most 64 operations in a transaction, all check-and-set except manifest and marker', async () => {
    await openWriter(createMemory(...flags(150)));
    const transactions = consul.requests.filter(({ path }) => path === '/txn').map(({ verbs }) => verbs);
    expect(transactions.length).toBeGreaterThan(2);
    for (const verbs of transactions) expect(verbs.length).toBeLessThanOrEqual(64);
    const sets = transactions.flatMap((verbs, index) => (verbs.includes('set') ? [index] : []));
    expect(sets).toEqual([transactions.length - 1]);
    expect(transactions.flat().filter((verb) => verb === 'cas')).toHaveLength(150);
  });

  test('sends one transaction per change', async () => {
    const memory = createMemory(...flags(20));
    const store = await openWriter(memory, { timings: { ...quickReplica, glanceMs: 3_600_000 } });
    consul.requests.length = 0;
    memory.set(flag('flag-1', 2));
    await store.flush(60_000);
    // Two rows that must still be there are read: the marker and a flag.
    expect(consul.requests).toEqual([{ method: 'PUT', path: '/txn', verbs: ['cas', 'get', 'get', 'set', 'set'] }]);
  });

  test('loses no concurrent write by another client and is not blocked by it @heavy', async () => {
    const memory = createMemory(flag('a', 1), flag('b', 1), flag('c', 1));
    const store = await openWriter(memory, { timings: { ...quickReplica, glanceMs: 3_600_000 } });
    consul.beforeTransaction(() => {
      consul.beforeTransaction(undefined);
      consul.set('env/features/a', flag('a', 9).json);
      consul.set('env/features/b', flag('b', 1, { on: false }).json);
    });
    memory.set(flag('a', 2), flag('b', 2), flag('c', 2));
    await store.flush(60_000);
    expect(stored()).toEqual({ ...wanted(memory), 'env/features/a': flag('a', 9).json });
    await expectToFollow(store, memory);
  });

  test('a prerequisite that another client changed is never older than the flag that needs it', async () => {
    const naming = (version: number) => flag('d', version, { prerequisites: [{ key: 'p', variation: 0 }] });
    const memory = createMemory(naming(1), flag('p', 1), flag('other', 1));
    const store = await openWriter(memory, { timings: { ...quickReplica, glanceMs: 3_600_000 } });
    const seen: string[] = [];
    let left = 3;
    consul.beforeTransaction(() => {
      const versions = ['p', 'd'].map((key) => JSON.parse(stored()[`env/features/${key}`] ?? '').version);
      seen.push(versions.join(' '));
      if (left-- > 0) consul.set('env/features/p', flag('p', 1, { salt: `theirs-${left}` }).json);
    });
    memory.set(naming(2), flag('p', 2), flag('other', 2));
    await store.flush(60_000);
    expect(new Set(seen)).toEqual(new Set(['1 1']));
    expect(stored()).toEqual(wanted(memory));
  });

  test('keeps values up to 512 KB, even those too large for a transaction @heavy', async () => {
    const large = flag('large', 1, { description: 'x'.repeat(500_000) });
    const memory = createMemory(large, flag('a', 1));
    const store = await openWriter(memory);
    memory.set({ ...large, version: 2, json: large.json.replace('"version":1', '"version":2') });
    await store.flush(60_000);
    expect(stored()).toEqual(wanted(memory));
    expect(store.status().oversized).toBeUndefined();
    expect(await read()).toHaveLength(2);
  });

  test('keeps the old copy of a value above 512 KB and names it', async () => {
    const memory = createMemory(flag('large', 1), flag('a', 1));
    const log = listenToLog();
    const store = await openWriter(memory, { log });
    memory.set(flag('large', 2, { description: 'x'.repeat(600_000) }), flag('a', 2));
    await store.flush(60_000);
    expect(stored()).toEqual({ 'env/features/a': flag('a', 2).json, 'env/features/large': flag('large', 1).json });
    expect(store.status()).toMatchObject({
      state: 'VALID',
      oversized: [expect.stringMatching(/^features\/large: it has 600\d+ bytes, Consul takes 524288$/)],
    });
    expect(log.lines.join()).toContain('does not fit');
  });

  test('sends its token without logging it, and rereads a token file when the token is rejected @heavy', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-'));
    const tokenFile = join(directory, 'token');
    writeFileSync(tokenFile, 'first-secret\n');
    consul.demandToken('first-secret');
    const memory = createMemory(flag('a', 1));
    const log = listenToLog();
    const store = await openWriter(memory, { tokenFile, log });
    expect(stored()).toEqual(wanted(memory));
    consul.demandToken('second-secret');
    memory.set(flag('a', 2));
    await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
    expect(store.status().lastError?.message).toMatch(/Permission denied.*check the ACL token/);
    writeFileSync(tokenFile, 'second-secret');
    await expectToFollow(store, memory);
    writeFileSync(tokenFile, 'fourth-secret');
    consul.demandToken('fourth-secret');
    const before = store.status().lastError;
    memory.set(flag('a', 3));
    await expectToFollow(store, memory);
    // The file already had the new token, so no request failed, not even two concurrent ones.
    expect(store.status().lastError).toEqual(before);
    const plain = open(createMemory(), { token: 'third-secret', writer: 'never', log });
    await expect(plain.read()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(JSON.stringify([store.status(), plain.status(), log.lines])).not.toContain('secret');
    rmSync(directory, { recursive: true });
  });

  test('retries all requests that were rejected at the same time with the new token', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-'));
    const tokenFile = join(directory, 'token');
    writeFileSync(tokenFile, 'first-secret');
    consul.demandToken('first-secret');
    const client = createConsulClient({ address: consul.address, tokenFile });
    const ask = async () => (await client.request('GET', '/kv/env/features/a')).status;
    expect(await ask()).toBe(404);
    writeFileSync(tokenFile, 'second-secret');
    consul.demandToken('second-secret');
    expect(await Promise.all([ask(), ask(), ask()])).toEqual([404, 404, 404]);
    client.close();
    rmSync(directory, { recursive: true });
  });

  test.each([
    ['is cut off', () => proxy.cut(), /ECONN|hang up|EPIPE/, 60_000],
    ['hangs', () => proxy.hang(), /did not answer within 300 ms/, 300],
    ['is too slow to answer in time', () => proxy.slow(1_000), /did not answer within 300 ms/, 300],
  ])('catches up with memory after Consul %s @heavy', async (_, begin, message, timeoutMs) => {
    const memory = createMemory(...flags(10), segment('s', 1));
    const store = await openWriter(memory, { timeoutMs });
    begin();
    for (let version = 2; version <= 30; version++) memory.set(flag('flag-1', version));
    memory.set(tombstone('features', 'flag-2', 2), flag('new', 1));
    await eventually(() => expect(store.status().state).toBe('INTERRUPTED'));
    expect(store.status().lastError?.message).toMatch(message);
    await expect(store.read()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    proxy.heal();
    await expectToFollow(store, memory);
  });

  test('refills a wiped Consul, and one that lost a folder @heavy', async () => {
    const memory = createMemory(...flags(3), segment('s', 1));
    const store = await openWriter(memory);
    consul.wipe();
    await expectToFollow(store, memory);
    await eventually(() => expect(consul.entries()).toHaveProperty('env/$inited'));
    consul.delete('env/segments/s');
    await expectToFollow(store, memory);
  });

  test("reads and adopts ld-relay's layout: tombstones named `$deleted`, no manifest", async () => {
    const text = relayed(flag('a', 4));
    consul.set('env/features/a', text);
    consul.set('env/features/gone', relayed(tombstone('features', 'gone', 5)));
    expect(await read()).toBeUndefined();
    consul.set('env/$inited', '');
    expect(sorted(await read())).toMatchObject([
      { key: 'a', version: 4, json: text },
      { key: 'gone', version: 5, deleted: true },
    ]);
    await openWriter(createMemory(flag('a', 4)));
    expect(consul.entries()['env/features/a']).toBe(text);
  });

  test('does not boot from a set with a missing item', async () => {
    await (await openWriter(createMemory(...flags(3)))).close();
    consul.delete('env/features/flag-1');
    expect(await read()).toBeUndefined();
  });
});
