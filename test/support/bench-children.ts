/** Child processes in which a benchmark runs parts of itself. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

interface BenchChildren {
  /** Runs the benchmark's own file again. */
  start(args: readonly string[]): ChildProcess;
  /** The next message of the child; rejects if none comes in time. */
  heard<T>(child: ChildProcess): Promise<T>;
}

/** `moduleUrl`: `import.meta.url` of the benchmark. The children are killed when this process exits. */
export function createBenchChildren(options: {
  readonly moduleUrl: string;
  readonly nodeOptions?: readonly string[];
  readonly signal?: NodeJS.Signals;
  /** How long a child may stay silent; 180,000 ms. */
  readonly silenceMs?: number;
}): BenchChildren {
  const { moduleUrl, nodeOptions = [], signal = 'SIGTERM', silenceMs = 180_000 } = options;
  const children = new Set<ChildProcess>();
  process.on('exit', () => {
    for (const child of children) child.kill(signal);
  });
  return {
    start(args) {
      const child = fork(fileURLToPath(moduleUrl), args, { execArgv: ['--import', 'tsx', ...nodeOptions] });
      children.add(child);
      return child;
    },
    heard<T>(child: ChildProcess) {
      return new Promise<T>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error('a child process fell silent')), silenceMs);
        child.once('message', (message) => {
          clearTimeout(timer);
          resolve(message as T);
        });
      });
    },
  };
}
