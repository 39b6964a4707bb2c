import type { Upstream, UpstreamStatus } from '../ports.ts';
import { createDelivery, type DeliveryOptions } from './delivery.ts';
import { createSchedule, fallbackIn, type WayTimes } from './other-way.ts';
import { createStatus, type Failure } from './status.ts';
import type { Step, Synchronizer } from './synchronizer.ts';
import { createWayInUse, type Member, type Ways } from './way-in-use.ts';

export type DataSystemTimes = Partial<WayTimes>;

interface DataSystemOptions extends DataSystemTimes, DeliveryOptions, Ways {
  /** The data stops being current after this long without a sign of life. */
  readonly freshMs: number;
  onStatus?(status: UpstreamStatus): void;
  /** LaunchDarkly says which environment the key belongs to; before the first event. */
  onEnvironmentId?(id: string): void;
  random?(): number;
}

/** Delivers the flags that LaunchDarkly sends, by the first way that works, until it is closed. */
export function startDataSystem(options: DataSystemOptions): Upstream {
  const { legacy, log } = options;
  const status = createStatus(options);
  const delivery = createDelivery(options);
  const schedule = createSchedule(options);
  const inUse = createWayInUse({ ...options, schedule, start, onChanged: delivery.opened });

  function start(member: Member): Synchronizer {
    return member.way.start(
      {
        onOpen(headers) {
          if (member.left) return;
          member.fallbackMs = fallbackIn(headers);
          if (member === inUse.active) {
            status.admitted();
            delivery.opened();
          } else if (member.fallbackMs !== undefined && inUse.active.way === legacy) {
            return inUse.useLegacy(member, member.fallbackMs);
          }
          const id = headers['x-ld-envid'];
          if (typeof id === 'string' && id !== '') options.onEnvironmentId?.(id);
        },
        // A sign of life confirms nothing before this way has delivered.
        onAlive: () => void (member === inUse.active && member.isUp && status.alive()),
        onStep: (step, receivedAt) => (member.left ? undefined : take(member, step, receivedAt)),
        onDelay: (reason) => void (member === inUse.active && status.delayed(reason)),
        onFailure: (failure) => void (member.left || fail(member, failure)),
      },
      delivery.basis,
    );
  }

  function take(member: Member, step: Step, receivedAt: number): Failure | 'reconnect' | undefined {
    if (step.kind === 'goodbye') {
      log.info('LaunchDarkly is closing the stream', { reason: step.reason });
      member.isUp = false;
      if (step.fallbackMs !== undefined) inUse.useLegacy(member, step.fallbackMs);
      else if (member === inUse.active) inUse.plan();
      return 'reconnect';
    }
    // Two ways at once may deliver overlapping changes.
    const isOnlyWay = member === inUse.active && !inUse.candidate;
    const outcome = delivery.take(step, receivedAt, isOnlyWay, () => inUse.promote(member));
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
    if (member.fallbackMs !== undefined && member.way !== legacy) inUse.useLegacy(member, member.fallbackMs);
    else if (!wasUp) inUse.plan();
  }

  function fail(member: Member, failure: Failure): void {
    const asked = fallbackIn(failure.headers ?? {}) ?? member.fallbackMs;
    if (member === inUse.active || !inUse.active.isUp) status.failed(failure);
    if (member === inUse.active && failure.isAboutState) delivery.forget();
    const wasUp = member.isUp;
    member.isUp = false;
    if (asked !== undefined && member.way !== legacy) {
      inUse.useLegacy(member, asked);
      return;
    }
    if (member === inUse.candidate) {
      // Otherwise it retries until its time is up.
      if (failure.refused) inUse.giveUp(member);
      return;
    }
    const isUrgent = schedule.isUrgent(failure.refused === true);
    if (!inUse.candidate && (wasUp || isUrgent)) inUse.plan(isUrgent);
  }

  return {
    status: status.read,
    async close() {
      inUse.close();
      status.closed();
    },
  };
}
