/**
 * A queue of events with the same metadata. Payloads are sent in order, one after the other, except that later ones do not
 * wait for one that hangs, or that LaunchDarkly rejects.
 */

import type { Budget } from '../common/budget.ts';
import { elementsIn } from '../common/json-elements.ts';
import { inSlices } from '../common/slices.ts';
import type { Payload, Step, Verdict } from './courier.ts';
import type { Summary } from './summary.ts';

export interface QueueOptions {
  /** Maximum number of queued events, not counting those being sent. */
  readonly capacity: number;
  readonly maxPayloadBytes: number;
  readonly budget: Budget;
  /** A JSON array. Never rejects. */
  readonly deliver: (json: Buffer, how: Pick<Payload, 'progress' | 'isSuspect'>) => Promise<Verdict>;
  readonly forwarded: (events: number) => void;
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
  /** How many more events it takes now. */
  readonly room: number;
  /** Takes the JSON texts of events. Drops the newest ones that do not fit. */
  add(events: readonly string[]): void;
  /** Sends what is queued, after the payloads that are being sent, unless those hang. */
  flush(): void;
  /** Resolves when nothing is queued or being sent. */
  drained(): Promise<void>;
}

/** Events, their JSON texts joined by commas. */
interface Batch {
  readonly bytes: Buffer;
  readonly events: number;
  /** Released to the budget once sent or dropped. */
  readonly reservedBytes: number;
}

/** A payload that is being sent. */
interface Flight {
  step: Step | 'waiting';
  /** A later payload was delivered, or this one was rejected, so that holding others back would serve nothing. */
  passable: boolean;
  /** How many of its parts were rejected. */
  rejections: number;
  landed: Promise<void>;
}

/** Of one queue, when they hang. */
const MOST_IN_FLIGHT = 4;
/** Estimated memory of a batch besides its bytes. */
const BATCH_BYTES = 256;
/** How often a rejected payload is split in any case … */
const SURELY_SPLIT = 3;
/** … and how many of its parts may be rejected before it is not split further: one bad event among 1,000 takes 11. */
const MOST_REJECTIONS = 16;
const COMMA = Buffer.from(',');

