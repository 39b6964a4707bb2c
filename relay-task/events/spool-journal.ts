/**
 * One log in the spool: a directory with files to which records are appended, and of which the oldest is deleted once everything in it is
 * settled. What stays unsettled for long is written again, so that it does not keep what came after it. There is no `fsync`: what was written
 * belongs to the kernel, and survives the end of the process.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, readFile, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Budget } from '../common/budget.ts';
import { inSlices } from '../common/slices.ts';
import { type Contents, createIndex, type Entry, type Kept } from './spool-index.ts';
import { encodeRecord, MARKER_BYTES, recordAt, recordsIn, type SpoolRecord } from './spool-records.ts';
import { createWaits } from './spool-waits.ts';

/** Runs one work after the other. All of a spool is done in one, so that a disk that hangs takes one of Node's few threads. */
export type Lane = <T>(work: () => Promise<T>) => Promise<T>;

export function createLane(): Lane {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work);
    last = done.catch(() => {});
    return done;
  };
}

export interface Journal {
  /** Of its files. */
  readonly bytes: number;
  /** What is not settled, the oldest first. */
  readonly entries: ReadonlySet<Entry>;
  /** `full`: the share has no room for it; `slow`: too much is waiting to be written. */
  keep(batch: NewBatch, share: Budget): Entry | 'full' | 'slow';
  /** A body of this queue was taken in to its end. */
  body(queue: string, id: string): void;
  /** The events are sent under this ID from now on; '' if under none. */
  assign(kept: readonly Kept[], payload: string): void;
  settle(kept: readonly Kept[]): void;
  /** The bytes and the sender of a batch. Rejects if they cannot be read. */
  load(entry: Entry): Promise<{ readonly bytes: Buffer; readonly sender: string }>;
  /** Resolves when everything until now is written, or could not be; soon if writing takes long. */
  written(): Promise<void>;
  /** Tries again to write what is waiting. */
  proceed(): void;
  /** Another process has taken it over, so nothing more is written. `knows`: it has read this entry. */
  abandon(knows: (entry: Entry) => boolean): void;
  /** Reads what another process has left. */
  adopt(): Promise<Adopted>;
  /** Resolves when everything is written, or cannot be. */
  close(): Promise<void>;
  /** Deletes its files and its directory. What is not ours stays. */
  remove(): Promise<void>;
}

interface NewBatch {
  /** JSON: which queue of which credential it belongs to. */
  readonly queue: string;
  readonly sender: string;
  readonly bytes: Buffer;
  readonly events: number;
}

/** What a journal held when it was adopted. */
export interface Adopted extends Pick<Contents, 'queues' | 'bodies'> {
  /** One for each file with bytes that are no record. */
  readonly damage: readonly {
    readonly file: string;
    readonly lostBytes: number;
    readonly isLastRecord: boolean;
    readonly records: number;
  }[];
  /** Files of its directory that are none of its own. */
  readonly foreign: readonly string[];
}

export interface JournalOptions {
  /** Undefined while there is none. */
  directory(): string | undefined;
  readonly lane: Lane;
  /** A file that is longer gets no more records. */
  readonly segmentBytes: number;
  /** More bytes that are of no use are worth writing the others again. */
  readonly wasteBytes: number;
  readonly lateMs: number;
  /** Before a group of records is written. False: not now. */
  mayWrite(): Promise<boolean>;
  /** Events whose bytes may not be on the disk when their sender is told that they were accepted. */
  unkept(events: number, reason: 'slow' | 'failed', error?: unknown): void;
  /** Records are written again, and in time. */
  recovered(): void;
}

interface Segment {
  readonly number: number;
  readonly path: string;
  readonly marker: Buffer;
  bytes: number;
  /** What is in it and not settled. */
  readonly live: Set<Entry>;
}

interface Place {
  readonly segment: Segment;
  readonly from: number;
  readonly to: number;
}

interface Piece {
  readonly record: SpoolRecord;
  readonly entry: Entry | undefined;
  readonly number: number;
  readonly bytes: number;
}

/** What one write takes. */
const GROUP_BYTES = 1024 * 1024;
/** Beyond this, batches are not kept … */
const MOST_WAITING_BYTES = 4 * 1024 * 1024;
/** … and beyond this, nothing is. */
const MOST_WAITING_AT_ALL_BYTES = 8 * 1024 * 1024;
/** An empty journal that has no more keeps its file, so that files are not made and deleted all the time. */
const IDLE_BYTES = 256 * 1024;
/** Estimated bytes of a record besides its texts. */
const RECORD_BYTES = 128;
const RANGE_BYTES = 16;
const FILE = /^(\d{8})-([0-9a-f]{16})\.log$/;

