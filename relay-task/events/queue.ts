/** A queue of events with the same metadata, which its senders share. Senders whose events were rejected lately have payloads of their own. */
import type { Verdict } from './courier.ts';
import { createFlights, type Flights, type FlightsOptions } from './flights.ts';
import { createHolders, type Holders, type Sender } from './holders.ts';
import { createLine, heldBytes, type Line } from './line.ts';
import { type Batch, batchesOf, type Parcel } from './parcel.ts';
import type { SenderMemory } from './sender-memory.ts';
import type { Summary } from './summary.ts';
import type { Suspects } from './suspects.ts';

export interface QueueOptions extends Pick<FlightsOptions, 'deliver' | 'forwarded'> {
  /** How many events are queued at most, not counting those being sent. */
  readonly capacity: number;
  readonly maxPayloadBytes: number;
  readonly memory: SenderMemory;
  readonly suspects: Suspects;
  readonly dropped: (reason: DropReason, events: number) => void;
  /** Sent with the next payload. */
  readonly summary?: Summary | undefined;
  /** A payload is not being sent any more, so there may be memory for those of other queues. Must not throw. */
  readonly landed?: (() => void) | undefined;
}

export type DropReason = 'capacity' | 'memory' | 'malformed' | 'offline' | Exclude<Verdict, 'delivered'>;

export interface Queue {
  /** Nothing is queued or being sent. */
  readonly idle: boolean;
  /** `performance.now()` of the last `add`. */
  readonly usedAt: number;
  readonly summary?: Summary | undefined;
  /** How many more events of this sender it takes now at most. */
  room(sender: string): number;
  /**
   * Takes the JSON texts of events. What does not fit costs the newest events of whoever has most in the queue, and that is this sender if
   * no one has more.
   */
  add(events: readonly string[], sender: string): void;
  /** `performance.now()` when the newest events of this sender that wait came; less than 0 if none do. */
  newestOf(sender: Sender): number;
  /** For want of memory: drops its newest events, one and more up to so many bytes. Returns how many bytes were released. */
  drop(sender: Sender, maxBytes: number): number;
  /** Sends what is due, if there is room for it now. */
  proceed(): void;
  /** Sends what is queued, after the payloads that are being sent, unless those hang. */
  flush(): void;
  /** Resolves when nothing is queued or being sent. */
  drained(): Promise<void>;
}

const COMMA_BYTES = 1;

/** Events that wait, and those that are being sent. */
interface Way {
  readonly line: Line;
  readonly flights: Flights;
  /** What waits is to be sent as soon as possible. */
  due: boolean;
}

export function createQueue(options: QueueOptions): Queue {
  const { capacity, maxPayloadBytes, memory, suspects, dropped, summary } = options;
  const { deliver, forwarded, landed } = options;
  const places = createHolders();
  const toAll = { deliver, forwarded, dropped, landed, judged: suspects.judge };
  const usual: Way = {
    line: createLine({ places, memory, isSuspect: false }),
    flights: createFlights({ ...toAll, take: takeUsual, putAside }),
    due: false,
  };
  /** Of suspects: each payload has the events of one of them. */
  const apart: Way = {
    line: createLine({ places, memory, isSuspect: true }),
    flights: createFlights({ ...toAll, take: takeApart }),
    due: false,
  };
  const senderOf = (name: string): Sender => ({ name, isSuspect: suspects.has(name) });
  const wayOf = ({ isSuspect }: Sender) => (isSuspect ? apart : usual);
  let usedAt = performance.now();
  /** Events of others that made room. */
  let lost = 0;

  const makeRoom = createRoomMaker(capacity, places, memory, ({ name, isSuspect }) => {
    lost += (isSuspect ? apart : usual).line.drop(name).events;
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
      wayOf(sender).line.push({ bytes, events: fitting, sender: name });
      rest = rest.slice(fitting);
      if (places.total >= capacity / 2 || usual.line.bytes + apart.line.bytes >= maxPayloadBytes) start();
    }
    if (lost > 0) dropped('capacity', lost);
    lost = 0;
    if (summary && (summary.size >= capacity / 2 || summary.bytes >= maxPayloadBytes)) start();
  }

  function takeUsual(): readonly Batch[] {
    if (!usual.due || memory.departing <= 0) return [];
    if (suspects.some) setApart();
    addSummaries();
    const taken = usual.line.take(Math.min(maxPayloadBytes, memory.departing));
    usual.due = !usual.line.isEmpty;
    return taken;
  }

  function addSummaries() {
    const { events, release } = summary?.take() ?? { events: [], release() {} };
    const last = events.length - 1;
    for (const [index, text] of events.entries()) {
      const after = index === last ? release : () => {};
      usual.line.pushOwn(Buffer.from(text), after);
    }
  }

  function takeApart(): readonly Batch[] {
    if (!apart.due || memory.departing <= 0) return [];
    let chosen: string | undefined;
    const taken = apart.line.take(Math.min(maxPayloadBytes, memory.departing), ({ sender }) => {
      // In their order.
      if (apart.flights.has(sender)) return false;
      chosen ??= sender;
      return chosen === sender;
    });
    apart.due = !apart.line.isEmpty;
    return taken;
  }

  function setApart() {
    if (usual.line.move(apart.line, ({ sender }) => suspects.has(sender))) send(apart);
  }

  /** Whoever is good among them costs requests of their own, once. */
  function putAside(parcel: Parcel) {
    for (const { bytes, events, sender } of batchesOf(parcel)) {
      suspects.add(sender);
      if (!memory.reserve({ name: sender, isSuspect: true }, heldBytes(bytes.length))) dropped('memory', events);
      // A copy: a part would keep the whole payload in memory.
      else apart.line.push({ bytes: Buffer.from(bytes), events, sender });
    }
    send(apart);
  }

  function send(way: Way) {
    way.due = true;
    way.flights.launch();
  }

  function start() {
    send(usual);
    send(apart);
  }

  function proceed() {
    for (const { flights } of [usual, apart]) flights.launch();
  }

  const underWay = () => usual.flights.size + apart.flights.size;

  return {
    get idle() {
      return underWay() === 0 && usual.line.isEmpty && apart.line.isEmpty && (summary?.size ?? 0) === 0;
    },
    get usedAt() {
      return usedAt;
    },
    summary,
    room: (sender) => Math.max(capacity - places.total, places.yielding(senderOf(sender)), 0),
    add,
    newestOf: (sender) => wayOf(sender).line.newestOf(sender.name),
    drop(sender, maxBytes) {
      const { events, bytes } = wayOf(sender).line.drop(sender.name, maxBytes);
      dropped('memory', events);
      return bytes;
    },
    proceed,
    flush: start,
    async drained() {
      while (underWay() > 0) await Promise.all([usual.flights.landed(), apart.flights.landed()]);
    },
  };
}

interface Room {
  /** How many of the events find room, from the first on. Memory is reserved for them as for one batch. */
  readonly fitting: number;
  /** Of what there is not enough for the next one. */
  readonly missing?: 'capacity' | 'memory';
}

/** Others make room if they have more. `drop`: the newest event of this sender. */
function createRoomMaker(capacity: number, places: Holders, memory: SenderMemory, drop: (sender: Sender) => void) {
  /** Whether there is a place for one more event of this sender, which waits with so many that have none yet. */
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
