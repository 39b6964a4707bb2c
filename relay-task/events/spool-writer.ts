/** The records of a journal that wait to be written: in groups, one after the other, and what could not be written. */
import type { Entry } from './spool-index.ts';
import { type SpoolRecord, sizeOf } from './spool-records.ts';
import type { Lane } from './spool-segments.ts';
import { createWaits } from './spool-waits.ts';

export interface WriterOptions {
  readonly lane: Lane;
  readonly lateMs: number;
  /** Before a group of records is written. False: not now. */
  mayWrite(): Promise<boolean>;
  /** Events whose bytes may not be on the disk when their sender is told that they were accepted. */
  unkept(events: number, reason: 'slow' | 'failed', error?: unknown): void;
  /** Records are written again, and in time. */
  recovered(): void;
}

interface WriterParts extends WriterOptions {
  /** Writes a group. Rejects if that is not possible. */
  write(group: readonly Piece[]): Promise<void>;
  /** In the lane, after a group was written, or could not be. */
  cleanUp(): Promise<void>;
  /** A batch could not be written. */
  lost(entry: Entry): void;
}

interface Piece {
  readonly record: SpoolRecord;
  /** Of a batch. */
  readonly entry: Entry | undefined;
  readonly number: number;
  readonly bytes: number;
  /** It is written in one go with the one before. */
  readonly isRest: boolean;
}

/** What one write takes. */
const GROUP_BYTES = 1024 * 1024;
/** Beyond this, batches are not kept … */
const MOST_WAITING_BYTES = 4 * 1024 * 1024;
/** … and beyond this, nothing is. */
const MOST_WAITING_AT_ALL_BYTES = 8 * 1024 * 1024;

export function createWriter(options: WriterParts) {
  let pending: Piece[] = [];
  let pendingBytes = 0;
  let appended = 0;
  let passed = 0;
  let committing: Promise<void> | undefined;
  let isStopped = false;
  let isFailing = false;
  /** A batch had no room since everything was written. */
  let hasRefused = false;
  const waits = createWaits(options.lateMs, () => {
    options.unkept(
      pending.reduce((sum, { entry }) => sum + (entry?.state === 'pending' ? entry.events : 0), 0),
      'slow',
    );
  });

  async function commit(): Promise<void> {
    if (pending.length > 0 && !isStopped) committing ??= writeAll();
    await committing;
  }

  async function writeAll(): Promise<void> {
    // In the lane: what comes in before its turn is in the same write.
    while (pending.length > 0 && !isStopped) if (!(await options.lane(writeGroup))) break;
    committing = undefined;
  }

  /** False: it could not be written. */
  async function writeGroup(): Promise<boolean> {
    if (!(await options.mayWrite()) || isStopped) return false;
    const group = takeGroup();
    const wasFailing = isFailing;
    try {
      await options.write(group);
      isFailing = false;
    } catch (error) {
      isFailing = true;
      fail(group, error);
    }
    passed = Math.max(passed, group.at(-1)?.number ?? 0);
    const isAll = pending.length === 0;
    const isInTime = waits.passed(passed, isAll) || (isAll && hasRefused);
    if (isAll) hasRefused = false;
    if (!isFailing && (isInTime || wasFailing)) options.recovered();
    // On a full disk this is what makes room.
    await options.cleanUp();
    return !isFailing;
  }

  function hasRoom(bytes: number): boolean {
    return !isStopped && pendingBytes + bytes <= MOST_WAITING_BYTES;
  }

  function takeGroup(): Piece[] {
    let size = 0;
    let count = 0;
    for (let next = pending[0]; next && (size < GROUP_BYTES || next.isRest); next = pending[count]) {
      size += next.bytes;
      count += 1;
    }
    pendingBytes -= size;
    return pending.splice(0, count);
  }

  /** Batches are not tried again, since their senders have been answered. */
  function fail(group: readonly Piece[], error: unknown): void {
    let events = 0;
    for (const { entry } of group) {
      if (entry?.state !== 'pending') continue;
      events += entry.events;
      options.lost(entry);
    }
    const again = group.filter(({ entry }) => !entry);
    pending = [...again, ...pending];
    pendingBytes += again.reduce((sum, piece) => sum + piece.bytes, 0);
    options.unkept(events, 'failed', error);
  }

  function drop(): void {
    pending = [];
    pendingBytes = 0;
    passed = appended;
    waits.passed(passed, true);
  }

  return {
    /** What waits could not be written the last time. */
    get isFailing() {
      return isFailing;
    },
    /** Nothing waits. */
    get isIdle() {
      return pending.length === 0;
    },
    /** Writing is slow, so answers do not wait for it. */
    get isLate() {
      return waits.isLate;
    },
    /** Whether a batch of this size may wait. */
    hasRoom,
    /** The same for one that comes now. After a refusal, `recovered` is called once everything is written. */
    takes(bytes: number): boolean {
      const isTaken = hasRoom(bytes);
      hasRefused ||= !isTaken;
      return isTaken;
    },
    /** False: too much waits. `rest`: records that are written in one go with this one, so that no kill parts them. */
    append(record: SpoolRecord, entry?: Entry, rest: readonly SpoolRecord[] = []): boolean {
      const records = [record, ...rest];
      const bytes = records.reduce((sum, one) => sum + sizeOf(one), 0);
      if (isStopped) return true;
      if (pendingBytes + bytes > MOST_WAITING_AT_ALL_BYTES) return false;
      for (const [index, one] of records.entries()) {
        const isRest = index > 0;
        appended += 1;
        pending.push({ record: one, entry: isRest ? undefined : entry, number: appended, bytes: sizeOf(one), isRest });
      }
      pendingBytes += bytes;
      void commit();
      return true;
    },
    /** Nothing that waits is worth being written. */
    drop,
    /** Tries to write what waits. Resolves when it is written, or could not be. */
    commit,
    /** Resolves when everything until now is written, or could not be; soon if writing takes long. */
    written: () => waits.until(appended, passed),
    /** Nothing more is written. */
    stop(): void {
      isStopped = true;
      drop();
    },
  };
}