export function createJournal(options: JournalOptions): Journal {
  const { lane } = options;
  let pending: Piece[] = [];
  let pendingBytes = 0;
  let bytes = 0;
  let appended = 0;
  let passed = 0;
  let file: FileHandle | undefined;
  let committing: Promise<void> | undefined;
  let isAbandoned = false;
  let isFailing = false;
  const segments: Segment[] = [];
  /** Where each entry is written. */
  const places = new Map<Entry, Place>();
  const rewritten = new Set<Entry>();
  const index = createIndex((entry) => {
    places.get(entry)?.segment.live.delete(entry);
    places.delete(entry);
  });
  const { entries } = index;
  const waits = createWaits(options.lateMs, () => {
    options.unkept(
      pending.reduce((sum, { entry }) => sum + (entry?.state === 'pending' ? entry.events : 0), 0),
      'slow',
    );
  });

  function append(record: SpoolRecord, entry?: Entry): void {
    const size = sizeOf(record);
    if (isAbandoned || pendingBytes + size > MOST_WAITING_AT_ALL_BYTES) return;
    appended += 1;
    pending.push({ record, entry, number: appended, bytes: size });
    pendingBytes += size;
    void commit();
  }

  async function commit(): Promise<void> {
    if (pending.length > 0 && !isAbandoned) committing ??= writeAll();
    await committing;
  }

  async function writeAll(): Promise<void> {
    // In the lane: what comes in before its turn is in the same write.
    while (pending.length > 0 && !isAbandoned) if (!(await lane(writeGroup))) break;
    committing = undefined;
  }

  /** False: it could not be written. */
  async function writeGroup(): Promise<boolean> {
    if (!(await options.mayWrite()) || isAbandoned) return false;
    const group = takeGroup();
    const wasFailing = isFailing;
    try {
      await write(group);
      isFailing = false;
    } catch (error) {
      isFailing = true;
      fail(group, error);
    }
    passed = Math.max(passed, group.at(-1)?.number ?? 0);
    const isInTime = waits.passed(passed, pending.length === 0);
    if (!isFailing && (isInTime || wasFailing)) options.recovered();
    if (!isFailing) await clean();
    return !isFailing;
  }

  function takeGroup(): Piece[] {
    let size = 0;
    let count = 0;
    while (count < pending.length && size < GROUP_BYTES) size += pending[count++]?.bytes ?? 0;
    pendingBytes -= size;
    return pending.splice(0, count);
  }

  async function write(group: readonly Piece[]): Promise<void> {
    const segment = await currentSegment();
    const written: (readonly [Entry, Place])[] = [];
    const buffers: Buffer[] = [];
    let at = segment.bytes;
    for (const { record, entry } of group) {
      const from = at;
      for (const buffer of encodeRecord(record, segment.marker)) {
        buffers.push(buffer);
        at += buffer.length;
      }
      if (entry) written.push([entry, { segment, from, to: at }]);
    }
    const whole = Buffer.concat(buffers);
    // At its place, so that a part of a record that could not be written is overwritten by the next one.
    for (let done = 0; done < whole.length; ) {
      done += (await file!.write(whole, done, whole.length - done, segment.bytes + done)).bytesWritten;
    }
    segment.bytes += whole.length;
    bytes += whole.length;
    for (const [entry, place] of written) put(entry, place);
  }

  function put(entry: Entry, place: Place): void {
    rewritten.delete(entry);
    if (!entries.has(entry)) return;
    places.get(entry)?.segment.live.delete(entry);
    places.set(entry, place);
    place.segment.live.add(entry);
    entry.state = 'written';
  }

  async function currentSegment(): Promise<Segment> {
    const last = segments.at(-1);
    if (file && last && last.bytes < options.segmentBytes) return last;
    const directory = options.directory();
    if (directory === undefined) throw new Error('its directory could not be made');
    const marker = randomBytes(MARKER_BYTES);
    const number = (last?.number ?? 0) + 1;
    const path = join(directory, `${String(number).padStart(8, '0')}-${marker.toString('hex')}.log`);
    const opened = await open(path, 'wx', 0o600);
    await closeFile();
    file = opened;
    const segment = { number, path, marker, bytes: 0, live: new Set<Entry>() };
    segments.push(segment);
    return segment;
  }

  /** Batches are not tried again, since their senders have been answered. */
  function fail(group: readonly Piece[], error: unknown): void {
    let events = 0;
    const again = group.filter(({ entry }) => !entry);
    for (const { entry } of group) {
      if (entry?.state === 'pending') {
        events += entry.events;
        index.forget(entry, 'lost');
      } else if (entry) rewritten.delete(entry);
    }
    pending = [...again, ...pending];
    pendingBytes += again.reduce((sum, piece) => sum + piece.bytes, 0);
    options.unkept(events, 'failed', error);
  }

  /** Deletes the oldest files, in their order, since a later one tells what is settled in those before it. */
  async function clean(): Promise<void> {
    const isIdle = entries.size === 0 && pending.length === 0 && bytes > IDLE_BYTES;
    for (let [oldest] = segments; oldest; [oldest] = segments) {
      const isCurrent = oldest === segments.at(-1);
      if (oldest.live.size > 0) return isCurrent ? undefined : rewrite(oldest);
      if (isCurrent && !isIdle) return;
      if (isCurrent) await closeFile();
      await unlink(oldest.path).catch(() => {});
      segments.shift();
      bytes -= oldest.bytes;
    }
  }

  async function rewrite(segment: Segment): Promise<void> {
    const { wasteBytes } = options;
    if (bytes - index.bytes <= Math.max(wasteBytes, Math.min(index.bytes, 2 * wasteBytes))) return;
    const text = await readFile(segment.path).catch(() => undefined);
    if (!text) return;
    for (const entry of segment.live) {
      if (pendingBytes > MOST_WAITING_BYTES) return;
      const found = rewritten.has(entry) ? undefined : recordAt(text, places.get(entry)?.from ?? 0, segment.marker);
      if (found?.record.kind !== 'batch') continue;
      rewritten.add(entry);
      // A copy: a part would keep the whole file in memory.
      append({ ...found.record, bytes: Buffer.from(found.record.bytes) }, entry);
      for (const record of index.stateOf(entry)) append(record);
    }
  }

  async function closeFile(): Promise<void> {
    const opened = file;
    file = undefined;
    await opened?.close().catch(() => {});
  }

  async function readSegment(directory: string, name: string, contents: Contents) {
    const [, number, marker = ''] = FILE.exec(name) ?? [];
    const path = join(directory, name);
    const text = await lane(() => readFile(path));
    const segment = {
      number: Number(number),
      path,
      marker: Buffer.from(marker, 'hex'),
      bytes: text.length,
      live: new Set<Entry>(),
    };
    segments.push(segment);
    bytes += text.length;
    const damage = { file: path, lostBytes: 0, isLastRecord: false, records: 0 };
    function* read(): Generator<void, void> {
      for (const found of recordsIn(text, segment.marker)) {
        if ('record' in found) {
          damage.records += 1;
          const entry = index.read(found.record, sizeOf(found.record), journal, contents);
          if (entry) put(entry, { segment, from: found.from, to: found.to });
        } else {
          damage.lostBytes += found.to - found.from;
          damage.isLastRecord = found.isLast;
        }
        yield;
      }
    }
    await inSlices(read());
    return damage;
  }

  const journal: Journal = {
    get bytes() {
      return bytes;
    },
    entries,
    keep({ queue, sender, bytes: text, events }, share) {
      const record = {
        kind: 'batch',
        head: { id: index.nextId(), at: Date.now(), events, sender, queue },
        bytes: text,
      } as const;
      const size = sizeOf(record);
      if (isAbandoned || pendingBytes + size > MOST_WAITING_BYTES) return 'slow';
      if (!share.reserve(size)) return 'full';
      const entry = index.add(record.head, size, journal, share);
      append(record, entry);
      if (waits.isLate) options.unkept(events, 'slow');
      return entry;
    },
    body: (queue, id) => append({ kind: 'body', queue, id }),
    assign(kept, payload) {
      const ranges = index.assign(kept, payload);
      if (ranges.length > 0) append({ kind: 'assigned', payload, ranges });
    },
    settle(kept) {
      const ranges = index.settle(kept);
      if (ranges.length > 0) append({ kind: 'settled', ranges });
    },
    async load(entry) {
      const place = places.get(entry);
      if (!place) throw new Error('it is not in the spool any more');
      const { segment, from, to } = place;
      const text = await lane(() => readPart(segment.path, from, to));
      const record = recordAt(text, 0, segment.marker)?.record;
      if (record?.kind !== 'batch') throw new Error(`${segment.path} is damaged at byte ${from}`);
      return { bytes: record.bytes, sender: record.head.sender };
    },
    written: () => waits.until(appended, passed),
    proceed: () => void commit(),
    abandon(knows) {
      isAbandoned = true;
      pending = [];
      pendingBytes = 0;
      waits.passed(Infinity, true);
      for (const entry of entries) index.forget(entry, entry.state === 'written' && knows(entry) ? 'taken' : 'lost');
      void lane(closeFile);
    },
    async adopt() {
      const directory = options.directory() ?? '';
      const names = await lane(() => readdir(directory, { withFileTypes: true }));
      const files = names.filter((one) => one.isFile() && FILE.test(one.name)).map(({ name }) => name);
      const contents: Contents = { queues: new Map(), bodies: [] };
      const damage = [];
      for (const name of files.sort()) damage.push(await readSegment(directory, name, contents));
      return {
        ...contents,
        damage: damage.filter(({ lostBytes }) => lostBytes > 0),
        foreign: names.filter((one) => one.isFile() && !FILE.test(one.name)).map(({ name }) => name),
      };
    },
    async close() {
      await commit();
      await lane(closeFile);
    },
    async remove() {
      isAbandoned = true;
      await lane(async () => {
        await closeFile();
        for (const { path } of segments.splice(0)) await unlink(path).catch(() => {});
        const directory = options.directory();
        // What is in it and not ours keeps it.
        if (directory !== undefined) await rmdir(directory).catch(() => {});
      });
      bytes = 0;
    },
  };
  return journal;
}

function sizeOf(record: SpoolRecord): number {
  if (record.kind === 'batch')
    return RECORD_BYTES + record.bytes.length + record.head.queue.length + record.head.sender.length;
  return RECORD_BYTES + ('ranges' in record ? record.ranges.length * RANGE_BYTES : record.queue.length);
}

async function readPart(path: string, from: number, to: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(to - from), 0, to - from, from);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
