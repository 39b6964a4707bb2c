import type { Item } from '../../lib/flag-table/index.ts';
import { createBackoff } from '../common/backoff.ts';
import { createPacedLines, createReasonLines } from '../common/paced-lines.ts';
import { LONGEST_TIMER_MS } from '../common/pause.ts';
import { inSendingOrder } from '../common/prerequisites.ts';
import type { Log, UnreadableItem, Upstream, UpstreamSink, UpstreamStatus } from '../ports.ts';
import { type Held, isUnreadable } from './messages.ts';
import { fallbackIn, MOST_MS, waitForOther } from './other-way.ts';
import { createStatus, type Failure, invalidData } from './status.ts';
import type { Step, Synchronizer, Way } from './synchronizer.ts';
import { createUnreadableLines } from './unreadable-lines.ts';

export interface DataSystemTimes {
  /** How long the first way may deliver nothing before the second is tried; 2 min, as in LaunchDarkly's SDKs. */
  readonly fallbackMs?: number | undefined;
  /** The same while nothing has been delivered at all; 5 s, half of the time that readiness waits. */
  readonly firstFallbackMs?: number | undefined;
  /** How long the second way works before the first is tried again; 5 min, as in LaunchDarkly's SDKs. */
  readonly recoveryMs?: number | undefined;
}

interface DataSystemOptions extends DataSystemTimes {
  /** The first is used as long as it works. */
  readonly ways: readonly [Way, Way?];
  /** FDv1, for when LaunchDarkly asks for it. */
  readonly legacy?: Way | undefined;
  readonly sink: UpstreamSink;
  readonly log: Log;
  /** What memory holds. */
  readonly held?: Held | undefined;
  /**
   * Differs after every change of memory, whoever made it. LaunchDarkly is asked for changes only if memory has not changed since
   * the last delivery. Without this function every transfer is a full one.
   */
  readonly generation?: (() => unknown) | undefined;
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
  synchronizer: Synchronizer | undefined;
  left: boolean;
  /** It has delivered, and has not failed since. */
  isUp: boolean;
  /** LaunchDarkly asks for FDv1 for this many ms; 0: for good. */
  fallbackMs: number | undefined;
  /** How many came on this connection. */
  fullSets: number;
}

/** Of one connection; others are paced. */
const MOST_FULL_LINES = 3;

/**
 * Delivers what LaunchDarkly sends, by the first way that works, until it is closed. The one in use stays, and retries, until
 * another one has delivered: no change of the way leaves a gap.
 */
