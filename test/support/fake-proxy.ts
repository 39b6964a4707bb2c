/** A fake HTTP proxy on real sockets of 127.0.0.1, with tunnels and forwarded requests, which can be made to refuse. */
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export interface FakeProxy {
  /** `http://127.0.0.1:PORT` or `https://…`. */
  readonly uri: string;
  /** `CONNECT host:port` or `GET http://…`, with the Proxy-Authorization header, oldest first. */
  readonly asked: readonly { readonly what: string; readonly authorization: string | undefined }[];
  /** Sockets that clients hold open. */
  readonly openSockets: number;
  /** All requests get this status instead; `hang`: no response. */
  refuse: number | 'hang' | undefined;
  /** Refuses connections and cuts those that are open. */
  cut(): void;
  /** Accepts connections again. */
  heal(): void;
  close(): Promise<void>;
}

/**
 * Everything goes to this port of 127.0.0.1, or to the one of its `host:port`, so that tests can request any host name.
 * A proxy refuses what has no port with 502.
 */
export async function startFakeProxy(
  target: number | ((host: string) => number | undefined),
  tls?: { key: string; cert: string },
): Promise<FakeProxy> {
  const portOf = (host: string) => (typeof target === 'number' ? target : target(host));
  let isCut = false;
  const requests: { what: string; authorization: string | undefined }[] = [];
  const sockets = new Set<Socket>();
  const note = ({ method, url, headers }: IncomingMessage) =>
    void requests.push({ what: `${method} ${url}`, authorization: headers['proxy-authorization'] });

  const server: Server = tls ? createTlsServer(tls) : createServer();
  server.on('connection', (socket: Socket) => {
    if (isCut) return void socket.destroy();
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('connect', (incoming: IncomingMessage, client: Duplex) => {
    note(incoming);
    client.on('error', () => {});
    // A paused socket would not notice that the client hangs up.
    if (proxy.refuse === 'hang') return void client.on('end', () => client.destroy()).resume();
    const port = portOf(incoming.url ?? '');
    const refusal = proxy.refuse ?? (port === undefined ? 502 : undefined);
    if (refusal || port === undefined) return void client.end(`HTTP/1.1 ${refusal} No\r\nContent-Length: 0\r\n\r\n`);
    const inner = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      inner.pipe(client).pipe(inner);
    });
    inner.on('error', () => client.destroy());
    client.on('close', () => inner.destroy());
  });
  server.on('request', (incoming, outgoing) => {
    note(incoming);
    if (proxy.refuse === 'hang') return;
    const { host: asked, pathname, search } = new URL(incoming.url ?? '');
    const port = portOf(asked);
    const refusal = proxy.refuse ?? (port === undefined ? 502 : undefined);
    if (refusal) return void outgoing.writeHead(refusal).end();
    const { 'proxy-authorization': _, ...headers } = incoming.headers;
    const options = { host: '127.0.0.1', port, path: pathname + search, method: incoming.method, headers };
    const inner = request(options, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      outgoing.flushHeaders();
      answer.pipe(outgoing);
      // If one side is cut, the other is cut, too.
      answer.on('close', () => answer.complete || outgoing.destroy());
    });
    inner.on('error', () => outgoing.destroy());
    outgoing.on('close', () => inner.destroy());
    incoming.pipe(inner);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const proxy: FakeProxy = {
    uri: `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: requests,
    get openSockets() {
      return sockets.size;
    },
    refuse: undefined,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
    heal() {
      isCut = false;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return proxy;
}
