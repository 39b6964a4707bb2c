/** Which relay applies patches to the Big Segments of an environment in DynamoDB, according to its metadata item. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { UpdateItemCommandInput } from '@aws-sdk/client-dynamodb';
import { backoffMs } from '../common/backoff.ts';
import { sleep } from '../common/pause.ts';
import type { Row } from './dynamodb-client.ts';
import type { Timings } from './timings.ts';

/** An update without its table and key. */
export type Request = Omit<UpdateItemCommandInput, 'TableName' | 'Key'>;

/** Where the table is. */
interface Position {
  readonly cursor: string;
  /** Of the last patch; NaN: patches are not numbered yet. */
  readonly number: number;
  /** How much of the next patch is written, as `progressText` says it; '' for nothing. */
  readonly progress: string;
}

/** Where the table was when it was this relay's turn. */
export interface Turn extends Position {
  /** When the request that found it was sent; monotonic ms. */
  readonly seenAt: number;
}

interface PatchWriterOptions {
  /** Reads the metadata item, strongly consistent. */
  read(): Promise<Row>;
  /** Updates it and resolves with the attributes that were asked for; undefined: the condition did not hold. */
  update(request: Request): Promise<Row | undefined>;
  /** Whether the members are those of this relay's environment. */
  isOwn(row: Row): boolean;
  readonly timings: Pick<Timings, 'patchBeatMs' | 'patchExpireMs' | 'pollMs' | 'retryBaseMs'>;
  /** Aborted: nothing waits any longer. */
  readonly signal: AbortSignal;
}

/**
 * The metadata item names one relay as the writer; the others wait for it. The writer is seen to be alive by the cursor,
 * which it moves, and while it works on a large patch by a beat. A relay that has the next patch and has seen neither
 * change for `patchExpireMs`, on its own clock, becomes the writer. Within one environment this saves writes and is no lock: a
 * writer that wakes up late does no harm, since patches are numbered. But a hash that was deleted for another environment has no
 * number any more. So the writer sends an update of a member only within `patchExpireMs` after it sent a request that showed that
 * it still is the writer, on its own clock; after that it looks first.
 */
export function createPatchWriter({ read, update, isOwn, timings, signal }: PatchWriterOptions) {
  /** No two stores share it. */
  const owner = `${hostname()} ${randomUUID()}`;
  let isWriter = false;

  return {
    /**
     * Where the table is, as soon as it is this relay's turn to apply what follows `cursor`, or the cursor is elsewhere.
     * Undefined: the members are another environment's.
     */
    async turn(cursor: string): Promise<Turn | undefined> {
      let seen: string | undefined;
      let since = 0;
      for (let looks = 1; ; looks += 1) {
        let seenAt = performance.now();
        const row = await read();
        isWriter = row.writer?.S === owner;
        if (!isOwn(row)) return undefined;
        if (isWriter || positionOf(row).cursor !== cursor) return { ...positionOf(row), seenAt };
        const mark = JSON.stringify([row.writer, row.beat]);
        if (mark !== seen) since = performance.now();
        seen = mark;
        if (!row.writer || performance.now() - since >= timings.patchExpireMs) {
          seenAt = performance.now();
          const claimed = await update(claiming(row, owner));
          isWriter = claimed !== undefined;
          if (claimed) return isOwn(claimed) ? { ...positionOf(claimed), seenAt } : undefined;
        }
        await sleep(backoffMs(looks, { firstMs: timings.retryBaseMs, maxMs: timings.pollMs }), signal);
      }
    },
    /**
     * Shows that this relay is at work on what follows a position, and how far it is, until `stop`. `onLost`: another relay
     * became the writer or moved the cursor, or the members are another environment's now.
     */
    show(from: Turn, progress: () => string, onLost: () => void) {
      const end = new AbortController();
      let { seenAt } = from;
      let lost = false;
      let looking: Promise<void> | undefined;
      const lose = () => {
        if (end.signal.aborted) return;
        lost = true;
        onLost();
      };
      const run = async () => {
        await sleep(timings.patchBeatMs, end.signal);
        while (!end.signal.aborted && !lost) {
          const sentAt = performance.now();
          // After one that fails there is another.
          const found = await update(beating(from.cursor, owner, progress())).catch(() => null);
          if (found) seenAt = Math.max(seenAt, sentAt);
          if (found === undefined) lose();
          await sleep(timings.patchBeatMs, end.signal);
        }
      };
      const look = async () => {
        const sentAt = performance.now();
        const row = await read();
        const { cursor, number } = positionOf(row);
        const isSame = row.writer?.S === owner && cursor === from.cursor && Object.is(number, from.number);
        if (isSame && isOwn(row)) seenAt = Math.max(seenAt, sentAt);
        else lose();
      };
      void run();
      return {
        /** Before each attempt to change a member. Rejects when this relay is not the writer any more, or cannot find out. */
        async fence(): Promise<void> {
          while (!lost && performance.now() - seenAt >= timings.patchExpireMs) {
            looking ??= look().finally(() => {
              looking = undefined;
            });
            await looking;
          }
          if (lost) throw new Error('another relay writes the Big Segments now');
        },
        stop: () => end.abort(),
      };
    },
    /** Lets another relay write at once; undefined: this one is not the writer. */
    release: () => (isWriter ? releasing(owner) : undefined),
  };
}

