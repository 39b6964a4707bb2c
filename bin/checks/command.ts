import { describeFailure } from '../cli/usage.ts';
import { UnknownStageArgument } from '../stage-of.ts';

/** The arguments of a command are wrong: its usage is printed. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** As a shell reports a program that ended because nobody reads its output any more. */
const BROKEN_PIPE = 128 + 13;

/**
 * Runs a command and ends the process with its exit code, whatever is still open: a connection without an answer must not hold it. A usage
 * error prints the usage and ends with 2, an error of the program itself with 1.
 */
export async function runCommand(usage: string, run: () => Promise<number>): Promise<never> {
  process.stdout.on('error', () => process.exit(BROKEN_PIPE));
  process.stderr.on('error', () => {});
  const exitCode = await run().catch((error: Error) => {
    const isUsage =
      error instanceof UsageError ||
      error instanceof UnknownStageArgument ||
      /^ERR_PARSE_ARGS_/.test((error as NodeJS.ErrnoException).code ?? '');
    process.stderr.write(isUsage ? `${error.message}\n\n${usage}` : `The program failed: ${describeFailure(error)}\n`);
    return isUsage ? 2 : 1;
  });
  // A pipe may take its time.
  for (const stream of [process.stdout, process.stderr])
    await new Promise<void>((resolve) => stream.write('', () => resolve()));
  process.exit(exitCode);
}
