/**
 * The cost of a change with many evaluated streams: our hub against a server that evaluates all flags for every stream again.
 *
 * Method: each candidate is a server in its own process, on loopback, with 500 flags (a third of them rollouts, a third with
 * rules); the clients are raw sockets in another process, each with its own context. The baseline is stock node:http: at a
 * change it evaluates all flags for each of its streams with the same evaluator, and writes the patches that differ, without
 * yielding. Single flags change one at a time: so that every context's result changes, one in a hundred does, or none does.
 * The output is medians: ms from the change to its last write, the longest time that the event loop was blocked, CPU, and
 * resident memory per stream after garbage collection, minus that of the empty server. Machines differ: trust the ratios.
 *
 *   npx tsx test/bench/client-streams.ts [--json] [--connections 10000] [--flags 500] [--changes 7]
 */
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { type Context, parseContext } from '../../lib/evaluation/index.ts';
import { sleep } from '../../relay-task/common/pause.ts';
import { resultOf } from '../../relay-task/common/slices.ts';
import { createEnvironment } from '../../relay-task/environments/environment.ts';
import type { Change, EvaluatedFlag } from '../../relay-task/ports.ts';
import { createHub } from '../../relay-task/streams/hub.ts';
import { silentMeter } from '../../relay-task/streams/meter.ts';
import { createBenchChildren } from '../support/bench-children.ts';
import { hubSettings } from '../support/hub-settings.ts';
import { flag } from '../support/items.ts';
import { silentLog } from '../support/logs.ts';
import { median } from '../support/percentile.ts';

type Candidate = 'hub' | 'naive';
type Kind = 'everybody' | 'one in a hundred' | 'nobody';
const KINDS: readonly Kind[] = ['everybody', 'one in a hundred', 'nobody'];
type Order = { readonly order: 'memory' } | { readonly order: 'change'; readonly kind: Kind };
interface Told {
  readonly lastWriteMs: number;
  readonly longestBlockMs: number;
  readonly cpuMs: number;
}

const options = { audience: 'environmentId', withReasons: false } as const;
const heldContext = (path: string) => ({ id: path, bytes: 1_000, read: () => contextOf(path) });
const contextOf = (path: string): Context => parseContext({ kind: 'user', key: path.slice(1), country: 'se' })!;

function firstFlags(count: number) {
  const rollout = {
    fallthrough: { rollout: { variations: [0, 1].map((variation) => ({ variation, weight: 50_000 })) } },
  };
  const rules = { rules: [{ id: 'r', variation: 1, clauses: [{ attribute: 'country', op: 'in', values: ['no'] }] }] };
  return Array.from({ length: count }, (_, i) => flag(`flag-${i}`, 1, [rollout, rules, {}][i % 3]));
}

/** The changed flag: the last one, so that a search does not find it early. */
function changed(kind: Kind, count: number, version: number, connections: number) {
  const key = `flag-${count - 1}`;
  if (kind === 'everybody')
    return flag(key, version, { on: version % 2 === 0, variations: [`v${version}`, `w${version}`] });
  const hundredth = Array.from({ length: connections / 100 }, (_, i) => String(i * 100));
  const values = kind === 'nobody' ? ['nobody'] : hundredth;
  // Both have the variations of the previous flag, so that only targets differ.
  const variations = ['same', kind === 'nobody' ? 'other' : `v${version}`];
  return flag(key, version, { targets: [{ variation: 1, values }], variations });
}

async function serve(candidate: Candidate, flags: number, connections: number): Promise<void> {
  let onChange: (change: Change) => void = () => {};
  let written: () => void = () => {};

  const environment = createEnvironment({ name: 'bench', log: silentLog, onChange: (change) => onChange(change) });
  environment.put(firstFlags(flags), [], performance.now());
  let server: ReturnType<typeof createServer>;
  if (candidate === 'hub') {
    const hub = createHub({ ...hubSettings, meter: { ...silentMeter, broadcast: () => written() } });
    const streams = hub.environment({ name: 'bench', view: environment, clientView: environment.clientView });
    const opening = {
      kind: 'eval',
      withReasons: false,
      credential: 'id',
      credentialKind: 'environmentId',
      family: 'other',
      address: '127.0.0.1',
      httpVersion: '1.1',
    } as const;
    onChange = streams.publish;
    server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.once('data', (bytes) => {
        streams.open(socket, { ...opening, context: heldContext(bytes.toString().split(' ')[1]!) });
      });
    });
  } else {
    const streams = new Map<ServerResponse, { context: Context; held: EvaluatedFlag[] }>();
    const evaluate = (context: Context) => resultOf(environment.clientView.evaluateInSteps(context, options));
    server = createHttpServer((request, response) => {
      const context = contextOf(request.url!);
      const held = evaluate(context);
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(`event: put\ndata: {${held.map(({ key, json }) => `"${key}":${json}`).join(',')}}\n\n`);
      streams.set(response, { context, held });
      response.on('close', () => streams.delete(response));
    });
    onChange = () => {
      for (const [response, stream] of streams) {
        const now = evaluate(stream.context);
        for (let i = 0; i < now.length; i++) {
          const { key, json } = now[i]!;
          if (json !== stream.held[i]!.json) response.write(`event: patch\ndata: {"key":"${key}",${json.slice(1)}\n\n`);
        }
        stream.held = now;
      }
      setImmediate(written);
    };
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 4_096, resolve));

  // Reads the clock in every turn of the event loop: the longest gap is how long everything else had to wait.
  let longest = 0;
  let last = 0;
  let watching = false;
  const look = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (watching) setImmediate(look);
  };
  let version = 1;
  process.on('message', async (order: Order) => {
    if (order.order === 'memory') {
      for (let i = 0; i < 3; i++) {
        globalThis.gc?.();
        await sleep(150);
      }
      process.send?.({ rss: process.memoryUsage.rss() });
      return;
    }
    const cpu = process.cpuUsage();
    const item = changed(order.kind, flags, ++version, connections);
    last = performance.now();
    longest = 0;
    watching = true;
    setImmediate(look);
    await sleep(5);
    const began = performance.now();
    const done = new Promise<void>((resolve) => {
      written = resolve;
    });
    environment.upsert(item, began);
    await done;
    const lastWriteMs = performance.now() - began;
    await sleep(5);
    watching = false;
    const { user, system } = process.cpuUsage(cpu);
    process.send?.({ lastWriteMs, longestBlockMs: longest, cpuMs: (user + system) / 1_000 } satisfies Told);
  });
  process.send?.({ port: (server.address() as AddressInfo).port });
}

