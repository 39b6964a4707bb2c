/**
 * What a flood does to everyone else: how long server SDKs wait for their first payload and for a poll, quiet and during floods
 * by somebody who has a client-side ID only.
 *
 * Method: a relay with two environments of 300 flags and a fake LaunchDarkly in one process, the flood in another, on loopback.
 * The parent measures, one request after the other: a new stream of `/all` until its `put` is complete, `/sdk/latest-all` on an
 * open connection, each for both environments; the flood is on the first one. Numbers are medians and, in brackets, 90th
 * percentiles in ms. Relay and flood have a core each where there are two, so the parent waits for the flood's core as well:
 * trust the ratios to the quiet row, and those only up to the machine's own share, which the row `/livez` shows.
 *
 *   npx tsx test/bench/fairness.ts [--json] [--seconds 5] [--only <part of a flood's name>]
 */
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { createBenchChildren } from '../support/bench-children.ts';
import { startFakeUpstream } from '../support/fake-upstream.ts';
import { flagData } from '../support/items.ts';
import { startTestRelay } from '../support/start-relay.ts';

const keys = { first: 'sdk-first', other: 'sdk-other' } as const;
const environmentId = '0123456789abcdef01234567';
const json = { 'content-type': 'application/json' };
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

async function serveRelay(): Promise<void> {
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
  const relay = await startTestRelay({
    ...{ STREAM_URI: upstream.uri, BASE_URI: upstream.uri, EVENTS_HOST: upstream.uri, USE_EVENTS: 'true' },
    ...{ LD_ENV_first: keys.first, LD_CLIENT_SIDE_ID_first: environmentId, LD_ENV_other: keys.other },
    LOG_LEVEL: 'error',
  });
  await relay.initialized();
  process.send?.(relay.port);
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

type Flood = (port: number) => Promise<void>;

/** So many clients, each of which asks again when it is answered. */
const crowd =
  (size: number, path: () => string, asked: () => Asked = () => ({})): Flood =>
  async (port) => {
    const agent = new Agent({ keepAlive: true, maxSockets: size });
    const client = async () => {
      for (;;) await ask(agent, port, path(), asked());
    };
    await Promise.all(Array.from({ length: size }, client));
  };

const someone = () => base64({ kind: 'user', key: Math.random().toString(36), email: `${'a'.repeat(200)}@corp.com` });
const largeContext = Buffer.from(JSON.stringify({ kind: 'user', key: 'k', list: Array(9_000).fill('some text') }));
const events = gzipSync(
  JSON.stringify(Array(4_000).fill({ kind: 'custom', key: 'k', user: { key: 'u' }, creationDate: 1 })),
);

const floods: Readonly<Record<string, Flood>> = {
  async 'browsers that never read, 80 new ones a second'(port) {
    for (;;) {
      const socket = connect(port, '127.0.0.1');
      socket.pause();
      socket.on('error', () => {});
      socket.write(`GET /eval/${environmentId}/${someone()} HTTP/1.1\r\nHost: x\r\n\r\n`);
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
  async 'streams of 32 browsers that come and go'(port) {
    const client = async () => {
      for (;;) {
        await new Promise<void>((resolve) => {
          const socket = connect(port, '127.0.0.1');
          socket.on('error', () => {});
          socket.on('close', () => resolve());
          socket.once('data', () => socket.destroy());
          socket.write(`GET /eval/${environmentId}/${someone()} HTTP/1.1\r\nHost: x\r\n\r\n`);
        });
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

const probes: Readonly<Record<string, (port: number) => Promise<void>>> = {
  'first payload, same environment': (port) => firstPayload(port, keys.first),
  'first payload, other environment': (port) => firstPayload(port, keys.other),
  'poll, same environment': (port) => ask(pollers, port, '/sdk/latest-all', { headers: { authorization: keys.first } }),
  'poll, other environment': (port) =>
    ask(pollers, port, '/sdk/latest-all', { headers: { authorization: keys.other } }),
  '/livez': (port) => ask(pollers, port, '/livez'),
};

/** Median and 90th percentile in ms of each probe. */
async function measure(port: number, forMs: number): Promise<Record<string, readonly [number, number]>> {
  const times = new Map<string, number[]>(Object.keys(probes).map((name) => [name, []]));
  for (const end = performance.now() + forMs; performance.now() < end; ) {
    for (const [name, probe] of Object.entries(probes)) {
      const began = performance.now();
      await probe(port);
      times.get(name)?.push(performance.now() - began);
    }
    await pause(10);
  }
  return Object.fromEntries(
    [...times].map(([name, all]) => {
      const sorted = all.sort((a, b) => a - b);
      const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
      return [name, [at(0.5), at(0.9)] as const];
    }),
  );
}

const { start, heard } = createBenchChildren({ moduleUrl: import.meta.url, signal: 'SIGKILL' });

async function main(seconds: number, only: string): Promise<Record<string, Record<string, readonly [number, number]>>> {
  const port = await heard<number>(start(['--relay']));
  await measure(port, 1_000);
  const results: Record<string, Record<string, readonly [number, number]>> = {
    quiet: await measure(port, 1_000 * seconds),
  };
  for (const name of Object.keys(floods).filter((each) => each.includes(only))) {
    const flood = start(['--flood', name, String(port)]);
    await pause(1_500);
    results[name] = await measure(port, 1_000 * seconds);
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
    relay: { type: 'boolean', default: false },
    flood: { type: 'string' },
  },
});
if (values.relay) await serveRelay();
else if (values.flood !== undefined) await floods[values.flood]?.(Number(positionals[0]));
else {
  const results = await main(Number(values.seconds), values.only);
  if (values.json) console.log(JSON.stringify(results, undefined, 2));
  else {
    const columns = Object.keys(probes);
    console.log(`| | ${columns.join(' | ')} |\n|${'---|'.repeat(columns.length + 1)}`);
    for (const [name, row] of Object.entries(results)) {
      console.log(
        `| ${name} | ${columns.map((each) => row[each]?.map((ms) => ms.toFixed(1)).join(' (') ?? '').join(') | ')}) |`,
      );
    }
  }
  process.exit(0);
}