export function createQueue(options: QueueOptions): Queue {
  const { capacity, maxPayloadBytes, budget, forwarded, dropped, summary } = options;
  let batches: Batch[] = [];
  let waitingEvents = 0;
  let waitingBytes = 0;
  /** The oldest first. */
  const flights = new Set<Flight>();
  /** What waits is to be sent as soon as possible. */
  let due = false;
  let usedAt = performance.now();

  function push(batch: Batch) {
    batches.push(batch);
    waitingEvents += batch.events;
    waitingBytes += batch.bytes.length;
  }

  function add(events: readonly string[]) {
    usedAt = performance.now();
    let rest = events;
    while (rest.length > 0) {
      const fitting = rest.slice(0, Math.max(0, capacity - waitingEvents));
      if (fitting.length === 0) return dropped('capacity', rest.length);
      const bytes = Buffer.from(fitting.join(','));
      const reservedBytes = bytes.length + BATCH_BYTES;
      if (!budget.reserve(reservedBytes)) return dropped('memory', rest.length);
      push({ bytes, events: fitting.length, reservedBytes });
      rest = rest.slice(fitting.length);
      if (waitingEvents >= capacity / 2 || waitingBytes >= maxPayloadBytes) start();
    }
    if (summary && summary.size >= capacity / 2) start();
  }

  /** Takes the oldest batches from the queue: at least one, otherwise up to the size of a payload. */
  function seal(): Batch {
    if (summary && summary.size > 0) {
      const { reservedBytes } = summary;
      push({ bytes: Buffer.from(summary.take()), events: 1, reservedBytes });
    }
    let bytes = 0;
    const end = batches.findIndex((batch, index) => {
      bytes += batch.bytes.length;
      return index > 0 && bytes > maxPayloadBytes;
    });
    const taken = end < 0 ? batches : batches.slice(0, end);
    batches = end < 0 ? [] : batches.slice(end);
    const sealed = joinBatches(taken);
    waitingEvents -= sealed.events;
    waitingBytes -= sum(taken, (batch) => batch.bytes.length);
    due = batches.length > 0;
    return sealed;
  }

  const hasSome = () => waitingEvents > 0 || (summary?.size ?? 0) > 0;

  const holdsBack = ({ step, passable }: Flight) => step !== 'slow' && !passable;

  function launch() {
    while (due && hasSome() && flights.size < MOST_IN_FLIGHT && ![...flights].some(holdsBack)) {
      const flight: Flight = { step: 'waiting', passable: false, rejections: 0, landed: Promise.resolve() };
      flights.add(flight);
      flight.landed = fly(seal(), flight);
    }
  }

  async function fly({ bytes, events, reservedBytes }: Batch, flight: Flight) {
    await send(bytes, events, flight);
    budget.release(reservedBytes);
    flights.delete(flight);
    launch();
  }

  function overtake(delivered: Flight) {
    for (const flight of flights) {
      if (flight === delivered) return;
      flight.passable = true;
    }
  }

  /** Splits a payload that is too large, or was rejected, so that one bad event does not cost all others. */
  async function send(json: Buffer, events: number, flight: Flight, rejections = 0): Promise<void> {
    const progress = (step: Step) => {
      flight.step = step;
      if (step === 'invalid') flight.passable = true;
      if (step === 'slow' || step === 'invalid') launch();
    };
    const verdict = await options.deliver(json, { progress, isSuspect: rejections > 0 });
    if (verdict === 'delivered') {
      overtake(flight);
      return forwarded(events);
    }
    const isRejected = verdict === 'rejected';
    if (isRejected) flight.rejections += 1;
    const mayBeSplit = rejections < SURELY_SPLIT || flight.rejections < MOST_REJECTIONS;
    const isDivisible = verdict === 'too-large' || (isRejected && mayBeSplit);
    if (!isDivisible || events === 1) return dropped(verdict, events);
    const left = Math.ceil(events / 2);
    const halves = await inSlices(splitBefore(json, left));
    for (const [half, count] of [
      [halves[0], left],
      [halves[1], events - left],
    ] as const)
      await send(half, count, flight, rejections + Number(isRejected));
  }

  function start() {
    due = true;
    launch();
  }

  return {
    get idle() {
      return flights.size === 0 && !hasSome();
    },
    get usedAt() {
      return usedAt;
    },
    summary,
    get room() {
      return capacity - waitingEvents;
    },
    add,
    flush: start,
    async drained() {
      while (flights.size > 0) await Promise.all(Array.from(flights, ({ landed }) => landed));
    },
  };
}

/** Two arrays: the elements before the one with this index, and the others. */
function* splitBefore(array: Buffer, index: number): Generator<void, readonly [Buffer, Buffer]> {
  let seen = 0;
  let end = 1;
  for (const range of elementsIn(array)) {
    if (!range) yield;
    else if (seen++ === index) return [enclosed(array.subarray(1, end)), enclosed(array.subarray(range.from, -1))];
    else end = range.to;
  }
  return [array, enclosed(Buffer.alloc(0))];
}

function enclosed(elements: Buffer): Buffer {
  return Buffer.concat([Buffer.from('['), elements, Buffer.from(']')]);
}

/** As one JSON array. */
function joinBatches(batches: readonly Batch[]): Batch {
  const parts = batches.flatMap(({ bytes }, index) => (index === 0 ? [bytes] : [COMMA, bytes]));
  return {
    bytes: Buffer.concat([Buffer.from('['), ...parts, Buffer.from(']')]),
    events: sum(batches, (batch) => batch.events),
    reservedBytes: sum(batches, (batch) => batch.reservedBytes),
  };
}

function sum(batches: readonly Batch[], of: (batch: Batch) => number): number {
  return batches.reduce((total, batch) => total + of(batch), 0);
}
