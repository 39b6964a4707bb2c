/** A store says whose Big Segments it holds, and is emptied for another environment, whatever fails meanwhile. */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { Cluster, Redis } from 'ioredis';
import { sleep } from '../../../relay-task/common/pause.ts';
import type { BigSegmentPatch } from '../../../relay-task/ports.ts';
import { type BigSegmentStore, hashOf } from '../../../relay-task/store/big-segments.ts';
import { createMembershipMemory } from '../../../relay-task/store/big-segments-cache.ts';
import { createDynamoDBBigSegments } from '../../../relay-task/store/big-segments-dynamodb.ts';
import { createBigSegmentLookup } from '../../../relay-task/store/big-segments-lookup.ts';
import { createRedisBigSegments } from '../../../relay-task/store/big-segments-redis.ts';
import { inFlight } from '../../../relay-task/store/in-parallel.ts';
import { createRedisClient } from '../../../relay-task/store/redis-client.ts';
import { defaultTimings, type Timings } from '../../../relay-task/store/timings.ts';
import { testCredentials, testRegion } from '../../support/dynalite.ts';
import { eventually, PATIENCE_MS } from '../../support/eventually.ts';
import { type PassedRequest, startFaultyProxy } from '../../support/faulty-proxy.ts';
import { silentLog } from '../../support/logs.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { describeWithRedis, redisAt, startCluster, startRedis, type TestRedis } from '../../support/redis.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';
import { openTable, quick, type Stores } from './open-stores.ts';

const { opened, behind } = closeAfterEach();

/** Includes some hashes, and excludes others. */
const patch = (
  previousVersion: string,
  version: string,
  included: readonly string[],
  excluded: readonly string[] = [],
): BigSegmentPatch => ({
  ...{ segmentRef: 'vip.g3', previousVersion, version },
  ...{ included: { add: included, remove: [] }, excluded: { add: excluded, remove: [] } },
});

interface How {
  readonly environment?: string | undefined;
  /** Default true. */
  readonly adopts?: boolean;
  /** Default 0: members of another environment are deleted at once. */
  readonly quietMs?: number;
  /** Only so many requests succeed. */
  readonly requests?: number;
}

interface OpenedStore extends BigSegmentStore {
  /** All requests succeed from now on. */
  heal(): void;
}

/** One place in a database. */
interface Place {
  open(how: How): Promise<OpenedStore>;
  /** The hashes that a segment includes, as `+hash`, and that it excludes, as `-hash`. */
  members(): Promise<string[]>;
}

const ofA = ['+alice', '+carol', '-carol', '-dave'];
const IS_OTHERS = /holds the Big Segments of the environment a, but the SDK key belongs to b/;

