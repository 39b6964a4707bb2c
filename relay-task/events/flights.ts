/**
 * Payloads of one queue that are being sent: in order, one after the other, except that later ones do not wait for one that hangs or that
 * LaunchDarkly rejects.
 */
import { randomUUID } from 'node:crypto';
import { inSlices } from '../common/slices.ts';
import type { Payload, Step, Verdict } from './courier.ts';
import type { Keeping } from './keeping.ts';
import {
  type Batch,
  batchesOf,
  eventsIn,
  halvesOf,
  keptOf,
  type Parcel,
  parcelOf,
  RELAY,
  sendersOf,
} from './parcel.ts';
import { type Attempts, fateOf } from './splitting.ts';
import type { Suspects } from './suspects.ts';

export interface FlightsOptions {
  /** Takes what is to be sent now, which may be nothing. */
  take(): readonly Batch[];
  /** A JSON array. Never rejects. */
  readonly deliver: (
    json: Buffer,
    how: Pick<Payload, 'id' | 'progress' | 'answered' | 'isSuspect'>,
  ) => Promise<Verdict>;
  /** `bytes`: of the payload. */
  readonly forwarded: (events: number, bytes: number) => void;
  readonly dropped: (reason: Exclude<Verdict, 'delivered'>, events: number, last: LastAnswer) => void;
  /** Undefined without a spool. */
  readonly keeping?: Keeping | undefined;
  /** A payload is not being sent any more. Must not throw. */
  readonly landed?: (() => void) | undefined;
  readonly suspects: Pick<Suspects, 'of' | 'judge' | 'accept' | 'spend'>;
  /** Each payload has the events of one suspect. They do not wait for each other, and are sent only once as they are. */
  readonly areSuspects: boolean;
  /**
   * Takes over a part of a rejected payload. If the payload has several senders: a part with the events of one alone. From an unconfirmed
   * suspect: at once. From anyone: when finding the bad events takes long.
   */
  readonly putAside: (parcel: Parcel) => void;
}

/** Of LaunchDarkly, to something that was sent in vain. */
export interface LastAnswer {
  /** Undefined: there was none. */
  readonly status: number | undefined;
}

export interface Flights {
  readonly size: number;
  /** Those of which it is not known yet what becomes of them. */
  readonly events: number;
  /** Whether there are events of this sender among them. */
  has(sender: string): boolean;
  /** Sends what there is, unless it must wait for what is being sent. */
  launch(): void;
  /** Sends these now, under this ID, whatever else is being sent. Resolves when they have landed. */
  send(batches: readonly Batch[], id: string): Promise<void>;
  /** Resolves when the payloads that are in flight now have landed. */
  landed(): Promise<unknown>;
}

interface Flight extends Attempts {
  step: Step | 'waiting';
  /** How many of its events are neither delivered nor dropped nor put aside. */
  events: number;
  /** A later payload was delivered, or this one was rejected, so there is no point in holding others back. */
  passable: boolean;
  rejections: number;
  hasProgress: boolean;
  landed: Promise<void>;
}

/** More than one, since they may hang or be sent in parts. */
const MOST_IN_FLIGHT = 4;

