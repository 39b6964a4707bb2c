/**
 * The cost of a stream: our hub against stock node:http, which writes one shared buffer to every response.
 *
 * Method: each candidate is a server in its own process, on loopback; the clients are raw sockets in another process that only
 * count bytes. Candidates take turns for several rounds; the output is medians. In each round every client connects and gets a
 * `put` of 50 KB (CPU of the connection storm, then resident memory after garbage collection, minus that of the empty server),
 * then patches of about 300 bytes, first one at a time, each until all clients have it, then in bursts of 20 (CPU per million
 * deliveries, and the time until the last client has it). Machines differ, and clients share the machine: trust the ratios.
 *
 *   npx tsx test/bench/fan-out.ts [--json] [--connections 2000] [--rounds 3]
 */
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { parseArgs } from 'node:util';
import { createRelayServer } from '../../relay-task/endpoints/server.ts';
import { createEnvironment } from '../../relay-task/environments/environment.ts';
import { frame } from '../../relay-task/streams/framing.ts';
import { createHub } from '../../relay-task/streams/hub.ts';
import { createFeed } from '../../relay-task/streams/messages.ts';
import { createSnapshots } from '../../relay-task/streams/snapshots.ts';
import { createBenchChildren } from '../support/bench-children.ts';
import { flag } from '../support/items.ts';
import { silentLog } from '../support/logs.ts';
import { createMemory } from '../support/memory.ts';

const PUT_BYTES = 50_000;
const SINGLE_PATCHES = 40;
const BURSTS = 10;
const BURST = 20;

type Candidate = 'hub' | 'stock';
/** Commands to a server: `measure` returns memory after garbage collection and CPU so far, `patch` the bytes per client. */
type Order = { readonly order: 'measure' } | { readonly order: 'patch'; readonly count: number };
interface Measured {
  readonly rss: number;
  readonly cpuMs: number;
}

const patchOf = (version: number) => flag('banner', version);
const patchText = (version: number) =>
  createFeed('all', createMemory())
    .changes([patchOf(version)])
    .join('');
const bytesOf = (text: string) => frame(text, 'chunked').length;
const firstItems = () => [flag('banner', 1), flag('filler', 1, { filler: 'x'.repeat(PUT_BYTES) })];

/** Only used by client-side endpoints. */
const { clientView } = createEnvironment({ name: 'unused', log: silentLog, onChange() {} });
const unused = {
  clientView,
  secureMode: false,
  sdkKeys: () => [],
  allowedOrigins: [],
  allowedHeaders: [],
  ttlMs: 0,
};

async function serve(candidate: Candidate): Promise<void> {
  const view = createMemory(...firstItems());
  let patch: (version: number) => void;
  let port: number;
  if (candidate === 'hub') {
    const hub = createHub();
    const streams = hub.environment({ name: 'bench', view });
    const environment = { ...unused, name: 'bench', view, refused: false };
    const server = createRelayServer({
      find: () => ({ environment }),
      openStream: (_environment, socket, opening) => streams.open(socket, opening),
      health: {
        status: () => ({}),
        environmentStatus: () => undefined,
        readiness: () => ({ ready: true, waitingFor: [] }),
      },
      log: silentLog,
    });
    port = (await server.listen({ port: 0, host: '127.0.0.1' })).port;
    patch = (version) => streams.publish(view.set(patchOf(version)));
  } else {
    const responses = new Set<ServerResponse>();
    const put = Buffer.concat(createSnapshots(createFeed('all', view), 'plain').make().pieces);
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-cache' });
      response.write(put);
      responses.add(response);
      response.on('close', () => responses.delete(response));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 4_096, resolve));
    port = (server.address() as AddressInfo).port;
    patch = (version) => {
      const event = Buffer.from(patchText(version));
      for (const response of responses) response.write(event);
    };
  }
  let version = 1;
  process.on('message', async (order: Order) => {
    if (order.order === 'patch') {
      // Versions have a fixed width, so that all patches have the same length.
      for (let i = 0; i < order.count; i++) patch(1_000_000 + version++);
      process.send?.({ bytes: order.count * bytesOf(patchText(1_000_000)) });
      return;
    }
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.();
      await pause(150);
    }
    const { user, system } = process.cpuUsage();
    process.send?.({ rss: process.memoryUsage.rss(), cpuMs: (user + system) / 1_000 } satisfies Measured);
  });
  process.send?.({ port });
}

