/**
 * What a flood does to everyone else: how long server SDKs wait for their first payload and for a poll, quiet and during floods
 * by somebody who has a client-side ID only.
 *
 * Method: a relay with two environments of 300 flags, a fake LaunchDarkly, the flood, and a server that has nothing to do, each in a
 * process, on loopback. The parent measures, one request after the other: a new stream of `/all` until its `put` is complete,
 * `/sdk/latest-all` on an open connection, each for both environments; the flood is on the first one. Numbers are medians and, in
 * brackets, 90th percentiles in ms. What would run on other machines has the lowest priority; what is left of the machine's own share is
 * what the idle server takes longer.
 *
 *   npx tsx test/bench/fairness.ts [--json] [--seconds 5] [--only <part of a flood's name>]
 */
import type { ChildProcess } from 'node:child_process';
import { Agent, createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { constants, setPriority } from 'node:os';
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { createBenchChildren } from '../support/bench-children.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { median, percentile } from '../support/percentile.ts';
import { startTestRelay } from '../support/start-relay.ts';

const keys = { first: 'sdk-first', other: 'sdk-other' } as const;
const environmentId = '0123456789abcdef01234567';
const json = { 'content-type': 'application/json' };
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

async function serveUpstream(): Promise<void> {
  const clause = {
    contextKind: 'user',
    attribute: 'email',
    op: 'matches',
    values: ['[a-z]+@corp\\.com$'],
    negate: false,
  };
  const more = {
    rules: [{ id: 'r', variation: 1, clauses: [clause] }],
    clientSideAvailability: { usingMobileKey: true, usingEnvironmentId: true },
  };
  const flags = Array.from({ length: 300 }, (_, index) => [`flag-${index}`, flagData(`flag-${index}`, 1, more)]);
  const data = { flags: Object.fromEntries(flags), segments: {} };
  const upstream = await startFakeUpstream(data);
  upstream.answer = ({ method }) => (method === 'POST' ? { status: 202 } : 'stream');
  process.send?.(upstream.uri);
}

async function serveRelay(uri: string): Promise<void> {
  const relay = await startTestRelay({
    ...{ STREAM_URI: uri, BASE_URI: uri, EVENTS_HOST: uri, USE_EVENTS: 'true' },
    ...{ LD_ENV_first: keys.first, LD_CLIENT_SIDE_ID_first: environmentId, LD_ENV_other: keys.other },
    LOG_LEVEL: 'error',
  });
  await relay.initialized();
  process.send?.(relay.port);
}

/** A server that has nothing to do: what it takes longer during a flood is the machine's share, not the relay's. */
function serveIdle(): void {
  const server = createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1', () => {
    process.send?.((server.address() as AddressInfo).port);
  });
}

interface Asked {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: Buffer;
}

/** Resolves when the whole answer is there. */
function ask(
  agent: Agent | false,
  port: number,
  path: string,
  { method = 'GET', headers, body }: Asked = {},
): Promise<void> {
  return new Promise((resolve) => {
    const outgoing = request({ port, host: '127.0.0.1', path, method, agent, headers: headers ?? {} }, (response) => {
      response.resume();
      response.on('close', resolve);
    });
    outgoing.on('error', () => resolve());
    outgoing.end(body);
  });
}

/** `done`: to be called for each request that was answered, or was sent if no answer is read. */
type Flood = (port: number, done: () => void) => Promise<void>;

/** So many clients, each of which asks again when it is answered. */
const crowd =
  (size: number, path: () => string, asked: () => Asked = () => ({})): Flood =>
  async (port, done) => {
    const agent = new Agent({ keepAlive: true, maxSockets: size });
    const client = async () => {
      for (;;) {
        await ask(agent, port, path(), asked());
        done();
      }
    };
    await Promise.all(Array.from({ length: size }, client));
  };

const someone = () => base64({ kind: 'user', key: Math.random().toString(36), email: `${'a'.repeat(200)}@corp.com` });
const largeContext = Buffer.from(JSON.stringify({ kind: 'user', key: 'k', list: Array(9_000).fill('some text') }));
const events = gzipSync(
  JSON.stringify(Array(4_000).fill({ kind: 'custom', key: 'k', user: { key: 'u' }, creationDate: 1 })),
);

const floods: Readonly<Record<string, Flood>> = {
  async 'browsers that never read, 80 new ones a second'(port, done) {
    for (;;) {
      const socket = connect(port, '127.0.0.1');
      socket.pause();
      socket.on('error', () => {});
      socket.write(`GET /eval/${environmentId}/${someone()} HTTP/1.1\r\nHost: x\r\n\r\n`);
      done();
      await pause(1_000 / 80);
    }
  },
  'polls of 64 browsers': crowd(64, () => `/sdk/evalx/${environmentId}/contexts/${someone()}`),
  'polls of 64 browsers with large contexts': crowd(
    64,
    () => `/sdk/evalx/${environmentId}/context`,
    () => ({ method: 'REPORT', headers: json, body: largeContext }),
  ),
  'events of 32 browsers, 4,000 at a time': crowd(
    32,
    () => `/events/bulk/${environmentId}`,
    () => ({ method: 'POST', headers: { ...json, 'content-encoding': 'gzip' }, body: events }),
  ),
  '/status for 32 clients': crowd(32, () => '/status'),
  async 'streams of 32 browsers that come and go'(port, done) {
    const client = async () => {
      for (;;) {
        await new Promise<void>((resolve) => {
          const socket = connect(port, '127.0.0.1');
          socket.on('error', () => {});
          socket.on('close', () => resolve());
          socket.once('data', () => socket.destroy());
          socket.write(`GET /eval/${environmentId}/${someone()} HTTP/1.1\r\nHost: x\r\n\r\n`);
        });
        done();
      }
    };
    await Promise.all(Array.from({ length: 32 }, client));
  },
};

