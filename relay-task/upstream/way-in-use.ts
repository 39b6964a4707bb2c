/** Which way to get flags from LaunchDarkly is in use, and which one is tried beside it. */
import type { Log } from '../ports.ts';
import type { createSchedule } from './other-way.ts';
import type { Synchronizer, Way } from './synchronizer.ts';

/** A synchronizer that was started. */
export interface Member {
  readonly way: Way;
  synchronizer?: Synchronizer;
  left: boolean;
  /** It has delivered, and has not failed since. */
  isUp: boolean;
  /** LaunchDarkly asks for FDv1 for this many ms; 0: for good. */
  fallbackMs?: number | undefined;
}

export interface Ways {
  /** The first is used as long as it works. */
  readonly ways: readonly [Way, Way?];
  /** FDv1, for when LaunchDarkly asks for it. */
  readonly legacy?: Way | undefined;
}

interface WayInUseOptions extends Ways {
  readonly schedule: ReturnType<typeof createSchedule>;
  readonly log: Log;
  start(member: Member): Synchronizer;
  /** One that was tried is the way in use now. */
  onChanged(): void;
}

/** The way in use stays, and retries, until another one has delivered, so that a change of ways leaves no gap. */
export function createWayInUse(options: WayInUseOptions) {
  const { ways, legacy, schedule, log } = options;
  const [first, second] = ways;
  /** Tried beside the one in use. */
  let candidate: Member | undefined;

  function run(way: Way): Member {
    const member: Member = { way, left: false, isUp: false };
    member.synchronizer = options.start(member);
    return member;
  }

  /** Makes this one the way in use. */
  function promote(member: Member): void {
    if (member === active) return;
    log.info('Changed the way flags are received from LaunchDarkly', { way: member.way.name, before: active.way.name });
    leave(active);
    active = member;
    candidate = undefined;
    options.onChanged();
    schedule.clear();
  }

  function leave(member: Member | undefined): void {
    if (!member || member.left) return;
    member.left = true;
    member.synchronizer?.close();
  }

  /** LaunchDarkly asked this one for FDv1. */
  function useLegacy(member: Member, forMs: number): void {
    if (!legacy) return;
    schedule.legacyAsked(forMs);
    leave(candidate);
    candidate = undefined;
    if (active.way !== legacy) {
      log.warn(`LaunchDarkly asks for FDv1${forMs > 0 ? '' : ' for good'}; changing to it`, {
        way: member.way.name,
        ...(forMs > 0 && { forMs }),
        runbook: 'operations.md#how-flags-come-from-launchdarkly',
      });
      leave(active);
      active = run(legacy);
    }
    plan();
  }

  /** Decides when to try another way than the one in use. */
  function plan(isUrgent = false): void {
    const { isUp, way } = active;
    if (candidate && !(isUp && way === first)) return;
    leave(candidate);
    candidate = undefined;
    const other = way === first ? second : first;
    const inUse = way === legacy ? 'legacy' : way === second ? 'second' : 'first';
    if (other) schedule.plan({ inUse, isUp, isUrgent }, () => attempt(other));
    else schedule.clear();
  }

  function attempt(way: Way): void {
    const member = run(way);
    candidate = member;
    schedule.tried(() => giveUp(member));
  }

  /** The candidate did not work. */
  function giveUp(member: Member): void {
    if (member !== candidate) return;
    leave(member);
    candidate = undefined;
    if (active.way === legacy) schedule.legacyStays();
    plan();
  }

  let active = run(first);
  plan();

  return {
    get active() {
      return active;
    },
    get candidate() {
      return candidate;
    },
    promote,
    useLegacy,
    plan,
    giveUp,
    close(): void {
      schedule.clear();
      leave(candidate);
      leave(active);
    },
  };
}
