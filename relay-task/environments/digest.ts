import { createHash } from 'node:crypto';
import type { Item } from '../../lib/flag-table/index.ts';

const hashes = new WeakMap<Item, string>();

/**
 * A fingerprint of the live items, 32 hexadecimal characters: equal wherever the same items are held, in whatever order
 * they came. Tombstones do not count, since how many are remembered depends on how long one has been running.
 */
export function digestOf(items: Iterable<Item>): string {
  const lines: string[] = [];
  for (const item of items) if (!item.deleted) lines.push(hashOf(item));
  const hash = createHash('sha256');
  for (const line of lines.sort()) hash.update(line);
  return hash.digest('hex').slice(0, 32);
}

/** Hashed once per item, so that a change costs one item and not the environment. */
function hashOf(item: Item): string {
  let hash = hashes.get(item);
  if (hash === undefined) {
    hash = createHash('sha256')
      .update(JSON.stringify([item.kind, item.key, item.version]))
      .update(item.json)
      .digest('hex');
    hashes.set(item, hash);
  }
  return hash;
}
