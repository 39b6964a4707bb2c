import { type DynamoDBClient, GetItemCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import type { Registry } from 'prom-client';
import { namespaces } from '../../lib/flag-table/index.ts';
import { awsNameOf, callAws, callAwsOnce } from '../common/aws-call.ts';
import type { BigSegmentPatch, Log } from '../ports.ts';
import {
  type BigSegmentMetadata,
  type BigSegmentStore,
  changesByHash,
  countingPatches,
  EVERY_HASH,
  groupCount,
  type HashChange,
  membershipOf,
  type PatchOutcome,
} from './big-segments.ts';
import {
  createPatchWriter,
  groupsIn,
  moving,
  type Position,
  positionOf,
  progressText,
  type Request,
} from './big-segments-writer.ts';
import {
  batchGet,
  createDynamoDBClient,
  type DynamoDBClientOptions,
  describeError,
  type Row,
} from './dynamodb-client.ts';
import { inFlight, inParallel } from './in-parallel.ts';
import { defaultTimings, retryTimes, type Timings } from './timings.ts';

export interface DynamoDBBigSegmentsOptions extends DynamoDBClientOptions {
  readonly tableName: string;
  /** '' for none. */
  readonly prefix: string;
  readonly log: Log;
  readonly registry?: Registry | undefined;
  /** A client of the caller's, who also closes it; else one is made. */
  readonly client?: DynamoDBClient;
  /** For tests. */
  readonly timings?: Partial<Timings>;
  /** The size of the groups in which a patch is written and continued; also for tests. All relays need the same. */
  readonly hashesAtOnce?: number;
}

const MAX_RETRIES = 8;
/** How far numbers rise when the table holds higher ones than its metadata knows of. */
const NUMBER_STEP = 1_000_000;
/** So many incomplete contexts are named in the metadata, which every read contains. */
const MAX_NAMED = 50;

/**
 * Big Segments in LaunchDarkly's layout: a metadata item with `synchronizedOn` and `lastVersion`, and an item for each
 * hash with the string sets `included` and `excluded`. A patch is one update for each hash, then the cursor.
 *
 * Beside these there is `patchNumber`, which no SDK looks at. Between two relays that apply the same patch, one may be so
 * late that the other has gone on to the next; what the late one still writes must then not undo that. So patches are
 * numbered in the metadata, every update carries its patch's number, and none goes over a higher one. So that no two relays
 * do the same work, the metadata names a `writer`, with a `beat` and the `progress` of a large patch: `createPatchWriter`.
 *
 * And there is `incomplete`: hashes whose item has reached DynamoDB's limit, so that it lacks segments.
 */
export function createDynamoDBBigSegments(options: DynamoDBBigSegmentsOptions): BigSegmentStore {
  const { prefix, log, registry } = options;
  const requests = createRequests(options);
  const { get, update } = requests;
  const { bigSegmentsMetadata } = namespaces(prefix);
  const metadataKey = { namespace: { S: bigSegmentsMetadata }, key: { S: bigSegmentsMetadata } };
  const userKey = keysOfUsers(prefix);
  const writer = createPatchWriter({
    read: () => get(metadataKey),
    update: (request) => update(metadataKey, request),
    timings: requests.timings,
    signal: requests.signal,
  });
  const writeMembers = createMemberWriter({ ...options, update, writer, metadataKey });

  async function apply(patch: BigSegmentPatch): Promise<PatchOutcome> {
    const { previousVersion, version } = patch;
    const from = await writer.turn(previousVersion);
    const moves = version !== previousVersion;
    if (from.cursor !== previousVersion) return moves && from.cursor === version ? 'already-applied' : 'out-of-order';
    const outcome = await writeMembers(patch, from);
    if (outcome === 'lost') return apply(patch);
    if (outcome === 'overtaken') {
      // If the position is unchanged, the metadata was deleted or restored, and its numbers have to catch up.
      const number = Math.max(Date.now(), from.number + NUMBER_STEP);
      if (await update(metadataKey, moving(from, { cursor: from.cursor, number }))) {
        log.info('Raised the numbers of Big Segments patches above those in the table', { prefix });
      }
      return 'out-of-order';
    }
    if (!moves) return 'applied';
    if (await update(metadataKey, moving(from, { cursor: version, number: from.number + 1 }))) return 'applied';
    // Another relay was first; or an answer was lost, and what was tried again was done already.
    return positionOf(await get(metadataKey)).cursor === version ? 'applied' : 'out-of-order';
  }

  const store: BigSegmentStore = {
    async metadata() {
      return metadataOf(await get(metadataKey));
    },
    apply,
    async setSynchronizedOn(unixMs) {
      await update(metadataKey, synchronizing(unixMs));
    },
    async read(hashes) {
      const rows = await requests.getMany([metadataKey, ...hashes.map(userKey)]);
      return {
        metadata: metadataOf(rows(metadataKey)),
        memberships: hashes.map((hash) => {
          const { included, excluded } = rows(userKey(hash));
          return membershipOf(included?.SS ?? [], excluded?.SS ?? []);
        }),
      };
    },
    close: () => requests.close(metadataKey, writer.release()),
  };
  return countingPatches(store, registry, { database: 'dynamodb', prefix });
}

function keysOfUsers(prefix: string): (hash: string) => Row {
  const { bigSegmentsUser } = namespaces(prefix);
  return (hash) => ({ namespace: { S: bigSegmentsUser }, key: { S: hash } });
}

/** Writes the members of a patch, in groups, and shows meanwhile that it does. */
function createMemberWriter({
  tableName,
  prefix,
  log,
  hashesAtOnce,
  update,
  writer,
  metadataKey,
}: Pick<DynamoDBBigSegmentsOptions, 'tableName' | 'prefix' | 'log' | 'hashesAtOnce'> & {
  update(key: Row, request: Request): Promise<Row | undefined>;
  readonly writer: ReturnType<typeof createPatchWriter>;
  readonly metadataKey: Row;
}) {
  const { bigSegmentsUser } = namespaces(prefix);
  const userKey = keysOfUsers(prefix);
  /** How much of a patch was written before it failed; its version and number say that nothing has happened since. */
  let interrupted: { readonly id: string; readonly groups: number } | undefined;

  /** The item is full. The patch goes on without it, since it will not fit later either. */
  async function markIncomplete(hash: string, segment: string): Promise<void> {
    const marked = await update(metadataKey, marking('ADD #hashes :hashes', hash));
    if ((marked?.incomplete?.SS?.length ?? 0) > MAX_NAMED) {
      await update(metadataKey, marking('SET #hashes = :hashes', EVERY_HASH));
    }
    log.error('A context is in more Big Segments than an item of DynamoDB can hold; its evaluations say STALE', {
      hash,
      segment,
      table: tableName,
      namespace: bigSegmentsUser,
      limit: '400 KB',
    });
  }

  /** False: a later patch has written the hash. */
  async function change(one: HashChange, segmentRef: string, number: number): Promise<boolean> {
    try {
      return (await update(userKey(one.hash), changing(one, segmentRef, number))) !== undefined;
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      await markIncomplete(one.hash, segmentRef);
      return true;
    }
  }

  /** Writes what the patch changes. `lost`: another relay became the writer. `overtaken`: a later patch was found. */
  return async function writeMembers(
    patch: BigSegmentPatch,
    from: Position,
  ): Promise<'written' | 'lost' | 'overtaken'> {
    const { previousVersion, version, segmentRef } = patch;
    const moves = version !== previousVersion;
    const number = from.number + (moves ? 1 : 0);
    const id = `${number} ${version}`;
    const total = groupCount(patch, hashesAtOnce);
    const resumed = Math.max(interrupted?.id === id ? interrupted.groups : 0, groupsIn(from, total, version));
    let written = moves ? resumed : 0;
    let stopped: 'lost' | 'overtaken' | undefined;
    const stop = writer.show(
      previousVersion,
      () => progressText(written, total, version),
      () => {
        stopped ??= 'lost';
      },
    );
    try {
      let groups = 0;
      for await (const group of changesByHash(patch, hashesAtOnce)) {
        groups += 1;
        if (groups <= written) continue;
        await inParallel(inFlight, group, async (one) => {
          if (!stopped && !(await change(one, segmentRef, number))) stopped = 'overtaken';
        });
        if (stopped) return stopped;
        written = groups;
        interrupted = { id, groups };
      }
    } finally {
      stop();
    }
    interrupted = undefined;
    return 'written';
  };
}

/** Requests to the table. What fails rejects with one sentence. */
function createRequests(options: DynamoDBBigSegmentsOptions) {
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
  const failureOf = (error: unknown) => new Error(describeError(error, TableName), { cause: error });

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
    /** The attributes that the update asked for; undefined: the condition did not hold. */
    async update(Key: Row, request: Request): Promise<Row | undefined> {
      const command = new UpdateItemCommand({ TableName, Key, ...request });
      const answer = await call((how) => client.send(command, how));
      return answer && (answer.Attributes ?? {});
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
          const fields = { reason: describeError(error, TableName), waitMs: timings.patchExpireMs };
          options.log.warn('Could not hand over the writing of Big Segments; the next writer will wait', fields);
        });
      }
      if (!options.client) client.destroy();
    },
  };
}

