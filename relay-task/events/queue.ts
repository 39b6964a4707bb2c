/**
 * A queue of events with the same metadata, shared by their senders. Senders whose events were recently rejected get payloads of their own:
 * if theirs were only rejected together with others', until one payload is accepted; otherwise for a while. All of them together get the
 * places of one sender, except doubted ones, who had events accepted.
 */
import type { Verdict } from './courier.ts';
import { createFlights, type Flights, type FlightsOptions } from './flights.ts';
import { createHolders, type Holders, type Sender } from './holders.ts';
import { createLine, heldBytes, type Line } from './line.ts';
import { type Batch, batchesOf, type Parcel } from './parcel.ts';
import type { Departing, SenderMemory } from './sender-memory.ts';
import type { Kept } from './spool-index.ts';
import type { Summary } from './summary.ts';
import type { Suspects } from './suspects.ts';

interface QueueOptions extends Pick<FlightsOptions, 'deliver' | 'forwarded' | 'keeping'> {
  /** How many events are queued at most, not counting those being sent. */
  readonly capacity: number;
  readonly maxPayloadBytes: number;
  readonly memory: SenderMemory;
  readonly suspects: Suspects;
  readonly dropped: (reason: DropReason, events: number) => void;
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

/** Chooses the sender whose events are sent next. */
type Choose = (waiting: Iterable<string>) => string | undefined;

/** Events that wait, and those that are being sent. */
interface Way {
  readonly line: Line;
  readonly flights: Flights;
  /** Of suspects: each payload has the events of one of them. */
  readonly choose: Choose | undefined;
  /** What waits is to be sent as soon as possible. */
  due: boolean;
}

export function createQueue(options: QueueOptions): Queue {
  const { capacity, maxPayloadBytes, memory, suspects, dropped, summary } = options;
  const { deliver, forwarded, landed, keeping } = options;
  const settle = (kept: readonly Kept[]) => {
    if (kept.length > 0) keeping?.settle(kept);
  };
  const places = createHolders();

  function createWay(isSuspect: boolean, choose?: Choose): Way {
    const areSuspects = choose !== undefined;
    const take = () => takeFrom(way);
    const way: Way = {
      line: createLine({ places, memory, isSuspect, settle }),
      flights: createFlights({ deliver, forwarded, dropped, landed, keeping, putAside, suspects, areSuspects, take }),
      choose,
      due: false,
    };
    return way;
  }

  const usual = createWay(false);
  /** Of doubted senders. */
  const trial = createWay(false, ([first]) => first);
  /** Of other suspects. */
  const apart = createWay(true, suspects.next);
  const ways = [usual, trial, apart] as const;
  /** Events from the spool, besides those of the ways. */
  const replayed = createFlights({
    deliver,
    forwarded,
    dropped,
    landed,
    keeping,
    putAside,
    suspects,
    areSuspects: false,
    take: () => [],
  });
  const allFlights = [...ways.map(({ flights }) => flights), replayed];
  const { wayOf, senderOf, newestWay, sort } = createSorting(suspects, ways);
  let usedAt = performance.now();
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
      const batch = { bytes, events: fitting, sender: name };
      wayOf(name).line.push({ ...batch, kept: keeping?.keep(batch) });
      rest = rest.slice(fitting);
      if (places.total >= capacity / 2 || waitingBytes() >= maxPayloadBytes) start();
    }
    if (lost > 0) dropped('capacity', lost);
    lost = 0;
    if (summary && (summary.size >= capacity / 2 || summary.bytes >= maxPayloadBytes)) start();
  }

  /** Undefined: nothing may be sent now. */
  function mostOf(way: Way): Departing | undefined {
    // Payloads of confirmed suspects have no part reserved for them.
    const { maxBytes, anyBatch } = memory.departing(way !== apart && way.flights.size === 0);
    return way.due && maxBytes > 0 ? { maxBytes: Math.min(maxPayloadBytes, maxBytes), anyBatch } : undefined;
  }

  function takeFrom(way: Way): readonly Batch[] {
    const { line, choose } = way;
    const most = mostOf(way);
    if (!most) return [];
    sort(way);
    if (way === usual) addSummaries(line, summary);
    const sender = choose?.(idleSenders(way));
    const taken = choose && sender === undefined ? [] : line.take(most, sender);
    way.due = !line.isEmpty;
    return taken;
  }

  /** Good events of unconfirmed suspects cost requests of their own, once. */
  function putAside(parcel: Parcel) {
    for (const { bytes, events, sender, kept } of batchesOf(parcel)) {
      suspects.add(sender);
      if (!memory.reserve(senderOf(sender), heldBytes(bytes.length))) {
        settle(kept ?? []);
        dropped('memory', events);
        // A copy: a part would keep the whole payload in memory.
      } else wayOf(sender).line.push({ bytes: Buffer.from(bytes), events, sender, kept });
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

  const underWay = () => allFlights.reduce((sum, { size }) => sum + size, 0);

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
    replay(batches, id) {
      usedAt = performance.now();
      const departed = batches.map((batch) => {
        const held = heldBytes(batch.bytes.length);
        memory.depart(held);
        return { ...batch, release: () => memory.land(held) };
      });
      return replayed.send(departed, id);
    },
    newestOf: (sender) => newestWay(sender).line.newestOf(sender.name),
    drop(sender, maxBytes) {
      const { events, bytes } = newestWay(sender).line.drop(sender.name, maxBytes);
      dropped('memory', events);
      return bytes;
    },
    proceed() {
      for (const { flights } of ways) flights.launch();
    },
    flush: start,
    async drained() {
      while (underWay() > 0) await Promise.all(allFlights.map((flights) => flights.landed()));
    },
  };
}

/** Which way each sender's events take. */
function createSorting(suspects: Suspects, ways: readonly [usual: Way, trial: Way, apart: Way]) {
  const [usual, trial, apart] = ways;
  let sortedUntil = 0;

  function wayOf(name: string): Way {
    const suspicion = suspects.of(name);
    return suspicion === undefined ? usual : suspicion === 'doubted' ? trial : apart;
  }

  return {
    wayOf,
    senderOf: (name: string): Sender => ({ name, isSuspect: wayOf(name) === apart }),
    /** Where its newest events wait. */
    newestWay({ name, isSuspect }: Sender): Way {
      if (isSuspect) return apart;
      return trial.line.newestOf(name) > usual.line.newestOf(name) ? trial : usual;
    },
    /**
     * Moves the events of senders who have become suspects or no longer are. Looks only at senders for whom that has changed, since it runs
     * for each body that arrives while others wait. `taking`: the way from which events are taken next.
     */
    sort(taking: Way): void {
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
    },
  };
}

/** Senders whose events wait and are not being sent, since the events of one sender are sent in order. */
function* idleSenders({ line, flights }: Way): Generator<string> {
  for (const sender of line.senders()) if (!flights.has(sender)) yield sender;
}

function addSummaries(line: Line, summary: Summary | undefined): void {
  const { events, release, kept } = summary?.take() ?? { events: [], release() {} };
  const last = events.length - 1;
  for (const [index, text] of events.entries()) {
    if (index === last) line.pushOwn(Buffer.from(text), release, kept);
    else line.pushOwn(Buffer.from(text), () => {});
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
