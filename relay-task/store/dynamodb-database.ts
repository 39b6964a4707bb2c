import {
  type Attributes,
  encodeInited,
  encodeOfficialItem,
  initedKey,
  type Kind,
  namespaces,
  OFFICIAL_ITEM_LIMIT_BYTES,
  officialItemBytes,
} from '../../lib/flag-table/index.ts';
import { whenDue } from '../common/slices.ts';
import { absent, exactly } from './conditions.ts';
import { type Database, type Held, heldBack, type Need, type Outcome, type Row, type Write } from './database.ts';
import { describeDynamoDBError, keyOf, type Table } from './dynamodb-client.ts';
import { createCompareAndSet, itemKey, rowOf } from './dynamodb-compare-and-set.ts';
import { inFlight, inParallel } from './in-parallel.ts';
import type { TakeRead } from './read-memory.ts';
import { demandCounts, StoreLossError } from './store-loss.ts';
import type { Clock } from './timings.ts';

/** All rows of one environment, both layouts. */
export interface TableContent {
  readonly rows: Readonly<Record<Kind, readonly Attributes[]>>;
  readonly inited: boolean;
  readonly snapshot: readonly Attributes[];
}

/** `take` counts what is read. */
export async function readContent(table: Table, prefix: string, take: TakeRead): Promise<TableContent> {
  const names = namespaces(prefix);
  const [features, segments, snapshot, marker] = await Promise.all([
    table.query(names.features, take),
    table.query(names.segments, take),
    table.query(names.snapshot, take),
    table.get(initedKey(prefix)),
  ]);
  return { rows: { features, segments }, inited: marker !== undefined, snapshot };
}

/** DynamoDB's limit of a sort key. */
const sortKeyLimitBytes = 1_024;

/** LaunchDarkly's own layout in a DynamoDB table. `onSnapshot` gets the rows of the snapshot with every complete reading. */
export function createDynamoDBDatabase(options: {
  readonly table: Table;
  readonly tableName: string;
  readonly prefix: string;
  readonly clock: Clock;
  onSnapshot(rows: readonly Attributes[]): Promise<void>;
}): Database {
  const { table, tableName, prefix } = options;
  const compareAndSet = createCompareAndSet(options);

  async function unmark(): Promise<void> {
    await table.remove('inited', initedKey(prefix), exactly(encodeInited(prefix)));
  }

  /** The marker and a row of each kind are still there. */
  async function demandWitnesses({ inited, witnesses }: Held): Promise<void> {
    const keys = [...(inited ? [initedKey(prefix)] : []), ...witnesses.map((witness) => itemKey(prefix, witness))];
    if (keys.length === 0) return;
    const rows = await table.getMany(keys);
    const missing = keys.find((_, index) => rows[index] === undefined);
    if (missing === undefined) return;
    await unmark();
    throw new StoreLossError(`the item "${missing.key}" of ${missing.namespace} is gone`);
  }

  /** Two rows say little about the others: before the marker is put, they are counted. */
  async function demandRows({ counts }: Held, writes: readonly Write[]): Promise<void> {
    const added = (kind: Kind) => writes.filter((one) => one.kind === kind && one.item && !one.over).length;
    const removed = (kind: Kind) => writes.filter((one) => one.kind === kind && !one.item).length;
    const wanted = (kind: Kind) => counts[kind] + added(kind) - removed(kind);
    const names = namespaces(prefix);
    const [features, segments] = await Promise.all([table.count(names.features), table.count(names.segments)]);
    const least = { features: wanted('features'), segments: wanted('segments') };
    demandCounts(`table ${tableName}`, { features, segments }, least);
  }

  return {
    name: 'dynamodb',
    limits: { writes: Infinity, bytes: Infinity },
    keepsManifest: false,
    marksStale: true,
    async readAll(take) {
      const { rows, inited, snapshot } = await readContent(table, prefix, take);
      await options.onSnapshot(snapshot);
      // Parsing thousands of items takes long.
      const decoded = async (kind: Kind) => {
        const byKey = new Map<string, Row>();
        for (const attributes of rows[kind]) {
          const row = rowOf(kind, attributes);
          if (row) byKey.set(keyOf(attributes).key, row);
          await whenDue();
        }
        return byKey;
      };
      const [features, segments] = [await decoded('features'), await decoded('segments')];
      return { rows: { features, segments }, inited, manifest: undefined };
    },
    unmark,
    async apply(writes, held, manifest) {
      await demandWitnesses(held);
      const all = await writeInOrder(writes, compareAndSet);
      if (manifest !== undefined && all.every(({ written }) => written)) {
        await demandRows(held, writes);
        await table.put('inited', encodeInited(prefix), absent);
      }
      return all;
    },
    misfit(item) {
      const keyBytes = Buffer.byteLength(item.key);
      if (keyBytes === 0 || keyBytes > sortKeyLimitBytes) {
        return `its key has ${keyBytes} bytes, DynamoDB takes 1 to ${sortKeyLimitBytes}`;
      }
      const bytes = officialItemBytes(encodeOfficialItem(prefix, item));
      if (bytes <= OFFICIAL_ITEM_LIMIT_BYTES) return undefined;
      return `version ${item.version} has ${bytes} bytes, the layout takes ${OFFICIAL_ITEM_LIMIT_BYTES}`;
    },
    describe: (error) => describeDynamoDBError(error, tableName),
  };
}

/** Writes in parallel, each once what it needs is acknowledged; so an item that is throttled holds up only those that need it. */
async function writeInOrder(
  writes: readonly Write[],
  compareAndSet: (write: Write) => Promise<Outcome>,
): Promise<readonly Outcome[]> {
  // Iterating over a set also visits what is added meanwhile.
  const all = new Set<Need | Write>(writes);
  for (const { needs = [] } of all) for (const need of needs) all.add(need);
  const outcomes = new Map<Need, Outcome>();
  const done = new Set<Need>();
  const work = async (one: Need | Write) => {
    if (one.needs?.some((need) => !done.has(need))) return;
    if ('action' in one) {
      const outcome = await compareAndSet(one);
      outcomes.set(one, outcome);
      if (!outcome.written) return;
    }
    done.add(one);
  };
  await inParallel(inFlight, [...all], work, ({ needs = [] }) => needs);
  return writes.map((write) => outcomes.get(write) ?? heldBack);
}
