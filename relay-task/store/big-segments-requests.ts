/** Requests to the table of Big Segments. */
import {
  DeleteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { awsNameOf, callAws, callAwsOnce } from '../common/aws-call.ts';
import type { Log } from '../ports.ts';
import type { Request } from './big-segments-writer.ts';
import {
  batchGet,
  createDynamoDBClient,
  type DynamoDBClientOptions,
  describeDynamoDBError,
  type Row,
} from './dynamodb-client.ts';
import { defaultTimings, retryTimes, type Timings } from './timings.ts';

export interface RequestsOptions extends DynamoDBClientOptions {
  readonly tableName: string;
  readonly log: Log;
  /** The caller's client, which the caller also closes. Default: a client of its own. */
  readonly client?: DynamoDBClient;
  /** For tests. */
  readonly timings?: Partial<Timings>;
}

const MAX_RETRIES = 8;
/** So many members are deleted between two signs of life. */
const PAGE = 250;

export type BigSegmentRequests = ReturnType<typeof createRequests>;

function pageOf(TableName: string, namespace: string, after: Row | undefined): QueryCommand {
  return new QueryCommand({
    TableName,
    ConsistentRead: true,
    ExclusiveStartKey: after,
    Limit: PAGE,
    KeyConditionExpression: '#namespace = :namespace',
    ProjectionExpression: '#namespace, #key, #number',
    ExpressionAttributeNames: { '#namespace': 'namespace', '#key': 'key', '#number': 'patchNumber' },
    ExpressionAttributeValues: { ':namespace': { S: namespace } },
  });
}

/** Requests to the table. What fails rejects with one sentence. */
export function createRequests(options: RequestsOptions) {
  const { tableName: TableName } = options;
  const timings: Timings = { ...defaultTimings, ...options.timings };
  const client = options.client ?? createDynamoDBClient(options);
  const closing = new AbortController();
  const backoff = retryTimes(timings);

  const retried = <T>(send: (how: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> =>
    callAws((abortSignal) => send({ abortSignal }), {
      service: 'DynamoDB',
      timeoutMs: timings.requestTimeoutMs,
      retries: MAX_RETRIES,
      backoff,
      signal: closing.signal,
    });
  const failureOf = (error: unknown) => new Error(describeDynamoDBError(error, TableName), { cause: error });

  /** Undefined: the condition did not hold. */
  async function call<T>(send: (how: { abortSignal: AbortSignal }) => Promise<T>): Promise<T | undefined> {
    try {
      return await retried(send);
    } catch (error) {
      if (awsNameOf(error) === 'ConditionalCheckFailedException') return undefined;
      throw failureOf(error);
    }
  }

  return {
    timings,
    signal: closing.signal,
    async get(Key: Row): Promise<Row> {
      // A relay reads as soon as it is told of a change, which a replica may not have yet.
      const command = new GetItemCommand({ TableName, Key, ConsistentRead: true });
      return (await call((how) => client.send(command, how)))?.Item ?? {};
    },
    /** The rows, by key; strongly consistent, too. */
    async getMany(keys: readonly Row[]): Promise<(key: Row) => Row> {
      try {
        const found = await batchGet({ client, TableName, keys, backoff, call: retried });
        const rows = new Map(found.map((row) => [idOf(row), row]));
        return (key) => rows.get(idOf(key)) ?? {};
      } catch (error) {
        throw failureOf(error);
      }
    },
    /**
     * The attributes that the update asked for; undefined: the condition did not hold. `fence` may forbid each attempt: it is the
     * last step before the request is sent, after signing.
     */
    async update(Key: Row, request: Request, fence?: () => Promise<void>): Promise<Row | undefined> {
      const command = new UpdateItemCommand({ TableName, Key, ...request });
      if (fence) {
        command.middlewareStack.add(
          (next) => async (args) => {
            await fence();
            return next(args);
          },
          { step: 'deserialize', priority: 'low' },
        );
      }
      const answer = await call((how) => client.send(command, how));
      return answer && (answer.Attributes ?? {});
    },
    /** Some keys of a namespace with their `patchNumber`, strongly consistent; `after` is the end of the page before. */
    async page(namespace: string, after: Row | undefined) {
      const command = pageOf(TableName, namespace, after);
      const { Items = [], LastEvaluatedKey } = (await call((how) => client.send(command, how))) ?? {};
      return { rows: Items, last: LastEvaluatedKey };
    },
    /** Unless the condition does not hold. */
    async remove(
      Key: Row,
      condition: Pick<Request, 'ConditionExpression' | 'ExpressionAttributeNames' | 'ExpressionAttributeValues'>,
    ): Promise<void> {
      const command = new DeleteItemCommand({ TableName, Key, ...condition });
      await call((how) => client.send(command, how));
    },
    /** Ends what is in progress, and sends a last update. Never rejects. */
    async close(Key: Row, last: Request | undefined): Promise<void> {
      closing.abort(new Error('the store of Big Segments was closed'));
      if (last) {
        const send = (abortSignal: AbortSignal) =>
          client.send(new UpdateItemCommand({ TableName, Key, ...last }), { abortSignal });
        const { requestTimeoutMs: timeoutMs } = timings;
        await callAwsOnce(send, { service: 'DynamoDB', timeoutMs }).catch((error: unknown) => {
          // Another relay became the writer already.
          if (awsNameOf(error) === 'ConditionalCheckFailedException') return;
          const fields = { reason: describeDynamoDBError(error, TableName), waitMs: timings.patchExpireMs };
          options.log.warn('Could not hand over the writing of Big Segments; the next writer will wait', {
            ...fields,
            runbook: 'operations.md#big-segments-stale',
          });
        });
      }
      if (!options.client) client.destroy();
    },
  };
}

function idOf({ namespace, key }: Row): string {
  return `${namespace?.S} ${key?.S}`;
}
