/** Deletes the members of another environment from a table, so that the right ones can be loaded. */
import { randomUUID } from 'node:crypto';
import { namespaces } from '../../lib/flag-table/index.ts';
import { sleep } from '../common/pause.ts';
import type { Log } from '../ports.ts';
import type { Emptier } from './big-segments-owner.ts';
import type { BigSegmentRequests } from './big-segments-requests.ts';
import type { Request } from './big-segments-writer.ts';
import type { Row } from './dynamodb-client.ts';
import { inFlight, inParallel } from './in-parallel.ts';

/** How far numbers of patches rise above those of an earlier life of the table. */
const NUMBER_STEP = 1_000_000;

export function numberAbove(number: number): number {
  return Math.max(Date.now(), (number || 0) + NUMBER_STEP);
}

/** All that any relay writes into the metadata. */
const WRITTEN = [
  ...['environment', 'emptying', 'lastVersion', 'synchronizedOn', 'patchNumber', 'writer', 'beat', 'progress'],
] as const;

/** Differs whenever the metadata item was written. */
export function markOf(row: Row): string {
  return JSON.stringify(WRITTEN.map((name) => row[name] ?? null));
}

/**
 * First the metadata lose the time of synchronisation and the cursor, and name the new environment together with a sign that
 * the members are being deleted (`emptying`). From then on no reader relies on them, and no relay of the earlier environment
 * moves the cursor. Its last updates of members carry a lower number: they are waited for (`patchDrainMs`), and what has a lower
 * number is deleted, page by page, each followed by another sign of life. The sign leaves last. A relay that dies meanwhile leaves
 * a table that another one can empty.
 */
export function createEmptier({
  log,
  prefix,
  metadataKey,
  requests: { get, update, page, remove, timings, signal },
}: {
  readonly log: Log;
  readonly prefix: string;
  readonly metadataKey: Row;
  readonly requests: BigSegmentRequests;
}): Emptier {
  const { bigSegmentsUser } = namespaces(prefix);
  let token = randomUUID();

  async function empty(mark: string, environment: string): Promise<boolean> {
    const before = await get(metadataKey);
    if (markOf(before) !== mark) return false;
    const number = numberAbove(Number(before.patchNumber?.N));
    // A new one for each attempt: a late request of an earlier attempt must change nothing.
    token = randomUUID();
    let sign = `${token} 0`;
    /** Whether the update was made; its first answer may have been lost. */
    const made = async (request: Request, is: string | undefined) =>
      (await update(metadataKey, request)) !== undefined || (await get(metadataKey)).emptying?.S === is;

    if (!(await made(beginning(before, { environment, sign, number }), sign))) return false;
    log.warn('Deleting the Big Segments of another environment from the store', {
      prefix,
      reason: before.emptying
        ? 'it was begun and did not end'
        : `they belong to the environment ${before.environment?.S ?? '(not named)'}, and the SDK key to ${environment}`,
      runbook: 'operations.md#big-segments-stale',
    });
    await sleep(timings.patchDrainMs, signal);
    let after: Row | undefined;
    let pages = 0;
    let deleted = 0;
    do {
      const { rows, last } = await page(bigSegmentsUser, after);
      await inParallel(inFlight, rows, ({ namespace, key }) => {
        return remove({ ...(namespace && { namespace }), ...(key && { key }) }, below(number));
      });
      deleted += rows.length;
      const next = `${token} ${++pages}`;
      if (!(await made(continuing(sign, next), next))) return false;
      sign = next;
      after = last;
    } while (after);
    if (!(await made(ending(sign), undefined))) return false;
    log.info('Deleted the Big Segments of another environment; loading those of this one', {
      prefix,
      contexts: deleted,
    });
    return true;
  }

  return { empty, isOwn: (sign) => sign?.startsWith(token) === true };
}

function beginning(
  row: Row,
  { environment, sign, number }: { readonly environment: string; readonly sign: string; readonly number: number },
): Request {
  const conditions = WRITTEN.map((name, index) =>
    row[name] ? `#${name} = :seen${index}` : `attribute_not_exists(#${name})`,
  );
  return {
    UpdateExpression:
      'SET #environment = :environment, #emptying = :sign, #patchNumber = :number ' +
      'REMOVE #lastVersion, #synchronizedOn, #writer, #beat, #progress, #incomplete',
    ConditionExpression: conditions.join(' AND '),
    ExpressionAttributeNames: Object.fromEntries([...WRITTEN, 'incomplete'].map((name) => [`#${name}`, name])),
    ExpressionAttributeValues: {
      ':environment': { S: environment },
      ':sign': { S: sign },
      ':number': { N: String(number) },
      ...Object.fromEntries(
        WRITTEN.flatMap((name, index) => {
          const value = row[name];
          return value ? [[`:seen${index}`, value]] : [];
        }),
      ),
    },
  };
}

function continuing(from: string, to: string): Request {
  return {
    UpdateExpression: 'SET #emptying = :to',
    ConditionExpression: '#emptying = :from',
    ExpressionAttributeNames: { '#emptying': 'emptying' },
    ExpressionAttributeValues: { ':from': { S: from }, ':to': { S: to } },
  };
}

function ending(from: string): Request {
  return {
    UpdateExpression: 'REMOVE #emptying',
    ConditionExpression: '#emptying = :from',
    ExpressionAttributeNames: { '#emptying': 'emptying' },
    ExpressionAttributeValues: { ':from': { S: from } },
  };
}

/** Of a member that no later patch has written. */
function below(number: number) {
  return {
    ConditionExpression: 'attribute_not_exists(#number) OR #number < :number',
    ExpressionAttributeNames: { '#number': 'patchNumber' },
    ExpressionAttributeValues: { ':number': { N: String(number) } },
  };
}
