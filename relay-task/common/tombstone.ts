import type { Item, Kind } from '../../lib/flag-table/index.ts';

/** A deleted item: its version stays, so that readers can tell it from an older live one. */
export function createTombstone(kind: Kind, key: string, version: number): Item {
  return { kind, key, version, deleted: true, json: JSON.stringify({ key, version, deleted: true }) };
}
