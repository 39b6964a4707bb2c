import { namespaces } from '../../lib/flag-table/index.ts';
import { awsNameOf } from '../common/aws-call.ts';
import type { Measures } from '../common/measures.ts';
import type { BigSegmentPatch } from '../ports.ts';
import {
  type BigSegmentMetadata,
  type BigSegmentOwnerOptions,
  type BigSegmentStore,
  changesByHash,
  countingPatches,
  EVERY_HASH,
  groupCount,
  type HashChange,
  membershipOf,
  type PatchOutcome,
} from './big-segments.ts';
import { createEmptier, markOf, numberAbove } from './big-segments-emptier.ts';
import { createOwnership, ownerProblem } from './big-segments-owner.ts';
import { type BigSegmentRequests, createRequests, type RequestsOptions } from './big-segments-requests.ts';
import {
  createPatchWriter,
  groupsIn,
  moving,
  positionOf,
  progressText,
  type Request,
  type Turn,
} from './big-segments-writer.ts';
import type { Row } from './dynamodb-client.ts';
import { inFlight, inParallel } from './in-parallel.ts';

interface DynamoDBBigSegmentsOptions extends RequestsOptions, BigSegmentOwnerOptions {
  /** '' for none. */
  readonly prefix: string;
  readonly measures?: Measures | undefined;
  /** The size of the groups in which a patch is written and continued; also for tests. All relays need the same. */
  readonly hashesAtOnce?: number;
}

/** So many incomplete contexts are named in the metadata, which every read contains. */
const MAX_NAMED = 50;

/**
 * Big Segments in LaunchDarkly's layout: a metadata item with `synchronizedOn` and `lastVersion`, and an item for each
 * hash with the string sets `included` and `excluded`. A patch is one update for each hash, then the cursor.
 *
 * Beside these there is `patchNumber`, which no SDK looks at. Between two relays that apply the same patch, one may be so
 * late that the other has gone on to the next; what the late one still writes must then not undo that. So patches are
 * numbered in the metadata, every update carries its patch's number, and none goes over a higher one. An item that was deleted
 * for another environment has no number; there `createPatchWriter` keeps late updates back. So that no two relays do the same
 * work, the metadata names a `writer`, with a `beat` and the `progress` of a large patch.
 *
 * And there is `incomplete`: hashes whose item has reached DynamoDB's limit, so that it lacks segments. And `environment`, whose
 * members these are, with `emptying` while those of an earlier one are deleted: `createEmptier`.
 */
