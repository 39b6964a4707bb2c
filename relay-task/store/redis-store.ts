import { hasHashTag, withHashTag } from '../common/hash-tag.ts';
import type { Store } from '../ports.ts';
import { createRedisClient, type RedisClient, type RedisConnection } from './redis-client.ts';
import { createRedisDatabase } from './redis-database.ts';
import { createReplicaStore, DEFAULT_PREFIX, type ReplicaStoreOptions } from './replica-store.ts';

export interface RedisStoreOptions extends ReplicaStoreOptions {
  /** Where Redis is, or the caller's client (`createRedisClient`), which the caller also closes. */
  readonly connection: RedisConnection | RedisClient;
}

/**
 * Redis as a replica of one environment's memory, in the layout that official SDKs in daemon mode read. It is single,
 * watched over by Sentinels, or a Cluster. Nothing rejects but `read`, with `STORE_UNAVAILABLE`. `flush` resolves at
 * once on a task that may not write. Throws for a prefix that a Cluster cannot hold: ask `describePrefixProblem` before.
 */
export function createRedisStore(options: RedisStoreOptions): Store {
  const { client, prefix, close } = openRedis(options.connection, options.prefix);
  return createReplicaStore({ ...options, prefix }, (onReconnected) => {
    const stopListening = client.onReady(onReconnected);
    return createRedisDatabase({
      client,
      log: options.log,
      prefix,
      async close() {
        stopListening();
        await close();
      },
    });
  });
}

/**
 * The client of a store, and the prefix of its keys: the given one ('' for the default), in a Cluster with a hash tag. `close` leaves
 * a client of the caller's open. Throws for a prefix that a Cluster cannot hold.
 */
export function openRedis(connection: RedisConnection | RedisClient, given: string) {
  const shared = 'redis' in connection;
  const client = shared ? connection : createRedisClient(connection);
  const close = async () => {
    if (!shared) await client.close();
  };
  const problem = describePrefixProblem(given, { cluster: client.isCluster });
  const used = given || DEFAULT_PREFIX;
  if (problem === undefined) return { client, close, prefix: client.isCluster ? withHashTag(used) : used };
  void close();
  throw new Error(problem);
}

/**
 * Why a prefix ('' for the default) cannot be used, with what would do; undefined: it can. In a Cluster all keys of an
 * environment must be on one node, so a prefix without a hash tag is put in braces, which does not help if it begins with one.
 */
export function describePrefixProblem(prefix: string, { cluster }: { cluster: boolean }): string | undefined {
  const used = prefix || DEFAULT_PREFIX;
  if (!cluster || hasHashTag(withHashTag(used))) return undefined;
  const suggestion = `{${used.replace(/[{}]/g, '') || DEFAULT_PREFIX}}`;
  return `the prefix "${used}" must contain a hash tag in a Redis Cluster, such as "${suggestion}"`;
}
