import { createHash } from 'node:crypto';
import type { Item } from '../../lib/flag-table/index.ts';
import { normalText } from './item-text.ts';

/** Each item is hashed once, so that a change costs one item and not the whole environment. */
const hashes = new WeakMap<Item, bigint>();

/** 128 bits of a SHA-256 of the item's normal form, since LaunchDarkly and stores may write the same item in different ways. */
export function hashOfItem(item: Item): bigint {
  let hash = hashes.get(item);
  if (hash === undefined) {
    const hex = createHash('sha256')
      .update(JSON.stringify([item.kind, item.key, item.version]))
      .update(normalText(item.kind, item.json))
      .digest('hex');
    hash = BigInt(`0x${hex.slice(0, 32)}`);
    hashes.set(item, hash);
  }
  return hash;
}