/** As the synchroniser does until it succeeds. */
async function ownAtLast(store: BigSegmentStore): Promise<void> {
  // Not `eventually`, whose pauses grow with the time that an attempt takes.
  for (const deadline = Date.now() + PATIENCE_MS; ; await sleep(20)) {
    try {
      return await store.own();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}

/** The tests of both databases. */
function promises(place: () => Place): void {
  async function filledByA(): Promise<BigSegmentStore> {
    const a = await place().open({ environment: 'a', quietMs: 1e9 });
    await a.own();
    // Some in both lists, some in one only.
    await a.apply(patch('', 'a1', ['alice', 'carol'], ['carol', 'dave']));
    await a.setSynchronizedOn(1_000);
    return a;
  }

  test('name the first environment that writes them @heavy', async () => {
    const a = await filledByA();
    expect(await a.metadata()).toEqual({ cursor: 'a1', synchronizedOn: 1_000, environment: 'a' });
    expect((await a.read(['alice'])).metadata).toEqual(await a.metadata());
  });

  test('are kept as they are by relays of the same environment, and by those that know none @heavy', async () => {
    const before = await (await filledByA()).metadata();
    for (const environment of ['a', undefined]) {
      const other = await place().open({ environment });
      await other.own();
      expect(await other.metadata()).toEqual(before);
      expect(await other.apply(patch('', 'a1', []))).toBe('already-applied');
    }
    expect(await place().members()).toEqual(ofA);
  });

  test('that are unnamed are adopted as they are', async () => {
    const unnamed = await place().open({});
    await unnamed.own();
    await unnamed.apply(patch('', 'v1', ['alice']));
    const b = await place().open({ environment: 'b' });
    await b.own();
    expect(await b.metadata()).toMatchObject({ cursor: 'v1', environment: 'b' });
    expect(await place().members()).toEqual(['+alice']);
  });

  test('that are unnamed are not adopted where they may be those of another environment, and are deleted there @heavy', async () => {
    const unnamed = await place().open({});
    await unnamed.own();
    await unnamed.apply(patch('', 'v1', ['alice']));
    await unnamed.setSynchronizedOn(1_000);
    const b = await place().open({ environment: 'b', adopts: false, quietMs: 1e9 });
    const stranger = await place().open({ adopts: false });
    for (const store of [b, stranger]) {
      for (let attempt = 0; attempt < 2; attempt++) await expect(store.own()).rejects.toThrow(/name no environment/);
    }
    expect(await b.metadata()).toEqual({ cursor: 'v1', synchronizedOn: 1_000 });
    expect(await place().members()).toEqual(['+alice']);
    await ownAtLast(await place().open({ environment: 'b', adopts: false }));
    expect(await b.metadata()).toEqual({ cursor: '', synchronizedOn: undefined, environment: 'b' });
    expect(await place().members()).toEqual([]);
  });

  test('are not changed by a relay of another environment as long as they are kept in step @heavy', async () => {
    const a = await filledByA();
    const b = await place().open({ environment: 'b', quietMs: 100 });
    for (let turn = 0; turn < 5; turn++) {
      await a.setSynchronizedOn(2_000 + turn);
      await expect(b.own()).rejects.toThrow(IS_OTHERS);
      await sleep(30);
    }
    expect(await b.apply(patch('a1', 'a2', ['bob']))).toBe('out-of-order');
    await expect(b.setSynchronizedOn(9_000)).rejects.toThrow(IS_OTHERS);
    expect(await a.metadata()).toEqual({ cursor: 'a1', synchronizedOn: 2_004, environment: 'a' });
    expect(await place().members()).toEqual(ofA);
  });

  test('are deleted and loaded again for another environment, and no relay of the former one applies another patch @heavy', async () => {
    const a = await filledByA();
    const b = await place().open({ environment: 'b' });
    await ownAtLast(b);
    expect(await b.metadata()).toEqual({ cursor: '', synchronizedOn: undefined, environment: 'b' });
    expect(await place().members()).toEqual([]);
    expect(await a.apply(patch('', 'a1', ['alice']))).toBe('out-of-order');
    expect(await a.apply(patch('a1', 'a2', ['alice']))).toBe('out-of-order');
    await expect(a.setSynchronizedOn(3_000)).rejects.toThrow(/environment b/);
    await expect(a.own()).rejects.toThrow(/environment b/);
    expect(await b.apply(patch('', 'b1', ['bob'], ['eve']))).toBe('applied');
    await b.setSynchronizedOn(4_000);
    expect(await b.metadata()).toEqual({ cursor: 'b1', synchronizedOn: 4_000, environment: 'b' });
    expect(await place().members()).toEqual(['+bob', '-eve']);
  });

  test('of which there are many are deleted completely, by several relays at once as well @heavy', async () => {
    const many = process.env.LONG ? 200 : 3 * inFlight;
    const a = await filledByA();
    await a.apply(
      patch(
        'a1',
        'a2',
        Array.from({ length: many }, (_, index) => `hash-${index}`),
        Array.from({ length: many }, (_, index) => `hash-${index + many / 2}`),
      ),
    );
    const relays = await Promise.all([1, 2, 3].map(() => place().open({ environment: 'b', quietMs: 1_000 })));
    await Promise.all(relays.map(ownAtLast));
    expect(await place().members()).toEqual([]);
    expect(await relays[0]!.metadata()).toEqual({ cursor: '', synchronizedOn: undefined, environment: 'b' });
  });

  test('are right after a relay died at any request of the deletion, and never look right before @heavy', async () => {
    let requests = 0;
    for (let done = false; !done; requests += process.env.LONG ? 1 : 2) {
      await filledByA();
      const dying = await place().open({ environment: 'b', requests });
      // With the first attempt it sees the disagreement.
      for (let attempt = 0; attempt < 2; attempt++) {
        done = await dying.own().then(
          () => true,
          () => false,
        );
      }
      const heir = await place().open({ environment: 'b' });
      const found = await heir.metadata();
      const isAsItWas = found.environment === 'a' && found.cursor === 'a1';
      const isEmptied = found.environment === 'b' && !found.emptying && (await place().members()).length === 0;
      expect(isAsItWas || isEmptied || (found.emptying === true && found.synchronizedOn === undefined)).toBe(true);
      await ownAtLast(heir);
      expect(await place().members()).toEqual([]);
      await heir.apply(patch('', 'b1', ['bob'], ['eve']));
      await heir.setSynchronizedOn(5_000);
      expect(await place().members()).toEqual(['+bob', '-eve']);
      // Back to the beginning.
      await ownAtLast(await place().open({ environment: 'a' }));
    }
    expect(requests).toBeGreaterThan(5);
  });

  test('go on being deleted at once after an interruption, however long a store must be left alone @heavy', async () => {
    const now = performance.now.bind(performance);
    let laterMs = 0;
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => now() + laterMs);
    behind(() => clock.mockRestore());
    const quietMs = 3_600_000;
    let interruptions = 0;
    for (let requests = 1, done = false; !done; requests++) {
      await filledByA();
      const b = await place().open({ environment: 'b', quietMs, requests });
      await b.own().catch(() => {});
      laterMs += quietMs;
      done = await b.own().then(
        () => true,
        () => false,
      );
      b.heal();
      // The first requests can meet a connection that was cut.
      const { emptying } = await eventually(() => b.metadata());
      if (emptying) {
        interruptions += 1;
        await eventually(() => b.own());
      }
      // Back to the beginning.
      await ownAtLast(await place().open({ environment: 'a' }));
    }
    expect(interruptions).toBeGreaterThan(2);
  });

  test('of another environment are no memberships for an evaluation, not even while they are deleted @heavy', async () => {
    const a = await place().open({ environment: 'a', quietMs: 1e9 });
    await a.own();
    await a.apply(patch('', 'a1', [hashOf('alice')]));
    await a.setSynchronizedOn(Date.now());
    const b = await place().open({ environment: 'b' });
    const lookup = opened(
      createBigSegmentLookup({
        memory: createMembershipMemory({ limitBytes: 1_000_000 }),
        statusStaleAfterMs: 300_000,
        ...{ stores: [b], log: silentLog, environment: () => 'b', pollMs: 5, retryMs: 5, outageWaitMs: 0, cacheMs: 0 },
      }),
    );
    const told = async () => (await lookup.load(['alice']))?.get('alice');
    expect(await told()).toEqual({ status: 'STORE_ERROR' });
    let emptied = false;
    const emptying = ownAtLast(b).finally(() => {
      emptied = true;
    });
    while (!emptied) {
      expect(await told()).toEqual({ status: 'STORE_ERROR' });
      await new Promise(setImmediate);
    }
    await emptying;
    await b.apply(patch('', 'b1', [hashOf('bob')]));
    expect(await told()).toEqual({ status: 'STORE_ERROR' });
    await b.setSynchronizedOn(Date.now());
    await eventually(async () => expect(await told()).toEqual({ status: 'HEALTHY', membership: null }));
  });
}

describe('Big Segments in DynamoDB', () => {
  let stores: Stores;
  beforeAll(async () => {
    stores = await openTable();
  });
  afterAll(() => stores.close());
  let round = 0;
  let prefix = '';
  beforeEach(() => {
    prefix = `owner-${++round}`;
  });

  async function openBehindProxy({ environment, adopts = true, quietMs = 0 }: How, timings: Partial<Timings> = {}) {
    const proxy = opened(await startFaultyProxy(stores.table.endpoint));
    const access = { region: testRegion, credentials: testCredentials, maxAttempts: 1 };
    const client = new DynamoDBClient({ endpoint: proxy.endpoint, ...access });
    behind(() => client.destroy());
    const store = opened(
      createDynamoDBBigSegments({
        ...{ client, tableName: stores.table.tableName, prefix, log: silentLog, quietMs },
        environment: () => environment,
        adopts: () => adopts,
        timings: { ...quick, patchDrainMs: 20, retryCapMs: 5, ...timings },
      }),
    );
    return { proxy, store };
  }

  async function members(): Promise<string[]> {
    const rows = Object.entries(await stores.rows(`${prefix}:big_segments_user`));
    const listed = rows.flatMap(([hash, { included, excluded }]) => [
      ...((included as string[] | undefined)?.length ? [`+${hash}`] : []),
      ...((excluded as string[] | undefined)?.length ? [`-${hash}`] : []),
    ]);
    return listed.sort();
  }

  promises(() => ({
    async open({ requests, ...how }) {
      const { proxy, store } = await openBehindProxy(how);
      if (requests !== undefined) proxy.cutAfter(requests, () => true);
      return { ...store, heal: proxy.heal };
    },
    members,
  }));

  const isMember = ({ operation, namespace }: PassedRequest) =>
    operation === 'UpdateItem' && namespace === `${prefix}:big_segments_user`;

  /** The relay of environment a, in the middle of a patch: so many requests or answers are held back. */
  async function writing(what: 'requests' | 'answers', hashes: readonly string[], refusal?: string) {
    // A frozen process does not measure the time of its requests either.
    const { proxy, store } = await openBehindProxy(
      { environment: 'a' },
      { patchExpireMs: 50, requestTimeoutMs: 3_600_000 },
    );
    await store.own();
    await store.apply(patch('', 'a1', ['alice'], ['dave']));
    if (refusal) proxy.refuse(refusal, ({ operation, key }) => operation === 'UpdateItem' && hashes.includes(key));
    proxy.hold(what, isMember);
    const outcome = store.apply(patch('a1', 'a2', hashes));
    await eventually(() => expect(proxy.held()).toBe(Math.min(inFlight, hashes.length)));
    return { outcome, goOn: proxy.heal };
  }

  test.each([
    ['an update', undefined],
    ['an update again that was throttled', 'ProvisionedThroughputExceededException'],
  ])(
    'are not changed by a relay of the former one that was frozen meanwhile and then sends %s @heavy',
    async (_, refusal) => {
      const hashes = Array.from({ length: 3 * inFlight }, (_, index) => `hash-${index}`);
      const { outcome, goOn } = await writing('answers', hashes, refusal);
      const { store } = await openBehindProxy({ environment: 'b' }, { patchDrainMs: 100 });
      await ownAtLast(store);
      expect(await store.apply(patch('', 'b1', ['bob'], ['eve']))).toBe('applied');
      goOn();
      expect(await outcome).toBe('out-of-order');
      expect(await members()).toEqual(['+bob', '-eve']);
      expect(await store.metadata()).toEqual({ cursor: 'b1', synchronizedOn: undefined, environment: 'b' });
    },
  );

  test('are deleted together with what a relay of the former one sent before and what arrives after the beginning @heavy', async () => {
    /** Whether it arrived while the deletion was waiting, which a machine that stalls can miss. */
    async function arrives(patchDrainMs: number): Promise<boolean> {
      prefix = `owner-${++round}`;
      const { outcome, goOn } = await writing('requests', ['late', 'later']);
      const { proxy, store } = await openBehindProxy({ environment: 'b' }, { patchDrainMs });
      const emptied = ownAtLast(store);
      const has = (operation: string) => proxy.passed.some((passed) => passed.operation === operation && passed.status);
      await eventually(() => expect(has('UpdateItem')).toBe(true));
      goOn();
      expect(await outcome).toBe('out-of-order');
      const inTime = !has('Query');
      await emptied;
      return inTime;
    }
    let inTime = false;
    for (const patchDrainMs of [1_000, 5_000, 20_000]) inTime ||= await arrives(patchDrainMs);
    expect(inTime).toBe(true);
    expect(await members()).toEqual([]);
  });

  test('are deleted later than the last request of their writer can arrive', () => {
    const { patchDrainMs, patchExpireMs, requestTimeoutMs } = defaultTimings;
    expect(patchDrainMs).toBeGreaterThan(patchExpireMs + requestTimeoutMs);
  });
});

describeWithRedis('Big Segments in Redis', () => {
  let server: TestRedis;
  beforeAll(async () => {
    server = await startRedis();
  });
  beforeEach(() => server.client.flushall());
  afterAll(() => server.close());

  // A prefix may contain what SCAN takes for a pattern.
  const prefix = 'env[*]?';
  const membersIn = async (client: TestRedis['client']) => {
    const keys = (await client.keys('*:big_segment_*')).filter((key) => key.startsWith(prefix));
    return keys.map((key) => `${key.includes(':big_segment_include:') ? '+' : '-'}${key.split(':').at(-1)}`);
  };

  promises(() => ({
    async open({ environment, adopts = true, quietMs = 0, requests = Number.POSITIVE_INFINITY }) {
      const client = opened(createRedisClient(redisAt(server.port)));
      let left = requests;
      const connection: typeof client = {
        ...client,
        call: (send) => (left-- > 0 ? client.call(send) : Promise.reject(new Error('cut'))),
      };
      const options = {
        ...{ connection, prefix, log: silentLog, quietMs },
        environment: () => environment,
        adopts: () => adopts,
      };
      return {
        ...opened(createRedisBigSegments(options)),
        heal() {
          left = Number.POSITIVE_INFINITY;
        },
      };
    },
    async members() {
      return (await membersIn(server.client)).sort();
    },
  }));

  test('are deleted without those of another prefix, where scripts are not permitted, too', async () => {
    await server.client.call('ACL', 'SETUSER', 'plain', 'on', '>secret', '~*', '+@all', '-@scripting');
    const connection = redisAt(server.port, { username: 'plain', password: 'secret' });
    const open = (environment: string, place: string) =>
      opened(
        createRedisBigSegments({
          ...{ connection, prefix: place, log: silentLog, quietMs: 0, environment: () => environment },
        }),
      );
    for (const place of ['env', 'env2', 'en']) {
      const a = open('a', place);
      await a.own();
      await a.apply(patch('', 'a1', ['alice'], ['dave']));
    }
    const b = open('b', 'env');
    await eventually(() => b.own());
    const left = await server.client.keys('*:big_segment_*');
    expect(left.sort()).toEqual([
      ...['en:big_segment_exclude:dave', 'en:big_segment_include:alice'],
      ...['env2:big_segment_exclude:dave', 'env2:big_segment_include:alice'],
    ]);
  });

  test('are deleted in a Cluster', async () => {
    const cluster = opened(await startCluster());
    const connection = redisAt(cluster.nodes.map(({ port }) => port));
    const open = (environment: string) =>
      opened(
        createRedisBigSegments({
          ...{ connection, prefix: '{env}', log: silentLog, quietMs: 0, environment: () => environment },
        }),
      );
    const a = open('a');
    await a.own();
    await a.apply(patch('', 'a1', ['alice', 'bob'], ['dave']));
    const b = open('b');
    await eventually(() => b.own());
    const keys = await Promise.all(cluster.nodes.map(({ client }) => client.keys('*')));
    expect(keys.flat().sort()).toEqual(['{env}:big_segments_environment', '{env}:big_segments_lock']);
  });

  /** `meanwhile` happens once, before this server's scan number `count`. */
  function before(count: number, redis: Redis, meanwhile: () => Promise<unknown>): void {
    const scan = redis.scan.bind(redis) as (...args: unknown[]) => Promise<[string, string[]]>;
    let scans = 0;
    redis.scan = (async (...args: unknown[]) => {
      scans += 1;
      if (scans === count) await meanwhile();
      return scan(...args);
    }) as typeof redis.scan;
  }

  test('are deleted completely although another server takes over in the middle of a scan', async () => {
    const heir = opened(await startRedis({ args: ['--replicaof', '127.0.0.1', String(server.port)] }));
    const proxy = opened(await startTcpProxy(server.port));
    const open = (environment: string) => {
      const client = opened(createRedisClient(redisAt(proxy.port)));
      const options = { connection: client, prefix, log: silentLog, quietMs: 0, environment: () => environment };
      return { client, store: opened(createRedisBigSegments(options)) };
    };
    const { store: a } = open('a');
    await a.own();
    const hashes = Array.from({ length: 2_000 }, (_, index) => `hash-${index}`);
    await a.apply(patch('', 'a1', hashes, hashes));
    const { client, store: b } = open('b');
    let tookOver = false;
    before(2, client.redis as Redis, async () => {
      const contents = async ({ client: one }: TestRedis) => [
        await one.dbsize(),
        await one.get(`${prefix}:big_segments_emptying`),
      ];
      await eventually(async () => expect(await contents(heir)).toEqual(await contents(server)));
      await heir.client.replicaof('NO', 'ONE');
      const ready = new Promise<void>((resolve) => client.onReady(resolve));
      proxy.redirect(heir.port);
      await ready;
      tookOver = true;
    });
    await ownAtLast(b);
    expect(tookOver).toBe(true);
    expect(await membersIn(heir.client)).toEqual([]);
    expect(await b.metadata()).toEqual({ cursor: '', synchronizedOn: undefined, environment: 'b' });
  });

  test('are deleted in a Cluster although their slot moves to a node that was scanned already', async () => {
    const cluster = opened(await startCluster());
    const client = opened(createRedisClient(redisAt(cluster.nodes.map(({ port }) => port))));
    await client.call((redis) => redis.get('any'));
    const masters = (client.redis as Cluster).nodes('master');
    const at = (redis: Redis) => cluster.nodes.find(({ port }) => port === redis.options.port)!;
    // A prefix that is not on the first node.
    const slotOf = async (tag: string) => Number(await cluster.nodes[0]!.client.call('CLUSTER', 'KEYSLOT', tag));
    const [from, to] = [masters.at(-1)!, masters[0]!].map((redis) => ({ redis, ...at(redis) }));
    const share = 16_384 / cluster.nodes.length;
    const holds = (slot: number) =>
      Math.floor(slot / share) === cluster.nodes.findIndex(({ port }) => port === from!.port);
    const slots = await Promise.all(Array.from({ length: 100 }, (_, tag) => slotOf(`env${tag}`)));
    const tag = slots.findIndex(holds);
    const slot = slots[tag]!;
    const open = (environment: string) =>
      opened(
        createRedisBigSegments({
          ...{ connection: client, prefix: `{env${tag}}`, log: silentLog, quietMs: 0, environment: () => environment },
        }),
      );
    const a = open('a');
    await a.own();
    await a.apply(patch('', 'a1', ['alice', 'bob'], ['dave']));
    let moved = false;
    before(1, from!.redis, async () => {
      const [fromId, toId] = await Promise.all([from, to].map((node) => node!.client.call('CLUSTER', 'MYID')));
      // A move that ends half way leaves a slot that no script can use, and says so to nobody.
      await eventually(async () => {
        await to!.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(fromId));
        await from!.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(toId));
        const keys = (await from!.client.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[];
        if (keys.length > 0) await from!.client.call('MIGRATE', '127.0.0.1', to!.port, '', 0, 5_000, 'KEYS', ...keys);
      });
      for (const node of [to!, ...cluster.nodes])
        await eventually(() => node.client.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(toId)));
      moved = true;
    });
    await ownAtLast(open('b'));
    expect(moved).toBe(true);
    const keys = await Promise.all(cluster.nodes.map(({ client: node }) => node.keys('*')));
    // Nodes that disagree for a moment about who has the slot may delete the lock with it.
    expect(keys.flat().filter((key) => !key.endsWith(':big_segments_lock'))).toEqual([
      `{env${tag}}:big_segments_environment`,
    ]);
  });
});
