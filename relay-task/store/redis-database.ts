import type { Kind } from '../../lib/flag-table/index.ts';
import type { Log } from '../ports.ts';
import type { Content, Row } from './database.ts';
import { describeRedisError, type RedisClient } from './redis-client.ts';
import { createCompareAndSet, type RedisKeys, rowOf } from './redis-compare-and-set.ts';
import type { ReplicaDatabase } from './replica-store.ts';

/** A string of Redis ends there. */
const valueLimitBytes = 512 * 1024 * 1024;
/** How many fields are asked for at once, so that a large environment does not hold up the server's other clients. */
const fieldsAtOnce = 250;

/**
 * LaunchDarkly's layout in Redis: hashes `PFX:features` and `PFX:segments`, and `PFX:$inited`. In a Cluster the prefix has
 * a hash tag, so that all of them are on one node.
 */
export function createRedisDatabase(options: {
  client: RedisClient;
  prefix: string;
  log: Log;
  close(): Promise<void>;
}): ReplicaDatabase {
  const { client, prefix, log } = options;
  const keys: RedisKeys = {
    features: `${prefix}:features`,
    segments: `${prefix}:segments`,
    inited: `${prefix}:$inited`,
    manifest: `${prefix}:$manifest`,
  };
  const compareAndSet = createCompareAndSet(client, keys, (why) =>
    log.info('Redis refuses scripts; items are written by WATCH and MULTI', { prefix, why }),
  );

  const readMarks = () =>
    Promise.all([client.call((redis) => redis.exists(keys.inited)), client.call((redis) => redis.get(keys.manifest))]);

  async function readHash(kind: Kind): Promise<Map<string, Row>> {
    const rows = new Map<string, Row>();
    let cursor = '0';
    do {
      const [next, flat] = await client.call((redis) => redis.hscanBuffer(keys[kind], cursor, 'COUNT', fieldsAtOnce));
      for (let at = 0; at + 1 < flat.length; at += 2) {
        const [field, value] = [flat[at], flat[at + 1]];
        if (!field || !value) continue;
        const key = field.toString();
        rows.set(key, rowOf(kind, key, value));
      }
      cursor = next.toString();
    } while (cursor !== '0');
    return rows;
  }

  return {
    name: 'redis',
    server: client.server,
    limits: { writes: 200, bytes: 1024 * 1024 },
    keepsManifest: true,
    marksStale: false,
    async readAll(): Promise<Content> {
      const [inited, manifest] = await readMarks();
      const [segments, features] = await Promise.all([readHash('segments'), readHash('features')]);
      return { rows: { features, segments }, inited: inited === 1, manifest: manifest ?? undefined };
    },
    async glance() {
      const [[inited, manifest], features, segments] = await Promise.all([
        readMarks(),
        client.call((redis) => redis.hlen(keys.features)),
        client.call((redis) => redis.hlen(keys.segments)),
      ]);
      return { inited: inited === 1, manifest: manifest ?? undefined, counts: { features, segments } };
    },
    apply: compareAndSet,
    misfit({ json }) {
      const bytes = Buffer.byteLength(json);
      return bytes > valueLimitBytes ? `it has ${bytes} bytes, Redis takes ${valueLimitBytes}` : undefined;
    },
    describe: describeRedisError,
    close: options.close,
  };
}
