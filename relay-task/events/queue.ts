/**
 * A queue of events with the same metadata, which its senders share. Senders whose events were rejected lately have payloads of their own:
 * those whose events were rejected with others' only until one is accepted, the others for a while. All of them together get the places of one
 * sender, except those with accepted events that are only doubted.
 */
import type { Verdict } from './courier.ts';
import { createFlights, type Flights, type FlightsOptions } from './flights.ts';
import { createHolders, type Holders, type Sender } from './holders.ts';
import { createLine, heldBytes, type Line } from './line.ts';
import { type Batch, batchesOf, type Parcel } from './parcel.ts';
import type { Departing, SenderMemory } from './sender-memory.ts';
import type { Summary } from './summary.ts';
import type { Suspects } from './suspects.ts';

interface QueueOptions extends Pick<FlightsOptions, 'deliver' | 'forwarded'> {
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
  const toAll = { deliver, forwarded, dropped, landed, putAside };
  const about = {
    judged: suspects.judge,
    accepted: suspects.accept,
    spend: suspects.spend,
    isUnconfirmed: (sender: string) => suspects.of(sender) !== 'confirmed',
  };
  const createWay = (areSuspects: boolean, isSuspect: boolean, take: FlightsOptions['take']): Way => ({
    line: createLine({ places, memory, isSuspect }),
    flights: createFlights({ ...toAll, ...about, areSuspects, take }),
    due: false,
  });
  const usual = createWay(false, false, takeUsual);
  /** Of doubted senders: each payload has the events of one of them. */
  const trial = createWay(true, false, takeTrial);
  /** The same of other suspects. */
  const apart = createWay(true, true, takeApart);
  const ways = [usual, trial, apart];
  const wayOf = (name: string): Way => {
    const suspicion = suspects.of(name);
    return suspicion === undefined ? usual : suspicion === 'doubted' ? trial : apart;
  };
  const senderOf = (name: string): Sender => ({ name, isSuspect: wayOf(name) === apart });
  /** Where its newest events wait. */
  const newestWay = ({ name, isSuspect }: Sender) => {
    if (isSuspect) return apart;
    return trial.line.newestOf(name) > usual.line.newestOf(name) ? trial : usual;
  };
  let usedAt = performance.now();
  let sortedUntil = 0;
  /** Events of others that made room. */
  let lost = 0;

  const makeRoom = createRoomMaker(capacity, places, memory, (sender) => {
    lost += newestWay(sender).line.drop(sender.name).events;
  });
  const waitingBytes = () => ways.reduce((sum, { line }) => sum + line.bytes, 0);

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
      wayOf(name).line.push({ bytes, events: fitting, sender: name });
      rest = rest.slice(fitting);
      if (places.total >= capacity / 2 || waitingBytes() >= maxPayloadBytes) start();
    }
    if (lost > 0) dropped('capacity', lost);
    lost = 0;
    if (summary && (summary.size >= capacity / 2 || summary.bytes >= maxPayloadBytes)) start();
  }

  /** Undefined: none of it may be sent now. */
  function mostOf({ due, flights }: Way): Departing | undefined {
    // What confirmed suspects send has no part that is theirs.
    const { maxBytes, anyBatch } = memory.departing(flights !== apart.flights && flights.size === 0);
    return due && maxBytes > 0 ? { maxBytes: Math.min(maxPayloadBytes, maxBytes), anyBatch } : undefined;
  }

  function takeUsual(): readonly Batch[] {
    const most = mostOf(usual);
    if (!most) return [];
    sort(usual);
    addSummaries();
    const taken = usual.line.take(most);
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

  function takeTrial(): readonly Batch[] {
    const most = mostOf(trial);
    if (!most) return [];
    sort(trial);
    return takeOf(
      trial,
      most,
      Array.from(trial.line.senders()).find((sender) => !trial.flights.has(sender)),
    );
  }

  function takeApart(): readonly Batch[] {
    const most = mostOf(apart);
    if (!most) return [];
    sort(apart);
    return takeOf(
      apart,
      most,
      suspects.next(Array.from(apart.line.senders()).filter((sender) => !apart.flights.has(sender))),
    );
  }

  /** Of one sender, whose payloads are sent in their order. */
  function takeOf(way: Way, most: Departing, chosen: string | undefined): readonly Batch[] {
    const taken = chosen === undefined ? [] : way.line.take(most, chosen);
    way.due = !way.line.isEmpty;
    return taken;
  }

  /**
   * Moves the events of those who are suspects now, or not any more. Looks only at those for whom that has changed, as it is asked for each
   * body that arrives while others wait.
   */
  function sort(taking: Way) {
    const { senders, until } = suspects.changedSince(sortedUntil);
    sortedUntil = until;
    const reached = new Set<Way>();
    for (const sender of senders ?? ways.flatMap(({ line }) => [...line.senders()])) {
      const to = wayOf(sender);
      for (const from of ways) if (from !== to && from.line.move(sender, to.line)) reached.add(to);
    }
    for (const way of reached) {
      if (way === usual) continue;
      way.due = true;
      if (way !== taking) way.flights.launch();
    }
  }

  /** Good ones among unconfirmed suspects cost requests of their own, once. */
  function putAside(parcel: Parcel) {
    for (const { bytes, events, sender } of batchesOf(parcel)) {
      suspects.add(sender);
      if (!memory.reserve(senderOf(sender), heldBytes(bytes.length))) dropped('memory', events);
      // A copy: a part would keep the whole payload in memory.
      else wayOf(sender).line.push({ bytes: Buffer.from(bytes), events, sender });
    }
    send(trial);
    send(apart);
  }

  function send(way: Way) {
    way.due = true;
    way.flights.launch();
  }

  function start() {
    for (const way of ways) send(way);
  }

  function proceed() {
    for (const { flights } of ways) flights.launch();
  }

  const underWay = () => ways.reduce((sum, { flights }) => sum + flights.size, 0);

  return {
    get idle() {
      return underWay() === 0 && ways.every(({ line }) => line.isEmpty) && (summary?.size ?? 0) === 0;
    },
    get usedAt() {
      return usedAt;
    },
    summary,
    room: (sender) => Math.max(capacity - places.total, places.yielding(senderOf(sender)), 0),
    add,
    newestOf: (sender) => newestWay(sender).line.newestOf(sender.name),
    drop(sender, maxBytes) {
      const { events, bytes } = newestWay(sender).line.drop(sender.name, maxBytes);
      dropped('memory', events);
      return bytes;
    },
    proceed,
    flush: start,
    async drained() {
      while (underWay() > 0) await Promise.all(ways.map(({ flights }) => flights.landed()));
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
