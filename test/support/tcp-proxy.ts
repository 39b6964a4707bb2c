/** A proxy for any protocol over TCP, which can be made to fail. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface TcpProxy {
  readonly port: number;
  /** Refuses connections and cuts those that are open. */
  cut(): void;
  /** Accepts connections and bytes, and forwards nothing. */
  hang(): void;
  /** The connections that are open now never forward anything again; new ones do. */
  freeze(): void;
  /** Delays data in both directions by this many ms. */
  slow(delayMs: number): void;
  /** Forwards requests, and cuts the connection instead of returning the response. */
  loseAnswers(): void;
  /** From now on connections go to this port of 127.0.0.1; open ones are cut. */
  redirect(port: number): void;
  /** How many connections were made so far. */
  connections(): number;
  /** Bytes that clients sent. */
  sentBytes(): number;
  /** Ends all faults, and cuts the connections that hang. */
  heal(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  let target = targetPort;
  let down = false;
  let hanging = false;
  let losing = false;
  let delayMs = 0;
  let connections = 0;
  let sent = 0;
  const open = new Set<Socket>();
  const frozen = new WeakSet<Socket>();
  const cutAll = () => {
    for (const socket of open) socket.destroy();
  };

  const server = createServer((client) => {
    connections += 1;
    if (down) return void client.destroy();
    const inner = connect(target, '127.0.0.1');
    for (const [from, to] of [
      [client, inner],
      [inner, client],
    ] as const) {
      /** In their order, which another delay must not change. */
      const waiting: Buffer[] = [];
      open.add(from);
      from.setNoDelay(true);
      from.on('data', (bytes) => {
        if (from === client) sent += bytes.length;
        if (hanging || frozen.has(from)) return;
        if (losing && from === inner) return void client.destroy();
        waiting.push(bytes);
        setTimeout(() => {
          const next = waiting.shift();
          if (next && to.writable) to.write(next);
        }, delayMs);
      });
      from.on('error', () => {});
      from.on('close', () => {
        open.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      down = true;
      cutAll();
    },
    hang() {
      hanging = true;
    },
    freeze() {
      for (const socket of open) frozen.add(socket);
    },
    slow(ms) {
      delayMs = ms;
    },
    loseAnswers() {
      losing = true;
    },
    redirect(port) {
      target = port;
      cutAll();
    },
    connections: () => connections,
    sentBytes: () => sent,
    heal() {
      if (hanging) cutAll();
      [down, hanging, losing, delayMs] = [false, false, false, 0];
    },
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      cutAll();
      return closed;
    },
  };
}
