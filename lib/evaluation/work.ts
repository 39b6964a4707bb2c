/** What an evaluation has cost so far, estimated in nanoseconds of a slow processor. It does not depend on the machine. */
export interface Work {
  work: number;
}

/** Far more than what any ordinary flag takes, and below what other work can wait for. LaunchDarkly's evaluators have no limit. */
const MAX_WORK = 25_000_000;
/** SHA-1 of a character that takes two bytes. */
const PER_HASHED_CHARACTER = 40;
/** Hashing such a text, an ordinary key, takes no longer than the rest of an evaluation. */
const SHORT = 100;

/** Throws a TypeError when the evaluation has cost too much. */
export function countWork(run: Work, nanoseconds: number): void {
  run.work += nanoseconds;
  if (run.work > MAX_WORK) throw new TypeError();
}

/** Counts what it takes to hash the text, and returns it. */
export function countHashed(run: Work, text: string): string {
  if (text.length > SHORT) countWork(run, text.length * PER_HASHED_CHARACTER);
  return text;
}

/** What one value of the context costs in a clause: for itself, and for each of its characters if it is a text. */
export interface Effort {
  readonly perValue: number;
  readonly perCharacter: number;
}

/** As measured, for a clause with this many values. */
export function effortOf(op: unknown, values: number): Effort {
  const effort = (perValue: number, perCharacter: number) => ({ perValue, perCharacter });
  const compared = 50 * values;
  switch (op) {
    case 'in':
      return effort(60, 1);
    case 'contains':
      return effort(compared, values);
    case 'matches':
      return effort(600 * values, 5 * values);
    case 'before':
    case 'after':
      return effort(1000 + compared, 0);
    default:
      // Versions are read to their end.
      return `${op}`.startsWith('semVer') ? effort(1000 + compared, 64) : effort(compared, 0);
  }
}
