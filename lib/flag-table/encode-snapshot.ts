/**
 * The items that the writer puts. Order matters: parts, body, delta, head. Each put is conditional on an older `rev` (compared
 * as a string), the head's on owner and epoch. A rev must never be used for two contents, even if the first put failed.
 */
import { type Attributes, readBytes } from './attributes.ts';
import { type Block, decodeBlocks } from './blocks.ts';
import { BLOCK_TARGET_BYTES, chooseBlockCount, encodeBlocks } from './encode-blocks.ts';
import { SNAPSHOT_FORMAT } from './head.ts';
import type { Item } from './item.ts';
import { namespaces } from './namespaces.ts';
import { compareRev, formatRev, type Rev } from './rev.ts';
import { MAX_PARTS, partKey, sealBodyInSlices, sealDelta } from './snapshot-format.ts';
import { createYield, type Yield } from './yield.ts';

/** Limit for the data of one item: with the other attributes, well below DynamoDB's 409,600 bytes. */
export const BODY_DATA_LIMIT_BYTES = 390_000;
/** If a delta's data exceeds this, write a body instead. With the other attributes it fits in 32 KiB: 4 read units. */
export const DELTA_LIMIT_BYTES = 32_000;
/** JSON of flags shrinks to a tenth or so, never to a hundredth. */
const DELTA_JSON_LIMIT = 4 * 1024 * 1024;

export interface EncodedBody {
  /** Put this after all parts. */
  body: Attributes;
  parts: Attributes[];
  /** Stored bytes of data in body and parts together. */
  bytes: number;
  itemCount: number;
}

/**
 * Encodes the whole set of items, tombstones included. Readers that already hold `rev` do not need the body: deltas apply to
 * what they have. So write the body for the last published state, with its rev, and then the change as a delta.
 *
 * @param options.previous the body that this one replaces; keeps the number of blocks and the bytes of unchanged blocks
 * @param options.source whose data it is, see `Snapshot`
 * @param options.yieldNow awaited often; by default it lets the event loop turn every 5 ms
 * @param options.limits lower limits, for tests: bytes of data in one item, and of JSON in one block
 * @throws RangeError when the items exceed the readers' limits: 128 MiB of JSON, or 25 MB compressed
 */
export async function encodeBody(options: {
  prefix: string;
  items: Iterable<Item>;
  rev: Rev;
  bank: 0 | 1;
  source?: string | undefined;
  previous?: EncodedBody | undefined;
  yieldNow?: Yield;
  limits?: { dataBytes: number; blockBytes: number };
}): Promise<EncodedBody> {
  const { rev, bank, limits = { dataBytes: BODY_DATA_LIMIT_BYTES, blockBytes: BLOCK_TARGET_BYTES } } = options;
  const namespace = { S: namespaces(options.prefix).snapshot };
  const previous = options.previous && blocksOf(options.previous);
  const { yieldNow = createYield() } = options;
  const { data, itemCount } = await encodeBlocks(
    options.items,
    (totalBytes) => chooseBlockCount(totalBytes, previous?.length, limits.blockBytes),
    yieldNow,
    previous,
  );
  const pieces: Buffer[] = [];
  for (let at = 0; at < data.length; at += limits.dataBytes) {
    pieces.push(data.subarray(at, at + limits.dataBytes));
  }
  const [first, ...rest] = pieces;
  if (rest.length > MAX_PARTS) {
    throw new RangeError(
      `a snapshot of ${data.length} compressed bytes exceeds the ${MAX_PARTS} parts that readers accept`,
    );
  }
  const text = formatRev(rev);
  return {
    body: {
      namespace,
      key: { S: 'body' },
      format: { N: String(SNAPSHOT_FORMAT) },
      rev: { S: text },
      bank: { N: String(bank) },
      ...sourceOf(options),
      parts: { N: String(rest.length) },
      sha256: { B: await sealBodyInSlices({ rev, bank, parts: rest.length, data }, yieldNow) },
      data: { B: first! },
    },
    parts: rest.map((piece, i) => ({ namespace, key: { S: partKey(bank, i) }, rev: { S: text }, data: { B: piece } })),
    bytes: data.length,
    itemCount,
  };
}

/**
 * Encodes every item that differs from the body of revision `base`, tombstones included. An item that disappeared without a
 * tombstone cannot be expressed in a delta: write a body.
 *
 * @returns undefined when it would exceed `DELTA_LIMIT_BYTES`, or so probably does that it is not tried (4 MiB of JSON)
 * @throws RangeError when `rev` is not newer than `base`
 */
export async function encodeDelta(options: {
  prefix: string;
  items: Iterable<Item>;
  rev: Rev;
  base: Rev;
  source?: string | undefined;
  yieldNow?: Yield;
}): Promise<Attributes | undefined> {
  const { rev, base, yieldNow = createYield() } = options;
  if (compareRev(rev, base) <= 0) {
    throw new RangeError(
      `a delta of revision ${formatRev(rev)} cannot apply to ${formatRev(base)}: it must be newer than its base`,
    );
  }
  const items = [...options.items];
  if (items.reduce((sum, { json }) => sum + json.length, 0) > DELTA_JSON_LIMIT) return undefined;
  const { data } = await encodeBlocks(items, () => 1, yieldNow);
  if (data.length > DELTA_LIMIT_BYTES) return undefined;
  return {
    namespace: { S: namespaces(options.prefix).snapshot },
    key: { S: 'delta' },
    format: { N: String(SNAPSHOT_FORMAT) },
    rev: { S: formatRev(rev) },
    base: { S: formatRev(base) },
    ...sourceOf(options),
    sha256: { B: sealDelta(rev, base, data) },
    data: { B: data },
  };
}

function sourceOf({ source }: { readonly source?: string | undefined }): Attributes {
  return source === undefined ? {} : { source: { S: source } };
}

function blocksOf({ body, parts }: EncodedBody): readonly Block[] | undefined {
  const pieces = [body, ...parts].map((attributes) => readBytes(attributes, 'data') ?? Buffer.alloc(0));
  const blocks = decodeBlocks(Buffer.concat(pieces));
  return typeof blocks === 'string' ? undefined : blocks;
}
