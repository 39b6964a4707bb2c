import { elementsIn } from '../common/json-elements.ts';
import type { Holders, Sender } from './holders.ts';
import { type Batch, parcelOf, RELAY } from './parcel.ts';
import type { Departing, SenderMemory } from './sender-memory.ts';
import { type Kept, keptPart } from './spool-index.ts';

/** Events that wait to be sent, the oldest first. */
export interface Line {
  readonly isEmpty: boolean;
  readonly bytes: number;
  /** Whose events wait. */
  senders(): Iterable<string>;
  /** Their places are free, and `heldBytes(bytes)` is reserved for them. */
  push(events: Omit<Batch, 'release'>): void;
  /** An event of the relay itself: takes neither places nor memory, and is never dropped. */
  pushOwn(bytes: Buffer, release: () => void, kept?: readonly Kept[]): void;
  /** Takes the oldest batches, of this sender or of all, up to this many bytes, but at least one if `anyBatch`. */
  take(most: Departing, sender?: string): readonly Batch[];
  /** Moves the batches of this sender into the other line; false if there are none. */
  move(sender: string, to: Line): boolean;
  put(batch: WaitingBatch): void;
  /** `performance.now()` when the newest batch of this sender came. */
  newestOf(name: string): number;
  /**
   * Drops the newest event of this sender and more, up to this many bytes and at least half of them; its events in other lines may
   * be newer than the next.
   */
  drop(name: string, maxBytes?: number): { readonly events: number; readonly bytes: number };
}

/** A batch that may still lose events. */
interface WaitingBatch {
  readonly sender: string;
  bytes: Buffer;
  events: number;
  readonly since: number;
  kept: readonly Kept[] | undefined;
  /** Where each of its events begins, once one was dropped. */
  begins?: number[];
  /** Of the relay itself. */
  readonly release?: () => void;
}

interface LineOptions {
  readonly places: Holders;
  readonly memory: SenderMemory;
  readonly isSuspect: boolean;
  /** These events were dropped. */
  readonly settle: (kept: readonly Kept[]) => void;
}

/** Estimated memory of a batch besides its bytes. */
const BATCH_BYTES = 256;
/** How much of a batch may be kept beyond its events: copying the rest for each dropped event would take long. */
const SPARE_BYTES = 4 * 1024;

/** What a batch takes in memory. */
export function heldBytes(bytes: number): number {
  return bytes + BATCH_BYTES;
}

export function createLine({ places, memory, isSuspect, settle }: LineOptions): Line {
  const { waiting, bySender, add, forget } = createWaiting();
  let waitingBytes = 0;

  /** `times`: 1 or -1. */
  function count({ sender: name, bytes, events }: WaitingBatch, times: number) {
    waitingBytes += times * bytes.length;
    if (name === RELAY) return;
    const sender: Sender = { name, isSuspect };
    places.change(sender, times * events);
    memory.waiting.change(sender, times * heldBytes(bytes.length));
  }

  function put(batch: WaitingBatch) {
    add(batch);
    count(batch, 1);
  }

  function remove(batch: WaitingBatch) {
    count(batch, -1);
    forget(batch);
  }

  /** Drops its newest event, and more up to this many bytes. */
  function cut(batch: WaitingBatch, maxBytes: number) {
    const { events } = batch;
    const held = heldBytes(batch.bytes.length);
    if (events === 1 || held <= maxBytes) {
      remove(batch);
      settle(batch.kept ?? []);
      return { events, bytes: held };
    }
    const lostBytes = () => held - (batch.events > 0 ? heldBytes(batch.bytes.length) : 0);
    count(batch, -1);
    do dropLast(batch);
    while (batch.events > 0 && lostBytes() < maxBytes);
    if (batch.events > 0) count(batch, 1);
    else forget(batch);
    settle(keptPart(batch.kept, batch.events, events) ?? []);
    batch.kept = keptPart(batch.kept, 0, batch.events);
    return { events: events - batch.events, bytes: lostBytes() };
  }

  /** To be sent: nothing is dropped from it any more. */
  function departed({ bytes, events, sender, kept, release }: WaitingBatch): Batch {
    if (release) return { bytes, events, sender, kept, release };
    const held = heldBytes(bytes.length);
    memory.depart(held);
    return { bytes, events, sender, kept, release: () => memory.land(held) };
  }

  return {
    get isEmpty() {
      return waiting.size === 0;
    },
    get bytes() {
      return waitingBytes;
    },
    senders: () => bySender.keys(),
    push: ({ bytes, events, sender, kept }) => put({ bytes, events, sender, kept, since: performance.now() }),
    pushOwn: (bytes, release, kept) =>
      put({ bytes, events: 1, sender: RELAY, kept, since: performance.now(), release }),
    put,
    take({ maxBytes, anyBatch }, sender) {
      const taken: WaitingBatch[] = [];
      let bytes = 0;
      for (const batch of sender === undefined ? waiting : (bySender.get(sender) ?? [])) {
        bytes += batch.bytes.length;
        if (bytes > maxBytes && (taken.length > 0 || !anyBatch)) break;
        taken.push(batch);
      }
      for (const batch of taken) remove(batch);
      return taken.map(departed);
    },
    move(sender, to) {
      const moved = [...(bySender.get(sender) ?? [])];
      for (const batch of moved) {
        remove(batch);
        to.put(batch);
      }
      return moved.length > 0;
    },
    newestOf: (name) => bySender.get(name)?.at(-1)?.since ?? -1,
    drop(name, maxBytes = 0) {
      const lost = { events: 0, bytes: 0 };
      do {
        const batch = bySender.get(name)?.at(-1);
        if (!batch) break;
        const { events, bytes } = cut(batch, maxBytes - lost.bytes);
        lost.events += events;
        lost.bytes += bytes;
      } while (lost.bytes < maxBytes / 2);
      memory.release(lost.bytes);
      return lost;
    },
  };
}

/** The batches in the order of their arrival, and those of each sender. */
function createWaiting() {
  const waiting = new Set<WaitingBatch>();
  const bySender = new Map<string, WaitingBatch[]>();
  return {
    waiting: waiting as ReadonlySet<WaitingBatch>,
    bySender: bySender as ReadonlyMap<string, readonly WaitingBatch[]>,
    add(batch: WaitingBatch): void {
      waiting.add(batch);
      const own = bySender.get(batch.sender) ?? [];
      own.push(batch);
      bySender.set(batch.sender, own);
    },
    forget(batch: WaitingBatch): void {
      waiting.delete(batch);
      const own = bySender.get(batch.sender) ?? [];
      if (own.at(-1) === batch) own.pop();
      else own.splice(own.indexOf(batch), 1);
      if (own.length === 0) bySender.delete(batch.sender);
    },
  };
}

function dropLast(batch: WaitingBatch) {
  batch.begins ??= beginsOf(batch);
  const begin = batch.begins.pop() ?? 0;
  batch.events -= 1;
  // Without the comma.
  batch.bytes = batch.bytes.subarray(0, Math.max(0, begin - 1));
  const spareBytes = batch.bytes.buffer.byteLength - batch.bytes.length;
  if (spareBytes > Math.min(SPARE_BYTES, batch.bytes.length)) batch.bytes = Buffer.from(batch.bytes);
}

function beginsOf(batch: WaitingBatch): number[] {
  if (batch.events === 1) return [0];
  const begins: number[] = [];
  const { json } = parcelOf([batch]);
  for (const range of elementsIn(json)) if (range) begins.push(range.from - OPENING_BYTES);
  return begins;
}

/** Of an array. */
const OPENING_BYTES = 1;