/** `groups` of `total` groups of the patch that leads to `version` are written. */
export function progressText(groups: number, total: number, version: string): string {
  return `${groups}/${total} ${version}`;
}

/** How many groups of the patch are written. */
export function groupsIn({ progress }: Position, total: number, version: string): number {
  const groups = Number.parseInt(progress, 10);
  return progress === progressText(groups, total, version) ? groups : 0;
}

export function positionOf({ lastVersion, patchNumber, progress }: Row): Position {
  return { cursor: lastVersion?.S ?? '', number: Number(patchNumber?.N), progress: progress?.S ?? '' };
}

/**
 * Makes this relay the writer unless the writer or the cursor has changed since the item was read. Where patches are not numbered yet, the first number
 * is the time, so that it is above those of an earlier life of the table.
 */
function claiming(row: Row, owner: string): Request {
  const seen = ['lastVersion', 'writer', 'beat'].map((name) => ({ name, value: row[name] }));
  const conditions = seen.map(({ value }, index) =>
    value ? `#seen${index} = :seen${index}` : `attribute_not_exists(#seen${index})`,
  );
  return {
    ReturnValues: 'ALL_NEW',
    UpdateExpression: 'SET #writer = :owner, #number = if_not_exists(#number, :now)',
    ConditionExpression: conditions.join(' AND '),
    ExpressionAttributeNames: {
      '#writer': 'writer',
      '#number': 'patchNumber',
      ...Object.fromEntries(seen.map(({ name }, index) => [`#seen${index}`, name])),
    },
    ExpressionAttributeValues: {
      ':owner': { S: owner },
      ':now': { N: String(Date.now()) },
      ...Object.fromEntries(seen.flatMap(({ value }, index) => (value ? [[`:seen${index}`, value]] : []))),
    },
  };
}

function beating(cursor: string, owner: string, progress: string): Request {
  return {
    UpdateExpression: 'SET #progress = :progress ADD #beat :one',
    ConditionExpression: `#writer = :owner AND ${isAt(cursor)}`,
    ExpressionAttributeNames: {
      '#progress': 'progress',
      '#beat': 'beat',
      '#writer': 'writer',
      '#cursor': 'lastVersion',
    },
    ExpressionAttributeValues: {
      ':progress': { S: progress },
      ':one': { N: '1' },
      ':owner': { S: owner },
      ':from': { S: cursor },
    },
  };
}

function releasing(owner: string): Request {
  return {
    UpdateExpression: 'REMOVE #writer',
    ConditionExpression: '#writer = :owner',
    ExpressionAttributeNames: { '#writer': 'writer' },
    ExpressionAttributeValues: { ':owner': { S: owner } },
  };
}

/** Moves the table on if it is still where it was found. */
export function moving({ cursor, number }: Position, to: Pick<Position, 'cursor' | 'number'>): Request {
  return {
    UpdateExpression: 'SET #cursor = :to, #number = :number REMOVE #progress',
    ConditionExpression: `${isAt(cursor)} AND #number = :before`,
    ExpressionAttributeNames: { '#cursor': 'lastVersion', '#number': 'patchNumber', '#progress': 'progress' },
    ExpressionAttributeValues: {
      ':from': { S: cursor },
      ':to': { S: to.cursor },
      ':before': { N: String(number) },
      ':number': { N: String(to.number) },
    },
  };
}

/** With `#cursor` and `:from`. ld-relay writes '' or nothing before the first patch. */
function isAt(cursor: string): string {
  return cursor === '' ? '(attribute_not_exists(#cursor) OR #cursor = :from)' : '#cursor = :from';
}
