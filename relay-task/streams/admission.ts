/**
 * Limits how many first payloads are sent at once. Environments and addresses share the places. The others wait in turn; those above a
 * limit are turned away.
 */
import { createShares, MOST_FOR_ONE } from '../common/shares.ts';

interface AdmissionOptions<T> {
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  /** What it shares its places with others by. */
  lanesOf(candidate: T): readonly string[];
  /** While false, it waits. Asked only if there is a place. */
  hasRoom(candidate: T): boolean;
  admit(candidate: T): void;
}

export function createAdmission<T extends object>(options: AdmissionOptions<T>) {
  const { maxInFlight, maxWaiting, lanesOf } = options;
  const inFlight = createShares((taken) => maxInFlight - taken, [1, 0.5]);
  // A whole fleet may come back at once.
  const waiting = createShares((taken) => maxWaiting - taken, MOST_FOR_ONE);
  /** Those with the same lanes, in order; the group whose turn it was last is at the end. */
  const groups = new Map<string, { readonly lanes: readonly string[]; readonly queue: T[] }>();
  const nameOf = (lanes: readonly string[]) => lanes.join('\n');
  const mayStart = (lanes: readonly string[], candidate: T) => inFlight.fits(lanes) && options.hasRoom(candidate);

  function next(): T | undefined {
    for (const [name, group] of groups) {
      const [candidate] = group.queue;
      if (!candidate || !mayStart(group.lanes, candidate)) continue;
      group.queue.shift();
      groups.delete(name);
      if (group.queue.length > 0) groups.set(name, group);
      waiting.giveBack(group.lanes);
      return candidate;
    }
    return undefined;
  }

  let isProceeding = false;
  function proceed(): void {
    // What is admitted may make room for others at once.
    if (isProceeding) return;
    isProceeding = true;
    try {
      for (let candidate = next(); candidate; candidate = next()) options.admit(candidate);
    } finally {
      isProceeding = false;
    }
  }

  return {
    get waiting() {
      return waiting.taken;
    },
    get inFlight() {
      return inFlight.taken;
    },
    /** `now`: proceed. `later`: `admit` will be called. `no`: too many are waiting. */
    ask(candidate: T): 'now' | 'later' | 'no' {
      const lanes = lanesOf(candidate);
      const name = nameOf(lanes);
      const group = groups.get(name);
      if (!group && mayStart(lanes, candidate)) return 'now';
      if (!waiting.fits(lanes)) return 'no';
      waiting.take(lanes);
      if (group) group.queue.push(candidate);
      else groups.set(name, { lanes, queue: [candidate] });
      return 'later';
    },
    /** A payload was not accepted by the socket at once: it holds a place until `leave`. */
    enter: (candidate: T) => inFlight.take(lanesOf(candidate)),
    leave(candidate: T): void {
      inFlight.giveBack(lanesOf(candidate));
      proceed();
    },
    /** Call when `hasRoom` may have become true. */
    proceed,
    /** One that waits does so no longer. */
    forget(candidate: T): void {
      const lanes = lanesOf(candidate);
      const name = nameOf(lanes);
      const queue = groups.get(name)?.queue ?? [];
      const index = queue.indexOf(candidate);
      if (index < 0) return;
      queue.splice(index, 1);
      if (queue.length === 0) groups.delete(name);
      waiting.giveBack(lanes);
    },
    /** Removes and returns those that match; the rest keep their order. */
    withdraw(condition: (candidate: T) => boolean): T[] {
      const withdrawn: T[] = [];
      for (const [name, { lanes, queue }] of groups) {
        const left = queue.filter((candidate) => !condition(candidate));
        withdrawn.push(...queue.filter(condition));
        for (let gone = queue.length - left.length; gone > 0; gone--) waiting.giveBack(lanes);
        queue.splice(0, queue.length, ...left);
        if (left.length === 0) groups.delete(name);
      }
      return withdrawn;
    },
  };
}
