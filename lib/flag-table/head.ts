/** The head of a snapshot: pointer and lease in one item below 1 KB, so that a poll costs half a read unit. */
import { type Attributes, readNumber, readText } from './attributes.ts';
import { namespaces } from './namespaces.ts';
import { formatRev, parseRev, type Rev } from './rev.ts';

/** The format of all items of the snapshot. Readers refuse any other number, so a new format needs other sort keys. */
export const SNAPSHOT_FORMAT = 1;

/** What readers of flags need of it. */
export interface HeadPointer {
  /** The last published revision; undefined before the first publication. */
  rev?: Rev;
  /** The revision of the body that `rev` is based on. */
  base?: Rev;
  /** Unix ms: when the writer last confirmed that its memory is current with upstream. */
  checkedAt: number;
}

export interface Head extends HeadPointer {
  format: number;
  /** The holder of the lease; empty if it was released. */
  owner: string;
  /** The owner's term. */
  epoch: number;
  /** Increases with every renewal of the lease. */
  beat: number;
  counts?: { flags: number; segments: number; deleted: number };
}

/** Attributes: format, epoch, beat, checkedAt (N), owner, rev, base (S), counts (M of N). */
export function encodeHead(prefix: string, head: Head): Attributes {
  const attributes: Attributes = {
    namespace: { S: namespaces(prefix).snapshot },
    key: { S: 'head' },
    format: { N: String(head.format) },
    owner: { S: head.owner },
    epoch: { N: String(head.epoch) },
    beat: { N: String(head.beat) },
    checkedAt: { N: String(head.checkedAt) },
  };
  if (head.rev) attributes.rev = { S: formatRev(head.rev) };
  if (head.base) attributes.base = { S: formatRev(head.base) };
  if (head.counts) {
    const { flags, segments, deleted } = head.counts;
    attributes.counts = {
      M: { flags: { N: String(flags) }, segments: { N: String(segments) }, deleted: { N: String(deleted) } },
    };
  }
  return attributes;
}

/** The head without its counts, or the reason why it is invalid. */
export function decodeHead(attributes: Attributes): Head | { problem: string } {
  const pointer = decodeHeadPointer(attributes);
  if ('problem' in pointer) return pointer;
  const owner = readText(attributes, 'owner');
  const epoch = readNumber(attributes, 'epoch');
  const beat = readNumber(attributes, 'beat');
  return owner === undefined || epoch === undefined || beat === undefined
    ? { problem: 'head: owner, epoch or beat is missing' }
    : { format: SNAPSHOT_FORMAT, owner, epoch, beat, ...pointer };
}

/** The part of the head that readers of flags need, or the reason why it is invalid. */
export function decodeHeadPointer(attributes: Attributes): HeadPointer | { problem: string } {
  const format = readNumber(attributes, 'format');
  if (format !== SNAPSHOT_FORMAT) return { problem: wrongFormat('head', format) };
  const checkedAt = readNumber(attributes, 'checkedAt');
  if (checkedAt === undefined) return { problem: 'head: checkedAt is missing' };
  const pointer: HeadPointer = { checkedAt };
  for (const name of ['rev', 'base'] as const) {
    if (attributes[name] === undefined) continue;
    const rev = parseRev(readText(attributes, name));
    if (rev === undefined) return { problem: `head: malformed ${name}` };
    pointer[name] = rev;
  }
  return pointer;
}

export function wrongFormat(item: string, format: number | undefined): string {
  return `${item}: unknown format ${format}, expected ${SNAPSHOT_FORMAT}`;
}

/** The counts, which are informational: readers of flags do not need them. Undefined if malformed. */
export function decodeCounts(attributes: Attributes): Head['counts'] {
  const counts = (attributes.counts as { M?: Attributes } | undefined)?.M;
  if (typeof counts !== 'object' || counts === null) return undefined;
  const flags = readNumber(counts, 'flags');
  const segments = readNumber(counts, 'segments');
  const deleted = readNumber(counts, 'deleted');
  if (flags === undefined || segments === undefined || deleted === undefined) return undefined;
  return { flags, segments, deleted };
}
