/** Writes a table as relays do, in both layouts, with the encoders of lib/flag-table. */
import {
  type AttributeValue,
  BatchWriteItemCommand,
  DeleteItemCommand,
  PutItemCommand,
} from '@aws-sdk/client-dynamodb';
import {
  type Attributes,
  encodeBody,
  encodeDelta,
  encodeHead,
  encodeInited,
  encodeOfficialItem,
  type Item,
  type Kind,
  namespaces,
  type Rev,
} from '../../../lib/flag-table/index.ts';
import type { TestTable } from '../../support/dynalite.ts';
import type { Environment } from '../../support/example-environment.ts';

export function item(kind: Kind, data: Record<string, unknown>): Item {
  const { key, version, deleted } = { version: 1, ...data } as unknown as Item;
  return { kind, key, version, deleted: deleted === true, json: JSON.stringify({ version, ...data }) };
}

export function itemsOf({ flags, segments }: Environment): Item[] {
  return [
    ...Object.values(flags).map((flag) => item('features', flag)),
    ...Object.values(segments).map((segment) => item('segments', segment)),
  ];
}

export async function put(table: TestTable, attributes: Attributes): Promise<void> {
  await table.client.send(
    new PutItemCommand({ TableName: table.tableName, Item: attributes as Record<string, AttributeValue> }),
  );
}

export async function remove(table: TestTable, namespace: string, key: string): Promise<void> {
  const Key = { namespace: { S: namespace }, key: { S: key } };
  await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key }));
}

export async function putOfficial(table: TestTable, prefix: string, items: Iterable<Item>): Promise<void> {
  const all = [...[...items].map((one) => encodeOfficialItem(prefix, one)), encodeInited(prefix)];
  for (let i = 0; i < all.length; i += 25) {
    const puts = all.slice(i, i + 25).map((Item) => ({ PutRequest: { Item: Item as Record<string, AttributeValue> } }));
    await table.client.send(new BatchWriteItemCommand({ RequestItems: { [table.tableName]: puts } }));
  }
}

export async function putHead(
  table: TestTable,
  prefix: string,
  rev: Rev,
  checkedAt = Date.now(),
  base = rev,
): Promise<void> {
  await put(table, encodeHead(prefix, { format: 1, owner: 'test', epoch: rev.epoch, beat: 1, rev, base, checkedAt }));
}

export async function putSnapshot(
  table: TestTable,
  prefix: string,
  items: Iterable<Item>,
  rev: Rev,
  checkedAt?: number,
  source?: string,
): Promise<void> {
  const { body, parts } = await encodeBody({ prefix, items, rev, bank: 0, source });
  for (const part of parts) await put(table, part);
  await put(table, body);
  await putHead(table, prefix, rev, checkedAt);
}

/** Publishes items that differ from the body of revision `base`. */
export async function putDelta(
  table: TestTable,
  prefix: string,
  items: Iterable<Item>,
  rev: Rev,
  base: Rev,
  source?: string,
): Promise<void> {
  await put(table, (await encodeDelta({ prefix, items, rev, base, source }))!);
  await putHead(table, prefix, rev, Date.now(), base);
}

export async function putMembership(
  table: TestTable,
  prefix: string,
  hashed: string,
  lists: { included?: string[]; excluded?: string[] },
): Promise<void> {
  const { bigSegmentsUser } = namespaces(prefix);
  await put(table, {
    namespace: { S: bigSegmentsUser },
    key: { S: hashed },
    ...(lists.included && { included: { SS: lists.included } }),
    ...(lists.excluded && { excluded: { SS: lists.excluded } }),
  });
}

export async function putSynchronizedOn(table: TestTable, prefix: string, at: number): Promise<void> {
  const { bigSegmentsMetadata: name } = namespaces(prefix);
  await put(table, { namespace: { S: name }, key: { S: name }, synchronizedOn: { N: String(at) } });
}
