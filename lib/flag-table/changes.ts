/** What differs between two revisions of an environment. */
import { type ItemsByKind, isSame, readAside } from './blocks.ts';
import { type Item, KINDS, type Kind } from './item.ts';
import type { AssembledSnapshot, Snapshot } from './snapshot.ts';
import { blockIndex } from './snapshot-format.ts';

export interface ItemChange {
  readonly kind: Kind;
  readonly key: string;
  /** Undefined if it no longer exists. */
  readonly item: Item | undefined;
}

/**
 * The items of the later snapshot that differ from those of the earlier one. Blocks that both have are not looked at, and none is kept
 * inflated.
 */
export function changesBetween(earlier: Snapshot, later: Snapshot): ItemChange[] {
  const [before, after] = [earlier as AssembledSnapshot, later as AssembledSnapshot];
  const count = after.blocks.length;
  const isShared = (index: number) => before.blocks.length === count && before.blocks[index] === after.blocks[index];
  const [had, has] = [before, after].map(({ blocks }) => readAside(blocks.filter((_, index) => !isShared(index)))) as [
    ItemsByKind,
    ItemsByKind,
  ];
  const changes: ItemChange[] = [];
  for (const kind of KINDS) {
    const maps = [had[kind], has[kind], before.changed[kind], after.changed[kind]];
    for (const key of new Set(maps.flatMap((map) => [...map.keys()]))) {
      const old = before.changed[kind].get(key) ?? had[kind].get(key);
      const item = after.changed[kind].get(key) ?? has[kind].get(key);
      if (old && item && isSame(old, item)) continue;
      const shared = isShared(blockIndex(kind, key, count));
      // A delta has only what differs from the blocks, so that an item of a block that both have need not be read.
      if (shared || !(isGone(old) && isGone(item)))
        changes.push({ kind, key, item: item ?? (shared ? after.get(kind, key) : item) });
    }
  }
  return changes;
}

/** All items, tombstones included. Unlike `snapshot.items()`, it keeps no block inflated. */
export function itemsAside(snapshot: Snapshot): ItemsByKind {
  const { blocks, changed } = snapshot as AssembledSnapshot;
  const all = readAside(blocks);
  for (const kind of KINDS) for (const [key, item] of changed[kind]) all[kind].set(key, item);
  return all;
}

function isGone(item: Item | undefined): boolean {
  return item === undefined || item.deleted;
}
