/** When another way to get flags from LaunchDarkly is tried beside the one in use. */
import type { IncomingHttpHeaders } from 'node:http';
import { createBackoff } from '../common/backoff.ts';
import { LONGEST_TIMER_MS } from '../common/pause.ts';

export interface WayTimes {
  /** How long the way in use may deliver nothing before the other is tried; 2 min, as in LaunchDarkly's SDKs. */
  readonly fallbackMs: number;
  /** The same while nothing has been delivered at all; 5 s, half of the time that readiness waits. */
  readonly firstFallbackMs: number;
  /** How long the second way works before the first is tried again; 5 min, as in LaunchDarkly's SDKs. */
  readonly recoveryMs: number;
}

export interface WaysState {
  readonly inUse: 'first' | 'second' | 'legacy';
  /** The way in use has delivered, and has not failed since. */
  readonly isUp: boolean;
  /** Something was delivered, in any way. */
  readonly hasDelivered: boolean;
  /** The other way was tried since something was delivered. */
  readonly hasTried: boolean;
  /** The way in use is known not to work. */
  readonly isUrgent: boolean;
  /** How long LaunchDarkly still wants FDv1; undefined: for good, or not at all. */
  readonly legacyLeftMs: number | undefined;
}

/** The longest pause between two attempts of the other way, and the longest while there are no flags at all. */
const MOST_MS = 3_600_000;
const MOST_WITHOUT_FLAGS_MS = 60_000;

/** How long until the other way is tried, in ms; undefined: it is not. `next` is the next pause between two attempts. */
export function waitForOther(state: WaysState, times: WayTimes, next: () => number): number | undefined {
  const { inUse, isUp, hasDelivered, hasTried, isUrgent, legacyLeftMs } = state;
  const isLegacy = inUse === 'legacy';
  if (isLegacy && legacyLeftMs !== undefined) return Math.max(0, legacyLeftMs);
  if (isUp) return inUse === 'second' ? times.recoveryMs : undefined;
  // Without flags, long waits make no sense.
  if (hasTried) return Math.min(next(), hasDelivered ? MOST_MS : MOST_WITHOUT_FLAGS_MS);
  if (isUrgent && !isLegacy) return 0;
  return hasDelivered || isLegacy ? times.fallbackMs : times.firstFallbackMs;
}

/** Plans when the other way is tried, by what has happened so far. */
export function createSchedule(options: Partial<WayTimes> & { random?(): number }) {
  const { fallbackMs = 120_000, firstFallbackMs = 5_000, recoveryMs = 300_000 } = options;
  const times = { fallbackMs, firstFallbackMs, recoveryMs };
  const attempts = createBackoff({ firstMs: fallbackMs, maxMs: MOST_MS }, options.random);
  let hasDelivered = false;
  let hasTried = false;
  /** How long LaunchDarkly last asked for FDv1; 0: for good. And until when that is. */
  let legacyMs = 0;
  let legacyUntil = 0;
  let timer: NodeJS.Timeout | undefined;
  /** When the other way is tried, as `performance.now()`; Infinity: not planned. */
  let dueAt = Number.POSITIVE_INFINITY;

  function stayLegacy(ms: number): void {
    legacyUntil = performance.now() + Math.min(LONGEST_TIMER_MS, ms);
  }

  function clear(): void {
    clearTimeout(timer);
    dueAt = Number.POSITIVE_INFINITY;
  }

  return {
    clear,
    delivered(): void {
      hasDelivered = true;
      hasTried = false;
      attempts.reset();
    },
    /** Whether a failure leaves nothing to wait for: the way in use is known not to work. */
    isUrgent: (isRefused: boolean) => !hasTried && (isRefused || !hasDelivered),
    /** LaunchDarkly asks for FDv1. */
    legacyAsked(forMs: number): void {
      clear();
      legacyMs = forMs;
      stayLegacy(forMs);
    },
    /** The other way did not work while FDv1 was in use. */
    legacyStays(): void {
      if (legacyMs > 0) stayLegacy(Math.max(legacyMs, attempts.next()));
    },
    /** Never later than was planned before. */
    plan(state: Pick<WaysState, 'inUse' | 'isUp' | 'isUrgent'>, attempt: () => void): void {
      const legacyLeftMs = legacyMs > 0 ? legacyUntil - performance.now() : undefined;
      const waitMs = waitForOther({ ...state, hasDelivered, hasTried, legacyLeftMs }, times, attempts.next);
      clearTimeout(timer);
      if (waitMs === undefined) {
        dueAt = Number.POSITIVE_INFINITY;
        return;
      }
      const now = performance.now();
      dueAt = Math.min(dueAt, now + waitMs);
      timer = setTimeout(attempt, Math.max(0, dueAt - now));
    },
    /** The other way was started. */
    tried(giveUp: () => void): void {
      clear();
      hasTried = true;
      // A stream that is open and sends nothing does not work either.
      timer = setTimeout(giveUp, fallbackMs);
    },
  };
}

/** For how long LaunchDarkly asks for FDv1 by these headers, in ms; 0: for good; undefined: it does not ask. */
export function fallbackIn(headers: IncomingHttpHeaders): number | undefined {
  const [asked, ttl] = ['x-ld-fd-fallback', 'x-ld-fd-fallback-ttl'].map((name) => String(headers[name] ?? ''));
  if (asked?.toLowerCase() !== 'true') return undefined;
  const seconds = Number.parseInt(ttl ?? '', 10);
  return Number.isNaN(seconds) ? 0 : Math.max(0, seconds) * 1_000;
}