/** Connects and counts bytes. Given a number of bytes, it answers when that many more have arrived in total. */
function load(port: number, connections: number): void {
  let received = 0;
  let wanted = 0;
  let heads = 0;
  let opened = 0;
  const look = () => {
    if (wanted === 0 || received < wanted) return;
    wanted = 0;
    process.send?.('arrived');
  };
  const open = () => {
    if (opened++ >= connections) return;
    const socket = connect({ port, host: '127.0.0.1' });
    let seen = 0;
    socket.on('data', (bytes) => {
      received += bytes.length;
      seen += bytes.length;
      if (seen >= PUT_BYTES && seen - bytes.length < PUT_BYTES) {
        open();
        if (++heads === connections) setTimeout(() => process.send?.('connected'), 300);
      }
      look();
    });
    socket.on('error', (error) => {
      throw error;
    });
    socket.write(
      'GET /all HTTP/1.1\r\nHost: bench\r\nAuthorization: sdk-key\r\nUser-Agent: NodeJSClient/9.13.7\r\n\r\n',
    );
  };
  process.on('message', (message: { bytes: number }) => {
    wanted = received + message.bytes;
    process.send?.('listening');
  });
  for (let i = 0; i < 100; i++) open();
}

async function measure(candidate: Candidate, connections: number): Promise<Record<string, number>> {
  const server = start(['--serve', candidate]);
  const { port } = await heard<{ port: number }>(server);
  const ask = (order: Order) => {
    const answer = heard<unknown>(server);
    server.send(order);
    return answer;
  };
  const state = () => ask({ order: 'measure' }) as Promise<Measured>;
  const patchBytes = bytesOf(patchText(1_000_000));
  const empty = await state();
  const clients = start(['--load', String(port), '--connections', String(connections)]);
  await heard(clients);
  const connected = await state();
  const send = async (count: number) => {
    const listening = heard(clients);
    clients.send({ bytes: count * patchBytes * connections });
    await listening;
    const began = performance.now();
    const arrived = heard(clients);
    await ask({ order: 'patch', count });
    await arrived;
    return performance.now() - began;
  };
  const run = async (times: number, count: number) => {
    await send(count);
    const before = await state();
    const ms: number[] = [];
    for (let i = 0; i < times; i++) ms.push(await send(count));
    const after = await state();
    // `state` includes three garbage collections, which are short compared with the runs and equal for both.
    return { cpu: ((after.cpuMs - before.cpuMs) * 1_000) / (times * count * connections), lastMs: median(ms) };
  };
  const single = await run(SINGLE_PATCHES, 1);
  const burst = await run(BURSTS, BURST);
  const after = await state();
  clients.kill();
  server.kill();
  return {
    kbPerIdleStream: (connected.rss - empty.rss) / 1024 / connections,
    stormCpuMs: connected.cpuMs - empty.cpuMs,
    cpuSecondsPerMillionPatches: single.cpu,
    cpuSecondsPerMillionPatchesInBursts: burst.cpu,
    lastClientMs: single.lastMs,
    lastClientOfBurstMs: burst.lastMs,
    mbAfterBursts: after.rss / 1024 / 1024,
  };
}

const { start, heard } = createBenchChildren({
  moduleUrl: import.meta.url,
  nodeOptions: ['--expose-gc'],
  silenceMs: 60_000,
});

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function main(connections: number, rounds: number, json: boolean): Promise<void> {
  const results: Record<Candidate, Record<string, number>[]> = { stock: [], hub: [] };
  for (let round = 0; round < rounds; round++) {
    for (const candidate of ['stock', 'hub'] as const) results[candidate].push(await measure(candidate, connections));
  }
  const rows = Object.keys(results.hub[0]!).map((name) => {
    const stock = median(results.stock.map((result) => result[name]!));
    const hub = median(results.hub.map((result) => result[name]!));
    return { name, stock: round2(stock), hub: round2(hub), ratio: round2(stock / hub) };
  });
  if (json) console.log(JSON.stringify({ node: process.version, connections, rounds, rows }));
  else {
    console.log(
      `node ${process.version}, ${connections} connections, medians of ${rounds}; ratio: stock / hub, higher is better`,
    );
    console.table(rows);
  }
}
const round2 = (value: number) => Math.round(value * 100) / 100;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    connections: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '3' },
    serve: { type: 'string' },
    load: { type: 'string' },
  },
});
if (values.serve) void serve(values.serve as Candidate);
else if (values.load) load(Number(values.load), Number(values.connections));
else {
  main(Number(values.connections), Number(values.rounds), values.json).then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}
