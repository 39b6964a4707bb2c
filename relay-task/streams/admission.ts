/** Bounds how many first payloads are on their way at once; the rest wait in order, and beyond that are turned away. */
export interface Admission<T> {
  readonly inFlight: number;
  readonly waiting: number;
  /** `now`: go on. `later`: `admit` will be called. `no`: too many are waiting already. */
  ask(candidate: T): 'now' | 'later' | 'no';
  /** A payload is on its way and was not taken at once: it holds a place until `leave`. */
  enter(): void;
  leave(): void;
  /** Takes back those who no longer wait; the rest keep their order. */
  withdraw(condition: (candidate: T) => boolean): T[];
}

export function createAdmission<T>(options: {
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  admit(candidate: T): void;
}): Admission<T> {
  let inFlight = 0;
  let queue: T[] = [];
  let first = 0;
  const waiting = () => queue.length - first;
  const next = () => {
    while (waiting() > 0 && inFlight < options.maxInFlight) {
      const candidate = queue[first++]!;
      if (first > 1_024 && first * 2 > queue.length) {
        queue = queue.slice(first);
        first = 0;
      }
      options.admit(candidate);
    }
  };
  return {
    get inFlight() {
      return inFlight;
    },
    get waiting() {
      return waiting();
    },
    ask(candidate) {
      if (inFlight < options.maxInFlight && waiting() === 0) return 'now';
      if (waiting() >= options.maxWaiting) return 'no';
      queue.push(candidate);
      return 'later';
    },
    enter() {
      inFlight++;
    },
    leave() {
      inFlight--;
      next();
    },
    withdraw(condition) {
      const all = queue.slice(first);
      queue = all.filter((candidate) => !condition(candidate));
      first = 0;
      return all.filter(condition);
    },
  };
}
