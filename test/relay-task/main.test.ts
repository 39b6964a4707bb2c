/** The relay as a process: arguments, signals and exit codes. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { readStream } from '../support/read-stream.ts';
import { bundleRelay, listeningPort, root, runRelay as run } from '../support/relay-process.ts';

bundleRelay();

/** Makes each Node.js process say which options it was started with. */
const printOptions = `--import=data:text/javascript,${encodeURIComponent('process.stderr.write(process.execArgv.join(" "))')}`;

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  'on %s the relay ends an open stream cleanly and exits with 0 @heavy',
  async (signal) => {
    const { child, output, exited } = run({
      PORT: '0',
      LISTEN_HOST: '127.0.0.1',
      DRAIN_WINDOW: '100ms',
      LD_ENV_local: 'sdk-main-test',
      LD_FLAGS_FILE_local: exampleFile,
    });
    const port = await eventually(() => listeningPort(output().stdout));
    const stream = await readStream({ port, path: '/all', headers: { Authorization: 'sdk-main-test' } });
    expect((await stream.next()).event).toBe('put');
    child.kill(signal);
    expect(await stream.ended).toBe('clean');
    expect(await exited).toBe(0);
    expect(JSON.stringify(output())).not.toContain('sdk-main-test');
    const line = output()
      .stdout.split('\n')
      .find((text) => text.includes('Relay listening'));
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(JSON.parse(line ?? '')).toMatchObject({ port, version, environments: ['local'], stores: [] });
  },
);

test('SIGTERM to npm run relay reaches the relay, which ends its streams and leaves no process behind @heavy', async () => {
  const relay = run(
    {
      ...{ PORT: '0', LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '100ms', HOME: tmpdir() },
      ...{ LD_ENV_local: 'sdk-main-test', LD_FLAGS_FILE_local: exampleFile },
    },
    ['--from-env'],
    { command: () => ['npm', 'run', '--silent', 'relay', '--'] },
  );
  const port = await eventually(() => listeningPort(relay.output().stdout));
  const stream = await readStream({ port, path: '/all', headers: { Authorization: 'sdk-main-test' } });
  await stream.next();
  relay.child.kill('SIGTERM');
  expect(await stream.ended).toBe('clean');
  // Its output is closed once no process of it is left.
  expect(await relay.exited).toBe(0);
  expect(relay.output().stdout).toContain('"Shutting down"');
});

test.each([
  ['the command of the image', (bundle: string) => [join(bundle, 'ld-relay')] as const],
  ['npm run relay', () => ['npm', 'run', '--silent', 'relay', '--'] as const],
])('%s has a young generation for many small sockets @heavy', async (_name, command) => {
  const { child, output, exited } = run(
    {
      HOME: tmpdir(),
      LD_ENV_local: 'sdk-main-test',
      LD_FLAGS_FILE_local: exampleFile,
      PORT: '0',
      NODE_OPTIONS: printOptions,
    },
    ['--from-env'],
    { command },
  );
  await eventually(() => listeningPort(output().stdout));
  child.kill('SIGTERM');
  expect(await exited).toBe(0);
  expect(output().stderr).toContain('--max-semi-space-size=2');
});

