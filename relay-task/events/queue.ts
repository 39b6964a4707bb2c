/** A queue of events with the same metadata, shared by their senders. */
import type { Verdict } from './courier.ts';
import { createFlights, type FlightsOptions, type LastAnswer } from './flights.ts';
import { createHolders, type Holders, type Sender } from './holders.ts';
import { heldBytes, type Line } from './line.ts';
import { type Batch, batchesOf, type Parcel } from './parcel.ts';
import type { SenderMemory } from './sender-memory.ts';
import type { Kept } from './spool-index.ts';
import type { Summary } from './summary.ts';
import type { Suspects } from './suspects.ts';
import { createWays } from './ways.ts';

interface QueueOptions extends Pick<FlightsOptions, 'deliver' | 'forwarded' | 'keeping'> {
  /** How many events are queued at most, not counting those being sent. */
  readonly capacity: number;
  readonly maxPayloadBytes: number;
  readonly memory: SenderMemory;
  readonly suspects: Suspects;
  /** `last`: they were sent. */
  readonly dropped: (reason: DropReason, events: number, last?: LastAnswer) => void;
  /** Sent with the next payload. */
  readonly summary?: Summary | undefined;
  /** A payload has landed, so there may be memory for those of other queues. Must not throw. */
  readonly landed?: (() => void) | undefined;
}

export type DropReason =
  | 'capacity'
  | 'memory'
  | 'malformed'
  | 'offline'
  /** From the spool: of an environment that is not served any more. */
  | 'gone'
  /** From the spool: damaged. */
  | 'unreadable'
  | Exclude<Verdict, 'delivered'>;

export interface Queue {
  /** Nothing is queued or being sent. */
  readonly idle: boolean;
  /** How many are queued or being sent; counts of a summary are none. */
  readonly events: number;
  /** `performance.now()` of the last `add`. */
  readonly usedAt: number;
  readonly summary?: Summary | undefined;
  /** How many more events of this sender fit at most. */
  room(sender: string): number;
  /**
   * Takes the JSON texts of events. If they do not fit, the sender with the most events in the queue loses its newest ones; that is this
   * sender if no one has more.
   */
  add(events: readonly string[], sender: string): void;
  /** Sends events from the spool under this ID. Resolves when they have landed. Memory is reserved for them. */
  replay(batches: readonly Omit<Batch, 'release'>[], id: string): Promise<void>;
  /** `performance.now()` when the newest waiting events of this sender came; less than 0 if none wait. */
  newestOf(sender: Sender): number;
  /** Frees memory: drops this sender's newest event, and more up to this many bytes. Returns how many bytes were released. */
  drop(sender: Sender, maxBytes: number): number;
  /** Sends what is due, if there is room for it now. */
  proceed(): void;
  /** Sends what is queued, after the payloads that are being sent, unless those hang. */
  flush(): void;
  /** Resolves when nothing is queued or being sent. */
  drained(): Promise<void>;
}

const COMMA_BYTES = 1;

