import type { Store } from '../ports.ts';
import { createRedisClient, type RedisClient, type RedisConnection } from './redis-client.ts';
import { createRedisDatabase } from './redis-database.ts';
import { createReplicaStore, DEFAULT_PREFIX, type ReplicaStoreOptions } from './replica-store.ts';

export interface RedisStoreOptions extends ReplicaStoreOptions {
  /** Where Redis is, or a client of the caller's (`createRedisClient`), who also closes it. */
  readonly connection: RedisConnection | RedisClient;
}

/**
 * Redis as a replica of one environment's memory, in the layout that official SDKs in daemon mode read. It is single,
 * watched over by Sentinels, or a Cluster. Nothing rejects but `read`, with `STORE_UNAVAILABLE`. `flush` resolves at
 * once on a task that may not write. Throws for a prefix that a Cluster cannot hold: ask `describePrefixProblem` before.
 */
export function createRedisStore(options: RedisStoreOptions): Store {
  const prefix = options.prefix || DEFAULT_PREFIX;
  const { client, close } = openRedis(options.connection, prefix);
  return createReplicaStore(options, (onReconnected) => {
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

/** The client of a store. `close` leaves a client of the caller's open. Throws for a prefix that a Cluster cannot hold. */
export function openRedis(connection: RedisConnection | RedisClient, prefix: string) {
  const shared = 'redis' in connection;
  const client = shared ? connection : createRedisClient(connection);
  const close = async () => {
    if (!shared) await client.close();
  };
  const problem = describePrefixProblem(prefix, { cluster: client.isCluster });
  if (problem === undefined) return { client, close };
  void close();
  throw new Error(problem);
}

/**
 * Why a prefix ('' for the default) cannot be used, with what would do; undefined: it can. In a Cluster all keys of an
 * environment must be on one node, which takes a hash tag: the first `{…}` that is not empty.
 * https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
 */
export function describePrefixProblem(prefix: string, { cluster }: { cluster: boolean }): string | undefined {
  const used = prefix || DEFAULT_PREFIX;
  const open = used.indexOf('{');
  if (!cluster || (open >= 0 && used.indexOf('}', open) > open + 1)) return undefined;
  const suggestion = `{${used.replace(/[{}]/g, '') || DEFAULT_PREFIX}}`;
  return `the prefix "${used}" must contain a hash tag in a Redis Cluster, such as "${suggestion}"`;
}
