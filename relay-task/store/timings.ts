/** Every time that the store keeps. A test scales them down together; a relay never changes them. */
export interface Timings {
  /** How often the holder renews its lease: `beat` + 1. */
  readonly renewMs: number;
  /** The holder writes nothing once its last successful renewal was sent this long ago. */
  readonly stopMs: number;
  /** Others take the lease over when `beat` has stood still this long on their own clock. Above `stopMs` + `requestTimeoutMs`. */
  readonly expireMs: number;
  /**
   * How often those who do not hold the lease look at the head; below a second, so that a released lease finds its next
   * holder within one. Each look is an eventually consistent read of less than 1 KB: half a read unit, 1.9 million
   * units a month for each environment and waiting task (about 0.23 USD at 0.125 USD a million).
   */
  readonly pollMs: number;
  /** The least time between two publications. */
  readonly publishGapMs: number;
  /** The least time between two bodies of the snapshot. */
  readonly bodyGapMs: number;
  /** A delta that has been needed this long is folded into a new body. */
  readonly deltaAgeMs: number;
  /** How often the holder reads the table back. */
  readonly reconcileMs: number;
  /** How long something newer than memory, or unknown to it, may stand in the table before memory's word is final. */
  readonly secondLookMs: number;
  /** A request without an answer is given up after this time. */
  readonly requestTimeoutMs: number;
  /** First pause after a throttled request; doubles, with full jitter, up to `retryCapMs`. */
  readonly retryBaseMs: number;
  /** Longest pause between two tries, whatever failed. */
  readonly retryCapMs: number;
  /** How long `close` waits for a request under way before it cuts it off and releases the lease. */
  readonly closeGraceMs: number;
}

export const defaultTimings: Timings = {
  renewMs: 5_000,
  stopMs: 10_000,
  expireMs: 15_000,
  pollMs: 700,
  publishGapMs: 1_000,
  bodyGapMs: 10_000,
  deltaAgeMs: 3_600_000,
  reconcileMs: 300_000,
  secondLookMs: 30_000,
  requestTimeoutMs: 3_000,
  retryBaseMs: 50,
  retryCapMs: 5_000,
  closeGraceMs: 300,
};

/** The two clocks of a relay. No rule compares either of them with another machine's. */
export interface Clock {
  /** Monotonic ms; its zero means nothing. */
  now(): number;
  /** Unix ms. */
  wall(): number;
}

export const systemClock: Clock = { now: () => performance.now(), wall: () => Date.now() };

/** Full jitter: a random part of a pause that doubles with every failure. In ms. */
export function backoffMs(failures: number, timings: Pick<Timings, 'retryBaseMs' | 'retryCapMs'>): number {
  const { retryBaseMs, retryCapMs } = timings;
  return Math.random() * Math.min(retryCapMs, retryBaseMs * 2 ** Math.min(failures, 20));
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One sleeper that can be woken; a call that comes before the sleep ends it at once. */
export interface Alarm {
  /** Resolves after `ms` (Infinity: only when woken). */
  wait(ms: number): Promise<void>;
  wake(): void;
}

export function createAlarm(): Alarm {
  let woken = false;
  let end: (() => void) | undefined;
  return {
    wait(ms) {
      return new Promise((resolve) => {
        let timer: NodeJS.Timeout | undefined;
        end = () => {
          clearTimeout(timer);
          end = undefined;
          woken = false;
          resolve();
        };
        if (woken) end();
        else if (ms !== Infinity) timer = setTimeout(end, Math.max(0, ms));
      });
    },
    wake() {
      woken = true;
      end?.();
    },
  };
}
