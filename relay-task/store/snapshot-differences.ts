import type { Item } from '../../lib/flag-table/index.ts';
import { idOf, sameItem } from './same-item.ts';

export type ItemsById = ReadonlyMap<string, Item>;

export function byId(items: readonly Item[]): ItemsById {
  return new Map(items.map((item) => [idOf(item), item]));
}

/** What a delta has to say; undefined when something vanished without a tombstone, which no delta can say. */
export function differencesFrom(older: ItemsById, items: readonly Item[]): Item[] | undefined {
  const differing = items.filter((item) => !sameItem(older.get(idOf(item)), item));
  const added = differing.filter((item) => !older.has(idOf(item))).length;
  return older.size > items.length - added ? undefined : differing;
}
