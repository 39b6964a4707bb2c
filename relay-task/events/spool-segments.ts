/**
 * The files of one log in the spool: records are appended to the last one, and the oldest is deleted once everything in it is settled. There
 * is no `fsync`: what was written belongs to the kernel, and survives the end of the process.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { inSlices } from '../common/slices.ts';
import type { Turnstile } from '../common/turnstile.ts';
import { isDeleted, isPassing, readPart, readWhole, writeAt } from './spool-files.ts';
import { type IndexView, settleInPlace } from './spool-in-place.ts';
import { type Entry, eventsOnDisk } from './spool-index.ts';
import {
  encodeRecord,
  type FoundRecord,
  MARKER_BYTES,
  recordAt,
  recordsIn,
  type SpoolRecord,
} from './spool-records.ts';

/** Runs one work after the other. All of a spool is done in one, so that a disk that hangs takes one of Node's few threads. */
export type Lane = Turnstile['run'];

export interface SegmentsOptions {
  /** Undefined while there is none. */
  directory(): string | undefined;
  readonly lane: Lane;
  /** A file that is longer gets no more records. */
  readonly segmentBytes: number;
}

interface Segment {
  readonly number: number;
  readonly path: string;
  readonly marker: Buffer;
  bytes: number;
  /** It could not be read, so later files, which tell what of it is settled, stay as long as it does. */
  isUnread: boolean;
  /** How many batches were written to it, or read from it. */
  batches: number;
  /** Those of them that are not settled, as long as they are not written again elsewhere. */
  readonly live: Set<Entry>;
}

interface InPlaceOptions {
  readonly index: IndexView;
  /** Before each file. */
  mayWrite(): Promise<boolean>;
  /** A file that cannot be read or written. */
  failed(error: unknown): void;
}

interface Piece {
  readonly record: SpoolRecord;
  /** Of a batch. */
  readonly entry: Entry | undefined;
}

interface Place {
  readonly segment: Segment;
  readonly from: number;
  readonly to: number;
}

/** A file with bytes that are no record. */
export interface Damage {
  readonly file: string;
  readonly lostBytes: number;
  readonly isLastRecord: boolean;
  readonly records: number;
}

export interface UnreadableFile {
  readonly file: string;
  readonly error: unknown;
}

/** A file without anything unsettled that has no more is kept, so that files are not made and deleted all the time. */
const IDLE_BYTES = 256 * 1024;
const FILE = /^(\d{8})-([0-9a-f]{16})\.log$/;

