/**
 * Limits how many first payloads are being sent at once, fairly: a lane (an environment, an address) takes a place only while it
 * holds no more than are free, so a flood on one of them always leaves places to the others. Those that wait do so in turn,
 * beyond a limit they are turned away. (Choudhury and Hahne, "Dynamic queue length thresholds", 1998)
 */
export interface Admission<T extends object> {
  readonly waiting: number;
  /** `now`: proceed. `later`: `admit` will be called. `no`: too many are waiting. */
  ask(candidate: T): 'now' | 'later' | 'no';
  /** A payload was not accepted by the socket at once: it holds a place until `leave`. */
  enter(candidate: T): void;
  leave(candidate: T): void;
  /** One that waits does so no longer. */
  forget(candidate: T): void;
  /** Call when `hasRoom` may have become true. */
  proceed(): void;
  /** Removes and returns those that match; the rest keep their order. */
  withdraw(condition: (candidate: T) => boolean): T[];
}

export interface AdmissionOptions<T> {
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  /** What it shares its places with others by. */
  lanesOf(candidate: T): readonly string[];
  /** While false, everybody waits. */
  hasRoom(): boolean;
  admit(candidate: T): void;
}

export function createAdmission<T extends object>(options: AdmissionOptions<T>): Admission<T> {
  const { maxInFlight, maxWaiting, lanesOf } = options;
  const inFlight = createShares(maxInFlight);
  const waiting = createShares(maxWaiting);
  /** Those with the same lanes, in order; the group whose turn it was last is at the end. */
  const groups = new Map<string, { readonly lanes: readonly string[]; readonly queue: T[] }>();
  const nameOf = (lanes: readonly string[]) => lanes.join('\n');
  const mayStart = (lanes: readonly string[]) => options.hasRoom() && inFlight.fits(lanes);

  function next(): T | undefined {
    for (const [name, group] of groups) {
      if (!mayStart(group.lanes)) continue;
      const candidate = group.queue.shift();
      groups.delete(name);
      if (group.queue.length > 0) groups.set(name, group);
      waiting.remove(group.lanes);
      return candidate;
    }
    return undefined;
  }

  function proceed(): void {
    for (let candidate = next(); candidate; candidate = next()) options.admit(candidate);
  }

  return {
    get waiting() {
      return waiting.sum;
    },
    ask(candidate) {
      const lanes = lanesOf(candidate);
      const name = nameOf(lanes);
      const group = groups.get(name);
      if (!group && mayStart(lanes)) return 'now';
      if (!waiting.fits(lanes)) return 'no';
      waiting.add(lanes);
      if (group) group.queue.push(candidate);
      else groups.set(name, { lanes, queue: [candidate] });
      return 'later';
    },
    enter: (candidate) => inFlight.add(lanesOf(candidate)),
    leave(candidate) {
      inFlight.remove(lanesOf(candidate));
      proceed();
    },
    proceed,
    forget(candidate) {
      const lanes = lanesOf(candidate);
      const name = nameOf(lanes);
      const queue = groups.get(name)?.queue ?? [];
      const index = queue.indexOf(candidate);
      if (index < 0) return;
      queue.splice(index, 1);
      if (queue.length === 0) groups.delete(name);
      waiting.remove(lanes);
    },
    withdraw(condition) {
      const withdrawn: T[] = [];
      for (const [name, { lanes, queue }] of groups) {
        const left = queue.filter((candidate) => !condition(candidate));
        withdrawn.push(...queue.filter(condition));
        for (let gone = queue.length - left.length; gone > 0; gone--) waiting.remove(lanes);
        queue.splice(0, queue.length, ...left);
        if (left.length === 0) groups.delete(name);
      }
      return withdrawn;
    },
  };
}

/** Places that lanes share. */
function createShares(max: number) {
  const held = new Map<string, number>();
  let sum = 0;
  return {
    get sum() {
      return sum;
    },
    fits(lanes: readonly string[]): boolean {
      const free = max - sum;
      return free > 0 && lanes.every((lane) => (held.get(lane) ?? 0) <= free);
    },
    add(lanes: readonly string[]): void {
      sum++;
      for (const lane of lanes) held.set(lane, (held.get(lane) ?? 0) + 1);
    },
    remove(lanes: readonly string[]): void {
      sum--;
      for (const lane of lanes) {
        const left = (held.get(lane) ?? 0) - 1;
        if (left > 0) held.set(lane, left);
        else held.delete(lane);
      }
    },
  };
}
