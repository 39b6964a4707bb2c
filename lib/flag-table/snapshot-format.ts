/**
 * The format of the snapshot, shared by writer and reader. All items are in the namespace `<prefix>:$snapshot`:
 *
 *     key                attributes
 *     head               see head.ts
 *     body               format N, rev S, bank N, parts N, sha256 B, data B (at most 390,000 bytes)
 *     part.<bank>.<i>    rev S, data B: continues the body's data, i from 0 to parts - 1
 *     delta              format N, rev S, base S, sha256 B, data B
 *
 * Readers poll head and delta with one query from `delta` to `head`, so no key may come between these two.
 *
 * sha256 covers one line of text that repeats the other attributes (`seal…` below), then data, then the data of all parts in
 * order. So it detects attributes and data of different revisions as well as flipped bits.
 *
 * data, integers little-endian:
 *
 *     u32                number of blocks n, a power of two
 *     u32                bytes of the dictionary, 0 for none
 *     n × (u32, u32)     stored bytes, inflated bytes of each block; a block without items is 0, 0
 *     …                  the dictionary, deflated (RFC 1951)
 *     …                  the blocks, each deflated separately with that dictionary
 *
 * An inflated block is a sequence of items, in order of kind and key:
 *
 *     u8                 1: a segment (else a flag) | 2: a tombstone | 4: version is an f64 (else a varint)
 *     varint or f64      version
 *     varint, bytes      key, UTF-8
 *     varint, bytes      JSON, UTF-8
 *
 * Varints are little-endian groups of 7 bits, as in protocol buffers. `blockIndex` determines the block of an item.
 */
import { createHash } from 'node:crypto';
import { SNAPSHOT_FORMAT } from './head.ts';
import type { Kind } from './item.ts';
import { formatRev, type Rev } from './rev.ts';
import type { Yield } from './yield.ts';

/** Readers refuse more parts: about 25 MB stored, more than any environment that fits in a reader's memory. */
export const MAX_PARTS = 63;
/** Readers refuse data whose header declares more than this in total, even if the hash is right. */
export const MAX_INFLATED_BYTES = 128 * 1024 * 1024;
/** Deflate's window: a longer dictionary has no effect. */
export const MAX_DICTIONARY_BYTES = 32_768;
export const MAX_BLOCKS = 4096;

export const kindBit = 1;
export const deletedBit = 2;
export const floatBit = 4;

/** FNV-1a over UTF-16 units with a final mix, since FNV's low bits alone distribute short keys badly. */
export function blockIndex(kind: Kind, key: string, blockCount: number): number {
  let hash = kind === 'features' ? 0x811c9dc5 : 0x2c1b3c6d;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) & (blockCount - 1);
}

export function sealBody(rev: Rev, bank: number, parts: number, data: Uint8Array): Buffer {
  return seal(bodyLine(rev, bank, parts), data);
}

function bodyLine(rev: Rev, bank: number, parts: number): string {
  return `body ${SNAPSHOT_FORMAT} ${formatRev(rev)} ${bank} ${parts}\n`;
}

/** As `sealBody`, for a body of many MB. */
export async function sealBodyInSlices(
  { rev, bank, parts, data }: { rev: Rev; bank: number; parts: number; data: Uint8Array },
  yieldNow: Yield,
): Promise<Buffer> {
  const sliceBytes = 1024 * 1024;
  const hash = createHash('sha256').update(bodyLine(rev, bank, parts));
  for (let at = 0; at < data.length; at += sliceBytes) {
    hash.update(data.subarray(at, at + sliceBytes));
    await yieldNow();
  }
  return hash.digest();
}

export function sealDelta(rev: Rev, base: Rev, data: Uint8Array): Buffer {
  return seal(`delta ${SNAPSHOT_FORMAT} ${formatRev(rev)} ${formatRev(base)}\n`, data);
}

function seal(line: string, data: Uint8Array): Buffer {
  return createHash('sha256').update(line).update(data).digest();
}

export function partKey(bank: number, index: number): string {
  return `part.${bank}.${index}`;
}
