/** Limits how many first payloads are being sent at once; others wait in order, and beyond a limit are turned away. */
export interface Admission<T extends object> {
  readonly inFlight: number;
  readonly waiting: number;
  /** `now`: proceed. `later`: `admit` will be called. `no`: too many are waiting. */
  ask(candidate: T): 'now' | 'later' | 'no';
  /** A payload was not accepted by the socket at once: it holds a place until `leave`. */
  enter(): void;
  leave(): void;
  /** Removes and returns those that match; the rest keep their order. */
  withdraw(condition: (candidate: T) => boolean): T[];
}

export function createAdmission<T extends object>(options: {
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  admit(candidate: T): void;
}): Admission<T> {
  let inFlight = 0;
  let queue: T[] = [];
  let first = 0;
  const waiting = () => queue.length - first;
  const next = () => {
    for (let candidate = queue[first]; candidate && inFlight < options.maxInFlight; candidate = queue[first]) {
      first++;
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
