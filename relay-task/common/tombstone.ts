import type { Item, Kind } from '../../lib/flag-table/index.ts';
import { normalText } from './item-text.ts';

/**
 * A deleted item: its version stays, so that readers can tell it from an older live one. It has every field of a live item, as
 * ld-relay's has, because PHP's SDK reads all of them before it looks at `deleted`.
 */
export function createTombstone(kind: Kind, key: string, version: number): Item {
  const json = normalText(kind, JSON.stringify({ key, version, deleted: true }));
  return { kind, key, version, deleted: true, json };
}
