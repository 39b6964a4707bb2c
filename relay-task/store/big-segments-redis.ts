import { createHash } from 'node:crypto';
import type { Registry } from 'prom-client';
import { sleep } from '../common/pause.ts';
import type { BigSegmentPatch } from '../ports.ts';
import { type BigSegmentStore, changesByHash, countingPatches, membershipOf } from './big-segments.ts';
import { createRedisClient, describeRedisError, type RedisClient, type RedisConnection } from './redis-client.ts';
import { describePrefixProblem } from './redis-store.ts';
import { DEFAULT_PREFIX } from './replica-store.ts';

export interface RedisBigSegmentsOptions {
  /** Where Redis is, or a client of the caller's (`createRedisClient`), who also closes it. */
  readonly connection: RedisConnection | RedisClient;
  /** '' for `launchdarkly`. */
  readonly prefix: string;
  readonly registry?: Registry | undefined;
}

/**
 * KEYS: cursor, lock, then a set for each change. ARGV: what the cursor must be, what it becomes, the segment reference,
 * then SADD or SREM for each set. The lock is what ld-relay watches.
 */
const script = `
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], '')
for i = 3, #KEYS do redis.call(ARGV[i + 1], KEYS[i], ARGV[3]) end
if ARGV[2] ~= ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
return 1
`;
const scriptSha = createHash('sha1').update(script).digest('hex');

/** So many sets are changed at once, that the server's other clients need not wait. */
const SETS_AT_ONCE = 5_000;
const MAX_TRIES = 20;

interface Step {
  readonly from: string;
  readonly to: string;
  readonly ref: string;
  readonly changes: readonly { readonly command: 'SADD' | 'SREM'; readonly key: string }[];
}

/**
 * Big Segments in LaunchDarkly's layout: `PFX:big_segment_include:HASH`, `PFX:big_segment_exclude:HASH`,
 * `PFX:big_segments_synchronized_on`, `PFX:big_segments_cursor`. Every step checks the cursor in the same breath. Unlike
 * ld-relay's, a store without a cursor takes only a first patch: after a loss of data everything has to come again.
 * Throws for a prefix that a Cluster cannot hold.
 */
export function createRedisBigSegments(options: RedisBigSegmentsOptions): BigSegmentStore {
  const { connection, registry } = options;
  const prefix = options.prefix || DEFAULT_PREFIX;
  const shared = 'redis' in connection;
  const client = shared ? connection : createRedisClient(connection);
  const problem = describePrefixProblem(prefix, { cluster: client.isCluster });
  if (problem !== undefined) {
    if (!shared) void client.close();
    throw new Error(problem);
  }
  const cursorKey = `${prefix}:big_segments_cursor`;
  const lockKey = `${prefix}:big_segments_lock`;
  const synchronizedKey = `${prefix}:big_segments_synchronized_on`;
  const setKeys = {
    included: (hash: string) => `${prefix}:big_segment_include:${hash}`,
    excluded: (hash: string) => `${prefix}:big_segment_exclude:${hash}`,
  };
  /** Transactions need a connection of their own: WATCH belongs to the connection, and EXEC of another ends it. */
  let own: RedisClient['redis'] | undefined;
  let scriptsRefused = false;

  async function call<T>(send: (redis: RedisClient['redis']) => Promise<T>): Promise<T> {
    try {
      return await client.call(send);
    } catch (error) {
      // Errors of the client hold the command, and that the hashes of contexts.
      throw new Error(`${client.server}: ${describeRedisError(error)}`);
    }
  }

  async function take(step: Step): Promise<boolean> {
    if (!scriptsRefused) {
      try {
        return await byScript(step);
      } catch (error) {
        if (!/NOPERM|unknown command/i.test((error as Error).message)) throw error;
        scriptsRefused = true;
      }
    }
    return byTransaction(step);
  }

  function byScript({ from, to, ref, changes }: Step): Promise<boolean> {
    const keys = [cursorKey, lockKey, ...changes.map(({ key }) => key)];
    const args = [keys.length, ...keys, from, to, ref, ...changes.map(({ command }) => command)];
    return call(async (redis) => {
      try {
        return (await redis.call('EVALSHA', scriptSha, ...args)) === 1;
      } catch (error) {
        if (!(error as Error).message.startsWith('NOSCRIPT')) throw error;
        return (await redis.call('EVAL', script, ...args)) === 1;
      }
    });
  }

  async function byTransaction({ from, to, ref, changes }: Step): Promise<boolean> {
    own ??= client.redis.duplicate().on('error', () => {});
    const redis = own;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const answer = await call(async () => {
        await redis.watch(lockKey, cursorKey);
        if (((await redis.get(cursorKey)) ?? '') !== from) {
          await redis.unwatch();
          return 'elsewhere';
        }
        const transaction = redis.multi().set(lockKey, '');
        for (const { command, key } of changes) {
          if (command === 'SADD') transaction.sadd(key, ref);
          else transaction.srem(key, ref);
        }
        if (to !== from) transaction.set(cursorKey, to);
        return transaction.exec();
      });
      if (answer === 'elsewhere') return false;
      const failed = answer?.find(([error]) => error);
      if (failed?.[0]) throw new Error(`${client.server}: ${failed[0].message}`);
      if (answer) return true;
      await sleep(Math.random() * 5 * tries);
    }
    throw new Error(`${client.server}: others changed ${lockKey} during ${MAX_TRIES} transactions in a row`);
  }

  async function apply(patch: BigSegmentPatch) {
    const { previousVersion: from, version, segmentRef: ref } = patch;
    const changes = changesByHash(patch).flatMap((change) =>
      (['included', 'excluded'] as const).flatMap((list) => {
        const command = { add: 'SADD', remove: 'SREM' } as const;
        return change[list] ? [{ command: command[change[list]], key: setKeys[list](change.hash) }] : [];
      }),
    );
    for (let start = 0; start === 0 || start < changes.length; start += SETS_AT_ONCE) {
      const end = start + SETS_AT_ONCE;
      const to = end >= changes.length ? version : from;
      if (await take({ from, to, ref, changes: changes.slice(start, end) })) continue;
      // Another relay was first, or this one was and the answer was lost.
      const { cursor } = await store.metadata();
      return version !== from && cursor === version ? 'applied' : 'out-of-order';
    }
    return 'applied';
  }

  const store: BigSegmentStore = {
    async metadata() {
      const [cursor, synchronizedOn] = await call((redis) => redis.mget(cursorKey, synchronizedKey));
      return { cursor: cursor ?? '', synchronizedOn: synchronizedOn ? Number(synchronizedOn) : undefined };
    },
    apply,
    async setSynchronizedOn(unixMs) {
      await call((redis) => redis.set(synchronizedKey, String(unixMs)));
    },
    async membership(hash) {
      const [included, excluded] = await Promise.all([
        call((redis) => redis.smembers(setKeys.included(hash))),
        call((redis) => redis.smembers(setKeys.excluded(hash))),
      ]);
      return membershipOf(included, excluded);
    },
    async close() {
      own?.disconnect();
      if (!shared) await client.close();
    },
  };
  return countingPatches(store, registry, { database: 'redis', prefix });
}
