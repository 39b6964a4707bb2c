/** A store says whose Big Segments it holds, and is emptied for another environment, whatever fails meanwhile. */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import type { BigSegmentPatch } from '../../../relay-task/ports.ts';
import { type BigSegmentStore, hashOf } from '../../../relay-task/store/big-segments.ts';
import { createDynamoDBBigSegments } from '../../../relay-task/store/big-segments-dynamodb.ts';
import { createBigSegmentLookup } from '../../../relay-task/store/big-segments-lookup.ts';
import { createRedisBigSegments } from '../../../relay-task/store/big-segments-redis.ts';
import { createRedisClient } from '../../../relay-task/store/redis-client.ts';
import { testCredentials, testRegion } from '../../support/dynalite.ts';
import { eventually } from '../../support/eventually.ts';
import { startFaultyProxy } from '../../support/faulty-proxy.ts';
import { closeAfterEach } from '../../support/opened.ts';
import { describeWithRedis, startCluster, startRedis, type TestRedis } from '../../support/redis.ts';
import { openTable, quick, type Stores, silent } from './open-stores.ts';

const { opened, behind } = closeAfterEach();

const patch = (previousVersion: string, version: string, add: readonly string[]): BigSegmentPatch => ({
  ...{ segmentRef: 'vip.g3', previousVersion, version },
  ...{ included: { add, remove: [] }, excluded: { add: [], remove: [] } },
});

interface How {
  readonly environment?: string | undefined;
  /** Default 0: members of another environment are deleted at once. */
  readonly quietMs?: number;
  /** Only so many requests succeed. */
  readonly requests?: number;
}

/** One place in a database. */
interface Place {
  open(how: How): Promise<BigSegmentStore>;
  /** The hashes that are in any segment. */
  members(): Promise<string[]>;
}

const IS_OTHERS = /holds the Big Segments of the environment a, but the SDK key belongs to b/;

