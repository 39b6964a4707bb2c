import {
  createSnapshotReader,
  decodeOfficialItem,
  type Item,
  initedKey,
  namespaces,
} from '../../lib/flag-table/index.ts';
import type { Log } from '../ports.ts';
import type { Table } from './dynamodb-client.ts';
import { sleep } from './timings.ts';

/** A publication under way is over by then. */
const lookAgainMs = 250;

/**
 * Everything a table holds of one environment: the snapshot, else LaunchDarkly's own layout if it is complete, else undefined.
 * Reads are strongly consistent. Items that cannot be read are left out and logged. Rejects as `table` does.
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
    log.warn('the snapshot in the flag table is of no use', { prefix, why: reading.reason });
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
      if ('problem' in item) log.error('an item of the flag table is skipped', { prefix, problem: item.problem });
      else items.push(item);
    }
  }
  return items;
}
