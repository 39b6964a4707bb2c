/**
 * The ways that the events of one queue take, each with a line of its own. Senders whose events were recently rejected get payloads of their
 * own: if theirs were only rejected together with others', until one payload is accepted; otherwise for a while. All of
 * them together get the places of one sender, except doubted ones, who had events accepted.
 */
import { createFlights, type Flights, type FlightsOptions } from './flights.ts';
import type { Holders, Sender } from './holders.ts';
import { createLine, type Line } from './line.ts';
import type { Batch } from './parcel.ts';
import type { Departing, SenderMemory } from './sender-memory.ts';
import type { Kept } from './spool-index.ts';
import type { Suspects } from './suspects.ts';

interface WaysOptions extends Omit<FlightsOptions, 'take' | 'areSuspects' | 'suspects'> {
  readonly maxPayloadBytes: number;
  readonly places: Holders;
  readonly memory: SenderMemory;
  readonly suspects: Suspects;
  /** These events were dropped from a line. */
  readonly settle: (kept: readonly Kept[]) => void;
  /** Puts what the relay itself adds to the next payload into the line of usual senders. */
  readonly addOwn: (line: Line) => void;
}

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

export function createWays(options: WaysOptions) {
  const { maxPayloadBytes, places, memory, suspects, settle } = options;

  function createWay(isSuspect: boolean, choose?: Choose): Way {
    const areSuspects = choose !== undefined;
    const way: Way = {
      line: createLine({ places, memory, isSuspect, settle }),
      flights: createFlights({ ...options, areSuspects, take: () => takeFrom(way) }),
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
  const { wayOf, senderOf, newestWay, sort } = createSorting(suspects, ways);

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
    if (way === usual) options.addOwn(line);
    const sender = choose?.(idleSenders(way));
    const taken = choose && sender === undefined ? [] : line.take(most, sender);
    way.due = !line.isEmpty;
    return taken;
  }

  function start(those: readonly Way[]) {
    for (const way of those) {
      way.due = true;
      way.flights.launch();
    }
  }

  return {
    get isEmpty() {
      return ways.every(({ line }) => line.isEmpty);
    },
    /** What waits. */
    get bytes() {
      return ways.reduce((sum, { line }) => sum + line.bytes, 0);
    },
    flights: ways.map(({ flights }) => flights),
    senderOf,
    /** Where the next events of this sender wait. */
    lineOf: (name: string) => wayOf(name).line,
    /** Where its newest events wait. */
    newestLineOf: (sender: Sender) => newestWay(sender).line,
    /** Sends what waits as soon as possible. */
    start: () => start(ways),
    /** The same for suspects alone. */
    startSuspects: () => start([trial, apart]),
    /** Sends what is due, if there is room for it now. */
    proceed(): void {
      for (const { flights } of ways) flights.launch();
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
