/**
 * The records of a log in the spool, as bytes. A file has nothing but records, so that a damaged one costs only itself: each begins with the
 * marker in the file's name, which no client can know and so none can put into an event.
 */
import { createHash } from 'node:crypto';
import { isObject } from '../common/json.ts';

/** A range of the events of one batch. */
export interface EventRange {
  /** The batch, by its number in the log. */
  readonly id: number;
  readonly first: number;
  readonly events: number;
}

/** What is known of a batch besides its bytes. */
export interface BatchHead {
  readonly id: number;
  /** When it was taken in, Unix ms. */
  readonly at: number;
  readonly events: number;
  readonly sender: string;
  /** JSON: which queue of which credential it belongs to. */
  readonly queue: string;
}

export interface BatchRecord {
  readonly kind: 'batch';
  readonly head: BatchHead;
  /** The JSON texts of its events, joined by commas. */
  readonly bytes: Buffer;
}

export type SpoolRecord =
  | BatchRecord
  /** These events are sent under this ID from now on; '' if under none. */
  | { readonly kind: 'assigned'; readonly payload: string; readonly ranges: readonly EventRange[] }
  /** Delivered or dropped. */
  | { readonly kind: 'settled'; readonly ranges: readonly EventRange[] }
  /** A request body was taken in to its end. */
  | { readonly kind: 'body'; readonly queue: string; readonly id: string };

/** A record and where it is in its file. */
export interface FoundRecord {
  readonly record: SpoolRecord;
  readonly from: number;
  readonly to: number;
}

/** Bytes that are no record. */
interface DamagedBytes {
  readonly from: number;
  readonly to: number;
  /** Nothing follows, so writing may have been interrupted. */
  readonly isLast: boolean;
}

export const MARKER_BYTES = 8;
const LENGTH_BYTES = 4;
/** Of SHA-256; unlike a CRC it also tells that nothing was altered on purpose. */
const DIGEST_BYTES = 8;
const PREFIX_BYTES = MARKER_BYTES + LENGTH_BYTES + DIGEST_BYTES;
/** Of a batch: how long its head is. */
const HEAD_LENGTH_BYTES = 4;

const KINDS = ['batch', 'assigned', 'settled', 'body'] as const satisfies readonly SpoolRecord['kind'][];

/** Estimated memory of a record besides its texts. */
const RECORD_BYTES = 128;
const RANGE_BYTES = 16;

/** Estimated. */
export function sizeOf(record: SpoolRecord): number {
  if (record.kind === 'batch')
    return RECORD_BYTES + record.bytes.length + record.head.queue.length + record.head.sender.length;
  return RECORD_BYTES + ('ranges' in record ? record.ranges.length * RANGE_BYTES : record.queue.length);
}

/**
 * The buffers of a record, to be written one after the other: the bytes of events are not copied. `padBytes`: it is longer by so many; each
 * body ends in JSON, after which spaces mean nothing.
 */
export function encodeRecord(record: SpoolRecord, marker: Buffer, padBytes = 0): readonly Buffer[] {
  const parts = [...bodyOf(record), Buffer.alloc(padBytes, ' ')];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  marker.copy(prefix);
  prefix.writeUInt32BE(length, MARKER_BYTES);
  digestOf(parts).copy(prefix, MARKER_BYTES + LENGTH_BYTES);
  return [prefix, ...parts];
}

function bodyOf(record: SpoolRecord): readonly Buffer[] {
  if (record.kind !== 'batch') {
    const { kind, ...rest } = record;
    const told =
      'ranges' in rest ? { ...rest, ranges: rest.ranges.map(({ id, first, events }) => [id, first, events]) } : rest;
    return [kindByte(kind), Buffer.from(JSON.stringify(told))];
  }
  const { id, at, events, sender, queue } = record.head;
  const head = Buffer.from(JSON.stringify([id, at, events, sender, queue]));
  const length = Buffer.allocUnsafe(1 + HEAD_LENGTH_BYTES);
  length.writeUInt8(KINDS.indexOf('batch'));
  length.writeUInt32BE(head.length, 1);
  return [length, head, record.bytes];
}

const kindByte = (kind: SpoolRecord['kind']) => Buffer.from([KINDS.indexOf(kind)]);

function digestOf(parts: readonly Buffer[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest().subarray(0, DIGEST_BYTES);
}

/** Every record of a file, and what is damaged between them. In steps, since a file has megabytes. */
export function* recordsIn(file: Buffer, marker: Buffer): Generator<FoundRecord | DamagedBytes, void> {
  let at = 0;
  while (at < file.length) {
    const found = recordAt(file, at, marker);
    const to = found?.to ?? nextRecord(file, at + 1, marker);
    yield found ?? { from: at, to, isLast: to === file.length };
    at = to;
  }
}

function nextRecord(file: Buffer, from: number, marker: Buffer): number {
  for (let at = file.indexOf(marker, from); at >= 0; at = file.indexOf(marker, at + 1))
    if (recordAt(file, at, marker)) return at;
  return file.length;
}

/** Undefined if there is none that is whole. The bytes of a batch are a part of the file's. */
export function recordAt(file: Buffer, from: number, marker: Buffer): FoundRecord | undefined {
  const begin = from + PREFIX_BYTES;
  if (begin > file.length || !file.subarray(from, from + MARKER_BYTES).equals(marker)) return undefined;
  const to = begin + file.readUInt32BE(from + MARKER_BYTES);
  if (to > file.length) return undefined;
  const body = file.subarray(begin, to);
  if (!digestOf([body]).equals(file.subarray(begin - DIGEST_BYTES, begin))) return undefined;
  const record = parseBody(body);
  return record && { record, from, to };
}

/** Undefined if this version does not know it. */
function parseBody(body: Buffer): SpoolRecord | undefined {
  const kind = KINDS[body[0] ?? -1];
  try {
    if (kind === 'batch') {
      const begin = 1 + HEAD_LENGTH_BYTES;
      const end = begin + body.readUInt32BE(1);
      const [id, at, events, sender, queue] = JSON.parse(body.toString('utf8', begin, end));
      return { kind, head: { id, at, events, sender, queue }, bytes: body.subarray(end) };
    }
    const told: unknown = JSON.parse(body.toString('utf8', 1));
    if (!isObject(told) || kind === undefined) return undefined;
    if (kind === 'body') return { kind, queue: String(told.queue), id: String(told.id) };
    const ranges = (told.ranges as [number, number, number][]).map(([id, first, events]) => ({ id, first, events }));
    return kind === 'settled' ? { kind, ranges } : { kind, payload: String(told.payload), ranges };
  } catch {
    return undefined;
  }
}