export function createFlights(options: FlightsOptions): Flights {
  /** The oldest first. */
  const flights = new Set<Flight>();

  const { areSuspects, suspects, keeping } = options;
  const holdsBack = ({ step, passable }: Flight) => !areSuspects && step !== 'slow' && !passable;

  function launch() {
    while (flights.size < MOST_IN_FLIGHT && ![...flights].some(holdsBack)) {
      const batches = options.take();
      if (batches.length === 0) return;
      void begin(batches);
    }
  }

  function begin(batches: readonly Batch[], id?: string): Promise<void> {
    const parcel = parcelOf(batches);
    const senders = new Set(sendersOf(parcel));
    const flight: Flight = {
      step: 'waiting',
      events: eventsIn(parcel),
      passable: false,
      rejections: 0,
      hasProgress: false,
      senders,
      isTrial: areSuspects && [...senders].every((sender) => suspects.of(sender) !== 'confirmed'),
      landed: Promise.resolve(),
    };
    flights.add(flight);
    const releases = batches.map(({ release }) => release);
    flight.landed = fly(parcel, releases, flight, id);
    return flight.landed;
  }

  async function fly(parcel: Parcel, releases: readonly Batch['release'][], flight: Flight, id: string | undefined) {
    await send(parcel, flight, 0, id);
    for (const release of releases) release();
    flights.delete(flight);
    launch();
    options.landed?.();
  }

  function overtake(delivered: Flight) {
    for (const flight of flights) {
      if (flight === delivered) return;
      flight.passable = true;
    }
  }

  /**
   * Splits a payload that is too large, or was rejected, so that one bad event does not cost all others. `depth`: how often it was
   * split because it was rejected.
   */
  async function send(whole: Parcel, flight: Flight, depth: number, id: string = randomUUID()): Promise<void> {
    const parcel = keeping ? await assigned(whole, id, keeping) : whole;
    flight.events -= eventsIn(whole) - (parcel ? eventsIn(parcel) : 0);
    if (!parcel) return;
    const progress = (step: Step) => {
      flight.step = step;
      if (step === 'invalid') flight.passable = true;
      if (step === 'slow' || step === 'invalid') launch();
    };
    const [sender = RELAY, ...others] = sendersOf(parcel);
    const isMixed = others.length > 0;
    if (!isMixed) suspects.spend(sender);
    let last: LastAnswer = { status: undefined };
    const answered = (status: number | undefined) => {
      last = { status };
    };
    const verdict = await options.deliver(parcel.json, { id, progress, answered, isSuspect: areSuspects || depth > 0 });
    if (verdict === 'delivered') {
      flight.events -= eventsIn(parcel);
      overtake(flight);
      flight.hasProgress = true;
      for (const one of [sender, ...others]) suspects.accept(one);
      if (!isMixed && depth === 0) suspects.judge(sender, verdict);
      keeping?.settle(keptOf(parcel));
      return options.forwarded(eventsIn(parcel), parcel.json.length);
    }
    if (verdict === 'rejected') {
      flight.rejections += 1;
      if (!isMixed && sender !== RELAY) suspects.judge(sender, verdict);
    }
    const fate = fateOf(verdict, parcel, flight, depth);
    if (fate === 'drop') {
      flight.hasProgress = true;
      flight.events -= eventsIn(parcel);
      return drop(verdict, parcel, last);
    }
    const halves = fate === 'split' ? await inSlices(halvesOf(parcel)) : undefined;
    keeping?.free(keptOf(parcel));
    if (!halves) {
      flight.events -= eventsIn(parcel);
      return options.putAside(parcel);
    }
    for (const part of halves) await send(part, flight, depth + Number(verdict === 'rejected'));
  }

  /** Whatever may arrive is in the spool under its ID. Undefined: another process sends all of it. */
  async function assigned(parcel: Parcel, id: string, keeping: Keeping): Promise<Parcel | undefined> {
    if (keptOf(parcel).length === 0) return parcel;
    await keeping.assign(keptOf(parcel), id);
    const own = batchesOf(parcel).filter((batch) => !keeping.isTaken(batch.kept));
    if (own.length === parcel.parts.length) return parcel;
    const rest = parcelOf(own);
    keeping.left(eventsIn(parcel) - eventsIn(rest));
    return own.length > 0 ? rest : undefined;
  }

  async function drop(verdict: Exclude<Verdict, 'delivered'>, parcel: Parcel, last: LastAnswer): Promise<void> {
    const stays = verdict === 'closed' ? await keeping?.stays() : undefined;
    const lost = { parts: parcel.parts.filter(({ kept }) => !stays?.(kept)) };
    const left = eventsIn(parcel) - eventsIn(lost);
    if (left > 0) keeping?.left(left);
    if (lost.parts.length === 0) return;
    keeping?.settle(keptOf(lost));
    options.dropped(verdict, eventsIn(lost), last);
  }

  return {
    get size() {
      return flights.size;
    },
    get events() {
      return Array.from(flights).reduce((sum, { events }) => sum + events, 0);
    },
    has: (sender) => Array.from(flights).some(({ senders }) => senders.has(sender)),
    launch,
    send: begin,
    landed: () => Promise.all(Array.from(flights, ({ landed }) => landed)),
  };
}
