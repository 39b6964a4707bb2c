/**
 * The cost of a stream: our hub against stock node:http, which writes one shared buffer to every response.
 *
 * Method: each candidate is a server in its own process, on loopback; the clients are raw sockets in another process that only
 * count bytes. Candidates take turns for several rounds; the output is medians. In each round every client connects and gets a
 * `put` of 50 KB (CPU of the connection storm, then resident memory after garbage collection, minus that of the empty server).
 * The first storm includes what happens once in a process: its code is compiled and its heap grows. So as many further clients
 * connect, are measured in the same way, and leave. Then come patches of about 300 bytes, first one at a time, each until all
 * clients have it, then in bursts of 20 (CPU per million deliveries, and the time until the last client has it). Machines differ,
 * and clients share the machine: trust the ratios.
 *
 * A second table compares our hub with itself: 3,000 clients connect to a set of 1 MB, once while nothing changes and once
 * while one of its flags changes every 100 ms. The CPU of writing the changes to those that are connected already is measured
 * afterwards and taken off, so that the first payloads are compared.
 *
 *   npx tsx test/bench/fan-out.ts [--json] [--connections 2000] [--rounds 3] [--storm 3000] [--set-kb 1000]
 */
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { parseArgs } from 'node:util';
import { sleep } from '../../relay-task/common/pause.ts';
import { createRelayServer } from '../../relay-task/endpoints/server.ts';
import { createEnvironment } from '../../relay-task/environments/environment.ts';
import { frame } from '../../relay-task/streams/framing.ts';
import { createHub } from '../../relay-task/streams/hub.ts';
import { createFeed } from '../../relay-task/streams/messages.ts';
import { createSnapshots } from '../../relay-task/streams/snapshots.ts';
import { createBenchChildren } from '../support/bench-children.ts';
import { hubSettings } from '../support/hub-settings.ts';
import { flag } from '../support/items.ts';
import { silentLog } from '../support/logs.ts';
import { createMemory } from '../support/memory.ts';
import { median } from '../support/percentile.ts';

const PUT_BYTES = 50_000;
const SINGLE_PATCHES = 40;
const BURSTS = 10;
const BURST = 20;

type Candidate = 'hub' | 'stock';
/** Commands to a server: `measure` returns memory after garbage collection and CPU so far, `patch` the bytes per client. */
type Order =
  | { readonly order: 'measure' }
  | { readonly order: 'patch'; readonly count: number }
  /** Changes a flag every so many ms, until the next `measure`. */
  | { readonly order: 'change'; readonly everyMs: number };
interface Measured {
  readonly rss: number;
  readonly cpuMs: number;
  /** The highest since the last measurement. */
  readonly peakRss: number;
  /** How many changes there were since then, and to how many open streams they were written in all. */
  readonly changes: number;
  readonly deliveries: number;
}

const patchOf = (version: number) => flag('banner', version);
const patchText = (version: number) =>
  createFeed('all', createMemory())
    .changes([patchOf(version)])
    .join('');
const bytesOf = (text: string) => frame(text, 'chunked').length;
/** The filler in flags of 2 KB, if there is more than one. */
const firstItems = (setBytes: number) => {
  const count = setBytes > PUT_BYTES ? Math.ceil(setBytes / 2_000) : 1;
  const filler = 'x'.repeat(setBytes / count);
  return [flag('banner', 1), ...Array.from({ length: count }, (_, i) => flag(`filler${i}`, 1, { filler }))];
};

/** Only used by client-side endpoints. */
const { clientView } = createEnvironment({ name: 'unused', log: silentLog, onChange() {} });
const unused = {
  clientView,
  secureMode: false,
  sdkKeys: () => [],
  knowsAllKeys: () => true,
  allowedOrigins: [],
  allowedHeaders: [],
  ttlMs: 0,
};

async function serve(candidate: Candidate, setBytes: number): Promise<void> {
  const view = createMemory(...firstItems(setBytes));
  let patch: (version: number) => void;
  let open = () => 0;
  let port: number;
  if (candidate === 'hub') {
    const hub = createHub(hubSettings);
    const streams = hub.environment({ name: 'bench', view });
    const environment = { ...unused, name: 'bench', view, refused: false };
    const server = createRelayServer({
      maxContextBytes: 256 * 1024,
      maxInboundPayloadBytes: 10 * 1024 * 1024,
      find: () => ({ environment }),
      openStream: (_environment, socket, opening) => streams.open(socket, opening),
      health: {
        status: () => [],
        *environmentStatus() {},
        readiness: () => ({ ready: true, waitingFor: [] }),
      },
      log: silentLog,
    });
    port = (await server.listen({ port: 0, host: '127.0.0.1' })).port;
    patch = (version) => streams.publish(view.set(patchOf(version)));
    open = () => streams.connections;
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
  let peakRss = 0;
  let changes = 0;
  let deliveries = 0;
  let changing: NodeJS.Timeout | undefined;
  // It takes CPU time itself, so it is only done where it is asked for.
  if (setBytes > PUT_BYTES) {
    setInterval(() => {
      peakRss = Math.max(peakRss, process.memoryUsage.rss());
    }, 20).unref();
  }
  process.on('message', async (order: Order) => {
    if (order.order === 'change') {
      changing = setInterval(() => {
        changes++;
        deliveries += open();
        patch(1_000_000 + version++);
      }, order.everyMs);
      return;
    }
    if (order.order === 'patch') {
      // Versions have a fixed width, so that all patches have the same length.
      for (let i = 0; i < order.count; i++) patch(1_000_000 + version++);
      process.send?.({ bytes: order.count * bytesOf(patchText(1_000_000)) });
      return;
    }
    clearInterval(changing);
    const happened = { peakRss, changes, deliveries };
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.();
      await sleep(150);
    }
    const { user, system } = process.cpuUsage();
    const rss = process.memoryUsage.rss();
    process.send?.({ ...happened, rss, cpuMs: (user + system) / 1_000 } satisfies Measured);
    peakRss = 0;
    changes = 0;
    deliveries = 0;
  });
  process.send?.({ port });
}

