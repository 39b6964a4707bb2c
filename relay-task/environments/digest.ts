import { createHash } from 'node:crypto';
import type { Item } from '../../lib/flag-table/index.ts';

/**
 * A fingerprint of live items that follows changes at the price of what changed: the sum of the items' hashes, so that
 * order means nothing and an item can be taken out again. Tombstones do not count, since how many are remembered depends
 * on how long one has been running.
 */
export interface Digest {
  /** Free until the sum was asked for once. */
  replaced(before: Item | undefined, after: Item): void;
  sum(): bigint;
}

/** Hashed once per item, so that a change costs one item and not the environment. */
const hashes = new WeakMap<Item, bigint>();

/** `items`: everything held, walked when the sum is asked for the first time. */
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

/** 32 hexadecimal characters: equal wherever the same items are held. */
export function hexOf(sum: bigint): string {
  return BigInt.asUintN(128, sum).toString(16).padStart(32, '0');
}

function hashOf(item: Item | undefined): bigint {
  if (item === undefined || item.deleted) return 0n;
  let hash = hashes.get(item);
  if (hash === undefined) {
    const hex = createHash('sha256')
      .update(JSON.stringify([item.kind, item.key, item.version]))
      .update(item.json)
      .digest('hex');
    hash = BigInt(`0x${hex.slice(0, 32)}`);
    hashes.set(item, hash);
  }
  return hash;
}
