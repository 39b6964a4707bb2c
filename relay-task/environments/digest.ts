import { createHash } from 'node:crypto';
import type { Item } from '../../lib/flag-table/index.ts';
import { normalText } from '../common/item-text.ts';

/**
 * A fingerprint of the live items, updated at the cost of what changed: the sum of the items' hashes, so that order does
 * not matter and an item can be subtracted again. It is made of the items' normal form, because LaunchDarkly and stores may
 * write the same item in different ways. Tombstones do not count, since how many a relay remembers depends on how long it
 * has been running.
 */
export interface Digest {
  /** Costs nothing until `sum` was called once. */
  replaced(before: Item | undefined, after: Item): void;
  sum(): bigint;
}

/** Each item is hashed once, so that a change costs one item and not the whole environment. */
const hashes = new WeakMap<Item, bigint>();

/** `items`: everything held, read at the first call of `sum`. */
export function createDigest(items: () => Iterable<Item>): Digest {
  let sum: bigint | undefined;
  return {
    replaced(before, after) {
      if (sum !== undefined) sum += hashOf(after) - hashOf(before);
    },
    sum() {
      if (sum === undefined) {
        sum = 0n;
        for (const item of items()) sum += hashOf(item);
      }
      return sum;
    },
  };
}

/** 32 hexadecimal characters, equal in every relay that holds the same items. */
export function hexOf(sum: bigint): string {
  return BigInt.asUintN(128, sum).toString(16).padStart(32, '0');
}

function hashOf(item: Item | undefined): bigint {
  if (item === undefined || item.deleted) return 0n;
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
