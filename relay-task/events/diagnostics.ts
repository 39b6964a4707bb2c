/** Diagnostic events that came with one credential: forwarded one at a time, unchanged, in the background. */
import type { Budget } from '../common/budget.ts';
import type { Verdict } from './courier.ts';

export interface Diagnostics<T extends { readonly body: Buffer }> {
  /** Nothing is queued or being sent. */
  readonly idle: boolean;
  add(event: T): void;
  /** Resolves when nothing is queued or being sent. */
  drained(): Promise<void>;
}

const MOST_WAITING = 100;
/** Estimated memory of an event besides its body: mostly headers. */
const EVENT_BYTES = 1_024;

export function createDiagnostics<T extends { readonly body: Buffer }>(options: {
  readonly budget: Budget;
  /** Never rejects. */
  readonly deliver: (event: T) => Promise<Verdict>;
  readonly dropped: (reason: 'capacity' | 'memory' | Exclude<Verdict, 'delivered'>, events: number) => void;
}): Diagnostics<T> {
  const { budget, deliver, dropped } = options;
  const waiting: T[] = [];
  let running: Promise<void> | undefined;

  async function run() {
    for (let event = waiting[0]; event; event = waiting[0]) {
      const verdict = await deliver(event);
      if (verdict !== 'delivered') dropped(verdict, 1);
      budget.release(event.body.length + EVENT_BYTES);
      waiting.shift();
    }
    running = undefined;
  }

  return {
    get idle() {
      return !running;
    },
    add(event) {
      if (waiting.length >= MOST_WAITING) return dropped('capacity', 1);
      if (!budget.reserve(event.body.length + EVENT_BYTES)) return dropped('memory', 1);
      waiting.push(event);
      running ??= run();
    },
    async drained() {
      while (running) await running;
    },
  };
}
