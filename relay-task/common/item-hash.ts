import { createHash } from 'node:crypto';
import type { Item } from '../../lib/flag-table/index.ts';
import { normalTextInSlices } from './item-text.ts';
import { resultOf } from './slices.ts';

/** Each item is hashed once, so that a change costs one item and not the whole environment. */
const hashes = new WeakMap<Item, bigint>();
/** Characters hashed between two yields: less than a millisecond of work. */
const CHARACTERS_AT_ONCE = 64 * 1024;

/** 128 bits of a SHA-256 of the item's normal form, since LaunchDarkly and stores may write the same item in different ways. */
export function hashOfItem(item: Item): bigint {
  return hashes.get(item) ?? resultOf(hashInSlices(item));
}

/** The same, with a yield after each part of the item. */
export function* hashInSlices(item: Item): Generator<void, bigint> {
  let hash = hashes.get(item);
  if (hash === undefined) {
    const text = yield* normalTextInSlices(item.kind, item.json);
    const sha = createHash('sha256').update(JSON.stringify([item.kind, item.key, item.version]));
    for (let at = 0; at < text.length; ) {
      // A character of two units must not be cut: UTF-8 has no halves.
      const end = at + CHARACTERS_AT_ONCE + (isFirstHalf(text.charCodeAt(at + CHARACTERS_AT_ONCE - 1)) ? 1 : 0);
      sha.update(text.slice(at, end));
      at = end;
      yield;
    }
    hash = BigInt(`0x${sha.digest('hex').slice(0, 32)}`);
    hashes.set(item, hash);
  }
  return hash;
}

const isFirstHalf = (unit: number) => unit >= 0xd800 && unit < 0xdc00;
