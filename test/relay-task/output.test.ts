/** A relay whose stdout takes no lines: it serves, counts what was lost, and ends in order. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { freePort } from '../support/free-port.ts';
import { closeAfterEach } from '../support/opened.ts';
import { bundleRelay, listeningPort, type RunOptions, root, runRelay } from '../support/relay-process.ts';

bundleRelay();
const { behind } = closeAfterEach();

const hasTerminals = spawnSync('python3', ['-c', 'import pty, termios']).status === 0;
const onTerminal = hasTerminals ? test : test.skip;
/** Becomes the program of its arguments, whose stdout is a terminal after Ctrl-S. */
const AFTER_CTRL_S = `
import os, pty, sys, termios
master, slave = pty.openpty()
os.set_inheritable(master, True)
os.dup2(slave, 1)
termios.tcflow(slave, termios.TCOOFF)
os.execvp(sys.argv[1], sys.argv[1:])`;
/** Runs the program of its arguments on a terminal whose output it reads only after a line on stdin. */
const READ_LATE = `
import os, pty, subprocess, sys, tty
master, slave = pty.openpty()
tty.setraw(slave)
subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=slave)
sys.stdin.readline()
while True: os.write(1, os.read(master, 65536))`;

/** Metrics for CloudWatch are lines on stdout, so they make many. */
async function start(options: RunOptions) {
  const [port, metricsPort] = [await freePort(), await freePort()];
  const relay = runRelay(
    {
      ...{ PORT: String(port), LISTEN_HOST: '127.0.0.1', DRAIN_WINDOW: '0' },
      ...{ USE_PROMETHEUS: 'true', PROMETHEUS_PORT: String(metricsPort) },
      ...{ METRICS_EMF: 'true', METRICS_EMF_INTERVAL: '1s' },
      ...{ LD_ENV_local: 'sdk-output-test', LD_FLAGS_FILE_local: exampleFile },
    },
    [],
    options,
  );
  const ask = async (path: string, at = port) => {
    const response = await fetch(`http://127.0.0.1:${at}${path}`, { headers: { Authorization: 'sdk-output-test' } });
    return { status: response.status, text: await response.text() };
  };
  const expectLosses = () =>
    eventually(async () => {
      expect(JSON.parse((await ask('/status')).text)).toMatchObject({ logLinesLost: expect.any(Number) });
      expect((await ask('/metrics', metricsPort)).text).toMatch(/^launchdarkly_relay_log_lines_lost_total [1-9]/m);
      expect((await ask('/sdk/flags')).status).toBe(200);
    });
  const endsInOrder = async () => {
    relay.child.kill('SIGTERM');
    expect(await relay.exited).toBe(0);
    expect(relay.output().stderr).toBe('');
  };
  return { ...relay, ask, expectLosses, endsInOrder };
}

test('a full disk costs log lines, and the relay keeps serving @heavy', async () => {
  const full = openSync('/dev/full', 'w');
  try {
    const relay = await start({ stdout: full });
    await relay.expectLosses();
    await relay.endsInOrder();
  } finally {
    closeSync(full);
  }
});

test('a closed pipe costs log lines, and the relay keeps serving @heavy', async () => {
  const relay = await start({});
  await eventually(() => listeningPort(relay.output().stdout));
  relay.child.stdout?.destroy();
  await relay.expectLosses();
  await relay.endsInOrder();
});

/** Writes a hundred megabytes, then tells on stderr by how many bytes it has grown, and writes on, less than a starved reader takes. */
const FLOOD = `
  import { createOutput } from ${JSON.stringify(join(root, 'relay-task/status/output.ts'))};
  const line = JSON.stringify({ text: 'x'.repeat(1_000) }) + '\\n';
  const recovered = (lines, reason) => output.write(JSON.stringify({ lines, reason }) + '\\n');
  const output = createOutput({ onRecovered: recovered });
  const wasAtStart = process.memoryUsage.rss();
  while (output.lost() < 100_000) output.write(line);
  process.stderr.write(String(process.memoryUsage.rss() - wasAtStart));
  setInterval(() => output.write(line), 250);`;

/** Reads what FLOOD's reader gets at last: whole lines, and one that says how many were lost. */
async function expectRecovery(stdout: Readable, why: string): Promise<void> {
  let heard = '';
  stdout.on('data', (bytes) => {
    heard += bytes;
  });
  // What follows the last line break may still be on its way.
  const wholeLines = () => heard.split('\n').slice(0, -1);
  const told = await eventually(() => {
    const line = wholeLines().find((text) => text.includes('"reason"'));
    expect(line).toBeDefined();
    return JSON.parse(line ?? '');
  });
  expect(told).toEqual({ lines: expect.any(Number), reason: why });
  expect(told.lines).toBeGreaterThanOrEqual(100_000);
  // No line was cut.
  for (const text of wholeLines()) JSON.parse(text);
}

onTerminal('a terminal after Ctrl-S takes no line, and the relay serves all the same and ends in order', async () => {
  const relay = await start({
    command: (bundle) => ['python3', '-c', AFTER_CTRL_S, process.execPath, join(bundle, 'relay.mjs')],
  });
  behind(() => void relay.child.kill('SIGKILL'));
  await eventually(async () => expect((await relay.ask('/sdk/flags')).status).toBe(200));
  expect((await relay.ask('/livez')).status).toBe(200);
  await relay.endsInOrder();
});

onTerminal(
  'a terminal that takes nothing costs log lines, not memory or time, and is told how many later',
  async () => {
    const wrapped = ['-c', READ_LATE, process.execPath, '--import', 'tsx', '--input-type=module', '-e', FLOOD];
    // Its own group, so that both programs end.
    const child = spawn('python3', wrapped, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    behind(() => void process.kill(-(child.pid ?? 0), 'SIGKILL'));
    const [grown] = (await once(child.stderr, 'data')) as [Buffer];
    expect(Number(grown.toString())).toBeLessThan(50_000_000);
    child.stdin.write('\n');
    await expectRecovery(child.stdout, 'the terminal takes no output');
  },
);

test('a pipe that nobody reads costs log lines, not memory or time, and its reader learns how many were lost', async () => {
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', FLOOD], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  try {
    const [grown] = (await once(child.stderr, 'data')) as [Buffer];
    // A hundred megabytes were written.
    expect(Number(grown.toString())).toBeLessThan(50_000_000);
    await expectRecovery(child.stdout, 'nobody reads stdout');
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});
