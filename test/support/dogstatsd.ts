/** A DogStatsD server, and the grammar of its lines. Source: Datadog, "Datagram Format and Shell Usage" and "What best practices are recommended for naming metrics and tags?". */
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import type { AddressInfo } from 'node:net';

export interface ReceivedMetric {
  readonly name: string;
  readonly value: number;
  readonly kind: 'c' | 'g' | 'ms' | 'h' | 's' | 'd';
  readonly rate: number;
  readonly tags: readonly string[];
}

/** `<METRIC_NAME>:<VALUE>|<TYPE>|@<SAMPLE_RATE>|#<TAG_KEY_1>:<TAG_VALUE_1>,<TAG_2>` */
export function parseMetric(line: string): ReceivedMetric {
  const [, name = '', value = '', kind = '', rate, tags] =
    /^([A-Za-z][A-Za-z0-9_.]*):([^|:]+)\|(c|g|ms|h|s|d)(?:\|@([^|]+))?(?:\|#([^|#@]+))?$/.exec(line) ?? [];
  if (name === '') throw new Error(`not a metric of DogStatsD: ${line}`);
  if (name.length > 200) throw new Error(`the name of a metric is longer than 200 characters: ${line}`);
  if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(value)) throw new Error(`not an integer or a float: ${line}`);
  const sampled = rate === undefined ? 1 : Number(rate);
  if (!(sampled > 0 && sampled <= 1)) throw new Error(`not a sample rate: ${line}`);
  if (rate !== undefined && !['c', 'h', 'd', 'ms'].includes(kind)) throw new Error(`this type has no rate: ${line}`);
  const all = tags?.split(',') ?? [];
  for (const tag of all) {
    if (!/^\p{L}/u.test(tag) || tag.length > 200 || tag.endsWith(':')) throw new Error(`not a tag: ${tag} in ${line}`);
  }
  return { name, value: Number(value), kind: kind as ReceivedMetric['kind'], rate: sampled, tags: all };
}

export interface StatsServer {
  /** What DATADOG_STATS_ADDR is set to. */
  readonly address: string;
  /** In the order of their arrival. */
  readonly datagrams: readonly Buffer[];
  lines(): string[];
  metrics(): ReceivedMetric[];
  close(): Promise<void>;
}

const read = (datagrams: readonly Buffer[]) => {
  // Most of what is sent needs no line feed at its end.
  const lines = () => datagrams.flatMap((datagram) => datagram.toString().split('\n').filter(Boolean));
  return { datagrams, lines, metrics: () => lines().map(parseMetric) };
};

/** On a free port of the loopback interface, or this one. */
export async function startUdpServer(port = 0): Promise<StatsServer> {
  const datagrams: Buffer[] = [];
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  socket.on('message', (datagram) => void datagrams.push(datagram));
  await new Promise<void>((resolve) => socket.bind(port, '127.0.0.1', resolve));
  return {
    ...read(datagrams),
    address: `127.0.0.1:${(socket.address() as AddressInfo).port}`,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

/** Prints each datagram in hexadecimal digits. Python, since Node.js has no such sockets. */
const SOCKET_SERVER = `
import os, socket, sys
path = sys.argv[1]
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind(path)
print('listening', flush=True)
while True:
    print(server.recv(65536).hex(), flush=True)
`;

/** A Unix datagram socket at this path. */
export async function startSocketServer(path: string): Promise<StatsServer> {
  const datagrams: Buffer[] = [];
  const child: ChildProcess = spawn('python3', ['-c', SOCKET_SERVER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let rest = '';
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error('the server of Unix sockets exited')));
    child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line === 'listening') resolve();
        else datagrams.push(Buffer.from(line, 'hex'));
      }
    });
  });
  return {
    ...read(datagrams),
    address: `unix://${path}`,
    async close() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
