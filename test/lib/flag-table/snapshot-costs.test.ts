import {
  BatchGetItemCommand,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  type QueryCommandInput,
} from '@aws-sdk/client-dynamodb';
import {
  type Attributes,
  createSnapshotReader,
  encodeBody,
  encodeDelta,
  encodeHead,
  encodeOfficialItem,
  type Key,
  type Rev,
  SNAPSHOT_FORMAT,
  type SnapshotQuery,
} from '../../../lib/flag-table/index.ts';
import { startTable, type TestTable } from '../../support/dynalite.ts';
import { describeWithDynamoDBLocal } from '../../support/dynamodb-local.ts';
import { generateEnvironment } from './generate.ts';

const prefix = 'prod';
const at = (seq: number): Rev => ({ epoch: 1_760_000_000_000, seq });

/** In capacity units, as reported by the server; reads are eventually consistent. */
function describeCosts(start: () => Promise<TestTable>): void {
  let table: TestTable;
  const items = generateEnvironment(2000);

  beforeEach(async () => {
    table = await start();
  });
  afterEach(() => table.close());

  const put = (attributes: Attributes) =>
    table.client.send(new PutItemCommand({ TableName: table.tableName, Item: attributes as never }));
  const putHead = (rev: Rev, base: Rev) =>
    put(
      encodeHead(prefix, {
        format: SNAPSHOT_FORMAT,
        owner: 'arn:aws:ecs:eu-central-1:123456789012:task/edge-flag-relay/0123456789abcdef0123456789abcdef',
        epoch: rev.epoch,
        beat: 1_000_000,
        rev,
        base,
        counts: { flags: 2000, segments: 200, deleted: 100 },
        checkedAt: 1_760_000_000_000,
      }),
    );

  async function get(keys: readonly Key[]): Promise<(Attributes | undefined)[]> {
    const TableName = table.tableName;
    const toKey = ({ namespace, key }: Key) => ({ namespace: { S: namespace }, key: { S: key } });
    if (keys.length === 1) {
      const { Item } = await table.client.send(new GetItemCommand({ TableName, Key: toKey(keys[0]!) }));
      return [Item as unknown as Attributes | undefined];
    }
    const { Responses } = await table.client.send(
      new BatchGetItemCommand({ RequestItems: { [TableName]: { Keys: keys.map(toKey) } } }),
    );
    const found = new Map(Responses![TableName]!.map((item) => [item.key!.S, item as unknown as Attributes]));
    return keys.map(({ key }) => found.get(key));
  }

  async function query(parameters: SnapshotQuery): Promise<Attributes[]> {
    const command = new QueryCommand({ TableName: table.tableName, ...(parameters as Partial<QueryCommandInput>) });
    return ((await table.client.send(command)).Items ?? []) as unknown as Attributes[];
  }

  async function cost<T>(work: () => Promise<T>): Promise<{ read: number; write: number; requests: object; value: T }> {
    table.resetConsumed();
    const value = await work();
    return { ...structuredClone(table.consumed), value };
  }

  async function publishBody(count: number) {
    const some = items.slice(0, count);
    const body = await encodeBody({ prefix, items: some, rev: at(1), bank: 0 });
    for (const part of [...body.parts, body.body]) await put(part);
    await putHead(at(1), at(1));
    return { body, some };
  }

  it('is 0.5 read units in one Query for a poll without news, and 1 write unit for a lease renewal', async () => {
    await publishBody(220);
    const reader = createSnapshotReader({ prefix, get, query });
    const cold = await reader.cold();
    if (cold.kind !== 'snapshot') throw new Error(cold.kind);
    const poll = await cost(() => reader.refresh(cold.snapshot));
    expect(poll).toMatchObject({ read: 0.5, requests: { Query: 1 }, value: { kind: 'unchanged' } });
    expect(await cost(() => putHead(at(1), at(1)))).toMatchObject({ write: 1 });
  });

  it('is 0.5 read units in one Query and, besides the item, 2 write units for one changed flag of 2,000 @heavy', async () => {
    const { some } = await publishBody(2200);
    const reader = createSnapshotReader({ prefix, get, query });
    const cold = await reader.cold();
    if (cold.kind !== 'snapshot') throw new Error(cold.kind);
    const flag = some.find(({ kind }) => kind === 'features')!;
    const changed = { ...flag, version: flag.version + 1 };
    const publication = await cost(async () => {
      await put((await encodeDelta({ prefix, items: [changed], rev: at(2), base: at(1) }))!);
      await putHead(at(2), at(1));
    });
    expect(publication.write).toBe(2);
    const refresh = await cost(() => reader.refresh(cold.snapshot));
    expect(refresh).toMatchObject({
      ...{ read: 0.5, requests: { Query: 1 } },
      value: { kind: 'snapshot', behind: false },
    });
    if (refresh.value.kind === 'snapshot') expect(refresh.value.snapshot.get('features', flag.key)).toEqual(changed);
  });

  it('is 0.5 read units for a poll while a delta of any size is in the table, and two reads for a change of a large one @heavy', async () => {
    const { some } = await publishBody(2200);
    const reader = createSnapshotReader({ prefix, get, query });
    const cold = await reader.cold();
    if (cold.kind !== 'snapshot') throw new Error(cold.kind);
    let held = cold.snapshot;
    const refresh = async () => {
      const { read, requests, value } = await cost(() => reader.refresh(held));
      if (value.kind === 'snapshot') held = value.snapshot;
      return { read, requests, kind: value.kind, behind: value.kind === 'snapshot' && value.behind };
    };
    const sizes: number[] = [];
    for (let changes = 1; changes < 25; changes += 1) {
      const changed = some.slice(0, changes).map((item) => ({ ...item, version: item.version + changes }));
      const delta = (await encodeDelta({ prefix, items: changed, rev: at(1 + changes), base: at(1) }))!;
      sizes.push((delta.data as { B: Uint8Array }).B.length);
      await put(delta);
      await putHead(at(1 + changes), at(1));
      const change = await refresh();
      // What was seen last decides: the first large delta comes with the query, too.
      expect(change).toMatchObject({
        ...{ kind: 'snapshot', behind: false },
        requests: changes < 2 || sizes.at(-2)! < 3_300 ? { Query: 1 } : { GetItem: 2 },
      });
      expect(await refresh()).toEqual({
        ...{ read: 0.5, kind: 'unchanged', behind: false },
        requests: sizes.at(-1)! < 3_300 ? { Query: 1 } : { GetItem: 1 },
      });
    }
    expect([sizes.some((size) => size > 2_500 && size < 3_300), sizes.at(-1)! > 4_096]).toEqual([true, true]);
  });

  it('is half a read unit per 4 KiB of compressed data for a cold read of 2,000 flags @heavy', async () => {
    const { body } = await publishBody(2200);
    const cold = await cost(() => createSnapshotReader({ prefix, get }).cold());
    expect(cold.value).toMatchObject({ kind: 'snapshot', behind: false });
    // Half a unit per 4 KiB of each item, including the head and the missing delta.
    const sizes = [body.body, ...body.parts].map(({ data }) => (data as { B: Uint8Array }).B.length + 200);
    const expected = sizes.reduce((sum, size) => sum + Math.ceil(size / 4096) / 2, 0) + 1;
    expect(Math.abs(cold.read - expected)).toBeLessThanOrEqual(1);
  });

  it('is less than a quarter of the official layout’s read units for a cold read of 200 flags @heavy', async () => {
    const some = generateEnvironment(200);
    await put((await encodeBody({ prefix, items: some, rev: at(1), bank: 0 })).body);
    await putHead(at(1), at(1));
    const cold = await cost(() => createSnapshotReader({ prefix, get }).cold());
    expect(cold).toMatchObject({ requests: { BatchGetItem: 1 }, value: { kind: 'snapshot' } });

    await Promise.all(some.map((item) => put(encodeOfficialItem(prefix, item))));
    const official = await cost(async () => {
      for (const namespace of [`${prefix}:features`, `${prefix}:segments`]) {
        let from: object | undefined;
        do {
          const page = await table.client.send(
            new QueryCommand({
              TableName: table.tableName,
              KeyConditionExpression: '#n = :n',
              ExpressionAttributeNames: { '#n': 'namespace' },
              ExpressionAttributeValues: { ':n': { S: namespace } },
              ...(from && { ExclusiveStartKey: from as never }),
            }),
          );
          from = page.LastEvaluatedKey;
        } while (from);
      }
    });
    expect(cold.read * 4).toBeLessThan(official.read);
  });
}

describe('the cost of the snapshot', () => describeCosts(startTable));

describeWithDynamoDBLocal('the cost of the snapshot on DynamoDB Local', describeCosts);
