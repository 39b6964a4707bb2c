/** Reads a snapshot's data: the header at once, each block when one of its items is first needed. */
import { inflateRawSync } from 'node:zlib';
import { type Item, KINDS, type Kind } from './item.ts';
import {
  blockIndex,
  deletedBit,
  floatBit,
  kindBit,
  MAX_BLOCKS,
  MAX_DICTIONARY_BYTES,
  MAX_INFLATED_BYTES,
} from './snapshot-format.ts';

export type ItemsByKind = Record<Kind, Map<string, Item>>;

export const noItems = (): ItemsByKind => ({ features: new Map(), segments: new Map() });

/** Null: `letGo` dropped the item. */
type BlockItems = Record<Kind, Map<string, Item | null>>;

/** Items of earlier snapshots: equal ones are reused as objects. */
type Known = readonly (BlockItems | undefined)[];

export interface Block {
  stored: Buffer;
  readonly inflatedBytes: number;
  readonly dictionary: Buffer | undefined;
  /** Set when the block was inflated. */
  items?: BlockItems | undefined;
}

/**
 * Decodes data whose hash was checked. `held` are the reader's current blocks: one with the same bytes is reused as it is, and of
 * one that is in use, the items are reused as objects; so are those of `changed`. Returns a string, the reason, if the data is invalid.
 */
export function decodeBlocks(data: Buffer, held?: readonly Block[], changed?: ItemsByKind): Block[] | string {
  const malformed = 'malformed data';
  if (data.length < 16) return malformed;
  const count = data.readUInt32LE(0);
  const dictionaryBytes = data.readUInt32LE(4);
  let at = 8 + 8 * count + dictionaryBytes;
  if (count < 1 || count > MAX_BLOCKS || (count & (count - 1)) !== 0 || at > data.length) {
    return malformed;
  }
  let dictionary: Buffer | undefined;
  if (dictionaryBytes > 0) {
    dictionary = inflate(data.subarray(at - dictionaryBytes, at), MAX_DICTIONARY_BYTES);
    if (dictionary === undefined) return 'bad dictionary';
  }
  const blocks: Block[] = [];
  let inflatedTotal = 0;
  for (let i = 0; i < count; i++) {
    const stored = data.subarray(at, at + data.readUInt32LE(8 + 8 * i));
    const inflatedBytes = data.readUInt32LE(12 + 8 * i);
    at += data.readUInt32LE(8 + 8 * i);
    inflatedTotal += inflatedBytes;
    const old = held?.length === count ? held[i] : undefined;
    if (
      old &&
      old.inflatedBytes === inflatedBytes &&
      old.stored.equals(stored) &&
      sameBytes(old.dictionary, dictionary)
    ) {
      old.stored = stored; // so that the old body's buffer can be freed
      blocks.push(old);
    } else {
      const block = { stored, inflatedBytes, dictionary };
      // At once: what waits for the first use of a block that is never used again would be kept for good.
      if (old?.items) openBlock(block, [old.items, changed]);
      blocks.push(block);
    }
  }
  if (inflatedTotal > MAX_INFLATED_BYTES) return `inflates to ${inflatedTotal} bytes`;
  return at === data.length ? blocks : malformed;
}

/** Finds an item in its block, which is inflated if necessary; undefined if the block cannot be read. */
export function findItem(blocks: readonly Block[], kind: Kind, key: string): { item: Item | undefined } | undefined {
  const block = blocks[blockIndex(kind, key, blocks.length)]!;
  const { items } = block;
  if (items?.[kind].get(key) === null) block.items = undefined;
  const found = openBlock(block, [items]);
  return found && { item: found[kind].get(key) ?? undefined };
}

export function openBlock(block: Block, known: Known = []): BlockItems | undefined {
  if (block.items) return block.items;
  const bytes = inflateBlock(block);
  const items = bytes && readItems(bytes, known);
  if (items) block.items = items;
  return items;
}

/** All items of some blocks, without keeping the blocks inflated. Unreadable items are left out. */
export function readAside(blocks: readonly Block[]): ItemsByKind {
  const all = noItems();
  for (const block of blocks) {
    const bytes = inflateBlock(block);
    const items = bytes && readItems(bytes, []);
    for (const kind of KINDS) for (const [key, item] of items?.[kind] ?? []) if (item) all[kind].set(key, item);
  }
  return all;
}

/**
 * Drops an item that was replaced, so that memory holds one version of it, with its compiled form. If it is needed after all, its block
 * is inflated again.
 */
export function letGo(blocks: readonly Block[], kind: Kind, key: string): void {
  const items = blocks[blockIndex(kind, key, blocks.length)]?.items?.[kind];
  if (items?.has(key)) items.set(key, null);
}

/** Undefined if the data does not inflate to exactly the size in the header. */
export function inflateBlock({ stored, inflatedBytes, dictionary }: Block): Buffer | undefined {
  const bytes = stored.length === 0 ? stored : inflate(stored, inflatedBytes, dictionary);
  return bytes?.length === inflatedBytes ? bytes : undefined;
}

function inflate(bytes: Buffer, limitBytes: number, dictionary?: Buffer): Buffer | undefined {
  try {
    return inflateRawSync(bytes, { maxOutputLength: Math.max(limitBytes, 1), ...(dictionary && { dictionary }) });
  } catch {
    return undefined;
  }
}

function sameBytes(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a && b ? a.equals(b) : a === b;
}

function readItems(bytes: Buffer, known: Known): BlockItems | undefined {
  const items: BlockItems = noItems();
  let at = 0;
  const varint = () => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = bytes[at++]!; // undefined past the end: `at` becomes too large, which the caller detects
      value += (byte & 127) * scale;
      if (!(byte > 127)) return value;
    }
  };
  const text = () => {
    const length = varint();
    at += length;
    return bytes.toString('utf8', at - length, at);
  };
  while (at < bytes.length) {
    const bits = bytes[at++]!;
    let version: number;
    if (bits & floatBit) {
      if (at + 8 > bytes.length) return undefined;
      version = bytes.readDoubleLE(at);
      at += 8;
    } else version = varint();
    const kind: Kind = bits & kindBit ? 'segments' : 'features';
    const item = { kind, key: text(), version, deleted: (bits & deletedBit) !== 0, json: text() };
    items[kind].set(item.key, sameItem(item, known) ?? item);
  }
  return at === bytes.length ? items : undefined;
}

/** Whether the items of one kind and key have the same content. */
export function isSame(a: Item | null | undefined, b: Item): a is Item {
  return a?.version === b.version && a.deleted === b.deleted && a.json === b.json;
}

/** The existing object with the same content, if any, so that its compiled form stays in use. */
function sameItem(item: Item, known: Known): Item | undefined {
  for (const items of known) {
    const old = items?.[item.kind].get(item.key);
    if (isSame(old, item)) return old;
  }
  return undefined;
}
