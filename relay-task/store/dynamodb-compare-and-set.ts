import { createHash } from 'node:crypto';
import {
  type Attributes,
  decodeOfficialItem,
  decodeStale,
  encodeOfficialItem,
  encodeStale,
  type Item,
  type Key,
  type Kind,
  namespaces,
} from '../../lib/flag-table/index.ts';
import { awsNameOf } from '../common/aws-call.ts';
import { absent, absentOrOlder, type Condition, exactly } from './conditions.ts';
import type { Outcome, Row, Write } from './database.ts';
import type { Table } from './dynamodb-client.ts';
import type { Clock } from './timings.ts';

/** Where an item is in LaunchDarkly's own layout. */
export function itemKey(prefix: string, { kind, key }: Pick<Write, 'kind' | 'key'>): Key {
  return { namespace: namespaces(prefix)[kind], key };
}

/**
 * Does one write to LaunchDarkly's own layout. A version that rises is put over no row or an older one, in one request;
 * anything else goes only over exactly the row that was read just before.
 */
export function createCompareAndSet(options: {
  readonly table: Table;
  readonly prefix: string;
  readonly clock: Clock;
}): (write: Write) => Promise<Outcome> {
  const { table, prefix, clock } = options;
  const keyOf = (write: Write) => itemKey(prefix, write);
  const metricOf = (kind: Kind) => (kind === 'features' ? 'flag' : 'segment');

  /** The write was not done: this is the row. */
  async function refusedBy(write: Write): Promise<Outcome> {
    return { written: false, row: rowOf(write.kind, await table.get(keyOf(write))) };
  }

  async function put(write: Write, item: Item): Promise<Outcome> {
    const attributes = encodeOfficialItem(prefix, item);
    const putOver = async (condition: Condition): Promise<Outcome> =>
      (await table.put(metricOf(write.kind), attributes, condition))
        ? { written: true, token: tokenOf(attributes) }
        : refusedBy(write);
    const { over } = write;
    const rises = over === undefined || (over.version !== undefined && over.version < item.version);
    if (rises) return putOver(absentOrOlder(item.version));
    const read = await table.get(keyOf(write));
    if (!read) return putOver(absent);
    if (tokenOf(read) !== over.token) return { written: false, row: rowOf(write.kind, read) };
    return putOver(exactly(read));
  }

  async function remove(write: Write): Promise<Outcome> {
    const key = keyOf(write);
    const read = await table.get(key);
    if (!read) return { written: true, token: undefined };
    if (tokenOf(read) !== write.over?.token) return { written: false, row: rowOf(write.kind, read) };
    const removed = await table.remove(metricOf(write.kind), key, exactly(read));
    return removed ? { written: true, token: undefined } : refusedBy(write);
  }

  /** The old copy stays, and says that it is old. */
  async function markStale(write: Write, { version }: Item): Promise<Outcome> {
    const older = absentOrOlder(version);
    const condition: Condition = {
      expression: `attribute_exists(#cNamespace) AND (${older.expression}) AND (attribute_not_exists(#cCurrent) OR #cCurrent <> :cVersion)`,
      names: { ...older.names, '#cCurrent': 'currentVersion' },
      values: older.values,
    };
    const set = encodeStale(clock.wall(), version);
    const marked = await table.update('stale-mark', keyOf(write), { set, condition });
    return marked ? { written: true, token: tokenOf(marked) } : refusedBy(write);
  }

  return async (write) => {
    try {
      if (!write.item) return await remove(write);
      return await (write.action === 'mark-stale' ? markStale(write, write.item) : put(write, write.item));
    } catch (error) {
      // About this item alone: the others must not wait for it.
      if (awsNameOf(error) !== 'ValidationException') throw error;
      return { written: false, problem: String(error) };
    }
  };
}

export function rowOf(kind: Kind, attributes: Attributes | undefined): Row | undefined {
  if (!attributes) return undefined;
  const token = tokenOf(attributes);
  return { item: decodeOfficialItem(kind, attributes), token, staleFor: decodeStale(attributes)?.currentVersion };
}

/** A digest of all attributes, which DynamoDB returns in any order. */
function tokenOf(attributes: Attributes): string {
  const entries = Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha1').update(JSON.stringify(entries)).digest('base64');
}