/** Opens all connections in batches, and reads their data. */
function load(port: number, connections: number): void {
  let opened = 0;
  let heads = 0;
  const open = () => {
    if (opened >= connections) return;
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('data', () => {
      open();
      if (++heads === connections) setTimeout(() => process.send?.('connected'), 300);
    });
    socket.on('data', () => {});
    socket.on('error', (error) => {
      throw error;
    });
    socket.write(`GET /${opened++} HTTP/1.1\r\nHost: bench\r\n\r\n`);
  };
  for (let i = 0; i < 100; i++) open();
}

async function measure(candidate: Candidate, flags: number, connections: number, changes: number) {
  const sizes = ['--flags', String(flags), '--connections', String(connections)];
  const server = start(['--serve', candidate, ...sizes]);
  const { port } = await heard<{ port: number }>(server);
  const ask = <T>(order: Order): Promise<T> => {
    const answer = heard<T>(server);
    server.send(order);
    return answer;
  };
  const memory = async () => (await ask<{ rss: number }>({ order: 'memory' })).rss;
  const empty = await memory();
  const began = performance.now();
  const clients = start(['--load', String(port), ...sizes]);
  await heard(clients);
  const result: Record<string, number> = { 'connecting all, s': (performance.now() - began) / 1_000 };
  result['memory per stream, KB'] = ((await memory()) - empty) / 1024 / connections;
  for (const kind of KINDS) {
    // The first change of each kind moves all contexts to the state from which the others are comparable.
    await ask({ order: 'change', kind });
    const told: Told[] = [];
    for (let i = 0; i < changes; i++) {
      told.push(await ask<Told>({ order: 'change', kind }));
      await sleep(50);
    }
    result[`${kind}: last write, ms`] = median(told.map(({ lastWriteMs }) => lastWriteMs));
    result[`${kind}: longest block, ms`] = median(told.map(({ longestBlockMs }) => longestBlockMs));
    result[`${kind}: CPU, ms`] = median(told.map(({ cpuMs }) => cpuMs));
  }
  clients.kill();
  server.kill();
  return result;
}

const { start, heard } = createBenchChildren({ moduleUrl: import.meta.url, nodeOptions: ['--expose-gc'] });

const round2 = (value: number) => Math.round(value * 100) / 100;

async function main(flags: number, connections: number, changes: number, json: boolean): Promise<void> {
  const naive = await measure('naive', flags, connections, changes);
  const hub = await measure('hub', flags, connections, changes);
  const rows = Object.keys(hub).map((name) => ({
    name,
    naive: round2(naive[name]!),
    hub: round2(hub[name]!),
    ratio: round2(naive[name]! / hub[name]!),
  }));
  if (json) console.log(JSON.stringify({ node: process.version, flags, connections, changes, rows }));
  else {
    console.log(
      `node ${process.version}, ${connections} contexts, ${flags} flags; ratio: naive / hub, higher is better`,
    );
    console.table(rows);
  }
}

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    connections: { type: 'string', default: '10000' },
    flags: { type: 'string', default: '500' },
    changes: { type: 'string', default: '7' },
    serve: { type: 'string' },
    load: { type: 'string' },
  },
});
const [flagCount, connectionCount] = [Number(values.flags), Number(values.connections)];
if (values.serve) void serve(values.serve as Candidate, flagCount, connectionCount);
else if (values.load) load(Number(values.load), connectionCount);
else {
  main(flagCount, connectionCount, Number(values.changes), values.json).then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}
