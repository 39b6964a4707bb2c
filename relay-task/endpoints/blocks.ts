/**
 * The items of one kind as parts of bodies: sorted by key and in blocks of about 64 KB. After a change, only the blocks with other items
 * are made again, and in those the bytes of the other items are copied.
 */
import type { Item } from '../../lib/flag-table/index.ts';
import { hashInSlices } from '../common/item-hash.ts';
import { normalTextInSlices } from '../common/item-text.ts';
import { sortInSlices } from '../common/sliced-sort.ts';

/** Live items, each text behind the one before. */
interface Block {
  readonly keys: readonly string[];
  /** Where the text of each ends in the bytes. */
  readonly ends: readonly number[];
  readonly bytes: Buffer;
}

/** It does not keep items alive that were replaced. */
export interface Section {
  /** Of all items, tombstones included, in the order of memory, which items keep. */
  readonly keys: readonly string[];
  readonly hashes: readonly bigint[];
  readonly blocks: readonly Block[];
}

interface SectionOptions {
  /** The section as it was made last, with the same `write`. */
  readonly before: Section | undefined;
  /** The text of an item in the body; `normal` is the normal form of its JSON. */
  write(item: Item, normal: string): string;
  /** Called with the bytes of each new block. What it throws ends the work. */
  made(bytes: Buffer): void;
}

const BLOCK_BYTES = 64 * 1024;
/** Of a tombstone. */
const NONE = 0n;
const ITEMS_AT_ONCE = 512;

const byKey = (a: Item, b: Item) => (a.key < b.key ? -1 : 1);

/** Yields after each small part of the work. `items`: all of one kind at one time. */
export function* sectionOf(items: readonly Item[], options: SectionOptions): Generator<void, Section> {
  const { before } = options;
  const keys: string[] = [];
  const hashes: bigint[] = [];
  let changed: Item[] = [];
  let isContinued = before !== undefined && before.keys.length <= items.length;
  for (const [index, item] of items.entries()) {
    const hash = item.deleted ? NONE : yield* hashInSlices(item);
    keys.push(item.key);
    hashes.push(hash);
    if (hash !== (before?.hashes[index] ?? NONE)) changed.push(item);
    if (before && index < before.keys.length && before.keys[index] !== item.key) isContinued = false;
    if (index % ITEMS_AT_ONCE === 0) yield;
  }
  if (!isContinued) changed = items.filter(({ deleted }) => !deleted);
  const sorted = yield* sortInSlices(changed, byKey);
  const blocks = yield* mergedBlocks((isContinued && before?.blocks) || [], sorted, options);
  return { keys, hashes, blocks };
}

function* mergedBlocks(
  old: readonly Block[],
  changed: readonly Item[],
  options: SectionOptions,
): Generator<void, readonly Block[]> {
  if (old.length === 0) return yield* rewritten(EMPTY, changed, options);
  const blocks: Block[] = [];
  let next = 0;
  for (const [index, block] of old.entries()) {
    const limit = old[index + 1]?.keys[0];
    const from = next;
    for (let item = changed[next]; item && (limit === undefined || item.key < limit); item = changed[next]) next += 1;
    if (from === next) blocks.push(block);
    else blocks.push(...(yield* rewritten(block, changed.slice(from, next), options)));
  }
  return blocks;
}

const EMPTY: Block = { keys: [], ends: [], bytes: Buffer.alloc(0) };

/** The block with these items in the place of those with their keys; more than one if it grew, none if nothing is left. */
function* rewritten(
  old: Block,
  changed: readonly Item[],
  { write, made }: SectionOptions,
): Generator<void, readonly Block[]> {
  const blocks: Block[] = [];
  const length = changed.reduce((sum, { json }) => sum + json.length, old.bytes.length);
  // A block with a little more than before stays one, so that it is not split by every change.
  const mostBytes = length > 2 * BLOCK_BYTES ? BLOCK_BYTES : Number.POSITIVE_INFINITY;
  let keys: string[] = [];
  let texts: Buffer[] = [];
  let size = 0;
  const close = () => {
    if (texts.length === 0) return;
    let end = 0;
    const ends = texts.map((text) => (end += text.length));
    const bytes = Buffer.concat(texts, size);
    made(bytes);
    blocks.push({ keys, ends, bytes });
    keys = [];
    texts = [];
    size = 0;
  };
  const add = (key: string, text: Buffer) => {
    if (size + text.length > mostBytes) close();
    keys.push(key);
    texts.push(text);
    size += text.length;
  };
  let at = 0;
  const copyUntil = (key: string | undefined) => {
    for (let held = old.keys[at]; held !== undefined && (key === undefined || held < key); held = old.keys[at]) {
      add(held, old.bytes.subarray(old.ends[at - 1] ?? 0, old.ends[at]));
      at += 1;
    }
  };
  for (const item of changed) {
    copyUntil(item.key);
    if (old.keys[at] === item.key) at += 1;
    if (!item.deleted) add(item.key, Buffer.from(write(item, yield* normalTextInSlices(item.kind, item.json))));
    yield;
  }
  copyUntil(undefined);
  close();
  return blocks;
}
