/** A queue of events with the same metadata, which its senders share. Senders whose events were rejected lately have payloads of their own. */
import type { Verdict } from './courier.ts';
import { createFlights, type Flights, type FlightsOptions } from './flights.ts';
import { createLine, type Line } from './line.ts';
import { type Batch, batchesOf, type Parcel, RELAY } from './parcel.ts';
import { createSenderPlaces, type SenderMemory } from './sender-shares.ts';
import type { Summary } from './summary.ts';
import type { Suspects } from './suspects.ts';

export interface QueueOptions extends Pick<FlightsOptions, 'deliver' | 'forwarded'> {
  /** How many events of one sender are queued at most, and four fifths of how many at all; not counting those being sent. */
  readonly capacity: number;
  readonly maxPayloadBytes: number;
  readonly memory: SenderMemory;
  readonly suspects: Suspects;
  readonly dropped: (reason: DropReason, events: number) => void;
  /** Sent with the next payload. */
  readonly summary?: Summary | undefined;
}

export type DropReason = 'capacity' | 'memory' | 'malformed' | 'offline' | Exclude<Verdict, 'delivered'>;

export interface Queue {
  /** Nothing is queued or being sent. */
  readonly idle: boolean;
  /** `performance.now()` of the last `add`. */
  readonly usedAt: number;
  readonly summary?: Summary | undefined;
  /** How many more events of this sender it takes now. */
  room(sender: string): number;
  /** Takes the JSON texts of events. Drops the newest ones that do not fit. */
  add(events: readonly string[], sender: string): void;
  /** Sends what is queued, after the payloads that are being sent, unless those hang. */
  flush(): void;
  /** Resolves when nothing is queued or being sent. */
  drained(): Promise<void>;
}

/** Events that wait, and those that are being sent. */
interface Way {
  readonly line: Line;
  readonly flights: Flights;
  /** What waits is to be sent as soon as possible. */
  due: boolean;
}

/** Estimated memory of a batch besides its bytes. */
const BATCH_BYTES = 256;
/** Those who wait apart, as one that has a share of the places. */
const SUSPECTS = 'suspects';

export function createQueue(options: QueueOptions): Queue {
  const { capacity, maxPayloadBytes, memory, suspects, dropped, summary } = options;
  const { deliver, forwarded } = options;
  const places = createSenderPlaces(capacity);
  const toAll = { deliver, forwarded, dropped, judged: suspects.judge };
  const usual: Way = {
    line: createLine(places),
    flights: createFlights({ ...toAll, take: takeUsual, putAside }),
    due: false,
  };
  /** Of suspects: each payload has the events of one of them. */
  const apart: Way = {
    line: createLine(places, SUSPECTS),
    flights: createFlights({ ...toAll, take: takeApart }),
    due: false,
  };
  const wayOf = (sender: string) => (suspects.has(sender) ? apart : usual);
  let usedAt = performance.now();

  function keep(bytes: Buffer, events: number, sender: string): boolean {
    const reservedBytes = bytes.length + BATCH_BYTES;
    if (!memory.reserve(sender, reservedBytes)) return false;
    const release = () => memory.release(sender, reservedBytes);
    wayOf(sender).line.push({ bytes, events, sender, release });
    return true;
  }

  function add(events: readonly string[], sender: string) {
    usedAt = performance.now();
    let rest = events;
    while (rest.length > 0) {
      const fitting = rest.slice(0, wayOf(sender).line.room(sender));
      if (fitting.length === 0) return dropped('capacity', rest.length);
      if (!keep(Buffer.from(fitting.join(',')), fitting.length, sender)) return dropped('memory', rest.length);
      rest = rest.slice(fitting.length);
      if (places.taken >= capacity / 2 || usual.line.bytes + apart.line.bytes >= maxPayloadBytes) start();
    }
    if (summary && (summary.size >= capacity / 2 || summary.bytes >= maxPayloadBytes)) start();
  }

  function takeUsual(): readonly Batch[] {
    if (!usual.due) return [];
    if (suspects.some) setApart();
    addSummaries();
    const taken = usual.line.take(maxPayloadBytes);
    usual.due = !usual.line.isEmpty;
    return taken;
  }

  function addSummaries() {
    const { events, release } = summary?.take() ?? { events: [], release() {} };
    const last = events.length - 1;
    for (const [index, text] of events.entries()) {
      const after = index === last ? release : () => {};
      usual.line.push({ bytes: Buffer.from(text), events: 1, sender: RELAY, release: after });
    }
  }

  function takeApart(): readonly Batch[] {
    if (!apart.due) return [];
    let chosen: string | undefined;
    const taken = apart.line.take(maxPayloadBytes, ({ sender }) => {
      // In their order.
      if (apart.flights.has(sender)) return false;
      chosen ??= sender;
      return chosen === sender;
    });
    apart.due = !apart.line.isEmpty;
    return taken;
  }

  function setApart() {
    const found = usual.line.take(Infinity, ({ sender }) => suspects.has(sender));
    for (const batch of found) apart.line.push(batch);
    if (found.length > 0) send(apart);
  }

  /** Whoever is good among them costs requests of their own, once. */
  function putAside(parcel: Parcel) {
    for (const { bytes, events, sender } of batchesOf(parcel)) {
      suspects.add(sender);
      // A copy: a part would keep the whole payload in memory.
      if (!keep(Buffer.from(bytes), events, sender)) dropped('memory', events);
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

  const underWay = () => usual.flights.size + apart.flights.size;

  return {
    get idle() {
      return underWay() === 0 && places.taken === 0 && (summary?.size ?? 0) === 0;
    },
    get usedAt() {
      return usedAt;
    },
    summary,
    room: (sender) => wayOf(sender).line.room(sender),
    add,
    flush: start,
    async drained() {
      while (underWay() > 0) await Promise.all([usual.flights.landed(), apart.flights.landed()]);
    },
  };
}
