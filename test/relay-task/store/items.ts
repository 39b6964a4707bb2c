/** Flags and segments with few fields, so that tests can state their JSON. */
import type { Item, Kind } from '../../../lib/flag-table/index.ts';

import { tombstone } from '../../support/items.ts';

export { tombstone };

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

/** The text that ld-relay writes of the same item: with all default fields, and another key in a tombstone. */
export function relayed({ kind, key, version, json }: Item): string {
  const data: Record<string, unknown> = JSON.parse(json);
  const defaults: Record<string, unknown> = JSON.parse(tombstone(kind, key, version).json);
  return JSON.stringify({ ...defaults, ...data, key: data.deleted ? '$deleted' : key });
}
