/** Diagnostic events that came with one credential: forwarded unchanged in the background, few at a time. */
import type { EventDelivery } from '../ports.ts';
import type { Verdict } from './courier.ts';
import type { LastAnswer } from './flights.ts';
import { createHolders } from './holders.ts';
import type { SenderMemory } from './sender-memory.ts';

const MOST_WAITING = 100;
const MOST_IN_FLIGHT = 4;
/** Estimated memory of an event besides its body: mostly headers. */
const EVENT_BYTES = 1_024;

export function createDiagnostics(options: {
  readonly memory: Pick<SenderMemory, 'pin' | 'unpin'>;
  /** Never rejects. */
  readonly deliver: (event: EventDelivery, answered: (status: number | undefined) => void) => Promise<Verdict>;
  /** `last`: it was sent. */
  readonly dropped: (
    reason: 'capacity' | 'memory' | Exclude<Verdict, 'delivered'>,
    events: number,
    last?: LastAnswer,
  ) => void;
}) {
  const { memory, deliver, dropped } = options;
  const waiting: EventDelivery[] = [];
  const places = createHolders();
  const underWay = new Set<Promise<void>>();

  async function send(event: EventDelivery) {
    let last: LastAnswer = { status: undefined };
    const verdict = await deliver(event, (status) => {
      last = { status };
    });
    if (verdict !== 'delivered') dropped(verdict, 1, last);
    memory.unpin(event.address, bytesOf(event));
  }

  function leave(event: EventDelivery) {
    waiting.splice(waiting.indexOf(event), 1);
    places.change(senderOf(event), -1);
  }

  /** If all places are taken, drops the newest event of the sender with the most. */
  function makePlace(event: EventDelivery): boolean {
    if (waiting.length < MOST_WAITING) return true;
    const { sender } = places.whoYields(senderOf(event), 1) ?? {};
    const newest = waiting.findLast(({ address }) => address === sender?.name);
    if (!newest) return false;
    leave(newest);
    memory.unpin(newest.address, bytesOf(newest));
    dropped('capacity', 1);
    return true;
  }

  function start() {
    while (underWay.size < MOST_IN_FLIGHT) {
      const [event] = waiting;
      if (!event) return;
      leave(event);
      const sent = send(event).then(() => {
        underWay.delete(sent);
        start();
      });
      underWay.add(sent);
    }
  }

  return {
    /** Nothing is queued or being sent. */
    get idle() {
      return underWay.size === 0;
    },
    add(event: EventDelivery) {
      if (!makePlace(event)) return dropped('capacity', 1);
      if (!memory.pin(event.address, bytesOf(event))) return dropped('memory', 1);
      places.change(senderOf(event), 1);
      waiting.push(event);
      start();
    },
    /** Resolves when nothing is queued or being sent. */
    async drained() {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

const senderOf = ({ address: name }: EventDelivery) => ({ name, isSuspect: false });
const bytesOf = ({ body }: EventDelivery) => body.length + EVENT_BYTES;