test('the log says of each failing store why it fails, and no field is dropped @heavy', async () => {
  const nowhere = '127.0.0.1:9';
  const { child, output, exited } = run({
    ...{ PORT: '0', LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '0', GRACEFUL_SHUTDOWN_TIMEOUT: '1s' },
    ...{ LD_ENV_local: 'sdk-main-test', LD_FLAGS_FILE_local: exampleFile, LD_PREFIX_local: 'local' },
    ...{ USE_REDIS: 'true', REDIS_URL: `redis://${nowhere}`, USE_CONSUL: 'true', CONSUL_HOST: nowhere },
    ...{ USE_DYNAMODB: 'true', DYNAMODB_TABLE: 'flags', DYNAMODB_URL: `http://${nowhere}`, AWS_REGION: 'eu-west-1' },
    ...{ AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' },
  });
  const lines = () =>
    output()
      .stdout.split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const failures = () => lines().filter(({ message }) => String(message).startsWith('The store fails'));
  await eventually(() =>
    expect(new Set(failures().map(({ database }) => database))).toEqual(new Set(['dynamodb', 'redis', 'consul'])),
  );
  for (const line of failures()) expect(line).toMatchObject({ level: 'WARN', reason: expect.stringMatching(/\w/) });
  expect(output().stdout).not.toContain('reserved');
  child.kill('SIGTERM');
  // Whether the stores give up in time depends on the machine.
  expect([0, 1]).toContain(await exited);
});

test('a second signal makes the relay exit with 1 at once @heavy', async () => {
  const { child, output, exited } = run({
    PORT: '0',
    LISTEN_HOST: '127.0.0.1',
    DRAIN_WINDOW: '20s',
    LD_ENV_local: 'sdk-main-test',
    LD_FLAGS_FILE_local: exampleFile,
  });
  const port = await eventually(() => listeningPort(output().stdout));
  await readStream({ port, path: '/all', headers: { Authorization: 'sdk-main-test' } });
  // Sent together: a relay with little to close would exit by itself in between.
  child.kill('SIGTERM');
  child.kill('SIGINT');
  expect(await exited).toBe(1);
});

test('the relay exits within GRACEFUL_SHUTDOWN_TIMEOUT although the drain window is longer @heavy', async () => {
  const { child, output, exited } = run({
    PORT: '0',
    LISTEN_HOST: '127.0.0.1',
    DRAIN_WINDOW: '1h',
    GRACEFUL_SHUTDOWN_TIMEOUT: '200ms',
    LD_ENV_local: 'sdk-main-test',
    LD_FLAGS_FILE_local: exampleFile,
  });
  const port = await eventually(() => listeningPort(output().stdout));
  await readStream({ port, path: '/all', headers: { Authorization: 'sdk-main-test' } });
  child.kill('SIGTERM');
  // Whether it finishes in time depends on the machine.
  expect([0, 1]).toContain(await exited);
});

test("the relay starts with ld-relay's arguments and listens where the file says @heavy", async () => {
  const directory = mkdtempSync(join(tmpdir(), 'main-'));
  const path = join(directory, 'ld-relay.conf');
  writeFileSync(
    path,
    `[main]\nport = 0\nlistenHost = 127.0.0.1\nheartbeatIntervalSecs = 15\n[environment "local"]\nflagsFile = "${exampleFile}"\n`,
  );
  try {
    const { child, output, exited } = run({ LD_ENV_local: 'sdk-main-test' }, [
      ...['--config', `/nowhere/ld-relay.conf,${path}`, '--allow-missing-file', '--from-env'],
    ]);
    const port = await eventually(() => listeningPort(output().stdout));
    const answer = await fetch(`http://127.0.0.1:${port}/sdk/flags`, { headers: { Authorization: 'sdk-main-test' } });
    expect(answer.status).toBe(200);
    expect(output().stdout + output().stderr).toContain('heartbeatIntervalSecs is an old name');
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a missing flags file prints one line and exits with 1', async () => {
  const { output, exited } = run({ LD_ENV_x: 'sdk-x', LD_FLAGS_FILE_x: '/nowhere/flags.json', PORT: '0' });
  expect(await exited).toBe(1);
  expect(output().stderr).toBe('FLAGS_FILE_INVALID: /nowhere/flags.json: file not found\n');
});

test('--check, --version and usage errors use the right stream and exit code, and print no secret @heavy', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const check = run({ LD_ENV_a: 'sdk-check-secret', PORT: '8333', LD_FOO: '1' }, ['--check']);
  const wrong = run({ LD_ENV_a: 'sdk-check-secret', PORT: 'x', LOG_LEVEL: 'y' }, ['--check']);
  const [asked, usage] = [run({}, ['--version']), run({}, ['--frobnicate'])];

  expect(await check.exited).toBe(0);
  expect(check.output().stdout).toMatch(
    /^port = 8333 +# PORT$[\s\S]*^# OK: 1 environment \(a\); no store; 1 warning\n$/m,
  );
  expect(check.output().stderr).toBe('warning: LD_FOO has no effect: no such setting\n');
  expect(JSON.stringify(check.output())).not.toContain('check-secret');

  expect(await wrong.exited).toBe(1);
  expect(wrong.output()).toEqual({
    stdout: '',
    stderr: `CONFIG_INVALID: 2 problems
  PORT=x is invalid: expected an integer from 0 to 65535
  LOG_LEVEL=y is invalid: expected one of debug, info, warn, error, none
# not OK: 2 problems
`,
  });

  expect(await asked.exited).toBe(0);
  expect(asked.output()).toEqual({ stdout: `${version}\n`, stderr: '' });

  expect(await usage.exited).toBe(1);
  expect(usage.output().stderr).toMatch(/^Unknown option --frobnicate\n\nUsage: /);

  const help = run({}, ['--help']);
  expect(await help.exited).toBe(1);
  expect(help.output().stderr).toMatch(/^Usage: /);
});
