import {
  type Attributes,
  createSnapshotReader,
  decodeOfficialItem,
  type Item,
  initedKey,
  namespaces,
} from '../../lib/flag-table/index.ts';
import { sleep } from '../common/pause.ts';
import { whenDue } from '../common/slices.ts';
import type { Log, StoredSet } from '../ports.ts';
import type { Table } from './dynamodb-client.ts';
import { hasFlags } from './manifest.ts';
import type { TakeRead } from './read-memory.ts';

/** A publication in progress has ended by then. */
const lookAgainMs = 250;

interface ReadItemsOptions {
  readonly table: Table;
  readonly prefix: string;
  readonly log: Log;
  /** Counts what is read. */
  readonly take: TakeRead;
  /** Gets what is wrong with invalid items. */
  tellSkipped(problems: readonly string[]): void;
}

/**
 * What a table holds of one environment: the snapshot, else LaunchDarkly's own layout if it is complete, else undefined.
 * That layout cannot say whose data it is. Reads are strongly consistent. Invalid items are skipped and logged. Rejects as
 * `table` does.
 */
export async function readItems(options: ReadItemsOptions): Promise<StoredSet | undefined> {
  const { table, prefix, log, take } = options;
  const rows = new Map<string, Attributes | undefined>();
  const reader = createSnapshotReader({
    prefix,
    async get(keys) {
      const found = await table.getMany(keys, take);
      for (const [index, { key }] of keys.entries()) rows.set(key, found[index]);
      return found;
    },
  });
  let reading = await reader.cold();
  if ((reading.kind === 'snapshot' || reading.kind === 'refused') && reading.behind) {
    await sleep(lookAgainMs);
    reading = await reader.cold();
  }
  if (reading.kind === 'refused') {
    log.warn('The snapshot in the flag table is unusable; reading the items one by one', {
      prefix,
      reason: reading.reason,
      runbook: 'operations.md#store-differs',
    });
  }
  const snapshot = reading.kind === 'snapshot' ? reading.snapshot : undefined;
  const source = snapshot?.source;
  const fromSnapshot = snapshot && { items: [...snapshot.items()], source };
  const isNewest = reading.kind === 'snapshot' && !reading.behind;
  // An older revision that says whose it is comes before newer rows that do not.
  if (snapshot && snapshot.problem === undefined && (isNewest || source !== undefined)) return fromSnapshot;
  const official = await readOfficialItems(options);
  if (!official) return fromSnapshot;
  const isMarked = [...rows.values()].some((row) => row && 'source' in row);
  // One that has the lease has published nothing yet: what it has written so far may be of another key than what was there.
  const isBeingWritten = reading.kind === 'absent' && rows.get('head') !== undefined;
  return { items: official, source: isMarked || isBeingWritten ? '' : undefined };
}

async function readOfficialItems({ table, prefix, log, take, tellSkipped }: ReadItemsOptions) {
  if ((await table.get(initedKey(prefix))) === undefined) return undefined;
  const names = namespaces(prefix);
  const items: Item[] = [];
  const problems: string[] = [];
  for (const kind of ['segments', 'features'] as const) {
    for (const row of await table.query(names[kind], take)) {
      const item = decodeOfficialItem(kind, row);
      if ('problem' in item) problems.push(item.problem);
      else items.push(item);
      // Parsing thousands of items takes long.
      await whenDue();
    }
  }
  tellSkipped(problems);
  if (hasFlags(items)) return items;
  log.warn('The flag table is marked complete, but has no snapshot and no flag; not using it', {
    prefix,
    runbook: 'operations.md#store-lost-items',
  });
  return undefined;
}
