import type { Upstream, UpstreamStatus } from '../ports.ts';
import { createDelivery, type DeliveryOptions } from './delivery.ts';
import { createSchedule, fallbackIn, type WayTimes } from './other-way.ts';
import { createStatus, type Failure } from './status.ts';
import type { Step, Synchronizer, Way } from './synchronizer.ts';

export type DataSystemTimes = Partial<WayTimes>;

interface DataSystemOptions extends DataSystemTimes, DeliveryOptions {
  /** The first is used as long as it works. */
  readonly ways: readonly [Way, Way?];
  /** FDv1, for when LaunchDarkly asks for it. */
  readonly legacy?: Way | undefined;
  /** The data stops being current after this long without a sign of life. */
  readonly freshMs: number;
  onStatus?(status: UpstreamStatus): void;
  /** LaunchDarkly says which environment the key belongs to; before the first event. */
  onEnvironmentId?(id: string): void;
  random?(): number;
}

/** A synchronizer that was started. */
interface Member {
  readonly way: Way;
  synchronizer?: Synchronizer;
  left: boolean;
  /** It has delivered, and has not failed since. */
  isUp: boolean;
  /** LaunchDarkly asks for FDv1 for this many ms; 0: for good. */
  fallbackMs?: number | undefined;
}

/**
 * Delivers the flags that LaunchDarkly sends, by the first way that works, until it is closed. The way in use stays, and retries, until
 * another one has delivered, so that a change of ways leaves no gap.
 */
export function startDataSystem(options: DataSystemOptions): Upstream {
  const { ways, legacy, log } = options;
  const [first, second] = ways;
  const status = createStatus(options);
  const delivery = createDelivery(options);
  const schedule = createSchedule(options);
  /** Tried beside the one in use. */
  let candidate: Member | undefined;

  function run(way: Way): Member {
    const member: Member = { way, left: false, isUp: false };
    member.synchronizer = way.start(
      {
        onOpen(headers) {
          if (member.left) return;
          member.fallbackMs = fallbackIn(headers);
          if (member === active) {
            status.admitted();
            delivery.opened();
          } else if (member.fallbackMs !== undefined && active.way === legacy) {
            return useLegacy(member, member.fallbackMs);
          }
          const id = headers['x-ld-envid'];
          if (typeof id === 'string' && id !== '') options.onEnvironmentId?.(id);
        },
        // A sign of life confirms nothing before this way has delivered.
        onAlive: () => void (member === active && member.isUp && status.alive()),
        onStep: (step, receivedAt) => (member.left ? undefined : take(member, step, receivedAt)),
        onDelay: (reason) => void (member === active && status.delayed(reason)),
        onFailure: (failure) => void (member.left || fail(member, failure)),
      },
      delivery.basis,
    );
    return member;
  }

  function take(member: Member, step: Step, receivedAt: number): Failure | 'reconnect' | undefined {
    if (step.kind === 'goodbye') {
      log.info('LaunchDarkly is closing the stream', { reason: step.reason });
      member.isUp = false;
      if (step.fallbackMs !== undefined) useLegacy(member, step.fallbackMs);
      else if (member === active) plan();
      return 'reconnect';
    }
    // Two ways at once may deliver overlapping changes.
    const isOnlyWay = member === active && !candidate;
    const outcome = delivery.take(step, receivedAt, isOnlyWay, () => promote(member));
    if (outcome !== 'complete') return outcome;
    arrived(member);
    return undefined;
  }

  /** Memory is what LaunchDarkly has. */
  function arrived(member: Member): void {
    const wasUp = member.isUp;
    member.isUp = true;
    schedule.delivered();
    status.completed();
    if (member.fallbackMs !== undefined && member.way !== legacy) useLegacy(member, member.fallbackMs);
    else if (!wasUp) plan();
  }

  function fail(member: Member, failure: Failure): void {
    const asked = fallbackIn(failure.headers ?? {}) ?? member.fallbackMs;
    if (member === active || !active.isUp) status.failed(failure);
    if (member === active && failure.isAboutState) delivery.forget();
    const wasUp = member.isUp;
    member.isUp = false;
    if (asked !== undefined && member.way !== legacy) {
      useLegacy(member, asked);
      return;
    }
    if (member === candidate) {
      // Otherwise it retries until its time is up.
      if (failure.refused) giveUp(member);
      return;
    }
    const isUrgent = schedule.isUrgent(failure.refused === true);
    if (!candidate && (wasUp || isUrgent)) plan(isUrgent);
  }

  /** Makes this one the way in use. */
  function promote(member: Member): void {
    if (member === active) return;
    log.info('Changed the way flags are received from LaunchDarkly', { way: member.way.name, before: active.way.name });
    leave(active);
    active = member;
    candidate = undefined;
    delivery.opened();
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
      log.warn('LaunchDarkly asks for FDv1; changing to it', {
        way: member.way.name,
        forMs: forMs || 'good',
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
    status: status.read,
    async close() {
      schedule.clear();
      leave(candidate);
      leave(active);
      status.closed();
    },
  };
}
