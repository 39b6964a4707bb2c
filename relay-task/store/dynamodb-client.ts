import {
  BatchGetItemCommand,
  DeleteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  type AttributeValue as SdkValue,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import type { Attributes, Key } from '../../lib/flag-table/index.ts';
import type { Condition } from './conditions.ts';
import { backoffMs, sleep, type Timings } from './timings.ts';

export type WriteKind = 'flag' | 'segment' | 'inited' | 'stale-mark' | 'part' | 'body' | 'delta' | 'head';
/** `refused`: the condition did not hold, which is an answer and no error. */
export type WriteOutcome = 'written' | 'refused' | 'failed';

/** What is told of the requests, for metrics. */
export interface TableObserver {
  wrote(kind: WriteKind, outcome: WriteOutcome): void;
  retried(): void;
}

export interface Update {
  readonly set: Attributes;
  readonly remove?: readonly string[];
  readonly condition: Condition;
  /** False: one try only. Default true. */
  readonly retry?: boolean;
}

/**
 * One DynamoDB table. Throttles and 5xx are retried with full jitter; all else rejects with the SDK's error.
 * Writes answer false (or undefined) when their condition did not hold.
 */
export interface Table {
  get(key: Key, options?: { consistent?: boolean }): Promise<Attributes | undefined>;
  /** Strongly consistent; in the order of `keys`. */
  getMany(keys: readonly Key[]): Promise<readonly (Attributes | undefined)[]>;
  /** Strongly consistent; all pages. */
  query(namespace: string): Promise<readonly Attributes[]>;
  put(kind: WriteKind, item: Attributes, condition?: Condition): Promise<boolean>;
  /** The whole item after the update. */
  update(kind: WriteKind, key: Key, update: Update): Promise<Attributes | undefined>;
  remove(kind: WriteKind, key: Key, condition: Condition): Promise<boolean>;
  /** The same table; every write first asks `guard`, which throws to forbid it, each try anew. */
  guardedBy(guard: () => void): Table;
  /** Cuts off every request under way. */
  abort(): void;
}

const throttles = new Set([
  'ProvisionedThroughputExceededException',
  'ThrottlingException',
  'ThrottledException',
  'RequestLimitExceeded',
  'LimitExceededException',
  'InternalServerError',
  'InternalServerErrorException',
  'ReplicatedWriteConflictException',
  'ServiceUnavailable',
]);
/** With `retryBaseMs` 50 and a cap of 5 s about 15 s on average: longer than a lease lives without renewal. */
const maxRetries = 10;

export function createTable(options: {
  client: DynamoDBClient;
  tableName: string;
  timings: Timings;
  observer: TableObserver;
}): Table {
  const { client, tableName: TableName, timings, observer } = options;
  const underWay = new Set<() => void>();

  /** Settles in time whatever the SDK does: its promise may stay open when the signal comes amid an answer. */
  function once<T>(send: (abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const controller = new AbortController();
      const end = () => {
        clearTimeout(timer);
        underWay.delete(cancel);
      };
      const giveUp = (why: string) => {
        end();
        reject(new Error(why));
        controller.abort();
      };
      const cancel = () => giveUp('the request to DynamoDB was cut off: the store closes or gives up its lease');
      const late = `no answer from DynamoDB within ${timings.requestTimeoutMs} ms`;
      const timer = setTimeout(() => giveUp(late), timings.requestTimeoutMs);
      underWay.add(cancel);
      send(controller.signal).then(resolve, reject).finally(end);
    });
  }

  async function persist<T>(
    send: (abortSignal: AbortSignal) => Promise<T>,
    guard?: () => void,
    retry = true,
  ): Promise<T> {
    for (let failures = 0; ; failures++) {
      guard?.();
      try {
        return await once(send);
      } catch (error) {
        if (!retry || failures >= maxRetries || !isPassing(error)) throw error;
        observer.retried();
        await sleep(backoffMs(failures, timings));
      }
    }
  }

  function build(guard?: () => void): Table {
    async function write<T>(kind: WriteKind, send: (signal: AbortSignal) => Promise<T>, retry?: boolean) {
      try {
        const answer = await persist(send, guard, retry);
        observer.wrote(kind, 'written');
        return answer;
      } catch (error) {
        const refused = nameOf(error) === 'ConditionalCheckFailedException';
        observer.wrote(kind, refused ? 'refused' : 'failed');
        if (refused) return undefined;
        throw error;
      }
    }

    const table: Table = {
      async get(key, { consistent = true } = {}) {
        const command = new GetItemCommand({ TableName, Key: sdkKey(key), ConsistentRead: consistent });
        const { Item } = await persist((abortSignal) => client.send(command, { abortSignal }));
        return Item as Attributes | undefined;
      },
      async getMany(keys) {
        if (keys.length === 1) return [await table.get(keys[0]!)];
        const found = new Map<string, Attributes>();
        for (let start = 0; start < keys.length; start += 100) {
          let wanted: Record<string, SdkValue>[] = keys.slice(start, start + 100).map(sdkKey);
          for (let round = 0; wanted.length > 0; round++) {
            if (round > 0) await sleep(backoffMs(round, timings));
            const command = new BatchGetItemCommand({
              RequestItems: { [TableName]: { Keys: wanted, ConsistentRead: true } },
            });
            const answer = await persist((abortSignal) => client.send(command, { abortSignal }));
            for (const item of answer.Responses?.[TableName] ?? [])
              found.set(idOf(item as Attributes), item as Attributes);
            wanted = answer.UnprocessedKeys?.[TableName]?.Keys ?? [];
            if (round > maxRetries) throw new Error(`DynamoDB left ${wanted.length} keys of a BatchGetItem unread`);
          }
        }
        return keys.map((key) => found.get(`${key.namespace} ${key.key}`));
      },
      async query(namespace) {
        const items: Attributes[] = [];
        let ExclusiveStartKey: Record<string, SdkValue> | undefined;
        do {
          const command = new QueryCommand({
            TableName,
            ConsistentRead: true,
            KeyConditionExpression: '#n = :n',
            ExpressionAttributeNames: { '#n': 'namespace' },
            ExpressionAttributeValues: { ':n': { S: namespace } },
            ExclusiveStartKey,
          });
          const page = await persist((abortSignal) => client.send(command, { abortSignal }));
          for (const item of page.Items ?? []) items.push(item as Attributes);
          ExclusiveStartKey = page.LastEvaluatedKey;
        } while (ExclusiveStartKey);
        return items;
      },
      async put(kind, item, condition) {
        const command = new PutItemCommand({ TableName, Item: sdkItem(item), ...conditionOf(condition) });
        return (await write(kind, (abortSignal) => client.send(command, { abortSignal }))) !== undefined;
      },
      async update(kind, key, { set, remove = [], condition, retry }) {
        const sets = Object.keys(set).map((_, index) => `#s${index} = :s${index}`);
        const removes = remove.map((_, index) => `#r${index}`);
        const command = new UpdateItemCommand({
          TableName,
          Key: sdkKey(key),
          UpdateExpression: `SET ${sets.join(', ')}${removes.length > 0 ? ` REMOVE ${removes.join(', ')}` : ''}`,
          ConditionExpression: condition.expression,
          ExpressionAttributeNames: {
            ...condition.names,
            ...Object.fromEntries(Object.keys(set).map((name, index) => [`#s${index}`, name])),
            ...Object.fromEntries(remove.map((name, index) => [`#r${index}`, name])),
          },
          ExpressionAttributeValues: sdkItem({
            ...condition.values,
            ...Object.fromEntries(Object.values(set).map((value, index) => [`:s${index}`, value])),
          }),
          ReturnValues: 'ALL_NEW',
        });
        const answer = await write(kind, (abortSignal) => client.send(command, { abortSignal }), retry);
        return answer?.Attributes as Attributes | undefined;
      },
      async remove(kind, key, condition) {
        const command = new DeleteItemCommand({ TableName, Key: sdkKey(key), ...conditionOf(condition) });
        return (await write(kind, (abortSignal) => client.send(command, { abortSignal }))) !== undefined;
      },
      guardedBy: build,
      abort() {
        for (const cancel of [...underWay]) cancel();
      },
    };
    return table;
  }
  return build();
}