/** Connects and counts bytes. Given a number of bytes, it answers when that many more have arrived in total. */
function load(port: number, connections: number, setBytes: number): void {
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
      if (seen >= setBytes && seen - bytes.length < setBytes) {
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
  const connectAll = async () => {
    const clients = start(['--load', String(port), '--connections', String(connections)]);
    await heard(clients);
    return clients;
  };
  const clients = await connectAll();
  const connected = await state();
  const others = await connectAll();
  const twice = await state();
  others.kill();
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
    kbPerFurtherStream: (twice.rss - connected.rss) / 1024 / connections,
    furtherStormCpuMs: twice.cpuMs - connected.cpuMs,
    cpuSecondsPerMillionPatches: single.cpu,
    cpuSecondsPerMillionPatchesInBursts: burst.cpu,
    lastClientMs: single.lastMs,
    lastClientOfBurstMs: burst.lastMs,
    mbAfterBursts: after.rss / 1024 / 1024,
  };
}

/** All clients connect to a large set, while it stays as it is or changes. */
async function measureStorm(connections: number, setBytes: number, everyMs: number | undefined) {
  const sizes = ['--set-kb', String(setBytes / 1_000), '--connections', String(connections)];
  const server = start(['--serve', 'hub', ...sizes]);
  const { port } = await heard<{ port: number }>(server);
  const state = () => {
    const answer = heard<Measured>(server);
    server.send({ order: 'measure' });
    return answer;
  };
  const empty = await state();
  if (everyMs !== undefined) server.send({ order: 'change', everyMs });
  const began = performance.now();
  const clients = start(['--load', String(port), ...sizes]);
  await heard(clients);
  const seconds = (performance.now() - began) / 1_000;
  const stormed = await state();
  // What a change costs once all are connected.
  server.send({ order: 'change', everyMs: everyMs ?? 100 });
  await sleep(3_000);
  const changed = await state();
  clients.kill();
  server.kill();
  const perDelivery = (changed.cpuMs - stormed.cpuMs) / changed.deliveries;
  return {
    seconds,
    changes: stormed.changes,
    cpuMs: stormed.cpuMs - empty.cpuMs,
    firstPayloadsCpuMs: stormed.cpuMs - empty.cpuMs - perDelivery * stormed.deliveries,
    peakMb: (stormed.peakRss - empty.rss) / 1024 / 1024,
    mbAfterwards: (stormed.rss - empty.rss) / 1024 / 1024,
  };
}

async function compareStorms(connections: number, setBytes: number, rounds: number) {
  const results = { still: [] as Record<string, number>[], changing: [] as Record<string, number>[] };
  for (let round = 0; round < rounds; round++) {
    results.still.push(await measureStorm(connections, setBytes, undefined));
    results.changing.push(await measureStorm(connections, setBytes, 100));
  }
  return Object.keys(results.still[0]!).map((name) => {
    const still = median(results.still.map((result) => result[name]!));
    const changing = median(results.changing.map((result) => result[name]!));
    const ratio = still > 0 ? round2(changing / still) : undefined;
    return { name, still: round2(still), changing: round2(changing), ratio };
  });
}

const { start, heard } = createBenchChildren({
  moduleUrl: import.meta.url,
  nodeOptions: ['--expose-gc'],
  silenceMs: 60_000,
});

async function main(connections: number, rounds: number, storm: number, setBytes: number, json: boolean) {
  const results: Record<Candidate, Record<string, number>[]> = { stock: [], hub: [] };
  for (let round = 0; round < rounds; round++) {
    for (const candidate of ['stock', 'hub'] as const) results[candidate].push(await measure(candidate, connections));
  }
  const rows = Object.keys(results.hub[0]!).map((name) => {
    const stock = median(results.stock.map((result) => result[name]!));
    const hub = median(results.hub.map((result) => result[name]!));
    return { name, stock: round2(stock), hub: round2(hub), ratio: round2(stock / hub) };
  });
  const storms = await compareStorms(storm, setBytes, rounds);
  if (json) console.log(JSON.stringify({ node: process.version, connections, rounds, rows, storm, setBytes, storms }));
  else {
    console.log(
      `node ${process.version}, ${connections} connections, medians of ${rounds}; ratio: stock / hub, higher is better`,
    );
    console.table(rows);
    console.log(
      `${storm} clients connect to a set of ${setBytes / 1_000} KB; ratio: changing / still, lower is better`,
    );
    console.table(storms);
  }
}
const round2 = (value: number) => Math.round(value * 100) / 100;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    connections: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '3' },
    storm: { type: 'string', default: '3000' },
    'set-kb': { type: 'string' },
    serve: { type: 'string' },
    load: { type: 'string' },
  },
});
const setBytes = 1_000 * Number(values['set-kb'] ?? PUT_BYTES / 1_000);
if (values.serve) void serve(values.serve as Candidate, setBytes);
else if (values.load) load(Number(values.load), Number(values.connections), setBytes);
else {
  const [connections, rounds, storm] = [values.connections, values.rounds, values.storm].map(Number);
  main(connections!, rounds!, storm!, values['set-kb'] ? setBytes : 1_000_000, values.json).then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}
