/** Writes what becomes of events: later if too much waits to be written, since otherwise they would be sent again after a restart. */
import type { createIndex, Entry, Kept } from './spool-index.ts';
import type { EventRange, SpoolRecord } from './spool-records.ts';
import type { createWriter } from './spool-writer.ts';

/** What one record tells of many batches. */
const MOST_RANGES = 1_000;

export function createTelling(
  { append, hasRoom }: Pick<ReturnType<typeof createWriter>, 'append' | 'hasRoom'>,
  { stateOf }: Pick<ReturnType<typeof createIndex>, 'stateOf'>,
) {
  const untold = new Set<Entry>();
  return {
    tell(record: SpoolRecord, kept: readonly Kept[]): void {
      if (append(record)) return;
      for (const { entry } of kept) if (entry.state !== 'lost') untold.add(entry);
    },
    /** Tells what was not told, as far as there is room. */
    tellRest(): void {
      const settled: EventRange[] = [];
      for (const entry of untold) {
        if (!hasRoom(0)) break;
        untold.delete(entry);
        const whole = { id: entry.id, first: 0, events: entry.events };
        if (entry.state === 'settled') {
          settled.push(whole);
          if (settled.length === MOST_RANGES) append({ kind: 'settled', ranges: settled.splice(0) });
        } else if (entry.state !== 'lost') {
          append({ kind: 'assigned', payload: '', ranges: [whole] });
          for (const record of stateOf(entry)) append(record);
        }
      }
      if (settled.length > 0) append({ kind: 'settled', ranges: settled });
    },
    /** The log has nothing left that it could tell about. */
    nothingToTell: () => untold.clear(),
  };
}
