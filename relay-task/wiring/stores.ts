/** The configured stores, over connections that all environments share. */
import type { Measures } from '../common/measures.ts';
import type { Config, RedisConfig } from '../config/config.ts';
import type { Keeper, Log, Outbound, Store, StoreStatus, WrittenWork } from '../ports.ts';
import type { BigSegmentOwnerOptions, BigSegmentStore } from '../store/big-segments.ts';
import { createDynamoDBBigSegments } from '../store/big-segments-dynamodb.ts';
import { createRedisBigSegments } from '../store/big-segments-redis.ts';
import { createAnswersMemory } from '../store/consul-client.ts';
import { createConsulStore } from '../store/consul-store.ts';
import { createDynamoDBClient } from '../store/dynamodb-client.ts';
import { createDynamoDBStore, type DynamoDBStoreOptions } from '../store/dynamodb-store.ts';
import { createConsulKeeper, createDynamoDBKeeper, createRedisKeeper } from '../store/keeper.ts';
import { createReadMemory } from '../store/read-memory.ts';
import { createRedisClient, type RedisConnection } from '../store/redis-client.ts';
import { createRedisStore, describePrefixProblem } from '../store/redis-store.ts';
import type { Timings } from '../store/timings.ts';
import { readPem } from './certificate.ts';

interface StoresOptions {
  readonly config: Pick<Config, 'dynamoDB' | 'redis' | 'consul' | 'storeWriter'>;
  /** Identifies this process; no other process may ever use it. */
  readonly owner: string;
  readonly measures: Measures;
  readonly outbound: Pick<Outbound, 'awsAgents'>;
  /** For tests. */
  readonly timings?: StoreTimings | undefined;
}

export interface StoreTimings {
  /** Of flags and segments, in every store; see `Timings`. */
  readonly stores?: Partial<Timings>;
  readonly bigSegments?: BigSegmentTimings;
}

/** Of the deletion of another environment's members. */
interface BigSegmentTimings {
  /** See `BigSegmentOwnerOptions`. */
  readonly quietMs?: number;
  /** Of DynamoDB; see `Timings`. */
  readonly patchDrainMs?: number;
}

/** Where the stores keep the items of one environment. */
export interface Place {
  readonly prefix: string;
  /** A DynamoDB table of its own; undefined: the configured one. */
  readonly tableName: string | undefined;
}

export function isSamePlace(a: Place, b: Place): boolean {
  return a.prefix === b.prefix && a.tableName === b.tableName;
}

interface StoreRequest extends Pick<DynamoDBStoreOptions, 'view' | 'source' | 'checkedAt' | 'log' | 'publishing'> {
  /** The environment's name, for metrics. */
  readonly env: string;
  readonly place: Place;
  /** `UpstreamStatus.checkedNow` */
  checkedNow(): number;
  /** Whether upstream confirms what memory holds; a file does not. */
  confirms(): boolean;
  /** Changes are in this store. */
  onWritten?: ((database: StoreStatus['database'], written: WrittenWork) => void) | undefined;
}

export interface Stores {
  /** Throws for a place that a store cannot have, before any is opened. */
  open(request: StoreRequest): readonly Store[];
  /** The stores that can hold Big Segments, the fastest first. */
  bigSegments(place: Place, log: Log, owner: Omit<BigSegmentOwnerOptions, 'quietMs'>): readonly BigSegmentStore[];
  /** In the first configured store; undefined without one. A relay that may not write only reads. */
  keeper(name: string): Keeper | undefined;
  /** To be called after every store is closed. */
  close(): Promise<void>;
}

