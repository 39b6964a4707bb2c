import type { BackoffTimes } from '../common/backoff.ts';

/** The times of every store. A test scales them down together; a relay never changes them. */
export interface EngineTimings {
  /** The least time between two publications. The first change goes at once. */
  readonly publishGapMs: number;
  /** How often a database without a lease is looked at, to notice that it is down or was wiped. */
  readonly glanceMs: number;
  /** How often everything is read back and compared. */
  readonly reconcileMs: number;
  /** How long something newer than memory, or unknown to it, may stay in the database before memory overrules it. */
  readonly secondLookMs: number;
  /** How long a tombstone stays in the store after it was first seen. */
  readonly tombstoneMs: number;
  /** The delay before a set that another writer may be changing is read again. */
  readonly rereadMs: number;
  /** The first delay after a failure; doubles up to `retryCapMs`. */
  readonly retryBaseMs: number;
  /** The longest delay between two attempts. */
  readonly retryCapMs: number;
  /** How long `close` waits for a step in progress. */
  readonly closeGraceMs: number;
}

/** And those of DynamoDB's lease and snapshot. */
export interface Timings extends EngineTimings {
  /** How often the holder renews its lease: `beat` + 1. */
  readonly renewMs: number;
  /** The holder writes nothing once its last successful renewal was sent this long ago. */
  readonly stopMs: number;
  /** Others take the lease over when `beat` has not changed for this long on their own clock. Above `stopMs` + `requestTimeoutMs`. */
  readonly expireMs: number;
  /**
   * How often tasks without the lease look at the head; below a second, so that a released lease finds its next holder
   * within one. Each look is an eventually consistent read of less than 1 KB: half a read unit, 1.9 million units a month
   * for each environment and waiting task (about 0.23 USD at 0.125 USD a million).
   */
  readonly pollMs: number;
  /** The least time between two bodies of the snapshot. */
  readonly bodyGapMs: number;
  /** A delta that has been needed for this long is folded into a new body. */
  readonly deltaAgeMs: number;
  /** How often the writer of Big Segments shows that it is at work on a patch. */
  readonly patchBeatMs: number;
  /** Another relay applies a patch of Big Segments when their writer has shown nothing for this long. Above `requestTimeoutMs`. */
  readonly patchExpireMs: number;
  /**
   * How long the members of another environment stay after their writer was told to stop, so that what it still sends is deleted
   * with them. Above `patchExpireMs` + `requestTimeoutMs`: it sends its last update at most `patchExpireMs` after a request that
   * showed it to be the writer, and gives that up after `requestTimeoutMs`. What is left is for the way to the table.
   */
  readonly patchDrainMs: number;
  /** A request without an answer fails after this time. */
  readonly requestTimeoutMs: number;
}

/** Of Redis and Consul. */
export const replicaTimings: EngineTimings = {
  publishGapMs: 200,
  glanceMs: 5_000,
  reconcileMs: 300_000,
  secondLookMs: 30_000,
  tombstoneMs: 24 * 3_600_000,
  rereadMs: 250,
  retryBaseMs: 50,
  retryCapMs: 5_000,
  closeGraceMs: 300,
};

/** Of DynamoDB, where every publication costs write units. */
export const defaultTimings: Timings = {
  ...replicaTimings,
  publishGapMs: 1_000,
  renewMs: 5_000,
  stopMs: 10_000,
  expireMs: 15_000,
  pollMs: 700,
  bodyGapMs: 10_000,
  deltaAgeMs: 3_600_000,
  patchBeatMs: 1_000,
  patchExpireMs: 5_000,
  patchDrainMs: 10_000,
  requestTimeoutMs: 3_000,
};

/** The backoff of everything that is tried again. */
export function retryTimes({
  retryBaseMs,
  retryCapMs,
}: Pick<EngineTimings, 'retryBaseMs' | 'retryCapMs'>): BackoffTimes {
  return { firstMs: retryBaseMs, maxMs: retryCapMs };
}

/** The two clocks of a relay. No rule compares either of them with another machine's. */
export interface Clock {
  /** Monotonic ms; its zero means nothing. */
  now(): number;
  /** Unix ms. */
  wall(): number;
}

export const systemClock: Clock = { now: () => performance.now(), wall: () => Date.now() };