export function createDynamoDBBigSegments(options: DynamoDBBigSegmentsOptions): BigSegmentStore {
  const { prefix, log, measures, environment = () => undefined } = options;
  const requests = createRequests(options);
  const { get, update } = requests;
  const { bigSegmentsMetadata } = namespaces(prefix);
  const metadataKey = { namespace: { S: bigSegmentsMetadata }, key: { S: bigSegmentsMetadata } };
  const userKey = keysOfUsers(prefix);
  const writer = createPatchWriter({
    read: () => get(metadataKey),
    update: (request) => update(metadataKey, request),
    isOwn: (row) => !row.emptying && (environment() ?? row.environment?.S) === row.environment?.S,
    timings: requests.timings,
    signal: requests.signal,
  });
  const writeMembers = createMemberWriter({ ...options, update, writer, metadataKey });
  const emptier = createEmptier({ log, prefix, metadataKey, requests });

  async function apply(patch: BigSegmentPatch): Promise<PatchOutcome> {
    const { previousVersion, version } = patch;
    const from = await writer.turn(previousVersion);
    if (!from) return 'out-of-order';
    const moves = version !== previousVersion;
    if (from.cursor !== previousVersion) return moves && from.cursor === version ? 'already-applied' : 'out-of-order';
    const outcome = await writeMembers(patch, from);
    if (outcome === 'lost') return apply(patch);
    if (outcome === 'overtaken') {
      // If the position is unchanged, the metadata was deleted or restored, and its numbers have to catch up.
      const number = numberAbove(from.number);
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
    own: createOwnership({
      environment,
      adopts: options.adopts,
      quietMs: options.quietMs,
      async look() {
        const row = await get(metadataKey);
        return { metadata: metadataOf(row), mark: markOf(row), isOwnEmptying: emptier.isOwn(row.emptying?.S) };
      },
      async name(id) {
        await update(metadataKey, naming(id));
      },
      empty: emptier.empty,
    }),
    apply,
    async setSynchronizedOn(unixMs) {
      if (await update(metadataKey, synchronizing(unixMs, environment()))) return;
      const problem = ownerProblem(metadataOf(await get(metadataKey)), environment());
      throw new Error(problem ?? 'the store was emptied meanwhile');
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
  return countingPatches(store, measures, { env: options.env ?? '', database: 'dynamodb', prefix });
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
  readonly update: BigSegmentRequests['update'];
  readonly writer: ReturnType<typeof createPatchWriter>;
  readonly metadataKey: Row;
}) {
  const { bigSegmentsUser } = namespaces(prefix);
  const userKey = keysOfUsers(prefix);
  /** How much of a patch was written before it failed; its version and number say that nothing has happened since. */
  let interrupted: { readonly id: string; readonly groups: number } | undefined;

  /** The item is full. The rest of the patch is applied without it, since it will not fit later either. */
  async function markIncomplete(hash: string, segment: string, fence: () => Promise<void>): Promise<void> {
    const marked = await update(metadataKey, marking('ADD #hashes :hashes', hash), fence);
    if ((marked?.incomplete?.SS?.length ?? 0) > MAX_NAMED) {
      await update(metadataKey, marking('SET #hashes = :hashes', EVERY_HASH), fence);
    }
    log.error('A context is in more Big Segments than a DynamoDB item can hold; its evaluations say STALE', {
      hash,
      segment,
      table: tableName,
      namespace: bigSegmentsUser,
      limit: '400 KB',
      runbook: 'operations.md#big-segments-stale',
    });
  }

  /** False: a later patch has written the hash. */
  async function change(
    one: HashChange,
    { segmentRef, number, fence }: { segmentRef: string; number: number; fence(): Promise<void> },
  ): Promise<boolean> {
    try {
      return (await update(userKey(one.hash), changing(one, segmentRef, number), fence)) !== undefined;
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      await markIncomplete(one.hash, segmentRef, fence);
      return true;
    }
  }

  /** Writes what the patch changes. `lost`: another relay became the writer. `overtaken`: a later patch was found. */
  return async function writeMembers(patch: BigSegmentPatch, from: Turn): Promise<'written' | 'lost' | 'overtaken'> {
    const { previousVersion, version, segmentRef } = patch;
    const moves = version !== previousVersion;
    const number = from.number + (moves ? 1 : 0);
    const id = `${number} ${version}`;
    const total = groupCount(patch, hashesAtOnce);
    const resumed = Math.max(interrupted?.id === id ? interrupted.groups : 0, groupsIn(from, total, version));
    let written = moves ? resumed : 0;
    let stopped: 'lost' | 'overtaken' | undefined;
    const { fence, stop } = writer.show(
      from,
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
          if (!stopped && !(await change(one, { segmentRef, number, fence }))) stopped ??= 'overtaken';
        }).catch((error: unknown) => {
          // What was under way when this relay was stopped is refused by the fence.
          if (!stopped) throw error;
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

function metadataOf({ lastVersion, synchronizedOn, incomplete, environment, emptying }: Row): BigSegmentMetadata {
  return {
    cursor: lastVersion?.S ?? '',
    synchronizedOn: synchronizedOn?.N ? Number(synchronizedOn.N) : undefined,
    ...(incomplete?.SS && { incomplete: incomplete.SS }),
    ...(environment?.S && { environment: environment.S }),
    ...(emptying && { emptying: true }),
  };
}

/** Names the environment in metadata that name none. */
function naming(environment: string): Request {
  return {
    UpdateExpression: 'SET #environment = :environment',
    ConditionExpression: 'attribute_not_exists(#environment)',
    ExpressionAttributeNames: { '#environment': 'environment' },
    ExpressionAttributeValues: { ':environment': { S: environment } },
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

function synchronizing(unixMs: number, environment: string | undefined): Request {
  const owned = environment === undefined ? '' : ' AND #environment = :environment';
  return {
    UpdateExpression: 'SET #at = :at',
    ConditionExpression: `attribute_not_exists(#emptying)${owned}`,
    ExpressionAttributeNames: {
      '#at': 'synchronizedOn',
      '#emptying': 'emptying',
      ...(environment !== undefined && { '#environment': 'environment' }),
    },
    ExpressionAttributeValues: {
      ':at': { N: String(unixMs) },
      ...(environment !== undefined && { ':environment': { S: environment } }),
    },
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
