/** Real stores on one real table, closed after the test, and the contents of the table, read without the store's code. */
import { randomUUID } from 'node:crypto';
import { DeleteItemCommand, DynamoDBClient, PutItemCommand, QueryCommand } from '@aws-sdk/client-dynamodb';
import {
  type Attributes,
  compareRev,
  createSnapshotReader,
  type Item,
  type Key,
  KINDS,
} from '../../../lib/flag-table/index.ts';
import type { Store } from '../../../relay-task/ports.ts';
import { createDynamoDBStore, type DynamoDBStoreOptions } from '../../../relay-task/store/dynamodb-store.ts';
import type { Timings } from '../../../relay-task/store/timings.ts';
import { startTable, type TestTable, testCredentials, testRegion } from '../../support/dynalite.ts';
import { type FaultyProxy, startFaultyProxy } from '../../support/faulty-proxy.ts';
import { silentLog } from '../../support/logs.ts';
import type { Memory } from '../../support/memory.ts';

/** Long lease times, since test machines stall; everything else is quick. */
export const quick: Timings = {
  renewMs: 300,
  stopMs: 20_000,
  expireMs: 30_000,
  pollMs: 20,
  publishGapMs: 30,
  glanceMs: 3_600_000,
  rereadMs: 30,
  bodyGapMs: 60,
  deltaAgeMs: 3_600_000,
  reconcileMs: 3_600_000,
  secondLookMs: 150,
  tombstoneMs: 3_600_000,
  patchBeatMs: 3_600_000,
  patchExpireMs: 30_000,
  patchDrainMs: 50_000,
  requestTimeoutMs: 15_000,
  retryBaseMs: 5,
  retryCapMs: 100,
  closeGraceMs: 100,
};

/** For tests in which the lease expires. A loaded machine answers within the request timeout, too. */
export const hasty: Timings = {
  ...quick,
  pollMs: 50,
  renewMs: 100,
  stopMs: 1_500,
  expireMs: 2_500,
  requestTimeoutMs: 1_000,
};

export interface OpenStore extends Store {
  readonly proxy: FaultyProxy;
  readonly owner: string;
}

export interface Stores {
  readonly table: TestTable;
  /** A store behind its own proxy; not eligible until `setEligible(true)`. */
  open(memory: Memory, options?: Partial<DynamoDBStoreOptions> & { random?: () => number }): Promise<OpenStore>;
  /** Rows of a namespace, by sort key, in plain values. */
  rows(namespace: string): Promise<Record<string, Record<string, unknown>>>;
  /** Versions in the official layout, tombstones included: `{ 'flag-1': 3 }`. */
  versions(namespace?: string): Promise<Record<string, number>>;
  /** The items of the snapshot, by a new reader; undefined if it is incomplete or not the revision of the head. */
  snapshot(prefix?: string): Promise<Item[] | undefined>;
  /** Deletes all rows of a namespace. */
  clear(namespace: string): Promise<void>;
  /** Writes a row like another writer. */
  put(row: Attributes): Promise<void>;
  close(): Promise<void>;
}

