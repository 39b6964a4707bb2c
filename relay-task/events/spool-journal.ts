/**
 * One log in the spool: what of it is not settled, and the records that tell so. What stays unsettled for long is written again, so that it
 * does not keep what came after it.
 */
import type { Budget } from '../common/budget.ts';
import { type Contents, createIndex, type Entry, eventsOnDisk, type Kept } from './spool-index.ts';
import { type SpoolRecord, sizeOf } from './spool-records.ts';
import { createSegments, type Damage, type SegmentsOptions, type UnreadableFile } from './spool-segments.ts';
import { createTelling } from './spool-telling.ts';
import { createWriter, type WriterOptions } from './spool-writer.ts';

export type Journal = ReturnType<typeof createJournal>;

interface NewBatch {
  /** JSON: which queue of which credential it belongs to. */
  readonly queue: string;
  readonly sender: string;
  readonly bytes: Buffer;
  readonly events: number;
}

/** What a journal held when it was adopted. */
export interface Adopted extends Pick<Contents, 'queues' | 'bodies'> {
  readonly damage: readonly Damage[];
  /** They stay as they are. */
  readonly unreadable: readonly UnreadableFile[];
  /** Files of its directory that are none of its own. */
  readonly foreign: readonly string[];
}

export interface JournalOptions extends SegmentsOptions, WriterOptions {
  /** More bytes that are of no use are worth writing the others again. */
  readonly wasteBytes: number;
  /** What is settled could not be told in a file, at the end. */
  unmarked(error: unknown): void;
}

export function createJournal(options: JournalOptions) {
  const { wasteBytes } = options;
  const segments = createSegments(options);
  const index = createIndex(segments.forget);
  const { entries } = index;
  /** What waits to be written again. */
  const rewritten = new Set<Entry>();

  const writer = createWriter({
    ...options,
    async write(group) {
      try {
        await segments.write(group);
      } finally {
        for (const { entry } of group) if (entry) rewritten.delete(entry);
      }
    },
    cleanUp,
    lost: (entry) => index.forget(entry, 'lost'),
  });
  const { append } = writer;
  const { tell, tellRest, nothingToTell } = createTelling(writer, index);

  async function cleanUp(): Promise<void> {
    if (writer.isFailing) return makeRoom();
    tellRest();
    const oldest = await segments.clean(entries.size === 0 && writer.isIdle);
    const waste = segments.bytes - index.bytes;
    if (!oldest || waste <= Math.max(wasteBytes, Math.min(index.bytes, 2 * wasteBytes))) return;
    const batchOf = await segments.read(oldest);
    if (!batchOf) return;
    for (const entry of oldest.live) {
      if (!writer.hasRoom(0)) return;
      const batch = rewritten.has(entry) ? undefined : batchOf(entry);
      if (!batch) continue;
      // A copy: a part would keep the whole file in memory.
      const copy = { ...batch, bytes: Buffer.from(batch.bytes) };
      if (append(copy, entry, [...index.stateOf(entry)])) rewritten.add(entry);
    }
  }

  /** On a disk that is full, say. */
  async function makeRoom(): Promise<void> {
    await segments.clean(entries.size === 0 && 'failing');
    if (entries.size > 0 || segments.bytes > 0) return;
    // There is nothing left that it could tell about.
    writer.drop();
    nothingToTell();
  }

  const journal = {
    /** Of its files. */
    get bytes() {
      return segments.bytes;
    },
    /** What is not settled, the oldest first. */
    entries,
    /** Since when the oldest of what is on the disk and not settled waits: Unix ms, or Infinity. They are written in their order. */
    get oldestAt() {
      const [first] = entries;
      return first?.state === 'written' ? first.at : Number.POSITIVE_INFINITY;
    },
    /** On the disk and not settled. */
    get events() {
      return [...entries].reduce((sum, entry) => sum + eventsOnDisk(entry), 0);
    },
    /** `full`: the share has no room for it; `slow`: too much is waiting to be written. */
    keep({ queue, sender, bytes, events }: NewBatch, share: Budget): Entry | 'full' | 'slow' {
      const head = { id: index.nextId(), at: Date.now(), events, sender, queue };
      const record: SpoolRecord = { kind: 'batch', head, bytes };
      const size = sizeOf(record);
      if (!writer.takes(size)) return 'slow';
      if (!share.reserve(size)) return 'full';
      const entry = index.add(head, size, journal, share);
      append(record, entry);
      if (writer.isLate) options.unkept(events, 'slow');
      return entry;
    },
    /** A body of this queue was taken in to its end. */
    body(queue: string, id: string): void {
      // What becomes of events is worth more.
      if (writer.hasRoom(0)) append({ kind: 'body', queue, id });
    },
    /** The events are sent under this ID from now on; '' if under none. */
    assign(kept: readonly Kept[], payload: string): void {
      const ranges = index.assign(kept, payload);
      if (ranges.length > 0) tell({ kind: 'assigned', payload, ranges }, kept);
    },
    settle(kept: readonly Kept[]): void {
      const ranges = index.settle(kept);
      if (ranges.length > 0) tell({ kind: 'settled', ranges }, kept);
    },
    /** The bytes and the sender of a batch. Rejects if they cannot be read. */
    async load(entry: Entry) {
      const { bytes, head } = await segments.load(entry);
      return { bytes, sender: head.sender };
    },
    written: writer.written,
    /** In the lane. What was written is where others see it. Rejects if that is not certain. */
    sync: segments.sync,
    /** Tries again to write what is waiting. */
    proceed: () => void writer.commit(),
    /**
     * Another process has taken it over, or it was deleted, so nothing more is written. `knows`: another process has read this entry. Returns
     * how many other events there are.
     */
    abandon(knows: (entry: Entry) => boolean): number {
      writer.stop();
      let events = 0;
      for (const entry of entries) {
        const isKnown = entry.state === 'written' && knows(entry);
        if (!isKnown) events += entry.events;
        index.forget(entry, isKnown ? 'taken' : 'lost');
      }
      void segments.close();
      return events;
    },
    /** Reads what another process has left. */
    async adopt(): Promise<Adopted> {
      const contents: Contents = { queues: new Map(), bodies: [] };
      const files = await segments.adopt((record) => index.read(record, sizeOf(record), journal, contents));
      if (segments.hasUnread) index.passOver();
      return { ...contents, ...files };
    },
    /** Resolves when everything is written, or cannot be. */
    async close(): Promise<void> {
      await writer.commit();
      // Where this fails, too, what was delivered is sent again.
      if (writer.isFailing)
        await options.lane(() =>
          segments.settleInPlace({ index, mayWrite: options.mayWrite, failed: options.unmarked }),
        );
      await segments.close();
    },
    /** Deletes its files and its directory. What is not ours stays, and everything does if a file could not be read. */
    async remove(): Promise<void> {
      if (segments.hasUnread) return journal.close();
      writer.stop();
      await segments.remove();
    },
  };
  return journal;
}
