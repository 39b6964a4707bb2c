/**
 * Node's option for the relay, which has many small sockets: docs/benchmarks.md has what it saves. V8 reads it only at its start, and a
 * shebang cannot give it: env of Alpine Linux passes on one word.
 */
const OPTION = '--max-semi-space-size=2';

/** What of a process decides; `execve` is in Node 22.15 and later, and not on Windows. */
export interface Restartable {
  readonly argv: readonly string[];
  readonly execArgv: readonly string[];
  readonly execPath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly execve?: (file: string, args: readonly string[], env: NodeJS.ProcessEnv) => void;
}

/**
 * Replaces this process by one with the option: the same process ID, streams and signals. Returns if it has a size already, or if Node
 * cannot do that.
 */
export function restartWithSmallSemiSpace(self: Restartable = process): void {
  const { argv, execArgv, execPath, env, execve } = self;
  if ([...execArgv, env.NODE_OPTIONS ?? ''].some((one) => /max[-_]semi[-_]space[-_]size/.test(one))) return;
  execve?.(execPath, [execPath, OPTION, ...execArgv, ...argv.slice(1)], env as NodeJS.ProcessEnv);
}
