/** When another way to get flags from LaunchDarkly is tried beside the one in use. */
import type { IncomingHttpHeaders } from 'node:http';

interface WayTimes {
  /** How long the way in use may deliver nothing. */
  readonly fallbackMs: number;
  /** The same while nothing has been delivered at all. */
  readonly firstFallbackMs: number;
  /** How long the second way works before the first is tried again. */
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
export const MOST_MS = 3_600_000;
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

/** For how long LaunchDarkly asks for FDv1 by these headers, in ms; 0: for good; undefined: it does not ask. */
export function fallbackIn(headers: IncomingHttpHeaders): number | undefined {
  const [asked, ttl] = ['x-ld-fd-fallback', 'x-ld-fd-fallback-ttl'].map((name) => String(headers[name] ?? ''));
  if (asked?.toLowerCase() !== 'true') return undefined;
  const seconds = Number.parseInt(ttl ?? '', 10);
  return Number.isNaN(seconds) ? 0 : Math.max(0, seconds) * 1_000;
}