const pollers = new Agent({ keepAlive: true });

/** Until the `put` has arrived as a whole. */
function firstPayload(port: number, key: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let heard = '';
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    socket.on('data', (bytes) => {
      heard += bytes.toString('latin1');
      if (heard.includes('event: put') && heard.endsWith('\n\n\r\n')) socket.destroy();
    });
    socket.write(`GET /all HTTP/1.1\r\nHost: x\r\nAuthorization: ${key}\r\n\r\n`);
  });
}

type Probe = (port: number, idlePort: number) => Promise<void>;

const probes: Readonly<Record<string, Probe>> = {
  'first payload, same environment': (port) => firstPayload(port, keys.first),
  'first payload, other environment': (port) => firstPayload(port, keys.other),
  'poll, same environment': (port) => ask(pollers, port, '/sdk/latest-all', { headers: { authorization: keys.first } }),
  'poll, other environment': (port) =>
    ask(pollers, port, '/sdk/latest-all', { headers: { authorization: keys.other } }),
  '/livez': (port) => ask(pollers, port, '/livez'),
  'idle server': (_, idlePort) => ask(pollers, idlePort, '/'),
};

/** Median and 90th percentile in ms of each probe. */
async function measure(
  port: number,
  idlePort: number,
  forMs: number,
): Promise<Record<string, readonly [number, number]>> {
  const times = new Map<string, number[]>(Object.keys(probes).map((name) => [name, []]));
  for (const end = performance.now() + forMs; performance.now() < end; ) {
    for (const [name, probe] of Object.entries(probes)) {
      const began = performance.now();
      await probe(port, idlePort);
      times.get(name)?.push(performance.now() - began);
    }
    await pause(10);
  }
  return Object.fromEntries([...times].map(([name, all]) => [name, [median(all), percentile(all, 0.9)] as const]));
}

const { start, heard } = createBenchChildren({ moduleUrl: import.meta.url, signal: 'SIGKILL' });

/** What would run on another machine gives way to what is measured. */
function lowered(child: ChildProcess): ChildProcess {
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
  return child;
}

async function runFlood(name: string, port: number): Promise<void> {
  let requests = 0;
  setInterval(() => process.send?.(requests), 100);
  await floods[name]?.(port, () => {
    requests += 1;
  });
}

interface Row {
  /** Requests of the flood per second. */
  readonly flood: number;
  /** Median and 90th percentile of each probe. */
  readonly ms: Record<string, readonly [number, number]>;
}

async function main(seconds: number, only: string): Promise<Record<string, Row>> {
  const uri = await heard<string>(lowered(start(['--upstream'])));
  const port = await heard<number>(start(['--relay', uri]));
  const idlePort = await heard<number>(start(['--idle']));
  await measure(port, idlePort, 1_000);
  const results: Record<string, Row> = { quiet: { flood: 0, ms: await measure(port, idlePort, 1_000 * seconds) } };
  for (const name of Object.keys(floods).filter((each) => each.includes(only))) {
    const flood = lowered(start(['--flood', name, String(port)]));
    let requests = 0;
    flood.on('message', (count) => {
      requests = Number(count);
    });
    while (requests < 20) await pause(100);
    await pause(1_000);
    const before = requests;
    const ms = await measure(port, idlePort, 1_000 * seconds);
    results[name] = { flood: Math.round((requests - before) / seconds), ms };
    flood.kill('SIGKILL');
    await pause(2_000);
  }
  return results;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    upstream: { type: 'boolean', default: false },
    relay: { type: 'boolean', default: false },
    idle: { type: 'boolean', default: false },
    flood: { type: 'string' },
  },
});
if (values.upstream) await serveUpstream();
else if (values.relay) await serveRelay(positionals[0] ?? '');
else if (values.idle) serveIdle();
else if (values.flood !== undefined) await runFlood(values.flood, Number(positionals[0]));
else {
  const results = await main(Number(values.seconds), values.only);
  if (values.json) console.log(JSON.stringify(results, undefined, 2));
  else {
    const columns = Object.keys(probes);
    console.log(`| | ${columns.join(' | ')} | flood, a second |\n|${'---|'.repeat(columns.length + 2)}`);
    for (const [name, { ms, flood }] of Object.entries(results)) {
      const cells = columns.map((each) => `${ms[each]?.map((one) => one.toFixed(1)).join(' (')})`);
      console.log(`| ${name} | ${cells.join(' | ')} | ${flood} |`);
    }
  }
  process.exit(0);
}
