import type { Write } from '../../../relay-task/store/database.ts';
import { createRedisClient, type RedisClient } from '../../../relay-task/store/redis-client.ts';
import { type CompareAndSet, createCompareAndSet, tokenOf } from '../../../relay-task/store/redis-compare-and-set.ts';
import { describeWithRedis, redisAt, startRedis, type TestRedis } from '../../support/redis.ts';

const keys = { features: 'p:features', segments: 'p:segments', inited: 'p:$inited', manifest: 'p:$manifest' };
const token = (text: string) => tokenOf(Buffer.from(text));
/** Nothing is known of the hashes. */
const none = { inited: false, counts: { features: 0, segments: 0 }, keysOf: () => [] };
/** As many as there are. */
const held = (...flags: string[]) => ({
  inited: false,
  counts: { features: flags.length, segments: 0 },
  keysOf: (kind: string) => (kind === 'features' ? flags : []),
});
const write = (key: string, over: string | undefined, json: string | undefined): Write => ({
  kind: 'features',
  key,
  over: over === undefined ? undefined : { token: token(over), version: undefined },
  action: json === undefined ? 'remove' : 'put',
  item: json === undefined ? undefined : { kind: 'features', key, version: 1, deleted: false, json },
});

describeWithRedis('compare-and-set in Redis', () => {
  let server: TestRedis;
  const clients: RedisClient[] = [];
  beforeAll(async () => {
    server = await startRedis();
    await server.client.call('ACL', 'SETUSER', 'noscripts', 'on', '>secret', '~*', '+@all', '-@scripting');
  });
  beforeEach(() => server.client.flushall());
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close()));
  });
  afterAll(() => server.close());

  describe.each(['by script', 'by transaction'])('%s', (how) => {
    const access = how === 'by script' ? {} : { username: 'noscripts', password: 'secret' };
    const refusals: string[] = [];
    function connect(): CompareAndSet {
      const client = createRedisClient(redisAt(server.port, access));
      clients.push(client);
      return createCompareAndSet(client, keys, (why) => refusals.push(why));
    }

    test('writes only where the current value is the expected one, and otherwise returns the current value', async () => {
      await server.client.hset('p:features', { same: 'old', other: 'foreign', gone: 'old', stays: 'foreign' });
      const outcomes = await connect()(
        [
          write('same', 'old', 'new'),
          write('other', 'old', 'new'),
          write('absent', undefined, 'new'),
          write('missing', 'old', 'new'),
          write('gone', 'old', undefined),
          write('stays', 'old', undefined),
        ],
        none,
        undefined,
      );
      const refused = { written: false, row: expect.objectContaining({ token: token('foreign') }) };
      expect(outcomes).toEqual([
        { written: true, token: token('new') },
        refused,
        { written: true, token: token('new') },
        { written: false, row: undefined },
        { written: true, token: undefined },
        refused,
      ]);
      expect(await server.client.hgetall('p:features')).toEqual({
        ...{ same: 'new', other: 'foreign', absent: 'new', stays: 'foreign' },
      });
    });

    test('a write that needs others is held back once one before it was refused, and the rest is written', async () => {
      await server.client.hset('p:features', { p: 'foreign', d: 'old' });
      const [first, prerequisite] = [write('first', undefined, 'new'), write('p', 'old', 'new')];
      const outcomes = await connect()(
        [
          { ...first, needs: [] },
          { ...write('before', undefined, 'new'), needs: [first] },
          prerequisite,
          { ...write('d', 'old', 'new'), needs: [prerequisite] },
          write('other', undefined, 'new'),
        ],
        none,
        'manifest',
      );
      const written = { written: true, token: token('new') };
      const refused = { written: false, row: expect.objectContaining({ token: token('foreign') }) };
      expect(outcomes).toEqual([written, written, refused, { written: false, held: true }, written]);
      expect(await server.client.hgetall('p:features')).toEqual({
        ...{ first: 'new', before: 'new', p: 'foreign', d: 'old', other: 'new' },
      });
      expect(await server.client.exists('p:$manifest')).toBe(0);
    });

    test('writes manifest and marker only if all items were written', async () => {
      const compareAndSet = connect();
      await server.client.hset('p:features', 'a', 'foreign');
      await compareAndSet([write('b', undefined, 'new'), write('a', undefined, 'new')], none, 'manifest');
      expect(await server.client.exists('p:$inited', 'p:$manifest')).toBe(0);
      await compareAndSet([write('a', 'foreign', 'new')], none, 'manifest');
      expect(await server.client.mget('p:$inited', 'p:$manifest')).toEqual(['', 'manifest']);
    });

    test('does not mark a set in which others wrote as many fields in place of a lost one', async () => {
      await server.client.hset('p:features', { a: 'x', stranger: 'x' });
      const marking = connect()([write('c', undefined, 'new')], held('a', 'b'), 'manifest');
      await expect(marking).rejects.toThrow('Redis has not "b"');
      expect(await server.client.exists('p:$inited', 'p:$manifest')).toBe(0);
      expect(await server.client.hgetall('p:features')).toEqual({ a: 'x', stranger: 'x' });
      await server.client.hset('p:features', { b: 'x' });
      await connect()([write('c', undefined, 'new')], held('a', 'b'), 'manifest');
      expect(await server.client.mget('p:$inited', 'p:$manifest')).toEqual(['', 'manifest']);
    });

    test('writes nothing into a set whose marker another relay took away', async () => {
      await server.client.hset('p:features', { a: 'x', stranger: 'x' });
      const marked = { ...held('a', 'b'), inited: true };
      await expect(connect()([write('c', undefined, 'new')], marked, 'manifest')).rejects.toThrow('p:$inited');
      expect(await server.client.hgetall('p:features')).toEqual({ a: 'x', stranger: 'x' });
      expect(await server.client.exists('p:$inited', 'p:$manifest')).toBe(0);
    });

    test('loses no concurrent increment', async () => {
      const steps = 15;
      const counted = (count: number) => `{"version":${count}}`;
      await server.client.hset('p:features', 'count', counted(0));
      const countUp = async (compareAndSet: CompareAndSet) => {
        let seen = 0;
        for (let done = 0; done < steps; ) {
          const [outcome] = await compareAndSet([write('count', counted(seen), counted(seen + 1))], none, undefined);
          if (outcome?.written) {
            seen += 1;
            done += 1;
          } else if (outcome && 'row' in outcome && outcome.row && 'version' in outcome.row.item) {
            seen = outcome.row.item.version;
          }
        }
      };
      await Promise.all([connect(), connect(), connect(), connect()].map(countUp));
      expect(await server.client.hget('p:features', 'count')).toBe(counted(4 * steps));
    });

    test('is the method that is used', async () => {
      refusals.length = 0;
      await connect()([write('a', undefined, 'new')], none, undefined);
      expect(refusals).toEqual(how === 'by script' ? [] : [expect.stringContaining('NOPERM')]);
    });
  });
});