export function startDataSystem(options: DataSystemOptions): Upstream {
  const { ways, legacy, sink, log, held = () => undefined, generation, random } = options;
  const { fallbackMs = 120_000, firstFallbackMs = 5_000, recoveryMs = 300_000 } = options;
  const [first, second] = ways;
  const status = createStatus({ onStatus: options.onStatus, freshMs: options.freshMs });
  const warnIgnored = createReasonLines((fields) => log.warn('Ignored a message from LaunchDarkly', fields));
  const unreadableLines = createUnreadableLines({ log, held, what: 'Item' });
  const pacedFull = createPacedLines();
  const attempts = createBackoff({ firstMs: fallbackMs, maxMs: MOST_MS }, random);
  /** The state that was delivered last, and the generation of memory right after it. */
  let known: { readonly state: string; readonly generation: unknown } | undefined;
  let hasDelivered = false;
  /** The other way was tried since something was delivered. */
  let hasTried = false;
  /** Tried beside the one in use. */
  let candidate: Member | undefined;
  let timer: NodeJS.Timeout | undefined;
  /** When the other way is tried, as `performance.now()`; Infinity: not planned. */
  let dueAt = Number.POSITIVE_INFINITY;
  /** How long LaunchDarkly last asked for FDv1; 0: for good. And until when that is. */
  let legacyMs = 0;
  let legacyUntil = 0;

  const hasBasis = () => known !== undefined && known.generation === generation?.();
  const remember = (state: string | undefined) => {
    known = state === undefined || !generation ? undefined : { state, generation: generation() };
  };

  function run(way: Way): Member {
    const member = memberOf(way);
    member.synchronizer = way.start(
      {
        onOpen(headers) {
          if (member.left) return;
          member.fallbackMs = fallbackIn(headers);
          member.fullSets = 0;
          if (member === active) status.admitted();
          else if (member.fallbackMs !== undefined && active.way === legacy)
            return useLegacy(member, member.fallbackMs);
          const id = headers['x-ld-envid'];
          if (typeof id === 'string' && id !== '') options.onEnvironmentId?.(id);
        },
        // What is alive and has not delivered confirms nothing.
        onAlive: () => void (member === active && member.isUp && status.alive()),
        onStep: (step, receivedAt) => (member.left ? undefined : take(member, step, receivedAt)),
        onDelay: (reason) => void (member === active && status.delayed(reason)),
        onFailure: (failure) => void (member.left || fail(member, failure)),
      },
      () => (hasBasis() ? known?.state : undefined),
    );
    return member;
  }

  function take(member: Member, step: Step, receivedAt: number): Failure | 'reconnect' | undefined {
    switch (step.kind) {
      case 'full': {
        const { items, unreadable, state } = step;
        promote(member);
        unreadableLines.full(unreadable);
        sink.put(items, unreadable, receivedAt);
        remember(state);
        tellFull(member, { items: items.length, unreadable: unreadable.length });
        return arrived(member);
      }
      case 'changes': {
        if (step.state === undefined) {
          change(step.changes, receivedAt);
          return undefined;
        }
        if (!hasBasis()) return invalid('changes to a state that memory does not have');
        // What comes from two ways at once may overlap.
        const isOnlyWay = member === active && !candidate;
        promote(member);
        change(step.changes, receivedAt);
        remember(step.state);
        if (isOnlyWay && step.changes.some((one) => isOlder(one, held))) {
          known = undefined;
          return invalid('a lower version than memory has');
        }
        return arrived(member);
      }
      case 'current':
        if (!hasBasis()) return invalid('nothing, although it was asked for everything');
        promote(member);
        return arrived(member);
      case 'goodbye':
        log.info('LaunchDarkly is closing the stream', { reason: step.reason });
        member.isUp = false;
        if (step.fallbackMs !== undefined) useLegacy(member, step.fallbackMs);
        else if (member === active) plan();
        return 'reconnect';
      case 'ignored':
        warnIgnored(step.why);
        return undefined;
      case 'invalid':
        return invalidData(step.problem);
      default:
        return undefined;
    }
  }

  function change(changes: Extract<Step, { kind: 'changes' }>['changes'], receivedAt: number): void {
    const items = changes.flatMap((one) => (isUnreadable(one) ? [] : one));
    for (const one of changes) {
      if (!isUnreadable(one)) {
        unreadableLines.arrived(one);
        continue;
      }
      unreadableLines.skipped(one);
      sink.skip(one);
    }
    // A transfer is one change: no reader of the parts finds a flag before what it names.
    for (const item of items.length > 1 ? inSendingOrder(items, held) : items) sink.upsert(item, receivedAt);
  }

  /** After a reconnect there is a line; a peer that sends everything over and over does not fill the log. */
  function tellFull(member: Member, counts: { readonly items: number; readonly unreadable: number }): void {
    const write = (more: object) => log.info('Received the full flag set from LaunchDarkly', { ...counts, ...more });
    member.fullSets += 1;
    if (member.fullSets <= MOST_FULL_LINES) write({});
    else pacedFull('full', write);
  }

  /** Memory is what LaunchDarkly has. */
  function arrived(member: Member): undefined {
    const wasUp = member.isUp;
    member.isUp = true;
    hasDelivered = true;
    hasTried = false;
    attempts.reset();
    status.completed();
    if (member.fallbackMs !== undefined && member.way !== legacy) useLegacy(member, member.fallbackMs);
    else if (!wasUp) plan();
    return undefined;
  }

  function fail(member: Member, failure: Failure): void {
    const asked = fallbackIn(failure.headers ?? {}) ?? member.fallbackMs;
    if (member === active || !active.isUp) status.failed(failure);
    if (member === active && failure.isAboutState) known = undefined;
    const wasUp = member.isUp;
    member.isUp = false;
    if (asked !== undefined && member.way !== legacy) {
      useLegacy(member, asked);
      return;
    }
    if (member === candidate) {
      // Otherwise it retries until its time is over.
      if (failure.refused) giveUp(member);
      return;
    }
    // There is nothing to wait for: this way is known not to work.
    const isUrgent = !hasTried && (failure.refused === true || !hasDelivered);
    if (!candidate && (wasUp || isUrgent)) plan(isUrgent);
  }

  /** From now on this is the one in use. */
  function promote(member: Member): void {
    if (member === active) return;
    log.info('Changed the way flags are received from LaunchDarkly', { way: member.way.name, before: active.way.name });
    leave(active);
    active = member;
    candidate = undefined;
    dueAt = Number.POSITIVE_INFINITY;
  }

  function leave(member: Member | undefined): void {
    if (!member || member.left) return;
    member.left = true;
    member.synchronizer?.close();
  }

  /** LaunchDarkly asks this one for FDv1. */
  function useLegacy(member: Member, forMs: number): void {
    if (!legacy) return;
    legacyMs = Math.min(forMs, LONGEST_TIMER_MS);
    legacyUntil = performance.now() + legacyMs;
    dueAt = Number.POSITIVE_INFINITY;
    leave(candidate);
    candidate = undefined;
    if (active.way !== legacy) {
      log.warn('LaunchDarkly asks for FDv1; changing to it', { way: member.way.name, forMs: forMs || 'good' });
      leave(active);
      active = run(legacy);
    }
    plan();
  }

  /** Decides when to try another way than the one in use. Never later than was decided before. */
  function plan(isUrgent = false): void {
    if (candidate && !(active.isUp && active.way === first)) return;
    leave(candidate);
    candidate = undefined;
    clearTimeout(timer);
    const other = active.way === first ? second : first;
    const waitMs = other && waitFor(isUrgent);
    if (!other || waitMs === undefined) {
      dueAt = Number.POSITIVE_INFINITY;
      return;
    }
    const now = performance.now();
    dueAt = Math.min(dueAt, now + waitMs);
    timer = setTimeout(() => attempt(other), Math.max(0, dueAt - now));
  }

  function waitFor(isUrgent: boolean): number | undefined {
    const { isUp, way } = active;
    const inUse = way === legacy ? 'legacy' : way === second ? 'second' : 'first';
    const legacyLeftMs = legacyMs > 0 ? legacyUntil - performance.now() : undefined;
    const state = { inUse, isUp, hasDelivered, hasTried, isUrgent, legacyLeftMs } as const;
    return waitForOther(state, { fallbackMs, firstFallbackMs, recoveryMs }, attempts.next);
  }

  function attempt(way: Way): void {
    hasTried = true;
    dueAt = Number.POSITIVE_INFINITY;
    const member = run(way);
    candidate = member;
    // A stream that is open and says nothing does not work either.
    timer = setTimeout(() => giveUp(member), fallbackMs);
  }

  /** The candidate did not work. */
  function giveUp(member: Member): void {
    if (member !== candidate) return;
    leave(member);
    candidate = undefined;
    if (active.way === legacy && legacyMs > 0)
      legacyUntil = performance.now() + Math.min(LONGEST_TIMER_MS, Math.max(legacyMs, attempts.next()));
    plan();
  }

  let active = run(first);
  plan();

  return {
    status: status.read,
    async close() {
      clearTimeout(timer);
      leave(candidate);
      leave(active);
      status.closed();
    },
  };
}

function invalid(what: string): Failure {
  return invalidData(`LaunchDarkly sent ${what}`);
}

/** It takes an item back to a lower version than memory has. */
function isOlder(one: Item | UnreadableItem, held: Held): boolean {
  return !isUnreadable(one) && one.version < (held(one.kind, one.key)?.version ?? 0);
}

function memberOf(way: Way): Member {
  return { way, synchronizer: undefined, left: false, isUp: false, fallbackMs: undefined, fullSets: 0 };
}