function idOf({ namespace, key }: Row): string {
  return `${namespace?.S} ${key?.S}`;
}

function metadataOf({ lastVersion, synchronizedOn, incomplete }: Row): BigSegmentMetadata {
  return {
    cursor: lastVersion?.S ?? '',
    synchronizedOn: synchronizedOn?.N ? Number(synchronizedOn.N) : undefined,
    ...(incomplete?.SS && { incomplete: incomplete.SS }),
  };
}

function isTooLarge(error: unknown): boolean {
  const { cause } = error as Error;
  return awsNameOf(cause) === 'ValidationException' && /item size/i.test((cause as Error).message);
}

function marking(UpdateExpression: string, hash: string): Request {
  return {
    ReturnValues: 'UPDATED_NEW',
    UpdateExpression,
    ExpressionAttributeNames: { '#hashes': 'incomplete' },
    ExpressionAttributeValues: { ':hashes': { SS: [hash] } },
  };
}

function synchronizing(unixMs: number): Request {
  return {
    UpdateExpression: 'SET #at = :at',
    ExpressionAttributeNames: { '#at': 'synchronizedOn' },
    ExpressionAttributeValues: { ':at': { N: String(unixMs) } },
  };
}

/** Changes one hash unless a later patch has written it. */
function changing({ included, excluded }: HashChange, segmentRef: string, number: number): Request {
  const lists = Object.entries({ included, excluded });
  const names = (change: 'add' | 'remove') => lists.filter(([, is]) => is === change).map(([name]) => `#${name} :ref`);
  const [adds, removes] = [names('add'), names('remove')];
  const touched = lists.filter(([, is]) => is !== undefined).map(([name]) => [`#${name}`, name]);
  return {
    UpdateExpression: [
      'SET #number = :number',
      ...(adds.length > 0 ? [`ADD ${adds.join(', ')}`] : []),
      ...(removes.length > 0 ? [`DELETE ${removes.join(', ')}`] : []),
    ].join(' '),
    ConditionExpression: 'attribute_not_exists(#number) OR #number <= :number',
    ExpressionAttributeNames: { ...Object.fromEntries(touched), '#number': 'patchNumber' },
    ExpressionAttributeValues: { ':ref': { SS: [segmentRef] }, ':number': { N: String(number) } },
  };
}
