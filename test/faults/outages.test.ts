/**
 * Three relays behind a load balancer, on one store and one LaunchDarkly, serve streams and official SDKs while a flag changes all
 * the time; one fault comes after the other. `npm run test:faults` does it with 3,000 streams, 30 SDKs and outages of a minute.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, until } from '../support/eventually.ts';
import type { FakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { type Balancer, startBalancer } from '../support/least-connections.ts';
import { forgetPeak, limitMethod, residentMemory } from '../support/memory-limit.ts';
import { bundleRelay, listeningPort, type RelayProcess, runRelay } from '../support/relay-process.ts';
import { relayStores } from '../support/relay-stores.ts';
import { type Changes, startChanges, startUpstream } from './changes.ts';
import { type Clients, type Measured, startClients } from './clients.ts';
import { mib, type Row, report, seconds } from './report.ts';
import { FULL, otherKey, relayVariables, sdkKey } from './site.ts';

const LIMIT_BYTES = 512 * 1024 * 1024;
const counts = FULL
  ? {
      streams: 3_000,
      sdks: 30,
      everyMs: 500,
      outageMs: 60_000,
      shortMs: 10_000,
      deaf: 20,
      blobs: 60,
      blobBytes: 256_000,
    }
  : { streams: 30, sdks: 1, everyMs: 100, outageMs: 500, shortMs: 200, deaf: 4, blobs: 20, blobBytes: 64_000 };

interface Running extends RelayProcess {
  readonly port: number;
  readonly pid: number;
}

interface Site {
  readonly upstream: FakeUpstream;
  readonly balancer: Balancer;
  readonly clients: Clients;
  readonly changes: Changes;
  /** Those that run; a fault may replace them. */
  readonly relays: Running[];
  start(): Promise<Running>;
}

const ofOther = { to: ({ headers }: { headers: { authorization?: string } }) => headers.authorization === otherKey };

/** Each resolves when its cause is over. */
const faults: Record<string, (site: Site) => Promise<void>> = {
  async 'kill -9 of a relay, another one starts 1 s later'({ relays, balancer, start }) {
    const [old] = relays.splice(0, 1);
    balancer.remove(old?.port ?? 0);
    old?.child.kill('SIGKILL');
    await old?.exited;
    await delay(1_000);
    relays.push(await start());
  },
  async 'SIGTERM of each relay in turn, after its successor is ready'({ relays, balancer, start }) {
    const turns = FULL ? relays.length : 1;
    for (let turn = 0; turn < turns; turn++) {
      relays.push(await start());
      const [old] = relays.splice(0, 1);
      balancer.remove(old?.port ?? 0);
      old?.child.kill('SIGTERM');
      expect(await old?.exited).toBe(0);
    }
  },
  async 'LaunchDarkly cannot be reached'({ upstream }) {
    const { answer } = upstream;
    upstream.answer = 'cut';
    upstream.cut();
    await delay(counts.outageMs);
    upstream.answer = answer;
  },
  async 'garbage and half events from LaunchDarkly'({ upstream }) {
    for (const bytes of garbage) {
      await upstream.send(bytes, { chunkBytes: 16_384 });
      await delay(counts.everyMs);
    }
    for (const half of halves) {
      await upstream.send(half);
      await delay(20);
      upstream.cut();
      await delay(2 * counts.everyMs);
    }
  },
  async 'LaunchDarkly accepts connections and says nothing'({ upstream }) {
    const { answer } = upstream;
    upstream.answer = 'silent';
    upstream.cut();
    await delay(3 * counts.shortMs);
    upstream.answer = answer;
    upstream.cut();
  },
  async 'clients that read no more, while large flags change'({ upstream, relays }) {
    const port = relays[0]?.port ?? 0;
    const deaf = await Promise.all(
      Array.from({ length: counts.deaf }, (_, index) => openAndStopReading(port, index % 4 === 0 ? sdkKey : otherKey)),
    );
    for (let blob = 0; blob < counts.blobs; blob++) {
      const filler = String(blob % 10).repeat(counts.blobBytes);
      await upstream.event('patch', { path: '/flags/blob', data: flagData('blob', blob + 1, { filler }) }, ofOther);
      await delay(counts.everyMs / 5);
    }
    await upstream.event('put', { path: '/', data: { flags: {}, segments: {} } }, ofOther);
    for (const socket of deaf) socket.destroy();
  },
  async 'a relay without file descriptors'({ upstream, relays }) {
    const [relay] = relays;
    if (!relay) throw new Error('no relay');
    const limit = (count: number) => execFileSync('prlimit', ['--pid', String(relay.pid), `--nofile=${count}:`]);
    const text = execFileSync('prlimit', ['--pid', String(relay.pid), '--nofile', '--output=SOFT', '--noheadings']);
    limit(readdirSync(`/proc/${relay.pid}/fd`).length);
    const waiting = Array.from({ length: 50 }, () => connect(relay.port, '127.0.0.1').on('error', () => {}));
    upstream.cut();
    await delay(counts.shortMs);
    limit(Number(text));
    for (const socket of waiting) socket.destroy();
  },
  async 'SIGSTOP of a relay, then SIGCONT'({ relays }) {
    relays[0]?.child.kill('SIGSTOP');
    await delay(counts.outageMs);
    relays[0]?.child.kill('SIGCONT');
  },
  async 'clocks that step an hour ahead, an hour back, and right'({ relays }) {
    for (const stepMs of [3_600_000, -3_600_000, 0]) {
      for (const { child } of relays) child.send({ stepMs });
      await delay(counts.shortMs);
    }
  },
};

