/** `ld-relay --healthcheck`, the command from the image, beside relays that run from it. */
import { execFile, spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { healthcheckArguments } from '../../relay-task/status/healthcheck.ts';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { freePort } from '../support/free-port.ts';
import { closeAfterEach } from '../support/opened.ts';
import { bundleRelay, listeningPort, type RelayProcess, root, runRelay } from '../support/relay-process.ts';

bundleRelay();
const { behind } = closeAfterEach();
const image = (bundle: string) => [join(bundle, 'ld-relay')] as const;

async function checked(variables: Record<string, string>, args: readonly string[]) {
  const { exited, output } = runRelay(variables, args, { command: image });
  return { code: await exited, stderr: output().stderr };
}

/** A relay with TLS whose port is in its file. */
async function startFromFile(command: (bundle: string) => readonly [string, ...string[]] = image) {
  const directory = mkdtempSync(join(tmpdir(), 'healthcheck-'));
  behind(() => rmSync(directory, { recursive: true }));
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'relay.example' }], { keySize: 2048 });
  const [config, certFile, keyFile] = ['relay.conf', 'tls.crt', 'tls.key'].map((name) => join(directory, name)) as [
    ...[string, string, string],
  ];
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
  writeFileSync(
    config,
    `[Main]\nport = ${await freePort()}\ntlsEnabled = true\ntlsCert = ${certFile}\ntlsKey = ${keyFile}\n` +
      `[Environment "local"]\nsdkKey = sdk-health-test\nflagsFile = "${exampleFile}"\n`,
  );
  const relay = runRelay({}, ['--config', config], { command });
  await eventually(() => listeningPort(relay.output().stdout));
  return { relay, config };
}

async function end({ child, exited }: RelayProcess) {
  child.kill('SIGTERM');
  expect(await exited).toBe(0);
}

test('it finds the port and TLS in the configuration of the relay, and exits with 1 when the relay is gone @heavy', async () => {
  const { relay, config } = await startFromFile();
  expect(await checked({}, ['--healthcheck', '--config', config])).toEqual({ code: 0, stderr: '' });
  await end(relay);
  expect(await checked({}, ['--healthcheck', '--config', config])).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^The relay does not answer: connect ECONNREFUSED/),
  });
});

test('--readycheck asks for readiness instead: a relay without data lives and is not ready @heavy', async () => {
  const variables = {
    ...{ LD_ENV_local: 'sdk-health-test', STREAM_URI: 'http://127.0.0.1:1', DRAIN_WINDOW: '0' },
    PORT: String(await freePort()),
  };
  const relay = runRelay(variables, ['--from-env'], { command: image });
  await eventually(() => listeningPort(relay.output().stdout));
  expect(await checked(variables, ['--healthcheck', '--from-env'])).toEqual({ code: 0, stderr: '' });
  expect(await checked(variables, ['--readycheck', '--from-env'])).toEqual({
    code: 1,
    stderr: 'The relay does not answer: it answered 503\n',
  });
  await end(relay);
  const { relay: filled, config } = await startFromFile();
  await eventually(async () => expect((await checked({}, ['--readycheck', '--config', config])).code).toBe(0));
  await end(filled);
});

test('it finds a relay that lives, whatever is wrong in its configuration by now but its address @heavy', async () => {
  const { relay, config } = await startFromFile();
  appendFileSync(config, 'no setting\n[Redis]\nport = many\n[Events]\ncapacity = -5\n[Nothing "x"]\ny = 1\n');
  expect(await checked({}, ['--healthcheck', '--config', config])).toEqual({ code: 0, stderr: '' });
  await end(relay);
  writeFileSync(config, '[Main]\nport = many\n');
  expect(await checked({}, ['--healthcheck', '--config', config])).toEqual({
    code: 1,
    stderr: expect.stringContaining('CONFIG_INVALID'),
  });
});

test('it reads the same variables, the address to listen on included @heavy', async () => {
  const variables = {
    ...{ LD_ENV_local: 'sdk-health-test', LD_FLAGS_FILE_local: exampleFile, DRAIN_WINDOW: '0' },
    ...{ PORT: String(await freePort()), LISTEN_HOST: '127.0.0.2' },
  };
  const relay = runRelay(variables, ['--from-env'], { command: image });
  await eventually(() => listeningPort(relay.output().stdout));
  expect(await checked(variables, ['--healthcheck', '--from-env'])).toEqual({ code: 0, stderr: '' });
  await end(relay);
});

