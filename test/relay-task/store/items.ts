/** Flags and segments with few fields, so that tests can state their JSON. */
import type { Item, Kind } from '../../../lib/flag-table/index.ts';

export { tombstone } from '../../support/items.ts';

export function flag(key: string, version: number, more: Record<string, unknown> = {}): Item {
  return item('features', key, version, {
    on: true,
    variations: [true, false],
    fallthrough: { variation: 0 },
    ...more,
  });
}

export function segment(key: string, version: number, more: Record<string, unknown> = {}): Item {
  return item('segments', key, version, { included: [], excluded: [], rules: [], salt: 's', ...more });
}

function item(kind: Kind, key: string, version: number, more: Record<string, unknown>): Item {
  return { kind, key, version, deleted: false, json: JSON.stringify({ key, version, deleted: false, ...more }) };
}

export function flags(count: number, version = 1): Item[] {
  return Array.from({ length: count }, (_, index) => flag(`flag-${index}`, version, { salt: `salt-${index}` }));
}