/** Throws RelayError CONFIG_INVALID when a certificate cannot be read or a proxy's address is invalid. Nothing is connected to before it is used. */
export function createStores({ config, owner, measures, outbound, timings = {} }: StoresOptions): Stores {
  const { dynamoDB, redis, consul, storeWriter: writer } = config;
  // A custom endpoint has no region, but the client requires one.
  const region = dynamoDB?.region ?? (dynamoDB?.url ? 'us-east-1' : undefined);
  const dynamoDBClient =
    dynamoDB && createDynamoDBClient({ region, endpoint: dynamoDB.url, agents: outbound.awsAgents() });
  const redisClient = redis && createRedisClient(connectionOf(redis));

  // Environments may be large, and a store that answers without end must leave the process its memory.
  const consulMemory = createAnswersMemory();
  const readMemory = createReadMemory();

  function openKeeper(name: string): Keeper | undefined {
    if (dynamoDBClient && dynamoDB.tableName !== undefined) {
      return createDynamoDBKeeper({ client: dynamoDBClient, tableName: dynamoDB.tableName, prefix: '', name });
    }
    if (redisClient) return createRedisKeeper({ client: redisClient, prefix: '', name });
    return consul && createConsulKeeper({ ...consul, memory: consulMemory, prefix: '', name });
  }

  return {
    open({ place, checkedAt, checkedNow, confirms, onWritten, publishing, ...request }) {
      const { prefix, tableName = dynamoDB?.tableName ?? '' } = place;
      // Before anything is open that would have to be closed.
      const problem = redisClient && describePrefixProblem(prefix, { cluster: redisClient.isCluster });
      if (problem !== undefined) throw new Error(problem);
      const common = { ...request, prefix, writer, measures, readMemory, timings: timings.stores ?? {} };
      const tell = (database: StoreStatus['database']) =>
        onWritten && { onWritten: (written: WrittenWork) => onWritten(database, written) };
      const replica = { ...common, checkedNow: () => (confirms() ? checkedNow() : Infinity) };
      return [
        dynamoDBClient &&
          createDynamoDBStore({
            ...common,
            ...tell('dynamodb'),
            publishing,
            checkedAt,
            checkedNow,
            owner,
            client: dynamoDBClient,
            tableName,
            region,
            endpoint: dynamoDB.url,
          }),
        redisClient && createRedisStore({ ...replica, ...tell('redis'), connection: redisClient }),
        consul && createConsulStore({ ...replica, ...tell('consul'), ...consul, memory: consulMemory }),
      ].filter((store) => store !== undefined);
    },
    bigSegments({ prefix, tableName = dynamoDB?.tableName ?? '' }, log, owner) {
      const { quietMs, ...ofDynamoDB } = timings.bigSegments ?? {};
      const common = { ...owner, prefix, log, measures, quietMs };
      return [
        redisClient && createRedisBigSegments({ ...common, connection: redisClient }),
        dynamoDBClient &&
          createDynamoDBBigSegments({ ...common, client: dynamoDBClient, tableName, timings: ofDynamoDB }),
      ].filter((store) => store !== undefined);
    },
    keeper(name) {
      const keeper = openKeeper(name);
      return keeper && writer === 'never' ? { ...keeper, write: async () => {} } : keeper;
    },
    async close() {
      dynamoDBClient?.destroy();
      await redisClient?.close();
    },
  };
}

function connectionOf({ sentinel, cluster, certFile, keyFile, caFile, ...redis }: RedisConfig): RedisConnection {
  const { host, port, username, password, db, tls, connectTimeoutMs, readTimeoutMs } = redis;
  return {
    username,
    password,
    db,
    connectTimeoutMs,
    commandTimeoutMs: readTimeoutMs,
    ...(tls && { tls }),
    ...(certFile !== undefined && { cert: readPem('CONFIG_INVALID', 'REDIS_CLIENT_CERT_FILE', certFile) }),
    ...(keyFile !== undefined && { key: readPem('CONFIG_INVALID', 'REDIS_CLIENT_KEY_FILE', keyFile) }),
    ...(caFile !== undefined && { ca: readPem('CONFIG_INVALID', 'REDIS_CA_FILE', caFile) }),
    ...(sentinel
      ? {
          sentinels: sentinel.nodes,
          master: sentinel.master,
          sentinelUsername: sentinel.username,
          sentinelPassword: sentinel.password,
        }
      : cluster
        ? { cluster }
        : { host, port }),
  };
}
