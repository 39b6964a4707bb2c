import {
  BatchGetItemCommand,
  DeleteItemCommand,
  DynamoDBClient,
  type DynamoDBClientConfig,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  type QueryCommandInput,
  type QueryCommandOutput,
  type AttributeValue as SdkValue,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import type { Attributes, Key } from '../../lib/flag-table/index.ts';
import { awsErrorText, awsNameOf, callAws, limitAnswers } from '../common/aws-call.ts';
import { type BackoffTimes, backoffMs } from '../common/backoff.ts';
import { sleep } from '../common/pause.ts';
import type { AwsAgents } from '../ports.ts';
import type { Condition } from './conditions.ts';
import { attributeBytes, createReadMemory, startReading, storedLimit, type TakeRead } from './read-memory.ts';
import { retryTimes, type Timings } from './timings.ts';

export type Row = Record<string, SdkValue>;
type WriteKind = 'flag' | 'segment' | 'inited' | 'stale-mark' | 'part' | 'body' | 'delta' | 'head';
/** `refused`: the condition did not hold, which is not an error. */
type WriteOutcome = 'written' | 'refused' | 'failed';

/** Counts requests, for metrics. */
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
 * One DynamoDB table. Throttles and 5xx are retried; everything else rejects with the SDK's error. Writes resolve with
 * false (or undefined) when their condition did not hold.
 */
export interface Table {
  get(key: Key, options?: { consistent?: boolean }): Promise<Attributes | undefined>;
  /** Strongly consistent; in the order of `keys`. */
  getMany(keys: readonly Key[], take?: TakeRead): Promise<readonly (Attributes | undefined)[]>;
  /** Strongly consistent; all pages. `take` counts what is read. */
  query(namespace: string, take: TakeRead): Promise<readonly Attributes[]>;
  /** How many items `query` would return; costs as much, but without their bytes. */
  count(namespace: string): Promise<number>;
  put(kind: WriteKind, item: Attributes, condition?: Condition): Promise<boolean>;
  /** The whole item after the update. */
  update(kind: WriteKind, key: Key, update: Update): Promise<Attributes | undefined>;
  remove(kind: WriteKind, key: Key, condition: Condition): Promise<boolean>;
  /** The same table with a `guard` that is called before each attempt of a write and throws to forbid it. */
  guardedBy(guard: () => void): Table;
  /** Rejects every request in progress. */
  abort(): void;
}

/** With a backoff from 50 ms to 5 s about 20 s: longer than a lease lives without renewal. */
const maxRetries = 10;
/** DynamoDB's limit of one BatchGetItem. */
const keysAtOnce = 100;
/** A BatchGetItem answers with at most 16 MB, in JSON with some escapes. */
const maxAnswerBytes = 32 * 1024 * 1024;
/** Of all answers of a client that are being read; one alone may take a half of it. The SDK parses each in one piece. */
const maxAnswersBytes = storedLimit();
/** What a page counts at least: a Query may have 100,000 of them. */
const LEAST_PAGE_BYTES = 1_024;

export interface DynamoDBClientOptions {
  readonly region?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly credentials?: DynamoDBClientConfig['credentials'];
  /** Default 1: retries are those of common/aws-call, as the lease decides how long a write may still be tried. */
  readonly maxAttempts?: number;
  /** Closed with the client. Undefined: the SDK's own. */
  readonly agents?: AwsAgents | undefined;
}

/** A client for any number of stores. */
export function createDynamoDBClient({
  region,
  endpoint,
  credentials,
  maxAttempts = 1,
  agents,
}: DynamoDBClientOptions): DynamoDBClient {
  return new DynamoDBClient({
    maxAttempts,
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials !== undefined && { credentials }),
    ...(agents && { requestHandler: agents }),
    streamCollector: limitAnswers({ service: 'DynamoDB', maxBytes: maxAnswerBytes, maxBytesOfAll: maxAnswersBytes }),
  });
}

type Send<T> = (how: { readonly abortSignal: AbortSignal }) => Promise<T>;
/** Sends a request, and retries it. */
type Call = <T>(send: Send<T>) => Promise<T>;

/** The items of at most 100 keys, strongly consistent, in no order. Asks again for those that DynamoDB leaves out. */
export async function batchGet(options: {
  readonly client: DynamoDBClient;
  readonly TableName: string;
  readonly keys: readonly Row[];
  readonly backoff: BackoffTimes;
  readonly call: Call;
}): Promise<Row[]> {
  const { client, TableName, backoff, call } = options;
  const found: Row[] = [];
  let wanted = [...options.keys];
  for (let round = 0; wanted.length > 0; round++) {
    if (round > maxRetries) throw new Error(`DynamoDB left ${wanted.length} keys of a BatchGetItem unread`);
    if (round > 0) await sleep(backoffMs(round, backoff));
    const command = new BatchGetItemCommand({ RequestItems: { [TableName]: { Keys: wanted, ConsistentRead: true } } });
    const answer = await call((how) => client.send(command, how));
    found.push(...(answer.Responses?.[TableName] ?? []));
    wanted = answer.UnprocessedKeys?.[TableName]?.Keys ?? [];
  }
  return found;
}