/** The tests of both databases. */
function promises(place: () => Place): void {
  async function filledByA(): Promise<BigSegmentStore> {
    const a = await place().open({ environment: 'a', quietMs: 1e9 });
    await a.own();
    await a.apply(patch('', 'a1', ['alice', 'carol']));
    await a.setSynchronizedOn(1_000);
    return a;
  }
  /** As the synchroniser does until it succeeds. */
  async function ownAtLast(store: BigSegmentStore): Promise<void> {
    const isOwn = () =>
      store.own().then(
        () => true,
        () => false,
      );
    // Not `eventually`, whose pauses grow with the time that an attempt takes.
    while (!(await isOwn())) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  test('name the first environment that writes them', async () => {
    const a = await filledByA();
    expect(await a.metadata()).toEqual({ cursor: 'a1', synchronizedOn: 1_000, environment: 'a' });
    expect((await a.read(['alice'])).metadata).toEqual(await a.metadata());
  });

  test('are kept as they are by relays of the same environment, and by those that know none', async () => {
    const before = await (await filledByA()).metadata();
    for (const environment of ['a', undefined]) {
      const other = await place().open({ environment });
      await other.own();
      expect(await other.metadata()).toEqual(before);
      expect(await other.apply(patch('', 'a1', []))).toBe('already-applied');
    }
    expect(await place().members()).toEqual(['alice', 'carol']);
  });

  test('that are unnamed are adopted as they are', async () => {
    const unnamed = await place().open({});
    await unnamed.own();
    await unnamed.apply(patch('', 'v1', ['alice']));
    const b = await place().open({ environment: 'b' });
    await b.own();
    expect(await b.metadata()).toMatchObject({ cursor: 'v1', environment: 'b' });
    expect(await place().members()).toEqual(['alice']);
  });

  test('are not changed by a relay of another environment as long as they are kept in step', async () => {
    const a = await filledByA();
    const b = await place().open({ environment: 'b', quietMs: 100 });
    for (let turn = 0; turn < 5; turn++) {
      await a.setSynchronizedOn(2_000 + turn);
      await expect(b.own()).rejects.toThrow(IS_OTHERS);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(await b.apply(patch('a1', 'a2', ['bob']))).toBe('out-of-order');
    await expect(b.setSynchronizedOn(9_000)).rejects.toThrow(IS_OTHERS);
    expect(await a.metadata()).toEqual({ cursor: 'a1', synchronizedOn: 2_004, environment: 'a' });
    expect(await place().members()).toEqual(['alice', 'carol']);
  });

  test('are deleted and loaded again for another environment, and no late relay of the former one changes them', async () => {
    const a = await filledByA();
    const b = await place().open({ environment: 'b' });
    await ownAtLast(b);
    expect(await b.metadata()).toEqual({ cursor: '', synchronizedOn: undefined, environment: 'b' });
    expect(await place().members()).toEqual([]);
    expect(await a.apply(patch('', 'a1', ['alice']))).toBe('out-of-order');
    expect(await a.apply(patch('a1', 'a2', ['alice']))).toBe('out-of-order');
    await expect(a.setSynchronizedOn(3_000)).rejects.toThrow(/environment b/);
    await expect(a.own()).rejects.toThrow(/environment b/);
    expect(await b.apply(patch('', 'b1', ['bob']))).toBe('applied');
    await b.setSynchronizedOn(4_000);
    expect(await b.metadata()).toEqual({ cursor: 'b1', synchronizedOn: 4_000, environment: 'b' });
    expect(await place().members()).toEqual(['bob']);
  });

  test('of which there are many are deleted completely, by several relays at once as well', async () => {
    const a = await filledByA();
    await a.apply(
      patch(
        'a1',
        'a2',
        Array.from({ length: 300 }, (_, index) => `hash-${index}`),
      ),
    );
    const relays = await Promise.all([1, 2, 3].map(() => place().open({ environment: 'b', quietMs: 1_000 })));
    await Promise.all(relays.map(ownAtLast));
    expect(await place().members()).toEqual([]);
    expect(await relays[0]!.metadata()).toEqual({ cursor: '', synchronizedOn: undefined, environment: 'b' });
  });

  test('are right after a relay died at any request of the deletion, and never look right before', async () => {
    let requests = 0;
    for (let done = false; !done; requests++) {
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
      await heir.apply(patch('', 'b1', ['bob']));
      await heir.setSynchronizedOn(5_000);
      expect(await place().members()).toEqual(['bob']);
      // Back to the beginning.
      await ownAtLast(await place().open({ environment: 'a' }));
    }
    expect(requests).toBeGreaterThan(5);
  });

  test('of another environment are no memberships for an evaluation, not even while they are deleted', async () => {
    const a = await place().open({ environment: 'a', quietMs: 1e9 });
    await a.own();
    await a.apply(patch('', 'a1', [hashOf('alice')]));
    await a.setSynchronizedOn(Date.now());
    const b = await place().open({ environment: 'b' });
    const lookup = opened(
      createBigSegmentLookup({
        ...{ stores: [b], log: silent, environment: () => 'b', pollMs: 5, retryMs: 5, outageWaitMs: 0, cacheMs: 0 },
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

  promises(() => ({
    async open({ environment, quietMs = 0, requests }) {
      const proxy = opened(await startFaultyProxy(stores.table.endpoint));
      const access = { region: testRegion, credentials: testCredentials, maxAttempts: 1 };
      const client = new DynamoDBClient({ endpoint: proxy.endpoint, ...access });
      behind(() => client.destroy());
      if (requests !== undefined) proxy.cutAfter(requests, () => true);
      return opened(
        createDynamoDBBigSegments({
          ...{ client, tableName: stores.table.tableName, prefix, log: silent, quietMs },
          environment: () => environment,
          timings: { ...quick, patchExpireMs: 20, retryCapMs: 5 },
        }),
      );
    },
    async members() {
      const rows = Object.entries(await stores.rows(`${prefix}:big_segments_user`));
      return rows.flatMap(([hash, { included }]) => ((included as string[] | undefined)?.length ? [hash] : [])).sort();
    },
  }));
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
    const keys = await client.keys('*:big_segment_include:*');
    return keys.filter((key) => key.startsWith(prefix)).map((key) => key.split(':').at(-1)!);
  };

  promises(() => ({
    async open({ environment, quietMs = 0, requests = Number.POSITIVE_INFINITY }) {
      const client = opened(createRedisClient({ host: '127.0.0.1', port: server.port }));
      let left = requests;
      const connection: typeof client = {
        ...client,
        call: (send) => (left-- > 0 ? client.call(send) : Promise.reject(new Error('cut'))),
      };
      const options = { connection, prefix, log: silent, quietMs, environment: () => environment };
      return opened(createRedisBigSegments(options));
    },
    async members() {
      return (await membersIn(server.client)).sort();
    },
  }));

  test('are deleted without those of another prefix, where scripts are not permitted, too', async () => {
    await server.client.call('ACL', 'SETUSER', 'plain', 'on', '>secret', '~*', '+@all', '-@scripting');
    const access = { host: '127.0.0.1', port: server.port, username: 'plain', password: 'secret' };
    const open = (environment: string, place: string) =>
      opened(
        createRedisBigSegments({
          ...{ connection: access, prefix: place, log: silent, quietMs: 0, environment: () => environment },
        }),
      );
    for (const place of ['env', 'env2', 'en']) {
      const a = open('a', place);
      await a.own();
      await a.apply(patch('', 'a1', ['alice']));
    }
    const b = open('b', 'env');
    await eventually(() => b.own());
    const left = (await server.client.keys('*:big_segment_*')).filter((key) => key.includes('include'));
    expect(left.sort()).toEqual(['en:big_segment_include:alice', 'env2:big_segment_include:alice']);
  });

  test('are deleted in a Cluster', async () => {
    const cluster = opened(await startCluster());
    const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }));
    const open = (environment: string) =>
      opened(
        createRedisBigSegments({
          ...{
            connection: { cluster: nodes },
            prefix: '{env}',
            log: silent,
            quietMs: 0,
            environment: () => environment,
          },
        }),
      );
    const a = open('a');
    await a.own();
    await a.apply(patch('', 'a1', ['alice', 'bob']));
    const b = open('b');
    await eventually(() => b.own());
    const keys = await Promise.all(cluster.nodes.map(({ client }) => client.keys('*')));
    expect(keys.flat().sort()).toEqual(['{env}:big_segments_environment', '{env}:big_segments_lock']);
  });
});
