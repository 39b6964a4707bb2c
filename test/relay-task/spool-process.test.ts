/** The spool of relays as processes: killed, ended, and started again, with a LaunchDarkly that is away. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../support/eventually.ts';
import { exampleFile } from '../support/example-environment.ts';
import { bundleRelay, listeningPort, type RelayProcess, type RunOptions, runRelay } from '../support/relay-process.ts';
import { closeLater, custom, type Event, startLaunchDarkly } from './events/support.ts';

bundleRelay();

const KEY = 'sdk-spool-process-test';

async function startRelay(eventsUri: string, directory: string, options: RunOptions = {}) {
  const variables = {
    PORT: '0',
    LISTEN_HOST: '127.0.0.1',
    DRAIN_WINDOW: '0',
    GRACEFUL_SHUTDOWN_TIMEOUT: '20s',
    LD_ENV_local: KEY,
    LD_FLAGS_FILE_local: exampleFile,
    USE_EVENTS: 'true',
    EVENTS_HOST: eventsUri,
    EVENTS_FLUSH_INTERVAL: '20ms',
    EVENTS_CAPACITY: '100000',
    EVENTS_SPOOL_DIR: directory,
  };
  const relay = runRelay(variables, [], options);
  closeLater(async () => {
    relay.child.kill('SIGKILL');
    await relay.exited;
  });
  return { ...relay, port: await eventually(() => listeningPort(relay.output().stdout)) };
}

/** The status of the answer; undefined without one. */
async function post(port: number, from: number, events: number): Promise<number | undefined> {
  const body = JSON.stringify(Array.from({ length: events }, (_, index) => custom(from + index)));
  const headers = { Authorization: KEY, 'X-LaunchDarkly-Event-Schema': '4', 'Content-Type': 'application/json' };
  const answer = await fetch(`http://127.0.0.1:${port}/bulk`, { method: 'POST', headers, body }).catch(() => undefined);
  return answer?.status;
}

async function ended({ child, exited }: Pick<RelayProcess, 'child' | 'exited'>, signal: 'SIGKILL' | 'SIGTERM') {
  child.kill(signal);
  return exited;
}

const keysOf = (events: readonly Event[]) => events.map(({ key }) => String(key)).sort();
const keys = (ids: readonly number[]) => ids.map((id) => `event-${id}`).sort();

test('what relays accepted before SIGKILL and SIGTERM arrives once, and the directory is empty then @heavy', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'spool-process-'));
  closeLater(() => rmSync(directory, { recursive: true, force: true }));
  const launchDarkly = await startLaunchDarkly(() => 503);
  const accepted: number[] = [];
  let next = 0;
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
    const relay = await startRelay(launchDarkly.uri, directory);
    for (let body = 0; body < 20; body++, next += 5) {
      expect(await post(relay.port, next, 5)).toBe(202);
      accepted.push(...Array.from({ length: 5 }, (_, index) => next + index));
    }
    await ended(relay, signal);
    if (signal === 'SIGTERM') expect(relay.output().stdout).not.toContain('Events were dropped');
  }
  launchDarkly.mood.react = () => 202;
  const last = await startRelay(launchDarkly.uri, directory);
  await eventually(() => expect(keysOf(launchDarkly.taken())).toEqual(keys(accepted)));
  expect(await ended(last, 'SIGTERM')).toBe(0);
  expect(keysOf(launchDarkly.taken())).toEqual(keys(accepted));
  expect(readdirSync(directory)).toEqual([]);
});

test('a relay that is killed while it sends and receives loses nothing that it answered, and repeats only under known IDs @heavy', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'spool-process-'));
  closeLater(() => rmSync(directory, { recursive: true, force: true }));
  let requests = 0;
  // Half of the answers get lost, so that payloads are received and tried again.
  const launchDarkly = await startLaunchDarkly(() => (requests++ % 2 === 0 ? 'lost' : 202));
  const answered = new Set<number>();
  let next = 0;
  for (let round = 0; round < 3; round++) {
    const relay = await startRelay(launchDarkly.uri, directory);
    const posts: Promise<void>[] = [];
    for (let body = 0; body < 60; body++, next += 3) {
      const from = next;
      posts.push(
        post(relay.port, from, 3).then((status) => {
          if (status === 202) for (let id = from; id < from + 3; id++) answered.add(id);
        }),
      );
      if (body % 6 === 5) await posts[body - 5];
    }
    await ended(relay, 'SIGKILL');
    await Promise.all(posts);
  }
  const last = await startRelay(launchDarkly.uri, directory);
  await eventually(() => expect(keysOf(launchDarkly.taken())).toEqual(expect.arrayContaining(keys([...answered]))));
  expect(await ended(last, 'SIGTERM')).toBe(0);
  const received = keysOf(launchDarkly.taken());
  expect(received).toHaveLength(new Set(received).size);
  expect(answered.size).toBeGreaterThan(0);
  expect(readdirSync(directory)).toEqual([]);
});

test('a disk that hangs does not hold up the end of the process, which says so @heavy', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'spool-process-'));
  closeLater(() => rmSync(directory, { recursive: true, force: true }));
  const launchDarkly = await startLaunchDarkly(() => 503);
  const pipe = join(directory, 'pipe');
  const relay = await startRelay(launchDarkly.uri, directory, { hangingDisk: pipe });
  expect(await post(relay.port, 0, 3)).toBe(202);
  execFileSync('mkfifo', [pipe]);
  // It has no exit code: Node.js does not exit while a thread waits.
  expect(await ended(relay, 'SIGTERM')).toBeNull();
  const { stdout } = relay.output();
  expect(stdout).toContain('EVENTS_SPOOL_DIR did not answer in time at the end');
  expect(stdout).toContain('A file system or a resolver does not answer');
  rmSync(pipe);
  // What was written before it hung is there for the next one.
  launchDarkly.mood.react = () => 202;
  const next = await startRelay(launchDarkly.uri, directory);
  await eventually(() => expect(keysOf(launchDarkly.taken())).toEqual(keys([0, 1, 2])));
  expect(await ended(next, 'SIGTERM')).toBe(0);
});

test('a directory that cannot be written lets the relay start and serve', async () => {
  const launchDarkly = await startLaunchDarkly();
  const relay = await startRelay(launchDarkly.uri, '/proc/spool');
  expect(await post(relay.port, 0, 2)).toBe(202);
  await eventually(() => expect(launchDarkly.taken()).toHaveLength(2));
  await eventually(() => expect(relay.output().stdout).toContain('Cannot use EVENTS_SPOOL_DIR'));
  expect(await ended(relay, 'SIGTERM')).toBe(0);
});