export function createSegments({ directory, lane, segmentBytes }: SegmentsOptions) {
  const segments: Segment[] = [];
  /** Of the last one. */
  let file: FileHandle | undefined;
  let bytes = 0;
  /** Where each entry is written. */
  const places = new Map<Entry, Place>();

  function put(entry: Entry, place: Place): void {
    place.segment.batches += 1;
    // Settled meanwhile.
    if (entry.spans.length === 0) return;
    places.get(entry)?.segment.live.delete(entry);
    places.set(entry, place);
    place.segment.live.add(entry);
    entry.state = 'written';
  }

  async function closeFile(): Promise<void> {
    const opened = file;
    file = undefined;
    await opened?.close().catch(() => {});
  }

  async function current(): Promise<{ readonly file: FileHandle; readonly segment: Segment }> {
    const last = segments.at(-1);
    if (file && last && last.bytes < segmentBytes) return { file, segment: last };
    const own = directory();
    if (own === undefined) throw new Error('its directory could not be made');
    const segment = segmentIn(own, (last?.number ?? 0) + 1, randomBytes(MARKER_BYTES));
    const opened = await open(segment.path, 'wx', 0o600);
    await closeFile();
    file = opened;
    segments.push(segment);
    return { file, segment };
  }

  return {
    get bytes() {
      return bytes;
    },
    /** In the lane. The entries of batches are then `written`. Rejects if not all of it is, and then nothing counts as written. */
    async write(records: readonly Piece[]): Promise<void> {
      const { file, segment } = await current();
      const { whole, places: written } = encode(records, segment);
      try {
        await writeAt(file, whole, segment.bytes);
      } catch (error) {
        // Otherwise a restart would send the part that was written, which no later record settles.
        await file.truncate(segment.bytes).catch(() => {});
        throw error;
      }
      segment.bytes += whole.length;
      bytes += whole.length;
      for (const [entry, place] of written) put(entry, place);
    },
    /** Nothing of it is left to be sent. */
    forget(entry: Entry): void {
      places.get(entry)?.segment.live.delete(entry);
      places.delete(entry);
    },
    /**
     * In the lane. Deletes the oldest files, in their order, since a later one tells what is settled in those before it. Returns the first
     * that has something left, unless that is the last of all. `isIdle`: nothing is unsettled, or waits to be written; `failing`: the same,
     * except for records that cannot be written and are about nothing else.
     */
    async clean(isIdle: boolean | 'failing'): Promise<Segment | undefined> {
      const isOver = isIdle === 'failing' || (isIdle && bytes > IDLE_BYTES);
      for (let [oldest] = segments; oldest; [oldest] = segments) {
        const isLast = oldest === segments.at(-1);
        if (oldest.isUnread) return undefined;
        if (oldest.live.size > 0) return isLast ? undefined : oldest;
        if (isLast && !isOver) return undefined;
        if (isLast) await closeFile();
        if (!(await isDeleted(oldest.path))) return undefined;
        segments.shift();
        bytes -= oldest.bytes;
      }
      return undefined;
    },
    /** In the lane. Reads a whole file. Undefined if that is not possible; then a function that finds a batch in it. */
    async read({ path, marker }: Segment) {
      const text = await readWhole(path).catch(() => undefined);
      return text && ((entry: Entry) => batchAt(text, places.get(entry)?.from ?? 0, marker));
    },
    /** Reads one batch. Rejects if that is not possible. */
    async load(entry: Entry) {
      const place = places.get(entry);
      if (!place) throw new Error('it is not in the spool any more');
      const { segment, from, to } = place;
      const batch = batchAt(await lane(() => readPart(segment.path, from, to)), 0, segment.marker);
      if (!batch) throw new Error(`${segment.path} is damaged at byte ${from}`);
      return batch;
    },
    /** Reads the files that another process has left. `read`: returns the entry of a batch. */
    async adopt(read: (record: SpoolRecord) => Entry | undefined) {
      const { logs, foreign } = await lane(() => filesIn(directory() ?? ''));
      const damage: Damage[] = [];
      const unreadable: UnreadableFile[] = [];
      for (const segment of logs) {
        const text = await lane(() => readWhole(segment.path)).catch((error: unknown) => {
          unreadable.push({ file: segment.path, error });
          segment.isUnread = isPassing(error);
        });
        if (text || segment.isUnread) segments.push(segment);
        if (!text) continue;
        segment.bytes = text.length;
        bytes += text.length;
        const take = ({ record, from, to }: FoundRecord) => {
          const entry = read(record);
          if (entry) put(entry, { segment, from, to });
        };
        damage.push(await readAll(text, segment, take));
      }
      return { damage: damage.filter(({ lostBytes }) => lostBytes > 0), unreadable, foreign };
    },
    /** In the lane. Tells what is settled without a new record. */
    async settleInPlace({ index, mayWrite, failed }: InPlaceOptions): Promise<void> {
      for (const segment of segments.filter(hasSettled)) {
        const entries = new Map(Array.from(segment.live, (entry) => [places.get(entry)?.from, entry]));
        const records: FoundRecord[] = [];
        if (!(await mayWrite())) return;
        try {
          await readAll(await readWhole(segment.path), segment, (found) => records.push(found));
          await settleInPlace({ ...segment, records, entryAt: (from) => entries.get(from) }, index);
        } catch (error) {
          failed(error);
        }
      }
    },
    /** Some of what it held may still come. */
    get hasUnread() {
      return segments.some(({ isUnread }) => isUnread);
    },
    /** In the lane. What was written is on the disk, or on the file server. */
    async sync(): Promise<void> {
      await file?.datasync();
    },
    close: () => lane(closeFile),
    /** Deletes them and their directory. What is not ours stays. */
    async remove(): Promise<void> {
      await lane(async () => {
        await closeFile();
        for (const { path } of segments.splice(0)) await unlink(path).catch(() => {});
        const own = directory();
        // What is in it and not ours keeps it.
        if (own !== undefined) await rmdir(own).catch(() => {});
      });
      bytes = 0;
    },
  };
}

/** Whether something in it is settled. */
function hasSettled({ batches, live }: Segment): boolean {
  return live.size < batches || [...live].some((entry) => eventsOnDisk(entry) < entry.events);
}

/** Its name tells its number and its marker. */
function segmentIn(directory: string, number: number, marker: Buffer): Segment {
  const path = join(directory, `${String(number).padStart(8, '0')}-${marker.toString('hex')}.log`);
  return { path, number, marker, bytes: 0, isUnread: false, batches: 0, live: new Set() };
}

/** Segments, the oldest first, and the names of files that are none. */
async function filesIn(directory: string) {
  const files = (await readdir(directory, { withFileTypes: true })).filter((one) => one.isFile());
  const names = files.map(({ name }) => name);
  const logs = names.toSorted().flatMap((name) => {
    const [, number, marker] = FILE.exec(name) ?? [];
    return marker === undefined ? [] : [segmentIn(directory, Number(number), Buffer.from(marker, 'hex'))];
  });
  return { logs, foreign: names.filter((name) => !FILE.test(name)) };
}

/** The bytes that follow those of the file, and where the entries then are. */
function encode(pieces: readonly Piece[], segment: Segment) {
  const places: (readonly [Entry, Place])[] = [];
  const buffers: Buffer[] = [];
  let at = segment.bytes;
  for (const { record, entry } of pieces) {
    const from = at;
    for (const buffer of encodeRecord(record, segment.marker)) {
      buffers.push(buffer);
      at += buffer.length;
    }
    if (entry) places.push([entry, { segment, from, to: at }]);
  }
  return { whole: Buffer.concat(buffers), places };
}

/** `take`: gets every record. */
async function readAll(text: Buffer, { path, marker }: Segment, take: (found: FoundRecord) => void): Promise<Damage> {
  let [lostBytes, isLastRecord, records] = [0, false, 0];
  function* steps(): Generator<void, void> {
    for (const found of recordsIn(text, marker)) {
      if ('record' in found) {
        records += 1;
        take(found);
      } else {
        lostBytes += found.to - found.from;
        isLastRecord = found.isLast;
      }
      yield;
    }
  }
  await inSlices(steps());
  return { file: path, lostBytes, isLastRecord, records };
}

function batchAt(text: Buffer, from: number, marker: Buffer) {
  const record = recordAt(text, from, marker)?.record;
  return record?.kind === 'batch' ? record : undefined;
}
