/**
 * Encodes a snapshot's data (layout: snapshot-format.ts). The same items give the same bytes, in any order. A snapshot may
 * have 128 MiB: blocks are deflated by zlib's threads, and everything else is done in slices, so that the event loop is free.
 */
import { deflateRaw } from 'node:zlib';
import { type Block, inflateBlock } from './blocks.ts';
import { dictionaryText } from './dictionary.ts';
import type { Item } from './item.ts';
import { blockIndex, deletedBit, floatBit, kindBit, MAX_BLOCKS, MAX_INFLATED_BYTES } from './snapshot-format.ts';
import type { Yield } from './yield.ts';

/**
 * Larger blocks compress better; smaller ones make reading a single flag cheaper. Measured with 2,000 flags: 16 KB +12 %, 32 KB +5 %,
 * 128 KB -4 % bytes against 64 KB; inflating one takes 45, 75 and 270 µs against 150.
 */
export const BLOCK_TARGET_BYTES = 64 * 1024;

/** Blocks that are encoded at the same time: together with their text what encoding needs beside the result. */
const BLOCKS_AT_ONCE = 2;

/**
 * @param blockCountFor returns the number of blocks for a number of bytes: a power of two
 * @param previous blocks of the data that this replaces: a block with the same items is reused, not deflated again
 * @throws RangeError when the items exceed the readers' limit (128 MiB of JSON)
 */
export async function encodeBlocks(
  items: Iterable<Item>,
  blockCountFor: (totalBytes: number) => number,
  yieldNow: Yield,
  previous?: readonly Block[],
): Promise<{ data: Buffer; itemCount: number }> {
  const distinct = await latestOf(items, yieldNow);
  let total = 0;
  for (const item of distinct) {
    total += rowBytes(item);
    await yieldNow();
  }
  if (total > MAX_INFLATED_BYTES) {
    throw new RangeError(`a snapshot of ${total} bytes of JSON exceeds the ${MAX_INFLATED_BYTES} that readers accept`);
  }
  const count = blockCountFor(total);
  const groups: Item[][] = Array.from({ length: count }, () => []);
  for (const item of distinct) {
    groups[blockIndex(item.kind, item.key, count)]!.push(item);
    await yieldNow();
  }

  // For a single block the dictionary would save less than its own size.
  const dictionary = count > 1 ? Buffer.from(dictionaryText) : undefined;
  const storedDictionary = dictionary ? await deflate(dictionary) : Buffer.alloc(0);
  const header = Buffer.alloc(8 + 8 * count);
  header.writeUInt32LE(count, 0);
  header.writeUInt32LE(storedDictionary.length, 4);
  const stored: Buffer[] = [];
  const queue = groups.entries();
  const worker = async () => {
    for (const [i, group] of queue) {
      const plain = Buffer.concat(inOrder(group).map(encodeRow));
      const old = previous?.length === count ? previous[i] : undefined;
      const reused = plain.length === 0 ? plain : reuse(old, plain, dictionary);
      const bytes = reused ?? (await deflate(plain, dictionary));
      header.writeUInt32LE(bytes.length, 8 + 8 * i);
      header.writeUInt32LE(plain.length, 12 + 8 * i);
      stored[i] = bytes;
      await yieldNow();
    }
  };
  await Promise.all(Array.from({ length: BLOCKS_AT_ONCE }, worker));
  return { data: Buffer.concat([header, storedDictionary, ...stored]), itemCount: distinct.length };
}

/**
 * The smallest power of two that keeps blocks within the target size. `held`, the current number of blocks, is kept if it is
 * equal to that, half or twice as much, so that the number does not flap and blocks keep their bytes.
 */
export function chooseBlockCount(totalBytes: number, held: number | undefined, targetBytes: number): number {
  let ideal = 1;
  while (ideal * targetBytes < totalBytes && ideal < MAX_BLOCKS) ideal *= 2;
  return held !== undefined && held <= ideal * 2 && held >= ideal / 2 ? held : ideal;
}

/** Inflating and comparing costs a seventh of deflating, and keeps the bytes stable across zlib versions. */
function reuse(old: Block | undefined, plain: Buffer, dictionary: Buffer | undefined): Buffer | undefined {
  if (!old || old.inflatedBytes !== plain.length) return undefined;
  if (!(old.dictionary && dictionary ? old.dictionary.equals(dictionary) : old.dictionary === dictionary))
    return undefined;
  return inflateBlock(old)?.equals(plain) ? old.stored : undefined;
}

/** By a thread of zlib's. */
function deflate(bytes: Buffer, dictionary?: Buffer): Promise<Buffer> {
  const options = { level: 9, memLevel: 9, ...(dictionary && { dictionary }) };
  return new Promise((resolve, reject) => {
    deflateRaw(bytes, options, (error, deflated) => (error ? reject(error) : resolve(deflated)));
  });
}

/** Of items with the same key keeps the highest version, then the greater JSON, whatever their order. */
async function latestOf(items: Iterable<Item>, yieldNow: Yield): Promise<Item[]> {
  const latest = new Map<string, Item>();
  for (const item of items) {
    const id = `${item.kind} ${item.key}`;
    const held = latest.get(id);
    const isLater = !held || item.version > held.version || (item.version === held.version && item.json > held.json);
    if (isLater) latest.set(id, item);
    await yieldNow();
  }
  return [...latest.values()];
}

function inOrder(group: readonly Item[]): Item[] {
  const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  return [...group].sort((a, b) => order(a.kind, b.kind) || order(a.key, b.key));
}

/** The length of `encodeRow`. */
function rowBytes({ key, version, json }: Item): number {
  const [keyBytes, jsonBytes] = [Buffer.byteLength(key), Buffer.byteLength(json)];
  const versionBytes = isWhole(version) ? varint(version).length : 8;
  return 1 + versionBytes + varint(keyBytes).length + keyBytes + varint(jsonBytes).length + jsonBytes;
}

function isWhole(version: number): boolean {
  return Number.isSafeInteger(version) && version >= 0 && !Object.is(version, -0);
}

function encodeRow({ kind, key, version, deleted, json }: Item): Buffer {
  const whole = isWhole(version);
  const bits = (kind === 'segments' ? kindBit : 0) | (deleted ? deletedBit : 0) | (whole ? 0 : floatBit);
  const keyBytes = Buffer.from(key);
  const jsonBytes = Buffer.from(json);
  return Buffer.concat([
    Buffer.of(bits),
    whole ? varint(version) : float(version),
    varint(keyBytes.length),
    keyBytes,
    varint(jsonBytes.length),
    jsonBytes,
  ]);
}

function varint(value: number): Buffer {
  const bytes = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function float(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}
