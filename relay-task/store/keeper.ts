import { type DynamoDBClient, GetItemCommand, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { callAwsOnce } from '../common/aws-call.ts';
import { RelayError } from '../errors.ts';
import type { Keeper } from '../ports.ts';
import { type ConsulConnection, createConsulClient, kvPath } from './consul-client.ts';
import { describeRedisError, type RedisClient } from './redis-client.ts';
import { DEFAULT_PREFIX } from './replica-store.ts';

/** Options of all keepers. */
interface KeeperName {
  /** Of the keys; '' for the database's default; DynamoDB has no default. */
  readonly prefix: string;
  /** Which thing is kept: letters, digits and dashes, such as `auto-config`. */
  readonly name: string;
}

/** DynamoDB's 400 KB, less the keys. */
const dynamoDBLimitBytes = 409_600 - 4_096;
const consulLimitBytes = 512 * 1024;
const dynamoDBCall = { service: 'DynamoDB', timeoutMs: 5_000 };

/** Kept in the flag table: namespace `PFX:$keeper` (`$keeper` without a prefix), sort key `name`, bytes in `data`. */
export function createDynamoDBKeeper(options: KeeperName & { client: DynamoDBClient; tableName: string }): Keeper {
  const { client, tableName: TableName, prefix, name } = options;
  const Key = { namespace: { S: prefix === '' ? '$keeper' : `${prefix}:$keeper` }, key: { S: name } };
  return guarded(`table ${TableName}`, name, dynamoDBLimitBytes, {
    async read() {
      const command = new GetItemCommand({ TableName, Key, ConsistentRead: true });
      const { Item } = await callAwsOnce((abortSignal) => client.send(command, { abortSignal }), dynamoDBCall);
      return Item?.data?.B;
    },
    async write(bytes) {
      const command = new PutItemCommand({ TableName, Item: { ...Key, data: { B: bytes } } });
      await callAwsOnce((abortSignal) => client.send(command, { abortSignal }), dynamoDBCall);
    },
  });
}

/** Kept under `PFX:$keeper:NAME`. The client stays the caller's. */
export function createRedisKeeper(options: KeeperName & { client: RedisClient }): Keeper {
  const { client, name } = options;
  const prefix = options.prefix || DEFAULT_PREFIX;
  const key = `${prefix}:$keeper:${name}`;
  return guarded(client.server, name, Infinity, {
    async read() {
      return (await client.call((redis) => redis.getBuffer(key))) ?? undefined;
    },
    async write(bytes) {
      await client.call((redis) => redis.set(key, Buffer.from(bytes)));
    },
  });
}

/** Kept under `PFX/$keeper/NAME`. */
export function createConsulKeeper(options: KeeperName & ConsulConnection): Keeper {
  const { prefix, name } = options;
  const client = createConsulClient(options);
  const path = kvPath(`${prefix || DEFAULT_PREFIX}/$keeper/${name}`);
  return guarded(client.server, name, consulLimitBytes, {
    async read() {
      const { status, body } = await client.request('GET', `${path}?raw&consistent`);
      return status === 200 ? body : undefined;
    },
    async write(bytes) {
      const { body } = await client.request('PUT', path, Buffer.from(bytes));
      if (body.toString().trim() !== 'true') throw new Error('Consul did not store it');
    },
  });
}

/** Every failure is `STORE_UNAVAILABLE` and says where; what is too large is not even tried. */
function guarded(where: string, name: string, limitBytes: number, keeper: Keeper): Keeper {
  const fail = (what: string) => (error: unknown) => {
    throw new RelayError('STORE_UNAVAILABLE', `${name} ${what} ${where}: ${describeRedisError(error)}`, {
      cause: error,
    });
  };
  return {
    async read() {
      return keeper.read().catch(fail('could not be read from'));
    },
    async write(bytes) {
      const tooLarge = () => Promise.reject(new Error(`${bytes.length} bytes, the limit is ${limitBytes}`));
      await (bytes.length > limitBytes ? tooLarge() : keeper.write(bytes)).catch(fail('could not be written to'));
    },
  };
}
