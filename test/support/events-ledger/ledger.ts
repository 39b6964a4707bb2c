/**
 * The balance sheet of events: what relays accepted, what reached LaunchDarkly, and what is missing. Each event has a number, by which
 * it is found again whatever payload it travels in.
 */

/** What the sender of an event knows about it; a better answer replaces a worse one. */
const OFFERED = 0;
/** Answered with anything but 202: the relay did not take it. */
const REFUSED = 1;
/** Sent, and no answer came: the relay may have taken it. */
const UNANSWERED = 2;
const ACCEPTED = 3;

export interface Balance {
  readonly offered: number;
  /** Answered with 202. */
  readonly accepted: number;
  /** Never accepted, and refused each time. */
  readonly refused: number;
  /** Never accepted, but once without an answer. */
  readonly unanswered: number;
  /** Accepted, and arrived. */
  readonly delivered: number;
  /** Accepted, and never arrived. */
  readonly missing: number;
  /** The same of each relay: those that it accepted last. */
  readonly missingFrom: Readonly<Record<number, number>>;
  /** How often an event arrived once more in another payload … */
  readonly repeated: number;
  /** … although its sender got an answer each time. */
  readonly repeatedWithoutDoubt: number;
  /** Arrived although the relay refused them. */
  readonly neverTaken: number;
  /** How often one arrived with the key of another environment. */
  readonly strayed: number;
}

export interface Ledger {
  /** The next numbers, for events of this environment. */
  offer(environment: number, count: number): { readonly from: number; readonly to: number };
  /** These were sent to this relay, which answered with this status; undefined if no answer came. */
  answered(numbers: readonly number[], status: number | undefined, relay: number): void;
  /** This one reached LaunchDarkly in a payload with a new ID. */
  arrived(number: number, environment: number): void;
  /** How many were accepted. */
  readonly accepted: number;
  /** How many different ones arrived. */
  readonly arrivals: number;
  balance(): Balance;
}

/** `most`: how many events there may be. */
export function createLedger(most: number): Ledger {
  const environments = new Uint8Array(most);
  const answers = new Uint8Array(most);
  /** Whether an answer was missing once. */
  const doubts = new Uint8Array(most);
  const times = new Uint8Array(most);
  /** The relays that accepted them. */
  const relays = new Uint8Array(most);
  let offered = 0;
  let accepted = 0;
  let arrivals = 0;
  let strayed = 0;

  return {
    get accepted() {
      return accepted;
    },
    get arrivals() {
      return arrivals;
    },
    offer(environment, count) {
      const from = offered;
      offered += count;
      if (offered > most) throw new Error(`there are only ${most} numbers`);
      environments.fill(environment, from, offered);
      return { from, to: offered };
    },
    answered(numbers, status, relay) {
      const answer = status === 202 ? ACCEPTED : status === undefined ? UNANSWERED : REFUSED;
      for (const number of numbers) {
        if (answer === UNANSWERED) doubts[number] = 1;
        if (answer === ACCEPTED && answers[number] !== ACCEPTED) accepted += 1;
        if (answer === ACCEPTED) relays[number] = relay;
        answers[number] = Math.max(answers[number] ?? OFFERED, answer);
      }
    },
    arrived(number, environment) {
      if (!(number < offered)) throw new Error(`event ${number} was never offered`);
      if (times[number] === 0) arrivals += 1;
      times[number] = Math.min(255, (times[number] ?? 0) + 1);
      if (environments[number] !== environment) strayed += 1;
    },
    balance() {
      const missingFrom: Record<number, number> = {};
      const sum = { refused: 0, unanswered: 0, delivered: 0, missing: 0, repeated: 0, repeatedWithoutDoubt: 0 };
      let neverTaken = 0;
      for (let number = 0; number < offered; number++) {
        const arrived = times[number] ?? 0;
        if (answers[number] === ACCEPTED) {
          sum[arrived > 0 ? 'delivered' : 'missing'] += 1;
          const relay = relays[number] ?? 0;
          if (arrived === 0) missingFrom[relay] = (missingFrom[relay] ?? 0) + 1;
        }
        if (answers[number] === UNANSWERED) sum.unanswered += 1;
        if (answers[number] === REFUSED) {
          sum.refused += 1;
          if (arrived > 0) neverTaken += 1;
        }
        if (arrived < 2) continue;
        sum.repeated += arrived - 1;
        if (doubts[number] === 0) sum.repeatedWithoutDoubt += arrived - 1;
      }
      return { offered, accepted, ...sum, missingFrom, neverTaken, strayed };
    },
  };
}

const KEY = /^event-(\d+)$/;

/** The key of the event with this number. */
export const keyOf = (number: number): string => `event-${number}`;

/** The number of an event; undefined for those that SDKs add, such as `index`. Throws if it is not as its sender made it. */
export function numberOf(event: unknown): number | undefined {
  const { kind, key, metricValue } = event as Record<string, unknown>;
  const [, digits] = (kind === 'custom' && KEY.exec(String(key))) || [];
  if (digits === undefined) return undefined;
  if (metricValue !== Number(digits)) throw new Error(`an event changed on its way: ${JSON.stringify(event)}`);
  return Number(digits);
}
