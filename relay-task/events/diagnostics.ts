/** Diagnostic events that came with one credential: forwarded unchanged in the background, few at a time. */
import type { Budget } from '../common/budget.ts';
import { createShares } from '../common/shares.ts';
import type { Verdict } from './courier.ts';

/** And from where it came. */
interface Delivered {
  readonly body: Buffer;
  readonly address: string;
}

export interface Diagnostics<T extends Delivered> {
  /** Nothing is queued or being sent. */
  readonly idle: boolean;
  add(event: T): void;
  /** Resolves when nothing is queued or being sent. */
  drained(): Promise<void>;
}

/** Four fifths of them from one address. */
const MOST_WAITING = 100;
const MOST_IN_FLIGHT = 4;
/** Estimated memory of an event besides its body: mostly headers. */
const EVENT_BYTES = 1_024;

export function createDiagnostics<T extends Delivered>(options: {
  readonly budget: Budget;
  /** Never rejects. */
  readonly deliver: (event: T) => Promise<Verdict>;
  readonly dropped: (reason: 'capacity' | 'memory' | Exclude<Verdict, 'delivered'>, events: number) => void;
}): Diagnostics<T> {
  const { budget, deliver, dropped } = options;
  const waiting: T[] = [];
  const places = createShares((taken) => MOST_WAITING - taken, 4);
  const underWay = new Set<Promise<void>>();

  async function send(event: T) {
    const verdict = await deliver(event);
    if (verdict !== 'delivered') dropped(verdict, 1);
    budget.release(event.body.length + EVENT_BYTES);
  }

  function start() {
    while (underWay.size < MOST_IN_FLIGHT) {
      const event = waiting.shift();
      if (!event) return;
      places.giveBack([event.address]);
      const sent = send(event).then(() => {
        underWay.delete(sent);
        start();
      });
      underWay.add(sent);
    }
  }

  return {
    get idle() {
      return underWay.size === 0;
    },
    add(event) {
      if (!places.fits([event.address])) return dropped('capacity', 1);
      if (!budget.reserve(event.body.length + EVENT_BYTES)) return dropped('memory', 1);
      places.take([event.address]);
      waiting.push(event);
      start();
    },
    async drained() {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}