export function createTable(options: {
  client: DynamoDBClient;
  tableName: string;
  timings: Pick<Timings, 'requestTimeoutMs' | 'retryBaseMs' | 'retryCapMs'>;
  observer: TableObserver;
}): Table {
  const { client, tableName: TableName, timings, observer } = options;
  const backoff = retryTimes(timings);
  let aborter = new AbortController();

  function call<T>(send: Send<T>, guard?: () => void, retry = true): Promise<T> {
    return callAws((abortSignal) => send({ abortSignal }), {
      service: 'DynamoDB',
      timeoutMs: timings.requestTimeoutMs,
      retries: retry ? maxRetries : 0,
      backoff,
      signal: aborter.signal,
      ...(guard && { before: guard }),
      onRetry: observer.retried,
    });
  }

  const reads = createReads(client, TableName, backoff, call);

  function build(guard?: () => void): Table {
    async function write<T>(kind: WriteKind, send: Send<T>, retry?: boolean) {
      try {
        const answer = await call(send, guard, retry);
        observer.wrote(kind, 'written');
        return answer;
      } catch (error) {
        const refused = awsNameOf(error) === 'ConditionalCheckFailedException';
        observer.wrote(kind, refused ? 'refused' : 'failed');
        if (refused) return undefined;
        throw error;
      }
    }

    return {
      ...reads,
      async put(kind, item, condition) {
        const command = new PutItemCommand({ TableName, Item: sdkItem(item), ...conditionOf(condition) });
        return (await write(kind, (how) => client.send(command, how))) !== undefined;
      },
      async update(kind, key, update) {
        const command = new UpdateItemCommand({ TableName, Key: sdkKey(key), ...expressionOf(update) });
        const answer = await write(kind, (how) => client.send(command, how), update.retry);
        return answer?.Attributes as Attributes | undefined;
      },
      async remove(kind, key, condition) {
        const command = new DeleteItemCommand({ TableName, Key: sdkKey(key), ...conditionOf(condition) });
        return (await write(kind, (how) => client.send(command, how))) !== undefined;
      },
      guardedBy: build,
      abort() {
        aborter.abort(new Error('the request to DynamoDB was aborted: the store is closing or gave up its lease'));
        aborter = new AbortController();
      },
    };
  }
  return build();
}

function createReads(client: DynamoDBClient, TableName: string, backoff: BackoffTimes, call: Call) {
  async function get(key: Key, { consistent = true } = {}): Promise<Attributes | undefined> {
    const command = new GetItemCommand({ TableName, Key: sdkKey(key), ConsistentRead: consistent });
    const { Item } = await call((how) => client.send(command, how));
    return Item as Attributes | undefined;
  }

  async function* pages(namespace: string, take: TakeRead, more?: Pick<QueryCommandInput, 'Select'>) {
    let ExclusiveStartKey: Row | undefined;
    do {
      const command = new QueryCommand({
        TableName,
        ConsistentRead: true,
        KeyConditionExpression: '#n = :n',
        ExpressionAttributeNames: { '#n': 'namespace' },
        ExpressionAttributeValues: { ':n': { S: namespace } },
        ExclusiveStartKey,
        ...more,
      });
      const page: QueryCommandOutput = await call((how) => client.send(command, how));
      // Otherwise endless pages would be read endlessly.
      take(LEAST_PAGE_BYTES + bytesOf(page.Items ?? []));
      yield page;
      ExclusiveStartKey = page.LastEvaluatedKey;
    } while (ExclusiveStartKey);
  }

  return {
    get,
    async getMany(keys: readonly Key[], take: TakeRead = () => {}): Promise<readonly (Attributes | undefined)[]> {
      const [only] = keys;
      if (only && keys.length === 1) return [await get(only)];
      const found = new Map<string, Attributes>();
      for (let start = 0; start < keys.length; start += keysAtOnce) {
        const batch = keys.slice(start, start + keysAtOnce).map(sdkKey);
        const items = await batchGet({ client, TableName, keys: batch, backoff, call });
        take(bytesOf(items));
        for (const item of items) {
          found.set(idOf(item as Attributes), item as Attributes);
        }
      }
      return keys.map(({ namespace, key }) => found.get(`${namespace} ${key}`));
    },
    async query(namespace: string, take: TakeRead): Promise<readonly Attributes[]> {
      const items: Attributes[] = [];
      for await (const page of pages(namespace, take)) {
        for (const item of page.Items ?? []) items.push(item as Attributes);
      }
      return items;
    },
    async count(namespace: string): Promise<number> {
      let count = 0;
      // What is counted is not held, but pages that never end are left as well.
      const { take } = startReading(createReadMemory());
      for await (const page of pages(namespace, take, { Select: 'COUNT' })) count += page.Count ?? 0;
      return count;
    },
  };
}

/** One sentence for status and log. A missing table is the most common mistake, so it gets a sentence of its own. */
export function describeDynamoDBError(error: unknown, tableName: string): string {
  if (awsNameOf(error) === 'ResourceNotFoundException') return `table ${tableName} does not exist (yet)`;
  return awsErrorText(error);
}

/** The expressions of an update; names and values of its own use the letters `s` and `r`. */
function expressionOf({ set, remove = [], condition }: Update) {
  const sets = Object.keys(set).map((_, index) => `#s${index} = :s${index}`);
  const removes = remove.map((_, index) => `#r${index}`);
  return {
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
    ReturnValues: 'ALL_NEW' as const,
  };
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

/** Of texts and bytes, which are all that an item of ours has besides numbers, and of the objects that hold them. */
function bytesOf(items: readonly Row[]): number {
  return items
    .flatMap((item) => Object.entries(item))
    .reduce((sum, [name, value]) => sum + attributeBytes(name, value.S ?? value.B), 0);
}

function idOf(item: Attributes): string {
  return `${textOf(item, 'namespace')} ${textOf(item, 'key')}`;
}

/** Where an item is in the table. */
export function keyOf(attributes: Attributes): Key {
  return { namespace: textOf(attributes, 'namespace'), key: textOf(attributes, 'key') };
}

/** A string attribute, or ''. */
export function textOf(item: Attributes, name: string): string {
  const value = item[name];
  return value && 'S' in value ? value.S : '';
}
