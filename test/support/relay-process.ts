/** The relay as its own process, from the bundle in its image. A test that starts one waits until it has exited. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { limited } from './memory-limit.ts';
import { oncePerRun } from './once-per-run.ts';

export const root = join(import.meta.dirname, '../..');

export interface RelayProcess {
  readonly child: ChildProcess;
  /** Its output so far. */
  output(): { stdout: string; stderr: string };
  /** The exit code; null after a signal that it did not handle. */
  readonly exited: Promise<number | null>;
}

let directory: string | undefined;

/** Bundles the relay before the tests of a file. Call it once in a file that starts processes. */
export function bundleRelay(): void {
  beforeAll(async () => {
    directory = await relayBundle();
  });
}

/** The folder with the relay's bundle and its command `ld-relay`, which suites share: change nothing in it. */
export function relayBundle(): Promise<string> {
  return oncePerRun('relay-bundle', (folder) => {
    const tsx = join(root, 'node_modules/tsx/dist/cli.mjs');
    return promisify(execFile)(process.execPath, [tsx, 'bin/relay-bundle.ts', folder], { cwd: root });
  });
}

export interface RunOptions {
  /** A file descriptor; by default a pipe that is read. */
  readonly stdout?: number;
  /** Starts the relay; by default Node.js itself, with the bundle. */
  readonly command?: (bundle: string) => readonly [command: string, ...args: string[]];
  /** It runs as in a container of so much memory. */
  readonly limitBytes?: number;
  /** `child.send({ stepMs })` steps its clock, and it ends with this process. */
  readonly steppedClock?: boolean;
  /** Once this pipe exists, file operations in its directory never end. */
  readonly hangingDisk?: string;
}

/** The directory with the bundle. */
export const bundled = () => directory ?? '';

/** Node's options in the command that the image starts. */
const nodeOptions = () =>
  readFileSync(join(bundled(), 'ld-relay'), 'utf8').split('\n', 1)[0]?.split(' ').slice(1) ?? [];

/** Runs with these variables and no others. */
export function runRelay(
  variables: Record<string, string>,
  args: readonly string[] = [],
  { stdout, command: commandOf, limitBytes, steppedClock = false, hangingDisk }: RunOptions = {},
): RelayProcess {
  const { PATH = '' } = process.env;
  if (commandOf) return runCommand([...commandOf(directory!), ...args], { PATH, ...variables }, { stdout });
  const preloads = [...(steppedClock ? ['stepped-clock'] : []), ...(hangingDisk ? ['hanging-disk'] : [])];
  const preload = preloads.flatMap((name) => ['--import', join(import.meta.dirname, `${name}.mjs`)]);
  const script = [...nodeOptions(), ...preload, join(bundled(), 'relay.mjs'), ...args];
  const { command, env } =
    limitBytes === undefined ? { command: [process.execPath, ...script], env: {} } : limited(script, limitBytes);
  const disk: Record<string, string> = hangingDisk === undefined ? {} : { HANGING_DISK: hangingDisk };
  return runCommand(command, { PATH, ...env, ...disk, ...variables }, { stdout, ipc: steppedClock });
}

/** Runs any program with these variables and no others. */
export function runCommand(
  command: readonly string[],
  env: Record<string, string>,
  {
    stdout,
    ipc = false,
    cwd = root,
  }: { readonly stdout?: number | undefined; readonly ipc?: boolean; readonly cwd?: string } = {},
): RelayProcess {
  const [file = '', ...args] = command;
  const child = spawn(file, args, {
    cwd,
    env,
    stdio: ['ignore', stdout ?? 'pipe', 'pipe', ...(ipc ? ['ipc' as const] : [])],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.on('data', (chunk: Buffer) => {
      output[name] += chunk.toString();
    });
  }
  return { child, output: () => output, exited: new Promise((resolve) => child.once('close', resolve)) };
}

/** Throws until the relay listens. */
export function listeningPort(stdout: string): number {
  const line = stdout.split('\n').find((text) => text.includes('Relay listening'));
  return JSON.parse(line ?? '').port;
}