/** Opens stores on the given table or a new one, and closes it too. */
export async function openTable(given?: TestTable): Promise<Stores> {
  const table = given ?? (await startTable());
  const client = new DynamoDBClient({ endpoint: table.endpoint, region: testRegion, credentials: testCredentials });
  const opened: { store: Store; proxy: FaultyProxy; client: DynamoDBClient }[] = [];

  async function query(namespace: string): Promise<Attributes[]> {
    const rows: Attributes[] = [];
    let ExclusiveStartKey: Record<string, never> | undefined;
    do {
      const page = await client.send(
        new QueryCommand({
          ...{ TableName: table.tableName, ConsistentRead: true, ExclusiveStartKey },
          ...{ KeyConditionExpression: '#n = :n', ExpressionAttributeNames: { '#n': 'namespace' } },
          ExpressionAttributeValues: { ':n': { S: namespace } },
        }),
      );
      rows.push(...((page.Items ?? []) as Attributes[]));
      ExclusiveStartKey = page.LastEvaluatedKey as Record<string, never> | undefined;
    } while (ExclusiveStartKey);
    return rows;
  }

  const stores: Stores = {
    table,
    async open(memory, { random, ...options } = {}) {
      const proxy = await startFaultyProxy(table.endpoint, random);
      const storeClient = new DynamoDBClient({
        ...{ endpoint: proxy.endpoint, region: testRegion, credentials: testCredentials, maxAttempts: 1 },
      });
      const owner = options.owner ?? randomUUID();
      const store = createDynamoDBStore({
        ...{ client: storeClient, tableName: table.tableName, prefix: '', view: memory, owner, log: silentLog },
        source: () => memory.source,
        ...{ writer: 'auto' as const, checkedAt: () => 1_700_000_000_000, timings: quick },
        ...options,
      });
      memory.listen(store);
      opened.push({ store, proxy, client: storeClient });
      return { ...store, proxy, owner };
    },
    async rows(namespace) {
      const found = await query(namespace);
      return Object.fromEntries(found.map((row) => [String(plain(row.key)), mapValues(row)]));
    },
    async versions(namespace = 'features') {
      const found = Object.entries(await stores.rows(namespace));
      return Object.fromEntries(found.map(([key, row]) => [key, Number(row.version)]));
    },
    async snapshot(prefix = '') {
      const rows = await query(prefix === '' ? '$snapshot' : `${prefix}:$snapshot`);
      const byKey = new Map(rows.map((row) => [plain(row.key), row]));
      const get = async (keys: readonly Key[]) => keys.map(({ key }) => byKey.get(key));
      const reading = await createSnapshotReader({ prefix, get }).cold();
      // A reader with an older revision learns of a new one from the head only.
      const named = reading.kind === 'snapshot' && compareRev(reading.snapshot.rev, reading.head.rev) === 0;
      return named ? [...reading.snapshot.items()] : undefined;
    },
    async clear(namespace) {
      for (const { namespace: partition, key } of await query(namespace)) {
        const Key = { namespace: partition, key } as never;
        await client.send(new DeleteItemCommand({ TableName: table.tableName, Key }));
      }
    },
    async put(row) {
      await client.send(new PutItemCommand({ TableName: table.tableName, Item: row as never }));
    },
    async close() {
      for (const { proxy } of opened) proxy.heal();
      await Promise.all(opened.map(({ store }) => store.close()));
      await Promise.all(opened.map(({ proxy }) => proxy.close()));
      for (const one of opened) one.client.destroy();
      client.destroy();
      // The server still works on requests that were cut off, and must not find its database closed.
      for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
      await table.close();
    },
  };
  return stores;
}

function plain(value: unknown): unknown {
  return Object.values(value as object)[0];
}

function mapValues(row: Attributes): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)]));
}

/** Items in a fixed order, for comparison. */
export function sorted(items: readonly Item[] | undefined): Item[] | undefined {
  return items && [...items].sort((a, b) => (`${a.kind} ${a.key}` < `${b.kind} ${b.key}` ? -1 : 1));
}

/** Fails unless table and snapshot equal memory. */
export async function expectTableToEqual(stores: Stores, memory: Memory): Promise<void> {
  for (const kind of KINDS) {
    const rows = await stores.rows(kind);
    const wanted = Object.fromEntries(
      [...memory.items(kind)].map((item) => [item.key, { version: String(item.version), item: item.json }]),
    );
    const found = Object.fromEntries(
      Object.entries(rows).map(([key, { namespace: _, key: __, ...rest }]) => [key, rest]),
    );
    expect(found).toEqual(wanted);
  }
  expect(Object.keys(await stores.rows('$inited'))).toEqual(['$inited']);
  expect(sorted(await stores.snapshot())).toEqual(sorted(memory.all()));
}