/** The error's name, which is how DynamoDB's errors are told apart. */
export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

/** One sentence for status and log; a table that is missing is the one mistake everybody makes once. */
export function describeError(error: unknown, tableName: string): string {
  if (nameOf(error) === 'ResourceNotFoundException') return `table ${tableName} does not exist (yet)`;
  const text = error instanceof Error ? error.message || nameOf(error) : String(error);
  const cause = error instanceof AggregateError ? error.errors.map(String).join('; ') : '';
  const name = nameOf(error);
  return `${name === '' || name === 'Error' ? '' : `${name}: `}${text}${cause}`;
}

function isPassing(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode ?? 0;
  return throttles.has(nameOf(error)) || status >= 500 || status === 429;
}

function conditionOf(condition: Condition | undefined) {
  if (!condition) return {};
  const values = Object.keys(condition.values).length > 0 ? sdkItem(condition.values) : undefined;
  return {
    ConditionExpression: condition.expression,
    ExpressionAttributeNames: { ...condition.names },
    ExpressionAttributeValues: values,
  };
}

function sdkKey({ namespace, key }: Key): Record<string, SdkValue> {
  return { namespace: { S: namespace }, key: { S: key } };
}

/** Our encoders make bytes, never base64 text, so the shapes are the SDK's. */
function sdkItem(item: Attributes): Record<string, SdkValue> {
  return item as Record<string, SdkValue>;
}

function idOf(item: Attributes): string {
  return `${textOf(item, 'namespace')} ${textOf(item, 'key')}`;
}

/** A string attribute, or ''. */
export function textOf(item: Attributes, name: string): string {
  const value = item[name];
  return value && 'S' in value ? value.S : '';
}
