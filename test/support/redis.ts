/**
 * Real Redis servers on 127.0.0.1 and free ports, without persistence: single ones, with ACLs or TLS, a master with a
 * replica and a Sentinel, a Cluster of three. If `redis-server` is missing, tests are skipped by name (`describeWithRedis`).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis, type RedisOptions } from 'ioredis';
import type { RedisConnection } from '../../relay-task/store/redis-client.ts';
import { eventually } from './eventually.ts';
import { freePort, freePorts } from './free-port.ts';

export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

/** A suite that is skipped, by its title, on machines without `redis-server`. */
export function describeWithRedis(title: string, body: () => void): void {
  (hasRedis ? describe : describe.skip)(hasRedis ? title : `${title} (needs redis-server)`, body);
}

export interface TestRedis {
  readonly port: number;
  /** A direct connection to this server, past any proxy of the test. */
  readonly client: Redis;
  /** Kills the process, like `kill -9`. */
  kill(): Promise<void>;
  /** Starts it again on the same port, empty. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

interface RedisServerOptions {
  /** Further arguments, such as `['--requirepass', 'secret']`. */
  readonly args?: readonly string[];
  /** The credentials of the test's own connection. */
  readonly access?: RedisOptions;
  /** Listens with TLS only; with a CA that also signed the clients' certificates, those are demanded. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Lines of a configuration file, which Sentinels need. */
  readonly config?: readonly string[];
  readonly sentinel?: boolean;
}

export async function startRedis(options: RedisServerOptions = {}): Promise<TestRedis> {
  const { args = [], access = {}, tls, config, sentinel = false } = options;
  const directory = mkdtempSync(join(tmpdir(), 'edge-flag-relay-redis-'));
  const port = await freePort();
  const file = (name: string, text: string) => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  const portArgs = tls
    ? [
        ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'optional'],
        ...['--tls-cert-file', file('cert.pem', tls.cert), '--tls-key-file', file('key.pem', tls.key)],
        ...['--tls-ca-cert-file', file('ca.pem', tls.ca)],
      ]
    : ['--port', String(port)];
  const all = [
    ...(config ? [file('redis.conf', `${config.join('\n')}\n`)] : []),
    ...[...portArgs, '--bind', '127.0.0.1', '--dir', directory],
    ...(sentinel ? ['--sentinel'] : ['--save', '', '--appendonly', 'no', '--repl-diskless-sync-delay', '0']),
    ...args,
  ];
  let child: ChildProcess;
  const client = new Redis({
    ...{ port, host: '127.0.0.1', lazyConnect: true, enableReadyCheck: false, maxRetriesPerRequest: null },
    ...{ retryStrategy: () => 20, ...(tls && { tls: { ca: tls.ca } }) },
    ...access,
  });
  client.on('error', () => {});

  async function start(): Promise<void> {
    let output = '';
    let exited = false;
    child = spawn('redis-server', all, { stdio: ['ignore', 'pipe', 'pipe'] });
    const collect = (bytes: Buffer) => {
      output = (output + bytes).slice(-2_000);
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    child.on('exit', () => {
      exited = true;
    });
    await eventually(async () => {
      if (exited) throw new Error(`redis-server ended: ${output}`);
      if ((await client.ping()) !== 'PONG') throw new Error('no answer');
    });
  }
  async function kill(): Promise<void> {
    const running = child;
    if (running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => running.once('exit', () => resolve()));
    running.kill('SIGKILL');
    await ended;
  }
  await start();
  return {
    port,
    client,
    kill,
    restart: async () => {
      await kill();
      await start();
    },
    async close() {
      client.disconnect();
      await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

interface TestSentinels {
  readonly master: TestRedis;
  readonly replica: TestRedis;
  readonly sentinel: TestRedis;
  /** The name of the master in the Sentinel. */
  readonly name: string;
  close(): Promise<void>;
}

/** A master, its replica, and one Sentinel whose vote is enough. */
export async function startSentinels(): Promise<TestSentinels> {
  const name = 'flags';
  const master = await startRedis();
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(master.port)] });
  const sentinel = await startRedis({
    sentinel: true,
    config: [
      `sentinel monitor ${name} 127.0.0.1 ${master.port} 1`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 3000`,
    ],
  });
  await eventually(async () => {
    expect(await replica.client.info('replication')).toContain('master_link_status:up');
    expect(await sentinel.client.call('SENTINEL', 'REPLICAS', name)).toHaveLength(1);
  });
  return {
    ...{ master, replica, sentinel, name },
    async close() {
      await Promise.all([sentinel, replica, master].map((server) => server.close()));
    },
  };
}

export interface TestCluster {
  readonly nodes: readonly TestRedis[];
  close(): Promise<void>;
}

/** Masters that share the slots between them; three unless told. */
export async function startCluster({
  size = 3,
  tls,
}: { readonly size?: number } & Pick<RedisServerOptions, 'tls'> = {}): Promise<TestCluster> {
  const buses = await freePorts(size);
  const nodes = await Promise.all(
    buses.map((bus) => {
      // A node that has met no other does not know its address.
      const announced = ['--cluster-announce-ip', '127.0.0.1'];
      const args = ['--cluster-enabled', 'yes', '--cluster-port', String(bus), ...announced];
      return startRedis({ args: [...args, ...(tls ? ['--tls-cluster', 'yes'] : [])], ...(tls && { tls }) });
    }),
  );
  const share = 16_384 / nodes.length;
  await Promise.all(
    nodes.map(async ({ client }, index) => {
      // Else all begin with the same epoch and settle that among themselves in the seconds that follow. If a slot moves
      // meanwhile, its old node may claim it back with a greater epoch, and both name the other one from then on.
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
      await client.call('CLUSTER', 'ADDSLOTSRANGE', Math.ceil(index * share), Math.ceil((index + 1) * share) - 1);
    }),
  );
  for (const [index, { port }] of size > 1 ? nodes.entries() : []) {
    await nodes[0]!.client.call('CLUSTER', 'MEET', '127.0.0.1', port, buses[index]!);
  }
  await eventually(async () => {
    for (const { client } of nodes) {
      const info = String(await client.call('CLUSTER', 'INFO'));
      expect(info).toContain('cluster_state:ok');
      expect(info).toContain(`cluster_known_nodes:${size}`);
      expect(info).toContain(`cluster_current_epoch:${size}`);
    }
  });
  return {
    nodes,
    async close() {
      await Promise.all(nodes.map((node) => node.close()));
    },
  };
}

/** A store's connection to the server with that port, or to the Cluster of the nodes with those. */
export function redisAt(ports: number | readonly number[], more: Partial<RedisConnection> = {}): RedisConnection {
  const at = (port: number) => ({ host: '127.0.0.1', port });
  const place = typeof ports === 'number' ? at(ports) : { cluster: ports.map(at) };
  return { ...place, connectTimeoutMs: 3_000, commandTimeoutMs: 3_000, ...more };
}