const event = (name: string, data: string) => `event: ${name}\ndata: ${data}\n\n`;
const garbage: readonly (string | Uint8Array)[] = [
  '\u0000\u0001\u0002\n\n',
  Uint8Array.from([0xff, 0xfe, 0xc0, 0x80, 0x0a, 0x0a]),
  event('patch', '{"path":"/flags/changing","data":'),
  event('put', '{"path":"/","data":{"flags":{"changing":'),
  event('put', 'null'),
  event('put', '[]'),
  event('put', '{"path":"/","data":{"flags":7,"segments":"x"}}'),
  event('patch', '{"path":"/flags/","data":{}}'),
  event('patch', '{"path":"/flags/changing","data":null}'),
  event('patch', '{"path":"/flags/changing","data":{"key":"changing","version":"many"}}'),
  event('patch', '{"path":"/__proto__/x","data":{"key":"x","version":1}}'),
  event('patch', `{"path":"/flags/deep","data":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
  event('delete', '{"path":"/flags/changing","version":"x"}'),
  event('no such event', 'x'),
  `data: ${'x'.repeat(1_000_000)}\n\n`,
];
const halves = [
  'event: patch\ndata: {"path":"/flags/changing","data":{"key":"chang',
  'event: put\ndata: {"path":"/",',
  'eve',
];

async function openAndStopReading(port: number, key: string) {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`GET /all HTTP/1.1\r\nHost: relay\r\nAuthorization: ${key}\r\n\r\n`);
  await new Promise((resolve) => socket.once('readable', resolve).once('close', resolve));
  return socket;
}

bundleRelay();
const closers: (() => unknown)[] = [];
const opened = <T extends { close(): unknown }>(thing: T): T => {
  closers.push(() => thing.close());
  return thing;
};
let site: Site;

beforeAll(async () => {
  const stores = relayStores({ opened });
  const store = await (stores.Redis ?? stores.DynamoDB)?.();
  const upstream = opened(await startUpstream());
  const balancer = opened(await startBalancer());
  const aws = { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local', AWS_REGION: 'us-east-1' };
  const variables = { ...relayVariables(upstream.uri), ...aws, ...store } as Record<string, string>;
  const start = async (): Promise<Running> => {
    const relay = runRelay(variables, [], { limitBytes: LIMIT_BYTES, steppedClock: true });
    closers.push(() => relay.child.kill('SIGKILL') && relay.exited);
    const port = await eventually(() => listeningPort(relay.output().stdout));
    await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200));
    balancer.add(port);
    return { ...relay, port, pid: relay.child.pid ?? 0 };
  };
  const relays = await Promise.all([start(), start(), start()]);
  const clients = opened(startClients());
  const { streams, sdks, everyMs } = counts;
  await clients.start({ port: balancer.port, streams, sdks, kinds: ['server', 'browser', 'mobile'] });
  const changes = opened(startChanges(upstream, clients, everyMs));
  site = { upstream, balancer, clients, changes, relays, start };
}, 600_000);

afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

interface Result extends Measured {
  /** Why the clients did not agree. */
  readonly missed: string | undefined;
  readonly recoveryMs: number;
  readonly peakBytes: readonly number[];
}

const results: Record<string, Result> = {};
afterAll(() => {
  const rows = Object.entries(results).map(
    ([fault, { gapMs, behindMs, missed, repeated, backwards, recoveryMs, peakBytes, refused }]): Row => ({
      fault,
      'longest without stream, s': seconds(gapMs),
      'longest behind, s': seconds(behindMs),
      missed: missed === undefined ? 0 : 'some',
      repeated,
      'began older': backwards,
      'recovered after, s': seconds(recoveryMs),
      'attempts refused':
        Object.entries(refused)
          .map(([how, count]) => `${count} × ${how}`)
          .join(', ') || 0,
      'peak memory of each, MiB': peakBytes.map(mib).join(', '),
    }),
  );
  if (rows.length > 0) report('outages', rows, { counts, limit: limitMethod, results });
});

const hasPrlimit = spawnSync('prlimit', ['--version']).status === 0;
/** Where a tool is missing, the fault is skipped by its name. */
const testOf = (name: string) => (name.includes('descriptors') && !hasPrlimit ? test.skip : test);

for (const name of Object.keys(faults)) {
  testOf(name)(`${name}: no client misses a change or gets one twice, and all agree afterwards`, async () => {
    const { clients, changes, relays } = site;
    await changes.settle(counts.streams);
    await clients.begin();
    for (const { pid } of relays) forgetPeak(pid);
    await faults[name]?.(site);
    const healedAt = performance.now();
    const settled = changes.settle(counts.streams, FULL ? 180_000 : 60_000);
    const missed = await settled.then(
      () => undefined,
      (error: Error) => error.message,
    );
    const recoveryMs = performance.now() - healedAt;
    const measured = await settled.catch(() => clients.measure());
    const peakBytes = relays.map(({ pid }) => residentMemory(pid)?.peakBytes ?? 0);
    results[name] = { ...measured, missed, recoveryMs, peakBytes };
    expect(missed).toBeUndefined();
    expect(measured.repeated).toBe(0);
    for (const bytes of peakBytes) expect(bytes).toBeLessThan(LIMIT_BYTES);
    await until('every relay is well', async () => {
      const all = await Promise.all(relays.map(({ port }) => fetch(`http://127.0.0.1:${port}/readyz`)));
      return all.every(({ status }) => status === 200);
    });
  });
}
