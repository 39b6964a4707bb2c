import {
  createSnapshotReader,
  decodeOfficialItem,
  type Item,
  initedKey,
  namespaces,
} from '../../lib/flag-table/index.ts';
import { sleep } from '../common/pause.ts';
import type { Log } from '../ports.ts';
import type { Table } from './dynamodb-client.ts';

/** A publication in progress has ended by then. */
const lookAgainMs = 250;

/**
 * The items of one environment in a table: the snapshot, else LaunchDarkly's own layout if it is complete, else undefined.
 * Reads are strongly consistent. Invalid items are left out and logged. Rejects as `table` does.
 */
export async function readItems(options: {
  table: Table;
  prefix: string;
  log: Log;
}): Promise<readonly Item[] | undefined> {
  const { table, prefix, log } = options;
  const reader = createSnapshotReader({ prefix, get: (keys) => table.getMany(keys) });
  let reading = await reader.cold();
  if ((reading.kind === 'snapshot' || reading.kind === 'refused') && reading.behind) {
    await sleep(lookAgainMs);
    reading = await reader.cold();
  }
  if (reading.kind === 'refused') {
    log.warn('The snapshot in the flag table is unusable', { prefix, why: reading.reason });
  }
  const snapshot = reading.kind === 'snapshot' ? reading.snapshot : undefined;
  const fromSnapshot = snapshot && [...snapshot.items()];
  if (reading.kind === 'snapshot' && !reading.behind && snapshot?.problem === undefined) return fromSnapshot;
  return (await readOfficialItems(options)) ?? fromSnapshot;
}

async function readOfficialItems({ table, prefix, log }: { table: Table; prefix: string; log: Log }) {
  if ((await table.get(initedKey(prefix))) === undefined) return undefined;
  const names = namespaces(prefix);
  const items: Item[] = [];
  for (const kind of ['segments', 'features'] as const) {
    for (const row of await table.query(names[kind])) {
      const item = decodeOfficialItem(kind, row);
      if ('problem' in item) log.error('Skipped an invalid item in the flag table', { prefix, problem: item.problem });
      else items.push(item);
    }
  }
  return items;
}
