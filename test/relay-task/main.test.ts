/** The relay as a process: signals and exit codes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { readStream } from '../support/read-stream.ts';

const root = join(import.meta.dirname, '../..');

interface Running {
  readonly child: ChildProcess;
  output(): { stdout: string; stderr: string };
  readonly exited: Promise<number | null>;
}

function run(variables: Record<string, string>, args: string[] = []): Running {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, ['--import', 'tsx', 'relay-task/main.ts', ...args], {
    cwd: root,
    env: { PATH, ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.on('data', (chunk: Buffer) => {
      output[name] += chunk.toString();
    });
  }
  return { child, output: () => output, exited: new Promise((resolve) => child.once('exit', resolve)) };
}

test('SIGTERM with a stream open: the reader gets a clean end, and the process ends with 0', async () => {
  const { child, output, exited } = run({
    PORT: '0',
    LISTEN_HOST: '127.0.0.1',
    DRAIN_WINDOW: '100ms',
    LD_ENV_local: 'sdk-main-test',
    LD_FLAGS_FILE_local: exampleFile,
  });
  const port = await eventually(() => {
    const line = output()
      .stdout.split('\n')
      .find((text) => text.includes('the relay listens'));
    return JSON.parse(line ?? '').port as number;
  }, 20_000);
  const stream = await readStream({ port, path: '/all', headers: { Authorization: 'sdk-main-test' } });
  expect((await stream.next()).event).toBe('put');
  child.kill('SIGTERM');
  expect(await stream.ended).toBe('clean');
  expect(await exited).toBe(0);
  expect(JSON.stringify(output())).not.toContain('sdk-main-test');
});

test.each([
  ['no environment', {}, [], 'CONFIG_INVALID: no environment: set LD_ENV_<name> to its SDK key\n'],
  [
    'a missing flags file',
    { LD_ENV_x: 'sdk-x', LD_FLAGS_FILE_x: '/nowhere/flags.json', PORT: '0' },
    [],
    'FLAGS_FILE_INVALID: /nowhere/flags.json: there is no such file\n',
  ],
  [
    'an argument',
    {},
    ['--frobnicate'],
    'CONFIG_INVALID: --frobnicate is not understood: the relay is configured by environment variables\n',
  ],
])('%s: one line, and exit code 1', async (_, variables, args, line) => {
  const { output, exited } = run(variables, args);
  expect(await exited).toBe(1);
  expect(output().stderr).toBe(line);
});
