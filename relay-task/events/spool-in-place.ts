/**
 * Tells what is settled by overwriting the batches themselves, at the end of a process that could not append to its log: on a full disk this
 * needs no room, and otherwise the next process would send again what was delivered.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { type Batch, parcelOf, textsOf } from './parcel.ts';
import { writeAt } from './spool-files.ts';
import { type createIndex, type Entry, eventsOnDisk, type Span } from './spool-index.ts';
import { type BatchRecord, encodeRecord, type FoundRecord, type SpoolRecord } from './spool-records.ts';

interface LogFile {
  readonly path: string;
  readonly marker: Buffer;
  readonly records: readonly FoundRecord[];
  /** The entry whose batch begins there, if not all of it is settled. */
  entryAt(from: number): Entry | undefined;
}

export type IndexView = Pick<ReturnType<typeof createIndex>, 'nextId' | 'stateOf'>;

/** A batch of which all is settled becomes a record without events, one of which a part is settled becomes one with the rest. */
export async function settleInPlace({ path, marker, records, entryAt }: LogFile, index: IndexView): Promise<void> {
  const file = await open(path, 'r+');
  try {
    for (const { record, from, to } of records) {
      const left = record.kind === 'batch' ? await whatIsLeft(record, entryAt(from), index) : undefined;
      if (left) await overwrite(file, { from, to }, left, marker);
    }
  } finally {
    await file.close();
  }
}

/** Undefined if that is all of it. Otherwise a record that tells of the rest, and what else is known of it. */
async function whatIsLeft(
  { head, bytes }: BatchRecord,
  entry: Entry | undefined,
  { nextId, stateOf }: IndexView,
): Promise<readonly [SpoolRecord, ...SpoolRecord[]] | undefined> {
  if (!entry) return [{ kind: 'settled', ranges: [] }];
  if (eventsOnDisk(entry) === head.events) return undefined;
  const rest: Omit<Batch, 'release'>[] = [];
  const spans: Span[] = [];
  let events = 0;
  for (const span of entry.spans) {
    rest.push({ bytes: await textsOf({ bytes, events: head.events }, span), events: span.events, sender: head.sender });
    spans.push({ ...span, first: events });
    events += span.events;
  }
  // Under a number of its own: what the log tells of the old one is about other events.
  const id = nextId();
  const batch = { kind: 'batch', head: { ...head, id, events }, bytes: parcelOf(rest).json.subarray(1, -1) } as const;
  return [batch, ...stateOf({ id, events, spans })];
}

/** Writes all of the records if they have room, else the first one if that has. The first one is padded. */
async function overwrite(
  file: FileHandle,
  { from, to }: Pick<FoundRecord, 'from' | 'to'>,
  [first, ...others]: readonly [SpoolRecord, ...SpoolRecord[]],
  marker: Buffer,
): Promise<void> {
  const shortest = Buffer.concat(encodeRecord(first, marker)).length;
  const after = Buffer.concat(others.flatMap((record) => encodeRecord(record, marker)));
  for (const rest of [after, Buffer.alloc(0)]) {
    const padBytes = to - from - shortest - rest.length;
    if (padBytes < 0) continue;
    await writeAt(file, Buffer.concat([...encodeRecord(first, marker, padBytes), rest]), from);
    return;
  }
}
