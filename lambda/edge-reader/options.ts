import { jsonOf } from './json-of.ts';

/** Collects what is wrong with options, so that one Error can list all of it. `subject`: whose options they are. */
export function createChecks(subject: string) {
  const problems: string[] = [];
  const add = (problem: string) => {
    problems.push(problem);
  };
  return {
    add,
    must(name: string, value: unknown, isFine: boolean, wanted: string): void {
      if (!isFine) add(`${name}=${jsonOf(value)} is invalid: expected ${wanted}`);
    },
    /** That no other options are given than the known ones. */
    only(given: object, known: readonly string[]): void {
      for (const name of Object.keys(given)) {
        if (!known.includes(name)) add(`${name} is not an option: expected ${known.join(', ')}`);
      }
    },
    /** Throws the Error, if anything is wrong. */
    end(): void {
      if (problems.length > 0) throw new Error(`${subject}: ${problems.join('; ')}`);
    },
  };
}
