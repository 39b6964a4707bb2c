/** What of a journal is not settled, and under which ID it was sent. */
import type { Budget } from '../common/budget.ts';
import type { BatchHead, EventRange, SpoolRecord } from './spool-records.ts';

/** Where a batch is kept. */
interface Keeper {
  /** The events are sent under this ID from now on; '' if under none. */
  assign(kept: readonly Kept[], payload: string): void;
  /** They are delivered or dropped. */
  settle(kept: readonly Kept[]): void;
  /** Resolves when everything until now is written, or could not be; soon if writing takes long. */
  written(): Promise<void>;
}

/** A batch in a journal. */
export interface Entry extends Pick<BatchHead, 'id' | 'at' | 'events'> {
  readonly journal: Keeper;
  /** `performance.now()` */
  readonly since: number;
  /** `lost`: it could not be written; `taken`: another process has taken it over. */
  state: 'pending' | 'written' | 'lost' | 'taken' | 'settled';
  /** What is not settled, in order. */
  spans: readonly Span[];
  /** Estimated. */
  readonly bytes: number;
}

export interface Span {
  readonly first: number;
  readonly events: number;
  /** '' if they were not sent under an ID. */
  readonly payload: string;
}

/** Events of a batch. */
export interface Kept {
  readonly entry: Entry;
  readonly first: number;
  readonly events: number;
}

/** So many events of it are on the disk and not settled. */
export const eventsOnDisk = ({ state, spans }: Entry) =>
  state === 'written' ? spans.reduce((sum, { events }) => sum + events, 0) : 0;

/** The events from the one to before the other of what is kept in one place. */
export function keptPart(kept: readonly Kept[] | undefined, from: number, to: number): readonly Kept[] | undefined {
  return kept?.map(({ entry, first }) => ({ entry, first: first + from, events: to - from }));
}

/** What the records of another process tell besides. */
export interface Contents {
  readonly queues: Map<Entry, string>;
  /** Request bodies that were taken in to their end. */
  readonly bodies: { readonly queue: string; readonly id: string }[];
}

/** As many bodies as a credential remembers. */
export const MOST_BODIES = 5_000;

/** `gone`: an entry has nothing left. */
export function createIndex(gone: (entry: Entry) => void) {
  /** The oldest first. */
  const entries = new Set<Entry>();
  /** Of what was read. */
  const byId = new Map<number, Entry>();
  const shares = new Map<Entry, Budget>();
  let lastId = 0;
  let bytes = 0;

  function forget(entry: Entry, state: 'lost' | 'taken' | 'settled'): void {
    if (!entries.delete(entry)) return;
    entry.state = state;
    entry.spans = [];
    byId.delete(entry.id);
    bytes -= entry.bytes;
    shares.get(entry)?.release(entry.bytes);
    shares.delete(entry);
    gone(entry);
  }

  /** Those of them that are not settled. */
  function rangesOf(kept: readonly Kept[]): EventRange[] {
    return kept
      .filter(({ entry }) => entries.has(entry))
      .map(({ entry: { id }, first, events }) => ({ id, first, events }));
  }

  function mark(kept: readonly Kept[], payload: string | undefined): EventRange[] {
    const ranges = rangesOf(kept);
    for (const { entry, first, events } of kept) {
      if (!entries.has(entry)) continue;
      entry.spans = marked(entry.spans, { first, events }, payload);
      if (entry.spans.length === 0) forget(entry, 'settled');
    }
    return ranges;
  }

  function add({ id, at, events }: BatchHead, size: number, journal: Keeper): Entry {
    const entry: Entry = {
      id,
      at,
      events,
      journal,
      bytes: size,
      since: performance.now(),
      state: 'pending',
      spans: [{ first: 0, events, payload: '' }],
    };
    entries.add(entry);
    bytes += size;
    return entry;
  }

  return {
    entries: entries as ReadonlySet<Entry>,
    get bytes() {
      return bytes;
    },
    nextId: () => ++lastId,
    /** Numbers that could not be read are not given again: no log has had a batch for each ms since 1970. */
    passOver(): void {
      lastId = Math.max(lastId, Date.now());
    },
    /** The share has room for it. */
    add(head: BatchHead, size: number, journal: Keeper, share: Budget): Entry {
      const entry = add(head, size, journal);
      shares.set(entry, share);
      return entry;
    },
    forget,
    /** Returns what there is to tell. */
    assign: (kept: readonly Kept[], payload: string) => mark(kept, payload),
    settle: (kept: readonly Kept[]) => mark(kept, undefined),
    /** What its own record does not tell. */
    *stateOf({ id, events, spans }: Pick<Entry, 'id' | 'events' | 'spans'>): Generator<SpoolRecord> {
      let end = 0;
      const settled: EventRange[] = [];
      for (const span of [...spans, { first: events, events: 0 }]) {
        if (span.first > end) settled.push({ id, first: end, events: span.first - end });
        end = span.first + span.events;
      }
      if (settled.length > 0) yield { kind: 'settled', ranges: settled };
      for (const { first, events: count, payload } of spans)
        if (payload !== '') yield { kind: 'assigned', payload, ranges: [{ id, first, events: count }] };
    },
    /** Follows a record of another process. Returns the entry of a batch. `size`: of the record. */
    read(record: SpoolRecord, size: number, journal: Keeper, { queues, bodies }: Contents): Entry | undefined {
      if (record.kind === 'batch') {
        const { id, queue } = record.head;
        lastId = Math.max(lastId, id);
        // One that was written again.
        const entry = byId.get(id) ?? add(record.head, size, journal);
        byId.set(id, entry);
        queues.set(entry, queue);
        return entry;
      }
      if (record.kind === 'body') {
        bodies.push({ queue: record.queue, id: record.id });
        if (bodies.length > MOST_BODIES) bodies.shift();
        return undefined;
      }
      const kept = record.ranges.flatMap(({ id, first, events }) => {
        const entry = byId.get(id);
        return entry ? [{ entry, first, events }] : [];
      });
      mark(kept, record.kind === 'assigned' ? record.payload : undefined);
      for (const { entry } of kept) if (!entries.has(entry)) queues.delete(entry);
      return undefined;
    },
  };
}

/** The spans after a range of them was assigned to a payload, or settled if that is undefined. */
function marked(spans: readonly Span[], range: Pick<Span, 'first' | 'events'>, payload: string | undefined): Span[] {
  const end = range.first + range.events;
  return spans.flatMap((span) => {
    const spanEnd = span.first + span.events;
    const from = Math.max(span.first, range.first);
    const to = Math.min(spanEnd, end);
    if (from >= to) return [span];
    const parts = [
      { ...span, events: from - span.first },
      ...(payload === undefined ? [] : [{ first: from, events: to - from, payload }]),
      { ...span, first: to, events: spanEnd - to },
    ];
    return parts.filter(({ events }) => events > 0);
  });
}
