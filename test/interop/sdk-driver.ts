import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { endChild } from '../support/end-child.ts';

/**
 * An official SDK of another language in its own process. It gets its options as one JSON argument and answers each line of
 * JSON with one line. The drivers are `python/driver.py`, `go/driver.go`, `java/Driver.java` and `php/driver.php`.
 */
export interface SdkDriver {
  /** Whether the SDK reported that it was initialised. */
  readonly ready: boolean;
  evaluate(flag: string, context: unknown, fallback: unknown): Promise<unknown>;
  close(): Promise<void>;
}

export type DriverOptions = { sdkKey: string } & (
  | { mode: 'streaming' | 'polling'; relay: string }
  | { mode: 'daemon'; endpoint: string; table: string; prefix: string }
);

const installed = join(import.meta.dirname, '../../.cache/interop');
const python = join(installed, 'python/bin/python');
const go = join(installed, 'go-driver');
const java = join(installed, 'java');

/** One driver per language; `command` is undefined unless `test/interop/install.sh` has installed it. */
export const drivers = [
  {
    language: 'Python',
    command: pythonWorks() ? [python, join(import.meta.dirname, 'python/driver.py')] : undefined,
    modes: ['streaming', 'polling', 'daemon'],
  },
  { language: 'Go', command: existsSync(go) ? [go] : undefined, modes: ['streaming', 'polling', 'daemon'] },
  {
    language: 'Java',
    command: existsSync(join(java, 'Driver.class')) ? ['java', '-cp', `${java}:${java}/*`, 'Driver'] : undefined,
    modes: ['streaming', 'polling'],
  },
] as const;

function pythonWorks(): boolean {
  try {
    execFileSync(python, ['-c', 'import ldclient, boto3'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** `ask`: sends any question, for what only one driver understands. */
export async function startDriver(
  command: readonly string[],
  options: object,
): Promise<SdkDriver & { ask(question: object): Promise<Record<string, unknown>> }> {
  const [file = '', ...args] = command;
  const child: ChildProcess = spawn(file, [...args, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<Record<string, unknown>> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the driver exited: ${errors}`);
    return JSON.parse(value);
  };
  const { ready } = await nextLine();
  async function ask(question: object) {
    child.stdin?.write(`${JSON.stringify(question)}\n`);
    return nextLine();
  }
  return {
    ready: ready === true,
    ask,
    evaluate: (flag, context, fallback) => ask({ flag, context, fallback }),
    close: () => endChild(child),
  };
}
