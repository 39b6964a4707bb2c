import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface GoAnswer {
  /** Why the context is invalid; then there is no answer. */
  readonly invalid?: string;
  /** There is no such flag; then there is no answer. */
  readonly missing?: true;
  readonly value: unknown;
  readonly variationIndex: number | null;
  readonly reason: unknown;
  readonly prerequisites: readonly string[];
  readonly isExperiment: boolean;
}

export interface GoResponse {
  /** Items that Go cannot parse, as `flag f`; they count as absent. */
  readonly unreadable: readonly string[];
  /** One for each case. */
  readonly answers: readonly GoAnswer[];
  /** For each pattern which of the texts it matches; null if it is refused. */
  readonly matches: readonly (readonly boolean[] | null)[];
}

/** LaunchDarkly's Go evaluator in its own process, as ld-relay sets it up. */
export interface GoEvaluator {
  ask(request: string): Promise<GoResponse>;
  close(): void;
}

const program = join(import.meta.dirname, '../../../.cache/interop/go-evaluator');

/** Whether `test/interop/install.sh` has built it. */
export const hasGoEvaluator = existsSync(program);

export function startGoEvaluator(): GoEvaluator {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(request) {
      child.stdin.write(`${request}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error('the Go evaluator exited');
      return JSON.parse(value);
    },
    close: () => child.stdin.end(),
  };
}
