import { backoffMs } from '../common/backoff.ts';
import { createPause, within } from '../common/pause.ts';
import type { Term } from './lease-decision.ts';
import type { Publication } from './lease-head.ts';
import { createLeaseHolding, type HoldingOptions, mayWrite } from './lease-holding.ts';
import { createLeaseSeeking } from './lease-seeking.ts';
import { createSightings } from './lease-sight.ts';
import { retryTimes } from './timings.ts';

interface LeaseOptions extends HoldingOptions {
  /** The error of the last look at the head; undefined when it went well. */
  onOutcome(error: unknown): void;
}

/** The right to write one environment: one holder at a time, known by the head of the snapshot. */
export interface Lease {
  /** The present term, whether or not it may be used at this moment. */
  term(): Term | undefined;
  /** May this process write now? False from `stopMs` after the last successful renewal was sent. */
  held(): boolean;
  /** True when another task is known to hold it, or this task may not take it: nothing to wait for. */
  elsewhere(): boolean;
  setEligible(eligible: boolean): void;
  /** Points the head at a publication, on condition that the lease is ours and the revision newer; false: refused. */
  publish(publication: Publication): Promise<boolean>;
  /** Renews now, because something in the table suggests that the lease is gone. */
  check(): Promise<void>;
  /** Raises the epoch of the present term above the revisions in the table; false: the lease is gone. */
  raise(epoch: number): Promise<boolean>;
  /** Releases the lease at once and takes no new one. */
  close(): Promise<void>;
}

export function startLease(options: LeaseOptions): Lease {
  const { clock, timings } = options;
  const sightings = createSightings(options);
  const holding = createLeaseHolding(options, sightings);
  const { state, check, publish, raise, releaseQuietly } = holding;
  const seek = createLeaseSeeking(options, sightings, holding);
  const pause = createPause();
  let failures = 0;
  /** The next step renews the lease whether or not it is due. */
  let hurry = false;

  async function step(): Promise<void> {
    if (!state.holding) return seek();
    const due = hurry || clock.now() - state.holding.sentAt >= timings.renewMs;
    hurry = false;
    if (due) await check();
  }

  function delayMs(): number {
    if (hurry) return 0;
    if (failures > 0) return timings.pollMs + backoffMs(failures, retryTimes(timings));
    if (!state.holding) return timings.pollMs;
    return Math.max(0, state.holding.sentAt + timings.renewMs - clock.now());
  }

  async function run(): Promise<void> {
    while (!state.closed) {
      try {
        await step();
        failures = 0;
        options.onOutcome(undefined);
      } catch (error) {
        failures += 1;
        if (!state.closed) options.onOutcome(error);
      }
      if (!state.closed) await pause.wait(delayMs());
    }
    // A takeover may have gone through while `close` was called.
    await releaseQuietly();
  }

  const loop = run();

  return {
    term: () => state.holding,
    held: () => mayWrite(state, clock.now(), timings),
    elsewhere() {
      if (state.holding) return false;
      return !state.eligible || sightings.isHeldByOther();
    },
    setEligible(next) {
      if (next === state.eligible) return;
      state.eligible = next;
      hurry = state.holding !== undefined;
      pause.wake();
      options.onChange();
    },
    publish,
    check,
    raise,
    async close() {
      if (state.closed) return;
      state.closed = true;
      pause.wake();
      if (state.holding) await releaseQuietly();
      else await within(timings.closeGraceMs, loop);
    },
  };
}