const mayUnshare = spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status === 0;
(mayUnshare ? test : test.skip)(
  "alone, it takes the arguments of the container's first process, whatever they were replaced with",
  async () => {
    // A container has processes of its own, and the relay is the first.
    const { relay } = await startFromFile((bundle) => ['unshare', '--pid', '--fork', '--mount-proc', ...image(bundle)]);
    const { pid } = relay.child;
    const first = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    const command = readFileSync(`/proc/${first}/cmdline`, 'utf8')
      .split('\0')
      .find((word) => word.endsWith('/ld-relay'));
    const code = await new Promise((resolve) => {
      const args = ['--target', first, '--pid', '--mount', command ?? '', '--healthcheck'];
      execFile('nsenter', args, { env: {} }, (error) => resolve(error?.code ?? 0));
    });
    expect(code).toBe(0);
    process.kill(Number(first), 'SIGTERM');
    expect(await relay.exited).toBe(0);
  },
);

(mayUnshare ? test : test.skip)(
  'alone, it finds the relay behind another first process, as where containers share their processes @heavy',
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'healthcheck-'));
    behind(() => rmSync(directory, { recursive: true }));
    const script = join(directory, 'pause');
    const { relay } = await startFromFile((bundle) => {
      // In a file, so that the command is not among the words of the first process.
      writeFileSync(script, `${join(bundle, 'ld-relay')} "$@" & wait\n`);
      return ['unshare', '--pid', '--fork', '--mount-proc', 'sh', script];
    });
    const { pid } = relay.child;
    const children = (parent: string | number | undefined) =>
      readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim();
    const first = children(pid);
    const second = children(first);
    const command = readFileSync(`/proc/${second}/cmdline`, 'utf8')
      .split('\0')
      .find((word) => word.endsWith('/ld-relay'));
    for (const check of ['--healthcheck', '--readycheck']) {
      const code = await new Promise((resolve) => {
        const args = ['--target', first, '--pid', '--mount', command ?? '', check];
        execFile('nsenter', args, { env: {} }, (error) => resolve(error?.code ?? 0));
      });
      expect([check, code]).toEqual([check, 0]);
    }
    process.kill(Number(second), 'SIGTERM');
    expect(await relay.exited).toBe(0);
  },
);

test.each([
  ['of the image', ['/nodejs/bin/node', '--max-semi-space-size=2', '/usr/local/lib/edge-flag-relay/ld-relay']],
  ['behind an init process', ['/sbin/docker-init', '--', 'ld-relay']],
  ['of the installed package', ['node', '/usr/local/bin/edge-flag-relay', 'relay']],
  ['that the package’s commands are', ['/usr/bin/node', '--max-semi-space-size=2', '/x/dist/bin/ld-relay.mjs']],
  ['in this repository', ['node', '--import', 'tsx', 'relay-task/main.ts']],
])('it recognises the command %s', (_where, words) => {
  const cmdline = () => `${[...words, '--config', 'a file', '--from-env'].join('\0')}\0`;
  expect(healthcheckArguments(['--healthcheck'], cmdline)).toEqual([
    ...['--healthcheck', '--config', 'a file', '--from-env'],
  ]);
  expect(healthcheckArguments(['-healthcheck', '--from-env'], cmdline)).toEqual(['-healthcheck', '--from-env']);
  expect(healthcheckArguments(['--check'], cmdline)).toEqual(['--check']);
  expect(healthcheckArguments(['--readycheck'], cmdline)).toEqual(['--readycheck', '--config', 'a file', '--from-env']);
  expect(
    healthcheckArguments(
      ['--healthcheck'],
      () => 'bash\0-c\0x\0',
      () => ['', cmdline()],
    ),
  ).toEqual([...['--healthcheck', '--config', 'a file', '--from-env']]);
});

test('it takes no other check for the relay, and no arguments if no relay runs', () => {
  const check = 'node\0/usr/bin/ld-relay\0--config\0x\0--healthcheck\0';
  expect(
    healthcheckArguments(
      ['--healthcheck'],
      () => check,
      () => ['bash\0-c\0x\0', check],
    ),
  ).toEqual(['--healthcheck']);
});

test("the image's health check is that command", () => {
  const dockerfile = readFileSync(join(root, 'relay-task/Dockerfile'), 'utf8');
  expect(dockerfile).toMatch(/^HEALTHCHECK .* CMD \["ld-relay", "--healthcheck"\]$/m);
});
