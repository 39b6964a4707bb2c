import type { Kind } from '../../lib/flag-table/index.ts';
import { whenDue } from '../common/slices.ts';
import type { Log } from '../ports.ts';
import type { Content, Row } from './database.ts';
import { rowBytes, type TakeRead } from './read-memory.ts';
import { describeRedisError, type RedisClient } from './redis-client.ts';
import { createCompareAndSet, type RedisKeys, rowOf, unlessWrongType } from './redis-compare-and-set.ts';
import { replyLimits } from './redis-replies.ts';
import { createWrongTypeLog } from './redis-wrong-type.ts';
import type { ReplicaDatabase } from './replica-store.ts';

/** How many fields are asked for at once, so that a large environment does not hold up the server's other clients. */
const fieldsAtOnce = 250;
/** What a page counts at least: a hash may have 100,000 of them. */
const LEAST_PAGE_BYTES = 1_024;
/** What HSCAN answers for a hash without fields. */
const nothing: [cursor: Buffer, fields: Buffer[]] = [Buffer.from('0'), []];

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
    log.info('Redis refuses scripts; writing with WATCH and MULTI', { prefix, why }),
  );
  const wrongTypes = createWrongTypeLog(log, prefix);

  /** A key of another type counts as missing, and the next write replaces it, as ld-relay would at its start. */
  async function unlessWrong<T>(
    key: string,
    missing: T,
    read: (redis: RedisClient['redis']) => Promise<T>,
  ): Promise<T> {
    const found = await unlessWrongType(client, read);
    if (found) wrongTypes.right(key);
    else await wrongTypes.found(key, () => client.call((redis) => redis.type(key)));
    return found ? found.answer : missing;
  }

  async function readMarks() {
    const [inited, manifest] = await Promise.all(
      [keys.inited, keys.manifest].map((key) => unlessWrong(key, null, (redis) => redis.get(key))),
    );
    return { inited: inited !== null, manifest: manifest ?? undefined };
  }

  const countFields = (key: string) => unlessWrong(key, 0, (redis) => redis.hlen(key));

  async function readRows(kind: Kind, take: TakeRead): Promise<Map<string, Row>> {
    const rows = new Map<string, Row>();
    let cursor = '0';
    do {
      const from = cursor;
      const answer: unknown = await unlessWrong(keys[kind], nothing, (redis) =>
        redis.hscanBuffer(keys[kind], from, 'COUNT', fieldsAtOnce),
      );
      if (!isPage(answer)) throw new Error('Redis answered HSCAN with something other than a cursor and fields');
      const [next, flat] = answer;
      for (let at = 0; at + 1 < flat.length; at += 2) {
        const [field, value] = [flat[at], flat[at + 1]];
        if (!field || !value) continue;
        const key = field.toString();
        take(rowBytes(key, value));
        rows.set(key, rowOf(kind, key, value));
        await whenDue();
      }
      // Otherwise pages without end would be read forever.
      take(LEAST_PAGE_BYTES);
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
    async readAll(take): Promise<Content> {
      const marks = await readMarks();
      const [segments, features] = await Promise.all([readRows('segments', take), readRows('features', take)]);
      return { rows: { features, segments }, ...marks };
    },
    async glance() {
      const [marks, features, segments] = await Promise.all([
        readMarks(),
        countFields(keys.features),
        countFields(keys.segments),
      ]);
      return { ...marks, counts: { features, segments } };
    },
    apply: compareAndSet,
    async unmark() {
      await client.call((redis) => redis.del(keys.inited));
    },
    misfit({ json }) {
      const bytes = Buffer.byteLength(json);
      return bytes > replyLimits.maxTextBytes
        ? `it has ${bytes} bytes, above the limit of ${replyLimits.maxTextBytes}`
        : undefined;
    },
    describe: describeRedisError,
    close: options.close,
  };
}

function isPage(answer: unknown): answer is typeof nothing {
  return Array.isArray(answer) && Buffer.isBuffer(answer[0]) && Array.isArray(answer[1]);
}
