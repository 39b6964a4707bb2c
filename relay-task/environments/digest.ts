import type { Item } from '../../lib/flag-table/index.ts';
import { hashInSlices, hashOfItem } from '../common/item-hash.ts';
import { inSlices } from '../common/slices.ts';

/**
 * A fingerprint of the live items, updated at the cost of what changed: the sum of the items' hashes, so that order does
 * not matter and an item can be subtracted again. Tombstones do not count, since how many a relay remembers depends on how long
 * it has been running. `items`: everything held, read at the first call of `sum`.
 */
export function createDigest(items: () => Iterable<Item>) {
  let sum: bigint | undefined;
  let preparing: Promise<void> | undefined;
  return {
    /** Hashes all items in slices, so that the first `sum` does not do it in one turn. Undefined: it was called. */
    prepare(): Promise<void> | undefined {
      if (sum !== undefined) return undefined;
      preparing ??= inSlices(hashAll([...items()]));
      return preparing;
    },
    /** Costs nothing until `sum` was called once. */
    replaced(before: Item | undefined, after: Item): void {
      if (sum !== undefined) sum += liveHash(after) - liveHash(before);
    },
    sum(): bigint {
      if (sum === undefined) {
        sum = 0n;
        for (const item of items()) sum += liveHash(item);
        preparing = undefined;
      }
      return sum;
    },
  };
}

/** 32 hexadecimal characters, equal in every relay that holds the same items. */
export function hexOf(sum: bigint): string {
  return BigInt.asUintN(128, sum).toString(16).padStart(32, '0');
}

function* hashAll(items: readonly Item[]): Generator<void, void> {
  for (const item of items) {
    if (!item.deleted) yield* hashInSlices(item);
    yield;
  }
}

function liveHash(item: Item | undefined): bigint {
  return item === undefined || item.deleted ? 0n : hashOfItem(item);
}
