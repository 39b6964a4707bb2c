/** A queue of events with the same metadata. Payloads are sent one at a time, in order. */

import type { Budget } from '../common/budget.ts';
import { elementsOf } from '../common/json-text.ts';
import type { Verdict } from './courier.ts';
import type { Summary } from './summary.ts';

export interface QueueOptions {
  /** Maximum number of queued events, not counting those being sent. */
  readonly capacity: number;
  readonly maxPayloadBytes: number;
  readonly budget: Budget;
  /** A JSON array. Never rejects. */
  readonly deliver: (json: Buffer) => Promise<Verdict>;
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
  /** Takes the JSON texts of events. Drops the newest ones that do not fit. */
  add(events: readonly string[]): void;
  /** Sends what is queued, after the payload that is being sent, if any. */
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

/** Estimated memory of a batch besides its bytes. */
const BATCH_BYTES = 256;
/** How often a rejected payload is split. Each time takes several attempts, while other events wait. */
const MOST_REJECTIONS = 3;
const COMMA = Buffer.from(',');

export function createQueue(options: QueueOptions): Queue {
  const { capacity, maxPayloadBytes, budget, forwarded, dropped, summary } = options;
  let batches: Batch[] = [];
  let waitingEvents = 0;
  let waitingBytes = 0;
  let running: Promise<void> | undefined;
  let again = false;
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
    again = batches.length > 0;
    return sealed;
  }

  const hasSome = () => waitingEvents > 0 || (summary?.size ?? 0) > 0;

  async function run() {
    do {
      const { bytes, events, reservedBytes } = seal();
      await send(bytes, events);
      budget.release(reservedBytes);
    } while (again && hasSome());
    running = undefined;
  }

  /** Splits a payload that is too large, or was rejected, so that one bad event does not cost all others. */
  async function send(json: Buffer, events: number, rejections = 0): Promise<void> {
    const verdict = await options.deliver(json);
    if (verdict === 'delivered') return forwarded(events);
    const isDivisible = verdict === 'too-large' || (verdict === 'rejected' && rejections < MOST_REJECTIONS);
    if (!isDivisible || events === 1) return dropped(verdict, events);
    const elements = elementsOf(json.toString());
    const middle = Math.ceil(elements.length / 2);
    for (const half of [elements.slice(0, middle), elements.slice(middle)])
      await send(Buffer.from(`[${half.join(',')}]`), half.length, rejections + Number(verdict === 'rejected'));
  }

  /** Starts sending unless a payload is being sent already. */
  function start() {
    if (!running && hasSome()) running = run();
  }

  return {
    get idle() {
      return !running && !hasSome();
    },
    get usedAt() {
      return usedAt;
    },
    summary,
    add,
    flush() {
      if (running) again = true;
      else start();
    },
    async drained() {
      while (running) await running;
    },
  };
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
