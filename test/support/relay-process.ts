/** The relay as its own process, from the bundle in its image. A test that starts one waits until it has exited. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

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
    directory = mkdtempSync(join(tmpdir(), 'relay-process-'));
    const tsx = join(root, 'node_modules/tsx/dist/cli.mjs');
    await promisify(execFile)(process.execPath, [tsx, 'bin/relay-bundle.ts', directory], { cwd: root });
  });
  afterAll(() => rmSync(directory!, { recursive: true }));
}

export interface RelayProcessOptions {
  /** A file descriptor; by default a pipe that is read. */
  readonly stdout?: number;
  /** Starts the relay; by default Node.js itself, with the bundle. */
  readonly command?: (bundle: string) => readonly [command: string, ...args: string[]];
}

/** Runs with these variables and no others. */
export function runRelay(
  variables: Record<string, string>,
  args: readonly string[] = [],
  options: RelayProcessOptions = {},
): RelayProcess {
  const { PATH = '' } = process.env;
  const { stdout, command: commandOf = (bundle) => [process.execPath, join(bundle, 'relay.mjs')] } = options;
  const [command, ...own] = commandOf(directory!);
  const child = spawn(command, [...own, ...args], {
    cwd: root,
    env: { PATH, ...variables },
    stdio: ['ignore', stdout ?? 'pipe', 'pipe'],
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
