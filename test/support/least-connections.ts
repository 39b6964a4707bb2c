/** A small TCP load balancer: a new connection goes to the healthy relay with the fewest. */
import { get } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Balancer {
  readonly port: number;
  /** Relays on these ports get connections while their `/readyz` answers 200. */
  add(...ports: readonly number[]): void;
  /** It gets no new connections; those that are open stay. */
  remove(port: number): void;
  close(): Promise<void>;
}

interface Backend {
  readonly port: number;
  connections: number;
  failures: number;
}

/** Failed checks in a row after which a relay gets no new connections. */
const MOST_FAILURES = 2;

export async function startBalancer({ checkEveryMs = 500 } = {}): Promise<Balancer> {
  const backends = new Map<number, Backend>();
  const sockets = new Set<Socket>();

  function check(backend: Backend): void {
    const failed = () => void backend.failures++;
    const asked = get({ host: '127.0.0.1', port: backend.port, path: '/readyz', agent: false }, (answer) => {
      answer.resume();
      if (answer.statusCode === 200) backend.failures = 0;
      else failed();
    });
    const timer = setTimeout(() => asked.destroy(new Error('no answer')), 2 * checkEveryMs);
    asked.on('error', failed).on('close', () => clearTimeout(timer));
  }
  const checking = setInterval(() => {
    for (const backend of backends.values()) check(backend);
  }, checkEveryMs);

  function track(socket: Socket): Socket {
    sockets.add(socket);
    socket.setNoDelay(true);
    return socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  }

  /** Tries every relay once, healthy ones first. */
  function forward(client: Socket, tried: ReadonlySet<Backend>): void {
    const left = [...backends.values()].filter((backend) => !tried.has(backend));
    const healthy = left.filter(({ failures }) => failures < MOST_FAILURES);
    const [chosen] = (healthy.length > 0 ? healthy : left).sort((a, b) => a.connections - b.connections);
    if (!chosen || client.destroyed) return void client.destroy();
    chosen.connections++;
    let connected = false;
    const relay = track(connect(chosen.port, '127.0.0.1'));
    relay.on('connect', () => {
      connected = true;
      client.on('close', () => relay.destroy());
      client.pipe(relay).pipe(client);
    });
    relay.on('close', (failed) => {
      chosen.connections--;
      if (!connected) forward(client, new Set([...tried, chosen]));
      else if (failed) client.destroy();
    });
  }

  const server = createServer((client) => forward(track(client), new Set()));
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    add(...ports) {
      for (const port of ports) backends.set(port, { port, connections: 0, failures: 0 });
    },
    remove: (port) => void backends.delete(port),
    close() {
      clearInterval(checking);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      backends.clear();
      for (const socket of sockets) socket.destroy();
      return closed;
    },
  };
}
