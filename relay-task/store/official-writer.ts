import {
  type Attributes,
  decodeOfficialItem,
  decodeStale,
  encodeInited,
  encodeOfficialItem,
  encodeStale,
  type Item,
  type Key,
  type Kind,
  OFFICIAL_ITEM_LIMIT_BYTES,
  officialItemBytes,
} from '../../lib/flag-table/index.ts';
import type { ItemView, Log } from '../ports.ts';
import { absent, absentOrOlder, type Condition, exactly } from './conditions.ts';
import { nameOf, type Table } from './dynamodb-client.ts';
import { inFlight, inParallel } from './in-parallel.ts';
import { idOf, sameItem } from './same-item.ts';
import type { Clock } from './timings.ts';

/**
 * One item whose official copy may have to be written; what is written is memory's newest at that moment.
 * `newer`: only over nothing or an older version. `replace`: memory's version fell, so over whatever stands there.
 * `repair`: only over exactly what was read.
 */
export type Work = { readonly kind: Kind; readonly key: string } & (
  | { readonly mode: 'newer' | 'replace' }
  | { readonly mode: 'repair'; readonly read: Attributes }
);

/** Writes LaunchDarkly's own layout, and remembers what it knows to stand there. */
export interface OfficialWriter {
  /** Writes what memory holds of these items, segments before flags. Rejects when the store fails; the rest is then unknown. */
  write(work: Iterable<Work>): Promise<void>;
  /** Writes the marker that the layout is complete, unless it is known to be there. */
  markInited(): Promise<void>;
  /** Takes over what was read: these items stand in the table as memory has them. */
  adopt(items: Iterable<Item>, inited: boolean): void;
  /** Does this row (undefined: none) say what memory says, as far as the layout can? */
  isSettled(row: Attributes | undefined, item: Item): boolean;
  /** Items that the layout cannot hold, each with the reason. */
  oversized(): readonly string[];
}

/** DynamoDB's limit of a sort key. */
const sortKeyLimitBytes = 1_024;

export function createOfficialWriter(options: {
  table: Table;
  prefix: string;
  view: ItemView;
  clock: Clock;
  log: Log;
}): OfficialWriter {
  const { table, prefix, view, clock, log } = options;
  const stored = new Map<string, Item>();
  const misfits = new Map<string, string>();
  let inited = false;

  function misfitReason(item: Item, attributes: Attributes): string | undefined {
    const keyBytes = Buffer.byteLength(item.key);
    if (keyBytes === 0 || keyBytes > sortKeyLimitBytes) {
      return `its key has ${keyBytes} bytes, DynamoDB takes 1 to ${sortKeyLimitBytes}`;
    }
    const bytes = officialItemBytes(attributes);
    if (bytes <= OFFICIAL_ITEM_LIMIT_BYTES) return undefined;
    return `version ${item.version} has ${bytes} bytes, the layout takes ${OFFICIAL_ITEM_LIMIT_BYTES}`;
  }

  function noteMisfit(id: string, reason: string): void {
    if (misfits.get(id) !== reason) log.error('an item does not fit the flag table', { prefix, item: id, reason });
    misfits.set(id, reason);
  }

  /** The old copy stays, and says that it is old. */
  async function markStale(key: Key, item: Item): Promise<void> {
    const set = encodeStale(clock.wall(), item.version);
    const { expression, names, values } = absentOrOlder(item.version);
    const condition: Condition = {
      expression: `attribute_exists(#cNamespace) AND (${expression}) AND (attribute_not_exists(#cCurrent) OR #cCurrent <> :cVersion)`,
      names: { ...names, '#cCurrent': 'currentVersion' },
      values,
    };
    await table.update('stale-mark', key, { set, condition });
  }

  /** True when the table now holds the item as given; false when somebody else's word stands there. */
  async function put(work: Work, item: Item, attributes: Attributes, key: Key): Promise<boolean> {
    const kind = item.kind === 'features' ? 'flag' : 'segment';
    if (work.mode === 'repair') return table.put(kind, attributes, exactly(work.read));
    if (await table.put(kind, attributes, absentOrOlder(item.version))) return true;
    if (work.mode === 'newer') return false;
    // A lost race here means a foreign writer at work; the next reconciliation settles it.
    const read = await table.get(key);
    if (read && isSettled(read, item)) return true;
    return table.put(kind, attributes, read ? exactly(read) : absent);
  }

  async function writeOne(work: Work): Promise<void> {
    const id = idOf(work);
    const item = view.get(work.kind, work.key);
    if (!item || sameItem(stored.get(id), item)) return;
    const attributes = encodeOfficialItem(prefix, item);
    const key = keyOf(attributes);
    const reason = misfitReason(item, attributes);
    if (reason !== undefined) {
      noteMisfit(id, reason);
      if (key.key !== '' && Buffer.byteLength(key.key) <= sortKeyLimitBytes) await markStale(key, item);
      stored.set(id, item);
      return;
    }
    stored.delete(id);
    try {
      if (await put(work, item, attributes, key)) stored.set(id, item);
      misfits.delete(id);
    } catch (error) {
      // About this item alone: the others must not wait for it.
      if (nameOf(error) !== 'ValidationException') throw error;
      noteMisfit(id, String(error));
    }
  }

  function isSettled(row: Attributes | undefined, item: Item): boolean {
    const reason = misfitReason(item, encodeOfficialItem(prefix, item));
    if (reason !== undefined) noteMisfit(idOf(item), reason);
    if (!row) return reason !== undefined;
    const decoded = decodeOfficialItem(item.kind, row);
    const stale = decodeStale(row);
    if (reason !== undefined) return stale?.currentVersion === item.version;
    return stale === undefined && !('problem' in decoded) && sameItem(decoded, item);
  }

  return {
    async write(work) {
      const all = [...work];
      for (const kind of ['segments', 'features'] as const) {
        const queue = all.filter((one) => one.kind === kind);
        await inParallel(inFlight, queue, writeOne);
      }
    },
    async markInited() {
      if (inited) return;
      await table.put('inited', encodeInited(prefix), absent);
      inited = true;
    },
    adopt(items, complete) {
      stored.clear();
      for (const item of items) stored.set(idOf(item), item);
      for (const id of misfits.keys()) {
        const [kind, key] = [id.slice(0, id.indexOf('/')) as Kind, id.slice(id.indexOf('/') + 1)];
        const item = view.get(kind, key);
        if (!item || misfitReason(item, encodeOfficialItem(prefix, item)) === undefined) misfits.delete(id);
      }
      inited = complete;
    },
    isSettled,
    oversized: () => [...misfits].map(([id, reason]) => `${id}: ${reason}`),
  };
}

export function keyOf(attributes: Attributes): Key {
  const { namespace, key } = attributes as { namespace: { S: string }; key: { S: string } };
  return { namespace: namespace.S, key: key.S };
}
