/** Compiles in slices, once for all callers that wait. */
import { inSlices } from '../common/slices.ts';
import { MOST_ROUNDS } from './compilers.ts';

interface RoundsOptions {
  /** Whether what is not compiled would take too long in one turn. */
  areMany(): boolean;
  /** Compiles what is not compiled when it begins. */
  round(): Generator<void, void>;
  /** A round is over. Returns whether another one must follow, even if nobody waits. */
  onOver(): boolean;
}

/** Returns a function that compiles what takes too long in one turn; it returns undefined if nothing does. */
export function createCompileRounds({ areMany, round, onOver }: RoundsOptions): () => Promise<void> | undefined {
  let running: Promise<void> | undefined;
  let compiling: Promise<void> | undefined;

  function run(): Promise<void> {
    running ??= inSlices(round()).finally(() => {
      running = undefined;
      if (onOver()) void run();
    });
    return running;
  }

  async function runAll(): Promise<void> {
    for (let rounds = 0; rounds < MOST_ROUNDS && areMany(); rounds += 1) await run();
  }

  return () => {
    if (compiling) return compiling;
    if (!areMany()) return undefined;
    compiling = runAll().finally(() => {
      compiling = undefined;
    });
    return compiling;
  };
}
