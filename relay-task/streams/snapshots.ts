/**
 * The bytes of whole sets. Every one is made of the present set, at the cost of what changed since the last one: items are
 * kept in blocks of about 64 KB, and only blocks with other items are serialised again. Sets that follow one another share
 * all other blocks, so that slow clients do not hold one copy of everything each.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { BLOCK_BYTES, chunkAround, type Framing, inPieces, sizeOf } from './framing.ts';
import type { Feed } from './messages.ts';

/** Items that follow one another in the set. */
interface Block {
  /** Tombstones included, which keep the places of the items after them. */
  readonly items: readonly Item[];
  /** Each live item after a separator. */
  readonly bytes: Buffer;
}

export function createSnapshots(feed: Feed, framing: Framing) {
  let held: readonly (readonly Block[])[] = [];
  return {
    /** The whole set as it is now, in pieces. */
    make() {
      const { sections, closing } = feed.everything();
      held = sections.map(({ items }, index) => blocksOf(items, held[index] ?? [], feed));
      const parts = sections.flatMap(({ opening }, index) => [
        Buffer.from(opening),
        ...joined(held[index] ?? [], feed.separator),
      ]);
      parts.push(Buffer.from(closing));
      const { before, after } = chunkAround(sizeOf(parts), framing);
      const pieces = inPieces([Buffer.from(before), ...parts, Buffer.from(after)]);
      return { pieces, bytes: sizeOf(pieces) };
    },
    /** Forgets everything. */
    clear() {
      held = [];
    },
  };
}

/** The items in blocks; a block with the same items as the one that was in its place before is that one. */
function blocksOf(items: Iterable<Item>, before: readonly Block[], feed: Feed): Block[] {
  const blocks: Block[] = [];
  let next: Item[] = [];
  let size = 0;
  const close = () => {
    const known = before[blocks.length];
    blocks.push(known && isSameList(known.items, next) ? known : { items: next, bytes: bytesOf(next, feed) });
    next = [];
    size = 0;
  };
  for (const item of items) {
    next.push(item);
    size += item.json.length;
    // Blocks keep their limits, so that an item of another length does not move those behind it. New items come
    // last, unless an earlier flag needs them.
    const known = blocks.length < before.length - 1 ? before[blocks.length] : undefined;
    const isFull = known ? next.length === known.items.length : size >= BLOCK_BYTES;
    if (isFull || size >= 4 * BLOCK_BYTES) close();
  }
  if (next.length > 0) close();
  return blocks;
}

function isSameList(a: readonly Item[], b: readonly Item[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

function bytesOf(items: readonly Item[], { separator, textOf }: Feed): Buffer {
  const texts = items.filter(({ deleted }) => !deleted).map((item) => separator + textOf(item));
  return Buffer.from(texts.join(''));
}

/** The bytes of all blocks that have any, without the first separator. */
function joined(blocks: readonly Block[], separator: string): Buffer[] {
  const [first, ...rest] = blocks.map(({ bytes }) => bytes).filter(({ length }) => length > 0);
  return first ? [first.subarray(Buffer.byteLength(separator)), ...rest] : [];
}
