/** Runs and seed of property tests: few, with a fixed seed; many, with a new seed, if LONG=1; SEED=… sets the seed. */
import type { Parameters } from 'fast-check';

export function runs(ordinary: number, long: number): Pick<Parameters, 'numRuns' | 'seed' | 'interruptAfterTimeLimit'> {
  // fast-check prints seed and path of a failure.
  const isLong = process.env.LONG === '1';
  const seed = process.env.SEED === undefined ? (isLong ? Date.now() % 2 ** 31 : 20_251_121) : Number(process.env.SEED);
  // Jest's timeout would stop shrinking without printing the counterexample.
  return { numRuns: isLong ? long : ordinary, seed, interruptAfterTimeLimit: isLong ? 250_000 : 120_000 };
}
