/**
 * A relay in a container of 512 MiB gets hostile requests while it serves well-behaved clients of a flag that changes all the
 * time. `npm run test:faults` sends 100,000 of them beside 3,000 streams and 30 official SDKs; `SEED` changes the seed. With
 * LD_RELAY=<its binary> ld-relay gets the same requests, and its figures stand beside ours in the report; nothing is asserted
 * about it.
 */
import { existsSync } from 'node:fs';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { endsWithParent, limitMethod, residentMemory } from '../support/memory-limit.ts';
import { closeAfterEach } from '../support/opened.ts';
import { percentile } from '../support/percentile.ts';
import { bundleRelay, listeningPort, type RelayProcess, runCommand, runRelay } from '../support/relay-process.ts';
import { startChanges, startUpstream } from './changes.ts';
import { type StreamKind, startClients } from './clients.ts';
import { type HostileOutcome, startHostileRequests } from './hostile-run.ts';
import { startProbe } from './probe.ts';
import { mib, type Row, report, seconds } from './report.ts';
import { FULL, relayVariables } from './site.ts';

const SEED = process.env.SEED ?? '1';
const LIMIT_BYTES = 512 * 1024 * 1024;
const counts = FULL
  ? {
      streams: 3_000,
      sdks: 30,
      requests: Number(process.env.REQUESTS ?? 100_000),
      atOnce: 256,
      mostMs: Number(process.env.MOST_MS ?? 300_000),
      patienceMs: 180_000,
      // Smaller ones show what else is wrong, as long as large ones end everything.
      largestBytes: Number(process.env.LARGEST_BYTES ?? 66_000_000),
      longestHoldMs: 4_000,
      everyMs: 1000,
    }
  : {
      streams: 60,
      sdks: 2,
      requests: 400,
      atOnce: 16,
      mostMs: 60_000,
      patienceMs: 60_000,
      largestBytes: 100_000,
      longestHoldMs: 300,
      everyMs: 100,
    };

const { behind, opened } = closeAfterEach();
bundleRelay();

interface Candidate {
  readonly name: string;
  readonly alivePath: string;
  readonly kinds: readonly StreamKind[];
  start(variables: Record<string, string>): Promise<{ relay: RelayProcess; port: number }>;
}

const ours: Candidate = {
  name: 'edge-flag-relay',
  alivePath: '/livez',
  kinds: ['server', 'browser', 'mobile'],
  async start(variables) {
    const relay = runRelay(variables, [], { limitBytes: LIMIT_BYTES, steppedClock: true });
    behind(() => relay.child.kill('SIGKILL') && relay.exited);
    return { relay, port: await eventually(() => listeningPort(relay.output().stdout)) };
  },
};

const ldRelay = (binary: string): Candidate => ({
  name: 'ld-relay',
  alivePath: '/status',
  // Its streams for browsers and mobile SDKs carry no values.
  kinds: ['server'],
  async start(variables) {
    const port = await freePort();
    const { PATH = '' } = process.env;
    const relay = runCommand([...endsWithParent, binary, '--from-env'], {
      PATH,
      ...variables,
      PORT: String(port),
    });
    behind(() => relay.child.kill('SIGKILL') && relay.exited);
    await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/status`)).status).toBe(200));
    return { relay, port };
  },
});

interface Result {
  readonly alive: boolean;
  readonly peakBytes: number;
  readonly aliveMs: readonly number[];
  readonly outcome: HostileOutcome;
  readonly missed: string | undefined;
  readonly behindMs: number;
  readonly gapMs: number;
  readonly lastWords: string;
}

async function attack(candidate: Candidate): Promise<Result> {
  const upstream = opened(await startUpstream());
  const { relay, port } = await candidate.start(relayVariables(upstream.uri));
  const pid = relay.child.pid ?? 0;
  const clients = opened(startClients());
  await clients.start({ port, streams: counts.streams, kinds: candidate.kinds, sdks: counts.sdks });
  const changes = opened(startChanges(upstream, clients, counts.everyMs));
  const probe = opened(startProbe(port, candidate.alivePath));
  await changes.settle(counts.streams, counts.patienceMs);
  await clients.begin();
  probe.begin();

  let peakBytes = 0;
  const look = () => {
    // A process that has ended has no memory.
    if (existsSync(`/proc/${pid}`)) peakBytes = Math.max(peakBytes, residentMemory(pid)?.peakBytes ?? 0);
  };
  const watching = setInterval(look, 250);
  behind(() => clearInterval(watching));
  const died = relay.exited.then(() => undefined);

  const sender = opened(startHostileRequests({ port, seed: SEED, ...counts }));
  const finished = await Promise.race([sender.finished, died]);
  const alive = finished !== undefined;
  const outcome = finished ?? (await sender.stop());
  const aliveMs = [...probe.times];
  look();
  let missed: string | undefined = alive ? undefined : 'the relay died';
  if (alive) {
    await changes.settle(counts.streams, counts.patienceMs).catch((error: Error) => {
      missed = error.message;
    });
  }
  const measured = await clients.measure();
  const { stdout, stderr } = relay.output();
  const { behindMs, gapMs } = measured;
  return {
    alive,
    peakBytes,
    aliveMs,
    outcome,
    missed,
    behindMs,
    gapMs,
    lastWords: (alive ? '' : stdout.slice(-2_000)) + stderr.slice(-2_000),
  };
}

const rows: Row[] = [];
const results: Record<string, Result> = {};

function note(name: string, result: Result): void {
  results[name] = result;
  const { alive, peakBytes, aliveMs, outcome, missed, behindMs, gapMs } = result;
  rows.push({
    relay: name,
    requests: outcome.requests,
    process: alive ? 'lives' : 'died',
    'peak memory, MiB': mib(peakBytes),
    'liveness p50, p99, longest, ms': [0.5, 0.99, 1].map((share) => Math.round(percentile(aliveMs, share))).join(', '),
    'clients that missed a change': missed === undefined ? 0 : 'some',
    'longest behind, s': seconds(behindMs),
    'longest without stream, s': seconds(gapMs),
    'answers 500': Object.values(outcome.failures).reduce((sum, count) => sum + count, 0),
  });
}
afterAll(() => report('hostile', rows, { seed: SEED, counts, limit: limitMethod, results }));

test('hostile requests neither end a relay of 512 MiB, nor take its memory, nor keep a change from a client', async () => {
  const result = await attack(ours);
  note(ours.name, result);
  expect({ seed: SEED, alive: result.alive, lastWords: result.lastWords, missed: result.missed }).toEqual({
    ...{ seed: SEED, alive: true, lastWords: '', missed: undefined },
  });
  expect(result.outcome.failures).toEqual({});
  expect(result.peakBytes).toBeLessThan(LIMIT_BYTES);
  // Ten times what is wanted of a machine that does nothing else.
  if (FULL) expect(percentile(result.aliveMs, 0.99)).toBeLessThan(2_500);
});

const binary = process.env.LD_RELAY;
if (binary !== undefined) {
  test('the same requests to ld-relay, for the report', async () => {
    const result = await attack(ldRelay(binary));
    note('ld-relay', result);
    expect(result.outcome.attacks).toBeGreaterThan(0);
  });
}
