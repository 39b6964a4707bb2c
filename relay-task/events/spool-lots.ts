/** What other processes have left in the spool, by queue and in lots that are sent in one payload each. */
import { isObject } from '../common/json.ts';
import type { CredentialKind } from '../ports.ts';
import type { Metadata } from './metadata.ts';
import { type Batch, textsOf } from './parcel.ts';
import { isPassing } from './spool-files.ts';
import type { Entry } from './spool-index.ts';
import type { Adopted, Journal } from './spool-journal.ts';
import type { Lane } from './spool-segments.ts';

/** Which queue of which credential events belong to, as it is on the disk. */
export interface QueueName {
  readonly environment: string;
  readonly kind: CredentialKind;
  /** Of the credential. */
  readonly digest: string;
  /** LaunchDarkly's ID of its environment, if it was known. */
  readonly of?: string;
  readonly about: Metadata;
}

/** Events of one batch. */
interface Item {
  readonly entry: Entry;
  readonly journal: Journal;
  readonly first: number;
  readonly events: number;
}

/** Events that are sent in one payload. */
export interface Lot {
  /** Undefined: they were not sent under an ID yet. */
  readonly id: string | undefined;
  readonly items: Item[];
  bytes: number;
}

/** What is left of one queue. */
export interface Group {
  /** Undefined: it has none that this version reads. */
  readonly name: QueueName | undefined;
  /** The oldest first. */
  readonly lots: Lot[];
  isSending: boolean;
  /** `performance.now()` when it was first found that no environment of this relay takes it. */
  goneSince: number | undefined;
  /** `performance.now()`: after the disk failed, nothing of it is read before then. */
  waitsUntil: number;
}

/** By the name of the queue, as it is on the disk. */
export type Groups = Map<string, Group>;

/** Of a payload that was not sent before. */
const LOT_BYTES = 256 * 1024;

/** Adds what a journal has, the oldest first for each queue. Returns how many events there are. */
export function sortInto(groups: Groups, journal: Journal, queues: Adopted['queues']): number {
  let events = 0;
  const byPayload = new Map<string, Lot>();
  for (const entry of journal.entries) {
    const group = groupOf(groups, queues.get(entry) ?? '');
    for (const { first, events: count, payload } of entry.spans) {
      events += count;
      const known = payload === '' ? group.lots.at(-1) : byPayload.get(payload);
      const isOpen = known && (payload !== '' || (known.id === undefined && known.bytes + entry.bytes <= LOT_BYTES));
      const lot = isOpen ? known : { id: payload || undefined, items: [], bytes: 0 };
      if (!isOpen) group.lots.push(lot);
      if (payload !== '') byPayload.set(payload, lot);
      lot.items.push({ entry, journal, first, events: count });
      lot.bytes += entry.bytes;
    }
  }
  return events;
}

function groupOf(groups: Groups, queue: string): Group {
  const group = groups.get(queue) ?? {
    name: parseName(queue),
    lots: [],
    isSending: false,
    goneSince: undefined,
    waitsUntil: 0,
  };
  groups.set(queue, group);
  return group;
}

interface LotReading {
  /** One at a time, so that new events wait for one read at most. */
  readonly reads: Lane;
  unreadable(events: number, error: unknown): void;
}

/** Reads its batches. What is damaged is settled, and `unreadable` is told. Rejects if the disk may give them later. */
export async function readLot({ items }: Lot, { reads, unreadable }: LotReading): Promise<Omit<Batch, 'release'>[]> {
  const batches: Omit<Batch, 'release'>[] = [];
  for (const { entry, journal, first, events } of items) {
    const kept = [{ entry, first, events }];
    try {
      const { bytes, sender } = await reads(() => journal.load(entry));
      batches.push({ bytes: await textsOf({ bytes, events: entry.events }, { first, events }), events, sender, kept });
    } catch (error) {
      if (entry.state !== 'written') continue;
      if (isPassing(error)) throw error;
      journal.settle(kept);
      unreadable(events, error);
    }
  }
  return batches;
}

export function parseName(queue: string): QueueName | undefined {
  try {
    const name: unknown = JSON.parse(queue);
    return isObject(name) && typeof name.environment === 'string' ? (name as unknown as QueueName) : undefined;
  } catch {
    return undefined;
  }
}
