/** Size and seed of property tests: small and seeded in the ordinary run, large with LONG=1, another seed with SEED=…. */
import type { Parameters } from 'fast-check';

export function runs(ordinary: number, long: number): Pick<Parameters, 'numRuns' | 'seed' | 'interruptAfterTimeLimit'> {
  // fast-check prints seed and path of a failure; LONG draws a new seed every time.
  const isLong = process.env.LONG === '1';
  const seed = process.env.SEED === undefined ? (isLong ? Date.now() % 2 ** 31 : 20_251_121) : Number(process.env.SEED);
  // Jest's limit would cut off shrinking without telling the counterexample.
  return { numRuns: isLong ? long : ordinary, seed, interruptAfterTimeLimit: isLong ? 250_000 : 120_000 };
}