export function createQueue(options: QueueOptions): Queue {
  const { capacity, maxPayloadBytes, memory, suspects, dropped, summary, keeping } = options;
  const settle = (kept: readonly Kept[]) => {
    if (kept.length > 0) keeping?.settle(kept);
  };
  const places = createHolders();
  const addOwn = (line: Line) => addSummaries(line, summary);
  const ways = createWays({ ...options, places, settle, addOwn, putAside });
  const { senderOf, lineOf, newestLineOf, start } = ways;
  /** Events from the spool, besides those of the ways. */
  const replayed = createFlights({ ...options, putAside, areSuspects: false, take: () => [] });
  const flights = [...ways.flights, replayed];
  let usedAt = performance.now();
  /** Events of others that made room. */
  let lost = 0;

  const makeRoom = createRoomMaker(capacity, places, memory, (sender) => {
    lost += newestLineOf(sender).drop(sender.name).events;
  });

  function add(events: readonly string[], name: string) {
    usedAt = performance.now();
    const sender = senderOf(name);
    let rest = events;
    while (rest.length > 0) {
      const { fitting, missing } = makeRoom(rest, sender);
      if (fitting === 0 && missing) {
        dropped(missing, rest.length);
        break;
      }
      const bytes = Buffer.from(rest.slice(0, fitting).join(','));
      const batch = { bytes, events: fitting, sender: name };
      lineOf(name).push({ ...batch, kept: keeping?.keep(batch) });
      rest = rest.slice(fitting);
      if (places.total >= capacity / 2 || ways.bytes >= maxPayloadBytes) start();
    }
    if (lost > 0) dropped('capacity', lost);
    lost = 0;
    if (summary && (summary.size >= capacity / 2 || summary.bytes >= maxPayloadBytes)) start();
  }

  /** Good events of unconfirmed suspects cost requests of their own, once. */
  function putAside(parcel: Parcel) {
    for (const { bytes, events, sender, kept } of batchesOf(parcel)) {
      suspects.add(sender);
      if (!memory.reserve(senderOf(sender), heldBytes(bytes.length))) {
        settle(kept ?? []);
        dropped('memory', events);
        // A copy: a part would keep the whole payload in memory.
      } else lineOf(sender).push({ bytes: Buffer.from(bytes), events, sender, kept });
    }
    ways.startSuspects();
  }

  const underWay = () => flights.reduce((sum, { size }) => sum + size, 0);

  return {
    get idle() {
      return underWay() === 0 && ways.isEmpty && (summary?.size ?? 0) === 0;
    },
    get events() {
      return flights.reduce((sum, { events }) => sum + events, places.total);
    },
    get usedAt() {
      return usedAt;
    },
    summary,
    room: (sender) => Math.max(capacity - places.total, places.yielding(senderOf(sender)), 0),
    add,
    replay(batches, id) {
      usedAt = performance.now();
      const departed = batches.map((batch) => {
        const held = heldBytes(batch.bytes.length);
        memory.depart(held);
        return { ...batch, release: () => memory.land(held) };
      });
      return replayed.send(departed, id);
    },
    newestOf: (sender) => newestLineOf(sender).newestOf(sender.name),
    drop(sender, maxBytes) {
      const { events, bytes } = newestLineOf(sender).drop(sender.name, maxBytes);
      dropped('memory', events);
      return bytes;
    },
    proceed: ways.proceed,
    flush: start,
    async drained() {
      while (underWay() > 0) await Promise.all(flights.map((those) => those.landed()));
    },
  };
}

function addSummaries(line: Line, summary: Summary | undefined): void {
  const { events, release, kept } = summary?.take() ?? { events: [], release() {} };
  const last = events.length - 1;
  for (const [index, text] of events.entries()) {
    line.pushOwn(Buffer.from(text), index === last ? release : () => {}, kept?.[index]);
  }
}

interface Room {
  /** How many of the events fit, from the first on. Memory is reserved for them as for one batch. */
  readonly fitting: number;
  /** What there is not enough of for the next one. */
  readonly missing?: 'capacity' | 'memory';
}

/** Others make room if they have more. `drop`: the newest event of this sender. */
function createRoomMaker(capacity: number, places: Holders, memory: SenderMemory, drop: (sender: Sender) => void) {
  /** Whether there is a place for one more event of this sender, besides `others` of its events that have no place yet. */
  const makePlace = (sender: Sender, others: number): boolean => {
    if (places.total + others < capacity) return true;
    const yields = places.whoYields(sender, others + 1);
    if (yields) drop(yields.sender);
    return yields !== undefined;
  };
  return (events: readonly string[], sender: Sender): Room => {
    const sizes = events.map((text, index) => Buffer.byteLength(text) + (index > 0 ? COMMA_BYTES : 0));
    const wholeBytes = heldBytes(sizes.reduce((sum, bytes) => sum + bytes, 0));
    if (places.total + events.length <= capacity && memory.reserveFree(wholeBytes)) return { fitting: events.length };
    let reservedBytes = 0;
    for (const [fitting, bytes] of sizes.entries()) {
      const more = fitting === 0 ? heldBytes(bytes) : bytes;
      if (!makePlace(sender, fitting)) return { fitting, missing: 'capacity' };
      if (!memory.reserve(sender, more, reservedBytes)) return { fitting, missing: 'memory' };
      reservedBytes += more;
    }
    return { fitting: events.length };
  };
}
