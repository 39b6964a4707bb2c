import type { Registry } from 'prom-client';
import { sleep } from '../common/pause.ts';
import type { BigSegmentPatch } from '../ports.ts';
import {
  type BigSegmentMetadata,
  type BigSegmentStore,
  changesByHash,
  countingPatches,
  membershipOf,
  type PatchOutcome,
} from './big-segments.ts';
import { createScript, describeRedisError, type RedisClient, type RedisConnection } from './redis-client.ts';
import { openRedis } from './redis-store.ts';
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
const runScript = createScript(script);

const MAX_TRIES = 20;

interface Change {
  readonly command: 'SADD' | 'SREM';
  readonly key: string;
}

interface Step {
  readonly from: string;
  readonly to: string;
  readonly ref: string;
  /** Not so many that the server's other clients have to wait. */
  readonly changes: readonly Change[];
}

type Keys = ReturnType<typeof keysOf>;

/**
 * Big Segments in LaunchDarkly's layout: `PFX:big_segment_include:HASH`, `PFX:big_segment_exclude:HASH`,
 * `PFX:big_segments_synchronized_on`, `PFX:big_segments_cursor`. Every step checks the cursor in the same breath. Unlike
 * ld-relay's, a store without a cursor takes only a first patch: after a loss of data everything has to come again.
 * Throws for a prefix that a Cluster cannot hold.
 */
export function createRedisBigSegments(options: RedisBigSegmentsOptions): BigSegmentStore {
  const prefix = options.prefix || DEFAULT_PREFIX;
  const { client, close } = openRedis(options.connection, prefix);
  const keys = keysOf(prefix);
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

  /** False: the cursor is elsewhere, and nothing was done. */
  async function take(step: Step): Promise<boolean> {
    if (!scriptsRefused) {
      try {
        return await call((redis) => byScript(redis, keys, step));
      } catch (error) {
        if (!/NOPERM|unknown command/i.test((error as Error).message)) throw error;
        scriptsRefused = true;
      }
    }
    own ??= client.redis.duplicate().on('error', () => {});
    const redis = own;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const answer = await call(() => tryTransaction(redis, keys, step));
      if (answer === 'elsewhere') return false;
      const failed = answer?.find(([error]) => error);
      if (failed?.[0]) throw new Error(`${client.server}: ${failed[0].message}`);
      if (answer) return true;
      await sleep(Math.random() * 5 * tries);
    }
    throw new Error(`${client.server}: others changed ${keys.lock} during ${MAX_TRIES} transactions in a row`);
  }

  async function apply(patch: BigSegmentPatch): Promise<PatchOutcome> {
    const { previousVersion, version } = patch;
    let taken = 0;
    for await (const step of stepsOf(patch, keys)) {
      if (await take(step)) {
        taken += 1;
        continue;
      }
      // Another relay was first, or this one was and the answer was lost.
      const { cursor } = await store.metadata();
      if (version === previousVersion || cursor !== version) return 'out-of-order';
      return taken === 0 ? 'already-applied' : 'applied';
    }
    return 'applied';
  }

  const store: BigSegmentStore = {
    async metadata() {
      const [cursor, synchronizedOn] = await call((redis) => redis.mget(keys.cursor, keys.synchronized));
      return metadataOf(cursor, synchronizedOn);
    },
    apply,
    async setSynchronizedOn(unixMs) {
      await call((redis) => redis.set(keys.synchronized, String(unixMs)));
    },
    async read(hashes) {
      const sets = await call((redis) => readSets(redis, keys, hashes));
      const [cursor, synchronizedOn] = (sets.pop() ?? []) as (string | null)[];
      return {
        memberships: hashes.map((_, index) => membershipOf(sets[2 * index] ?? [], sets[2 * index + 1] ?? [])),
        metadata: metadataOf(cursor, synchronizedOn),
      };
    },
    async close() {
      own?.disconnect();
      await close();
    },
  };
  return countingPatches(store, options.registry, { database: 'redis', prefix });
}

/**
 * Two sets for each hash, then cursor and time of synchronisation. These come last: if the server was emptied before any
 * of the sets was read, they show it.
 */
async function readSets(redis: RedisClient['redis'], keys: Keys, hashes: readonly string[]): Promise<string[][]> {
  const pipeline = redis.pipeline();
  for (const hash of hashes) pipeline.smembers(keys.included(hash)).smembers(keys.excluded(hash));
  const answers = (await pipeline.mget(keys.cursor, keys.synchronized).exec()) ?? [];
  return answers.map(([error, answer]) => {
    if (error) throw error;
    return answer as string[];
  });
}

function metadataOf(cursor: string | null | undefined, synchronizedOn: string | null | undefined): BigSegmentMetadata {
  return { cursor: cursor ?? '', synchronizedOn: synchronizedOn ? Number(synchronizedOn) : undefined };
}

function keysOf(prefix: string) {
  return {
    cursor: `${prefix}:big_segments_cursor`,
    lock: `${prefix}:big_segments_lock`,
    synchronized: `${prefix}:big_segments_synchronized_on`,
    included: (hash: string) => `${prefix}:big_segment_include:${hash}`,
    excluded: (hash: string) => `${prefix}:big_segment_exclude:${hash}`,
  };
}

/** At least one step; the last one moves the cursor. */
async function* stepsOf(patch: BigSegmentPatch, keys: Keys): AsyncGenerator<Step> {
  const { previousVersion: from, version, segmentRef: ref } = patch;
  let changes: Change[] = [];
  for await (const group of changesByHash(patch)) {
    if (changes.length > 0) yield { from, to: from, ref, changes };
    changes = group.flatMap((change) =>
      (['included', 'excluded'] as const).flatMap((list) => {
        const command = change[list] && commands[change[list]];
        return command ? [{ command, key: keys[list](change.hash) }] : [];
      }),
    );
  }
  yield { from, to: version, ref, changes };
}

const commands = { add: 'SADD', remove: 'SREM' } as const;

async function byScript(redis: RedisClient['redis'], keys: Keys, { from, to, ref, changes }: Step): Promise<boolean> {
  const sets = changes.map(({ key }) => key);
  const commands = changes.map(({ command }) => command);
  return (await runScript(redis, [keys.cursor, keys.lock, ...sets], [from, to, ref, ...commands])) === 1;
}

/** Null: somebody else wrote meanwhile. */
async function tryTransaction(redis: RedisClient['redis'], keys: Keys, { from, to, ref, changes }: Step) {
  await redis.watch(keys.lock, keys.cursor);
  if (((await redis.get(keys.cursor)) ?? '') !== from) {
    await redis.unwatch();
    return 'elsewhere';
  }
  const transaction = redis.multi().set(keys.lock, '');
  for (const { command, key } of changes) {
    if (command === 'SADD') transaction.sadd(key, ref);
    else transaction.srem(key, ref);
  }
  if (to !== from) transaction.set(keys.cursor, to);
  return transaction.exec();
}
